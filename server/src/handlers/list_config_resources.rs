//! ListConfigResources: what has settings of its own, or could have (KIP-1142).

use std::collections::BTreeSet;

use super::context::Context;
use crate::metadata::image::ResourceType;
use crate::wire::ErrorCode;
use crate::wire::list_config_resources::*;

/// Before this version only client metrics are told of, and the request names no kinds.
const KINDS_FROM: i16 = 1;

/// Every kind there is, in the order in which Kafka answers.
const ALL: [ResourceType; 5] = [
    ResourceType::Group,
    ResourceType::ClientMetrics,
    ResourceType::BrokerLogger,
    ResourceType::Broker,
    ResourceType::Topic,
];

/// Lists topics and this broker; groups and telemetry subscriptions as far as anything is set on them.
pub fn handle(
    ctx: &Context<'_>,
    request: &ListConfigResourcesRequest,
    version: i16,
) -> ListConfigResourcesResponse {
    let wanted: BTreeSet<i8> = request.resource_types.iter().copied().collect();
    let supported = |kind: &i8| ALL.iter().any(|one| *one as i8 == *kind);
    if !wanted.iter().all(supported) {
        return ListConfigResourcesResponse {
            error_code: ErrorCode::UnsupportedVersion.into(),
            ..Default::default()
        };
    }
    let kinds = ALL.into_iter().filter(|kind| match version < KINDS_FROM {
        true => *kind == ResourceType::ClientMetrics,
        false => wanted.is_empty() || wanted.contains(&(*kind as i8)),
    });
    let row = |kind, resource_name| ConfigResource {
        resource_name,
        resource_type: kind as i8,
    };
    ListConfigResourcesResponse {
        config_resources: kinds
            .flat_map(|kind| names(ctx, kind).into_iter().map(move |name| row(kind, name)))
            .collect(),
        ..Default::default()
    }
}

fn names(ctx: &Context<'_>, kind: ResourceType) -> Vec<String> {
    match kind {
        ResourceType::Topic => ctx.image.topics().map(|topic| topic.name.to_string()).collect(),
        ResourceType::Broker | ResourceType::BrokerLogger => vec![ctx.node.id.to_string()],
        ResourceType::ClientMetrics | ResourceType::Group => {
            let all = ctx.image.all_settings().map(|(resource, _)| resource);
            all.filter(|(of, _)| *of == kind as i8)
                .map(|(_, name)| name.clone())
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::testing::*;
    use super::*;
    use crate::metadata::controller::testing::{setting, topic};

    fn ask(kinds: &[i8], version: i16) -> (i16, Vec<(i8, String)>) {
        let mut log = [topic("b", 1), topic("a", 1)].concat();
        log.push(setting(32, "g", "consumer.session.timeout.ms", "50000"));
        log.push(setting(16, "m", "interval.ms", "5000"));
        let request = ListConfigResourcesRequest {
            resource_types: kinds.to_vec(),
        };
        let response = handle(&World::new(&log, &[]).context(), &request, version);
        let rows = response
            .config_resources
            .into_iter()
            .map(|row| (row.resource_type, row.resource_name));
        (response.error_code, rows.collect())
    }

    #[test]
    fn kinds_are_told_as_asked_for() {
        let row = |kind, name: &str| (kind, name.to_owned());
        let (topics, broker) = ([row(2, "a"), row(2, "b")], row(4, "1"));
        let logger = row(8, "1");
        let all = [&[row(32, "g"), row(16, "m"), logger, broker.clone()][..], &topics].concat();
        assert_eq!(ask(&[], 1), (0, all));
        assert_eq!(ask(&[2], 1), (0, topics.to_vec()));
        assert_eq!(ask(&[4, 32, 4], 1), (0, vec![row(32, "g"), broker]));
        assert_eq!(ask(&[], 0), (0, vec![row(16, "m")]));
        assert_eq!(ask(&[2, 3], 1), (35, vec![]));
    }
}
