//! UpdateFeatures: raise or lower the level of what a cluster may do (KIP-584, KIP-778).

use crate::wire::schema::schema;

schema! {
    message UpdateFeaturesRequest 0-2 flexible 0+ {
        timeout_ms: i32 = 60000, 0+;
        feature_updates: Vec<FeatureUpdateKey>, 0+;
        validate_only: bool, 1+;
    }

    part FeatureUpdateKey {
        feature: String, 0+;
        max_version_level: i16, 0+;
        allow_downgrade: bool, 0-0;
        upgrade_type: i8 = 1, 1+;
    }

    message UpdateFeaturesResponse 0-2 flexible 0+ {
        throttle_time_ms: i32, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+;
        results: Vec<UpdatableFeatureResult>, 0-1;
    }

    part UpdatableFeatureResult {
        feature: String, 0+;
        error_code: i16, 0+;
        error_message: Option<String>, 0+;
    }
}
