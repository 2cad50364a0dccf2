// A member of a consumer group with segmentio's kafka-go, see ../groups/scenario.py. BOOTSTRAP in the environment.
//
//	kafka-go member TOPIC GROUP
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go"
	"ringlog.test/interop/corpus"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{corpus.Bootstrap}, Topic: os.Args[2], GroupID: os.Args[3],
		StartOffset: kafka.FirstOffset, SessionTimeout: 6 * time.Second, HeartbeatInterval: time.Second, RebalanceTimeout: 6 * time.Second,
		MaxWait: 200 * time.Millisecond, ReadBackoffMax: 200 * time.Millisecond, JoinGroupBackoff: 500 * time.Millisecond,
		ErrorLogger: kafka.LoggerFunc(func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })})
	for {
		message, err := reader.FetchMessage(ctx)
		if errors.Is(err, context.Canceled) {
			break
		}
		if err != nil { // the coordinator is not there, or not yet: the reader goes on by itself
			fmt.Fprintln(os.Stderr, "fetch:", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		corpus.Saw(int32(message.Partition), message.Offset, message.Value)
		if err := reader.CommitMessages(ctx, message); err != nil {
			fmt.Fprintln(os.Stderr, "commit:", err)
		}
	}
	if err := reader.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "close:", err)
		os.Exit(1)
	}
}
