//! The `.hlog` file: HdrHistogram's interval log, one line a tag and interval, readable by HdrHistogram's own tools.
//!
//! Values are nanoseconds. Interval starts count from the log's start time.

use std::io::Write;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::error::Error;

/// The column names HdrHistogram's own writer puts below its comments.
const LEGEND: &str =
    "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n";

/// A log being written.
pub struct HistogramLog<W: Write> {
    writer: W,
    serializer: V2DeflateSerializer,
}

impl<W: Write> HistogramLog<W> {
    /// Begins a log; `started` is what the intervals count from.
    ///
    /// # Errors
    /// When the header cannot be written.
    pub fn new(mut writer: W, started: SystemTime) -> Result<HistogramLog<W>, Error> {
        let mut serializer = V2DeflateSerializer::new();
        IntervalLogWriterBuilder::new()
            .add_comment("[Logged with ringlog-bench; values are nanoseconds]")
            .add_comment("[Histogram log format version 1.3]")
            .with_start_time(started)
            .begin_log_with(&mut writer, &mut serializer)
            .map(|_| ())
            .and_then(|()| writer.write_all(LEGEND.as_bytes()))
            .map_err(failed)?;
        Ok(HistogramLog { writer, serializer })
    }

    /// Adds what was recorded in the `length_s` seconds from `start_s` after the log's start.
    ///
    /// # Errors
    /// A tag with a comma, a space or a line end, a time that is negative or not finite, or a failed write.
    pub fn interval(
        &mut self,
        tag: &str,
        start_s: f64,
        length_s: f64,
        histogram: &Histogram<u64>,
    ) -> Result<(), Error> {
        let tag = Tag::new(tag)
            .ok_or_else(|| Error::failed(format!("{tag:?} cannot be a tag of a histogram log")))?;
        let (start, length) = (time(start_s)?, time(length_s)?);
        IntervalLogWriterBuilder::new()
            .begin_log_with(&mut self.writer, &mut self.serializer)
            .map_err(failed)?
            .write_histogram(histogram, start, length, Some(tag))
            .map_err(failed)
    }

    /// Flushes and gives the writer back.
    ///
    /// # Errors
    /// When flushing fails.
    pub fn finish(mut self) -> Result<W, Error> {
        self.writer.flush().map_err(failed)?;
        Ok(self.writer)
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::failed(format!("cannot write the histogram log: {error}"))
}

fn time(seconds: f64) -> Result<Duration, Error> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| Error::failed(format!("{seconds} s is no time for a histogram log")))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use base64::Engine as _;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::report::latency::new_histogram;

    #[test]
    fn the_crate_reads_it_back() {
        let mut ack = new_histogram();
        (1..1_000).for_each(|n| ack.saturating_record(n * 1_000));
        let started = UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
        let mut log = HistogramLog::new(Vec::new(), started).expect("begun");
        log.interval("ack", 0.0, 1.0, &ack).expect("written");
        log.interval("end_to_end", 1.0, 0.25, &new_histogram())
            .expect("written");
        let bytes = log.finish().expect("finished");

        let entries: Vec<_> = IntervalLogIterator::new(&bytes)
            .collect::<Result<_, _>>()
            .expect("parsed");
        assert_eq!(
            entries[0],
            LogEntry::StartTime(started.duration_since(UNIX_EPOCH).expect("after 1970"))
        );
        let LogEntry::Interval(first) = &entries[1] else {
            panic!("{:?}", entries[1])
        };
        assert_eq!(first.tag().map(|tag| tag.as_str()), Some("ack"));
        let encoded = base64::engine::general_purpose::STANDARD
            .decode(first.encoded_histogram())
            .expect("base64");
        assert_eq!(
            Deserializer::new()
                .deserialize::<u64, _>(&mut &encoded[..])
                .expect("decoded"),
            ack
        );
        let LogEntry::Interval(second) = &entries[2] else {
            panic!("{:?}", entries[2])
        };
        assert_eq!(second.start_timestamp(), Duration::from_secs(1));
        assert_eq!(second.duration(), Duration::from_millis(250));
        assert_eq!(entries.len(), 3);
    }

    #[test]
    fn what_would_break_the_format_is_refused() {
        let mut log = HistogramLog::new(Vec::new(), UNIX_EPOCH).expect("begun");
        let before = log.writer.len();
        assert!(log.interval("two words", 0.0, 1.0, &new_histogram()).is_err());
        assert!(log.interval("a,b", 0.0, 1.0, &new_histogram()).is_err());
        assert!(log.interval("ack", -1.0, 1.0, &new_histogram()).is_err());
        assert!(log.interval("ack", 0.0, f64::NAN, &new_histogram()).is_err());
        assert_eq!(log.writer.len(), before);
    }
}
