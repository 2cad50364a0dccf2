//! The files of `/proc/PID` as values. Pure: text in, `None` for text of another form.

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `D`, `Z` (ended, not yet waited for)...
    pub state: u8,
    /// Its process group.
    pub group: u32,
    /// Processor time in user mode, in ticks.
    pub user_ticks: u64,
    /// Processor time in the kernel, in ticks.
    pub system_ticks: u64,
    /// When it began, in ticks since boot: with the process id, what tells two processes apart.
    pub started_ticks: u64,
}

impl Stat {
    /// Whether nothing of it runs any more.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// Reads `/proc/PID/stat`. The name in it is whatever the process chose, with blanks and brackets: the fields start behind the
/// last closing bracket.
pub fn parse_stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    // counted from the state, which the manual calls field 3
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let [state] = fields.first()?.as_bytes() else {
        return None;
    };
    Some(Stat {
        state: *state,
        group: u32::try_from(number(5)?).ok()?,
        user_ticks: number(14)?,
        system_ticks: number(15)?,
        started_ticks: number(22)?,
    })
}

/// What `/proc/PID/status` says about memory; zeroes for a process without memory of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub rss_bytes: u64,
    /// The most that was ever resident.
    pub peak_rss_bytes: u64,
}

/// Reads the memory lines of `/proc/PID/status`.
pub fn parse_memory(status: &str) -> Memory {
    let kib = |name| value(status, name).unwrap_or(0);
    Memory {
        rss_bytes: kib("VmRSS").saturating_mul(1024),
        peak_rss_bytes: kib("VmHWM").saturating_mul(1024),
    }
}

/// Voluntary and involuntary context switches of one thread, from its `/proc/PID/task/TID/status`.
pub fn parse_context_switches(status: &str) -> Option<u64> {
    let voluntary = value(status, "voluntary_ctxt_switches")?;
    voluntary.checked_add(value(status, "nonvoluntary_ctxt_switches")?)
}

/// What `/proc/PID/io` says about the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskBytes {
    /// Fetched from the disk.
    pub read_bytes: u64,
    /// Sent to the disk, or dirtied in the page cache and not taken back before they were.
    pub write_bytes: u64,
}

/// Reads `/proc/PID/io`.
pub fn parse_io(text: &str) -> Option<DiskBytes> {
    let cancelled = value(text, "cancelled_write_bytes").unwrap_or(0);
    Some(DiskBytes {
        read_bytes: value(text, "read_bytes")?,
        write_bytes: value(text, "write_bytes")?.saturating_sub(cancelled),
    })
}

/// The number in the line `name: number [unit]`.
fn value(text: &str, name: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str =
        "S 1 4242 4242 0 -1 4194560 1 2 3 4 1234 567 8 9 20 0 31 0 998877 123 456 18446744073709551615";

    #[test]
    fn the_name_of_a_process_hides_nothing() {
        let wanted = Some(Stat {
            state: b'S',
            group: 4242,
            user_ticks: 1234,
            system_ticks: 567,
            started_ticks: 998877,
        });
        for name in ["java", ") (", "a) Z 1 1 1 (", "((()", "", "x\ny"] {
            assert_eq!(parse_stat(&format!("77 ({name}) {REST}\n")), wanted, "{name}");
        }
    }

    #[test]
    fn a_stat_cut_short_or_of_nonsense_is_none() {
        let whole = format!("77 (x) {REST}");
        let last_needed = whole.find("998877").unwrap();
        for end in (0..=last_needed).filter(|end| whole.is_char_boundary(*end)) {
            assert_eq!(parse_stat(&whole[..end]), None, "{}", &whole[..end]);
        }
        assert_eq!(parse_stat(&format!("77 (x) S{REST}")), None);
        assert_eq!(parse_stat(&whole.replace("1234", "-1234")), None);
        assert_eq!(parse_stat(&whole.replace("4242", "99999999999")), None);
    }

    #[test]
    fn a_zombie_has_ended() {
        let stat = parse_stat(&format!("77 (x) {REST}").replacen('S', "Z", 1)).unwrap();
        assert!(stat.has_ended());
    }

    #[test]
    fn reads_memory_switches_and_disk_bytes() {
        let status = "Name:\tVmRSS: 9 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nvoluntary_ctxt_switches:\t40\n\
                      nonvoluntary_ctxt_switches:\t2\n";
        let memory = parse_memory(status);
        assert_eq!((memory.rss_bytes, memory.peak_rss_bytes), (1 << 20, 2 << 20));
        assert_eq!(parse_context_switches(status), Some(42));
        assert_eq!(parse_memory("State:\tZ (zombie)\n"), Memory::default());
        assert_eq!(parse_context_switches("voluntary_ctxt_switches:\t40\n"), None);
        let io = "rchar: 1\nwchar: 2\nread_bytes: 4096\nwrite_bytes: 10000\ncancelled_write_bytes: 1000\n";
        let bytes = parse_io(io).unwrap();
        assert_eq!((bytes.read_bytes, bytes.write_bytes), (4096, 9000));
        assert_eq!(parse_io("read_bytes: x\nwrite_bytes: 1\n"), None);
        assert_eq!(parse_io(""), None);
        assert_eq!(parse_memory("VmRSS: 18446744073709551615 kB").rss_bytes, u64::MAX);
    }
}
