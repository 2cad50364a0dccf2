//! Blocks, slices and the pool, without a kernel.

use super::pool::{ARENA_BYTES, WARM_ARENAS};
use super::*;

fn filled(pool: &mut Pool, class: Class, byte: u8) -> Block {
    let mut block = pool.block(class).expect("within budget");
    block.append(&vec![byte; class.bytes()]);
    block
}

#[test]
fn appends_until_full_and_slices_stay() {
    let mut pool = Pool::new(1 << 20);
    let mut block = pool.block(Class::Small).unwrap();
    assert_eq!(block.append(b"hello "), 6);
    let hello = block.slice(0..6);
    assert_eq!(block.append(b"world"), 5);
    assert_eq!(&*hello, b"hello ");
    assert_eq!(&*block.slice(0..11).sub(6..11), b"world");
    assert_eq!(block.append(&vec![1; 20_000]), (16 << 10) - 11);
    assert_eq!(block.remaining(), 0);
    drop(block);
    assert_eq!(&*hello, b"hello ");
}

#[test]
fn padding_is_overwritten_by_later_appends() {
    let mut pool = Pool::new(1 << 20);
    let mut block = pool.block(Class::Small).unwrap();
    block.append(b"abc");
    assert_eq!(block.pad_to_align(), ALIGN);
    let padded = block.slice_padded(0..ALIGN);
    assert_eq!((padded.len(), padded.padded_len(), block.len()), (3, ALIGN, 3));
    assert_eq!(&padded.to_padded_vec()[..5], b"abc\0\0");
    block.append(b"def");
    assert_eq!(&*padded, b"abc");
    assert_eq!(block.bytes(), b"abcdef");
}

#[test]
fn patches_only_what_no_slice_shows() {
    let mut pool = Pool::new(1 << 20);
    let mut block = pool.block(Class::Small).unwrap();
    block.append(b"0000body");
    block.patch(0, b"1234");
    let _seen = block.slice(0..8);
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| block.patch(4, b"x")));
    assert!(refused.is_err());
    assert_eq!(block.bytes(), b"1234body");
}

#[test]
fn resets_only_when_no_slice_is_left() {
    let mut pool = Pool::new(1 << 20);
    let mut block = pool.block(Class::Small).unwrap();
    block.append(b"abc");
    let slice = block.slice(0..3);
    assert!(!block.reset());
    drop(slice);
    assert!(block.reset() && block.is_empty());
}

#[test]
fn a_spent_budget_gives_none_until_something_returns() {
    let mut pool = Pool::new(1 << 20);
    let blocks: Vec<_> = std::iter::from_fn(|| pool.block(Class::Large)).collect();
    assert_eq!(blocks.len(), 4);
    assert!(pool.block(Class::Small).is_none() && pool.large_block(4096).is_none());
    assert_eq!(pool.memory(), (1 << 20, 1 << 20));
    drop(blocks);
    assert_eq!(pool.memory().0, 0);
    assert!(pool.large_block(600_000).is_some(), "the idle arena makes room");
    assert!(pool.block(Class::Huge).is_some());
}

#[test]
fn classes_share_an_arena_without_overlap() {
    let mut pool = Pool::new(2 << 20);
    let order = [
        Class::Small,
        Class::Large,
        Class::Medium,
        Class::Small,
        Class::Medium,
        Class::Large,
    ];
    let blocks: Vec<_> = order
        .iter()
        .zip(1u8..)
        .map(|(&class, byte)| filled(&mut pool, class, byte))
        .collect();
    assert_eq!(pool.resident_bytes(), ARENA_BYTES);
    for (block, byte) in blocks.iter().zip(1u8..) {
        assert!(block.bytes().iter().all(|&b| b == byte));
    }
}

#[test]
fn memory_comes_back_from_other_threads() {
    let mut pool = Pool::new(4 << 20);
    for round in 0..50u8 {
        let blocks: Vec<_> = (0..16).map(|_| filled(&mut pool, Class::Large, round)).collect();
        let threads: Vec<_> = blocks
            .into_iter()
            .map(|block| {
                let slice = block.slice(0..block.len());
                std::thread::spawn(move || slice.iter().all(|&b| b == round))
            })
            .collect();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
        assert_eq!(pool.memory().0, 0);
    }
    assert!(pool.resident_bytes() <= 4 << 20);
}

#[test]
fn idle_arenas_go_back_to_the_system() {
    let mut pool = Pool::new(64 << 20);
    let blocks: Vec<_> = (0..64).map(|_| filled(&mut pool, Class::Huge, 7)).collect();
    assert_eq!(pool.resident_bytes(), 64 << 20);
    drop(blocks);
    let block = pool.block(Class::Small).unwrap();
    assert!(pool.resident_bytes() <= (WARM_ARENAS + 1) << 20);
    drop(block);
    let again: Vec<_> = (0..64).map(|_| filled(&mut pool, Class::Huge, 9)).collect();
    assert!(again.iter().all(|block| block.bytes().iter().all(|&b| b == 9)));
}

#[test]
fn slices_outlive_their_pool() {
    let mut pool = Pool::new(1 << 20);
    let slice = filled(&mut pool, Class::Medium, 3).slice(0..10);
    drop(pool);
    assert_eq!(&*slice, &[3; 10]);
}

#[test]
fn picks_the_class_that_fits() {
    assert_eq!(Class::fitting(1), Some(Class::Small));
    assert_eq!(Class::fitting((64 << 10) + 1), Some(Class::Large));
    assert_eq!(Class::fitting((1 << 20) + 1), None);
}
