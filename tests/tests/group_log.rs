//! What the broker's log says of groups: that they are loaded, in one line, and why a rebalance began, as the client says it (KIP-800).

use ringlog_tests::admin::create;
use ringlog_tests::group::{COMMIT_VERSION, commit, committed, coordinator, join, join_request, text};
use ringlog_tests::{Broker, code};

#[test]
fn coordinators_that_load_together_have_one_line() {
    let Some(mut broker) = Broker::own().cores(1).start() else {
        return;
    };
    let topic = create(&broker, "read", 1, &[]);
    let groups: Vec<String> = (0..20).map(|number| format!("group-{number}")).collect();
    let mut connection = coordinator(&broker, &groups[0]);
    for group in &groups {
        assert_eq!(
            commit(&mut connection, COMMIT_VERSION, group, -1, "", &topic, 7),
            code::NONE
        );
    }
    broker.stop();
    broker.restart();
    let log = broker.wait_for_log("groups loaded");
    for group in &groups {
        let mut connection = coordinator(&broker, group);
        let offsets = committed(&mut connection, group, &topic, &[0]).expect("loaded");
        assert_eq!(offsets.get(&0), Some(&7), "{group}");
    }
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("groups loaded"))
        .collect();
    assert!(lines.len() == 1 && lines[0].contains("records=20"), "{lines:?}");
}

#[test]
fn a_rebalance_is_logged_once_with_group_member_and_the_client_s_reason() {
    let Some(broker) = Broker::own().set("group.initial.rebalance.delay.ms", 0).start() else {
        return;
    };
    let mut connection = coordinator(&broker, "told");
    let request = join_request("told", "").with_reason(Some(text("need to\nre-join")));
    let joined = join(&mut connection, &request);
    assert_eq!(joined.error_code, code::NONE);
    let again = request.with_member_id(joined.member_id.clone());
    assert_eq!(connection.call(9, &again).error_code, code::NONE);
    let log = broker.log();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("group \"told\" rebalances"))
        .collect();
    assert_eq!(lines.len(), 1, "{log}");
    let parts = [joined.member_id.as_str(), "client reason: \"need to\\nre-join\""];
    assert!(parts.iter().all(|part| lines[0].contains(part)), "{}", lines[0]);
}
