//! Distributions: from a histogram to the report's [`Latency`], back, and several into one. Histograms are added, never averaged.

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use super::model::{Heat, Latency};
use crate::error::Error;

mod heat;
mod second;

pub use heat::{HEAT_BUCKETS, HEAT_EDGES_US, heat_bucket, heat_edges_us};

pub use second::{Second, worst};

/// Smallest value told from zero. HdrHistogram keeps its digits only from a thousand times this up, so that 1 it is.
pub const LOWEST_NS: u64 = 1;
/// Largest value; what is above counts as this.
pub const HIGHEST_NS: u64 = 600 * 1_000_000_000;
/// Significant digits kept.
pub const DIGITS: u8 = 3;

/// Points of a curve, about.
const CURVE_POINTS: usize = 160;
/// An inflated histogram of our bounds is at most 9 bytes a counter, far below this; more is not ours.
const MAX_INFLATED_BYTES: usize = 4 << 20;
/// Cookie, payload length, normalizing offset, digits, lowest, highest and the integer-to-double ratio.
const HEADER_BYTES: usize = 40;
/// A count of `i64::MIN`, which means that many zeroes less than none; the decoder negates it unchecked.
const LOWEST_I64: [u8; 9] = [0xff; 9];

/// An empty histogram for nanoseconds: [`LOWEST_NS`] to [`HIGHEST_NS`], 3 digits. Record with
/// `saturating_record`, which keeps what is above as the highest.
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, DIGITS).expect("the bounds are valid")
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
        worst_second: None,
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
    let worst_seconds = latencies
        .iter()
        .filter_map(|latency| latency.worst_second.clone());
    Ok(Latency {
        worst_second: worst_seconds.reduce(|a, b| if b.p999_us > a.p999_us { b } else { a }),
        ..self::latency(&all, heat::merge_heat(latencies)?)
    })
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
    if inflated[HEADER_BYTES..]
        .windows(9)
        .any(|bytes| bytes == LOWEST_I64)
    {
        return Err("it skips more values than there are");
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
mod tests;
