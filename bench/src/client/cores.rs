//! The one request that is Ringlog's own, by hand: what each core of the broker has done since it started
//! (`RinglogDescribeCores`, key 31000, version 0, flexible). Other brokers close the connection on it.
//!
//! ```text
//! request:  max_partitions i32, tags
//! response: error i16, message?, cores [ core i32, uptime_ns i64, cpu_ns i64, connections i32, partitions i32,
//!             counters [ name, value i64, tags ], stages [ name, sum_ns i64, buckets [ largest_ns i64, count i64, tags ], tags ],
//!             partitions [ topic, index i32, five i64, tags ], tags ], tags
//! ```
//!
//! Every count is checked against the bytes that are left before anything is kept for it.

use std::collections::BTreeMap;

use super::connection::CLIENT_ID;

const KEY: i16 = 31_000;
const VERSION: i16 = 0;

/// One core's counts since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoreCounts {
    /// Its number.
    pub core: i32,
    /// How long it has run.
    pub uptime_ns: u64,
    /// Processor time of its thread.
    pub cpu_ns: u64,
    /// Connections now.
    pub connections: u32,
    /// Partitions now.
    pub partitions: u32,
    /// Counters by name.
    pub counters: BTreeMap<String, u64>,
    /// Durations by stage, in the broker's order.
    pub stages: Vec<StageCounts>,
}

/// One stage's durations since the core started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageCounts {
    /// What the broker calls it.
    pub name: String,
    /// Sum of the durations.
    pub sum_ns: u64,
    /// Largest duration of a bucket in nanoseconds -> count.
    pub buckets: BTreeMap<u64, u64>,
}

