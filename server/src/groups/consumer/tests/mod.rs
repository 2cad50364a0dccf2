//! Tests of groups of the new protocol, with clients that follow its rules.

mod client;
mod commits;
mod heartbeats;
mod migrations;
mod regexes;
mod simulation;
mod statics;
mod world;
