//! Subscriptions by regular expression.

use super::world::*;
use crate::wire::code::ErrorCode::InvalidRegularExpression;
use crate::wire::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use crate::wire::group_records::GroupRecord;

fn matching(member: &str, regex: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some(regex.to_owned()),
        ..join(member, &[])
    }
}

fn topics(records: &[GroupRecord]) -> Vec<&str> {
    let topics = records.iter().filter_map(|record| match record {
        GroupRecord::ConsumerGroupRegularExpression(_, Some(value)) => Some(&value.topics),
        _ => None,
    });
    topics.flatten().map(String::as_str).collect()
}

#[test]
fn an_expression_is_looked_up_after_the_join_and_gives_partitions_with_the_next_heartbeat() {
    let mut world = World::new(&[("ab", 1), ("abc", 1), ("b", 1)]);
    let (records, response) = world.send(&matching("m", "a.*"));
    assert_eq!(
        kinds(&records),
        ["member", "epoch", "target", "target epoch", "current"]
    );
    assert_eq!(response.assignment.map(|has| has.topic_partitions), Some(vec![]));
    let records = world.pass(0);
    assert_eq!(
        (kinds(&records), topics(&records)),
        (vec!["regex", "epoch"], vec!["ab", "abc"])
    );
    assert!(world.group.is_subscribed("ab") && !world.group.is_subscribed("b"));
    world.pass(1_000);
    let response = world.beat(&at("m", 1));
    let told = response.assignment.map(|has| has.topic_partitions);
    assert_eq!(
        (response.member_epoch, told),
        (2, Some(partitions(&[("ab", &[0]), ("abc", &[0])])))
    );
    world.restart();
    // Others with the same expression need no look-up.
    world.pass(1_000);
    assert_eq!(
        kinds(&world.send(&matching("n", "a.*")).0)[..2],
        ["member", "epoch"]
    );
}

#[test]
fn new_topics_are_found_but_not_looked_for_more_often_than_every_ten_seconds() {
    let mut world = World::new(&[("a1", 1)]);
    world.beat(&matching("m", "a."));
    world.pass(0);
    world.pass(1_000);
    world.beat(&at("m", 1));
    world.add_topic("a2");
    world.add_partitions("a2", 0..1);
    world.tell_of_topics();
    world.pass(9_000);
    world.beat(&at("m", 2));
    assert_eq!(world.pass(1), []);
    world.beat(&at("m", 2));
    assert_eq!(topics(&world.pass(0)), ["a1", "a2"]);
    assert_eq!(world.beat(&at("m", 2)).member_epoch, 3);
    // Nothing new: the next look-up is when the refresh interval has passed.
    for _ in 0..20 {
        assert_eq!(world.pass(30_000), []);
        world.beat(&at("m", 3));
    }
    world.beat(&at("m", 3));
    let records = world.pass(1_000);
    assert_eq!(records, []);
    world.beat(&at("m", 3));
    assert_eq!(kinds(&world.pass(0)), ["regex"]);
}

#[test]
fn an_expression_that_is_none_is_refused() {
    let mut world = World::new(&[("a", 1)]);
    world.beat(&join("n", &["a"]));
    for regex in [
        "(",
        "a)|(b",
        "(?=a)b",
        "\\1",
        "[z-a]",
        "a{1001}{1001}{1001}",
        "a{1001}",
        "a{2,1001}b",
        &"(".repeat(5_000),
    ] {
        let (code, message) = world.fail(&matching("m", regex));
        assert_eq!(code, InvalidRegularExpression, "{regex}");
        assert!(
            message.starts_with(&format!(
                "SubscribedTopicRegex `{regex}` is not a valid regular expression: "
            )),
            "{message}"
        );
    }
    world.beat(&matching("m", "a"));
    let other = ConsumerGroupHeartbeatRequest {
        subscribed_topic_regex: Some("(".to_owned()),
        ..at("m", 2)
    };
    assert_eq!(world.fail(&other).0, InvalidRegularExpression);
}

#[test]
fn what_only_looks_like_a_long_repetition_is_none() {
    let mut world = World::new(&[("a", 1)]);
    for regex in ["a{1000}", "a\\{1001}", "\\Q{1001}\\E", "[{]1001}"] {
        world.beat(&matching("m", regex));
    }
}

#[test]
fn an_expression_must_match_the_whole_name() {
    for (regex, expected) in [
        ("a|ab", vec!["a", "ab"]),
        ("b", vec![]),
        (".*b.*", vec!["a.b", "ab", "abc"]),
        ("\\Qa.b\\E", vec!["a.b"]),
        ("\\Qa.\\Eb|\\Qab", vec!["a.b", "ab"]),
        ("(?x) a  # what it is", vec!["a"]),
        ("(?i)A", vec!["a"]),
    ] {
        let mut world = World::new(&[("a", 1), ("ab", 1), ("abc", 1), ("a.b", 1)]);
        world.beat(&matching("m", regex));
        assert_eq!(topics(&world.pass(0)), expected, "{regex}");
    }
}

#[test]
fn an_expression_that_nobody_has_any_more_is_forgotten() {
    let mut world = World::new(&[("a", 1), ("b", 1)]);
    world.beat(&matching("m", "a"));
    world.beat(&matching("n", "a"));
    world.pass(0);
    assert_eq!(
        kinds(&world.send(&at("n", -1)).0),
        ["-current", "-target", "-member", "epoch"]
    );
    let to_names = ConsumerGroupHeartbeatRequest {
        subscribed_topic_regex: Some(String::new()),
        subscribed_topic_names: Some(vec!["b".to_owned()]),
        ..at("m", 1)
    };
    world.pass(1_000);
    let (records, _) = world.send(&to_names);
    assert_eq!(kinds(&records)[..3], ["member", "-regex", "epoch"]);
    assert!(!world.group.is_subscribed("a"));
    world.pass(10_001);
    world.beat(&matching("o", "b"));
    world.pass(0);
    assert_eq!(
        kinds(&world.send(&at("o", -1)).0),
        ["-current", "-target", "-member", "-regex", "epoch"]
    );
    world.restart();
}

#[test]
fn names_and_an_expression_in_one_subscription_add_up() {
    let mut world = World::new(&[("a", 1), ("b", 1)]);
    world.beat(&matching("m", "a"));
    let mut both = matching("n", "a");
    both.subscribed_topic_names = Some(vec!["b".to_owned()]);
    world.beat(&both);
    world.pass(0);
    world.pass(1_000);
    world.beat(&at("m", 1));
    let told = world.beat(&at("n", 1)).assignment;
    assert_eq!(
        told.map(|has| has.topic_partitions),
        Some(partitions(&[("b", &[0])]))
    );
    assert_eq!(world.group.state_name(), "Stable");
}

#[test]
fn topics_that_came_while_the_group_was_not_loaded_are_found() {
    let mut world = World::new(&[("a1", 1)]);
    world.beat(&matching("m", "a."));
    world.pass(0);
    world.add_topic("a2");
    world.restart();
    world.pass(10_001);
    world.beat(&at("m", 1));
    assert_eq!(topics(&world.pass(0)), ["a1", "a2"]);
}
