//! Responses of one connection, given back in the order of its requests.
//!
//! ```text
//!        first                           first + slots.len()
//!          v                                     v
//!   sent   | ready | waiting | ready | waiting   |  not asked yet
//! ```

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use ringlog_engine::io::Piece;

use super::timing::{Kind, Timed};

/// What a request came to.
#[derive(Debug)]
pub enum Answer {
    /// No response at all: produce with acks=0.
    Nothing,
    /// One whole response frame with its length.
    Bytes(Vec<u8>),
    /// A response frame in pieces; the length is in the first.
    Pieces(Vec<Piece>),
    /// Kafka closes the connection instead of answering.
    Close,
}

/// One request under way.
#[derive(Debug)]
struct Slot {
    frame_bytes: usize,
    timed: Timed,
    answer: Option<Answer>,
}

/// The responses due on one connection.
#[derive(Debug, Default)]
pub struct Answers {
    first: u64,
    slots: VecDeque<Slot>,
    frame_bytes: usize,
}

impl Answers {
    /// Notes a request of so many bytes; returns the number its answer is to be given for.
    pub fn open(&mut self, frame_bytes: usize, kind: Kind, began: Instant) -> u64 {
        self.slots.push_back(Slot {
            frame_bytes,
            timed: Timed {
                kind,
                began,
                answered: began,
            },
            answer: None,
        });
        self.frame_bytes += frame_bytes;
        self.first + self.slots.len() as u64 - 1
    }

    /// Fills the answer of one request. Its frame no longer counts. A second answer to the same request is ignored.
    pub fn fill(&mut self, number: u64, answer: Answer, now: Instant) -> bool {
        let Some(slot) = number
            .checked_sub(self.first)
            .and_then(|n| self.slots.get_mut(n as usize))
        else {
            return false;
        };
        if slot.answer.is_some() {
            return false;
        }
        slot.answer = Some(answer);
        slot.timed.answered = now;
        self.frame_bytes -= std::mem::take(&mut slot.frame_bytes);
        true
    }

    /// The next answer in order, if it is there.
    pub fn next_ready(&mut self) -> Option<(Answer, Timed)> {
        self.slots.front()?.answer.as_ref()?;
        self.first += 1;
        let slot = self.slots.pop_front()?;
        Some((slot.answer?, slot.timed))
    }

    /// Requests whose answer was not taken yet.
    pub fn open_requests(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of the frame of one request; 0 when it is answered.
    pub fn bytes_of(&self, number: u64) -> usize {
        let slot = number
            .checked_sub(self.first)
            .and_then(|at| self.slots.get(at as usize));
        slot.map_or(0, |slot| slot.frame_bytes)
    }

    /// Bytes of the frames that have no answer yet.
    pub fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }
}

/// Bytes up to which a piece of an answer is copied together with its neighbours rather than sent as it is: a slice keeps all of the block it
/// lies in, which may be two hundred times as large.
const COALESCE_BYTES: usize = 4096;

/// What is copied together goes out as a piece once it is so large.
const COPIED_TOGETHER_BYTES: usize = 64 << 10;

/// Answers in order, gathered until the socket can take them.
#[derive(Debug, Default)]
pub struct Outgoing {
    pieces: Vec<Piece>,
    /// Small answers that follow the pieces.
    small: Vec<u8>,
    bytes: usize,
    /// The part of them that is memory of its own, not the engine's.
    own_bytes: usize,
}

impl Outgoing {
    /// Adds one whole response.
    pub fn push(&mut self, answer: Answer) {
        match answer {
            Answer::Nothing | Answer::Close => {}
            Answer::Bytes(bytes) if bytes.len() <= COALESCE_BYTES && self.small.is_empty() => {
                self.bytes += bytes.len();
                self.own_bytes += bytes.len();
                self.small = bytes;
            }
            Answer::Bytes(bytes) => self.push_piece(Piece::Bytes(Bytes::from(bytes))),
            Answer::Pieces(pieces) => pieces.into_iter().for_each(|piece| self.push_piece(piece)),
        }
    }

    fn push_piece(&mut self, piece: Piece) {
        self.bytes += piece.len();
        if piece.len() > COALESCE_BYTES {
            self.own_bytes += own_bytes(&piece);
            self.seal_small();
            return self.pieces.push(piece);
        }
        self.own_bytes += piece.len();
        self.small.extend_from_slice(match &piece {
            Piece::Bytes(bytes) => bytes,
            Piece::Slice(slice) => slice,
        });
        if self.small.len() >= COPIED_TOGETHER_BYTES {
            self.seal_small();
        }
    }

    fn seal_small(&mut self) {
        if !self.small.is_empty() {
            self.pieces
                .push(Piece::Bytes(Bytes::from(std::mem::take(&mut self.small))));
        }
    }

    /// Takes the first pieces gathered, in order, with their number of bytes: no more of them than it takes to reach
    /// `most_bytes`.
    pub fn take(&mut self, most_bytes: usize) -> (Vec<Piece>, usize) {
        self.seal_small();
        let (mut count, mut bytes) = (0, 0);
        for piece in &self.pieces {
            if bytes >= most_bytes {
                break;
            }
            (count, bytes) = (count + 1, bytes + piece.len());
        }
        self.bytes -= bytes;
        self.own_bytes -= self.pieces[..count].iter().map(own_bytes).sum::<usize>();
        let rest = self.pieces.split_off(count);
        (std::mem::replace(&mut self.pieces, rest), bytes)
    }

