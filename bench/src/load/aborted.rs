//! Which batches a reader of what is committed must not see: those of aborted transactions, which brokers send along with a list.

use std::collections::HashSet;

use kafka_protocol::messages::fetch_response::AbortedTransaction;

use super::batch::{Fetched, HEADER_BYTES};

/// The aborted transactions of one fetched section.
pub struct Aborted {
    /// First offset and producer of each that was not come to yet, the latest first.
    ahead: Vec<(i64, i64)>,
    /// Producers whose batches are aborted ones, until their marker.
    open: HashSet<i64>,
}

impl Aborted {
    /// From the broker's list; nothing for whoever reads everything.
    pub fn new(list: Option<&[AbortedTransaction]>) -> Aborted {
        let all = list.unwrap_or_default().iter();
        let mut ahead: Vec<_> = all.map(|one| (one.first_offset, one.producer_id.0)).collect();
        ahead.sort_unstable_by(|a, b| b.cmp(a));
        Aborted {
            ahead,
            open: HashSet::new(),
        }
    }

    /// Whether the next batch of the section is of an aborted transaction. To be asked of every one, in order.
    pub fn hides(&mut self, fetched: &Fetched, batch: &[u8]) -> bool {
        while let Some((_, producer)) = self.ahead.pop_if(|one| one.0 < fetched.next_offset) {
            self.open.insert(producer);
        }
        let Some(producer) = fetched.transaction_of else {
            return false;
        };
        if fetched.control {
            if is_abort(batch) {
                self.open.remove(&producer);
            }
            return false;
        }
        self.open.contains(&producer)
    }
}

/// Whether a marker is of an abort: the key of its only record is version and type, each in two bytes, and type 0 is an abort.
fn is_abort(marker: &[u8]) -> bool {
    // length, attributes, two deltas and the key's length take a byte each in a record so small
    let key = marker.get(HEADER_BYTES + 5..HEADER_BYTES + 9);
    key.is_some_and(|key| key[2..] == [0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::batch::Identity;
    use kafka_protocol::messages::ProducerId;

    /// A batch of one record of a producer, or its marker.
    fn batch(offset: i64, producer: i64, marker: Option<u8>) -> (Fetched, Vec<u8>) {
        let mut bytes = vec![0; HEADER_BYTES];
        // 16 bytes, no attributes, no deltas, a key of 4: version 0, the type
        bytes.extend_from_slice(&[32, 0, 0, 0, 8, 0, 0, 0, marker.unwrap_or(9)]);
        let fetched = Fetched {
            base_offset: offset,
            next_offset: offset + 1,
            records: 1,
            bytes: bytes.len(),
            identity: Identity(0),
            control: marker.is_some(),
            transaction_of: Some(producer),
        };
        (fetched, bytes)
    }

    const ABORT: Option<u8> = Some(0);
    const COMMIT: Option<u8> = Some(1);

    #[test]
    fn a_producer_is_hidden_from_the_first_offset_to_its_marker_and_no_further() {
        let list = [(5, 7), (2, 8)].map(|(first, producer)| {
            AbortedTransaction::default()
                .with_first_offset(first)
                .with_producer_id(ProducerId(producer))
        });
        let mut aborted = Aborted::new(Some(&list));
        let log = [
            (batch(1, 8, None), false),
            (batch(2, 8, None), true),
            (batch(3, 7, None), false),
            (batch(4, 7, COMMIT), false),
            (batch(5, 7, None), true),
            (batch(6, 8, ABORT), false),
            (batch(7, 8, None), false),
            (batch(8, 7, None), true),
            (batch(9, 7, ABORT), false),
            (batch(10, 7, None), false),
        ];
        for ((fetched, bytes), hidden) in log {
            assert_eq!(aborted.hides(&fetched, &bytes), hidden, "{fetched:?}");
        }
    }

    #[test]
    fn batches_without_a_transaction_and_readers_without_a_list_hide_nothing() {
        let list = AbortedTransaction::default().with_producer_id(ProducerId(7));
        let (mut fetched, bytes) = batch(0, 7, None);
        assert!(Aborted::new(Some(std::slice::from_ref(&list))).hides(&fetched, &bytes));
        assert!(!Aborted::new(None).hides(&fetched, &bytes));
        fetched.transaction_of = None;
        assert!(!Aborted::new(Some(&[list])).hides(&fetched, &bytes));
    }

    #[test]
    fn a_marker_that_is_cut_short_ends_nothing() {
        assert!(!is_abort(&[0; HEADER_BYTES + 8]));
    }
}
