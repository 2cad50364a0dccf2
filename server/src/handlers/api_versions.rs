//! ApiVersions: what this broker serves, printed from the wire's table, and the features of its cluster.
//!
//! A log taken over from Kafka may have more features finalized than are served (`share.version`, ...); clients change their behaviour when
//! they see those, so they stay unnamed.

use super::context::Context;
use crate::metadata::features::{FEATURES, Feature};
use crate::metadata::image::METADATA_VERSION;
use crate::wire::ErrorCode;
use crate::wire::api::{Api, ApiKey, TABLE};
use crate::wire::api_versions::*;

/// The first version that carries the client's name and version, and the features.
const CLIENT_NAME_FROM: i16 = 3;

/// The first version whose clients can read that a level of 0 is served (KIP-584); before it such features are not named as supported.
const LEVEL_ZERO_FROM: i16 = 4;

/// Answers in the request's own version.
pub fn handle(ctx: &Context<'_>, request: &ApiVersionsRequest, version: i16) -> ApiVersionsResponse {
    let named = [&request.client_software_name, &request.client_software_version];
    if version >= CLIENT_NAME_FROM && !named.into_iter().all(|name| is_name(name)) {
        return ApiVersionsResponse {
            error_code: ErrorCode::InvalidRequest.into(),
            ..Default::default()
        };
    }
    let level = |feature: &Feature| match feature.name {
        METADATA_VERSION => ctx.image.metadata_version(),
        name => ctx.image.feature(name).unwrap_or(0).min(feature.newest),
    };
    let supported = FEATURES
        .iter()
        .filter(|feature| feature.oldest > 0 || version >= LEVEL_ZERO_FROM);
    let finalized = FEATURES.iter().filter(|feature| level(feature) > 0);
    ApiVersionsResponse {
        api_keys: advertised().map(row).collect(),
        supported_features: supported
            .map(|feature| SupportedFeatureKey {
                name: feature.name.to_owned(),
                min_version: feature.oldest,
                max_version: feature.newest,
            })
            .collect(),
        finalized_features_epoch: ctx.image.applied().map_or(-1, |(offset, _)| offset),
        finalized_features: finalized
            .map(|feature| FinalizedFeatureKey {
                name: feature.name.to_owned(),
                max_version_level: level(feature),
                min_version_level: level(feature),
            })
            .collect(),
        ..Default::default()
    }
}

/// The answer to a version this broker does not have, to be encoded as version 0: the error, and the versions of
/// ApiVersions itself, so that the client can ask again (KIP-35, KIP-511).
pub fn unsupported() -> ApiVersionsResponse {
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.into(),
        api_keys: Api::find(ApiKey::ApiVersions).into_iter().map(row).collect(),
        ..Default::default()
    }
}

/// What clients are told of: not our own requests, which no client of Kafka knows.
fn advertised() -> impl Iterator<Item = &'static Api> {
    TABLE.iter().filter(|api| !api.key.is_private())
}

fn row(api: &Api) -> ApiVersion {
    ApiVersion {
        api_key: api.key as i16,
        min_version: api.advertised_min,
        max_version: api.max_version,
    }
}

/// Letters, digits, dots and dashes, the first and last a letter or digit (KIP-511).
fn is_name(text: &str) -> bool {
    let outer = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
    outer(bytes.first()) && outer(bytes.last()) && bytes.iter().all(inner)
}

#[cfg(test)]
mod tests {
    use super::super::context::testing::*;
    use super::*;
    use crate::wire::metadata_records::FeatureLevelRecord;

    fn request(name: &str) -> ApiVersionsRequest {
        ApiVersionsRequest {
            client_software_name: name.into(),
            client_software_version: "1.0".into(),
        }
    }

    #[test]
    fn only_features_that_are_served_are_named() {
        let feature = |name: &str, feature_level| {
            FeatureLevelRecord {
                name: name.into(),
                feature_level,
            }
            .into()
        };
        let world = World::new(
            &[
                feature(METADATA_VERSION, 29),
                feature("transaction.version", 2),
                feature("share.version", 1),
            ],
            &[],
        );
        let response = handle(&world.context(), &request("a"), 4);
        assert_eq!(response.error_code, 0);
        let keys: Vec<i16> = response.api_keys.iter().map(|row| row.api_key).collect();
        assert!(keys.contains(&75) && keys.iter().all(|key| *key < 31000));
        assert_eq!(keys.len(), TABLE.len() - 2);
        assert_eq!(response.finalized_features_epoch, 2);
        let found: Vec<_> = response
            .finalized_features
            .iter()
            .map(|f| (f.name.as_str(), f.max_version_level))
            .collect();
        assert_eq!(found, [(METADATA_VERSION, 29), ("transaction.version", 2)]);
        assert_eq!(response.supported_features.len(), 3);
        let old = handle(&world.context(), &request("a"), 3);
        assert_eq!(
            old.supported_features.len(),
            1,
            "those with a level of 0 came later"
        );
    }

    #[test]
    fn clients_have_decent_names() {
        let world = World::new(&[], &[]);
        for (name, version, want) in [
            ("apache-kafka.java", 3, 0),
            ("a", 3, 0),
            ("", 3, 42),
            ("-a", 3, 42),
            ("a.", 3, 42),
            ("a b", 3, 42),
            ("", 2, 0),
        ] {
            assert_eq!(
                handle(&world.context(), &request(name), version).error_code,
                want,
                "{name} {version}"
            );
        }
    }

    #[test]
    fn a_version_too_high_is_told_the_right_one() {
        let response = unsupported();
        let rows: Vec<_> = response
            .api_keys
            .iter()
            .map(|r| (r.api_key, r.min_version, r.max_version))
            .collect();
        assert_eq!((response.error_code, rows), (35, vec![(18, 0, 4)]));
    }
}
