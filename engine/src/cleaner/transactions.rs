//! Which transactions a walk along a log is in: what of it is aborted, and which markers have outlived their data.

use std::collections::{HashMap, HashSet};

use crate::aborted::AbortedTxn;
use crate::batch::{BatchHeader, MarkerKind};

/// Transactions along a walk over batches in the order of their offsets.
#[derive(Debug, Default)]
pub struct Transactions {
    /// Aborted ones that the walk has not come to, the next one last.
    ahead: Vec<AbortedTxn>,
    aborted: HashMap<i64, Aborted>,
    /// Producers with data that is not aborted and whose marker is ahead.
    committed: HashSet<i64>,
}

#[derive(Debug)]
struct Aborted {
    txn: AbortedTxn,
    has_data: bool,
}

/// What a marker means for the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// No batch of its transaction was met: it may go once its delete horizon has passed.
    pub is_alone: bool,
    /// The transaction's entry, where batches of it were met: readers still need it.
    pub entry: Option<AbortedTxn>,
}

impl Transactions {
    /// Aborted transactions that overlap the walk, in any order. One that ended before it must not be among them.
    pub fn new(mut aborted: Vec<AbortedTxn>) -> Transactions {
        aborted.sort_by_key(|txn| std::cmp::Reverse(txn.first_offset));
        Transactions {
            ahead: aborted,
            ..Transactions::default()
        }
    }

    /// Notes a batch of data. Whether it was aborted.
    pub fn on_data(&mut self, header: &BatchHeader) -> bool {
        self.come_to(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some(aborted) => {
                aborted.has_data = true;
                true
            }
            None => {
                self.committed.insert(header.producer_id);
                false
            }
        }
    }

    /// Notes a control batch: `kind` is `None` for one that ends no transaction.
    pub fn on_control(&mut self, header: &BatchHeader, kind: Option<MarkerKind>) -> Marker {
        self.come_to(header.last_offset());
        let (is_alone, entry) = match kind {
            // An earlier pass has taken its marker away.
            None if header.record_count == 0 => (true, None),
            None => (false, None),
            Some(MarkerKind::Commit) => (!self.committed.remove(&header.producer_id), None),
            Some(MarkerKind::Abort) => match self.aborted.remove(&header.producer_id) {
                Some(aborted) if aborted.has_data => (false, Some(aborted.txn)),
                _ => (true, None),
            },
        };
        Marker { is_alone, entry }
    }

    fn come_to(&mut self, offset: i64) {
        while let Some(txn) = self.ahead.pop_if(|txn| txn.first_offset <= offset) {
            let aborted = Aborted { txn, has_data: false };
            self.aborted.entry(txn.producer_id).or_insert(aborted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchBuilder;

    fn data(producer: i64, base_offset: i64) -> BatchHeader {
        let batch = BatchBuilder::new().transactional().producer(producer, 0, 0);
        let bytes = batch
            .base_offset(base_offset)
            .record(0, Some(b"k"), None)
            .finish();
        BatchHeader::read(&bytes).unwrap()
    }

    fn aborted(producer_id: i64, first_offset: i64, last_offset: i64) -> AbortedTxn {
        AbortedTxn {
            producer_id,
            first_offset,
            last_offset,
            last_stable_offset: last_offset + 1,
        }
    }

    #[test]
    fn only_what_lies_between_first_offset_and_marker_is_aborted() {
        let txn = aborted(7, 1, 3);
        let mut txns = Transactions::new(vec![txn]);
        assert!(!txns.on_data(&data(7, 0)), "the transaction before");
        assert_eq!(
            txns.on_control(&data(7, 0), Some(MarkerKind::Commit)),
            Marker {
                is_alone: false,
                entry: None
            }
        );
        assert!(txns.on_data(&data(7, 1)));
        assert!(!txns.on_data(&data(8, 2)), "another producer's");
        let marker = txns.on_control(&data(7, 3), Some(MarkerKind::Abort));
        assert_eq!(
            marker,
            Marker {
                is_alone: false,
                entry: Some(txn)
            }
        );
        assert!(!txns.on_data(&data(7, 4)), "the transaction behind");
    }

    #[test]
    fn a_marker_whose_data_is_gone_is_alone_and_its_entry_goes() {
        let mut txns = Transactions::new(vec![aborted(7, 1, 3)]);
        let alone = Marker {
            is_alone: true,
            entry: None,
        };
        assert_eq!(txns.on_control(&data(7, 3), Some(MarkerKind::Abort)), alone);
        assert_eq!(txns.on_control(&data(8, 4), Some(MarkerKind::Commit)), alone);
    }

    #[test]
    fn a_control_batch_that_ends_no_transaction_is_not_alone() {
        let mut txns = Transactions::default();
        assert!(!txns.on_control(&data(7, 3), None).is_alone);
        let emptied = BatchHeader {
            record_count: 0,
            ..data(7, 3)
        };
        assert!(txns.on_control(&emptied, None).is_alone);
    }

    #[test]
    fn entries_of_one_producer_are_taken_one_after_the_other() {
        let mut txns = Transactions::new(vec![aborted(7, 10, 12), aborted(7, 0, 2)]);
        assert!(txns.on_data(&data(7, 1)));
        assert_eq!(
            txns.on_control(&data(7, 2), Some(MarkerKind::Abort)).entry,
            Some(aborted(7, 0, 2))
        );
        assert!(!txns.on_data(&data(7, 5)));
        assert!(!txns.on_control(&data(7, 6), Some(MarkerKind::Commit)).is_alone);
        assert!(txns.on_data(&data(7, 10)));
        assert_eq!(
            txns.on_control(&data(7, 12), Some(MarkerKind::Abort)).entry,
            Some(aborted(7, 10, 12))
        );
    }
}
