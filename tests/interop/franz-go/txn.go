package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"ringlog.test/interop/corpus"
)

const (
	txnPatience = time.Minute
	txnLate     = 4 * time.Second
	// The client asks for its producer id when it first writes, and until then what it left open before it was killed stays open; its group's
	// offsets stay undecided so long, and without them it has nothing to write.
	txnChainTimeout = 10 * time.Second
)

// Transactions, see ../transactions/scenario.py.
//
//	franz-go txn jobs TOPIC ID                  one line per job, `ok|FAIL job detail`
//	franz-go txn chain INPUT OUTPUT GROUP ID    consumes, produces and commits in transactions, until SIGTERM
//	franz-go txn read committed|uncommitted PARTITIONS TOPIC...
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

func txnProducer(id string, timeout time.Duration) (*kgo.Client, error) {
	return open(kgo.TransactionalID(id), kgo.TransactionTimeout(timeout), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
}

func txnWrite(client *kgo.Client, topic string, partition int32, values ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), txnPatience)
	defer cancel()
	var records []*kgo.Record
	for _, value := range values {
		records = append(records, &kgo.Record{Topic: topic, Partition: partition, Value: []byte(value)})
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}

func txnEnd(client *kgo.Client, commit kgo.TransactionEndTry) error {
	ctx, cancel := context.WithTimeout(context.Background(), txnPatience)
	defer cancel()
	return client.EndTransaction(ctx, commit)
}

// txnRun is one transaction that writes these values to a partition.
func txnRun(client *kgo.Client, commit kgo.TransactionEndTry, topic string, partition int32, values ...string) error {
	return errors.Join(client.BeginTransaction(), txnWrite(client, topic, partition, values...), txnEnd(client, commit))
}

func txnJobs(topic, id string) error {
	first, err := txnProducer(id, txnPatience)
	if err != nil {
		return err
	}
	defer first.Close()
	corpus.Job("commit", func() (string, error) {
		return "two partitions", errors.Join(first.BeginTransaction(), txnWrite(first, topic, 0, "c0", "c1", "c2"), txnWrite(first, topic, 1, "c3"),
			txnEnd(first, kgo.TryCommit))
	})
	corpus.Job("abort", func() (string, error) {
		return "after its records were acknowledged", txnRun(first, kgo.TryAbort, topic, 0, "a0", "a1")
	})
	corpus.Job("empty", func() (string, error) {
		return "committed and aborted", errors.Join(first.BeginTransaction(), txnEnd(first, kgo.TryCommit), first.BeginTransaction(), txnEnd(first, kgo.TryAbort))
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
		return "by a third producer", errors.Join(third.BeginTransaction(), txnWrite(third, topic, 0, "end"), txnWrite(third, topic, 1, "end"),
			txnEnd(third, kgo.TryCommit))
	})
	corpus.Exit()
	return nil
}

func txnOffsets(client *kgo.Client, topic string) (string, error) {
	admin := kadm.NewClient(client)
	stable := func() int64 {
		offsets, _ := admin.ListCommittedOffsets(context.Background(), topic)
		one, _ := offsets.Lookup(topic, 0)
		return one.Offset
	}
	high := func() int64 {
		offsets, _ := admin.ListEndOffsets(context.Background(), topic)
		one, _ := offsets.Lookup(topic, 0)
		return one.Offset
	}
	// What ends a transaction is answered before its markers are there.
	begin, err := corpus.Eventually(func() (int64, error) {
		if stable, high := stable(), high(); stable != high {
			return 0, fmt.Errorf("stable at %d, end %d", stable, high)
		}
		return high(), nil
	})
	if err := errors.Join(err, client.BeginTransaction(), txnWrite(client, topic, 0, "o0")); err != nil {
		return "", err
	}
	if stable() != begin || high() != begin+1 {
		return "", fmt.Errorf("from %d: stable %d, end %d", begin, stable(), high())
	}
	if err := txnEnd(client, kgo.TryCommit); err != nil {
		return "", err
	}
	return corpus.Eventually(func() (string, error) {
		if at := stable(); at != begin+2 {
			return "", fmt.Errorf("stable at %d", at)
		}
		return fmt.Sprintf("stable at %d, then at %d", begin, begin+2), nil
	})
}

