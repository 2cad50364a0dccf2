//! Distributions: from a histogram to the report's [`Latency`], back, and several into one. Histograms are added, never averaged.
//!
//! Also the heat map's buckets: four an octave of microseconds with edges at 1, 1.25, 1.5 and 1.75 times a power of
//! two, so that finding a bucket is a division by a constant and a count of leading zeros.

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use super::model::{Heat, Latency};
use crate::error::Error;

/// Smallest value told from zero. HdrHistogram keeps its digits only from a thousand times this up, so that 1 it is.
pub const LOWEST_NS: u64 = 1;
/// Largest value; what is above counts as this.
pub const HIGHEST_NS: u64 = 600 * 1_000_000_000;
/// Significant digits kept.
pub const DIGITS: u8 = 3;

/// Octaves of the heat map above 1 us: the last bucket begins at 2^27 us, 134 s.
const HEAT_OCTAVES: usize = 27;
/// Buckets of the heat map. The first also takes what is below its edge, the last is open above.
pub const HEAT_BUCKETS: usize = HEAT_OCTAVES * 4 + 1;
/// Lower edges of the buckets in microseconds.
pub const HEAT_EDGES_US: [f64; HEAT_BUCKETS] = heat_edges();

/// Points of a curve, about.
const CURVE_POINTS: usize = 160;
/// An inflated histogram of our bounds is at most 9 bytes a counter, far below this; more is not ours.
const MAX_INFLATED_BYTES: usize = 4 << 20;
/// Cookie, payload length, normalizing offset, digits, lowest, highest and the integer-to-double ratio.
const HEADER_BYTES: usize = 40;

/// An empty histogram for nanoseconds: [`LOWEST_NS`] to [`HIGHEST_NS`], 3 digits. Record with
/// `saturating_record`, which keeps what is above as the highest.
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, DIGITS).expect("the bounds are valid")
}

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

/// The report's form of a histogram of nanoseconds.
pub fn latency(histogram: &Histogram<u64>, heat: Heat) -> Latency {
    if histogram.is_empty() {
        return Latency {
            heat,
            histogram: encode(histogram),
            ..Latency::default()
        };
    }
    let at = |quantile| us(histogram.value_at_quantile(quantile));
    Latency {
        count: histogram.len(),
        min_us: us(histogram.min()),
        mean_us: (histogram.mean()).round() / 1e3,
        p50_us: at(0.5),
        p90_us: at(0.9),
        p99_us: at(0.99),
        p999_us: at(0.999),
        p9999_us: at(0.9999),
        max_us: us(histogram.max()),
        curve: curve(histogram),
        heat,
        histogram: encode(histogram),
    }
}

/// The histogram a distribution was made from, in nanoseconds.
///
/// # Errors
/// Bytes that are not such a histogram, or one of other bounds or of another count than the report says.
pub fn decode(latency: &Latency) -> Result<Histogram<u64>, Error> {
    let broken = |what: &str| Error::failed(format!("a distribution's histogram is damaged: {what}"));
    let bytes = BASE64
        .decode(&latency.histogram)
        .map_err(|error| broken(&error.to_string()))?;
    let inflated = inflate(&bytes).ok_or_else(|| broken("it does not inflate"))?;
    check_header(&inflated).map_err(broken)?;
    let histogram: Histogram<u64> = Deserializer::new()
        .deserialize(&mut &inflated[..])
        .map_err(|error| broken(&error.to_string()))?;
    match histogram.len() == latency.count {
        true => Ok(histogram),
        false => Err(broken(&format!(
            "it holds {} values, not {}",
            histogram.len(),
            latency.count
        ))),
    }
}

/// One distribution of all values of several: histograms added, heat maps added column by column.
///
/// # Errors
/// None given, a damaged histogram, or heat maps of other buckets or intervals.
pub fn merge(latencies: &[&Latency]) -> Result<Latency, Error> {
    if latencies.is_empty() {
        return Err(Error::failed("there is no distribution to merge"));
    }
    let mut all = new_histogram();
    for latency in latencies {
        all.add(decode(latency)?)
            .map_err(|error| Error::failed(format!("cannot merge: {error}")))?;
    }
    Ok(self::latency(&all, merge_heat(latencies)?))
}

