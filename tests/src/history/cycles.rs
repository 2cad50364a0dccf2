//! Circles of transactions: G0 by writes alone, G1c by writes and reads.
//!
//! An edge says that one transaction was before another: it wrote below the other in a partition (ww), the other consumed what it had written
//! (wr), or it had ended when the other began (rt). Transactions whose times overlap may interleave their writes, so they have no ww edge.

use std::collections::{BTreeMap, HashMap};

use super::Anomaly;
use super::record::{History, Key, Outcome, Transaction, Value};

/// How two transactions follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Wrote,
    Read,
    Time,
}

/// One circle of each kind, if there is one.
pub fn cycles(history: &History) -> Vec<Anomaly> {
    let visible = visible(history);
    let mut edges = writes(history, &visible);
    edges.extend(times(&visible));
    let mut found = Vec::new();
    if let Some(circle) = circle(visible.len(), &edges) {
        found.push(Anomaly::WriteCycle(names(&visible, &circle)));
        return found;
    }
    edges.extend(reads(&visible));
    if let Some(circle) = circle(visible.len(), &edges) {
        found.push(Anomaly::Circular(names(&visible, &circle)));
    }
    found
}

/// The transactions that took effect.
fn visible(history: &History) -> Vec<&Transaction> {
    let places: std::collections::HashSet<&Value> = history
        .finals
        .values()
        .flatten()
        .map(|(_, value)| value)
        .collect();
    let effective = |one: &&Transaction| match one.outcome {
        Outcome::Committed => true,
        Outcome::Aborted => false,
        Outcome::Unknown => one.writes.iter().any(|write| places.contains(&write.value)),
    };
    history.transactions.iter().filter(effective).collect()
}

/// From each writer of a partition to the next one there.
fn writes(history: &History, visible: &[&Transaction]) -> Vec<(usize, usize, Why)> {
    let mut writers: HashMap<&Value, usize> = HashMap::new();
    for (number, transaction) in visible.iter().enumerate() {
        writers.extend(transaction.writes.iter().map(|write| (&write.value, number)));
    }
    let mut out = Vec::new();
    for records in history.finals.values() {
        let order: Vec<usize> = records
            .iter()
            .filter_map(|(_, value)| writers.get(value).copied())
            .collect();
        // Against time it is enough to look at each writer's first record, and at the latest beginning before it.
        let mut latest: Option<usize> = None;
        for &number in &order {
            if let Some(before) = latest.filter(|&before| before != number) {
                let (a, b) = (visible[before], visible[number]);
                if a.end < b.begin || b.end < a.begin {
                    out.push((before, number, Why::Wrote));
                }
            }
            if latest.is_none_or(|before| visible[before].begin < visible[number].begin) {
                latest = Some(number);
            }
        }
    }
    out
}

/// From each writer to who consumed what it wrote.
fn reads(visible: &[&Transaction]) -> Vec<(usize, usize, Why)> {
    let mut writers: HashMap<(&Key, &Value), usize> = HashMap::new();
    for (number, transaction) in visible.iter().enumerate() {
        for write in &transaction.writes {
            writers.insert((&write.key, &write.value), number);
        }
    }
    let mut out = Vec::new();
    for (number, transaction) in visible.iter().enumerate() {
        for read in &transaction.reads {
            if let Some(&writer) = writers.get(&(&read.key, &read.value)) {
                out.push((writer, number, Why::Read));
            }
        }
    }
    out
}

/// Time, with few edges: from each transaction to those that began after its end and before the end of another that did so.
fn times(visible: &[&Transaction]) -> Vec<(usize, usize, Why)> {
    let mut by_begin: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (number, transaction) in visible.iter().enumerate() {
        by_begin.entry(transaction.begin).or_default().push(number);
    }
    let mut out = Vec::new();
    for (number, transaction) in visible.iter().enumerate() {
        if transaction.outcome == Outcome::Unknown {
            // It may have been committed long after its client gave up.
            continue;
        }
        let mut first_end = u64::MAX;
        for (&begin, others) in by_begin.range(transaction.end + 1..) {
            if begin > first_end {
                break;
            }
            for &other in others {
                out.push((number, other, Why::Time));
                if visible[other].outcome != Outcome::Unknown {
                    first_end = first_end.min(visible[other].end);
                }
            }
        }
    }
    out
}

/// A circle in the graph, if there is one that is not of time alone (which cannot be).
fn circle(nodes: usize, edges: &[(usize, usize, Why)]) -> Option<Vec<usize>> {
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); nodes];
    for &(from, to, why) in edges {
        if from != to {
            next[from].push(to);
        } else if why == Why::Read {
            return Some(vec![from]);
        }
    }
    let mut state = vec![0u8; nodes];
    for start in 0..nodes {
        if state[start] != 0 {
            continue;
        }
        let mut path = vec![(start, 0)];
        state[start] = 1;
        while let Some((node, at)) = path.last_mut() {
            let node = *node;
            let Some(&to) = next[node].get(*at) else {
                state[node] = 2;
                path.pop();
                continue;
            };
            *at += 1;
            match state[to] {
                0 => {
                    state[to] = 1;
                    path.push((to, 0));
                }
                1 => {
                    let begin = path.iter().position(|&(node, _)| node == to).unwrap_or(0);
                    return Some(path[begin..].iter().map(|&(node, _)| node).collect());
                }
                _ => {}
            }
        }
    }
    None
}

fn names(visible: &[&Transaction], circle: &[usize]) -> Vec<String> {
    let name = |&number: &usize| {
        let one = visible[number];
        format!("{} {}-{}", one.client, one.begin, one.end)
    };
    circle.iter().map(name).collect()
}
