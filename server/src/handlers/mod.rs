//! One file per request, or per few that are alike: look at the metadata, decide, answer. A handler returns a value and
//! never touches a socket; where it needs what only a partition's owner knows, it returns the questions.

pub mod alter_configs;
pub mod alter_log_dirs;
pub mod api_versions;
pub mod client_quotas;
pub mod context;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_cores;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod elect_leaders;
pub mod fetch;
pub mod find_coordinator;
pub mod groups;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod internal_topics;
pub mod keys;
pub mod list_config_resources;
pub mod log_dirs;
pub mod metadata;
pub mod move_partition;
pub mod offsets;
pub mod produce;
pub mod reassignments;
pub mod scram_credentials;
pub mod times;
pub mod transactions;
pub mod txn_offset_commit;
pub mod update_features;
pub mod write_txn_markers;
