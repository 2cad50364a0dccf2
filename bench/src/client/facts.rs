//! What a broker says of itself: the settings that differ from its defaults, and what its acknowledgement means.

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{DescribeConfigsRequest, MetadataRequest};
use kafka_protocol::protocol::StrBytes;

use super::connection::Connection;
use crate::error::Error;

/// The topic that keeps transactions, as Kafka calls it.
const TRANSACTION_STATE: &str = "__transaction_state";
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// DescribeConfigs' source of a built-in default.
const DEFAULT_CONFIG: i8 = 5;

/// A broker's own words.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Settings that differ from the defaults, broker's and topic's.
    pub settings: BTreeMap<String, String>,
    /// What an acknowledgement means: `none`, `memory`, `page cache`, `stable storage`, `unknown`.
    pub durability: String,
    /// Why.
    pub reason: String,
    /// Why batches would not come back as they were sent, where the topic's settings say that they would not.
    pub rewrites: Option<String>,
    /// Whether it has a setting that only Ringlog has, so that it can be asked about its inside.
    pub is_ringlog: bool,
}

/// Asks for the configuration of the broker and of `topic`. What a broker does not tell is missing, not an error: a
/// benchmark runs without.
pub async fn ask(connection: &mut Connection, topic: &str, acks: i16) -> Facts {
    let all = describe(connection, topic).await.unwrap_or_default();
    let settings: BTreeMap<String, String> = all
        .iter()
        .filter(|(_, setting)| !setting.default)
        .map(|(key, setting)| (key.clone(), setting.value.clone()))
        .collect();
    let (durability, reason) = durability(&all, acks);
    Facts {
        settings,
        durability: durability.into(),
        reason,
        rewrites: rewrites(&all),
        is_ringlog: all.contains_key("ringlog.durability"),
    }
}

/// Says of a broker whose acknowledgement depends on a topic's `flush.messages` what the topic that keeps transactions has: a commit is
/// acknowledged from there. What the broker does not tell changes nothing.
pub async fn add_transaction_state(facts: &mut Facts, connection: &mut Connection) {
    let all = describe(connection, TRANSACTION_STATE).await.unwrap_or_default();
    let flushed = all.get("flush.messages").map(|setting| setting.value.as_str());
    if let (false, Some(flushed)) = (facts.is_ringlog, flushed) {
        commits(facts, flushed == "1");
    }
}

fn commits(facts: &mut Facts, flushed: bool) {
    match (facts.durability.as_str(), flushed) {
        ("stable storage", true) => facts.reason += &format!(", of {TRANSACTION_STATE} too"),
        ("stable storage", false) => {
            facts.durability = "page cache".into();
            facts.reason +=
                &format!(", but not of {TRANSACTION_STATE}: a commit is acknowledged before it is on disk");
        }
        _ => {}
    }
}

/// Settings under which the broker changes or drops what it stores.
fn rewrites(settings: &BTreeMap<String, Setting>) -> Option<String> {
    let fine = [
        ("message.timestamp.type", "CreateTime"),
        ("compression.type", "producer"),
        ("cleanup.policy", "delete"),
    ];
    fine.iter().find_map(|(key, fine)| {
        let said = &settings.get(*key)?.value;
        (said != fine).then(|| format!("{key}={said}"))
    })
}

struct Setting {
    value: String,
    default: bool,
}

/// The class of an acknowledgement, from what the topic's and broker's settings say.
fn durability(settings: &BTreeMap<String, Setting>, acks: i16) -> (&'static str, String) {
    let value = |key: &str| settings.get(key).map(|setting| setting.value.as_str());
    if acks == 0 {
        return ("none", "acks=0: the broker does not acknowledge".into());
    }
    if let Some(said) = value("ringlog.durability") {
        return match said {
            "written" => ("page cache", "ringlog.durability=written".into()),
            _ => ("stable storage", format!("ringlog.durability={said}")),
        };
    }
    if let Some(said) = value("redpanda.writecaching").or(value("write.caching")) {
        return match said {
            "true" | "on" => ("memory", format!("write.caching={said}")),
            _ if acks == -1 => ("stable storage", "write caching off, acks=all".into()),
            _ => ("memory", "acks=1 does not wait for the disk there".into()),
        };
    }
    match value("flush.messages") {
        Some("1") => ("stable storage", "flush.messages=1".into()),
        Some(_) => (
            "page cache",
            "flush.messages is not 1: acknowledged before it is on disk".into(),
        ),
        None => (
            "unknown",
            "the broker tells none of the settings that decide it".into(),
        ),
    }
}

async fn describe(connection: &mut Connection, topic: &str) -> Result<BTreeMap<String, Setting>, Error> {
    let request = MetadataRequest::default()
        .with_topics(Some(Vec::new()))
        .with_allow_auto_topic_creation(false);
    let (cluster, _) = connection.call(&request, 9).await?;
    let resource = |kind: i8, name: String| {
        DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(StrBytes::from_string(name))
            .with_configuration_keys(None)
    };
    let node = cluster.brokers.first().map_or(0, |broker| broker.node_id.0);
    let request = DescribeConfigsRequest::default().with_resources(vec![
        resource(BROKER, node.to_string()),
        resource(TOPIC, topic.into()),
    ]);
    let (answer, _) = connection.call(&request, 4).await?;
    let mut settings = BTreeMap::new();
    for config in answer.results.iter().flat_map(|result| &result.configs) {
        let value = match &config.value {
            _ if config.is_sensitive => "(hidden)".into(),
            Some(value) => value.to_string(),
            None => continue,
        };
        let default = config.config_source == DEFAULT_CONFIG;
        settings.insert(config.name.to_string(), Setting { value, default });
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(pairs: &[(&str, &str)], acks: i16) -> &'static str {
        let settings = pairs.iter().map(|(key, value)| {
            let setting = Setting {
                value: (*value).into(),
                default: false,
            };
            ((*key).to_owned(), setting)
        });
        durability(&settings.collect(), acks).0
    }

    #[test]
    fn a_commit_is_as_durable_as_the_topic_that_keeps_it() {
        for (flushed, durability) in [(true, "stable storage"), (false, "page cache")] {
            let mut facts = Facts {
                durability: "stable storage".into(),
                reason: "flush.messages=1".into(),
                ..Facts::default()
            };
            commits(&mut facts, flushed);
            assert_eq!(facts.durability, durability);
            assert!(facts.reason.contains(TRANSACTION_STATE), "{}", facts.reason);
        }
    }

    #[test]
    fn an_acknowledgement_is_what_the_settings_make_of_it() {
        assert_eq!(
            class(&[("flush.messages", "9223372036854775807")], -1),
            "page cache"
        );
        assert_eq!(class(&[("flush.messages", "1")], 1), "stable storage");
        let ringlog = [
            ("flush.messages", "9223372036854775807"),
            ("ringlog.durability", "synced"),
        ];
        assert_eq!(class(&ringlog, 1), "stable storage");
        assert_eq!(class(&[("ringlog.durability", "written")], 1), "page cache");
        assert_eq!(class(&ringlog, 0), "none");
        assert_eq!(class(&[("write.caching", "false")], 1), "memory");
        assert_eq!(class(&[], 1), "unknown");
    }
}
