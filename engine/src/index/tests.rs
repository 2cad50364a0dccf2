//! The rule that makes entries, and lookups against a plain search of all of them.

use super::*;
use proptest::prelude::*;

fn at(relative_offset: u32, position: u32) -> OffsetEntry {
    OffsetEntry {
        relative_offset,
        position,
    }
}

fn time(timestamp_ms: i64, relative_offset: u32) -> TimeEntry {
    TimeEntry {
        timestamp_ms,
        relative_offset,
    }
}

/// An index file in memory, as the caller of the index would write it.
#[derive(Default)]
struct Files {
    offsets: Vec<u8>,
    times: Vec<u8>,
}

impl Files {
    fn write(&mut self, unwritten: &Unwritten) {
        assert_eq!(unwritten.offset_position, self.offsets.len() as u64);
        assert_eq!(unwritten.time_position, self.times.len() as u64);
        self.offsets.extend(&unwritten.offset_bytes);
        self.times.extend(&unwritten.time_bytes);
    }

    fn page(file: &[u8], page: IndexPage) -> &[u8] {
        assert!(page.position.is_multiple_of(4096) && page.read_bytes.is_multiple_of(4096));
        assert!(page.valid_bytes <= page.read_bytes);
        let start = page.position as usize;
        &file[start..start + page.valid_bytes]
    }

    fn lookup(&self, index: &SparseIndex, target: u32) -> Option<OffsetEntry> {
        match index.lookup(target) {
            Lookup::At(entry) => Some(entry),
            Lookup::Start => None,
            Lookup::OnDisk(page) => {
                Some(search_page(Files::page(&self.offsets, page), target).expect("an entry on the page"))
            }
        }
    }

    fn lookup_time(&self, index: &SparseIndex, target: i64) -> Option<TimeEntry> {
        match index.lookup_time(target) {
            Lookup::At(entry) => Some(entry),
            Lookup::Start => None,
            Lookup::OnDisk(page) => {
                Some(search_time_page(Files::page(&self.times, page), target).expect("an entry on the page"))
            }
        }
    }
}

#[test]
fn entries_are_big_endian_pairs() {
    assert_eq!(at(1, 0x0203).encode(), [0, 0, 0, 1, 0, 0, 2, 3]);
    assert_eq!(
        time(-1, 5).encode(),
        [255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 5]
    );
    assert_eq!(OffsetEntry::decode(&at(9, 8).encode()), at(9, 8));
    assert_eq!(TimeEntry::decode(&time(-7, 8).encode()), time(-7, 8));
}

#[test]
fn an_entry_comes_when_more_than_an_interval_lies_behind_the_last() {
    let mut index = SparseIndex::new(100);
    let made: Vec<bool> = [
        (0, 0, 50),
        (1, 50, 50),
        (2, 100, 1),
        (3, 101, 100),
        (4, 201, 300),
        (5, 501, 1),
    ]
    .map(|(offset, position, size)| index.append(offset, position, size, i64::from(offset)))
    .into();
    assert_eq!(made, [false, false, false, true, false, true]);
    let unwritten = index.take_unwritten();
    assert_eq!(
        unwritten.offset_bytes,
        [at(3, 101).encode(), at(5, 501).encode()].concat()
    );
    assert_eq!(
        unwritten.time_bytes,
        [time(3, 3).encode(), time(5, 5).encode()].concat()
    );
    assert!(index.take_unwritten().is_empty());
}

#[test]
fn time_entries_hold_the_largest_timestamp_so_far_and_only_rise() {
    let mut index = SparseIndex::new(0);
    for (offset, timestamp) in [(0, 50), (1, 90), (2, 70), (3, 80), (4, 91), (5, 10)] {
        index.append(offset, offset * 10, 10, timestamp);
    }
    assert_eq!(
        index.take_unwritten().time_bytes,
        [time(90, 1).encode(), time(91, 4).encode()].concat()
    );
    assert_eq!((index.offset_count(), index.time_count()), (5, 2));
    assert_eq!(index.largest_timestamp(), Some(time(91, 4)));
    assert!(!index.close());
    index.append(6, 60, 10, -1);
    index.set_interval_bytes(1_000);
    index.append(7, 70, 10, 95);
    assert!(index.close());
    assert!(!index.close());
    assert_eq!(index.take_unwritten().time_bytes, time(95, 7).encode());
}

#[test]
fn batches_without_timestamps_leave_the_time_index_empty() {
    let mut index = SparseIndex::new(0);
    for offset in 0..5 {
        index.append(offset, offset * 10, 10, -1);
    }
    assert!(!index.close());
    assert_eq!(
        (
            index.offset_count(),
            index.time_count(),
            index.largest_timestamp()
        ),
        (4, 0, None)
    );
    assert_eq!(index.lookup_time(i64::MAX), Lookup::Start);
}

