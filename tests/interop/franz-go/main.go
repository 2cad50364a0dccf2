// franz-go's jobs. BOOTSTRAP, RUN and T0 in the environment; one line per job, `ok|FAIL job detail`; exit code 1 on any FAIL.
//
//	franz-go own              admin, produce and group-less consume with topics of its own
//	franz-go read WRITER...   what other clients wrote
//	franz-go member TOPIC GROUP classic|consumer   in a consumer group, see member.go
//	franz-go txn ...   transactions, see txn.go
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"ringlog.test/interop/corpus"
)

const me = "franz-go"

var codecs = map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}

func main() {
	switch os.Args[1] {
	case "member":
		if err := member(os.Args[2], os.Args[3], os.Args[4]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "txn":
		if err := txn(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "own":
		own()
	case "read":
		for _, writer := range os.Args[2:] {
			for _, codec := range corpus.Codecs {
				corpus.Job("read-"+writer+"-"+codec, func() (string, error) { return consume(writer, codec) })
			}
		}
	}
	corpus.Exit()
}

func own() {
	jobs := corpus.Topic(me, "jobs")
	plain := kgo.DisableIdempotentWrite()
	corpus.Job("cluster", withAdmin(cluster))
	corpus.Job("create-topic", withAdmin(createTopics))
	corpus.Job("create-again", withAdmin(createAgain))
	corpus.Job("metadata", withAdmin(metadata))
	for _, codec := range corpus.Codecs {
		corpus.Job("produce-"+codec, func() (string, error) { return produce(codec, codec, plain, kgo.RequiredAcks(kgo.LeaderAck())) })
	}
	corpus.Job("produce-idempotent", func() (string, error) { return produce("idempotent", "none") })
	corpus.Job("produce-largest", func() (string, error) { return largest(jobs) })
	corpus.Job("refuse-too-large", func() (string, error) { return tooLarge(jobs) })
	for _, kind := range append(corpus.Codecs, "idempotent") {
		corpus.Job("consume-"+kind, func() (string, error) { return consume(me, kind) })
	}
	corpus.Job("from-offset", func() (string, error) { return from("lz4", kgo.NewOffset().At(37), 37) })
	// between records 97 and 100 of partition 1
	corpus.Job("from-timestamp", func() (string, error) {
		return from("zstd", kgo.NewOffset().AfterMilli(corpus.Timestamp(100).UnixMilli()-5), 33)
	})
	corpus.Job("list-offsets", withAdmin(listOffsets))
	corpus.Job("offset-out-of-range", outOfRange)
	corpus.Job("describe-configs", withAdmin(func(ctx context.Context, admin *kadm.Client) (string, error) {
		return config(ctx, admin, jobs, "cleanup.policy", "delete")
	}))
	corpus.Job("alter-configs", withAdmin(alterConfigs))
	corpus.Job("delete-records", withAdmin(deleteRecords))
	corpus.Job("create-partitions", withAdmin(createPartitions))
	corpus.Job("log-dirs", withAdmin(logDirs))
	corpus.Job("elect-leaders", withAdmin(electLeaders))
	corpus.Job("delete-topic", withAdmin(deleteTopic))
}

// ---- admin

func withAdmin(body func(context.Context, *kadm.Client) (string, error)) func() (string, error) {
	return func() (string, error) {
		client, err := open()
		if err != nil {
			return "", err
		}
		defer client.Close()
		ctx, cancel := limit()
		defer cancel()
		return body(ctx, kadm.NewClient(client))
	}
}

func cluster(ctx context.Context, admin *kadm.Client) (string, error) {
	metadata, err := admin.BrokerMetadata(ctx)
	if err != nil {
		return "", err
	}
	if len(metadata.Brokers) == 0 || metadata.Controller < 0 || metadata.Cluster == "" {
		return "", fmt.Errorf("%+v", metadata)
	}
	return fmt.Sprintf("%d nodes, id %s", len(metadata.Brokers), metadata.Cluster), nil
}

func createTopics(ctx context.Context, admin *kadm.Client) (string, error) {
	for _, kind := range corpus.Kinds {
		if _, err := admin.CreateTopic(ctx, corpus.Partitions, -1, nil, corpus.Topic(me, kind)); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d topics of %d partitions", len(corpus.Kinds), corpus.Partitions), nil
}

func createAgain(ctx context.Context, admin *kadm.Client) (string, error) {
	_, err := admin.CreateTopic(ctx, 1, 1, nil, corpus.Topic(me, "jobs"))
	return expect(err, kerr.TopicAlreadyExists)
}

func metadata(ctx context.Context, admin *kadm.Client) (string, error) {
	topic := corpus.Topic(me, "none")
	topics, err := admin.ListTopics(ctx, topic)
	if err != nil {
		return "", err
	}
	detail := topics[topic]
	if detail.Err != nil || len(detail.Partitions) != corpus.Partitions {
		return "", fmt.Errorf("%+v", detail)
	}
	for _, partition := range detail.Partitions {
		if partition.Leader < 0 || len(partition.ISR) == 0 {
			return "", fmt.Errorf("%+v", partition)
		}
	}
	return fmt.Sprintf("%d partitions, topic id %s", len(detail.Partitions), detail.ID), nil
}

func listOffsets(ctx context.Context, admin *kadm.Client) (string, error) {
	topic := corpus.Topic(me, "gzip")
	asks := []struct {
		name string
		ask  func(context.Context, ...string) (kadm.ListedOffsets, error)
		due  int64
	}{
		{"earliest", admin.ListStartOffsets, 0},
		{"latest", admin.ListEndOffsets, corpus.PerPartition},
		{"max timestamp", admin.ListMaxTimestampOffsets, corpus.PerPartition - 1},
	}
	said := ""
	for _, ask := range asks {
		listed, err := ask.ask(ctx, topic)
		if err == nil {
			err = listed.Error()
		}
		if err != nil {
			return "", err
		}
		for partition := int32(0); partition < corpus.Partitions; partition++ {
			if found, ok := listed.Lookup(topic, partition); !ok || found.Offset != ask.due {
				return "", fmt.Errorf("%s of %d: %+v", ask.name, partition, found)
			}
		}
		said += fmt.Sprintf("%s %d ", ask.name, ask.due)
	}
	return said, nil
}

func config(ctx context.Context, admin *kadm.Client, topic, key, due string) (string, error) {
	described, err := admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return "", err
	}
	resource, err := described.On(topic, nil)
	if err == nil {
		err = resource.Err
	}
	if err != nil {
		return "", err
	}
	for _, entry := range resource.Configs {
		if entry.Key == key && entry.Value != nil && *entry.Value == due {
			return fmt.Sprintf("%d entries, %s=%s", len(resource.Configs), key, due), nil
		}
	}
	return "", fmt.Errorf("%s=%s is not among %d entries", key, due, len(resource.Configs))
}

func alterConfigs(ctx context.Context, admin *kadm.Client) (string, error) {
	topic, day := corpus.Topic(me, "jobs"), "86400000"
	alter := func(op kadm.IncrementalOp, value *string, due string) (string, error) {
		altered, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: op, Name: "retention.ms", Value: value}}, topic)
		if err != nil {
			return "", err
		}
		for _, one := range altered {
			if one.Err != nil {
				return "", one.Err
			}
		}
		return corpus.Eventually(func() (string, error) { return config(ctx, admin, topic, "retention.ms", due) })
	}
	said, err := alter(kadm.SetConfig, &day, day)
	if err == nil {
		_, err = alter(kadm.DeleteConfig, nil, "604800000")
	}
	return said + ", and back", err
}

