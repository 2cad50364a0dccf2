// Runs Kafka's own DumpLogSegments over every partition directory of a stopped broker, in one JVM, and believes only what it knows: any
// line of the tool's output that is not a plain report of a good batch, record or index entry is a complaint.
//   DumpLogs DATADIR             one line per job, `ok|FAIL job detail`; exit code 1 on any FAIL
//   DumpLogs DATADIR offsets     the same, and fails when no committed offset is among what was decoded; plants nothing
//   DumpLogs DATADIR transactions   the same again, and fails when there is no state of a transaction, no marker or no aborted one in an index
// Before it trusts the tool it damages copies of a partition in five ways and expects a complaint about each.

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.apache.kafka.tools.DumpLogSegments;

public final class DumpLogs {
    /** What the tool prints about sound files; its exit code says nothing (a wrong CRC ends with 0). */
    private static final Pattern SOUND = Pattern.compile(
        "Dumping .*|Log starting offset: \\d+|.* passed sanity check\\.|"
            + "baseOffset: .* isvalid: true|\\| offset: .*|" // .log
            + "offset: \\d+ position: \\d+|timestamp: -?\\d+ offset: \\d+|" // .index, .timeindex
            + "producerId: .*|" // .snapshot
            + "version: 0 producerId: \\d+ firstOffset: \\d+ lastOffset: \\d+ lastStableOffset: \\d+"); // .txnindex
    private static final Pattern UNDECODED = Pattern.compile(".*(Error at \\d+, skipping|Could not decode).*");
    /** A deleted partition waiting to be removed, as Kafka renames it: nobody keeps its indexes exact any more. */
    private static final Pattern DELETED = Pattern.compile(".*\\.[0-9a-f]{32}-delete");
    private static final int INDEX_ENTRY_BYTES = 8, TIME_ENTRY_BYTES = 12;
    /** What --offsets-decoder makes of a record of __consumer_offsets; with type 0 or 1 it is a committed offset. */
    private static final Pattern GROUP_RECORD = Pattern.compile("\\| offset: .* key: \\{\"type\":\"(\\d+)\",.* payload: .*");
    /** What --transaction-log-decoder makes of a record of __transaction_state. */
    private static final Pattern TRANSACTION_RECORD = Pattern.compile("\\| offset: .* key: \\{\"type\":\"0\",.*\"transactionalId\".* payload: .*");
    private static final Pattern MARKER = Pattern.compile("\\| offset: .* endTxnMarker: (COMMIT|ABORT) coordinatorEpoch: -?\\d+");
    private static int failures, offsets, transactions, markers, aborted;

    public static void main(String[] args) throws Exception {
        List<Path> partitions;
        try (Stream<Path> entries = Files.list(Path.of(args[0]))) {
            partitions = entries.filter(Files::isDirectory).filter(directory -> !DELETED.matcher(directory.getFileName().toString()).matches())
                .filter(directory -> !files(directory, ".log").isEmpty()).sorted().toList();
        }
        int checked = 0;
        long bytes = 0;
        for (Path partition : partitions) {
            List<String> complaints = complaints(partition);
            if (!complaints.isEmpty()) say(false, "dump", partition.getFileName() + ": " + String.join(" / ", complaints.subList(0, Math.min(3, complaints.size()))));
            for (Path file : files(partition, "")) bytes += Files.size(file);
            checked++;
        }
        if (checked == 0) say(false, "dump", "no partitions in " + args[0]);
        List<String> wanted = List.of(args).subList(1, args.length);
        if (!wanted.isEmpty() && offsets == 0) say(false, "dump", "no committed offset");
        String said = offsets + " committed offsets";
        if (wanted.contains("transactions")) {
            said += ", " + transactions + " states of transactions, " + markers + " markers, " + aborted + " aborted transactions in indexes";
            if (transactions == 0 || markers == 0 || aborted == 0) say(false, "dump", said);
        }
        if (failures == 0) say(true, "dump", checked + " partitions, " + bytes + " bytes, " + said);
        if (wanted.isEmpty()) plant(partitions);
        System.exit(failures == 0 ? 0 : 1);
    }

    private static void say(boolean ok, String job, String detail) {
        if (!ok) failures++;
        System.out.println(((ok ? "ok " : "FAIL ") + job + " " + detail).replace('\n', ' '));
    }

    private static List<String> complaints(Path partition) {
        List<String> all = new ArrayList<>();
        boolean metadata = partition.getFileName().toString().startsWith("__cluster_metadata-");
        for (Path log : files(partition, ".log")) {
            all.addAll(dump(log, "--deep-iteration"));
            if (metadata) all.addAll(dump(log, "--cluster-metadata-decoder"));
            if (partition.getFileName().toString().startsWith("__consumer_offsets-")) all.addAll(dump(log, "--offsets-decoder"));
            if (partition.getFileName().toString().startsWith("__transaction_state-")) all.addAll(dump(log, "--transaction-log-decoder"));
        }
        for (String suffix : new String[] {".index", ".timeindex"})
            for (Path index : files(partition, suffix)) {
                if (size(index) == 0) continue; // one batch may need no entry; the tool calls that a problem
                all.addAll(dump(index, "--index-sanity-check"));
                all.addAll(dump(index, "--deep-iteration"));
            }
        for (Path index : files(partition, ".txnindex"))
            if (size(index) > 0) all.addAll(dump(index, "--deep-iteration"));
        for (Path snapshot : files(partition, ".snapshot")) all.addAll(dump(snapshot, "--deep-iteration"));
        return all;
    }

