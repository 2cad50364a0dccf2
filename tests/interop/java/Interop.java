// The Java client's jobs. BOOTSTRAP, RUN and T0 in the environment; one line per job, `ok|FAIL job detail`; exit code 1 on any FAIL.
//   Interop own               admin, produce and group-less consume with topics of its own
//   Interop create WRITER...  the topics of writers that have no admin API
//   Interop read WRITER...    what other clients wrote
//   Interop count WRITER N BYTES KIND...   group-less consume: N records and BYTES bytes in each topic (what ProducerPerformance wrote)
//   Interop delete            every topic of this run

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

public final class Interop {
    static final String BOOTSTRAP = System.getenv("BOOTSTRAP"), RUN = System.getenv("RUN"), ME = "java";
    static final long T0 = Long.parseLong(System.getenv().getOrDefault("T0", "0"));
    static final String[] CODECS = {"none", "gzip", "snappy", "lz4", "zstd"};
    static final Duration LIMIT = Duration.ofSeconds(20);
    /** Not idempotent: a retried batch would land behind the ones sent after it, were there any. */
    static final String[] IN_ORDER = {"acks", "1", "enable.idempotence", "false", "max.in.flight.requests.per.connection", "1"};
    static int failures;

    interface Job { String run() throws Exception; }

    static void job(String name, Job body) {
        String line;
        try {
            line = "ok " + name + " " + body.run();
        } catch (Throwable e) {
            failures++;
            Throwable cause = e instanceof ExecutionException && e.getCause() != null ? e.getCause() : e;
            line = "FAIL " + name + " " + cause;
        }
        System.out.println(line.replace('\n', ' '));
    }

    /**
     * Repeats the body until it succeeds, or a few seconds have passed: Apache Kafka answers an admin request before every broker has
     * applied what its controller decided.
     */
    static String eventually(Job body) throws Exception {
        long deadline = System.nanoTime() + Duration.ofSeconds(5).toNanos();
        while (true) {
            try {
                return body.run();
            } catch (IllegalStateException | ExecutionException e) {
                if (System.nanoTime() > deadline) throw e;
                Thread.sleep(10);
            }
        }
    }

    static void require(boolean holds, String otherwise) {
        if (!holds) throw new IllegalStateException(otherwise);
    }

    public static void main(String[] args) {
        if (args[0].equals("compiled")) return; // asked for by `run`, so that no job waits for the compiler
        List<String> rest = List.of(args).subList(1, args.length);
        try (Admin admin = Admin.create(client())) {
            switch (args[0]) {
                case "own" -> own(admin);
                case "create" -> { for (String writer : rest) job("create", () -> create(admin, writer)); }
                case "read" -> {
                    for (String writer : rest)
                        for (String codec : CODECS) job("read-" + writer + "-" + codec, () -> consume(writer, codec));
                }
                case "count" -> {
                    for (String kind : rest.subList(3, rest.size()))
                        job("consume-" + kind, () -> count(topic(rest.get(0), kind), Long.parseLong(rest.get(1)), Long.parseLong(rest.get(2))));
                }
                case "delete" -> job("delete", () -> deleteAll(admin));
                default -> throw new IllegalArgumentException(args[0]);
            }
        }
        System.exit(failures == 0 ? 0 : 1);
    }

    static void own(Admin admin) {
        String jobs = topic(ME, "jobs");
        TopicPartition jobs0 = new TopicPartition(jobs, 0);
        job("cluster", () -> cluster(admin));
        job("create-topic", () -> create(admin, ME));
        job("create-again", () -> createAgain(admin, jobs));
        job("metadata", () -> metadata(admin, topic(ME, "none")));
        for (String codec : CODECS) job("produce-" + codec, () -> produce(codec, codec, IN_ORDER));
        job("produce-idempotent", () -> produce("idempotent", "none", "acks", "all"));
        job("produce-largest", () -> largest(jobs0));
        job("refuse-too-large", () -> tooLarge(jobs0));
        for (String codec : CODECS) job("consume-" + codec, () -> consume(ME, codec));
        job("consume-idempotent", () -> consume(ME, "idempotent"));
        job("from-offset", () -> fromOffset(topic(ME, "lz4")));
        job("from-timestamp", () -> fromTimestamp(topic(ME, "zstd")));
        job("list-offsets", () -> listOffsets(admin, topic(ME, "gzip")));
        job("offset-out-of-range", () -> outOfRange(topic(ME, "none")));
        job("describe-configs", () -> config(admin, jobs, "cleanup.policy", "delete"));
        job("alter-configs", () -> alterConfigs(admin, jobs));
        job("delete-records", () -> deleteRecords(admin, jobs0));
        job("create-partitions", () -> createPartitions(admin, jobs));
        job("log-dirs", () -> logDirs(admin, topic(ME, "none")));
        job("elect-leaders", () -> electLeaders(admin, jobs0));
        job("delete-topic", () -> deleteTopic(admin));
    }

