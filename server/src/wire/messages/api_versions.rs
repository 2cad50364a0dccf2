//! ApiVersions: which requests and versions a broker serves, and the features its cluster has finalized.
//!
//! KIP-35, KIP-511 (client name), KIP-584 (features). The response header is always v0, so that a client that
//! guessed a version too high can read the answer.

use crate::wire::schema::schema;

schema! {
    message ApiVersionsRequest 0-4 flexible 3+ {
        client_software_name: String, 3+;
        client_software_version: String, 3+;
    }

    message ApiVersionsResponse 0-4 flexible 3+ {
        error_code: i16, 0+;
        api_keys: Vec<ApiVersion>, 0+;
        throttle_time_ms: i32, 1+;
        supported_features: Vec<SupportedFeatureKey>, 3+ tag 0;
        finalized_features_epoch: i64 = -1, 3+ tag 1;
        finalized_features: Vec<FinalizedFeatureKey>, 3+ tag 2;
        zk_migration_ready: bool, 3+ tag 3;
    }

    part ApiVersion {
        api_key: i16, 0+;
        min_version: i16, 0+;
        max_version: i16, 0+;
    }

    part SupportedFeatureKey {
        name: String, 3+;
        min_version: i16, 3+;
        max_version: i16, 3+;
    }

    part FinalizedFeatureKey {
        name: String, 3+;
        max_version_level: i16, 3+;
        min_version_level: i16, 3+;
    }
}