    private static List<String> dump(Path file, String flag) {
        PrintStream out = System.out, err = System.err; // the tool's mismatches go to stderr
        ByteArrayOutputStream caught = new ByteArrayOutputStream();
        List<String> complaints = new ArrayList<>();
        PrintStream both = new PrintStream(caught, true, StandardCharsets.UTF_8);
        System.setOut(both);
        System.setErr(both);
        try {
            DumpLogSegments.main(new String[] {"--files", file.toString(), flag});
        } catch (Throwable e) {
            complaints.add(file.getFileName() + ": " + e);
        } finally {
            System.setOut(out);
            System.setErr(err);
        }
        String said = caught.toString(StandardCharsets.UTF_8);
        if (flag.equals("--deep-iteration")) {
            markers += (int) said.lines().filter(line -> line.contains("endTxnMarker: ")).count();
            if (file.toString().endsWith(".txnindex")) aborted += (int) said.lines().filter(line -> line.startsWith("version: ")).count();
        }
        said.lines()
            .filter(line -> !line.isEmpty() && !SOUND.matcher(line).matches() || UNDECODED.matcher(line).matches()
                || flag.equals("--offsets-decoder") && !ofGroup(line) || flag.equals("--transaction-log-decoder") && !ofTransaction(line))
            .forEach(line -> complaints.add(file.getFileName() + ": " + line));
        return complaints;
    }

    /** Every record must be one that the decoder knows. */
    private static boolean ofGroup(String line) {
        if (!line.startsWith("| offset:") || MARKER.matcher(line).matches()) return true;
        Matcher record = GROUP_RECORD.matcher(line);
        if (!record.matches()) return false;
        if (Integer.parseInt(record.group(1)) < 2) offsets++;
        return true;
    }

    /** The same for transactions. */
    private static boolean ofTransaction(String line) {
        if (!line.startsWith("| offset:") || MARKER.matcher(line).matches()) return true;
        if (!TRANSACTION_RECORD.matcher(line).matches()) return false;
        transactions++;
        return true;
    }

    // ---- planted damage

    interface Damage { void to(Path partition) throws IOException; }

    /** The tool is worth its green line only when it sees what is wrong. */
    private static void plant(List<Path> partitions) throws IOException {
        Path victim = partitions.stream().filter(DumpLogs::worthDamaging).findFirst().orElse(null);
        if (victim == null) {
            say(false, "dump-planted", "no partition with index entries to damage");
            return;
        }
        int before = failures;
        expect(victim, "flipped bit in a batch", copy -> edit(copy, ".log", log -> log.put(log.limit() / 2, (byte) (log.get(log.limit() / 2) ^ 1))));
        expect(victim, "log cut in a batch", copy -> edit(copy, ".log", log -> log.limit(log.limit() - 100)));
        expect(victim, "zeros after the last batch", copy -> {
            Path log = files(copy, ".log").get(0);
            byte[] bytes = Files.readAllBytes(log);
            Files.write(log, Arrays.copyOf(bytes, bytes.length + 4096));
        });
        expect(victim, "index entry beside its batch", copy -> edit(copy, ".index", index ->
            index.putInt(INDEX_ENTRY_BYTES + 4, index.getInt(INDEX_ENTRY_BYTES + 4) + 7)));
        expect(victim, "wrong time index entry", copy -> edit(copy, ".timeindex", index ->
            index.putLong(TIME_ENTRY_BYTES, index.getLong(TIME_ENTRY_BYTES) + 3)));
        if (failures == before) say(true, "dump-planted", "five kinds of damage, all found");
    }

    private static boolean worthDamaging(Path partition) {
        List<Path> indexes = files(partition, ".index"), times = files(partition, ".timeindex");
        return !partition.getFileName().toString().startsWith("__") && files(partition, ".log").size() == 1 && indexes.size() == 1
            && times.size() == 1 && size(indexes.get(0)) >= 2 * INDEX_ENTRY_BYTES && size(times.get(0)) >= 2 * TIME_ENTRY_BYTES;
    }

    private static void expect(Path victim, String name, Damage damage) throws IOException {
        Path copy = Files.createDirectory(Files.createTempDirectory("planted").resolve(victim.getFileName()));
        for (Path file : files(victim, "")) Files.copy(file, copy.resolve(file.getFileName()));
        damage.to(copy);
        if (complaints(copy).isEmpty()) say(false, "dump-planted", name + " was not noticed");
        try (Stream<Path> all = Files.walk(copy.getParent())) {
            for (Path path : all.sorted(Comparator.reverseOrder()).toList()) Files.delete(path);
        }
    }

    private static void edit(Path partition, String suffix, java.util.function.Consumer<ByteBuffer> change) throws IOException {
        Path file = files(partition, suffix).get(0);
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file));
        change.accept(bytes);
        Files.write(file, Arrays.copyOf(bytes.array(), bytes.limit()));
    }

    // ---- files

    private static List<Path> files(Path directory, String suffix) {
        try (Stream<Path> entries = Files.list(directory)) {
            return entries.filter(Files::isRegularFile).filter(file -> file.getFileName().toString().endsWith(suffix)).sorted().toList();
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    private static long size(Path file) {
        try {
            return Files.size(file);
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }
}
