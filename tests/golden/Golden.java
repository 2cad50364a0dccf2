// Prints messages as Apache Kafka's own classes encode them: name, version, hex. Every field a version has is given
// a value that is not its default. Run by hand when the served versions change, with Kafka's jars on the class path:
//
//     java -cp "$KAFKA_HOME/libs/*" tests/golden/Golden.java > tests/golden/kafka-4.3.1.txt

import java.lang.reflect.Method;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.metadata.MetadataRecordType;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.record.internal.BaseRecords;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.coordinator.common.runtime.CoordinatorRecord;
import org.apache.kafka.coordinator.group.GroupCoordinatorRecordSerde;
import org.apache.kafka.coordinator.group.generated.CoordinatorRecordType;
import org.apache.kafka.coordinator.transaction.generated.TransactionLogKey;
import org.apache.kafka.coordinator.transaction.generated.TransactionLogValue;
import org.apache.kafka.server.common.ApiMessageAndVersion;

public class Golden {
    static final List<Integer> SERVED =
        List.of(0, 1, 2, 3, 10, 18, 19, 20, 21, 22, 23, 32, 33, 35, 37, 43, 44, 60, 75,
            8, 9, 11, 12, 13, 14, 15, 16, 34, 42, 45, 46, 47, 48, 49, 55, 57, 61, 68, 69, 74, 50,
            24, 25, 26, 27, 28, 65, 66);
    // Types of records of __consumer_offsets.
    static final List<Integer> SERVED_RECORDS = List.of(0, 1, 2, 3, 4, 5, 6, 7, 8, 16);
    static final Random RANDOM = new Random(431);

    interface Fresh { Message get(); }

    public static void main(String[] args) throws Exception {
        for (int id : SERVED) {
            ApiKeys key = ApiKeys.forId(id);
            for (short v = key.oldestVersion(); v <= key.latestVersion(false); v++) {
                print(key.name + "Request", v, key.messageType::newRequest);
                print(key.name + "Response", v, key.messageType::newResponse);
            }
        }
        for (MetadataRecordType type : MetadataRecordType.values())
            for (short v = type.lowestSupportedVersion(); v <= type.highestSupportedVersion(); v++)
                print(type.newMetadataRecord().getClass().getSimpleName(), v, type::newMetadataRecord);
        for (short v = 0; v <= 1; v++) print("LeaderChangeMessage", v, LeaderChangeMessage::new);
        print("SnapshotHeaderRecord", (short) 0, SnapshotHeaderRecord::new);
        print("SnapshotFooterRecord", (short) 0, SnapshotFooterRecord::new);
        print("KRaftVersionRecord", (short) 0, KRaftVersionRecord::new);
        print("VotersRecord", (short) 0, VotersRecord::new);
        for (short v = 0; v <= ConsumerProtocolSubscription.HIGHEST_SUPPORTED_VERSION; v++) {
            print("ConsumerProtocolSubscription", v, ConsumerProtocolSubscription::new);
            print("ConsumerProtocolAssignment", v, ConsumerProtocolAssignment::new);
        }
        for (CoordinatorRecordType type : CoordinatorRecordType.values()) printGroupRecord(type);
        print("TransactionLogKey", (short) 0, TransactionLogKey::new);
        for (short v = 0; v <= TransactionLogValue.HIGHEST_SUPPORTED_VERSION; v++) print("TransactionLogValue", v, TransactionLogValue::new);
    }

    // The records of __consumer_offsets: the values of consumer and classic groups in every version, and each record as the coordinator
    // writes it, with the record's type in the place of a version.
    static void printGroupRecord(CoordinatorRecordType type) throws Exception {
        Fresh key = () -> (Message) type.newRecordKey(), value = () -> (Message) type.newRecordValue();
        if (!SERVED_RECORDS.contains((int) type.id())) {
            printWhole(type, key, value, type.highestSupportedVersion());
            return;
        }
        if (type != CoordinatorRecordType.LEGACY_OFFSET_COMMIT) {
            print(key.get().getClass().getSimpleName(), (short) 0, key);
            for (short v = type.lowestSupportedVersion(); v <= type.highestSupportedVersion(); v++)
                print(value.get().getClass().getSimpleName(), v, value);
        }
        // Kafka writes groups of the classic protocol in this version still.
        boolean old = type == CoordinatorRecordType.GROUP_METADATA;
        printWhole(type, key, value, old ? (short) 3 : type.highestSupportedVersion());
    }

    static void printWhole(CoordinatorRecordType type, Fresh newKey, Fresh newValue, short version) throws Exception {
        Message key = newKey.get(), value = newValue.get();
        fill(key, key, (short) 0, 1);
        fill(value, value, version, 1);
        CoordinatorRecord record =
            CoordinatorRecord.record((ApiMessage) key, new ApiMessageAndVersion((ApiMessage) value, version));
        GroupCoordinatorRecordSerde serde = new GroupCoordinatorRecordSerde();
        System.out.println("CoordinatorKey " + type.id() + " " + HexFormat.of().formatHex(serde.serializeKey(record)));
        System.out.println("CoordinatorValue " + type.id() + " " + HexFormat.of().formatHex(serde.serializeValue(record)));
    }

