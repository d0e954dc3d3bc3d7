package clients

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

func TestMessageThatFailedComesAgain(t *testing.T) {
	t.Parallel()
	topic, group := newTopic(t, "again", 1), unique("again")
	var failed, done received
	startWithRoutes(t, group, topic, func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, message := range messages {
			if string(message.Body) == "m1" && message.ReconsumeTimes < 2 {
				failed.add(message)
				afterASecond(ctx)
				return consumer.ConsumeRetryLater, nil
			}
		}
		done.add(messages...)
		return consumer.ConsumeSuccess, nil
	})
	p := newProducer(t)
	for _, body := range numbered("m", 0, 3) {
		message := text(topic, body).WithKeys([]string{"key-" + body})
		message.WithProperty("city", "Lyon")
		send(t, p, message)
	}
	done.expectBodies(t, numbered("m", 0, 3))
	failed.await(t, 2)
	for _, message := range done.all() {
		if string(message.Body) != "m1" {
			continue
		}
		got := fmt.Sprintf("%s %d %s %s", message.Topic, message.ReconsumeTimes, message.GetKeys(), message.GetProperty("city"))
		if want := topic + " 2 key-m1 Lyon"; got != want {
			t.Errorf("came back as %q, want %q", got, want)
		}
	}
}

func TestMessageThatFailsTooOftenIsADeadLetter(t *testing.T) {
	t.Parallel()
	topic, group := newTopic(t, "dead", 1), unique("dead")
	var failed received
	startWithRoutes(t, group, topic, func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		failed.add(messages...)
		afterASecond(ctx)
		return consumer.ConsumeRetryLater, nil
	}, consumer.WithMaxReconsumeTimes(1))
	sendAll(t, topic, []string{"poison"})
	failed.await(t, 2)

	awaitRoute(t, "%DLQ%"+group)
	dead := readBack(t, "%DLQ%"+group, 1)[0]
	if string(dead.Body) != "poison" {
		t.Errorf("dead letter %q", dead.Body)
	}
	if origin := dead.GetProperty(primitive.PropertyRetryTopic); origin != topic {
		t.Errorf("it came from %q, not %s", origin, topic)
	}
	if got := failed.all(); len(got) != 2 {
		t.Errorf("tried %d times", len(got))
	}
}

func TestDelayLevelHoldsAMessageBack(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "delay", 1)
	p := newProducer(t)
	for level, body := range map[int]string{1: "second", 2: "five", 0: "none"} {
		send(t, p, text(topic, body).WithDelayTimeLevel(level))
	}
	delays := map[string]time.Duration{"none": 0, "second": time.Second, "five": 5 * time.Second}
	for _, message := range readBack(t, topic, 3) {
		held := time.Duration(message.StoreTimestamp-message.BornTimestamp) * time.Millisecond
		want := delays[string(message.Body)]
		if held < want || held > want+3*time.Second {
			t.Errorf("%s was held for %v instead of %v", message.Body, held, want)
		}
	}
}

// startWithRoutes starts a push consumer whose client knows the route of the group's retry topic. The server makes that
// topic when it hears of the group; a client that was there before looks for it only after 30 s.
func startWithRoutes(t *testing.T, group, topic string, listen listener, options ...consumer.Option) {
	t.Helper()
	first := startPush(t, group, topic, "*", listen, options...)
	must(t, first.Shutdown())
	startPush(t, group, topic, "*", listen, options...)
}

// Level 1 is a second, instead of the ten after which a message comes again for the first time.
func afterASecond(ctx context.Context) {
	if concurrently, ok := primitive.GetConcurrentlyCtx(ctx); ok {
		concurrently.DelayLevelWhenNextConsume = 1
	}
}
