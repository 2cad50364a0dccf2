//! The heat map's buckets and the sum of several maps.
//!
//! Four buckets an octave of microseconds with edges at 1, 1.25, 1.5 and 1.75 times a power of two, so that finding a bucket
//! is a division by a constant and a count of leading zeros.

use crate::error::Error;
use crate::report::model::{Heat, Latency};

/// Octaves of the heat map above 1 us: the last bucket begins at 2^27 us, 134 s.
const HEAT_OCTAVES: usize = 27;
/// Buckets of the heat map. The first also takes what is below its edge, the last is open above.
pub const HEAT_BUCKETS: usize = HEAT_OCTAVES * 4 + 1;
/// Lower edges of the buckets in microseconds.
pub const HEAT_EDGES_US: [f64; HEAT_BUCKETS] = heat_edges();

/// The heat map's bucket of a value.
#[inline]
pub fn heat_bucket(ns: u64) -> usize {
    let quarters_us = (ns / 250).max(4);
    let octave = 61 - quarters_us.leading_zeros() as usize;
    let quarter = (quarters_us >> octave) as usize & 3;
    (octave * 4 + quarter).min(HEAT_BUCKETS - 1)
}

/// [`HEAT_EDGES_US`] for a [`Heat`].
pub fn heat_edges_us() -> Vec<f64> {
    HEAT_EDGES_US.to_vec()
}

const fn heat_edges() -> [f64; HEAT_BUCKETS] {
    let mut edges = [0.0; HEAT_BUCKETS];
    let mut bucket = 0;
    while bucket < HEAT_BUCKETS {
        let octave = (1u64 << (bucket / 4)) as f64;
        edges[bucket] = octave * (4 + bucket % 4) as f64 / 4.0;
        bucket += 1;
    }
    edges
}

/// Maps added column by column; those without columns are left out.
///
/// # Errors
/// Maps of other buckets or intervals.
pub(super) fn merge_heat(latencies: &[&Latency]) -> Result<Heat, Error> {
    let mut heats = latencies
        .iter()
        .map(|latency| &latency.heat)
        .filter(|heat| !heat.columns.is_empty());
    let Some(first) = heats.next() else {
        return Ok(latencies[0].heat.clone());
    };
    let mut merged = first.clone();
    for heat in heats {
        if heat.edges_us != merged.edges_us || heat.interval_s != merged.interval_s {
            return Err(Error::failed(
                "heat maps of different buckets or intervals cannot be merged",
            ));
        }
        let width = merged.columns.len().max(heat.columns.len());
        merged.columns.resize_with(width, Vec::new);
        for (into, from) in merged.columns.iter_mut().zip(&heat.columns) {
            add_column(into, from);
        }
    }
    Ok(merged)
}

fn add_column(into: &mut Vec<[u64; 2]>, from: &[[u64; 2]]) {
    for &[bucket, count] in from {
        match into.binary_search_by_key(&bucket, |cell| cell[0]) {
            Ok(at) => into[at][1] = into[at][1].saturating_add(count),
            Err(at) => into.insert(at, [bucket, count]),
        }
    }
}
