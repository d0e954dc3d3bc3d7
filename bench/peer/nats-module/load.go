// Load for NATS JetStream: so many connections, each with so many messages in flight, to a stream with replicas. Prints one
// line of JSON that `steadfast bench --compare` reads. It gives none unless the stream holds each message that was
// acknowledged.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

var (
	url         = flag.String("url", "nats://127.0.0.1:4222", "servers, separated by commas")
	connections = flag.Int("connections", 16, "connections")
	inFlight    = flag.Int("in-flight", 32, "messages in flight on each connection")
	size        = flag.Int("size", 1024, "bytes of a message")
	seconds     = flag.Float64("seconds", 10, "measure for so long")
	warmup      = flag.Float64("warmup", 2, "seconds of load before that")
	replicas    = flag.Int("replicas", 3, "replicas of the stream")
	pids        = flag.String("pid", "", "processes whose CPU time is measured, separated by commas")
	label       = flag.String("label", "", "SCENARIO/SYSTEM")
)

const stream = "bench"

// What one connection saw.
type lane struct {
	acked     uint64
	latencies []float64 // microseconds, of the measured time
}

func main() {
	log.SetFlags(0)
	flag.Parse()
	if err := run(); err != nil {
		log.Fatal("nats load: ", err)
	}
}

func connect() (*nats.Conn, nats.JetStreamContext, error) {
	conn, err := nats.Connect(*url)
	if err != nil {
		return nil, nil, err
	}
	js, err := conn.JetStream()
	return conn, js, err
}

func run() error {
	admin, js, err := connect()
	if err != nil {
		return err
	}
	defer admin.Close()
	_ = js.DeleteStream(stream)
	config := nats.StreamConfig{Name: stream, Subjects: []string{"bench.*"}, Replicas: *replicas, Storage: nats.FileStorage}
	if _, err := js.AddStream(&config); err != nil {
		return err
	}
	measureFrom := time.Now().Add(time.Duration(*warmup * float64(time.Second)))
	until := measureFrom.Add(time.Duration(*seconds * float64(time.Second)))
	lanes := make([]lane, *connections)
	var failed atomic.Value
	var done sync.WaitGroup
	for i := range lanes {
		done.Add(1)
		go func() {
			defer done.Done()
			if err := lanes[i].run(i, measureFrom, until); err != nil {
				failed.Store(err)
			}
		}()
	}
	time.Sleep(time.Until(measureFrom))
	before, err := cpuTime()
	if err != nil {
		return err
	}
	time.Sleep(time.Until(until))
	after, err := cpuTime()
	if err != nil {
		return err
	}
	done.Wait()
	if err, ok := failed.Load().(error); ok {
		return err
	}
	var acked uint64
	var latencies []float64
	for _, lane := range lanes {
		acked += lane.acked
		latencies = append(latencies, lane.latencies...)
	}
	info, err := js.StreamInfo(stream)
	if err != nil {
		return err
	}
	if info.State.Msgs < acked {
		return fmt.Errorf("%d messages were acknowledged, the stream has %d", acked, info.State.Msgs)
	}
	slices.Sort(latencies)
	return report(acked, latencies, after-before)
}

// Sends until the time is up, then waits for what is in flight.
func (lane *lane) run(number int, measureFrom, until time.Time) error {
	conn, js, err := connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	subject, body := fmt.Sprintf("bench.%d", number), make([]byte, *size)
	type sent struct {
		at  time.Time
		ack nats.PubAckFuture
	}
	waiting := make(chan sent, *inFlight)
	slots := make(chan struct{}, *inFlight)
	failed := make(chan error, 1)
	go func() {
		defer close(failed)
		for sent := range waiting {
			select {
			case <-sent.ack.Ok():
				lane.acked++
				if now := time.Now(); !now.Before(measureFrom) && now.Before(until) {
					lane.latencies = append(lane.latencies, float64(now.Sub(sent.at).Nanoseconds())/1e3)
				}
			case err := <-sent.ack.Err():
				failed <- err
				return
			case <-time.After(30 * time.Second):
				failed <- fmt.Errorf("no acknowledgement within 30 s")
				return
			}
			<-slots
		}
	}()
	for time.Now().Before(until) {
		select {
		case slots <- struct{}{}:
		case err := <-failed:
			return err
		}
		at := time.Now()
		ack, err := js.PublishAsync(subject, body)
		if err != nil {
			return err
		}
		waiting <- sent{at, ack}
	}
	close(waiting)
	return <-failed
}

// CPU time of all processes up to now; the kernel counts in hundredths of a second.
func cpuTime() (time.Duration, error) {
	var sum time.Duration
	for pid := range strings.SplitSeq(*pids, ",") {
		if pid == "" {
			continue
		}
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			return 0, err
		}
		fields := strings.Fields(string(stat)[strings.LastIndexByte(string(stat), ')')+1:])
		for _, field := range fields[11:13] {
			ticks, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0, err
			}
			sum += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return sum, nil
}

func report(acked uint64, latencies []float64, cpu time.Duration) error {
	if len(latencies) == 0 {
		return fmt.Errorf("no message was acknowledged in the measured time")
	}
	at := func(quantile float64) float64 { return latencies[int(quantile*float64(len(latencies)-1))] }
	var sum float64
	for _, latency := range latencies {
		sum += latency
	}
	measured := float64(len(latencies))
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"label": *label, "mode": "send", "seconds": *seconds, "messages": len(latencies),
		"throughput": measured / *seconds, "mb_per_second": measured * float64(*size) / *seconds / 1e6,
		"latency": map[string]float64{"mean_us": sum / measured, "p50_us": at(0.5), "p99_us": at(0.99),
			"p999_us": at(0.999), "max_us": at(1)},
		"server": map[string]float64{"cpu_us_per_message": cpu.Seconds() * 1e6 / measured,
			"cores": cpu.Seconds() / *seconds, "resident_mib": 0, "anonymous_mib": 0},
		"client_cpu_us_per_message": 0, "failed": map[string]int{"refused": 0, "unknown": 0, "unsent": 0},
		"verified": map[string]any{"messages": acked, "seconds": 0}, "foreign": 0,
		"settings": map[string]any{"topic": stream, "connections": *connections, "in_flight": *inFlight,
			"size": *size, "batch": 1, "rate": nil, "keys": 0, "consumers": 0},
	})
}
