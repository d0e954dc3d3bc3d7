package clients

import (
	"bytes"
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

func TestSyncSendTellsWhereTheMessageIs(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "sync", 1)
	p := newProducer(t)
	var sent []*primitive.SendResult
	for i := 0; i < 3; i++ {
		message := text(topic, fmt.Sprintf("body%d", i)).WithTag("TagA").WithKeys([]string{"order", fmt.Sprint(i)})
		message.WithProperty("city", "Zürich; 東京")
		sent = append(sent, send(t, p, message))
	}
	for i, message := range readBack(t, topic, 3) {
		if sent[i].QueueOffset != int64(i) || message.QueueOffset != int64(i) {
			t.Errorf("offsets %d told, %d read, want %d", sent[i].QueueOffset, message.QueueOffset, i)
		}
		if sent[i].OffsetMsgID != message.OffsetMsgId || sent[i].MsgID != message.MsgId {
			t.Errorf("ids %s %s told, %s %s read", sent[i].OffsetMsgID, sent[i].MsgID, message.OffsetMsgId, message.MsgId)
		}
		want := fmt.Sprintf("body%d TagA order %d Zürich; 東京", i, i)
		got := fmt.Sprintf("%s %s %s %s", message.Body, message.GetTags(), message.GetKeys(), message.GetProperty("city"))
		if got != want {
			t.Errorf("read %q, want %q", got, want)
		}
	}
}

func TestAsyncSendsAllCallBack(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "async", 4)
	p := newProducer(t)
	var pending sync.WaitGroup
	failures := make(chan error, 100)
	for _, body := range numbered("m", 0, 100) {
		pending.Add(1)
		err := p.SendAsync(context.Background(), func(_ context.Context, sent *primitive.SendResult, err error) {
			if err == nil && sent.Status != primitive.SendOK {
				err = fmt.Errorf("send status %d", sent.Status)
			}
			if err != nil {
				failures <- err
			}
			pending.Done()
		}, text(topic, body))
		must(t, err)
	}
	pending.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	expectTexts(t, readBack(t, topic, 100), numbered("m", 0, 100))
}

func TestOnewaySendsArrive(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "oneway", 4)
	p := newProducer(t)
	for _, body := range numbered("m", 0, 20) {
		must(t, p.SendOneWay(context.Background(), text(topic, body)))
	}
	expectTexts(t, readBack(t, topic, 20), numbered("m", 0, 20))
}

func TestBatchIsStoredAsSingleMessagesInARow(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "batch", 1)
	p := newProducer(t)
	send(t, p, text(topic, "before"))
	var batch []*primitive.Message
	for _, body := range numbered("m", 0, 10) {
		batch = append(batch, text(topic, body))
	}
	sent, err := p.SendSync(context.Background(), batch...)
	must(t, err)
	if sent.QueueOffset != 1 {
		t.Errorf("offset of the batch: %d", sent.QueueOffset)
	}
	if ids := strings.Split(sent.OffsetMsgID, ","); len(ids) != 10 {
		t.Errorf("offset ids of the batch: %v", ids)
	}
	for i, message := range readBack(t, topic, 11)[1:] {
		if string(message.Body) != fmt.Sprintf("m%d", i) || message.QueueOffset != int64(i+1) {
			t.Errorf("message %d: %s at %d", i, message.Body, message.QueueOffset)
		}
	}
}

func TestShardingKeyChoosesTheQueue(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "hash", 4)
	p := newProducer(t, producer.WithQueueSelector(producer.NewHashQueueSelector()))
	for order := 0; order < 8; order++ {
		for step := 0; step < 3; step++ {
			send(t, p, text(topic, fmt.Sprintf("%d/%d", order, step)).WithShardingKey(fmt.Sprint(order)))
		}
	}
	// In the order of queue and offset: the steps of an order are in one queue and in their order.
	steps, queues := map[byte]string{}, map[byte]int{}
	for _, message := range readBack(t, topic, 24) {
		order := message.Body[0]
		if queue, known := queues[order]; known && queue != message.Queue.QueueId {
			t.Errorf("order %c is in queues %d and %d", order, queue, message.Queue.QueueId)
		}
		queues[order] = message.Queue.QueueId
		steps[order] += string(message.Body[2:])
	}
	for order, seen := range steps {
		if seen != "012" {
			t.Errorf("order %c has the steps %s", order, seen)
		}
	}
}

func TestFirstMessageMakesItsTopic(t *testing.T) {
	t.Parallel()
	topic := unique("auto")
	send(t, newProducer(t), text(topic, "first"))
	expectTexts(t, readBack(t, topic, 1), []string{"first"})
}

func TestCompressedBodyIsStoredCompressedAndReadIntact(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "compressed", 1)
	body := bytes.Repeat([]byte("twelve bytes"), 10_000)
	send(t, newProducer(t), primitive.NewMessage(topic, body))
	message := readBack(t, topic, 1)[0]
	if !bytes.Equal(message.Body, body) {
		t.Errorf("%d bytes read, %d sent", len(message.Body), len(body))
	}
	if int(message.StoreSize) > len(body)/10 {
		t.Errorf("stored in %d bytes", message.StoreSize)
	}
}

func TestTooLargeMessageIsRefusedAndNotStored(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "large", 1)
	p := newProducer(t, producer.WithCompressMsgBodyOverHowmuch(1<<30))
	if sent, err := p.SendSync(context.Background(), primitive.NewMessage(topic, make([]byte, 4<<20+1))); err == nil {
		t.Errorf("stored: %v", sent)
	}
	send(t, p, text(topic, "small"))
	expectTexts(t, readBack(t, topic, 1), []string{"small"})
}

func expectTexts(t *testing.T, messages []*primitive.MessageExt, want []string) {
	t.Helper()
	var got []string
	for _, message := range messages {
		got = append(got, string(message.Body))
	}
	want = append([]string(nil), want...)
	sort.Strings(got)
	sort.Strings(want)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
