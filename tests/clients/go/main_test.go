// Package clients tests a server with the Go client of Apache RocketMQ, rocketmq-client-go/v2. Run it with ../run-go.
package clients

import (
	"fmt"
	"os"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/rlog"
)

// Where the server under test is; ../with-server says it.
var (
	namesrv = os.Getenv("NAMESRV_ADDR")
	broker  = os.Getenv("BROKER_ADDR")
)

func TestMain(m *testing.M) {
	rlog.SetLogLevel("fatal")
	if group := os.Getenv("CONSUMER_GROUP"); group != "" {
		consumerProcess(group, os.Getenv("CONSUMER_TOPIC"))
		return
	}
	if namesrv == "" || broker == "" {
		fmt.Fprintln(os.Stderr, "set NAMESRV_ADDR and BROKER_ADDR, or use tests/clients/run-go")
		os.Exit(1)
	}
	os.Exit(m.Run())
}
