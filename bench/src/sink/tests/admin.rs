//! Every version of the requests that are asked seldom.

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeConfigsRequest, InitProducerIdRequest, MetadataRequest, TransactionalId,
};
use kafka_protocol::protocol::{Decodable, StrBytes};

use super::client::{Client, batch, name, sink};
use crate::error::Error;
use crate::sink::{Fault, Keep, Sink, SinkConfig};

fn creatable(topic: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(-1)
}

#[test]
fn versions_are_listed_in_every_version() {
    let sink = sink(Keep::Nothing, None);
    let mut client = Client::connect(&sink);
    for version in 0..=4 {
        let request = match version {
            0..=2 => ApiVersionsRequest::default(),
            _ => ApiVersionsRequest::default()
                .with_client_software_name(StrBytes::from_static_str("test"))
                .with_client_software_version(StrBytes::from_static_str("1")),
        };
        let answer = client.call(version, &request);
        assert_eq!(answer.error_code, 0);
        let produce = answer
            .api_keys
            .iter()
            .find(|key| key.api_key == ApiKey::Produce as i16);
        let produce = produce.unwrap();
        assert_eq!((produce.min_version, produce.max_version), (3, 12));
    }
}

#[test]
fn a_version_from_the_future_is_answered_in_version_0() {
    let sink = sink(Keep::Nothing, None);
    let mut client = Client::connect(&sink);
    client.send_raw(&[0, 0, 0, 10, 0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff]);
    let mut frame = client.receive_raw().unwrap().split_off(4);
    let answer = ApiVersionsResponse::decode(&mut frame, 0).unwrap();
    assert!(frame.is_empty());
    assert_eq!(answer.error_code, 35);
    assert_eq!(answer.api_keys.len(), 10);
    assert_eq!(client.call(0, &ApiVersionsRequest::default()).error_code, 0);
}

#[test]
fn topics_come_and_go_in_every_version() {
    let sink = sink(Keep::Nothing, None);
    let mut client = Client::connect(&sink);
    for version in 2..=7 {
        let topics = vec![creatable("a", 3), creatable("b", -1)];
        let request = CreateTopicsRequest::default().with_topics(topics);
        let answer = client.call(version, &request);
        assert_eq!(answer.topics[0].error_code, 0);
        if version >= 5 {
            assert_eq!(answer.topics[1].num_partitions, 1);
        }
        assert_eq!(client.call(version, &request).topics[1].error_code, 36);
        let version = version - 1;
        let names = vec![name("a"), name("b"), name("c")];
        let request = match version {
            6 => {
                let states = names.into_iter();
                let states = states.map(|name| DeleteTopicState::default().with_name(Some(name)));
                DeleteTopicsRequest::default().with_topics(states.collect())
            }
            _ => DeleteTopicsRequest::default().with_topic_names(names),
        };
        let answer = client.call(version, &request);
        let errors: Vec<i16> = answer.responses.iter().map(|topic| topic.error_code).collect();
        assert_eq!(errors, [0, 0, 3]);
    }
}

#[test]
fn topics_that_cannot_be_are_refused() {
    let sink = sink(Keep::Nothing, None);
    let mut client = Client::connect(&sink);
    let long = "x".repeat(250);
    let topics = vec![
        creatable("none", 0),
        creatable("negative", -2),
        creatable("all", 100_000),
        creatable("more", 1),
        creatable("most", i32::MAX),
        creatable("", 1),
        creatable(&long, 1),
        creatable("copies", 1).with_replication_factor(3),
    ];
    let answer = client.call(7, &CreateTopicsRequest::default().with_topics(topics));
    let errors: Vec<i16> = answer.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(errors, [37, 37, 0, 37, 37, 17, 17, 38]);
    let request = CreateTopicsRequest::default()
        .with_topics(vec![creatable("only-asked", 1)])
        .with_validate_only(true);
    assert_eq!(client.call(7, &request).topics[0].error_code, 37);
    let request = DeleteTopicsRequest::default().with_topic_names(vec![name("all")]);
    assert_eq!(client.call(5, &request).responses[0].error_code, 0);
    let request = CreateTopicsRequest::default()
        .with_topics(vec![creatable("only-asked", 1)])
        .with_validate_only(true);
    assert_eq!(client.call(7, &request).topics[0].error_code, 0);
    assert_eq!(client.call(7, &request).topics[0].error_code, 0);
}

