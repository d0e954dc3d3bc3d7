package clients

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

func startPull(t *testing.T, group, topic, tags string) rocketmq.PullConsumer {
	t.Helper()
	c, err := rocketmq.NewPullConsumer(consumer.WithNsResolver(nameServers()), consumer.WithGroupName(group),
		consumer.WithInstance(unique("client")), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	must(t, err)
	must(t, c.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: tags}))
	must(t, c.Start())
	t.Cleanup(func() { _ = c.Shutdown() })
	return c
}

func TestPullFromAnyOffset(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "pull", 1)
	p := newProducer(t)
	var queue *primitive.MessageQueue
	for _, body := range numbered("m", 0, 10) {
		queue = send(t, p, text(topic, body)).MessageQueue
	}
	c := startPull(t, unique("pull"), topic, "*")
	pull := func(offset int64, count int) *primitive.PullResult {
		result, err := c.PullFrom(context.Background(), queue, offset, count)
		must(t, err)
		return result
	}
	for _, offset := range []int64{0, 4, 9} {
		found := pull(offset, 3)
		last := min(offset+3, 10)
		if found.Status != primitive.PullFound || found.NextBeginOffset != last || found.MinOffset != 0 || found.MaxOffset != 10 {
			t.Fatalf("pull at %d: %+v", offset, found)
		}
		expectTexts(t, found.GetMessageExts(), numbered("m", int(offset), int(last)))
	}
	if beyond := pull(15, 3); beyond.Status != primitive.PullOffsetIllegal || beyond.NextBeginOffset != 10 {
		t.Fatalf("pull beyond the end: %+v", beyond)
	}
}

func TestPullAtTheEndWaitsForTheNextMessage(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "long-poll", 1)
	p := newProducer(t)
	queue := send(t, p, text(topic, "old")).MessageQueue
	c := startPull(t, unique("long-poll"), topic, "*")
	results := make(chan *primitive.PullResult, 1)
	go func() {
		if result, err := c.PullFrom(context.Background(), queue, 1, 32); err == nil {
			results <- result
		}
	}()
	select {
	case result := <-results:
		t.Fatalf("answered while there was nothing: %+v", result)
	case <-time.After(500 * time.Millisecond):
	}
	send(t, p, text(topic, "new"))
	select {
	case result := <-results:
		expectTexts(t, result.GetMessageExts(), []string{"new"})
	case <-time.After(5 * time.Second): // it may be held for 20
		t.Fatal("no answer after the message came")
	}
}

// The client's counterpart of Java's lite pull: it distributes the queues itself and hands out what it has pulled.
func TestPollContinuesAtTheCommittedPosition(t *testing.T) {
	t.Parallel()
	topic, group := newTopic(t, "poll", 4), unique("poll")
	for _, prefix := range []string{"first", "second"} {
		sendAll(t, topic, numbered(prefix, 0, 12))
		c := startPull(t, group, topic, "*")
		var got received
		eventually(t, func() (bool, string) {
			request, err := c.Poll(context.Background(), 100*time.Millisecond)
			if err == nil {
				got.add(request.GetMsgList()...)
				c.ACK(context.Background(), request, consumer.ConsumeSuccess)
			} else if !errors.Is(err, consumer.ErrNoNewMsg) {
				t.Fatal(err)
			}
			return len(got.all()) >= 12, fmt.Sprint(got.bodies())
		})
		got.expectBodies(t, numbered(prefix, 0, 12))
		must(t, c.PersistOffset(context.Background(), topic))
		must(t, c.Shutdown())
	}
}