/// The frame that asks, with its length; partitions are not asked for.
pub fn encode(correlation_id: i32) -> Vec<u8> {
    let mut frame = vec![0; 4];
    frame.extend_from_slice(&KEY.to_be_bytes());
    frame.extend_from_slice(&VERSION.to_be_bytes());
    frame.extend_from_slice(&correlation_id.to_be_bytes());
    frame.extend_from_slice(&(CLIENT_ID.len() as i16).to_be_bytes());
    frame.extend_from_slice(CLIENT_ID.as_bytes());
    // tags of the header, no partitions, tags of the body
    frame.extend_from_slice(&[0, 0, 0, 0, 0, 0]);
    let length = frame.len() as u32 - 4;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// The answer, without its length; `None` when it is refused or is none.
pub fn decode(frame: &[u8], correlation_id: i32) -> Option<Vec<CoreCounts>> {
    let mut from = Reader(frame);
    let fits = from.i32()? == correlation_id && from.tags().is_some();
    if !fits || from.i16()? != 0 {
        return None;
    }
    from.text()?;
    let cores = from.list(Reader::core)?;
    from.tags()?;
    from.0.is_empty().then_some(cores)
}

/// The bytes that are left.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn i16(&mut self) -> Option<i16> {
        self.fixed().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.fixed().map(i32::from_be_bytes)
    }

    /// A count that is not negative.
    fn count(&mut self) -> Option<u64> {
        u64::try_from(self.fixed().map(i64::from_be_bytes)?).ok()
    }

    fn uvarint(&mut self) -> Option<u32> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.fixed()?;
            value |= u32::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A string, or the null that stands for none.
    fn text(&mut self) -> Option<String> {
        let Some(bytes) = self.uvarint()?.checked_sub(1) else {
            return Some(String::new());
        };
        String::from_utf8(self.take(bytes as usize)?.to_vec()).ok()
    }

    fn tags(&mut self) -> Option<()> {
        for _ in 0..self.uvarint()? {
            self.uvarint()?;
            let bytes = self.uvarint()?;
            self.take(bytes as usize)?;
        }
        Some(())
    }

    /// Elements, each of which is at least a byte long.
    fn list<T>(&mut self, element: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.uvarint()?.checked_sub(1)? as usize;
        if count > self.0.len() {
            return None;
        }
        (0..count).map(|_| element(self)).collect()
    }

    fn core(&mut self) -> Option<CoreCounts> {
        let core = CoreCounts {
            core: self.i32()?,
            uptime_ns: self.count()?,
            cpu_ns: self.count()?,
            connections: u32::try_from(self.i32()?).ok()?,
            partitions: u32::try_from(self.i32()?).ok()?,
            counters: self.list(Self::counter)?.into_iter().collect(),
            stages: self.list(Self::stage)?,
        };
        self.list(Self::partition)?;
        self.tags()?;
        Some(core)
    }

    fn counter(&mut self) -> Option<(String, u64)> {
        let counter = (self.text()?, self.count()?);
        self.tags()?;
        Some(counter)
    }

    fn stage(&mut self) -> Option<StageCounts> {
        let stage = StageCounts {
            name: self.text()?,
            sum_ns: self.count()?,
            buckets: self.list(Self::bucket)?.into_iter().collect(),
        };
        self.tags()?;
        Some(stage)
    }

    fn bucket(&mut self) -> Option<(u64, u64)> {
        let bucket = (self.count()?, self.count()?);
        self.tags()?;
        Some(bucket)
    }

    fn partition(&mut self) -> Option<()> {
        self.text()?;
        self.take(4 + 5 * 8)?;
        self.tags()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A response with one core, one counter, one stage of two buckets, one partition.
    fn answer() -> Vec<u8> {
        let mut frame = Vec::new();
        let long = |frame: &mut Vec<u8>, value: i64| frame.extend_from_slice(&value.to_be_bytes());
        frame.extend_from_slice(&[0, 0, 0, 9, 0, 0, 0, 0, 2]);
        frame.extend_from_slice(&[0, 0, 0, 1]);
        long(&mut frame, 5_000);
        long(&mut frame, 4_000);
        frame.extend_from_slice(&[0, 0, 0, 3, 0, 0, 0, 2]);
        frame.extend_from_slice(b"\x02\x07enters");
        long(&mut frame, 70);
        frame.extend_from_slice(b"\0\x02\x07commit");
        long(&mut frame, 900);
        frame.push(3);
        for value in [127, 2, 255, 3] {
            long(&mut frame, value);
            if value < 127 {
                frame.push(0);
            }
        }
        frame.extend_from_slice(b"\0\x02\x02t\0\0\0\x04");
        (0..5).for_each(|value| long(&mut frame, value));
        // tags of the partition; of the core, one of them known to nobody; of the response
        frame.extend_from_slice(&[0, 1, 9, 2, 8, 8, 0]);
        frame
    }

    #[test]
    fn an_answer_is_taken_apart() {
        let cores = decode(&answer(), 9).expect("an answer");
        let stage = StageCounts {
            name: "commit".to_owned(),
            sum_ns: 900,
            buckets: BTreeMap::from([(127, 2), (255, 3)]),
        };
        let core = CoreCounts {
            core: 1,
            uptime_ns: 5_000,
            cpu_ns: 4_000,
            connections: 3,
            partitions: 2,
            counters: BTreeMap::from([("enters".to_owned(), 70)]),
            stages: vec![stage],
        };
        assert_eq!(cores, [core]);
    }

    #[test]
    fn what_is_no_answer_is_none() {
        let good = answer();
        assert_eq!(decode(&good, 8), None);
        for end in 0..good.len() {
            assert_eq!(decode(&good[..end], 9), None, "{end} bytes");
        }
        assert_eq!(decode(&[good.clone(), vec![0]].concat(), 9), None);
        let mut refused = good.clone();
        refused[6] = 42;
        assert_eq!(decode(&refused, 9), None);
        // four thousand million cores in a few bytes
        assert_eq!(
            decode(&[0, 0, 0, 9, 0, 0, 0, 0, 255, 255, 255, 255, 15, 0], 9),
            None
        );
    }

    #[test]
    fn a_request_is_a_frame() {
        let frame = encode(7);
        assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());
        assert_eq!(frame[4..12], [0x79, 0x18, 0, 0, 0, 0, 0, 7]);
        assert!(frame.ends_with(b"ringlog-bench\0\0\0\0\0\0"));
    }
}