#[test]
fn metadata_names_the_broker_and_the_topics_asked_for() {
    let sink = sink(Keep::Nothing, None);
    let mut client = Client::with_topic(&sink, 2);
    for version in 1..=12 {
        let all = client.call(version, &MetadataRequest::default().with_topics(None));
        let broker = &all.brokers[0];
        assert_eq!(broker.host.as_str(), "127.0.0.1");
        assert_eq!(broker.port, i32::from(sink.address().port()));
        assert_eq!(all.topics.len(), 1);
        assert_eq!(all.topics[0].partitions[1].leader_id, broker.node_id);
        let asked = ["t", "absent"].map(|topic| MetadataRequestTopic::default().with_name(Some(name(topic))));
        let named = client.call(
            version,
            &MetadataRequest::default().with_topics(Some(asked.to_vec())),
        );
        assert_eq!(named.topics[0].partitions.len(), 2);
        assert_eq!(named.topics[1].error_code, 3);
        let none = client.call(version, &MetadataRequest::default().with_topics(Some(Vec::new())));
        assert!(none.topics.is_empty());
    }
}

#[test]
fn producer_ids_are_given_once() {
    let sink = sink(Keep::Nothing, None);
    let mut client = Client::connect(&sink);
    // The library's own default is an empty id, not none.
    let request = InitProducerIdRequest::default().with_transactional_id(None);
    let mut given: Vec<i64> = (0..=4)
        .map(|version| client.call(version, &request).producer_id.0)
        .collect();
    given.dedup();
    assert_eq!(given.len(), 5);
    let id = TransactionalId(StrBytes::from_static_str("x"));
    let request = InitProducerIdRequest::default().with_transactional_id(Some(id));
    assert_eq!(client.call(4, &request).error_code, 53);
}

#[test]
fn offsets_are_listed_by_time_in_every_version() {
    let sink = sink(Keep::Everything, None);
    let mut client = Client::with_topic(&sink, 1);
    client.produce(0, &batch(&["a", "b", "c"]));
    for version in 1..=8 {
        assert_eq!(client.offset_at(version, -2).offset, 0);
        assert_eq!(client.offset_at(version, -1).offset, 3);
        assert_eq!(client.offset_at(version, 1002).offset, 0);
        assert_eq!(client.offset_at(version, 1003).offset, -1);
    }
}

#[test]
fn configuration_is_described_in_every_version() {
    let sink = sink(Keep::Nothing, None);
    let mut client = Client::with_topic(&sink, 1);
    let resource = |kind, name: &'static str| {
        DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(StrBytes::from_static_str(name))
            .with_configuration_keys(None)
    };
    let one = resource(2, "t").with_configuration_keys(Some(vec![StrBytes::from_static_str("retention.ms")]));
    let resources = vec![
        resource(2, "t"),
        resource(2, "absent"),
        resource(4, "0"),
        one,
        resource(9, "x"),
    ];
    let request = DescribeConfigsRequest::default().with_resources(resources);
    for version in 1..=4 {
        let results = client.call(version, &request).results;
        let shape: Vec<(i16, bool)> = results
            .iter()
            .map(|result| (result.error_code, result.configs.is_empty()))
            .collect();
        assert_eq!(shape, [(0, false), (3, true), (0, true), (0, false), (42, true)]);
        assert_eq!(results[3].configs.len(), 1);
        assert_eq!(results[3].configs[0].value.as_deref(), Some("-1"));
    }
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let config = SinkConfig {
        threads: 1,
        keep: Keep::Nothing,
        fault: None,
    };
    for fault in [
        Fault::Drop { every: 2 },
        Fault::WrongOffset { every: 0 },
        Fault::Swap { every: 1 },
    ] {
        let config = SinkConfig {
            fault: Some(fault),
            ..config
        };
        assert!(matches!(Sink::start(config), Err(Error::Usage(_))), "{fault:?}");
    }
    let config = SinkConfig { threads: 0, ..config };
    assert!(matches!(Sink::start(config), Err(Error::Usage(_))));
}
