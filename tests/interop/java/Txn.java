// Transactions with the Java client, see ../transactions/scenario.py. BOOTSTRAP in the environment.
//   Txn jobs TOPIC ID                  one line per job, `ok|FAIL job detail`
//   Txn chain INPUT OUTPUT GROUP ID    consumes, produces and commits in transactions, until SIGTERM
//   Txn read committed|uncommitted PARTITIONS TOPIC...

import java.time.Duration;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;

public final class Txn {
    static final int PATIENCE_MS = 60_000, SHORT_MS = 1_000, LATE_MS = 4_000;
    static int failures;

    interface Job { String run() throws Exception; }

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "jobs" -> jobs(args[1], args[2]);
            case "chain" -> chain(args[1], args[2], args[3], args[4]);
            case "read" -> read(args[1], Integer.parseInt(args[2]), List.of(args).subList(3, args.length));
            default -> throw new IllegalArgumentException(args[0]);
        }
        System.exit(failures == 0 ? 0 : 1);
    }

    static void job(String name, Job body) {
        String line;
        try {
            line = "ok " + name + " " + body.run();
        } catch (Throwable e) {
            failures++;
            line = "FAIL " + name + " " + e;
        }
        System.out.println(line.replace('\n', ' '));
    }

    // ---- each kind of end

    static void jobs(String topic, String id) throws Exception {
        try (var producer = producer(id, PATIENCE_MS)) {
            producer.initTransactions();
            job("commit", () -> {
                producer.beginTransaction();
                write(producer, topic, 0, "c0", "c1", "c2");
                write(producer, topic, 1, "c3");
                producer.commitTransaction();
                return "two partitions";
            });
            job("abort", () -> {
                producer.beginTransaction();
                write(producer, topic, 0, "a0", "a1");
                producer.flush();
                producer.abortTransaction();
                return "after its records were acknowledged";
            });
            job("empty", () -> {
                producer.beginTransaction();
                producer.commitTransaction();
                producer.beginTransaction();
                producer.abortTransaction();
                return "committed and aborted";
            });
            job("offsets", () -> {
                long begin = settled(topic);
                producer.beginTransaction();
                write(producer, topic, 0, "o0");
                producer.flush();
                long stable = end(topic, IsolationLevel.READ_COMMITTED), high = end(topic, IsolationLevel.READ_UNCOMMITTED);
                if (stable != begin || high != begin + 1) throw new Exception("from " + begin + ": stable " + stable + ", end " + high);
                producer.commitTransaction();
                for (long deadline = System.nanoTime() + 10_000_000_000L; end(topic, IsolationLevel.READ_COMMITTED) != begin + 2; )
                    if (System.nanoTime() > deadline) throw new Exception("stable at " + end(topic, IsolationLevel.READ_COMMITTED));
                return "stable at " + begin + ", then at " + (begin + 2);
            });
            job("fenced", () -> {
                producer.beginTransaction();
                write(producer, topic, 0, "f0");
                producer.flush();
                try (var second = producer(id, PATIENCE_MS)) {
                    second.initTransactions();
                    String seen;
                    try {
                        producer.commitTransaction();
                        throw new Exception("the first one committed");
                    } catch (ProducerFencedException | InvalidProducerEpochException e) {
                        seen = e.getClass().getSimpleName();
                    }
                    second.beginTransaction();
                    write(second, topic, 0, "s0");
                    second.commitTransaction();
                    return seen;
                }
            });
        }
        try (var late = producer(id + "-late", SHORT_MS)) {
            late.initTransactions();
            job("timeout", () -> {
                late.beginTransaction();
                write(late, topic, 1, "t0");
                late.flush();
                Thread.sleep(LATE_MS);
                try {
                    late.commitTransaction();
                } catch (KafkaException e) {
                    return e.getClass().getSimpleName();
                }
                throw new Exception("committed after " + LATE_MS + " ms");
            });
        }
        try (var last = producer(id, PATIENCE_MS)) {
            last.initTransactions();
            job("end", () -> {
                last.beginTransaction();
                for (int partition = 0; partition < 2; partition++) write(last, topic, partition, "end");
                last.commitTransaction();
                return "by a third producer";
            });
        }
    }

    static void write(KafkaProducer<String, String> producer, String topic, int partition, String... values) {
        for (String value : values) producer.send(new ProducerRecord<>(topic, partition, null, value));
    }

    /** The end, once the markers of the transactions before are there: what ends them is answered sooner. */
    static long settled(String topic) throws Exception {
        for (long deadline = System.nanoTime() + 10_000_000_000L; ; ) {
            long stable = end(topic, IsolationLevel.READ_COMMITTED), high = end(topic, IsolationLevel.READ_UNCOMMITTED);
            if (stable == high) return high;
            if (System.nanoTime() > deadline) throw new Exception("stable at " + stable + ", end " + high);
        }
    }

    static long end(String topic, IsolationLevel isolation) throws Exception {
        var partition = new TopicPartition(topic, 0);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", System.getenv("BOOTSTRAP")))) {
            return admin.listOffsets(Map.of(partition, OffsetSpec.latest()), new ListOffsetsOptions(isolation)).partitionResult(partition).get().offset();
        }
    }

    // ---- consume, transform, produce

    static void chain(String input, String output, String group, String id) throws Exception {
        CountDownLatch leaving = new CountDownLatch(1), left = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            leaving.countDown();
            try {
                left.await();
            } catch (InterruptedException e) {
                // the process ends anyway
            }
        }));
        int round = 0;
        while (leaving.getCount() > 0) {
            try (var producer = producer(id, PATIENCE_MS); var consumer = consumer(group, "read_committed")) {
                producer.initTransactions();
                consumer.subscribe(List.of(input));
                while (leaving.getCount() > 0) {
                    var records = consumer.poll(Duration.ofMillis(200));
                    if (!records.isEmpty()) round = transform(producer, consumer, records, output, round);
                }
            } catch (KafkaException e) {
                System.err.println("again: " + e);
                Thread.sleep(200);
            }
        }
        left.countDown();
    }

    /** Every fourth transaction is aborted and its records are consumed again. */
    static int transform(KafkaProducer<String, String> producer, KafkaConsumer<String, String> consumer, ConsumerRecords<String, String> records,
                         String output, int round) {
        boolean aborts = round % 4 == 3;
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        Map<TopicPartition, Long> starts = new HashMap<>();
        producer.beginTransaction();
        for (var record : records) {
            write(producer, output, record.partition(), aborts ? "aborted" : record.value());
            var partition = new TopicPartition(record.topic(), record.partition());
            starts.putIfAbsent(partition, record.offset());
            offsets.put(partition, new OffsetAndMetadata(record.offset() + 1));
        }
        producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
        if (aborts) {
            producer.flush();
            producer.abortTransaction();
            starts.forEach(consumer::seek);
        } else {
            producer.commitTransaction();
        }
        System.out.println((aborts ? "aborted " : "done ") + records.count());
        System.out.flush();
        return round + 1;
    }

    // ---- reading

    /** Until every partition of every topic has shown a record `end`. */
    static void read(String isolation, int partitions, List<String> topics) {
        try (var consumer = consumer("reader", "read_" + isolation)) {
            Set<TopicPartition> open = new HashSet<>();
            for (String topic : topics) IntStream.range(0, partitions).forEach(partition -> open.add(new TopicPartition(topic, partition)));
            consumer.assign(open);
            consumer.seekToBeginning(open);
            for (long deadline = System.nanoTime() + PATIENCE_MS * 1_000_000L; !open.isEmpty(); ) {
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    System.out.println("record " + record.topic() + " " + record.partition() + " " + record.value());
                    if (record.value().equals("end")) open.remove(new TopicPartition(record.topic(), record.partition()));
                }
                if (System.nanoTime() > deadline) throw new IllegalStateException("no end in " + open);
            }
        }
    }

    // ---- clients

    static KafkaProducer<String, String> producer(String id, int timeoutMs) {
        Properties settings = common("serializer", "Serializer");
        settings.put("transactional.id", id);
        settings.put("transaction.timeout.ms", timeoutMs);
        settings.put("delivery.timeout.ms", 60_000);
        settings.put("linger.ms", 0);
        return new KafkaProducer<>(settings);
    }

    static KafkaConsumer<String, String> consumer(String group, String isolation) {
        Properties settings = common("deserializer", "Deserializer");
        settings.put("group.id", group);
        settings.put("isolation.level", isolation);
        settings.put("session.timeout.ms", "6000");
        settings.put("heartbeat.interval.ms", "1000");
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "earliest");
        return new KafkaConsumer<>(settings);
    }

    static Properties common(String setting, String kind) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", System.getenv("BOOTSTRAP"));
        settings.put("reconnect.backoff.max.ms", "500");
        for (String side : new String[] {"key", "value"})
            settings.put(side + "." + setting, "org.apache.kafka.common.serialization.String" + kind);
        return settings;
    }
}
