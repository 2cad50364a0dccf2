//! What a broker appends to the metadata log when it starts.

use super::View;
use crate::metadata::features::{FEATURES, Feature};
use crate::metadata::image::{METADATA_VERSION, Partition};
use crate::metadata::records::Record;
use crate::wire::Uuid;
use crate::wire::metadata_records::*;

/// How this run of the broker presents itself.
#[derive(Clone, Debug)]
pub struct Registration<'a> {
    /// What sets this run apart from the last: random.
    pub incarnation_id: Uuid,
    /// Listener name, host and port that clients are told.
    pub endpoints: Vec<(&'a str, &'a str, u16)>,
    /// Where it stands.
    pub rack: Option<String>,
}

/// The records a start asks for, to be appended from `next_offset` on in order: the log's format when it is empty
/// (`bootstrap` holds what the directory was formatted with, if anything), this broker, and its leadership of what
/// it holds alone.
///
/// `open_transaction` says that the log ends within a transaction whose writer is gone; it is aborted.
pub fn records(
    view: View<'_>,
    me: &Registration<'_>,
    bootstrap: Vec<Record>,
    open_transaction: bool,
    next_offset: i64,
) -> Vec<Record> {
    let mut records = Vec::new();
    if open_transaction {
        let reason = Some("its writer stopped before it ended".to_owned());
        records.push(AbortTransactionRecord { reason }.into());
    }
    if view.image.feature(METADATA_VERSION).is_none() {
        if !bootstrap.iter().any(is_format) {
            let newest = |feature: &Feature| FeatureLevelRecord {
                name: feature.name.to_owned(),
                feature_level: feature.newest,
            };
            records.extend(FEATURES.iter().map(|feature| newest(feature).into()));
        }
        records.extend(bootstrap);
    }
    let broker_epoch = next_offset + records.len() as i64;
    records.push(register(view, me, broker_epoch).into());
    records.extend(elections(view));
    records
}

fn is_format(record: &Record) -> bool {
    matches!(record, Record::FeatureLevel(feature) if feature.name == METADATA_VERSION)
}

fn register(view: View<'_>, me: &Registration<'_>, broker_epoch: i64) -> RegisterBrokerRecord {
    let endpoint = |(name, host, port): &(&str, &str, u16)| BrokerEndpoint {
        name: (*name).to_owned(),
        host: (*host).to_owned(),
        port: *port,
        security_protocol: 0,
    };
    let feature = |feature: &Feature| BrokerFeature {
        name: feature.name.to_owned(),
        min_supported_version: feature.oldest,
        max_supported_version: feature.newest,
    };
    RegisterBrokerRecord {
        broker_id: view.node_id,
        incarnation_id: me.incarnation_id,
        broker_epoch,
        end_points: me.endpoints.iter().map(endpoint).collect(),
        features: FEATURES.iter().map(feature).collect(),
        rack: me.rack.clone(),
        fenced: false,
        log_dirs: vec![view.directory_id],
        ..Default::default()
    }
}

/// Takes the lead of every partition that this broker can lead without losing records and does not lead: a Kafka
/// broker leaves them so when it stops. Any other stays without a leader.
fn elections(view: View<'_>) -> impl Iterator<Item = Record> {
    let me = view.node_id;
    view.image.topics().flat_map(move |topic| {
        let orphans = topic
            .partitions
            .iter()
            .filter(move |(_, partition)| can_take_over(partition, me));
        orphans.map(move |(index, partition)| lead(topic.id, *index, partition, me))
    })
}

/// Whether the broker was in sync, or was when the last one left (KIP-966), or is the only one that holds anything.
fn can_take_over(partition: &Partition, me: i32) -> bool {
    let complete = partition.isr.contains(&me) || partition.eligible_leader_replicas.contains(&me);
    partition.leader != me && (complete || partition.replicas == [me])
}

/// The record that makes this broker the leader and only replica in sync.
pub fn lead(topic_id: Uuid, partition_id: i32, partition: &Partition, me: i32) -> Record {
    let change = PartitionChangeRecord {
        partition_id,
        topic_id,
        ..Default::default()
    };
    lead_with(change, partition, me)
}

