// What Kafka's ConsumerPerformance does, without a group: read a topic from its beginning and count. The same settings (1 MiB a partition,
// a 2 MiB socket buffer, no client-side CRC check), the same loop. One JSON line on stdout.
//   ConsumeAll BOOTSTRAP TOPIC RECORDS [consumer key=value ...]

import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;

public final class ConsumeAll {
    private static final Duration SILENCE = Duration.ofSeconds(20);

    public static void main(String[] args) {
        String topic = args[1];
        long wanted = Long.parseLong(args[2]);
        Properties config = new Properties();
        String deserializer = "org.apache.kafka.common.serialization.ByteArrayDeserializer";
        config.put("bootstrap.servers", args[0]);
        config.put("key.deserializer", deserializer);
        config.put("value.deserializer", deserializer);
        config.put("max.partition.fetch.bytes", "1048576");
        config.put("receive.buffer.bytes", "2097152");
        config.put("check.crcs", "false");
        for (String more : List.of(args).subList(3, args.length)) config.put(more.split("=", 2)[0], more.split("=", 2)[1]);
        long records = 0, bytes = 0;
        double seconds;
        try (var consumer = new KafkaConsumer<byte[], byte[]>(config)) {
            List<TopicPartition> partitions =
                consumer.partitionsFor(topic).stream().map(info -> new TopicPartition(topic, info.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            long start = System.nanoTime(), last = start;
            while (records < wanted && System.nanoTime() - last < SILENCE.toNanos()) {
                for (var record : consumer.poll(Duration.ofMillis(100))) {
                    records++;
                    bytes += record.value().length + (record.key() == null ? 0 : record.key().length);
                    last = System.nanoTime();
                }
            }
            seconds = (last - start) / 1e9;
        }
        System.out.printf(Locale.ROOT, "{\"records\":%d,\"bytes\":%d,\"seconds\":%.3f,\"mib_s\":%.1f}%n", records, bytes, seconds,
            bytes / seconds / (1 << 20));
        System.exit(records == wanted ? 0 : 1);
    }
}
