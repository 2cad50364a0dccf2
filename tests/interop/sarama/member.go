package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/IBM/sarama"
	"ringlog.test/interop/corpus"
)

// A member of a consumer group, see ../groups/scenario.py.
func member(topic, group string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	config := sarama.NewConfig()
	config.Consumer.Group.Session.Timeout = 6 * time.Second
	config.Consumer.Group.Heartbeat.Interval = time.Second
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Interval = 200 * time.Millisecond
	config.Metadata.Retry.Max = 100
	consumer, err := sarama.NewConsumerGroup([]string{corpus.Bootstrap}, group, config)
	if err != nil {
		return err
	}
	defer consumer.Close()
	for ctx.Err() == nil {
		// one call is one generation; without a broker it fails and is made again
		if err := consumer.Consume(ctx, []string{topic}, handler(topic)); err != nil && !errors.Is(err, context.Canceled) {
			fmt.Fprintln(os.Stderr, "consume:", err)
			time.Sleep(100 * time.Millisecond)
		}
	}
	return nil
}

type handler string

func (topic handler) Setup(session sarama.ConsumerGroupSession) error {
	corpus.Say("assigned", session.Claims()[string(topic)])
	return nil
}

func (topic handler) Cleanup(session sarama.ConsumerGroupSession) error {
	corpus.Say("revoked", session.Claims()[string(topic)])
	return nil
}

func (handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			corpus.Saw(message.Partition, message.Offset, message.Value)
			session.MarkMessage(message, "")
		case <-session.Context().Done():
			return nil
		}
	}
}
