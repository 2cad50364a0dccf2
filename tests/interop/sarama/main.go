// sarama's jobs. BOOTSTRAP, RUN and T0 in the environment; one line per job, `ok|FAIL job detail`; exit code 1 on any FAIL.
//
//	sarama own              admin, produce and group-less consume with topics of its own
//	sarama read WRITER...   what other clients wrote
//	sarama member TOPIC GROUP   in a consumer group, see member.go
//	sarama txn ...   transactions, see txn.go
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/IBM/sarama"
	"ringlog.test/interop/corpus"
)

const me = "sarama"

var codecs = map[string]sarama.CompressionCodec{"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD}

func main() {
	switch os.Args[1] {
	case "member":
		if err := member(os.Args[2], os.Args[3]); err != nil {
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
	corpus.Job("cluster", withAdmin(cluster))
	corpus.Job("create-topic", withAdmin(createTopics))
	corpus.Job("create-again", withAdmin(createAgain))
	corpus.Job("metadata", withAdmin(metadata))
	for _, codec := range corpus.Codecs {
		corpus.Job("produce-"+codec, func() (string, error) { return produce(codec, codec, false) })
	}
	corpus.Job("produce-idempotent", func() (string, error) { return produce("idempotent", "none", true) })
	corpus.Job("produce-largest", func() (string, error) { return largest(jobs) })
	corpus.Job("refuse-too-large", func() (string, error) { return tooLarge(jobs) })
	for _, kind := range append(corpus.Codecs, "idempotent") {
		corpus.Job("consume-"+kind, func() (string, error) { return consume(me, kind) })
	}
	corpus.Job("from-offset", func() (string, error) { return from("lz4", 37) })
	corpus.Job("from-timestamp", fromTimestamp)
	corpus.Job("list-offsets", listOffsets)
	corpus.Job("offset-out-of-range", outOfRange)
	corpus.Job("describe-configs", withAdmin(func(admin sarama.ClusterAdmin) (string, error) {
		return config(admin, jobs, "cleanup.policy", "delete")
	}))
	corpus.Job("alter-configs", withAdmin(alterConfigs))
	corpus.Job("delete-records", withAdmin(deleteRecords))
	corpus.Job("create-partitions", withAdmin(createPartitions))
	corpus.Job("log-dirs", withAdmin(logDirs))
	corpus.Job("elect-leaders", withAdmin(electLeaders))
	corpus.Job("delete-topic", withAdmin(deleteTopic))
}

// ---- admin

func withAdmin(body func(sarama.ClusterAdmin) (string, error)) func() (string, error) {
	return func() (string, error) {
		admin, err := sarama.NewClusterAdmin([]string{corpus.Bootstrap}, settings())
		if err != nil {
			return "", err
		}
		defer admin.Close()
		return body(admin)
	}
}

func cluster(admin sarama.ClusterAdmin) (string, error) {
	brokers, controller, err := admin.DescribeCluster()
	if err != nil {
		return "", err
	}
	if len(brokers) == 0 || controller < 0 {
		return "", fmt.Errorf("%d brokers, controller %d", len(brokers), controller)
	}
	return fmt.Sprintf("%d nodes, controller %d", len(brokers), controller), nil
}

func createTopics(admin sarama.ClusterAdmin) (string, error) {
	for _, kind := range corpus.Kinds {
		detail := &sarama.TopicDetail{NumPartitions: corpus.Partitions, ReplicationFactor: 1}
		if err := admin.CreateTopic(corpus.Topic(me, kind), detail, false); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d topics of %d partitions", len(corpus.Kinds), corpus.Partitions), nil
}

func createAgain(admin sarama.ClusterAdmin) (string, error) {
	err := admin.CreateTopic(corpus.Topic(me, "jobs"), &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false)
	return expect(err, sarama.ErrTopicAlreadyExists)
}

func metadata(admin sarama.ClusterAdmin) (string, error) {
	described, err := admin.DescribeTopics([]string{corpus.Topic(me, "none")})
	if err != nil {
		return "", err
	}
	if described[0].Err != sarama.ErrNoError || len(described[0].Partitions) != corpus.Partitions {
		return "", fmt.Errorf("%+v", described[0])
	}
	for _, partition := range described[0].Partitions {
		if partition.Leader < 0 || len(partition.Isr) == 0 {
			return "", fmt.Errorf("%+v", partition)
		}
	}
	if topics, err := admin.ListTopics(); err != nil || topics[corpus.Topic(me, "none")].NumPartitions != corpus.Partitions {
		return "", fmt.Errorf("not listed: %v", err)
	}
	return fmt.Sprintf("%d partitions, topic id %s", len(described[0].Partitions), described[0].Uuid), nil
}

func config(admin sarama.ClusterAdmin, topic, key, due string) (string, error) {
	entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic})
	if err != nil {
		return "", err
	}
	for _, entry := range entries {
		if entry.Name == key && entry.Value == due {
			return fmt.Sprintf("%d entries, %s=%s", len(entries), key, due), nil
		}
	}
	return "", fmt.Errorf("%s=%s is not among %d entries", key, due, len(entries))
}

func alterConfigs(admin sarama.ClusterAdmin) (string, error) {
	topic, day := corpus.Topic(me, "jobs"), "86400000"
	alter := func(op sarama.IncrementalAlterConfigsOperation, value *string, due string) (string, error) {
		entries := map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": {Operation: op, Value: value}}
		if err := admin.IncrementalAlterConfig(sarama.TopicResource, topic, entries, false); err != nil {
			return "", err
		}
		return corpus.Eventually(func() (string, error) { return config(admin, topic, "retention.ms", due) })
	}
	said, err := alter(sarama.IncrementalAlterConfigsOperationSet, &day, day)
	if err == nil {
		_, err = alter(sarama.IncrementalAlterConfigsOperationDelete, nil, "604800000")
	}
	if err != nil {
		return "", err
	}
	// the older request replaces all overrides at once
	if err := admin.AlterConfig(sarama.TopicResource, topic, map[string]*string{"retention.ms": &day}, false); err != nil {
		return "", fmt.Errorf("AlterConfigs: %w", err)
	}
	_, err = corpus.Eventually(func() (string, error) { return config(admin, topic, "retention.ms", day) })
	return said + ", and back, and by AlterConfigs", err
}

func deleteRecords(admin sarama.ClusterAdmin) (string, error) {
	topic := corpus.Topic(me, "jobs")
	if err := admin.DeleteRecords(topic, map[int32]int64{0: 1}); err != nil {
		return "", err
	}
	client, err := open()
	if err != nil {
		return "", err
	}
	defer client.Close()
	if start, err := client.GetOffset(topic, 0, sarama.OffsetOldest); err != nil || start != 1 {
		return "", fmt.Errorf("earliest is %d, %v", start, err)
	}
	return "earliest 1", nil
}

func createPartitions(admin sarama.ClusterAdmin) (string, error) {
	topic := corpus.Topic(me, "jobs")
	if err := admin.CreatePartitions(topic, 5, nil, false); err != nil {
		return "", err
	}
	return corpus.Eventually(func() (string, error) {
		described, err := admin.DescribeTopics([]string{topic})
		if err != nil || len(described[0].Partitions) != 5 {
			return "", fmt.Errorf("%d partitions, %v", len(described[0].Partitions), err)
		}
		return "3 -> 5", nil
	})
}

func logDirs(admin sarama.ClusterAdmin) (string, error) {
	brokers, _, err := admin.DescribeCluster()
	if err != nil {
		return "", err
	}
	described, err := admin.DescribeLogDirs([]int32{brokers[0].ID()})
	if err != nil {
		return "", err
	}
	size := int64(0)
	for _, directories := range described {
		for _, directory := range directories {
			for _, topic := range directory.Topics {
				for _, partition := range topic.Partitions {
					if topic.Topic == corpus.Topic(me, "none") {
						size += partition.Size
					}
				}
			}
		}
	}
	if size < 4_000_000 {
		return "", fmt.Errorf("%d bytes", size)
	}
	return fmt.Sprintf("%d bytes", size), nil
}

func electLeaders(admin sarama.ClusterAdmin) (string, error) {
	results, err := admin.ElectLeaders(sarama.PreferredElection, map[string][]int32{corpus.Topic(me, "jobs"): {0}})
	if err != nil {
		return "", err
	}
	for _, topic := range results {
		for _, partition := range topic {
			if partition.ErrorCode != sarama.ErrNoError && partition.ErrorCode != sarama.KError(84) { // ELECTION_NOT_NEEDED
				return "", partition.ErrorCode
			}
		}
	}
	return "not needed", nil
}

func deleteTopic(admin sarama.ClusterAdmin) (string, error) {
	topic := corpus.Topic(me, "gone")
	if err := admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1}, false); err != nil {
		return "", err
	}
	if err := admin.DeleteTopic(topic); err != nil {
		return "", err
	}
	return corpus.Eventually(func() (string, error) {
		described, err := admin.DescribeTopics([]string{topic})
		if err != nil {
			return "", err
		}
		return expect(described[0].Err, sarama.ErrUnknownTopicOrPartition)
	})
}

