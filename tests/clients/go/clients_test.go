package clients

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// patience is how long a test waits for what must come. The client looks for new routes, and some servers' answers to
// a first heartbeat take effect, only every 20 or 30 seconds.
const patience = 60 * time.Second

var counter atomic.Int64

// unique returns a name for a topic, group or client that nobody else uses.
func unique(name string) string {
	return fmt.Sprintf("%s-%d-%d", name, time.Now().UnixMilli(), counter.Add(1))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls a condition until it holds, and fails with what it is told last when it does not in time.
func eventually(t *testing.T, condition func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		done, state := condition()
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, state)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func nameServers() primitive.NsResolver {
	return primitive.NewPassthroughResolver([]string{namesrv})
}

// newTopic makes a topic with that many queues and returns its name when the route to it is known.
func newTopic(t *testing.T, name string, queues int) string {
	t.Helper()
	topic := unique(name)
	tool, err := admin.NewAdmin(admin.WithResolver(nameServers()))
	must(t, err)
	defer tool.Close()
	must(t, tool.CreateTopic(context.Background(), admin.WithTopicCreate(topic), admin.WithBrokerAddrCreate(broker),
		admin.WithReadQueueNums(queues), admin.WithWriteQueueNums(queues)))
	awaitRoute(t, topic)
	return topic
}

// awaitRoute waits until the name server knows the topic.
func awaitRoute(t *testing.T, topic string) {
	t.Helper()
	tool, err := admin.NewAdmin(admin.WithResolver(nameServers()))
	must(t, err)
	defer tool.Close()
	eventually(t, func() (bool, string) {
		list, err := tool.FetchAllTopicList(context.Background())
		if err != nil {
			return false, err.Error()
		}
		for _, known := range list.TopicList {
			if known == topic {
				return true, ""
			}
		}
		return false, "route of " + topic
	})
}

// newProducer starts a producer that never retries by itself: a failed send is seen and nothing is stored twice.
func newProducer(t *testing.T, options ...producer.Option) rocketmq.Producer {
	t.Helper()
	options = append([]producer.Option{
		producer.WithNsResolver(nameServers()), producer.WithGroupName(unique("producer")),
		producer.WithInstanceName(unique("client")), producer.WithRetry(0),
	}, options...)
	p, err := rocketmq.NewProducer(options...)
	must(t, err)
	must(t, p.Start())
	t.Cleanup(func() { _ = p.Shutdown() })
	return p
}

func send(t *testing.T, p rocketmq.Producer, message *primitive.Message) *primitive.SendResult {
	t.Helper()
	sent, err := p.SendSync(context.Background(), message)
	must(t, err)
	if sent.Status != primitive.SendOK {
		t.Fatalf("send status %d", sent.Status)
	}
	return sent
}

func text(topic, body string) *primitive.Message {
	return primitive.NewMessage(topic, []byte(body))
}

// numbered returns "PREFIX0", "PREFIX1", …
func numbered(prefix string, from, to int) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf("%s%d", prefix, i))
	}
	return all
}

// sendAll sends one message with each of the bodies, in turn to the topic's queues.
func sendAll(t *testing.T, topic string, bodies []string) {
	t.Helper()
	p := newProducer(t)
	for _, body := range bodies {
		send(t, p, text(topic, body))
	}
}

// received collects messages as they come.
type received struct {
	mutex    sync.Mutex
	messages []*primitive.MessageExt
}

func (r *received) add(messages ...*primitive.MessageExt) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.messages = append(r.messages, messages...)
}

// all returns the messages ordered by queue and offset: the client runs several listeners side by side.
func (r *received) all() []*primitive.MessageExt {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	sorted := append([]*primitive.MessageExt(nil), r.messages...)
	sort.SliceStable(sorted, func(a, b int) bool {
		if sorted[a].Queue.QueueId != sorted[b].Queue.QueueId {
			return sorted[a].Queue.QueueId < sorted[b].Queue.QueueId
		}
		return sorted[a].QueueOffset < sorted[b].QueueOffset
	})
	return sorted
}

// bodies returns what was received as sorted texts.
func (r *received) bodies() []string {
	var texts []string
	for _, message := range r.all() {
		texts = append(texts, string(message.Body))
	}
	sort.Strings(texts)
	return texts
}

// await waits for count messages.
func (r *received) await(t *testing.T, count int) {
	t.Helper()
	eventually(t, func() (bool, string) {
		return len(r.all()) >= count, fmt.Sprintf("%d messages, got %v", count, r.bodies())
	})
}

// expectBodies waits until as many messages came as texts are given, and compares.
func (r *received) expectBodies(t *testing.T, want []string) {
	t.Helper()
	r.await(t, len(want))
	want = append([]string(nil), want...)
	sort.Strings(want)
	if got := r.bodies(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("got  %v\nwant %v", got, want)
	}
}

type listener = func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error)

// acknowledge returns a listener that collects all and is content.
func (r *received) acknowledge() listener {
	return func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		r.add(messages...)
		return consumer.ConsumeSuccess, nil
	}
}

// startPush starts a push consumer; it begins at the first message unless an option says otherwise.
func startPush(t *testing.T, group, topic, tags string, listen listener, options ...consumer.Option) rocketmq.PushConsumer {
	t.Helper()
	options = append([]consumer.Option{
		consumer.WithNsResolver(nameServers()), consumer.WithGroupName(group), consumer.WithInstance(unique("client")),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}, options...)
	c, err := rocketmq.NewPushConsumer(options...)
	must(t, err)
	must(t, c.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: tags}, listen))
	must(t, c.Start())
	t.Cleanup(func() { _ = c.Shutdown() })
	return c
}

// readBack returns all messages of a topic, which must be count, by a group of its own.
func readBack(t *testing.T, topic string, count int) []*primitive.MessageExt {
	t.Helper()
	var got received
	c := startPush(t, unique("reader"), topic, "*", got.acknowledge())
	got.await(t, count)
	must(t, c.Shutdown())
	if all := got.all(); len(all) != count {
		t.Fatalf("%d messages instead of %d: %v", len(all), count, got.bodies())
	}
	return got.all()
}