func deleteRecords(ctx context.Context, admin *kadm.Client) (string, error) {
	topic := corpus.Topic(me, "jobs")
	var before kadm.Offsets
	before.AddOffset(topic, 0, 1, -1)
	deleted, err := admin.DeleteRecords(ctx, before)
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		return "", err
	}
	listed, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return "", err
	}
	if start, _ := listed.Lookup(topic, 0); start.Offset != 1 {
		return "", fmt.Errorf("earliest is %d", start.Offset)
	}
	return "earliest 1", nil
}

func createPartitions(ctx context.Context, admin *kadm.Client) (string, error) {
	topic := corpus.Topic(me, "jobs")
	made, err := admin.UpdatePartitions(ctx, 5, topic)
	if err == nil {
		err = made.Error()
	}
	if err != nil {
		return "", err
	}
	return corpus.Eventually(func() (string, error) {
		topics, err := admin.ListTopics(ctx, topic)
		if err != nil || len(topics[topic].Partitions) != 5 {
			return "", fmt.Errorf("%d partitions, %v", len(topics[topic].Partitions), err)
		}
		return "3 -> 5", nil
	})
}

func logDirs(ctx context.Context, admin *kadm.Client) (string, error) {
	described, err := admin.DescribeAllLogDirs(ctx, nil)
	if err != nil {
		return "", err
	}
	size := int64(0)
	for _, broker := range described {
		broker.EachPartition(func(p kadm.DescribedLogDirPartition) {
			if p.Topic == corpus.Topic(me, "none") {
				size += p.Size
			}
		})
	}
	if size < 4_000_000 {
		return "", fmt.Errorf("%d bytes", size)
	}
	return fmt.Sprintf("%d bytes on %d nodes", size, len(described)), nil
}

func electLeaders(ctx context.Context, admin *kadm.Client) (string, error) {
	var partitions kadm.TopicsSet
	partitions.Add(corpus.Topic(me, "jobs"), 0)
	elected, err := admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, partitions)
	if err != nil {
		return "", err
	}
	for _, topic := range elected {
		for _, partition := range topic {
			if partition.Err != nil && !errors.Is(partition.Err, kerr.ElectionNotNeeded) {
				return "", partition.Err
			}
		}
	}
	return "not needed", nil
}

func deleteTopic(ctx context.Context, admin *kadm.Client) (string, error) {
	topic := corpus.Topic(me, "gone")
	if _, err := admin.CreateTopic(ctx, 2, 1, nil, topic); err != nil {
		return "", err
	}
	if _, err := admin.DeleteTopic(ctx, topic); err != nil {
		return "", err
	}
	return corpus.Eventually(func() (string, error) {
		topics, err := admin.ListTopics(ctx, topic)
		if err != nil {
			return "", err
		}
		return expect(topics[topic].Err, kerr.UnknownTopicOrPartition)
	})
}