#[test]
fn a_log_out_of_order_leaves_an_index_in_order() {
    let mut index = SparseIndex::new(0);
    let made = [(0, 0), (9, 10), (9, 20), (3, 30), (10, 10), (11, 40)]
        .map(|(offset, position)| index.append(offset, position, 10, i64::from(position)));
    assert_eq!(made, [false, true, false, false, false, true]);
    assert_eq!(
        validate_offset_file(&index.take_unwritten().offset_bytes, 50).map(|file| file.entries),
        Ok(2)
    );
}

#[test]
fn full_when_a_file_would_outgrow_its_limit() {
    let mut index = SparseIndex::new(0);
    let mut batch = |timestamp| {
        let offset = index.offset_count() + 1;
        index.append(offset, offset, 1, timestamp);
        (index.is_full(40), index.is_full(120))
    };
    assert_eq!([1, 1, 1, 1, 1].map(&mut batch).map(|(full, _)| full), [false; 5]);
    assert_eq!(batch(1), (true, false), "five entries of 8 bytes are 40");
    let mut index = SparseIndex::new(0);
    let full = (0..5).map(|i| {
        index.append(i, i, 1, i64::from(i));
        index.is_full(48)
    });
    assert_eq!(
        full.collect::<Vec<_>>(),
        [false, false, false, true, true],
        "a place for the closing entry is kept"
    );
}

#[test]
fn pages_hold_whole_entries_and_whole_blocks() {
    let (mut offsets, mut times) = (OffsetFences::default(), TimeFences::default());
    for key in 0..2_000 {
        offsets.push(key * 10);
        times.push(i64::from(key) * 10);
    }
    let page = |number, position, read_bytes, valid_bytes| {
        Some(IndexPage {
            number,
            position,
            read_bytes,
            valid_bytes,
        })
    };
    assert_eq!(offsets.page_for(0), page(0, 0, 4_096, 4_096));
    assert_eq!(offsets.page_for(5_119), page(0, 0, 4_096, 4_096));
    assert_eq!(offsets.page_for(5_120), page(1, 4_096, 4_096, 4_096));
    assert_eq!(offsets.page_for(u32::MAX), page(3, 12_288, 4_096, 464 * 8));
    assert_eq!(times.page_for(-1), None);
    assert_eq!(times.page_for(10_239), page(0, 0, 12_288, 12_288));
    assert_eq!(times.page_for(i64::MAX), page(1, 12_288, 12_288, 976 * 12));
}

#[test]
fn zero_tails_are_passed_over() {
    let entries = [at(3, 101).encode(), at(5, 501).encode()].concat();
    let file = validate_offset_file(&[entries.as_slice(), &[0; 80]].concat(), 502).unwrap();
    assert_eq!((file.entries, file.last), (2, Some(at(5, 501))));
    assert_eq!(validate_offset_file(&[], 0), Ok(OffsetIndexFile::default()));
    assert_eq!(
        validate_offset_file(&[0; 4096], 0),
        Ok(OffsetIndexFile::default())
    );
    let entries = [time(0, 0).encode(), time(7, 1).encode(), [0; 12]].concat();
    assert_eq!(validate_time_file(&entries, 1).unwrap().entries, 2);
}

#[test]
fn files_that_cannot_be_are_refused() {
    let offsets = |entries: &[OffsetEntry]| {
        let bytes: Vec<u8> = entries.iter().flat_map(OffsetEntry::encode).collect();
        validate_offset_file(&bytes, 1_000).map(|file| file.entries)
    };
    assert_eq!(offsets(&[at(1, 1), at(2, 999)]), Ok(2));
    assert_eq!(
        offsets(&[at(1, 1), at(1, 2)]),
        Err(IndexError::Order { entry: 1 })
    );
    assert_eq!(
        offsets(&[at(1, 1), at(2, 1)]),
        Err(IndexError::Order { entry: 1 })
    );
    assert_eq!(
        offsets(&[at(1, 1), at(0, 0), at(2, 2)]),
        Err(IndexError::Order { entry: 1 })
    );
    assert_eq!(offsets(&[at(1, 1_000)]), Err(IndexError::Range { entry: 0 }));
    assert_eq!(offsets(&[at(1 << 31, 1)]), Err(IndexError::Range { entry: 0 }));
    assert_eq!(
        validate_offset_file(&[0; 9], 0),
        Err(IndexError::Length {
            file_bytes: 9,
            entry_bytes: 8
        })
    );
    let times = |entries: &[TimeEntry]| {
        let bytes: Vec<u8> = entries.iter().flat_map(TimeEntry::encode).collect();
        validate_time_file(&bytes, 10).map(|file| file.entries)
    };
    assert_eq!(times(&[time(-5, 1), time(4, 1), time(5, 10)]), Ok(3));
    assert_eq!(
        times(&[time(5, 1), time(5, 2)]),
        Err(IndexError::Order { entry: 1 })
    );
    assert_eq!(
        times(&[time(5, 2), time(6, 1)]),
        Err(IndexError::Order { entry: 1 })
    );
    assert_eq!(times(&[time(5, 11)]), Err(IndexError::Range { entry: 0 }));
    assert_eq!(
        validate_time_file(&[0; 8], 0),
        Err(IndexError::Length {
            file_bytes: 8,
            entry_bytes: 12
        })
    );
}

