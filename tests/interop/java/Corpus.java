// The records every client writes and every client checks, computed from their index alone (see ../README.md).

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;

final class Corpus {
    static final int RECORDS = 240;
    static final int PARTITIONS = 3;
    static final int PER_PARTITION = RECORDS / PARTITIONS;
    static final int STEP_MS = 10;
    private static final int[] SIZES = {1, 2, 7, 50, 100, 333, 1000, 1024, 2500, 5000, 10000, 33000};
    /** The other clients cannot write a header without a value. */
    private static final Set<String> NULL_HEADERS = Set.of("java", "franz-go", "sarama");
    private static final byte[][] VALUES = new byte[RECORDS][];

    private Corpus() {}

    static int size(int i) {
        return i % 60 == 59 ? 900_000 : i % 60 == 29 ? 300_000 : SIZES[i % SIZES.length];
    }

    static byte[] key(int i) {
        return i % 5 == 4 ? null : bytes("key-" + i);
    }

    static byte[] value(String writer, int i) {
        if (i % 40 == 20) return null;
        if (i % 40 == 21) return writer.equals("kcat") ? null : new byte[0]; // kcat writes null for empty
        if (VALUES[i] == null) VALUES[i] = (i / 60 + i) % 2 == 0 ? random(i, size(i)) : text(i, size(i));
        return VALUES[i];
    }

    static List<Header> headers(String writer, int i) {
        List<Header> headers = new ArrayList<>();
        headers.add(new RecordHeader("writer", bytes(writer)));
        if (writer.equals("kcat")) return headers; // one set of headers for a whole kcat process
        headers.add(new RecordHeader("i", bytes("" + i)));
        headers.add(new RecordHeader("empty", new byte[0]));
        if (i % 3 == 0 && NULL_HEADERS.contains(writer)) headers.add(new RecordHeader("null", (byte[]) null));
        return headers;
    }

    static long timestamp(long t0, int i) {
        return t0 + (long) i * STEP_MS;
    }

    /** Throws when a record read at its partition and offset is not the record that was written there. */
    static void check(String writer, long t0, ConsumerRecord<byte[], byte[]> record) {
        int i = (int) record.offset() * PARTITIONS + record.partition();
        String where = record.topic() + "-" + record.partition() + "@" + record.offset() + ": ";
        if (!Arrays.equals(record.key(), key(i))) throw new IllegalStateException(where + "key differs");
        if (!Arrays.equals(record.value(), value(writer, i))) throw new IllegalStateException(where + "value differs");
        if (!Arrays.asList(record.headers().toArray()).equals(headers(writer, i)))
            throw new IllegalStateException(where + "headers differ: " + record.headers());
        if (!writer.equals("kcat") && record.timestamp() != timestamp(t0, i))
            throw new IllegalStateException(where + "timestamp " + record.timestamp());
    }

    /** Bytes that do not compress: SHA-256 of "ringlog:INDEX:BLOCK", block after block. */
    static byte[] random(int i, int size) {
        try {
            MessageDigest sha = MessageDigest.getInstance("SHA-256");
            byte[] out = new byte[size];
            for (int at = 0, block = 0; at < size; at += 32, block++)
                System.arraycopy(sha.digest(bytes("ringlog:" + i + ":" + block)), 0, out, at, Math.min(32, size - at));
            return out;
        } catch (java.security.NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    private static byte[] text(int i, int size) {
        byte[] line = bytes("record " + i + " of the ringlog corpus\n"), out = new byte[size];
        for (int at = 0; at < size; at++) out[at] = line[at % line.length];
        return out;
    }

    private static byte[] bytes(String s) {
        return s.getBytes(StandardCharsets.UTF_8);
    }
}