// ---- produce

func produce(kind, codec string, more ...kgo.Opt) (string, error) {
	client, err := open(append(more, kgo.ProducerBatchCompression(codecs[codec]), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		return "", err
	}
	defer client.Close()
	ctx, cancel := limit()
	defer cancel()
	records := make([]*kgo.Record, corpus.Records)
	for i := range records {
		var headers []kgo.RecordHeader
		for _, header := range corpus.Headers(me, i) {
			headers = append(headers, kgo.RecordHeader{Key: header.Key, Value: header.Value})
		}
		records[i] = &kgo.Record{Topic: corpus.Topic(me, kind), Partition: int32(i % corpus.Partitions), Key: corpus.Key(i),
			Value: corpus.Value(me, i), Headers: headers, Timestamp: corpus.Timestamp(i)}
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return "", err
	}
	for i, record := range records {
		if record.Offset != int64(i/corpus.Partitions) {
			return "", fmt.Errorf("record %d acknowledged at offset %d", i, record.Offset)
		}
	}
	return fmt.Sprintf("%d records", len(records)), nil
}

func produceOne(topic string, value []byte) (*kgo.Record, error) {
	client, err := open(kgo.ProducerBatchMaxBytes(4_000_000), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := limit()
	defer cancel()
	return client.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: value}).First()
}

// One record whose batch is just below max.message.bytes (1048588), written and read back.
func largest(topic string) (string, error) {
	value := corpus.Random(1, 1_048_400)
	written, err := produceOne(topic, value)
	if err != nil {
		return "", err
	}
	read, err := first(topic, 0, kgo.NewOffset().At(written.Offset))
	if err != nil {
		return "", err
	}
	if !bytes.Equal(read.Value, value) {
		return "", errors.New("read back differently")
	}
	return fmt.Sprintf("%d bytes", len(value)), nil
}

func tooLarge(topic string) (string, error) {
	_, err := produceOne(topic, corpus.Random(1, 1_100_000))
	said, err := expect(err, kerr.MessageTooLarge)
	if err == nil {
		_, err = produceOne(topic, corpus.Random(1, 10))
	}
	return said + ", and the next record is accepted", err
}

// ---- consume, always without a group

func consume(writer, kind string) (string, error) {
	topic := corpus.Topic(writer, kind)
	starts := map[int32]kgo.Offset{}
	for partition := int32(0); partition < corpus.Partitions; partition++ {
		starts[partition] = kgo.NewOffset().AtStart()
	}
	client, err := open(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: starts}))
	if err != nil {
		return "", err
	}
	defer client.Close()
	ctx, cancel := limit()
	defer cancel()
	progress := corpus.Progress{Writer: writer}
	for progress.Seen < corpus.Records {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return "", fmt.Errorf("after %d records: %w", progress.Seen, err)
		}
		for _, record := range fetches.Records() {
			if err := progress.Add(plain(record)); err != nil {
				return "", err
			}
		}
	}
	return fmt.Sprintf("%d records", progress.Seen), nil
}

func from(kind string, offset kgo.Offset, due int64) (string, error) {
	record, err := first(corpus.Topic(me, kind), 1, offset)
	if err != nil {
		return "", err
	}
	if record.Offset != due {
		return "", fmt.Errorf("offset %d", record.Offset)
	}
	return fmt.Sprintf("offset %d", due), corpus.Check(me, plain(record))
}

func outOfRange() (string, error) {
	client, err := open(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{corpus.Topic(me, "none"): {0: kgo.NewOffset().At(1_000_000)}}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	if err != nil {
		return "", err
	}
	defer client.Close()
	ctx, cancel := limit()
	defer cancel()
	return expect(client.PollFetches(ctx).Err(), kerr.OffsetOutOfRange)
}

func first(topic string, partition int32, offset kgo.Offset) (*kgo.Record, error) {
	client, err := open(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: offset}}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := limit()
	defer cancel()
	fetches := client.PollRecords(ctx, 1)
	if err := fetches.Err(); err != nil {
		return nil, err
	}
	return fetches.Records()[0], nil
}

// ---- clients

func open(more ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(more, kgo.SeedBrokers(corpus.Bootstrap), kgo.MetadataMinAge(50*time.Millisecond))...)
}

func limit() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), corpus.Limit)
}

func plain(r *kgo.Record) corpus.Record {
	record := corpus.Record{Partition: r.Partition, Offset: r.Offset, Key: r.Key, Value: r.Value, Timestamp: r.Timestamp}
	for _, header := range r.Headers {
		record.Headers = append(record.Headers, corpus.Header{Key: header.Key, Value: header.Value})
	}
	return record
}

func expect(err error, due *kerr.Error) (string, error) {
	if errors.Is(err, due) {
		return due.Message, nil
	}
	return "", fmt.Errorf("%s was due, not %v", due.Message, err)
}
