//! The pieces by themselves: checking a batch, looking up an index, each codec, one durable append.
//!
//! `cargo bench -p ringlog-bench --bench pieces -- --quick` runs all of it in under a minute; a name behind it picks some:
//! `-- commit`. The commit is made in a directory below the build's (a real disk, for direct I/O), one batch waiting for it at a time.

mod shard;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringlog_bench::load::codec::Codec;
use ringlog_engine::batch;
use ringlog_engine::index::{Lookup, SparseIndex, search_page, search_time_page};

use shard::{Engine, Failure, sample};

/// What a codec is given.
const PAYLOAD_BYTES: usize = 64 << 10;

fn validate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("validate");
    for bytes in [1 << 10, 64 << 10, 1 << 20] {
        let sample = sample(bytes);
        group.throughput(Throughput::Bytes(sample.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(bytes), |bencher| {
            bencher.iter(|| batch::validate(black_box(&sample)));
        });
    }
}

/// An index like that of a segment of 1 GiB: an entry every 4 KiB of log, a record every 256 bytes and a millisecond.
fn segment_index() -> SparseIndex {
    let mut index = SparseIndex::new(4096);
    for batch in 0..(1u32 << 30) / 1024 {
        index.append(batch * 4 + 3, batch * 1024, 1024, i64::from(batch) * 4 + 3);
    }
    index
}

/// Targets all over the index, no two after each other on one page.
fn targets(up_to: u32) -> impl FnMut() -> u32 {
    let mut state = 1u32;
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((u64::from(state) * u64::from(up_to)) >> 32) as u32
    }
}

fn index(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("index");
    let mut index = segment_index();
    let offsets = index.last_offset_entry().map_or(0, |entry| entry.relative_offset);
    let mut next = targets(offsets);
    group.bench_function("offset in memory", |bencher| {
        bencher.iter(|| index.lookup(black_box(next())));
    });
    group.bench_function("time in memory", |bencher| {
        bencher.iter(|| index.lookup_time(black_box(i64::from(next()))));
    });
    let files = index.take_unwritten();
    let (offset_entries, time_entries) = (index.offset_count(), index.time_count());
    index.forget_written(offset_entries, time_entries);
    group.bench_function("offset by page of the file", |bencher| {
        bencher.iter(|| {
            let target = next();
            match index.lookup(target) {
                Lookup::OnDisk(page) => search_page(
                    &files.offset_bytes[page.position as usize..][..page.valid_bytes],
                    target,
                ),
                Lookup::At(entry) => Some(entry),
                Lookup::Start => None,
            }
        });
    });
    group.bench_function("time by page of the file", |bencher| {
        bencher.iter(|| {
            let target = i64::from(next());
            match index.lookup_time(target) {
                Lookup::OnDisk(page) => search_time_page(
                    &files.time_bytes[page.position as usize..][..page.valid_bytes],
                    target,
                ),
                Lookup::At(entry) => Some(entry),
                Lookup::Start => None,
            }
        });
    });
}

/// Log lines as services write them: the same fields over and over, numbers and identifiers that differ.
fn records() -> Vec<u8> {
    let mut text = String::new();
    let mut next = targets(u32::MAX);
    let paths = [
        "/api/v1/orders",
        "/api/v1/orders/items",
        "/api/v1/customers",
        "/healthz",
    ];
    let mut number = 0u64;
    while text.len() < PAYLOAD_BYTES {
        number += 1;
        let (path, status) = (
            paths[next() as usize % 4],
            [200, 200, 200, 404, 500][next() as usize % 5],
        );
        let (trace, user, duration_us) = (next(), next() % 100_000, next() % 250_000);
        let time = 1_760_000_000_000 + number * 7;
        text += &format!(
            "{{\"ts\":{time},\"level\":\"INFO\",\"service\":\"checkout\",\"trace\":\"{trace:08x}{number:08x}\",\"user\":\"u-{user}\",\
             \"method\":\"GET\",\"path\":\"{path}\",\"status\":{status},\"duration_us\":{duration_us}}}\n"
        );
    }
    text.truncate(PAYLOAD_BYTES);
    text.into_bytes()
}

/// The client's codecs, both directions; a wrong round trip ends the run.
fn codecs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    let plain = records();
    group.throughput(Throughput::Bytes(plain.len() as u64));
    for codec in [Codec::Lz4, Codec::Zstd, Codec::Gzip, Codec::Snappy] {
        let wrong = |error| -> ! { panic!("{codec:?}: {error}") };
        let packed = codec.compress(&plain).unwrap_or_else(|error| wrong(error));
        let again = codec
            .decompress(&packed, plain.len())
            .unwrap_or_else(|error| wrong(error));
        assert!(again == plain, "{codec:?} gave back something else");
        let (before, after) = (plain.len(), packed.len());
        let ratio = before as f64 / after as f64;
        println!("codec/{codec:?}: {before} to {after} bytes, {ratio:.1} to 1");
        group.bench_function(BenchmarkId::new("compress", format!("{codec:?}")), |bencher| {
            bencher.iter(|| codec.compress(black_box(&plain)));
        });
        group.bench_function(BenchmarkId::new("decompress", format!("{codec:?}")), |bencher| {
            bencher.iter(|| codec.decompress(black_box(&packed), plain.len()));
        });
    }
}

fn commit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit");
    let fresh = || -> Result<_, Failure> {
        let data_dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let engine = Engine::open(data_dir.path())?;
        Ok((engine, data_dir))
    };
    let (mut engine, _data_dir) =
        fresh().unwrap_or_else(|error| panic!("the engine cannot be opened: {error}"));
    for bytes in [1 << 10, 64 << 10] {
        let sample = sample(bytes);
        group.throughput(Throughput::Bytes(sample.len() as u64));
        group.bench_function(BenchmarkId::new("one durable append", bytes), |bencher| {
            bencher.iter_custom(|rounds| {
                committed(&mut engine, &sample, rounds)
                    .unwrap_or_else(|error| panic!("an append failed: {error}"))
            });
        });
    }
}

/// The time of so many appends, each begun when the one before is on stable storage.
fn committed(engine: &mut Engine, batch: &[u8], rounds: u64) -> Result<Duration, Failure> {
    let begun = Instant::now();
    for _ in 0..rounds {
        let ticket = loop {
            match engine.append(batch)? {
                Some(ticket) => break ticket,
                None => engine.turn()?,
            }
        };
        while engine.committed < ticket {
            engine.turn()?;
        }
    }
    Ok(begun.elapsed())
}

criterion_group! {
    name = pieces;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = validate, index, codecs, commit
}
criterion_main!(pieces);
