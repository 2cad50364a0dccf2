//! A notice of settings that the broker has taken and that have no effect yet.

use crate::cli::client::Client;
use crate::cli::values::ConfigPair;
use crate::config::pending::NO_EFFECT_YET;
use crate::config::topic::topic_key;
use crate::wire::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};

/// A topic, as a resource that has settings.
pub(super) const TOPIC_RESOURCE: i8 = 2;

/// The line to be said of what a new topic was given; nothing if all of it has an effect. The broker is asked: other brokers, and other versions of
/// this one, do more.
pub(super) fn notice(client: &mut Client, topic: &str, configs: &[ConfigPair]) -> Option<String> {
    let suspects: Vec<&ConfigPair> = configs
        .iter()
        .filter(|pair| topic_key(&pair.key).is_some_and(|key| key.pending.concerns(&pair.value)))
        .collect();
    if suspects.is_empty() {
        return None;
    }
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: TOPIC_RESOURCE,
            resource_name: topic.to_owned(),
            configuration_keys: Some(suspects.iter().map(|pair| pair.key.clone()).collect()),
        }],
        include_documentation: true,
        ..Default::default()
    };
    // The topic is there: that it cannot be asked about is no failure of its creation.
    let rows = client.call(&request).ok()?.results.into_iter().next()?.configs;
    let is_idle = |pair: &&ConfigPair| {
        let row = rows.iter().find(|row| row.name == pair.key);
        let documentation = row.and_then(|row| row.documentation.as_deref());
        documentation.is_some_and(|text| text.ends_with(NO_EFFECT_YET))
    };
    let idle: Vec<String> = suspects
        .into_iter()
        .filter(is_idle)
        .map(|pair| format!("{}={}", pair.key, pair.value))
        .collect();
    (!idle.is_empty()).then(|| format!("stored, and without effect yet: {}", idle.join(", ")))
}
