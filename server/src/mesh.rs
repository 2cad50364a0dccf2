//! Core to core: one bounded queue per ordered pair of cores, and a wake. The only way cores touch.
//!
//! A core never waits for another: what does not fit a queue stays in the sender's outbox, in order, and goes out
//! with a later [`Port::flush`]. The outbox needs no limit of its own, because everything in it stands for a
//! request some connection is waiting for, and connections are bounded. However many messages a turn sends, each
//! receiver is woken once.
//!
//! Threads that are not cores (the files worker, the one that waits for signals) reach a core through an
//! [`Inlet`], which is a queue of the same kind.

use std::collections::VecDeque;

use rtrb::{Consumer, Producer, PushError, RingBuffer};

/// Messages one queue holds. A message is some hundred bytes at most, so a pair of cores costs a few hundred KiB at the worst.
pub const QUEUE_MESSAGES: usize = 1024;

/// One core's end of the mesh, for messages of type `M`.
#[derive(Debug)]
pub struct Port<M> {
    to: Vec<Lane<M>>,
    from: Vec<Consumer<M>>,
}

/// The way to one other core.
#[derive(Debug)]
struct Lane<M> {
    queue: Option<Producer<M>>,
    outbox: VecDeque<M>,
    /// Whether something was queued since the receiver was last woken.
    unannounced: bool,
}

/// The way into a core for a thread that is none.
#[derive(Debug)]
pub struct Inlet<M> {
    queue: Producer<M>,
}

/// Builds the ports of `cores` cores, all connected, with the number of inlets each asked for.
///
/// Returns for every core its port and its inlets.
pub fn build<M>(cores: usize, inlets_per_core: usize) -> Vec<(Port<M>, Vec<Inlet<M>>)> {
    let mut built: Vec<(Port<M>, Vec<Inlet<M>>)> = (0..cores).map(|_| (Port::empty(), Vec::new())).collect();
    for sender in 0..cores {
        for receiver in 0..cores {
            let mut lane = Lane {
                queue: None,
                outbox: VecDeque::new(),
                unannounced: false,
            };
            if sender != receiver {
                let (producer, consumer) = RingBuffer::new(QUEUE_MESSAGES);
                lane.queue = Some(producer);
                built[receiver].0.from.push(consumer);
            }
            built[sender].0.to.push(lane);
        }
    }
    for (port, inlets) in &mut built {
        for _ in 0..inlets_per_core {
            let (queue, consumer) = RingBuffer::new(QUEUE_MESSAGES);
            port.from.push(consumer);
            inlets.push(Inlet { queue });
        }
    }
    built
}

impl<M> Port<M> {
    fn empty() -> Port<M> {
        Port {
            to: Vec::new(),
            from: Vec::new(),
        }
    }

    /// Queues a message for another core. It is seen there after the next [`Port::flush`].
    pub fn send(&mut self, core: usize, message: M) {
        let lane = &mut self.to[core];
        lane.unannounced = true;
        if !lane.outbox.is_empty() {
            lane.outbox.push_back(message);
            return;
        }
        match lane.queue.as_mut().map(|queue| queue.push(message)) {
            Some(Err(PushError::Full(message))) => lane.outbox.push_back(message),
            Some(Ok(())) => {}
            None => debug_assert!(false, "a core sends nothing to itself through the mesh"),
        }
    }

    /// Moves outboxes into queues as far as they fit, and calls `wake` once for each core that has new mail.
    /// Returns whether some outbox still holds messages: then call again soon.
    pub fn flush(&mut self, mut wake: impl FnMut(usize)) -> bool {
        let mut left = false;
        for (core, lane) in self.to.iter_mut().enumerate() {
            lane.unannounced |= lane.drain_outbox();
            if std::mem::take(&mut lane.unannounced) {
                wake(core);
            }
            left |= !lane.outbox.is_empty();
        }
        left
    }

    /// Whether mail waits to be received.
    pub fn has_mail(&self) -> bool {
        self.from.iter().any(|queue| !queue.is_empty())
    }

    /// Takes the mail that is there now, in order per sender. Mail that arrives meanwhile is left for the next
    /// call, so that a busy sender cannot keep the core from its sockets.
    pub fn receive(&mut self, into: &mut VecDeque<M>) {
        for queue in &mut self.from {
            for _ in 0..queue.slots() {
                into.extend(queue.pop().ok());
            }
        }
    }
}

impl<M> Lane<M> {
    /// Returns whether anything moved.
    fn drain_outbox(&mut self) -> bool {
        let mut moved = false;
        while let (Some(queue), Some(message)) = (&mut self.queue, self.outbox.pop_front()) {
            if let Err(PushError::Full(message)) = queue.push(message) {
                self.outbox.push_front(message);
                break;
            }
            moved = true;
        }
        moved
    }
}

impl<M> Inlet<M> {
    /// Queues a message; gives it back when the queue is full. The caller wakes the core.
    pub fn send(&mut self, message: M) -> Result<(), M> {
        self.queue
            .push(message)
            .map_err(|PushError::Full(message)| message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(cores: usize) -> Vec<Port<(usize, usize)>> {
        build(cores, 0).into_iter().map(|(port, _)| port).collect()
    }

    #[test]
    fn every_pair_is_connected_and_only_it() {
        let mut ports = ports(3);
        for (sender, port) in ports.iter_mut().enumerate() {
            for receiver in (0..3).filter(|r| *r != sender) {
                port.send(receiver, (sender, receiver));
            }
            let mut woken = Vec::new();
            assert!(!port.flush(|core| woken.push(core)));
            assert_eq!(woken, (0..3).filter(|r| *r != sender).collect::<Vec<_>>());
        }
        for (receiver, port) in ports.iter_mut().enumerate() {
            assert!(port.has_mail());
            let mut mail = VecDeque::new();
            port.receive(&mut mail);
            let expected: Vec<_> = (0..3).filter(|s| *s != receiver).map(|s| (s, receiver)).collect();
            assert_eq!(mail, expected);
            assert!(!port.has_mail());
        }
    }

    #[test]
    fn a_full_queue_keeps_the_order_and_never_blocks() {
        let mut ports = ports(2);
        let total = QUEUE_MESSAGES * 2 + 7;
        for n in 0..total {
            ports[0].send(1, (0, n));
        }
        let mut seen = VecDeque::new();
        for expected_left in [true, true, false] {
            assert_eq!(ports[0].flush(|_| {}), expected_left);
            ports[1].receive(&mut seen);
        }
        assert_eq!(
            seen.iter().map(|m| m.1).collect::<Vec<_>>(),
            (0..total).collect::<Vec<_>>()
        );
    }

    #[test]
    fn many_messages_wake_once() {
        let mut ports = ports(2);
        (0..10).for_each(|n| ports[0].send(1, (0, n)));
        let mut wakes = 0;
        ports[0].flush(|_| wakes += 1);
        ports[0].flush(|_| wakes += 1);
        assert_eq!(wakes, 1);
    }

    #[test]
    fn an_inlet_reaches_its_core() {
        let mut built = build::<u8>(1, 2);
        let (port, inlets) = &mut built[0];
        for (n, inlet) in inlets.iter_mut().enumerate() {
            assert_eq!(inlet.send(n as u8), Ok(()));
        }
        let mut mail = VecDeque::new();
        port.receive(&mut mail);
        assert_eq!(mail, [0, 1]);
    }
}
