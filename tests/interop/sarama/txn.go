package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/IBM/sarama"
	"ringlog.test/interop/corpus"
)

const (
	txnPatience = time.Minute
	txnLate     = 4 * time.Second
	txnBatch    = 100
)

// Transactions, see ../transactions/scenario.py.
//
//	sarama txn jobs TOPIC ID                  one line per job, `ok|FAIL job detail`
//	sarama txn chain INPUT OUTPUT GROUP ID    consumes, produces and commits in transactions, until SIGTERM
//	sarama txn read committed|uncommitted PARTITIONS TOPIC...
func txn(arguments []string) error {
	switch what, rest := arguments[0], arguments[1:]; what {
	case "jobs":
		return txnJobs(rest[0], rest[1])
	case "chain":
		return txnChain(rest[0], rest[1], rest[2], rest[3])
	case "read":
		return txnRead(rest[0], rest[1], rest[2:])
	default:
		return fmt.Errorf("what is %q", what)
	}
}

func txnProducer(id string, timeout time.Duration) (sarama.SyncProducer, error) {
	config := settings()
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Transaction.ID = id
	config.Producer.Transaction.Timeout = timeout
	config.Producer.Retry.Max = 20
	config.Producer.Transaction.Retry.Max = 100
	config.Metadata.Retry.Max = 20
	return sarama.NewSyncProducer([]string{corpus.Bootstrap}, config)
}

func txnWrite(producer sarama.SyncProducer, topic string, partition int32, values ...string) error {
	var messages []*sarama.ProducerMessage
	for _, value := range values {
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Partition: partition, Value: sarama.StringEncoder(value)})
	}
	return producer.SendMessages(messages)
}

func txnJobs(topic, id string) error {
	first, err := txnProducer(id, txnPatience)
	if err != nil {
		return err
	}
	defer first.Close()
	corpus.Job("commit", func() (string, error) {
		return "two partitions", errors.Join(first.BeginTxn(), txnWrite(first, topic, 0, "c0", "c1", "c2"), txnWrite(first, topic, 1, "c3"), first.CommitTxn())
	})
	corpus.Job("abort", func() (string, error) {
		return "after its records were acknowledged", errors.Join(first.BeginTxn(), txnWrite(first, topic, 0, "a0", "a1"), first.AbortTxn())
	})
	corpus.Job("empty", func() (string, error) {
		return "committed and aborted", errors.Join(first.BeginTxn(), first.CommitTxn(), first.BeginTxn(), first.AbortTxn())
	})
	corpus.Job("offsets", func() (string, error) { return txnOffsets(first, topic) })
	corpus.Job("fenced", func() (string, error) { return txnFenced(first, topic, id) })
	corpus.Job("timeout", func() (string, error) { return txnTimeout(topic, id+"-late") })
	corpus.Job("end", func() (string, error) {
		third, err := txnProducer(id, txnPatience)
		if err != nil {
			return "", err
		}
		defer third.Close()
		return "by a third producer", errors.Join(third.BeginTxn(), txnWrite(third, topic, 0, "end"), txnWrite(third, topic, 1, "end"), third.CommitTxn())
	})
	corpus.Exit()
	return nil
}

// txnAt is the end of partition 0 as a reader of this kind sees it.
func txnAt(topic string, isolation sarama.IsolationLevel) (int64, error) {
	admin, err := sarama.NewClusterAdmin([]string{corpus.Bootstrap}, settings())
	if err != nil {
		return 0, err
	}
	defer admin.Close()
	asked := map[string]map[int32]int64{topic: {0: sarama.OffsetNewest}}
	answer, err := admin.ListOffsets(asked, &sarama.ListOffsetsOptions{IsolationLevel: isolation})
	if err != nil {
		return 0, err
	}
	one := answer[topic][0]
	if one == nil || one.Err != nil && !errors.Is(one.Err, sarama.ErrNoError) {
		return 0, fmt.Errorf("answered %v", one)
	}
	return one.Offset, nil
}

func txnOffsets(producer sarama.SyncProducer, topic string) (string, error) {
	// What ends a transaction is answered before its markers are there.
	begin, err := corpus.Eventually(func() (int64, error) {
		stable, err := txnAt(topic, sarama.ReadCommitted)
		high, err2 := txnAt(topic, sarama.ReadUncommitted)
		if err := errors.Join(err, err2); err != nil || stable != high {
			return 0, fmt.Errorf("stable at %d, end %d, %v", stable, high, err)
		}
		return high, nil
	})
	if err := errors.Join(err, producer.BeginTxn(), txnWrite(producer, topic, 0, "o0")); err != nil {
		return "", err
	}
	stable, err := txnAt(topic, sarama.ReadCommitted)
	high, err2 := txnAt(topic, sarama.ReadUncommitted)
	if err != nil || err2 != nil || stable != begin || high != begin+1 {
		return "", fmt.Errorf("from %d: stable %d, end %d, %v %v", begin, stable, high, err, err2)
	}
	if err := producer.CommitTxn(); err != nil {
		return "", err
	}
	return corpus.Eventually(func() (string, error) {
		if at, err := txnAt(topic, sarama.ReadCommitted); at != begin+2 {
			return "", fmt.Errorf("stable at %d, %v", at, err)
		}
		return fmt.Sprintf("stable at %d, then at %d", begin, begin+2), nil
	})
}