    // ---- admin

    static String cluster(Admin admin) throws Exception {
        DescribeClusterResult cluster = admin.describeCluster();
        require(!cluster.nodes().get().isEmpty(), "no nodes");
        require(cluster.controller().get() != null, "no controller");
        require(!cluster.clusterId().get().isEmpty(), "no cluster id");
        return cluster.nodes().get().size() + " nodes, id " + cluster.clusterId().get();
    }

    static String create(Admin admin, String writer) throws Exception {
        List<NewTopic> topics = new ArrayList<>();
        for (String kind : new String[] {"none", "gzip", "snappy", "lz4", "zstd", "idempotent", "jobs"})
            topics.add(new NewTopic(topic(writer, kind), Optional.of(Corpus.PARTITIONS), Optional.empty()));
        admin.createTopics(topics).all().get();
        return topics.size() + " topics of " + Corpus.PARTITIONS + " partitions";
    }

    static String createAgain(Admin admin, String topic) throws Exception {
        try {
            admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
        } catch (ExecutionException e) {
            if (e.getCause() instanceof TopicExistsException) return "TOPIC_ALREADY_EXISTS";
            throw e;
        }
        throw new IllegalStateException("created twice");
    }

    static String metadata(Admin admin, String topic) throws Exception {
        TopicDescription description = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
        require(description.partitions().size() == Corpus.PARTITIONS, "partitions " + description.partitions().size());
        for (var partition : description.partitions()) require(partition.leader() != null, "no leader for " + partition);
        require(admin.listTopics().names().get().contains(topic), "not listed");
        return description.partitions().size() + " partitions, topic id " + description.topicId();
    }

