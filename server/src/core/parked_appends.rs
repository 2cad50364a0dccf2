//! Batches that wait for room in the engine, on the core that owns their partitions, in order of arrival.
//!
//! Their bytes are those of requests in flight, which the connections' cores bound. Some outlive their request: its client has gone, or was
//! told that its time is up. So there is a limit here too, which nothing else reaches.

use std::collections::VecDeque;
use std::time::Instant;

use super::mail::{AppendOrder, PartitionKey};
use super::produce::is_expired;

/// The orders that wait.
#[derive(Debug, Default)]
pub struct ParkedAppends {
    orders: VecDeque<AppendOrder>,
    bytes: usize,
    most_bytes: usize,
}

fn bytes_of(order: &AppendOrder) -> usize {
    order.items.iter().map(|item| item.records.len()).sum()
}

impl ParkedAppends {
    /// None yet, and at most so many bytes, or one order.
    pub fn new(most_bytes: usize) -> ParkedAppends {
        ParkedAppends {
            most_bytes,
            ..ParkedAppends::default()
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// Since when the first has been waiting.
    pub fn since(&self) -> Option<Instant> {
        self.orders.front().map(|order| order.since)
    }

    /// Puts an order at the end, or gives it back when there is no room.
    pub fn push(&mut self, order: AppendOrder) -> Result<(), AppendOrder> {
        let bytes = self.bytes.saturating_add(bytes_of(&order));
        if bytes > self.most_bytes && !self.orders.is_empty() {
            return Err(order);
        }
        self.bytes = bytes;
        self.orders.push_back(order);
        Ok(())
    }

    /// Puts an order that came before all others in front of them: what it holds was counted when it came.
    pub fn push_first(&mut self, order: AppendOrder) {
        self.bytes += bytes_of(&order);
        self.orders.push_front(order);
    }

    /// Takes out the first.
    pub fn pop_first(&mut self) -> Option<AppendOrder> {
        let order = self.orders.pop_front()?;
        self.bytes -= bytes_of(&order);
        Some(order)
    }

    /// Whether batches for the partition wait.
    pub fn has(&self, key: &PartitionKey) -> bool {
        let mut items = self.orders.iter().flat_map(|order| &order.items);
        items.any(|item| item.key == *key)
    }

    /// Takes out what nobody waits for any more.
    pub fn take_expired(&mut self, now: Instant) -> VecDeque<AppendOrder> {
        let (expired, left) = std::mem::take(&mut self.orders)
            .into_iter()
            .partition(|order| is_expired(order, now));
        self.orders = left;
        self.bytes = self.orders.iter().map(bytes_of).sum();
        expired
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::core::calls::Calls;
    use crate::core::mail::AppendItem;
    use crate::core::produce::UNACKNOWLEDGED_FOR;
    use crate::wire::Uuid;

    fn order(now: Instant, wait: bool, after_ms: u64, bytes: usize) -> AppendOrder {
        let key = PartitionKey {
            topic_id: Uuid([1; 16]),
            index: 0,
        };
        AppendOrder {
            origin: 0,
            call: Calls::default().reserve_for_test(),
            wait,
            deadline: now + Duration::from_millis(after_ms),
            since: now,
            turn: None,
            transaction: None,
            meter: None,
            items: vec![AppendItem {
                place: (0, 0),
                key,
                records: Bytes::from(vec![0; bytes]),
            }],
        }
    }

    fn sizes(orders: &VecDeque<AppendOrder>) -> Vec<usize> {
        orders.iter().map(bytes_of).collect()
    }

    #[test]
    fn orders_are_given_up_at_their_deadline() {
        let now = Instant::now();
        let mut parked = ParkedAppends::new(100);
        for (wait, after_ms, bytes) in [(true, 0, 1), (false, 0, 2), (true, 9, 4)] {
            assert!(parked.push(order(now, wait, after_ms, bytes)).is_ok());
        }
        assert_eq!((sizes(&parked.take_expired(now)), parked.bytes), (vec![1], 6));
        let expired = parked.take_expired(now + UNACKNOWLEDGED_FOR);
        assert_eq!((sizes(&expired), parked.bytes), (vec![2, 4], 0));
        assert!(parked.is_empty());
    }

    #[test]
    fn what_waits_has_a_limit_whatever_became_of_its_clients() {
        let now = Instant::now();
        let mut parked = ParkedAppends::new(10);
        assert!(parked.push(order(now, true, 9, 99)).is_ok(), "one alone");
        assert!(parked.push(order(now, true, 9, 1)).is_err());
        assert_eq!(parked.pop_first().as_ref().map(bytes_of), Some(99));
        assert!(parked.push(order(now, true, 9, 4)).is_ok() && parked.push(order(now, true, 9, 6)).is_ok());
        assert!(parked.push(order(now, true, 9, 1)).is_err());
        let first = parked.pop_first().expect("an order");
        parked.push_first(first);
        assert_eq!((sizes(&parked.orders), parked.bytes), (vec![4, 6], 10));
    }
}