func txnFenced(first sarama.SyncProducer, topic, id string) (string, error) {
	if err := errors.Join(first.BeginTxn(), txnWrite(first, topic, 0, "f0")); err != nil {
		return "", err
	}
	second, err := txnProducer(id, txnPatience)
	if err != nil {
		return "", err
	}
	defer second.Close()
	fenced := first.CommitTxn()
	// It knows no name for this error.
	const producerFenced = sarama.KError(90)
	if !errors.Is(fenced, producerFenced) && !errors.Is(fenced, sarama.ErrInvalidProducerEpoch) {
		return "", fmt.Errorf("instead of fenced: %v", fenced)
	}
	return fenced.Error(), errors.Join(second.BeginTxn(), txnWrite(second, topic, 0, "s0"), second.CommitTxn())
}

func txnTimeout(topic, id string) (string, error) {
	late, err := txnProducer(id, time.Second)
	if err != nil {
		return "", err
	}
	defer late.Close()
	if err := errors.Join(late.BeginTxn(), txnWrite(late, topic, 1, "t0")); err != nil {
		return "", err
	}
	time.Sleep(txnLate)
	if err := late.CommitTxn(); err != nil {
		return err.Error(), nil
	}
	return "", errors.New("committed")
}

func txnChain(input, output, group, id string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	for ctx.Err() == nil {
		if err := txnSession(ctx, input, output, group, id); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "again:", err)
			time.Sleep(200 * time.Millisecond)
		}
	}
	return nil
}

// txnSession goes on until something fails.
func txnSession(parent context.Context, input, output, group, id string) error {
	producer, err := txnProducer(id, txnPatience)
	if err != nil {
		return err
	}
	defer producer.Close()
	config := settings()
	config.Consumer.Group.Session.Timeout = 6 * time.Second
	config.Consumer.Group.Heartbeat.Interval = time.Second
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	config.Consumer.Return.Errors = false
	consumer, err := sarama.NewConsumerGroup([]string{corpus.Bootstrap}, group, config)
	if err != nil {
		return err
	}
	defer consumer.Close()
	ctx, stop := context.WithCancelCause(parent)
	defer stop(nil)
	link := &txnLink{producer: producer, input: input, output: output, group: group, stop: stop}
	for ctx.Err() == nil {
		if err := consumer.Consume(ctx, []string{input}, link); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// txnLink handles one transaction at a time: the claims share the producer.
type txnLink struct {
	mutex                sync.Mutex
	producer             sarama.SyncProducer
	input, output, group string
	number               int
	stop                 context.CancelCauseFunc
}

func (*txnLink) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*txnLink) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (link *txnLink) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			if err := link.transform(session, gather(claim, message)); err != nil {
				link.stop(err)
				return err
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

// gather takes what is there already, too.
func gather(claim sarama.ConsumerGroupClaim, first *sarama.ConsumerMessage) []*sarama.ConsumerMessage {
	messages := []*sarama.ConsumerMessage{first}
	for len(messages) < txnBatch {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return messages
			}
			messages = append(messages, message)
		default:
			return messages
		}
	}
	return messages
}

// transform aborts every fourth transaction, and then writes its records once more in another one.
func (link *txnLink) transform(session sarama.ConsumerGroupSession, messages []*sarama.ConsumerMessage) error {
	link.mutex.Lock()
	defer link.mutex.Unlock()
	link.number++
	if link.number%4 == 0 {
		if err := link.once(session, messages, true); err != nil {
			return err
		}
		fmt.Println("aborted", len(messages))
	}
	if err := link.once(session, messages, false); err != nil {
		return err
	}
	fmt.Println("done", len(messages))
	return nil
}

func (link *txnLink) once(session sarama.ConsumerGroupSession, messages []*sarama.ConsumerMessage, aborts bool) error {
	var values []string
	for _, message := range messages {
		value := string(message.Value)
		if aborts {
			value = "aborted"
		}
		values = append(values, value)
	}
	partition, next := messages[0].Partition, messages[len(messages)-1].Offset+1
	offsets := map[string][]*sarama.PartitionOffsetMetadata{link.input: {{Partition: partition, Offset: next, LeaderEpoch: -1}}}
	metadata := sarama.NewConsumerGroupMetadataFromSession(session, link.group, nil)
	err := link.producer.BeginTxn()
	if err == nil {
		err = txnWrite(link.producer, link.output, partition, values...)
	}
	if err == nil {
		err = link.producer.AddOffsetsToTxnWithGroupMetadata(offsets, metadata)
	}
	if err == nil && !aborts {
		err = link.producer.CommitTxn()
	}
	if err != nil || aborts {
		err = errors.Join(err, link.producer.AbortTxn())
	}
	return err
}

// txnRead goes on until every partition of every topic has shown a record `end`.
func txnRead(isolation, partitions string, topics []string) error {
	count, err := strconv.Atoi(partitions)
	if err != nil {
		return err
	}
	config := settings()
	if isolation == "committed" {
		config.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	consumer, err := sarama.NewConsumer([]string{corpus.Bootstrap}, config)
	if err != nil {
		return err
	}
	defer consumer.Close()
	deadline := time.After(txnPatience)
	for _, topic := range topics {
		for partition := range count {
			if err := txnReadOne(consumer, topic, int32(partition), deadline); err != nil {
				return err
			}
		}
	}
	return nil
}

func txnReadOne(consumer sarama.Consumer, topic string, partition int32, deadline <-chan time.Time) error {
	claim, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
	if err != nil {
		return err
	}
	defer claim.Close()
	for {
		select {
		case message := <-claim.Messages():
			fmt.Println("record", topic, partition, string(message.Value))
			if string(message.Value) == "end" {
				return nil
			}
		case err := <-claim.Errors():
			return err
		case <-deadline:
			return fmt.Errorf("no end in %s-%d", topic, partition)
		}
	}
}