func txnFenced(first *kgo.Client, topic, id string) (string, error) {
	if err := errors.Join(first.BeginTransaction(), txnWrite(first, topic, 0, "f0")); err != nil {
		return "", err
	}
	second, err := txnProducer(id, txnPatience)
	if err != nil {
		return "", err
	}
	defer second.Close()
	if err := errors.Join(second.BeginTransaction(), txnWrite(second, topic, 0, "s0")); err != nil {
		return "", err
	}
	fenced := txnEnd(first, kgo.TryCommit)
	if !errors.Is(fenced, kerr.ProducerFenced) && !errors.Is(fenced, kerr.InvalidProducerEpoch) {
		return "", fmt.Errorf("instead of fenced: %v", fenced)
	}
	return fenced.Error(), txnEnd(second, kgo.TryCommit)
}

func txnTimeout(topic, id string) (string, error) {
	late, err := txnProducer(id, time.Second)
	if err != nil {
		return "", err
	}
	defer late.Close()
	if err := errors.Join(late.BeginTransaction(), txnWrite(late, topic, 1, "t0")); err != nil {
		return "", err
	}
	time.Sleep(txnLate)
	if err := txnEnd(late, kgo.TryCommit); err != nil {
		return err.Error(), nil
	}
	return "", errors.New("committed")
}

func txnChain(input, output, group, id string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	number := 0
	for ctx.Err() == nil {
		if err := txnSession(ctx, input, output, group, id, &number); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "again:", err)
			time.Sleep(200 * time.Millisecond)
		}
	}
	return nil
}

// txnSession goes on until something fails. Every fourth transaction is aborted and its records are consumed again.
func txnSession(ctx context.Context, input, output, group, id string, number *int) error {
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(corpus.Bootstrap), kgo.MetadataMinAge(50*time.Millisecond), kgo.TransactionalID(id),
		kgo.TransactionTimeout(txnChainTimeout), kgo.ConsumerGroup(group), kgo.ConsumeTopics(input), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(), kgo.SessionTimeout(6*time.Second),
		kgo.HeartbeatInterval(time.Second), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		return err
	}
	defer session.Close()
	for ctx.Err() == nil {
		poll, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		fetches := session.PollFetches(poll)
		cancel()
		if fetches.NumRecords() == 0 {
			continue
		}
		aborts := *number%4 == 3
		*number++
		if err := session.Begin(); err != nil {
			return err
		}
		failed := kgo.AbortingFirstErrPromise(session.Client())
		fetches.EachRecord(func(r *kgo.Record) {
			value := r.Value
			if aborts {
				value = []byte("aborted")
			}
			session.Produce(context.Background(), &kgo.Record{Topic: output, Partition: r.Partition, Value: value}, failed.Promise())
		})
		good := failed.Err() == nil
		if good && aborts {
			if err := session.Client().Flush(context.Background()); err != nil {
				return err
			}
		}
		committed, err := session.End(context.Background(), kgo.TransactionEndTry(good && !aborts))
		if err != nil {
			return err
		}
		word := "aborted"
		if committed {
			word = "done"
		}
		fmt.Println(word, fetches.NumRecords())
	}
	return nil
}

// txnRead goes on until every partition of every topic has shown a record `end`.
func txnRead(isolation, partitions string, topics []string) error {
	count, err := strconv.Atoi(partitions)
	if err != nil {
		return err
	}
	level := kgo.ReadUncommitted()
	if isolation == "committed" {
		level = kgo.ReadCommitted()
	}
	still, from := map[string]bool{}, map[string]map[int32]kgo.Offset{}
	for _, topic := range topics {
		from[topic] = map[int32]kgo.Offset{}
		for partition := range count {
			from[topic][int32(partition)] = kgo.NewOffset().AtStart()
			still[fmt.Sprint(topic, partition)] = true
		}
	}
	client, err := open(kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(level))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), txnPatience)
	defer cancel()
	for len(still) > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("no end in %v", still)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			fmt.Println("record", r.Topic, r.Partition, string(r.Value))
			if string(r.Value) == "end" {
				delete(still, fmt.Sprint(r.Topic, r.Partition))
			}
		})
	}
	return nil
}