#[test]
fn entries_not_handed_out_are_not_forgotten() {
    let mut index = SparseIndex::new(0);
    index.append(0, 0, 1, 0);
    index.append(1, 1, 1, 1);
    index.take_unwritten();
    index.append(2, 2, 1, 2);
    index.forget_written(u32::MAX, u32::MAX);
    assert_eq!(index.take_unwritten().offset_bytes, at(2, 2).encode());
    assert_eq!(index.lookup(2), Lookup::At(at(2, 2)));
    assert_eq!(index.lookup(0), Lookup::Start);
    assert!(matches!(
        index.lookup(1),
        Lookup::OnDisk(IndexPage { valid_bytes: 8, .. })
    ));
}

/// One step in the life of an active segment.
#[derive(Clone, Debug)]
enum Step {
    Append {
        offsets: u32,
        size_bytes: u32,
        timestamp_ms: i64,
    },
    Write,
    Forget,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let append =
        (1..5u32, 61..400u32, 1..5_000i64).prop_map(|(offsets, size_bytes, timestamp_ms)| Step::Append {
            offsets,
            size_bytes,
            timestamp_ms,
        });
    let step =
        prop_oneof![40 => append, 2 => Just(Step::Write), 2 => Just(Step::Forget), 1 => Just(Step::Restart)];
    prop::collection::vec(step, 0..3_000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn lookups_find_what_a_plain_search_finds(steps in steps(), targets in prop::collection::vec(0..8_000u32, 20)) {
        let mut index = SparseIndex::new(100);
        let mut files = Files::default();
        let (mut next_offset, mut position, mut since) = (0u32, 0u32, 0u32);
        let (mut offsets, mut times): (Vec<OffsetEntry>, Vec<TimeEntry>) = (Vec::new(), Vec::new());
        let mut largest: Option<TimeEntry> = None;
        for step in steps {
            match step {
                Step::Append { offsets: count, size_bytes, timestamp_ms } => {
                    let last = next_offset + count - 1;
                    if timestamp_ms > largest.map_or(-1, |l| l.timestamp_ms) {
                        largest = Some(time(timestamp_ms, last));
                    }
                    if since > 100 {
                        offsets.push(at(last, position));
                        times.extend(largest.filter(|l| times.last().is_none_or(|t| t.timestamp_ms < l.timestamp_ms)));
                        since = 0;
                    }
                    index.append(last, position, size_bytes, timestamp_ms);
                    (next_offset, position, since) = (last + 1, position + size_bytes, since + size_bytes);
                }
                Step::Write => files.write(&index.take_unwritten()),
                Step::Forget => {
                    files.write(&index.take_unwritten());
                    index.forget_written((files.offsets.len() / 8) as u32, (files.times.len() / 12) as u32);
                }
                Step::Restart => {
                    files.write(&index.take_unwritten());
                    let offset_file = validate_offset_file(&files.offsets, u64::from(position)).unwrap();
                    let time_file = validate_time_file(&files.times, next_offset.saturating_sub(1)).unwrap();
                    index = SparseIndex::resume(100, offset_file, time_file, largest);
                    since = 0;
                }
            }
        }
        prop_assert_eq!(index.offset_count() as usize, offsets.len());
        prop_assert_eq!(index.time_count() as usize, times.len());
        for target in targets {
            let plain = offsets.iter().rfind(|e| e.relative_offset <= target).copied();
            prop_assert_eq!(files.lookup(&index, target), plain);
            let plain = times.iter().rfind(|e| e.timestamp_ms <= i64::from(target)).copied();
            prop_assert_eq!(files.lookup_time(&index, i64::from(target)), plain);
        }
        files.write(&index.take_unwritten());
        prop_assert_eq!(files.offsets, offsets.iter().flat_map(OffsetEntry::encode).collect::<Vec<_>>());
        prop_assert_eq!(files.times, times.iter().flat_map(TimeEntry::encode).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_panics_on_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..100), target in any::<u32>()) {
        let _ = search_page(&bytes, target);
        let _ = search_time_page(&bytes, i64::from(target));
        let _ = validate_offset_file(&bytes[..bytes.len() / 8 * 8], u64::from(target));
        let _ = validate_time_file(&bytes[..bytes.len() / 12 * 12], target);
    }
}