/// The same together with another change.
pub fn lead_with(change: PartitionChangeRecord, partition: &Partition, me: i32) -> Record {
    let cleared = partition.has_elr().then(Vec::new);
    let change = PartitionChangeRecord {
        leader: me,
        isr: Some(vec![me]),
        eligible_leader_replicas: cleared.clone(),
        last_known_elr: cleared,
        ..change
    };
    change.into()
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::metadata::replay::Replay;

    fn me() -> Registration<'static> {
        let endpoints = vec![("PLAINTEXT", "h", 9092)];
        Registration {
            incarnation_id: Uuid([2; 16]),
            endpoints,
            rack: None,
        }
    }

    #[test]
    fn an_empty_log_gets_its_format_and_its_broker() {
        let config = config(&[]);
        let empty = image(&[]);
        let made = records(view(&empty, &config), &me(), Vec::new(), false, 0);
        let then = image(&made);
        assert_eq!((then.metadata_version(), then.features().count()), (30, 3));
        assert_eq!(then.transaction_version(), 2);
        let broker = then.broker(1).expect("registered");
        assert_eq!(
            (broker.epoch, broker.fenced, broker.endpoints[0].port),
            (3, false, 9092)
        );
        assert_eq!(
            records(view(&then, &config), &me(), Vec::new(), false, 2).len(),
            1
        );
    }

    #[test]
    fn a_formatted_directory_keeps_its_format() {
        let config = config(&[]);
        let empty = image(&[]);
        let bootstrap = vec![
            FeatureLevelRecord {
                name: METADATA_VERSION.into(),
                feature_level: 21,
            }
            .into(),
        ];
        let made = records(view(&empty, &config), &me(), bootstrap, false, 0);
        assert_eq!((image(&made).metadata_version(), made.len()), (21, 2));
    }

    #[test]
    fn orphans_are_taken_over_when_nothing_is_lost() {
        let config = config(&[]);
        let mut log = topic("t", 5);
        for (partition_id, replicas, isr, elr) in [
            (0, vec![2, 1], vec![1], vec![]),
            (1, vec![2, 1], vec![2], vec![]),
            (2, vec![2, 1], vec![], vec![1]),
            (3, vec![1], vec![], vec![]),
        ] {
            let change = PartitionChangeRecord {
                partition_id,
                topic_id: id_of("t"),
                leader: -1,
                replicas: Some(replicas),
                isr: Some(isr),
                eligible_leader_replicas: Some(elr),
                ..Default::default()
            };
            log.push(change.into());
        }
        let now = image(&log);
        log.extend(records(
            view(&now, &config),
            &me(),
            Vec::new(),
            false,
            log.len() as i64,
        ));
        let then = image(&log);
        let topic = then.topic("t").expect("there");
        let leaders: Vec<_> = topic
            .partitions
            .iter()
            .map(|(_, p)| (p.leader, p.leader_epoch))
            .collect();
        assert_eq!(leaders, [(1, 2), (-1, 1), (1, 2), (1, 2), (1, 0)]);
        assert!(topic.partitions.iter().all(|(_, p)| !p.has_elr()));
    }

    #[test]
    fn an_unfinished_transaction_is_aborted() {
        let config = config(&[]);
        let mut replay = Replay::default();
        let log = [vec![BeginTransactionRecord::default().into()], topic("t", 1)].concat();
        replay.apply_all(&log, 0, 1).expect("valid");
        let next = log.len() as i64;
        let made = records(
            view(replay.image(), &config),
            &me(),
            Vec::new(),
            replay.in_transaction(),
            next,
        );
        replay.apply_all(&made, next, 1).expect("valid");
        assert!(!replay.in_transaction() && replay.image().topic_count() == 0);
        assert_eq!(
            replay.image().broker(1).map(|broker| broker.epoch),
            Some(next + 4)
        );
    }
}
