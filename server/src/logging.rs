//! The broker's own log: one line per event, on stderr, with a level.
//!
//! Lines look like `2026-01-31T12:00:00.123Z WARN core-0 what happened`. The level is process-wide and set once at
//! start; a line below it costs one relaxed load. Nothing here is on the path of a record.

use std::fmt::Arguments;
use std::io::Write;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// How much a line matters. Smaller is graver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Something was lost or refused that the operator must act on.
    Error = 0,
    /// Something is wrong that the broker copes with.
    Warn = 1,
    /// What an operator wants to have seen happen: start, stop, topics.
    Info = 2,
    /// Single connections and requests.
    Debug = 3,
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// Shows lines of this level and graver ones from now on.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// The level shown, by its name.
pub fn level_name() -> &'static str {
    let all = [Level::Error, Level::Warn, Level::Info, Level::Debug];
    let shown = all.into_iter().rfind(|level| enabled(*level));
    label(shown.unwrap_or(Level::Error))
}

/// Whether a line of this level would be shown.
pub fn enabled(level: Level) -> bool {
    level as u8 <= LEVEL.load(Ordering::Relaxed)
}

/// Writes one line, if its level is shown. Use the macros [`error!`](crate::error), [`warn!`](crate::warn),
/// [`info!`](crate::info) and [`debug!`](crate::debug).
pub fn write(level: Level, message: Arguments<'_>) {
    if !enabled(level) {
        return;
    }
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("-");
    let line = format!("{} {} {name} {message}\n", utc(SystemTime::now()), label(level));
    // A closed stderr must not take the broker down.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn label(level: Level) -> &'static str {
    match level {
        Level::Error => "ERROR",
        Level::Warn => "WARN",
        Level::Info => "INFO",
        Level::Debug => "DEBUG",
    }
}

/// RFC 3339 in UTC with milliseconds, without a calendar library: the civil-from-days rule of the proleptic
/// Gregorian calendar, counted in eras of 400 years that start on 1 March.
fn utc(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (since.as_secs(), since.subsec_millis());
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Logs a line at level error.
#[macro_export]
macro_rules! error { ($($part:tt)*) => { $crate::logging::write($crate::logging::Level::Error, format_args!($($part)*)) } }

/// Logs a line at level warn.
#[macro_export]
macro_rules! warn { ($($part:tt)*) => { $crate::logging::write($crate::logging::Level::Warn, format_args!($($part)*)) } }

/// Logs a line at level info.
#[macro_export]
macro_rules! info { ($($part:tt)*) => { $crate::logging::write($crate::logging::Level::Info, format_args!($($part)*)) } }

/// Logs a line at level debug.
#[macro_export]
macro_rules! debug { ($($part:tt)*) => { $crate::logging::write($crate::logging::Level::Debug, format_args!($($part)*)) } }

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
            (4_107_542_400_001, "2100-03-01T00:00:00.001Z"),
        ];
        for (millis, expected) in cases {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_millis(millis)), expected);
        }
    }
}
