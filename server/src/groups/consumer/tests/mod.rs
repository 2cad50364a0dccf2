//! Tests of groups of the new protocol, with clients that follow its rules.

mod classic_client;
mod classic_members;
mod client;
mod commits;
mod hashes;
mod heartbeats;
mod migrations;
mod refusals;
mod regexes;
mod simulation;
mod statics;
mod world;