fn merge_heat(latencies: &[&Latency]) -> Result<Heat, Error> {
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

/// Evenly spaced in nines (-log10 of 1 - q) up to the last quantile the count can tell from the maximum, then the maximum.
fn curve(histogram: &Histogram<u64>) -> Vec<[f64; 2]> {
    let nines = (histogram.len() as f64).log10().max(0.3);
    let per_nine = (CURVE_POINTS as f64 / nines).ceil();
    let steps = (nines * per_nine).floor() as usize;
    let quantile = |step: usize| 1.0 - 10f64.powf(-(step as f64) / per_nine);
    let point = |q: f64| [(q * 1e10).round() / 1e10, us(histogram.value_at_quantile(q))];
    let mut points: Vec<_> = (0..=steps)
        .map(|step| point(quantile(step)))
        .filter(|at| at[0] < 1.0)
        .collect();
    points.push([1.0, us(histogram.max())]);
    points
}

fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    let written = V2DeflateSerializer::new().serialize(histogram, &mut bytes);
    written.expect("a histogram of at most 600 s serializes into memory");
    BASE64.encode(bytes)
}

/// The uncompressed form within the compressed one: a cookie, the length, then a zlib stream.
fn inflate(bytes: &[u8]) -> Option<Vec<u8>> {
    let stream = bytes.get(8..)?;
    let mut inflated = Vec::new();
    let limit = MAX_INFLATED_BYTES as u64 + 1;
    flate2::read::ZlibDecoder::new(stream)
        .take(limit)
        .read_to_end(&mut inflated)
        .ok()?;
    (inflated.len() <= MAX_INFLATED_BYTES).then_some(inflated)
}

