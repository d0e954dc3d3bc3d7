package clients

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

const queues = 4

// consumerProcess is what the test binary does instead of testing when CONSUMER_GROUP is set: it consumes a topic until
// SIGTERM and prints the body of each message.
func consumerProcess(group, topic string) {
	c, err := rocketmq.NewPushConsumer(consumer.WithNsResolver(nameServers()), consumer.WithGroupName(group),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	check(err)
	check(c.Subscribe(topic, consumer.MessageSelector{},
		func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
			for _, message := range messages {
				fmt.Println(string(message.Body))
			}
			return consumer.ConsumeSuccess, nil
		}))
	check(c.Start())
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
	check(c.Shutdown())
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// process is a consumer in a process of its own.
type process struct {
	command *exec.Cmd
	mutex   sync.Mutex
	got     map[string]bool
	ended   chan struct{}
}

func startProcess(t *testing.T, group, topic string) *process {
	t.Helper()
	p := &process{command: exec.Command(os.Args[0]), got: map[string]bool{}, ended: make(chan struct{})}
	p.command.Env = append(os.Environ(), "CONSUMER_GROUP="+group, "CONSUMER_TOPIC="+topic)
	p.command.Stderr = os.Stderr
	// Ends with the tests, whatever becomes of them.
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	output, err := p.command.StdoutPipe()
	must(t, err)
	must(t, p.command.Start())
	go func() {
		defer close(p.ended)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			p.mutex.Lock()
			p.got[lines.Text()] = true
			p.mutex.Unlock()
		}
	}()
	t.Cleanup(func() { p.end(syscall.SIGKILL) })
	return p
}

// end sends the signal and waits until the process has ended and all that it had printed is collected.
func (p *process) end(signal os.Signal) {
	if p.command.ProcessState != nil {
		return
	}
	_ = p.command.Process.Signal(signal)
	<-p.ended
	_ = p.command.Wait()
}

// queuesOf returns from which queues it got messages of the round.
func (p *process) queuesOf(round int) string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	var from []string
	for queue := 0; queue < queues; queue++ {
		if p.got[body(round, queue)] {
			from = append(from, fmt.Sprint(queue))
		}
	}
	return strings.Join(from, ",")
}

func body(round, queue int) string {
	return fmt.Sprintf("round%d-queue%d", round, queue)
}

func TestProcessesOfAGroupShareTheQueues(t *testing.T) {
	t.Parallel()
	topic, group := newTopic(t, "share", queues), unique("share")
	p := newProducer(t, producer.WithQueueSelector(producer.NewManualQueueSelector()))
	brokerName := send(t, newProducer(t), text(newTopic(t, "name", 1), "where?")).MessageQueue.BrokerName
	rounds := 0
	// Sends a message to each queue, again and again, until a round was received as wanted.
	distribute := func(what string, wanted func(round int) bool) {
		t.Helper()
		eventually(t, func() (bool, string) {
			for queue := 0; queue < queues; queue++ {
				message := text(topic, body(rounds, queue))
				message.Queue = &primitive.MessageQueue{Topic: topic, BrokerName: brokerName, QueueId: queue}
				send(t, p, message)
			}
			rounds++
			for round := max(0, rounds-100); round < rounds; round++ {
				if wanted(round) {
					return true, ""
				}
			}
			return false, what
		})
	}

	one := startProcess(t, group, topic)
	distribute("one has all queues", func(round int) bool { return one.queuesOf(round) == "0,1,2,3" })
	two := startProcess(t, group, topic)
	distribute("each has two queues", func(round int) bool {
		a, b := one.queuesOf(round), two.queuesOf(round)
		return a == "0,1" && b == "2,3" || a == "2,3" && b == "0,1"
	})
	two.end(syscall.SIGKILL)
	alone := rounds
	distribute("one has all queues again", func(round int) bool { return round >= alone && one.queuesOf(round) == "0,1,2,3" })

	// Nothing was lost on the way, neither when queues moved nor with the process that was killed.
	eventually(t, func() (bool, string) {
		for round := 0; round < rounds; round++ {
			for queue := 0; queue < queues; queue++ {
				if b := body(round, queue); !one.has(b) && !two.has(b) {
					return false, b
				}
			}
		}
		return true, ""
	})
}

func (p *process) has(body string) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.got[body]
}
