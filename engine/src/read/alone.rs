//! Reads past the cache: exactly what is wanted, into memory of its own.

use super::chunks::{ANSWER_BYTES, Demand};
use super::span::Span;
use super::walk::*;
use super::{ColdRead, Stage};
use crate::io::{ALIGN, Block, Io};
use crate::segment::Handle;
use crate::shard::{ReadError, ReadOutcome, ReadRequest, Shard};
use crate::tail::Place;

impl Shard {
    /// Reads the log at the read's position when it is its turn, opening its file first where necessary.
    pub(super) fn read_alone(&mut self, io: &mut dyn Io, mut read: ColdRead) -> ReadOutcome {
        match self.open_log(io, &read) {
            Some(Handle::Open(_)) => {}
            Some(_) => return ReadOutcome::Later,
            None => return self.out_of_range(&read),
        }
        let Some(log) = self.log(read.slot) else {
            return ReadOutcome::Error(ReadError::NoSuchPartition);
        };
        let from = read.position / ALIGN as u64 * ALIGN as u64;
        let limit = readable_end(log, read.segment_base);
        let end = limit.next_multiple_of(ALIGN as u64);
        let lead = (read.position - from) as usize;
        let most = read.request.max_bytes.min(ANSWER_BYTES - ALIGN);
        let len = (most.max(read.batch_bytes) + lead)
            .next_multiple_of(ALIGN)
            .min(end.saturating_sub(from) as usize);
        if len > io.memory().1 {
            let line = format!("a batch of {len} bytes is larger than all memory");
            return ReadOutcome::Error(ReadError::Io(line));
        }
        read.stage = Stage::ReadLog { from, limit };
        read.len = len;
        let id = self.reads.insert(read);
        self.reads.queue.demand.push_back(Demand::Alone(id));
        self.run_cold(io);
        ReadOutcome::Later
    }

    /// Bytes of the log arrived: answers, or reads on where the wanted batch is not among them.
    pub(super) fn alone_read(
        &mut self,
        io: &mut dyn Io,
        mut read: ColdRead,
        block: Block,
        result: std::io::Result<()>,
        from: u64,
        limit: u64,
    ) -> ReadOutcome {
        self.reads.queue.ended(block.capacity());
        let picked = match (self.log(read.slot), result) {
            // Its file may be another partition's by now.
            (Some(log), Ok(())) if log.state.segment(read.segment_base).is_none() => Err(out_of_range(log)),
            (Some(log), Ok(())) => pick_alone(log, &read, &block, from, limit),
            (None, _) => Err(ReadError::NoSuchPartition),
            (_, Err(e)) => Err(ReadError::Io(e.to_string())),
        };
        let (slices, picked) = match picked {
            Ok(Picked::Batches {
                start,
                end,
                next_offset,
            }) => {
                let lead = (read.position - from) as usize;
                let slice = block.slice(lead + start..lead + end);
                (vec![slice], Ok((end, next_offset)))
            }
            other => (Vec::new(), Err(other)),
        };
        self.reads.cache.lend(block);
        match picked {
            Ok((end, next_offset)) => {
                let place = Place {
                    position: read.position + end as u64,
                    ..read.place()
                };
                let Some(log) = self.log_mut(read.slot) else {
                    return ReadOutcome::Error(ReadError::NoSuchPartition);
                };
                log.cursors
                    .advance(read.request.offset, next_offset, place, io.now());
                let answer = data(log, slices);
                self.answer(io, read.slot, &read.request, answer, next_offset)
            }
            Err(Ok(Picked::ReadOn {
                skip,
                expected,
                batch_bytes,
            })) => {
                read.position += skip as u64;
                read.expected = expected;
                read.batch_bytes = batch_bytes;
                self.read_on(io, read)
            }
            Err(Ok(other)) => self.settle(io, &read, other),
            Err(Err(error)) => ReadOutcome::Error(error),
        }
    }

    /// Answers where no batch of the file is the answer.
    pub(super) fn settle(&mut self, io: &mut dyn Io, read: &ColdRead, picked: Picked) -> ReadOutcome {
        let Some(log) = self.log(read.slot) else {
            return ReadOutcome::Error(ReadError::NoSuchPartition);
        };
        match picked {
            Picked::InMemory(place) => self.tail_answer(io, read.slot, place, &read.request),
            Picked::Damaged { at, why } => ReadOutcome::Error(self.damaged(read, at, &why)),
            Picked::SegmentEnd => {
                let mut bases = log.state.segments.iter().map(|s| s.base_offset);
                match bases.find(|base| *base > read.segment_base) {
                    Some(base) if base < log.readable_to(read.request.isolation).0 => {
                        let request = ReadRequest {
                            offset: base.max(read.request.offset),
                            ..read.request
                        };
                        self.read(io, read.slot, request)
                    }
                    _ => ReadOutcome::Now(data(log, Vec::new())),
                }
            }
            Picked::TooLarge | Picked::Batches { .. } | Picked::ReadOn { .. } => {
                ReadOutcome::Now(data(log, Vec::new()))
            }
        }
    }
}

/// What the bytes in `block`, from position `from` on, hold for the read.
fn pick_alone(
    log: &crate::log::PartitionLog,
    read: &ColdRead,
    block: &Block,
    from: u64,
    limit: u64,
) -> Result<Picked, ReadError> {
    let now_limit = readable_end(log, read.segment_base);
    let have = (from + block.len() as u64).min(limit);
    let lead = (read.position - from) as usize;
    let bytes = block.bytes().get(lead..have.saturating_sub(from) as usize);
    let picked = pick(log, read, &Span::of(bytes.unwrap_or_default()), limit, now_limit);
    Ok(match picked {
        Picked::ReadOn {
            skip: 0, batch_bytes, ..
        } if batch_bytes <= read.batch_bytes && limit == now_limit => Picked::Damaged {
            at: 0,
            why: "the file is shorter than the log".to_owned(),
        },
        other => other,
    })
}
