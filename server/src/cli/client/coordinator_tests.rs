//! Questions about groups against scripted brokers: who is asked, in which version, and what is asked again.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use super::tests::{answer, args, broker, read_request, versions};
use super::*;
use crate::wire::api_versions::ApiVersionsRequest;
use crate::wire::code::ErrorCode;
use crate::wire::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};
use crate::wire::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};
use crate::wire::metadata::{MetadataRequest, MetadataResponse};
use crate::wire::{ApiKey, Decoder, Request};

/// Deletes groups, as the simplest question.
struct Deletion;

impl GroupQuestion for Deletion {
    type Asked = DeleteGroupsRequest;
    type Answer = ();
    const NEWEST: i16 = 2;
    const MANY_FROM: i16 = 1;

    fn request(&self, groups: &[String]) -> DeleteGroupsRequest {
        DeleteGroupsRequest {
            groups_names: groups.to_vec(),
        }
    }

    fn answers(&self, _groups: &[String], response: DeleteGroupsResponse) -> Vec<GroupAnswer<()>> {
        let results = response.results.into_iter();
        results
            .map(|result| (result.group_id, GroupRefusal::or(result.error_code, None, ())))
            .collect()
    }
}

/// A broker that coordinates every group, and answers for each with the next of `codes`, or 0. What it is asked goes to `asked`.
struct Script {
    ranges: Vec<(ApiKey, i16, i16)>,
    codes: Vec<i16>,
    asked: Sender<String>,
}

impl Script {
    fn serve(&mut self, stream: &mut TcpStream) {
        let port = i32::from(stream.local_addr().expect("its address").port());
        while let Some((header, body)) = read_request(stream) {
            let version = header.api_version;
            match header.api_key {
                ApiKey::ApiVersions => {
                    answer::<ApiVersionsRequest>(stream, &header, &versions(&self.ranges), version);
                }
                ApiKey::Metadata => {
                    answer::<MetadataRequest>(stream, &header, &MetadataResponse::default(), version);
                }
                ApiKey::FindCoordinator => {
                    let request = decoded::<FindCoordinatorRequest>(&body, version);
                    answer::<FindCoordinatorRequest>(
                        stream,
                        &header,
                        &self.found(request, version, port),
                        version,
                    );
                }
                _ => {
                    let request = decoded::<DeleteGroupsRequest>(&body, version);
                    let response = self.deleted(&request);
                    answer::<DeleteGroupsRequest>(stream, &header, &response, version);
                }
            }
        }
    }

    fn found(&self, request: FindCoordinatorRequest, version: i16, port: i32) -> FindCoordinatorResponse {
        let (node_id, host) = (7, "127.0.0.1".to_owned());
        let keys = match version {
            ..4 => vec![request.key],
            _ => request.coordinator_keys,
        };
        drop(self.asked.send(format!("find {}", keys.join(","))));
        let coordinator = |key| Coordinator {
            key,
            node_id,
            host: host.clone(),
            port,
            ..Default::default()
        };
        FindCoordinatorResponse {
            node_id,
            coordinators: keys.into_iter().map(coordinator).collect(),
            host: host.clone(),
            port,
            ..Default::default()
        }
    }

    fn deleted(&mut self, request: &DeleteGroupsRequest) -> DeleteGroupsResponse {
        drop(
            self.asked
                .send(format!("delete {}", request.groups_names.join(","))),
        );
        let mut result = |group: &String| DeletableGroupResult {
            group_id: group.clone(),
            error_code: match self.codes.is_empty() {
                true => 0,
                false => self.codes.remove(0),
            },
        };
        DeleteGroupsResponse {
            results: request.groups_names.iter().map(&mut result).collect(),
            ..Default::default()
        }
    }
}

fn decoded<R: Request>(body: &bytes::Bytes, version: i16) -> R {
    R::decode_as(&mut Decoder::new(body), version).expect("a request")
}

/// What deleting these groups gives, and what the broker was asked for that.
fn delete(
    ranges: &[(ApiKey, i16, i16)],
    codes: &[i16],
    groups: &[&str],
) -> (Vec<(String, i16)>, Vec<String>) {
    let (asked, heard) = channel();
    let mut script = Script {
        ranges: ranges.to_vec(),
        codes: codes.to_vec(),
        asked,
    };
    let address = broker(move |mut stream| {
        script.serve(&mut stream);
        true
    });
    let mut client = Client::connect(&args(&address, Duration::from_secs(10))).expect("connected");
    let groups: BTreeSet<String> = groups.iter().map(|group| (*group).to_owned()).collect();
    let outcomes = client.ask_groups(&Deletion, &groups).expect("answered");
    let codes = outcomes
        .into_iter()
        .map(|(group, outcome)| (group, outcome.err().map_or(0, |refusal| refusal.code)));
    let codes = codes.collect();
    drop(client);
    (codes, heard.try_iter().collect())
}

const NEW: &[(ApiKey, i16, i16)] = &[
    (ApiKey::Metadata, 0, 12),
    (ApiKey::FindCoordinator, 0, 6),
    (ApiKey::DeleteGroups, 0, 2),
];
const OLD: &[(ApiKey, i16, i16)] = &[
    (ApiKey::Metadata, 0, 12),
    (ApiKey::FindCoordinator, 0, 3),
    (ApiKey::DeleteGroups, 0, 0),
];

#[test]
fn many_groups_are_one_question_where_versions_allow_it() {
    let (codes, asked) = delete(NEW, &[0, 68], &["a", "b"]);
    assert_eq!(codes, [("a".to_owned(), 0), ("b".to_owned(), 68)]);
    assert_eq!(asked, ["find a,b", "delete a,b"]);
    let (codes, asked) = delete(OLD, &[69], &["a", "b"]);
    assert_eq!(codes, [("a".to_owned(), 69), ("b".to_owned(), 0)]);
    assert_eq!(asked, ["find a", "find b", "delete a", "delete b"]);
}

#[test]
fn a_coordinator_that_has_moved_is_looked_for_again_and_only_for_what_it_did_not_answer() {
    let (codes, asked) = delete(NEW, &[0, ErrorCode::NotCoordinator.code()], &["a", "b"]);
    assert_eq!(codes, [("a".to_owned(), 0), ("b".to_owned(), 0)]);
    assert_eq!(asked, ["find a,b", "delete a,b", "find b", "delete b"]);
}

#[test]
fn a_request_that_the_coordinator_does_not_know_is_a_refusal_of_each_group() {
    let (codes, asked) = delete(&NEW[..2], &[], &["a", "b"]);
    let unsupported = ErrorCode::UnsupportedVersion.code();
    assert_eq!(
        codes,
        [("a".to_owned(), unsupported), ("b".to_owned(), unsupported)]
    );
    assert_eq!(asked, ["find a,b"]);
}
