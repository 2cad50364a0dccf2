//! AlterConfigs: a resource's settings as a whole. What is not named goes back to its default.

use super::context::Context;
use super::incremental_alter_configs::{check_names, check_null, kind, once, repeated};
use crate::config::Settings;
use crate::metadata::controller::{Outcome, Refusal, settings};
use crate::metadata::records::Record;
use crate::wire::alter_configs::*;

/// Decides about every resource by itself.
pub fn handle(ctx: &Context<'_>, request: &AlterConfigsRequest) -> Outcome<AlterConfigsResponse> {
    let keys = request
        .resources
        .iter()
        .map(|one| (one.resource_type, one.resource_name.as_str()));
    let repeated = repeated(keys);
    let mut outcome = Outcome::unchanged(AlterConfigsResponse::default());
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
    check_null(
        resource
            .configs
            .iter()
            .filter(|config| config.value.is_none())
            .map(|config| config.name.as_str()),
    )?;
    let kind = kind(resource.resource_type)?;
    let pairs = resource
        .configs
        .iter()
        .map(|config| (config.name.clone(), config.value.clone().unwrap_or_default()));
    settings::replace(
        ctx.view(),
        kind,
        &resource.resource_name,
        &pairs.collect::<Settings>(),
    )
}

#[cfg(test)]
mod tests {
    use super::super::context::testing::*;
    use super::*;
    use crate::metadata::controller::testing::{setting, topic};
    use crate::metadata::image::ResourceType;

    #[test]
    fn the_new_settings_replace_the_old() {
        let log = [topic("t", 1), vec![setting(2, "t", "retention.ms", "5")]].concat();
        let world = World::new(&log, &[]);
        let configs = vec![AlterableConfig {
            name: "segment.ms".into(),
            value: Some("7".into()),
        }];
        let resource = |name: &str| AlterConfigsResource {
            resource_type: 2,
            resource_name: name.into(),
            configs: configs.clone(),
        };
        let request = AlterConfigsRequest {
            resources: vec![resource("t"), resource("u")],
            validate_only: false,
        };
        let outcome = handle(&world.context(), &request);
        let codes: Vec<_> = outcome
            .response
            .responses
            .iter()
            .map(|row| row.error_code)
            .collect();
        assert_eq!(codes, [0, 3]);
        let then = World::after(&log, &outcome.records);
        let settings = then.image.settings(ResourceType::Topic, "t").expect("set");
        assert_eq!(settings.keys().collect::<Vec<_>>(), ["segment.ms"]);
    }
}
