package clients

import (
	"fmt"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
)

func TestTagsSelectMessages(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "tags", 2)
	p := newProducer(t)
	for i, tag := range []string{"paid", "sent", "paid", "", "lost", "sent"} {
		message := text(topic, fmt.Sprintf("%s%d", tag, i))
		if tag != "" {
			message.WithTag(tag)
		}
		send(t, p, message)
	}
	for tags, want := range map[string][]string{
		"paid":         {"paid0", "paid2"},
		"paid || lost": {"paid0", "paid2", "lost4"},
		"*":            {"paid0", "sent1", "paid2", "3", "lost4", "sent5"},
	} {
		var got received
		startPush(t, unique("tags"), topic, tags, got.acknowledge())
		got.expectBodies(t, want)
	}
}

func TestGroupContinuesWhereItStopped(t *testing.T) {
	t.Parallel()
	topic, group := newTopic(t, "continue", 2), unique("continue")
	for _, prefix := range []string{"first", "second"} {
		sendAll(t, topic, numbered(prefix, 0, 10))
		var got received
		c := startPush(t, group, topic, "*", got.acknowledge())
		got.expectBodies(t, numbered(prefix, 0, 10))
		must(t, c.Shutdown())
	}
}

func TestEveryBroadcastConsumerGetsEveryMessage(t *testing.T) {
	t.Parallel()
	topic, group := newTopic(t, "broadcast", 4), unique("broadcast")
	var one, two received
	for _, got := range []*received{&one, &two} {
		startPush(t, group, topic, "*", got.acknowledge(), consumer.WithConsumerModel(consumer.BroadCasting))
	}
	sendAll(t, topic, numbered("m", 0, 20))
	one.expectBodies(t, numbered("m", 0, 20))
	two.expectBodies(t, numbered("m", 0, 20))
}

// A queue that still has its first message is read from there by a new group: nothing can have been missed on purpose.
func TestNewGroupThatAsksForTheLastReadsAYoungTopicFromTheFirst(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "young", 2)
	sendAll(t, topic, numbered("m", 0, 10))
	var got received
	startPush(t, unique("young"), topic, "*", got.acknowledge(),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromLastOffset))
	got.expectBodies(t, numbered("m", 0, 10))
}

// Broadcast consumers keep their positions themselves, so the server has no say in where a new one starts.
func TestBroadcastFromTheLastSkipsWhatWasThere(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "from-last", 1)
	sendAll(t, topic, numbered("old", 0, 10))
	var got received
	startPush(t, unique("from-last"), topic, "*", got.acknowledge(),
		consumer.WithConsumerModel(consumer.BroadCasting),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromLastOffset))
	// When it has found its start is not told: send until it gets something.
	p, sent := newProducer(t), 0
	eventually(t, func() (bool, string) {
		send(t, p, text(topic, fmt.Sprintf("new%d", sent)))
		sent++
		return len(got.all()) > 0, "a first message"
	})
	got.expectSuffix(t, sent)
}

func TestBroadcastFromATimeSkipsWhatIsOlder(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "from-time", 1)
	sendAll(t, topic, numbered("old", 0, 5))
	// The time has a resolution of a second, and the client reads it as UTC.
	start := time.Now().Truncate(time.Second).Add(2 * time.Second)
	time.Sleep(time.Until(start))
	sendAll(t, topic, numbered("new", 0, 5))
	var got received
	startPush(t, unique("from-time"), topic, "*", got.acknowledge(),
		consumer.WithConsumerModel(consumer.BroadCasting),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromTimestamp),
		consumer.WithConsumeTimestamp(start.UTC().Format("20060102150405")))
	got.expectBodies(t, numbered("new", 0, 5))
}

// expectSuffix waits for the last of count messages "new0", "new1", … and checks that what came is an unbroken row up to it.
func (r *received) expectSuffix(t *testing.T, count int) {
	t.Helper()
	last := fmt.Sprintf("new%d", count-1)
	eventually(t, func() (bool, string) {
		all := r.all()
		return string(all[len(all)-1].Body) == last, last
	})
	all := r.all()
	for i, message := range all {
		if want := fmt.Sprintf("new%d", count-len(all)+i); string(message.Body) != want {
			t.Fatalf("message %d of %v is not %s", i, r.bodies(), want)
		}
	}
}

func TestSuspendedConsumerGetsNothingUntilItResumes(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "suspend", 1)
	var got received
	c := startPush(t, unique("suspend"), topic, "*", got.acknowledge())
	sendAll(t, topic, []string{"before"})
	got.await(t, 1)
	c.Suspend()
	sendAll(t, topic, []string{"during"})
	c.Resume()
	got.expectBodies(t, []string{"before", "during"})
}
