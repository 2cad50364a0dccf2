// Cleans logs with Apache Kafka's own cleaner and prints what is left of them after each pass. Run by hand when the version of Kafka that is compared with
// changes, or the cases do, with its jars on the class path:
//
//     cargo run -p ringlog-tests --example compaction_cases /tmp/cases
//     java -cp "$KAFKA_HOME/libs/*" tests/golden/Compaction.java /tmp/cases > tests/golden/compaction-4.3.1.txt
//
// A case is a folder `<number>-0` with segments, and a file `<number>.passes`: segment.bytes, delete.retention.ms, places in the map; then for each pass
// when it is, in ms since 1970, and the offset it goes to at most.

import java.io.File;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.internal.DefaultRecordBatch;
import org.apache.kafka.common.record.internal.FileLogInputStream;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.log.AbortedTxn;
import org.apache.kafka.storage.internals.log.Cleaner;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.LogSegment;
import org.apache.kafka.storage.internals.log.LogToClean;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;
import org.apache.kafka.storage.internals.log.SkimpyOffsetMap;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.apache.kafka.storage.internals.utils.Throttler;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

public class Compaction {
    static final double LOAD_FACTOR = 0.5;

    public static void main(String[] args) throws Exception {
        KafkaScheduler scheduler = new KafkaScheduler(1);
        scheduler.startup();
        for (int number = 0; Files.exists(Path.of(args[0], number + ".passes")); number++)
            clean(number, args[0], scheduler);
        System.out.flush();
        System.exit(0);
    }

    static void clean(int number, String folder, KafkaScheduler scheduler) throws Exception {
        List<String> lines = Files.readAllLines(Path.of(folder, number + ".passes"));
        long[] settings = numbers(lines.get(0));
        Map<String, String> topic = new HashMap<>();
        topic.put("cleanup.policy", "compact");
        topic.put("internal.segment.bytes", Long.toString(settings[0]));
        topic.put("delete.retention.ms", Long.toString(settings[1]));
        UnifiedLog log = UnifiedLog.create(new File(folder, number + "-0"), new LogConfig(topic), 0L, 0L, scheduler, new BrokerTopicStats(), Time.SYSTEM,
            Integer.MAX_VALUE, new ProducerStateManagerConfig(Integer.MAX_VALUE, false), Integer.MAX_VALUE, new LogDirFailureChannel(1), false, Optional.empty());
        Throttler throttler = new Throttler(Double.MAX_VALUE, 1000, "throttler", "bytes", Time.SYSTEM);
        Cleaner cleaner = new Cleaner(0, new SkimpyOffsetMap((int) settings[2] * 24), 1 << 20, 1 << 24, LOAD_FACTOR, throttler, Time.SYSTEM, partition -> { });
        long firstDirty = 0;
        for (int pass = 1; pass < lines.size(); pass++) {
            long[] when = numbers(lines.get(pass));
            if (firstDirty < when[1])
                firstDirty = cleaner.doClean(new LogToClean(log, firstDirty, when[1], false), when[0]).getKey();
            System.out.println("pass " + number + " " + pass + " " + firstDirty);
            for (LogSegment segment : log.logSegments()) print(segment);
        }
        log.close();
    }

    static void print(LogSegment segment) throws Exception {
        System.out.println("segment " + segment.baseOffset());
        for (FileLogInputStream.FileChannelRecordBatch batch : segment.log().batches()) {
            ByteBuffer bytes = ByteBuffer.allocate(batch.sizeInBytes());
            segment.log().readInto(bytes, batch.position());
            DefaultRecordBatch whole = whole(bytes);
            whole.ensureValid();
            short attributes = bytes.getShort(21);
            long baseTimestamp = bytes.getLong(27);
            System.out.println("batch " + whole.baseOffset() + " " + whole.lastOffset() + " " + whole.countOrNull() + " " + attributes + " " + baseTimestamp + " "
                + whole.maxTimestamp() + " " + whole.producerId() + " " + whole.producerEpoch() + " " + whole.baseSequence() + " " + whole.partitionLeaderEpoch());
            if (whole.isControlBatch()) continue;
            for (Record record : whole)
                System.out.println(record.offset() + " " + record.timestamp() + " " + text(record.key()) + " " + text(record.value()) + " " + headers(record));
        }
        for (AbortedTxn txn : segment.txnIndex().allAbortedTxns())
            System.out.println("aborted " + txn.producerId() + " " + txn.firstOffset() + " " + txn.lastOffset() + " " + txn.lastStableOffset());
    }

    static DefaultRecordBatch whole(ByteBuffer bytes) {
        bytes.rewind();
        for (RecordBatch batch : org.apache.kafka.common.record.internal.MemoryRecords.readableRecords(bytes).batches()) return (DefaultRecordBatch) batch;
        throw new IllegalStateException("no batch");
    }

    static long[] numbers(String line) {
        return Arrays.stream(line.split(" ")).mapToLong(Long::parseLong).toArray();
    }

    static String headers(Record record) {
        StringBuilder text = new StringBuilder();
        for (Header header : record.headers())
            text.append(header.key()).append('=').append(text(header.value() == null ? null : ByteBuffer.wrap(header.value()))).append(';');
        return text.length() == 0 ? "-" : text.toString();
    }

    static String text(ByteBuffer bytes) {
        return bytes == null ? "null" : StandardCharsets.UTF_8.decode(bytes.duplicate()).toString();
    }
}
