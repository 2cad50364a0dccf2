// Prints what Apache Kafka has, as its own classes say: settings of topics, groups and brokers, error codes, requests. Fields are separated by tabs.
// Run by hand when the version of Kafka that is compared with changes, with its jars on the class path:
//
//     java -cp "$KAFKA_HOME/libs/*" tests/golden/Roster.java > tests/golden/roster-4.3.1.txt

import java.util.Map;
import java.util.TreeMap;

import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.message.ApiMessageType.ListenerType;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.coordinator.group.GroupConfig;
import org.apache.kafka.server.config.AbstractKafkaConfig;
import org.apache.kafka.server.config.DynamicBrokerConfig;
import org.apache.kafka.server.config.ServerTopicConfigSynonyms;
import org.apache.kafka.storage.internals.log.LogConfig;

public class Roster {
    public static void main(String[] args) {
        for (String name : LogConfig.configNames()) {
            ConfigDef.ConfigKey key = LogConfig.configKeys().get(name);
            setting("topic", key, ServerTopicConfigSynonyms.TOPIC_CONFIG_SYNONYMS.get(name));
        }
        for (ConfigDef.ConfigKey key : sorted(GroupConfig.CONFIG_DEF.configKeys()))
            setting("group", key, GroupConfig.brokerSynonym(key.name).orElse(null));
        for (ConfigDef.ConfigKey key : sorted(AbstractKafkaConfig.CONFIG_DEF.configKeys()))
            setting("broker", key, DynamicBrokerConfig.ALL_DYNAMIC_CONFIGS.contains(key.name) ? "dynamic" : "fixed");
        for (Errors error : Errors.values()) {
            boolean retriable = error.exception() instanceof RetriableException;
            row("error", error.code(), error.name(), retriable ? "retriable" : "lasting");
        }
        for (ApiKeys key : ApiKeys.values()) {
            if (!key.inScope(ListenerType.BROKER)) continue;
            short newest = key.latestVersion(false);
            int flexible = 0;
            while (flexible <= newest && key.requestHeaderVersion((short) flexible) < 2) flexible++;
            row("api", key.id, key.name, key.oldestVersion(), newest, flexible);
        }
    }

    static Iterable<ConfigDef.ConfigKey> sorted(Map<String, ConfigDef.ConfigKey> keys) {
        return new TreeMap<>(keys).values();
    }

    static void setting(String of, ConfigDef.ConfigKey key, Object more) {
        Object value = key.hasDefault() ? ConfigDef.convertToString(key.defaultValue, key.type) : null;
        row(of, key.name, key.type, value, key.validator, key.internalConfig ? "internal" : "public", more);
    }

    // Nothing is a dash; a text that is empty, quotes.
    static void row(Object... fields) {
        StringBuilder line = new StringBuilder();
        for (Object field : fields) {
            String text = field == null ? "-" : field.toString().isEmpty() ? "''" : field.toString();
            line.append(line.length() == 0 ? "" : "\t").append(text.replaceAll("\\s+", " "));
        }
        System.out.println(line);
    }
}