    static void print(String name, short version, Fresh fresh) throws Exception {
        Message filled = fresh.get();
        fill(filled, filled, version, 2);
        System.out.println(name + " " + version + " " + encode(fresh.get(), version));
        System.out.println(name + " " + version + " " + encode(filled, version));
    }

    static String encode(Message message, short version) {
        ByteBuffer buffer = MessageUtil.toByteBufferAccessor(message, version).buffer();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes.length == 0 ? "-" : HexFormat.of().formatHex(bytes);
    }

    static boolean encodes(Message root, short version) {
        try {
            encode(root, version);
            return true;
        } catch (RuntimeException e) {
            return false;
        }
    }

    // Sets field after field; what this version cannot carry is set back.
    static void fill(Object part, Message root, short version, int count) throws Exception {
        Method[] setters = part.getClass().getMethods();
        Arrays.sort(setters, Comparator.comparing(Method::getName));
        for (Method setter : setters) {
            if (!setter.getName().startsWith("set") || setter.getParameterCount() != 1) continue;
            String field = setter.getName().substring(3);
            if (field.equals("Next") || field.equals("Prev")) continue; // links of a keyed collection
            Object before = getter(part, field).invoke(part);
            Object value = setter.getName().equals("setVersion")
                ? (Object) version : value(setter.getGenericParameterTypes()[0], root, version, count);
            setter.invoke(part, value);
            if (!encodes(root, version)) setter.invoke(part, before);
            else if (value instanceof List) for (Object element : (List<?>) value) fillNested(element, root, version);
            else fillNested(value, root, version);
        }
    }

    static void fillNested(Object value, Message root, short version) throws Exception {
        if (value instanceof Message) fill(value, root, version, 1);
    }

    static Method getter(Object part, String field) throws Exception {
        return part.getClass().getMethod(Character.toLowerCase(field.charAt(0)) + field.substring(1));
    }

    static Object value(Type type, Message root, short version, int count) throws Exception {
        if (type instanceof ParameterizedType list) {
            List<Object> values = new ArrayList<>();
            for (int i = 0; i < count; i++) values.add(value(list.getActualTypeArguments()[0], root, version, 1));
            return values;
        }
        Class<?> plain = (Class<?>) type;
        if (plain == String.class) return "s" + Integer.toString(RANDOM.nextInt(9000), 36) + "\u00e9";
        if (plain == boolean.class || plain == Boolean.class) return RANDOM.nextInt(4) != 0;
        if (plain == byte.class || plain == Byte.class) return (byte) (1 + RANDOM.nextInt(100));
        if (plain == short.class || plain == Short.class) return (short) (1 + RANDOM.nextInt(30000));
        if (plain == int.class || plain == Integer.class) return 1 + RANDOM.nextInt(60000);
        if (plain == long.class || plain == Long.class) return RANDOM.nextLong();
        if (plain == double.class) return RANDOM.nextDouble();
        if (plain == Uuid.class) return new Uuid(RANDOM.nextLong(), RANDOM.nextLong());
        if (plain == byte[].class) return random(3);
        if (plain == ByteBuffer.class) return ByteBuffer.wrap(random(3));
        if (plain == BaseRecords.class) return MemoryRecords.readableRecords(ByteBuffer.wrap(random(9)));
        Object value = plain.getDeclaredConstructor().newInstance();
        if (value instanceof Collection) collect((Collection<Object>) value, plain, root, version, count);
        return value;
    }

    // Kafka's keyed collections hash their elements, so these are filled before they go in.
    static void collect(Collection<Object> into, Class<?> type, Message root, short version, int count)
            throws Exception {
        Type element = ((ParameterizedType) type.getGenericSuperclass()).getActualTypeArguments()[0];
        for (int i = 0; i < count; i++) {
            Message value = (Message) ((Class<?>) element).getDeclaredConstructor().newInstance();
            Message probe = new Probe(value);
            fill(value, probe, version, 1);
            into.add(value);
        }
    }

    static byte[] random(int length) {
        byte[] bytes = new byte[length];
        RANDOM.nextBytes(bytes);
        return bytes;
    }

    // A part encodes itself as a message does, so it can stand for its root.
    static class Probe implements Message {
        final Message part;
        Probe(Message part) { this.part = part; }
        public short lowestSupportedVersion() { return part.lowestSupportedVersion(); }
        public short highestSupportedVersion() { return part.highestSupportedVersion(); }
        public void addSize(org.apache.kafka.common.protocol.MessageSizeAccumulator size,
                org.apache.kafka.common.protocol.ObjectSerializationCache cache, short version) {
            part.addSize(size, cache, version);
        }
        public void write(org.apache.kafka.common.protocol.Writable out,
                org.apache.kafka.common.protocol.ObjectSerializationCache cache, short version) {
            part.write(out, cache, version);
        }
        public void read(org.apache.kafka.common.protocol.Readable in, short version) { part.read(in, version); }
        public List<org.apache.kafka.common.protocol.types.RawTaggedField> unknownTaggedFields() { return List.of(); }
        public Message duplicate() { return part.duplicate(); }
    }
}