    /// Bytes gathered.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes gathered that are memory of their own: not slices of what the engine has read or keeps.
    pub fn own_bytes(&self) -> usize {
        self.own_bytes
    }
}

/// Bytes of a piece that are not the engine's.
pub fn own_bytes(piece: &Piece) -> usize {
    match piece {
        Piece::Bytes(bytes) => bytes.len(),
        Piece::Slice(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(n: u8) -> Answer {
        Answer::Bytes(vec![n])
    }

    fn open(answers: &mut Answers, frame_bytes: usize) -> u64 {
        answers.open(frame_bytes, Kind::Produce, Instant::now())
    }

    fn fill(answers: &mut Answers, number: u64, answer: Answer) -> bool {
        answers.fill(number, answer, Instant::now())
    }

    fn drain(answers: &mut Answers) -> Vec<u8> {
        let mut out = Outgoing::default();
        while let Some((answer, _)) = answers.next_ready() {
            out.push(answer);
        }
        let (pieces, total) = out.take(usize::MAX);
        let flat: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| match piece {
                Piece::Bytes(b) => b.to_vec(),
                Piece::Slice(_) => vec![],
            })
            .collect();
        assert_eq!(flat.len(), total);
        flat
    }

    #[test]
    fn answers_leave_in_the_order_of_requests() {
        let mut answers = Answers::default();
        let numbers: Vec<u64> = (0..4).map(|n| open(&mut answers, n * 10)).collect();
        assert_eq!(answers.frame_bytes(), 60);
        assert!(fill(&mut answers, numbers[2], bytes(2)));
        assert!(fill(&mut answers, numbers[1], Answer::Nothing));
        assert!(drain(&mut answers).is_empty());
        assert!(fill(&mut answers, numbers[0], bytes(0)));
        assert_eq!(drain(&mut answers), [0, 2]);
        assert_eq!((answers.open_requests(), answers.frame_bytes()), (1, 30));
        assert!(fill(&mut answers, numbers[3], bytes(3)));
        assert_eq!(drain(&mut answers), [3]);
        assert_eq!((answers.open_requests(), answers.frame_bytes()), (0, 0));
    }

    #[test]
    fn late_and_second_answers_are_ignored() {
        let mut answers = Answers::default();
        let number = open(&mut answers, 1);
        assert!(fill(&mut answers, number, bytes(1)));
        assert!(!fill(&mut answers, number, bytes(2)));
        assert_eq!(drain(&mut answers), [1]);
        assert!(!fill(&mut answers, number, bytes(3)));
        assert!(!fill(&mut answers, number + 5, bytes(3)));
    }

    #[test]
    fn small_answers_share_a_piece_and_keep_their_place() {
        let mut out = Outgoing::default();
        out.push(bytes(1));
        out.push(bytes(2));
        out.push(Answer::Bytes(vec![3; COALESCE_BYTES + 1]));
        out.push(bytes(4));
        let (pieces, total) = out.take(usize::MAX);
        let lengths: Vec<usize> = pieces.iter().map(Piece::len).collect();
        assert_eq!(lengths, [2, COALESCE_BYTES + 1, 1]);
        assert_eq!(total, COALESCE_BYTES + 4);
        assert_eq!(out.bytes(), 0);
    }

    #[test]
    fn large_answers_leave_a_part_at_a_time() {
        let piece = |n: usize| Piece::Bytes(Bytes::from(vec![0; n * COALESCE_BYTES + 1]));
        let mut out = Outgoing::default();
        out.push(Answer::Pieces(vec![piece(9), piece(5), piece(6), piece(1)]));
        out.push(bytes(7));
        let mut taken = Vec::new();
        while out.bytes() > 0 {
            let (pieces, bytes) = out.take(8 * COALESCE_BYTES);
            assert_eq!(bytes, pieces.iter().map(Piece::len).sum::<usize>());
            taken.push((pieces.len(), out.bytes() / COALESCE_BYTES));
        }
        assert_eq!(taken, [(1, 12), (2, 1), (2, 0)]);
    }

    #[test]
    fn small_slices_let_go_of_their_blocks() {
        let mut pool = ringlog_engine::io::Pool::new(1 << 20);
        let mut slice = |n: usize| {
            let mut block = pool.block(ringlog_engine::io::Class::Small).expect("memory");
            block.append(&vec![n as u8; n]);
            Piece::Slice(block.slice(0..n))
        };
        let all = [3, COALESCE_BYTES, COALESCE_BYTES + 1, 5].map(&mut slice);
        let mut out = Outgoing::default();
        out.push(Answer::Pieces(all.into()));
        assert_eq!(pool.memory().0, ringlog_engine::io::Class::Small.bytes());
        assert_eq!(
            (out.own_bytes(), out.bytes()),
            (COALESCE_BYTES + 8, COALESCE_BYTES * 2 + 9)
        );
        let (pieces, total) = out.take(usize::MAX);
        let lengths: Vec<usize> = pieces.iter().map(Piece::len).collect();
        assert_eq!(lengths, [COALESCE_BYTES + 3, COALESCE_BYTES + 1, 5]);
        assert_eq!((total, out.own_bytes()), (COALESCE_BYTES * 2 + 9, 0));
    }

    #[test]
    fn what_is_copied_together_is_bounded() {
        let mut out = Outgoing::default();
        (0..40).for_each(|_| out.push(Answer::Bytes(vec![0; COALESCE_BYTES])));
        let (pieces, _) = out.take(usize::MAX);
        let most = COPIED_TOGETHER_BYTES + COALESCE_BYTES;
        assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.len() < most));
    }
}
