//! A stretch of log that lies in several pieces of memory, one behind the other, some of it checked before. Pure.

use std::ops::Range;

use crate::batch::{self, BatchError, BatchHeader, HEADER_BYTES};

/// One piece of a [`Span`].
#[derive(Clone, Debug)]
pub(super) struct Part<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// The part of them that belongs to batches found good before; counted from the front of `bytes`.
    pub verified: Range<usize>,
}

/// See the module's text. Positions are counted from the first byte of the first part.
#[derive(Clone, Debug, Default)]
pub(super) struct Span<'a> {
    /// With the position each starts at.
    parts: Vec<(usize, Part<'a>)>,
    len: usize,
}

impl<'a> Span<'a> {
    /// One piece, nothing of it checked.
    pub fn of(bytes: &'a [u8]) -> Span<'a> {
        let mut span = Span::default();
        span.push(Part {
            bytes,
            verified: 0..0,
        });
        span
    }

    /// Adds a piece behind the last.
    pub fn push(&mut self, part: Part<'a>) {
        let start = self.len;
        self.len += part.bytes.len();
        self.parts.push((start, part));
    }

    /// Bytes of all pieces.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The parts that hold some of `range`, with the position each starts at.
    fn over(&self, range: Range<usize>) -> impl Iterator<Item = &(usize, Part<'a>)> {
        let first = self
            .parts
            .partition_point(|(start, p)| start + p.bytes.len() <= range.start);
        self.parts[first..]
            .iter()
            .take_while(move |(start, _)| *start < range.end)
    }

    /// The bytes of `range`, piece by piece.
    fn pieces(&self, range: Range<usize>) -> impl Iterator<Item = &'a [u8]> {
        let (from, to) = (range.start, range.end);
        self.over(range).map(move |(start, part)| {
            &part.bytes[from.saturating_sub(*start)..(to - start).min(part.bytes.len())]
        })
    }

    /// The bytes from `at` on, as many as a batch's header has or as there are.
    pub fn head<'b>(&self, at: usize, copy: &'b mut [u8; HEADER_BYTES]) -> &'b [u8]
    where
        'a: 'b,
    {
        let end = (at + HEADER_BYTES).min(self.len);
        let mut filled = 0;
        for piece in self.pieces(at..end) {
            if filled == 0 && piece.len() == end - at {
                return piece;
            }
            copy[filled..filled + piece.len()].copy_from_slice(piece);
            filled += piece.len();
        }
        &copy[..filled]
    }

    /// Whether all of `range` belongs to batches found good before.
    pub fn is_verified(&self, range: Range<usize>) -> bool {
        self.over(range.clone()).all(|(start, part)| {
            let from = range.start.saturating_sub(*start);
            let to = (range.end - start).min(part.bytes.len());
            part.verified.start <= from && to <= part.verified.end
        })
    }

    /// Checks the batch that takes exactly `range`.
    pub fn check(&self, range: Range<usize>) -> Result<BatchHeader, BatchError> {
        let pieces: Vec<&[u8]>;
        let mut iter = self.pieces(range.clone());
        match iter.next() {
            Some(whole) if whole.len() == range.len() => batch::check_stored(whole),
            Some(first) => {
                pieces = std::iter::once(first).chain(iter).collect();
                batch::check_stored_pieces(&pieces)
            }
            None => batch::check_stored(&[]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchBuilder;

    /// The bytes cut at each of `cuts`.
    fn cut<'a>(bytes: &'a [u8], cuts: &[usize]) -> Span<'a> {
        let mut span = Span::default();
        let ends = cuts.iter().copied().chain([bytes.len()]);
        let mut from = 0;
        for to in ends {
            span.push(Part {
                bytes: &bytes[from..to],
                verified: 0..0,
            });
            from = to;
        }
        span
    }

    #[test]
    fn a_batch_is_the_same_wherever_it_is_cut() {
        let batch = BatchBuilder::new().record(0, None, Some(&[7; 40])).finish();
        let bytes = [batch.clone(), batch.clone()].concat();
        let whole = batch::check_stored(&batch).unwrap_or_else(|e| panic!("{e}"));
        for first in 0..bytes.len() {
            for second in [first, (first + 9).min(bytes.len())] {
                let span = cut(&bytes, &[first, second]);
                assert_eq!(span.len(), bytes.len());
                for at in [0, batch.len()] {
                    let mut copy = [0; HEADER_BYTES];
                    assert_eq!(span.head(at, &mut copy), &batch[..HEADER_BYTES]);
                    assert_eq!(
                        span.check(at..at + batch.len()),
                        Ok(whole),
                        "cut at {first}, {second}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_seen_in_every_piece() {
        let batch = BatchBuilder::new().record(0, None, Some(&[7; 40])).finish();
        for at in 16..batch.len() {
            let mut bytes = batch.clone();
            bytes[at] ^= 1;
            assert!(cut(&bytes, &[30, 70]).check(0..bytes.len()).is_err(), "byte {at}");
        }
    }

    #[test]
    fn only_what_every_piece_has_checked_counts_as_checked() {
        let bytes = [0; 30];
        let mut span = Span::default();
        for verified in [4..10, 0..10, 0..6] {
            span.push(Part {
                bytes: &bytes[..10],
                verified,
            });
        }
        for (range, is) in [
            (4..26, true),
            (3..26, false),
            (4..27, false),
            (12..18, true),
            (26..27, false),
        ] {
            assert_eq!(span.is_verified(range.clone()), is, "{range:?}");
        }
    }
}