    static String config(Admin admin, String topic, String key, String expected) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Config config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
        require(config.get(key) != null, key + " missing");
        require(config.get(key).value().equals(expected), key + "=" + config.get(key).value());
        return config.entries().size() + " entries, " + key + "=" + expected;
    }

    static String alterConfigs(Admin admin, String topic) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        var set = new AlterConfigOp(new ConfigEntry("retention.ms", "86400000"), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(set))).all().get();
        String seen = eventually(() -> config(admin, topic, "retention.ms", "86400000"));
        var unset = new AlterConfigOp(new ConfigEntry("retention.ms", ""), AlterConfigOp.OpType.DELETE);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(unset))).all().get();
        eventually(() -> config(admin, topic, "retention.ms", "604800000"));
        return seen + ", and back";
    }

    static String deleteRecords(Admin admin, TopicPartition partition) throws Exception {
        long low = admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(1))).lowWatermarks().get(partition).get().lowWatermark();
        require(low == 1, "low watermark " + low);
        require(offset(admin, partition, OffsetSpec.earliest()) == 1, "earliest did not move");
        return "low watermark 1";
    }

    static String createPartitions(Admin admin, String topic) throws Exception {
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get();
        return eventually(() -> {
            int count = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size();
            require(count == 5, count + " partitions");
            return "3 -> 5";
        });
    }

    static String logDirs(Admin admin, String topic) throws Exception {
        long size = 0;
        int nodes = 0;
        List<Integer> ids = new ArrayList<>();
        admin.describeCluster().nodes().get().forEach(node -> ids.add(node.id()));
        for (var directories : admin.describeLogDirs(ids).allDescriptions().get().values()) {
            nodes++;
            for (var directory : directories.values())
                for (var replica : directory.replicaInfos().entrySet())
                    if (replica.getKey().topic().equals(topic)) size += replica.getValue().size();
        }
        require(size > 4_000_000, "size " + size);
        return size + " bytes on " + nodes + " nodes";
    }

    static String electLeaders(Admin admin, TopicPartition partition) throws Exception {
        var result = admin.electLeaders(ElectionType.PREFERRED, Set.of(partition)).partitions().get();
        // the preferred leader leads already: the client leaves such partitions out, or reports ELECTION_NOT_NEEDED
        for (var error : result.values())
            require(error.isEmpty() || error.get() instanceof ElectionNotNeededException, "" + error);
        return "not needed";
    }

    static String deleteTopic(Admin admin) throws Exception {
        String topic = topic(ME, "gone");
        admin.createTopics(List.of(new NewTopic(topic, 2, (short) 1))).all().get();
        admin.deleteTopics(List.of(topic)).all().get();
        return eventually(() -> {
            try {
                admin.describeTopics(List.of(topic)).allTopicNames().get();
            } catch (ExecutionException e) {
                if (e.getCause() instanceof UnknownTopicOrPartitionException) return "gone";
                throw e;
            }
            throw new IllegalStateException("still described");
        });
    }

    static String deleteAll(Admin admin) throws Exception {
        List<String> mine = admin.listTopics().names().get().stream().filter(name -> name.startsWith(RUN + ".")).toList();
        admin.deleteTopics(mine).all().get();
        return mine.size() + " topics";
    }

    static long offset(Admin admin, TopicPartition partition, OffsetSpec spec) throws Exception {
        return admin.listOffsets(Map.of(partition, spec)).all().get().get(partition).offset();
    }

    static String listOffsets(Admin admin, String topic) throws Exception {
        for (int p = 0; p < Corpus.PARTITIONS; p++) {
            TopicPartition partition = new TopicPartition(topic, p);
            require(offset(admin, partition, OffsetSpec.earliest()) == 0, "earliest of " + partition);
            require(offset(admin, partition, OffsetSpec.latest()) == Corpus.PER_PARTITION, "latest of " + partition);
            long max = offset(admin, partition, OffsetSpec.maxTimestamp());
            require(max == Corpus.PER_PARTITION - 1, "max timestamp of " + partition + " at " + max);
        }
        return "earliest 0, latest " + Corpus.PER_PARTITION + ", max timestamp " + (Corpus.PER_PARTITION - 1);
    }

    // ---- produce

    static String produce(String kind, String codec, String... more) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (Producer<byte[], byte[]> producer = producer(codec, more)) {
            for (int i = 0; i < Corpus.RECORDS; i++)
                sent.add(producer.send(new ProducerRecord<>(topic(ME, kind), i % Corpus.PARTITIONS, Corpus.timestamp(T0, i), Corpus.key(i),
                    Corpus.value(ME, i), Corpus.headers(ME, i))));
        }
        for (int i = 0; i < sent.size(); i++) {
            long offset = sent.get(i).get().offset();
            require(offset == i / Corpus.PARTITIONS, "record " + i + " acknowledged at offset " + offset);
        }
        return sent.size() + " records";
    }

    /** One record whose batch is just below max.message.bytes (1048588), written and read back. */
    static String largest(TopicPartition partition) throws Exception {
        byte[] value = Corpus.random(1, 1_048_400);
        long offset;
        try (Producer<byte[], byte[]> producer = producer("none", "max.request.size", "4000000")) {
            offset = producer.send(new ProducerRecord<>(partition.topic(), partition.partition(), null, value)).get().offset();
        }
        try (Consumer<byte[], byte[]> consumer = consumer(List.of(partition))) {
            consumer.seek(partition, offset);
            var record = poll(consumer).iterator().next();
            require(java.util.Arrays.equals(record.value(), value), "read back differently");
        }
        return value.length + " bytes";
    }

    static String tooLarge(TopicPartition partition) throws Exception {
        try (Producer<byte[], byte[]> producer = producer("none", "max.request.size", "4000000")) {
            try {
                producer.send(new ProducerRecord<>(partition.topic(), partition.partition(), null, Corpus.random(1, 1_100_000))).get();
            } catch (ExecutionException e) {
                require(e.getCause() instanceof RecordTooLargeException, "" + e.getCause());
                producer.send(new ProducerRecord<>(partition.topic(), partition.partition(), null, Corpus.random(1, 10))).get();
                return "MESSAGE_TOO_LARGE, and the next record is accepted";
            }
        }
        throw new IllegalStateException("accepted");
    }

    // ---- consume, always without a group

    static String consume(String writer, String kind) {
        long[] next = new long[Corpus.PARTITIONS];
        int seen = 0;
        try (Consumer<byte[], byte[]> consumer = consumer(partitions(topic(writer, kind)))) {
            consumer.seekToBeginning(consumer.assignment());
            while (seen < Corpus.RECORDS) {
                for (var record : poll(consumer)) {
                    require(record.offset() == next[record.partition()]++, "offset " + record.offset() + " out of order");
                    Corpus.check(writer, T0, record);
                    seen++;
                }
            }
            for (var end : consumer.endOffsets(consumer.assignment()).entrySet())
                require(end.getValue() == Corpus.PER_PARTITION, "end of " + end);
        }
        return seen + " records";
    }

    static String fromOffset(String topic) {
        TopicPartition partition = new TopicPartition(topic, 1);
        try (Consumer<byte[], byte[]> consumer = consumer(List.of(partition))) {
            consumer.seek(partition, 37);
            var record = poll(consumer).iterator().next();
            require(record.offset() == 37, "offset " + record.offset());
            Corpus.check(ME, T0, record);
        }
        return "offset 37";
    }

    static String fromTimestamp(String topic) {
        TopicPartition partition = new TopicPartition(topic, 1);
        try (Consumer<byte[], byte[]> consumer = consumer(List.of(partition))) {
            long wanted = Corpus.timestamp(T0, 100) - 5; // between records 97 and 100 of partition 1
            OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(partition, wanted)).get(partition);
            require(found != null && found.offset() == 33, "found " + found);
            require(found.timestamp() == Corpus.timestamp(T0, 100), "timestamp " + found.timestamp());
            consumer.seek(partition, found.offset());
            Corpus.check(ME, T0, poll(consumer).iterator().next());
            long later = Corpus.timestamp(T0, Corpus.RECORDS);
            require(consumer.offsetsForTimes(Map.of(partition, later)).get(partition) == null, "an offset after the last timestamp");
        }
        return "offset 33";
    }

    static String outOfRange(String topic) {
        TopicPartition partition = new TopicPartition(topic, 0);
        Properties config = consumerConfig();
        config.put("auto.offset.reset", "none");
        try (Consumer<byte[], byte[]> consumer = new KafkaConsumer<>(config)) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, 1_000_000);
            poll(consumer);
        } catch (OffsetOutOfRangeException e) {
            return "OFFSET_OUT_OF_RANGE";
        }
        throw new IllegalStateException("no error");
    }

    static String count(String topic, long expected, long expectedBytes) {
        Map<TopicPartition, Long> next = new HashMap<>();
        long seen = 0, bytes = 0;
        try (Consumer<byte[], byte[]> consumer = new KafkaConsumer<>(consumerConfig())) {
            List<TopicPartition> partitions = new ArrayList<>();
            consumer.partitionsFor(topic).forEach(info -> partitions.add(new TopicPartition(topic, info.partition())));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            while (seen < expected) {
                for (var record : poll(consumer)) {
                    long due = next.merge(new TopicPartition(topic, record.partition()), 1L, Long::sum) - 1;
                    require(record.offset() == due, "offset " + record.offset() + " where " + due + " was due");
                    bytes += record.value().length;
                    seen++;
                }
            }
            long end = consumer.endOffsets(partitions).values().stream().mapToLong(Long::longValue).sum();
            require(end == expected, "end offsets add up to " + end);
        }
        require(seen == expected && bytes == expectedBytes, seen + " records, " + bytes + " bytes");
        return seen + " records, " + bytes + " bytes";
    }

    // ---- clients

    static String topic(String writer, String kind) {
        return RUN + "." + writer + "." + kind;
    }

    static List<TopicPartition> partitions(String topic) {
        List<TopicPartition> partitions = new ArrayList<>();
        for (int p = 0; p < Corpus.PARTITIONS; p++) partitions.add(new TopicPartition(topic, p));
        return partitions;
    }

    /** At least one record, or an exception when none comes in time. */
    static ConsumerRecords<byte[], byte[]> poll(Consumer<byte[], byte[]> consumer) {
        long deadline = System.nanoTime() + LIMIT.toNanos();
        while (System.nanoTime() < deadline) {
            var records = consumer.poll(Duration.ofMillis(500));
            if (!records.isEmpty()) return records;
        }
        throw new IllegalStateException("nothing came within " + LIMIT.toSeconds() + " s");
    }

    static Properties client() {
        Properties config = new Properties();
        config.put("bootstrap.servers", BOOTSTRAP);
        config.put("default.api.timeout.ms", "" + LIMIT.toMillis());
        config.put("request.timeout.ms", "15000");
        return config;
    }

    static Producer<byte[], byte[]> producer(String codec, String... more) {
        Properties config = client();
        config.remove("default.api.timeout.ms");
        String serializer = "org.apache.kafka.common.serialization.ByteArraySerializer";
        config.put("key.serializer", serializer);
        config.put("value.serializer", serializer);
        config.put("compression.type", codec);
        config.put("linger.ms", "5");
        config.put("max.block.ms", "" + LIMIT.toMillis());
        config.put("delivery.timeout.ms", "" + LIMIT.toMillis());
        for (int at = 0; at < more.length; at += 2) config.put(more[at], more[at + 1]);
        return new KafkaProducer<>(config);
    }

    static Properties consumerConfig() {
        Properties config = client();
        String deserializer = "org.apache.kafka.common.serialization.ByteArrayDeserializer";
        config.put("key.deserializer", deserializer);
        config.put("value.deserializer", deserializer);
        config.put("auto.offset.reset", "earliest");
        return config;
    }

    static Consumer<byte[], byte[]> consumer(Collection<TopicPartition> partitions) {
        Consumer<byte[], byte[]> consumer = new KafkaConsumer<>(consumerConfig());
        consumer.assign(partitions);
        return consumer;
    }
}
