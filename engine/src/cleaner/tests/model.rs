//! Random logs, cleaned again and again between appends, against what a reader may expect.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// A batch of keys, each with a value or a tombstone, of one of a few producers, in a codec.
    Write {
        producer: i64,
        keys: Vec<(u8, bool)>,
        codec: usize,
    },
    /// The producer's transaction ends, if it is in one.
    End {
        producer: i64,
        commits: bool,
    },
    Roll,
    Clean {
        later_ms: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..5i64, prop::collection::vec((0..8u8, prop::bool::weighted(0.8)), 1..5), 0..5usize)
            .prop_map(|(producer, keys, codec)| Step::Write { producer, keys, codec }),
        3 => (3..5i64, any::<bool>()).prop_map(|(producer, commits)| Step::End { producer, commits }),
        2 => Just(Step::Roll),
        2 => (0..2 * DELETE_RETENTION_MS).prop_map(|later_ms| Step::Clean { later_ms }),
    ]
}

/// What was written, in order: offset, key, value, whether it counts (`None`: its transaction is open), and when it was.
#[derive(Default)]
struct Model {
    records: Vec<(i64, String, Option<String>, i64)>,
    aborted: Vec<i64>,
    in_transaction: BTreeMap<i64, Vec<i64>>,
    sequences: HashMap<i64, i32>,
}

impl Model {
    /// The last value of each key below an offset, as a reader of what is committed sees it; tombstones too.
    fn last(&self, end: i64) -> BTreeMap<&str, (i64, &Option<String>)> {
        let counted = self
            .records
            .iter()
            .filter(|(offset, ..)| *offset < end && !self.aborted.contains(offset));
        counted
            .map(|(offset, key, value, _)| (key.as_str(), (*offset, value)))
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn readers_see_the_last_value_of_every_key(
        steps in prop::collection::vec(step(), 1..60),
        segment_bytes in 1u32..2000,
        map_keys in 1u64..20,
        io_buffer_bytes in 1usize..3000,
    ) {
        let mut world = World::new();
        let mut model = Model::default();
        world.limits.segment_bytes = segment_bytes;
        world.settings.dedupe_buffer_bytes = 24 * (map_keys + 1);
        world.settings.load_factor = 1.0;
        world.settings.io_buffer_bytes = io_buffer_bytes;
        for step in steps {
            match step {
                Step::Write { producer, keys, codec } => write(&mut world, &mut model, producer, &keys, codec),
                Step::End { producer, commits } => end(&mut world, &mut model, producer, commits),
                Step::Roll => world.roll(),
                Step::Clean { later_ms } => {
                    world.now_ms += later_ms;
                    // As a core: not beyond what is stable.
                    if world.open.is_empty() && world.segments.len() > 1 {
                        clean(&mut world, &model)?;
                    }
                }
            }
        }
    }
}

fn write(world: &mut World, model: &mut Model, producer: i64, keys: &[(u8, bool)], codec: usize) {
    let mut how = match producer {
        0 => PLAIN,
        1 | 2 => idempotent(producer, 0),
        _ => transactional(producer, 0),
    };
    how.codec = Codec::ALL[codec];
    let sequence = model.sequences.entry(producer).or_default();
    if producer > 0 {
        how.producer.base_sequence = *sequence;
        *sequence += keys.len() as i32;
    }
    let at = world.next_offset;
    let mut records = Vec::new();
    for (i, (key, has_value)) in keys.iter().enumerate() {
        let offset = at + i as i64;
        let (key, value) = (format!("key-{key}"), has_value.then(|| format!("value-{offset}")));
        let timestamp_ms = NOW_MS + offset * 7 % 5;
        records.push(record(&key, value.as_deref(), timestamp_ms));
        model.records.push((offset, key, value, timestamp_ms));
        if how.is_transactional {
            model.in_transaction.entry(producer).or_default().push(offset);
        }
    }
    world.append(how, &records);
    if producer > 0 {
        world
            .last_batches
            .insert(producer, LastBatch::Data(world.next_offset - 1));
    }
}

fn end(world: &mut World, model: &mut Model, producer: i64, commits: bool) {
    let Some(offsets) = model.in_transaction.remove(&producer) else {
        return;
    };
    if commits {
        world.end(producer, MarkerKind::Commit);
    } else {
        model.aborted.extend(offsets);
        world.end(producer, MarkerKind::Abort);
    }
}

fn clean(world: &mut World, model: &Model) -> Result<(), TestCaseError> {
    let end_before = world.next_offset;
    let done = world.clean();
    let active = *world.segments.last_key_value().unwrap().0;
    prop_assert!(done.cleaned_to <= active);
    // Every record that is there was written so, and no offset twice.
    let seen = world.seen();
    prop_assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0));
    let written: HashMap<i64, _> = model.records.iter().map(|r| (r.0, r)).collect();
    for (offset, key, value, timestamp_ms) in &seen {
        let (_, k, v, t) = written[offset];
        prop_assert_eq!((key.as_ref(), value, timestamp_ms), (Some(k), v, t));
        prop_assert!(
            *offset >= done.cleaned_to || !model.aborted.contains(offset),
            "aborted data at {}",
            offset
        );
    }
    // The last value of each key is there; a tombstone may have gone, with all it deletes.
    let readable: BTreeMap<i64, _> = seen.iter().map(|s| (s.0, s)).collect();
    for (key, (offset, value)) in model.last(end_before) {
        let is_there = readable.contains_key(&offset);
        prop_assert!(is_there || value.is_none(), "{} at {}", key, offset);
        if !is_there {
            let mut others = seen.iter().filter(|s| s.1.as_deref() == Some(key));
            prop_assert!(others.all(|s| model.aborted.contains(&s.0)), "{} came back", key);
        }
    }
    // Below the end of the map each key is there once at most.
    let mut once = std::collections::HashSet::new();
    for (offset, key, ..) in seen.iter().filter(|s| s.0 < done.cleaned_to) {
        prop_assert!(once.insert(key.clone()), "{:?} again at {}", key, offset);
    }
    // What producers sent last is known, and where the pass ended.
    for (producer, last) in &world.last_batches {
        let LastBatch::Data(offset) = last else { continue };
        let header = world.header_to(*offset);
        prop_assert_eq!(header.map(|h| h.producer_id), Some(*producer));
        let sequence = header.map_or(0, |h| h.last_sequence());
        prop_assert_eq!(sequence, model.sequences[producer] - 1);
    }
    let ends: Vec<i64> = world
        .batches()
        .iter()
        .map(|batch| batch.header.last_offset())
        .collect();
    prop_assert!(
        active == 0 || ends.contains(&(active - 1)),
        "offset {} is not known any more",
        active - 1
    );
    Ok(())
}