func listOffsets() (string, error) {
	client, err := open()
	if err != nil {
		return "", err
	}
	defer client.Close()
	for partition := int32(0); partition < corpus.Partitions; partition++ {
		for ask, due := range map[int64]int64{sarama.OffsetOldest: 0, sarama.OffsetNewest: corpus.PerPartition} {
			if offset, err := client.GetOffset(corpus.Topic(me, "gzip"), partition, ask); err != nil || offset != due {
				return "", fmt.Errorf("%d of partition %d is %d, %v", ask, partition, offset, err)
			}
		}
	}
	return fmt.Sprintf("earliest 0, latest %d", corpus.PerPartition), nil
}

// ---- produce

func produce(kind, codec string, idempotent bool) (string, error) {
	config := settings()
	config.Producer.Compression = codecs[codec]
	config.Producer.RequiredAcks = sarama.WaitForLocal
	if idempotent {
		config.Producer.Idempotent = true
		config.Producer.RequiredAcks = sarama.WaitForAll
	}
	producer, err := sarama.NewSyncProducer([]string{corpus.Bootstrap}, config)
	if err != nil {
		return "", err
	}
	defer producer.Close()
	messages := make([]*sarama.ProducerMessage, corpus.Records)
	for i := range messages {
		message := &sarama.ProducerMessage{Topic: corpus.Topic(me, kind), Partition: int32(i % corpus.Partitions), Timestamp: corpus.Timestamp(i)}
		if key := corpus.Key(i); key != nil {
			message.Key = sarama.ByteEncoder(key)
		}
		if value := corpus.Value(me, i); value != nil {
			message.Value = sarama.ByteEncoder(value)
		}
		for _, header := range corpus.Headers(me, i) {
			message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(header.Key), Value: header.Value})
		}
		messages[i] = message
	}
	if err := producer.SendMessages(messages); err != nil {
		return "", err
	}
	for i, message := range messages {
		if message.Offset != int64(i/corpus.Partitions) {
			return "", fmt.Errorf("record %d acknowledged at offset %d", i, message.Offset)
		}
	}
	return fmt.Sprintf("%d records", len(messages)), nil
}

