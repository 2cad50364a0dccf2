//! UpdateFeatures: all of them or none (KIP-584, KIP-778).

use super::context::Context;
use crate::metadata::controller::features::{Direction, update};
use crate::metadata::controller::{Outcome, Refusal};
use crate::metadata::records::Record;
use crate::wire::update_features::*;

/// Before this version a request says whether it may go down, and does not say how.
const DIRECTION_FROM: i16 = 1;

/// Decides about all features together.
pub fn handle(
    ctx: &Context<'_>,
    request: &UpdateFeaturesRequest,
    version: i16,
) -> Outcome<UpdateFeaturesResponse> {
    let mut response = UpdateFeaturesResponse::default();
    match decide(ctx, request, version) {
        Ok(records) => {
            let done = |one: &FeatureUpdateKey| UpdatableFeatureResult {
                feature: one.feature.clone(),
                ..Default::default()
            };
            response.results = request.feature_updates.iter().map(done).collect();
            let records = match request.validate_only {
                true => Vec::new(),
                false => records,
            };
            Outcome { records, response }
        }
        Err(refusal) => {
            response.error_code = refusal.code.into();
            let all = "The update failed for all features since the following feature had an error: ";
            response.error_message = Some(all.to_owned() + &refusal.message);
            Outcome::unchanged(response)
        }
    }
}

fn decide(ctx: &Context<'_>, request: &UpdateFeaturesRequest, version: i16) -> Result<Vec<Record>, Refusal> {
    let mut records = Vec::new();
    for one in &request.feature_updates {
        let direction = match (version < DIRECTION_FROM, one.allow_downgrade) {
            (true, true) => Some(Direction::SafeDowngrade),
            (true, false) => Some(Direction::Upgrade),
            (false, _) => Direction::from_number(one.upgrade_type),
        };
        records.extend(update(
            ctx.view(),
            &one.feature,
            one.max_version_level,
            direction,
        )?);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::super::context::testing::*;
    use super::*;
    use crate::metadata::image::METADATA_VERSION;
    use crate::wire::metadata_records::FeatureLevelRecord;

    fn ask(levels: &[(&str, i16, bool)], version: i16, validate_only: bool) -> (i16, usize, usize) {
        let old = FeatureLevelRecord {
            name: METADATA_VERSION.into(),
            feature_level: 20,
        };
        let one = |(feature, max_version_level, allow_downgrade): &(&str, i16, bool)| FeatureUpdateKey {
            feature: (*feature).into(),
            max_version_level: *max_version_level,
            allow_downgrade: *allow_downgrade,
            ..Default::default()
        };
        let request = UpdateFeaturesRequest {
            feature_updates: levels.iter().map(one).collect(),
            validate_only,
            ..Default::default()
        };
        let outcome = handle(&World::new(&[old.into()], &[]).context(), &request, version);
        assert_eq!(
            outcome.response.error_code == 0,
            outcome.response.error_message.is_none()
        );
        (
            outcome.response.error_code,
            outcome.response.results.len(),
            outcome.records.len(),
        )
    }

    #[test]
    fn all_features_change_or_none() {
        assert_eq!(ask(&[(METADATA_VERSION, 30, false)], 1, false), (0, 1, 1));
        assert_eq!(ask(&[(METADATA_VERSION, 30, false)], 1, true), (0, 1, 0));
        assert_eq!(
            ask(&[(METADATA_VERSION, 30, false), ("x", 1, false)], 2, false),
            (95, 0, 0)
        );
        assert_eq!(
            ask(&[(METADATA_VERSION, 30, true)], 0, false),
            (95, 0, 0),
            "up, asked for as a way down"
        );
        assert_eq!(ask(&[], 2, false), (0, 0, 0));
    }
}
