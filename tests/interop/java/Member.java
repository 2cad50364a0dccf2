// A member of a consumer group, see ../groups/scenario.py.
//   Member TOPIC GROUP classic|consumer

import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;

public final class Member {
    public static void main(String[] args) throws Exception {
        CountDownLatch left = new CountDownLatch(1);
        KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings(args[1], args[2]));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try {
                left.await();
            } catch (InterruptedException e) {
                // the process ends anyway
            }
        }));
        try (consumer) {
            consumer.subscribe(List.of(args[0]), new Told());
            while (true) consume(consumer);
        } catch (WakeupException e) {
            left.countDown();
        }
    }

    static void consume(KafkaConsumer<String, String> consumer) {
        var records = consumer.poll(Duration.ofMillis(200));
        for (var record : records) System.out.println("seen " + record.partition() + " " + record.offset() + " " + record.value());
        System.out.flush();
        try {
            if (!records.isEmpty()) consumer.commitSync(Duration.ofSeconds(5));
        } catch (WakeupException e) {
            throw e;
        } catch (KafkaException e) {
            System.err.println("commit: " + e); // a rebalance, or no broker: whoever owns the partition next sees these records again
        }
    }

    static Properties settings(String group, String protocol) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", System.getenv("BOOTSTRAP"));
        settings.put("group.id", group);
        settings.put("group.protocol", protocol);
        if (protocol.equals("classic")) {
            settings.put("session.timeout.ms", "6000");
            settings.put("heartbeat.interval.ms", "1000");
        }
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "earliest");
        settings.put("reconnect.backoff.max.ms", "500");
        for (String side : new String[] {"key", "value"})
            settings.put(side + ".deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        return settings;
    }

    static final class Told implements ConsumerRebalanceListener {
        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            say("assigned", partitions);
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            say("revoked", partitions);
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> partitions) {
            say("revoked", partitions);
        }

        void say(String what, Collection<TopicPartition> partitions) {
            System.out.println(what + " " + partitions.stream().map(p -> "" + p.partition()).collect(Collectors.joining(",")));
        }
    }
}
