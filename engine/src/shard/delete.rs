//! Deleting from the front: the log start moves at once, and the files go out of sight once a checkpoint does without them. They are removed
//! after the topic's delay.

use super::{AppendError, Doomed, Shard, ShardEvent, Slot, Ticket, open_file};
use crate::background::{FileJob, JobOutput};
use crate::error::Error;
use crate::io::Io;
use crate::journal::format::{Entry, EntryKind};
use crate::ops::Op;

impl Shard {
    /// Moves the log start up to `offset` (at most the high watermark; lower changes nothing) and removes the segments
    /// wholly below it. Durable once the ticket is committed.
    pub fn delete_records(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        offset: i64,
    ) -> Result<(i64, Ticket), AppendError> {
        let result = self.try_delete_records(io, slot, offset);
        self.refusal(result)
    }

    fn try_delete_records(
        &mut self,
        io: &mut dyn Io,
        slot: Slot,
        offset: i64,
    ) -> Result<(i64, Ticket), AppendError> {
        let log = self.log(slot).ok_or(AppendError::NoSuchPartition)?;
        let offset = offset.min(log.committed_offset);
        if offset <= log.state.log_start_offset {
            // Perhaps moved there a moment ago: as durable as that move is.
            return Ok((log.state.log_start_offset, log.log_start_ticket));
        }
        let needed = Entry::size_bytes(log.state.name.len(), 0);
        if self.handovers.holds(slot) {
            return Err(AppendError::Busy);
        }
        self.make_room(io, needed)?;
        let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
            return Err(AppendError::NoSuchPartition);
        };
        let entry = Entry {
            kind: EntryKind::LogStart,
            name: &log.state.name,
            topic_id: log.state.topic_id,
            segment_base: 0,
            position: 0,
            base_offset: offset,
            data: &[],
        };
        self.entry_head.clear();
        entry.write_head(&mut self.entry_head);
        let ticket = self
            .journal
            .append(io, &self.entry_head, &[], log.options.durability, None)?;
        log.state.start_at(offset);
        log.log_start_ticket = ticket;
        log.dirty = true;
        self.events.push(ShardEvent::Shortened(slot));
        self.checkpointer.note_append(io.now());
        self.remove_old_segments(slot);
        Ok((offset, ticket))
    }

    /// Takes the sealed segments below the log start out of the log. Their files stay until a checkpoint says that the log
    /// starts behind them: a restart finds what its checkpoint speaks of.
    pub(crate) fn remove_old_segments(&mut self, slot: Slot) {
        // The cleaner reads them; they go when it is done.
        if self.cleaning.has(slot) {
            return;
        }
        let Some(log) = self.logs.get_mut(slot.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        let start = log.state.log_start_offset;
        let mut base_offsets = Vec::new();
        while log.state.segments.len() > 1
            && log.state.segments[1].base_offset <= start
            && log.state.segments[0].phase == crate::segment::Phase::Sealed
        {
            let Some(old) = log.state.segments.pop_front() else {
                break;
            };
            base_offsets.push(old.base_offset);
            if let Some(file) = open_file(old.handle) {
                self.closing.push(file);
            }
        }
        if base_offsets.is_empty() {
            return;
        }
        log.dirty = true;
        self.forget_chunks(|key| key.slot == slot && base_offsets.contains(&key.segment_base));
        let checkpoint = self.checkpointer.next_number();
        self.doomed.push(Doomed {
            checkpoint,
            slot,
            base_offsets,
        });
        self.checkpointer.want();
    }

    /// Files of segments are out of sight, and go after their delay. Those that still have their names stay among the doomed: without a word of
    /// the log start the next start would find them.
    pub(crate) fn segments_hidden(
        &mut self,
        io: &dyn Io,
        slot: Slot,
        base_offsets: &[i64],
        result: Result<JobOutput, Error>,
    ) {
        let files = match result {
            Ok(JobOutput::Hidden(files)) => files,
            result => return self.note_error("old segments stay", result),
        };
        self.doomed
            .retain(|d| (d.slot, &*d.base_offsets) != (slot, base_offsets));
        self.retention_goes_on(slot);
        // Of a partition that went elsewhere the new owner hides them once more, and has them removed.
        let Some(log) = self.log(slot).filter(|_| !files.is_empty()) else {
            return;
        };
        let delay = log.options.file_delete_delay;
        let token = self.ops.start(Op::RemoveFiles);
        self.submit_job(io, token, FileJob::RemoveFiles { files, delay });
    }

    /// The checkpoint of this number is on disk: what it does without goes. A clean stop may come before all of it is gone.
    pub(crate) fn remove_doomed(&mut self, io: &dyn Io, checkpoint: u64) {
        let mut jobs = Vec::new();
        for doomed in &mut self.doomed {
            if doomed.checkpoint <= checkpoint {
                doomed.checkpoint = u64::MAX;
                jobs.push((doomed.slot, doomed.base_offsets.clone()));
            }
        }
        for (slot, base_offsets) in jobs {
            let Some(folder) = self.log(slot).map(|l| l.folder.clone()) else {
                continue;
            };
            let token = self.ops.start(Op::HideSegments(slot, base_offsets.clone()));
            self.submit_job(io, token, FileJob::HideSegments { folder, base_offsets });
        }
    }
}
