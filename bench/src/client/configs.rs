//! Single settings as a broker tells them, with what it says of them.

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{DescribeConfigsRequest, MetadataRequest};
use kafka_protocol::protocol::StrBytes;

use super::connection::{Connection, check};
use crate::error::Error;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// How a broker ends what it says of a setting that it stores and does not act on.
const NO_EFFECT_YET: &str = "has no effect yet.";

/// A setting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Its value.
    pub value: String,
    /// What the broker says of it; empty where it says nothing.
    pub documentation: String,
}

impl Told {
    /// What the broker itself says to be without effect, in one sentence.
    pub fn idle(&self) -> Option<&str> {
        let sentences = self.documentation.strip_suffix(NO_EFFECT_YET)?;
        let from = sentences.rfind(". ").map_or(0, |at| at + 2);
        self.documentation.get(from..)
    }
}

/// The settings of the broker at the other end.
///
/// # Errors
/// The broker's, by name.
pub async fn of_broker(connection: &mut Connection) -> Result<BTreeMap<String, Told>, Error> {
    let request = MetadataRequest::default()
        .with_topics(Some(Vec::new()))
        .with_allow_auto_topic_creation(false);
    let (cluster, _) = connection.call(&request, 9).await?;
    let node = cluster.brokers.first().map_or(0, |broker| broker.node_id.0);
    describe(connection, BROKER, node.to_string()).await
}

/// The settings of a topic.
///
/// # Errors
/// The broker's, by name.
pub async fn of_topic(connection: &mut Connection, topic: &str) -> Result<BTreeMap<String, Told>, Error> {
    describe(connection, TOPIC, topic.to_owned()).await
}

async fn describe(
    connection: &mut Connection,
    kind: i8,
    name: String,
) -> Result<BTreeMap<String, Told>, Error> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(StrBytes::from_string(name))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_documentation(true);
    let (answer, _) = connection.call(&request, 4).await?;
    let mut all = BTreeMap::new();
    for result in &answer.results {
        check(
            "DescribeConfigs",
            result.error_code,
            result.error_message.as_ref(),
        )?;
        for config in &result.configs {
            let text =
                |text: &Option<StrBytes>| text.as_ref().map(|text| text.to_string()).unwrap_or_default();
            let told = Told {
                value: text(&config.value),
                documentation: text(&config.documentation),
            };
            all.insert(config.name.to_string(), told);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_says_itself_what_has_no_effect() {
        for (documentation, idle) in [
            (
                "How it ends. compact is stored, and has no effect yet.",
                Some("compact is stored, and has no effect yet."),
            ),
            (
                "It is stored, and has no effect yet.",
                Some("It is stored, and has no effect yet."),
            ),
            ("How it ends: delete, compact, or both.", None),
            ("", None),
        ] {
            let told = Told {
                documentation: documentation.into(),
                ..Told::default()
            };
            assert_eq!(told.idle(), idle);
        }
    }
}
