//! Figures against the values they were made from, merging, damaged histograms and the heat map's buckets.

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
fn a_count_that_cannot_be_negated_is_refused() {
    let mut inner = Vec::new();
    for word in [
        0x1c84_9303,
        9,
        0,
        3,
        0,
        LOWEST_NS as u32,
        (HIGHEST_NS >> 32) as u32,
        HIGHEST_NS as u32,
    ] {
        inner.extend_from_slice(&word.to_be_bytes());
    }
    inner.extend_from_slice(&1f64.to_be_bytes());
    inner.extend_from_slice(&[0xff; 9]);
    let mut bytes = vec![0; 8];
    let mut zlib = flate2::write::ZlibEncoder::new(&mut bytes, flate2::Compression::fast());
    std::io::Write::write_all(&mut zlib, &inner).expect("compressed");
    zlib.finish().expect("compressed");
    let hostile = Latency {
        histogram: BASE64.encode(bytes),
        ..Latency::default()
    };
    let error = decode(&hostile).expect_err("refused").to_string();
    assert!(error.contains("skips more"), "{error}");
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
