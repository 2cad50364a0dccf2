//! What a second coordinator makes of the log, and what of it is compared with the first.

use super::*;

/// What the log has beside its records.
#[derive(Default)]
pub struct Transactions {
    /// Whose transactions records belong to, by their places.
    producers: BTreeMap<usize, i64>,
    /// Before which places transactions end, whose, and whether they are committed.
    ends: Vec<(usize, i64, bool)>,
}

impl Transactions {
    /// Notes whose transaction the records of a step belong to, the first of which has this place.
    pub fn note(&mut self, place: usize, step: &Step<u32>) {
        let Some((producer_id, _)) = step.producer else {
            return;
        };
        let are_offsets = step
            .records
            .iter()
            .all(|record| matches!(record, GroupRecord::OffsetCommit(_, Some(_))));
        assert!(are_offsets && !step.records.is_empty(), "{step:?}");
        let places = place..place + step.records.len();
        self.producers.extend(places.map(|place| (place, producer_id)));
    }

    fn end_at(&self, place: usize, coordinator: &mut Coordinator<u32>) {
        let here = self.ends.iter().filter(|(before, ..)| *before == place);
        here.for_each(|(_, producer_id, is_commit)| coordinator.end_transaction(*producer_id, *is_commit));
    }
}

impl Bench {
    /// A marker is appended.
    pub fn end_transaction(&mut self, producer_id: i64, is_commit: bool) {
        self.coordinator.end_transaction(producer_id, is_commit);
        self.transactions
            .ends
            .push((self.log.len(), producer_id, is_commit));
    }

    /// A record of somebody else is in the log, of a transaction if it has a producer.
    pub fn found_in_log(&mut self, record: GroupRecord, producer_id: Option<i64>) {
        let step = Step {
            records: vec![record.clone()],
            producer: producer_id.map(|id| (id, 0)),
            replies: Vec::new(),
            ..Step::default()
        };
        self.coordinator.replay(record, producer_id);
        self.take(step);
    }
}

/// What must survive, by group: its state, and all that can be asked about it.
pub fn describe(
    coordinator: &Coordinator<u32>,
    image: &MetadataImage,
    settings: &GroupSettings,
) -> BTreeMap<String, (String, String)> {
    let mut new_id = || Uuid::ZERO;
    let ctx = Ctx {
        now_ms: 0,
        wall_ms: 0,
        settings,
        image,
        new_id: &mut new_id,
    };
    let groups = coordinator.list(&[], &[]).into_iter().map(|group| {
        let id = group.group_id.clone();
        let asked = OffsetFetchRequestGroup {
            group_id: id.clone(),
            ..Default::default()
        };
        let all = (
            coordinator.describe(6, id.clone()),
            coordinator.consumer_describe(&ctx, id.clone()),
            coordinator.fetch(&ctx, 9, asked.clone(), false),
            coordinator.fetch(&ctx, 9, asked, true),
            coordinator.offsets.pending_of_group(&id),
        );
        (id, (group.group_state.clone(), format!("{group:?} {all:?}")))
    });
    groups.collect()
}

/// A coordinator that has replayed the bytes of these records, and the ends of transactions among them.
pub fn replayed(log: &[GroupRecord], transactions: &Transactions) -> Coordinator<u32> {
    let mut coordinator = Coordinator::new();
    for (place, record) in log.iter().enumerate() {
        transactions.end_at(place, &mut coordinator);
        let (key, value) = record.encode();
        let value = value.map(Bytes::from);
        let read = GroupRecord::decode(&Bytes::from(key), value.as_ref()).expect("a record");
        coordinator.replay(read, transactions.producers.get(&place).copied());
    }
    transactions.end_at(log.len(), &mut coordinator);
    coordinator
}
