//! Logs that no broker wrote, or that a disk has changed since.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::error::Error;

/// What a pass says about damage: file and text.
fn damage(world: &World) -> (String, String) {
    let result = world.try_clean();
    assert_eq!(world.unfinished(), 0, "nothing is left of a pass that failed");
    match result {
        Err(CleanError::Failed(Error::Corrupt { path, detail })) => {
            let name = Path::new(&path).file_name().unwrap();
            (name.to_string_lossy().into_owned(), detail)
        }
        other => panic!("{other:?}"),
    }
}

/// Segments of which the first needs cleaning, and the second begins with a sound batch of so many bytes.
fn world() -> (World, usize) {
    let world = World::of_keys(&[&["a", "a"], &["b", "c", "b"]]);
    let sound = BatchHeader::read(&world.segments[&2]).unwrap().size_bytes();
    (world, sound)
}

#[test]
fn a_wrong_checksum_is_told_with_file_and_position() {
    let (mut world, sound) = world();
    *world.segments.get_mut(&2).unwrap().last_mut().unwrap() ^= 1;
    let (file, detail) = damage(&world);
    assert_eq!(file, "00000000000000000002.log");
    assert!(
        detail.starts_with(&format!("at byte {}: ", sound * 2)),
        "{detail}"
    );
}

#[test]
fn a_batch_cut_short_is_told_with_file_and_position() {
    let (mut world, sound) = world();
    for bytes in [sound + 5, sound + 30, sound * 2 - 1] {
        world.segments.get_mut(&2).unwrap().truncate(bytes.max(sound));
        let bytes = world.segments[&2][..sound + 5].to_vec();
        world.segments.insert(2, bytes);
        let (file, detail) = damage(&world);
        assert_eq!(file, "00000000000000000002.log");
        assert_eq!(detail, format!("at byte {sound}: a batch is cut short"));
        world.segments = self::world().0.segments;
    }
}

#[test]
fn a_file_shorter_than_its_segment_is_damage() {
    let (world, sound) = world();
    let mut order = world.order();
    order.segments[1].size_bytes += 100;
    let size = order.segments[1].size_bytes - 100;
    match world.run(order) {
        Err(CleanError::Failed(Error::Corrupt { detail, .. })) => {
            assert!(detail.contains("a batch is cut short"), "{detail} {size} {sound}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn zeroes_in_a_sealed_segment_are_damage() {
    let (mut world, _) = world();
    world.segments.get_mut(&2).unwrap().extend([0; 100]);
    assert!(damage(&world).1.starts_with("at byte "));
}

#[test]
fn offsets_that_go_back_are_damage() {
    let (mut world, sound) = world();
    let bytes = world.segments.get_mut(&2).unwrap();
    bytes.copy_within(..sound, sound);
    let (_, detail) = damage(&world);
    assert_eq!(
        detail,
        format!("at byte {sound}: its offsets are not behind those before")
    );
}

#[test]
fn a_batch_that_unpacks_to_more_than_the_limit_ends_the_pass() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut world = World::of_keys(&[&["a", "a"]]);
        let value = "x".repeat(100_000);
        world.append(How { codec, ..PLAIN }, &[record("bomb", Some(&value), NOW_MS)]);
        world.roll();
        (world.limits.max_message_bytes, world.settings.max_unpacked_bytes) = (1000, 90_000);
        assert!(damage(&world).1.contains("unpacks to more than 90000 bytes"));
        world.settings.max_unpacked_bytes = 200_000;
        assert!(world.try_clean().is_ok());
    }
}

#[test]
fn records_that_are_no_records_end_the_pass() {
    let mut broken = batch(PLAIN, &[record("a", Some("1"), NOW_MS)]);
    *broken.get_mut(HEADER_BYTES).unwrap() = 0x7f;
    change(&mut broken, |_| ());
    let mut too_few = batch(PLAIN, &[record("a", Some("1"), NOW_MS)]);
    change(&mut too_few, |header| {
        (header.record_count, header.last_offset_delta) = (2, 1)
    });
    let mut negative = batch(PLAIN, &[record("a", Some("1"), NOW_MS)]);
    change(&mut negative, |header| header.record_count = i32::MIN);
    let mut outside = batch(
        PLAIN,
        &[record("a", Some("1"), NOW_MS), record("b", Some("1"), NOW_MS)],
    );
    change(&mut outside, |header| header.last_offset_delta = 0);
    let mut unknown = batch(PLAIN, &[record("a", Some("1"), NOW_MS)]);
    change(&mut unknown, |header| header.attributes |= 7);
    for bytes in [broken, too_few, negative, outside, unknown] {
        let mut world = World::of_keys(&[&["a", "a"]]);
        world.append_bytes(bytes);
        world.roll();
        assert_eq!(damage(&world).0, "00000000000000000002.log");
    }
}

#[test]
fn a_batch_larger_than_every_buffer_is_read_and_written() {
    let mut world = World::of_keys(&[&["a", "a"]]);
    world.limits.max_message_bytes = 10;
    let value = "x".repeat(300_000);
    world.append(
        PLAIN,
        &[
            record("large", Some(&value), NOW_MS),
            record("a", Some("1"), NOW_MS),
        ],
    );
    world.put("b", Some("1"));
    world.append(PLAIN, &[record("large", Some("now small"), NOW_MS)]);
    world.roll();
    world.clean();
    let keys: Vec<i64> = world.seen().iter().map(|seen| seen.0).collect();
    assert_eq!(keys, [3, 4, 5]);
}

#[test]
fn a_missing_file_is_the_system_s_error() {
    let (world, _) = world();
    let order = world.order();
    std::fs::remove_file(world.path(2, ".log")).unwrap();
    assert!(matches!(
        world.run(order),
        Err(CleanError::Failed(Error::Io { .. }))
    ));
    assert_eq!(world.unfinished(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_logs_never_panic(at in 0usize..300, byte in any::<u8>(), fixes_crc in any::<bool>()) {
        let mut world = World::new();
        world.append(transactional(7, 0), &[record("a", Some("1"), NOW_MS), record("b", None, NOW_MS)]);
        world.end(7, MarkerKind::Abort);
        world.put("a", Some("2"));
        world.roll();
        let bytes = world.segments.get_mut(&0).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        let mut front = 0;
        while fixes_crc && front < bytes.len() {
            let Some(header) = BatchHeader::read(&bytes[front..]) else { break };
            let size = header.size_bytes();
            if size < HEADER_BYTES || front + size > bytes.len() {
                break;
            }
            change(&mut bytes[front..front + size], |_| ());
            front += size;
        }
        if world.try_clean().is_err() {
            prop_assert_eq!(world.unfinished(), 0);
        }
    }
}