/// What must hold before the decoder may size its memory by the header.
fn check_header(inflated: &[u8]) -> Result<(), &'static str> {
    let (Some(length), Some(digits)) = (word(inflated, 4), word(inflated, 12)) else {
        return Err("it is cut short");
    };
    if HEADER_BYTES.checked_add(length as usize) != Some(inflated.len()) {
        return Err("its length is wrong");
    }
    let wide = |at| Some(u64::from(word(inflated, at)?) << 32 | u64::from(word(inflated, at + 4)?));
    match (digits, wide(16), wide(24)) {
        (3, Some(LOWEST_NS), Some(HIGHEST_NS)) => Ok(()),
        _ => Err("its bounds are not this tool's"),
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn us(ns: u64) -> f64 {
    ns as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = new_histogram();
        values
            .into_iter()
            .for_each(|value| histogram.saturating_record(value));
        histogram
    }

    fn near(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() <= expected * 0.002,
            "{found}, not {expected}"
        );
    }

    #[test]
    fn figures_are_those_of_the_values() {
        let found = latency(&filled((1..=100_000).map(|n| n * 1_000)), Heat::default());
        assert_eq!(found.count, 100_000);
        near(found.min_us, 1.0);
        near(found.mean_us, 50_000.5);
        near(found.p50_us, 50_000.0);
        near(found.p90_us, 90_000.0);
        near(found.p99_us, 99_000.0);
        near(found.p999_us, 99_900.0);
        near(found.p9999_us, 99_990.0);
        near(found.max_us, 100_000.0);
    }

    #[test]
    fn what_is_above_the_bounds_counts_as_the_highest() {
        let found = latency(&filled([HIGHEST_NS * 5]), Heat::default());
        assert_eq!(found.count, 1);
        near(found.max_us, 600e6);
    }

    #[test]
    fn the_curve_ascends_to_the_maximum_and_stops_where_the_count_does() {
        for count in [1, 2, 10, 1_000, 1_000_000] {
            let found = latency(&filled((1..=count).map(|n| n * 500)), Heat::default());
            let curve = &found.curve;
            assert!(
                (100..=220).contains(&curve.len()) || count < 10,
                "{} points",
                curve.len()
            );
            assert!(curve.windows(2).all(|w| w[0][0] < w[1][0] && w[0][1] <= w[1][1]));
            assert_eq!(curve[curve.len() - 1], [1.0, found.max_us]);
            let beyond = curve[curve.len() - 2][0];
            assert!(
                beyond <= 1.0 - 0.999 / count as f64 || count < 3,
                "{beyond} of {count}"
            );
        }
    }

    #[test]
    fn no_values_make_no_curve() {
        let found = latency(&new_histogram(), Heat::default());
        assert!(found.count == 0 && found.curve.is_empty());
        assert_eq!(decode(&found).expect("decoded").len(), 0);
    }

    #[test]
    fn a_histogram_comes_back() {
        let histogram = filled((0..5_000).map(|n| n * n));
        assert_eq!(
            decode(&latency(&histogram, Heat::default())).expect("decoded"),
            histogram
        );
    }

    #[test]
    fn damaged_histograms_are_refused() {
        let good = latency(&filled([1_000]), Heat::default());
        let other = Histogram::<u64>::new_with_bounds(1, u64::MAX, 5).expect("valid");
        let cut = BASE64.encode(&BASE64.decode(&good.histogram).expect("base64")[..20]);
        for histogram in ["", "AAAA", "not base64!", &encode(&other), &cut] {
            let bad = Latency {
                histogram: histogram.to_owned(),
                ..good.clone()
            };
            assert!(decode(&bad).is_err(), "{histogram:.40}");
        }
        assert!(decode(&Latency { count: 2, ..good }).is_err());
    }

    #[test]
    fn merging_is_as_if_recorded_together() {
        let (fast, slow) = (filled((1..900).map(|n| n * 1_000)), filled([5_000_000_000; 100]));
        let mut both = fast.clone();
        both.add(&slow).expect("added");
        let parts = [latency(&fast, Heat::default()), latency(&slow, Heat::default())];
        let merged = merge(&[&parts[0], &parts[1]]).expect("merged");
        assert_eq!(merged, latency(&both, Heat::default()));
        near(merged.p99_us, 5e6);
        assert!(merge(&[]).is_err());
    }

    fn heat(edges_us: Vec<f64>, columns: Vec<Vec<[u64; 2]>>) -> Latency {
        latency(
            &filled([1]),
            Heat {
                interval_s: 1.0,
                edges_us,
                columns,
            },
        )
    }

    #[test]
    fn heat_maps_are_added_column_by_column() {
        let a = heat(vec![1.0, 2.0, 4.0], vec![vec![[0, 1], [2, 5]]]);
        let b = heat(vec![1.0, 2.0, 4.0], vec![vec![[1, 7], [2, 1]], vec![[0, 3]]]);
        let merged = merge(&[&a, &b]).expect("merged").heat;
        assert_eq!(merged.columns, [vec![[0, 1], [1, 7], [2, 6]], vec![[0, 3]]]);
        let other = heat(vec![1.0, 3.0], vec![vec![[0, 1]]]);
        assert!(merge(&[&a, &other]).is_err());
    }

    #[test]
    fn a_heat_bucket_is_the_last_whose_edge_is_not_above() {
        let edges = heat_edges_us();
        assert!(edges.windows(2).all(|w| w[0] < w[1]));
        assert_eq!((edges[0], edges[HEAT_BUCKETS - 1]), (1.0, 134_217_728.0));
        for (bucket, edge) in edges.iter().enumerate() {
            let ns = (edge * 1e3) as u64;
            assert_eq!(heat_bucket(ns), bucket);
            assert_eq!(heat_bucket(ns - 1), bucket.saturating_sub(1));
        }
        assert_eq!(heat_bucket(0), 0);
        assert_eq!(heat_bucket(u64::MAX), HEAT_BUCKETS - 1);
    }
}
