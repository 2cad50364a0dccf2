//! IncrementalAlterConfigs, and what it shares with AlterConfigs.

use std::collections::{HashMap, HashSet};

use super::context::Context;
use crate::metadata::controller::settings::{self, Change};
use crate::metadata::controller::{Outcome, Refusal};
use crate::metadata::image::ResourceType;
use crate::metadata::records::Record;
use crate::wire::ErrorCode;
use crate::wire::incremental_alter_configs::*;

/// Decides about every resource by itself: all its changes or none.
pub fn handle(
    ctx: &Context<'_>,
    request: &IncrementalAlterConfigsRequest,
) -> Outcome<IncrementalAlterConfigsResponse> {
    let keys = request
        .resources
        .iter()
        .map(|one| (one.resource_type, one.resource_name.as_str()));
    let repeated = repeated(keys);
    let mut outcome = Outcome::unchanged(IncrementalAlterConfigsResponse::default());
    for resource in &request.resources {
        let key = (resource.resource_type, resource.resource_name.as_str());
        let result = once(&repeated, key).and_then(|()| decide(ctx, resource));
        let mut row = AlterConfigsResourceResponse {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        };
        match result {
            Ok(records) => outcome.records.extend(records),
            Err(refusal) => {
                (row.error_code, row.error_message) = (refusal.code.into(), Some(refusal.message))
            }
        }
        outcome.response.responses.push(row);
    }
    if request.validate_only {
        outcome.records.clear();
    }
    outcome
}

fn decide(ctx: &Context<'_>, resource: &AlterConfigsResource) -> Result<Vec<Record>, Refusal> {
    check_names(resource.configs.iter().map(|config| config.name.as_str()))?;
    let null = resource
        .configs
        .iter()
        .filter(|config| config.config_operation != 1 && config.value.is_none());
    check_null(null.map(|config| config.name.as_str()))?;
    let changes: Result<Vec<_>, Refusal> = resource.configs.iter().map(change).collect();
    let kind = kind(resource.resource_type)?;
    settings::alter(ctx.view(), kind, &resource.resource_name, &changes?)
}

fn change(config: &AlterableConfig) -> Result<(&str, Change<'_>), Refusal> {
    let value = config.value.as_deref().unwrap_or_default();
    let change = match config.config_operation {
        0 => Change::Set(value),
        1 => Change::Delete,
        2 => Change::Append(value),
        3 => Change::Subtract(value),
        other => {
            let message = format!("Unknown operations type {other}");
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
    };
    Ok((&config.name, change))
}

/// The resources that a request names more than once.
pub(super) fn repeated<'a>(keys: impl Iterator<Item = (i8, &'a str)>) -> HashSet<(i8, &'a str)> {
    let mut count: HashMap<(i8, &str), usize> = HashMap::new();
    for key in keys {
        *count.entry(key).or_default() += 1;
    }
    count
        .into_iter()
        .filter(|(_, count)| *count > 1)
        .map(|(key, _)| key)
        .collect()
}

/// Refuses a resource that is named more than once.
pub(super) fn once(repeated: &HashSet<(i8, &str)>, key: (i8, &str)) -> Result<(), Refusal> {
    match repeated.contains(&key) {
        true => Err(Refusal::new(
            ErrorCode::InvalidRequest,
            "Each resource must appear at most once.",
        )),
        false => Ok(()),
    }
}

/// Refuses a setting that is named more than once.
pub(super) fn check_names<'a>(mut names: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    match names.all(|name| seen.insert(name)) {
        true => Ok(()),
        false => Err(Refusal::new(
            ErrorCode::InvalidRequest,
            "Error due to duplicate config keys",
        )),
    }
}

/// Refuses settings without a value.
pub(super) fn check_null<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    let names: Vec<&str> = names.collect();
    match names.is_empty() {
        true => Ok(()),
        false => {
            let message = format!("Null value not supported for : {}", names.join(", "));
            Err(Refusal::new(ErrorCode::InvalidRequest, message))
        }
    }
}

/// The kind of resource of a number.
pub(super) fn kind(number: i8) -> Result<ResourceType, Refusal> {
    let unknown = || {
        Refusal::new(
            ErrorCode::InvalidRequest,
            format!("Unknown resource type {number}"),
        )
    };
    ResourceType::from_number(number).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::super::context::testing::*;
    use super::*;
    use crate::metadata::controller::testing::topic;

    fn resource(kind: i8, name: &str, configs: &[(&str, i8, Option<&str>)]) -> AlterConfigsResource {
        let config = |(name, operation, value): &(&str, i8, Option<&str>)| AlterableConfig {
            name: (*name).into(),
            config_operation: *operation,
            value: value.map(str::to_owned),
        };
        AlterConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configs: configs.iter().map(config).collect(),
        }
    }

    #[test]
    fn each_resource_gets_its_own_answer() {
        let world = World::new(&topic("t", 1), &[]);
        let good = ("retention.ms", 0, Some("5"));
        let resources = vec![
            resource(2, "t", &[good, ("segment.ms", 1, None)]),
            resource(4, "", &[("log.segment.bytes", 0, Some("2000000"))]),
            resource(2, "u", &[good]),
            resource(2, "twice", &[good]),
            resource(2, "twice", &[good]),
            resource(2, "keys", &[good, good]),
            resource(2, "null", &[("retention.ms", 0, None)]),
            resource(2, "operation", &[("retention.ms", 9, Some("5"))]),
            resource(9, "kind", &[good]),
            resource(32, "group", &[good]),
            resource(16, "telemetry", &[good]),
        ];
        let mut request = IncrementalAlterConfigsRequest {
            resources,
            validate_only: false,
        };
        let outcome = handle(&world.context(), &request);
        let codes: Vec<_> = outcome
            .response
            .responses
            .iter()
            .map(|row| row.error_code)
            .collect();
        assert_eq!(codes, [0, 0, 3, 42, 42, 42, 42, 42, 42, 40, 42]);
        assert_eq!(outcome.records.len(), 2);
        request.validate_only = true;
        assert!(handle(&world.context(), &request).records.is_empty());
    }
}