func produceOne(topic string, value []byte) (int64, error) {
	config := settings()
	config.Producer.MaxMessageBytes = 4_000_000
	producer, err := sarama.NewSyncProducer([]string{corpus.Bootstrap}, config)
	if err != nil {
		return 0, err
	}
	defer producer.Close()
	_, offset, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Partition: 0, Value: sarama.ByteEncoder(value)})
	return offset, err
}

// One record whose batch is just below max.message.bytes (1048588), written and read back.
func largest(topic string) (string, error) {
	value := corpus.Random(1, 1_048_400)
	offset, err := produceOne(topic, value)
	if err != nil {
		return "", err
	}
	read, err := first(topic, 0, offset)
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
	said, err := expect(err, sarama.ErrMessageSizeTooLarge)
	if err == nil {
		_, err = produceOne(topic, corpus.Random(1, 10))
	}
	return said + ", and the next record is accepted", err
}

// ---- consume, always without a group

func consume(writer, kind string) (string, error) {
	consumer, err := sarama.NewConsumer([]string{corpus.Bootstrap}, settings())
	if err != nil {
		return "", err
	}
	defer consumer.Close()
	progress := corpus.Progress{Writer: writer}
	for partition := int32(0); partition < corpus.Partitions; partition++ {
		stream, err := consumer.ConsumePartition(corpus.Topic(writer, kind), partition, sarama.OffsetOldest)
		if err != nil {
			return "", err
		}
		for n := 0; n < corpus.PerPartition; n++ {
			message, err := next(stream)
			if err == nil {
				err = progress.Add(plain(message))
			}
			if err != nil {
				return "", err
			}
		}
		if end := stream.HighWaterMarkOffset(); end != corpus.PerPartition {
			return "", fmt.Errorf("high watermark of %d is %d", partition, end)
		}
		if err := stream.Close(); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d records", progress.Seen), nil
}

func from(kind string, offset int64) (string, error) {
	message, err := first(corpus.Topic(me, kind), 1, offset)
	if err != nil {
		return "", err
	}
	if message.Offset != offset {
		return "", fmt.Errorf("offset %d", message.Offset)
	}
	return fmt.Sprintf("offset %d", offset), corpus.Check(me, plain(message))
}

func fromTimestamp() (string, error) {
	client, err := open()
	if err != nil {
		return "", err
	}
	defer client.Close()
	// between records 97 and 100 of partition 1
	offset, err := client.GetOffset(corpus.Topic(me, "zstd"), 1, corpus.Timestamp(100).UnixMilli()-5)
	if err != nil || offset != 33 {
		return "", fmt.Errorf("offset %d, %v", offset, err)
	}
	return from("zstd", offset)
}

func outOfRange() (string, error) {
	consumer, err := sarama.NewConsumer([]string{corpus.Bootstrap}, settings())
	if err != nil {
		return "", err
	}
	defer consumer.Close()
	_, err = consumer.ConsumePartition(corpus.Topic(me, "none"), 0, 1_000_000)
	return expect(err, sarama.ErrOffsetOutOfRange)
}

func first(topic string, partition int32, offset int64) (*sarama.ConsumerMessage, error) {
	consumer, err := sarama.NewConsumer([]string{corpus.Bootstrap}, settings())
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	stream, err := consumer.ConsumePartition(topic, partition, offset)
	if err != nil {
		return nil, err
	}
	defer stream.AsyncClose()
	return next(stream)
}

func next(stream sarama.PartitionConsumer) (*sarama.ConsumerMessage, error) {
	select {
	case message := <-stream.Messages():
		return message, nil
	case err := <-stream.Errors():
		return nil, err
	case <-time.After(corpus.Limit):
		return nil, fmt.Errorf("nothing came within %s", corpus.Limit)
	}
}

// ---- clients

func open() (sarama.Client, error) {
	return sarama.NewClient([]string{corpus.Bootstrap}, settings())
}

func settings() *sarama.Config {
	config := sarama.NewConfig() // its default protocol version, as its users have it
	config.Net.MaxOpenRequests = 1
	config.Consumer.MaxWaitTime = 50 * time.Millisecond // closing a partition waits for the fetch in flight
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Return.Successes = true
	config.Consumer.Return.Errors = true
	return config
}

func plain(m *sarama.ConsumerMessage) corpus.Record {
	record := corpus.Record{Partition: m.Partition, Offset: m.Offset, Key: m.Key, Value: m.Value, Timestamp: m.Timestamp}
	for _, header := range m.Headers {
		record.Headers = append(record.Headers, corpus.Header{Key: string(header.Key), Value: header.Value})
	}
	return record
}

func expect(err error, due sarama.KError) (string, error) {
	if errors.Is(err, due) {
		return fmt.Sprintf("error %d", due), nil
	}
	return "", fmt.Errorf("error %d was due, not %v", due, err)
}
