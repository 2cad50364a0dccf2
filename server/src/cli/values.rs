//! Values of single options, parsed from text: pairs, start positions, acks, seconds.

use std::str::FromStr;
use std::time::Duration;

/// A setting, `key=value`; the value may be empty and may contain `=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigPair {
    /// Before the first `=`, trimmed.
    pub key: String,
    /// After it.
    pub value: String,
}

impl FromStr for ConfigPair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => Ok(Self {
                key: key.trim().to_owned(),
                value: value.to_owned(),
            }),
            _ => Err("expected KEY=VALUE".to_owned()),
        }
    }
}

/// A record header, `key=value`, or `key` alone for a null value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderPair {
    /// Before the first `=`.
    pub key: String,
    /// After it; `None` is a null value.
    pub value: Option<String>,
}

impl FromStr for HeaderPair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.split_once('=') {
            Some((key, value)) => Self {
                key: key.to_owned(),
                value: Some(value.to_owned()),
            },
            None => Self {
                key: text.to_owned(),
                value: None,
            },
        })
    }
}

/// Where a consumer starts in each partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// The first offset still kept.
    Beginning,
    /// After the last record.
    End,
    /// This offset.
    Offset(i64),
    /// This many offsets before the end.
    Last(i64),
    /// The first record whose timestamp is at or after this, ms since 1970.
    TimestampMs(i64),
}

impl FromStr for StartAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| digits.parse::<Natural>().map(|n| n.0);
        let parsed = match text {
            "beginning" | "start" | "earliest" => Ok(Self::Beginning),
            "end" | "latest" => Ok(Self::End),
            _ => match text.as_bytes().first() {
                Some(b'@') => number(&text[1..]).map(Self::TimestampMs),
                Some(b'-') => number(&text[1..]).map(Self::Last),
                _ => number(text).map(Self::Offset),
            },
        };
        parsed.map_err(|()| "expected beginning, end, an offset, -N or @TIMESTAMP_MS".to_owned())
    }
}

/// A non-negative i64, without the signs `i64::from_str` would accept.
struct Natural(i64);

impl FromStr for Natural {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(());
        }
        text.parse().map(Self).map_err(|_| ())
    }
}

/// `all`, `-1`, `1` or `0`, as Kafka's number.
pub fn parse_acks(text: &str) -> Result<i16, String> {
    match text {
        "all" | "-1" => Ok(-1),
        "1" => Ok(1),
        "0" => Ok(0),
        _ => Err("expected all, 1 or 0".to_owned()),
    }
}

/// Seconds, fractions allowed, between 1 ms and a day.
pub fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected seconds".to_owned())?;
    if !(0.001..=86_400.0).contains(&seconds) {
        return Err("expected 0.001 to 86400 seconds".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_positions() {
        let cases = [
            ("beginning", Some(StartAt::Beginning)),
            ("end", Some(StartAt::End)),
            ("0", Some(StartAt::Offset(0))),
            ("9223372036854775807", Some(StartAt::Offset(i64::MAX))),
            ("-3", Some(StartAt::Last(3))),
            ("@1700000000000", Some(StartAt::TimestampMs(1_700_000_000_000))),
            ("9223372036854775808", None),
            ("--3", None),
            ("@-3", None),
            ("+3", None),
            ("", None),
            ("@", None),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<StartAt>().ok(), expected, "{text}");
        }
    }

    #[test]
    fn pairs_keep_later_equal_signs() {
        let pair: ConfigPair = "a=b=c".parse().expect("pair");
        assert_eq!((pair.key.as_str(), pair.value.as_str()), ("a", "b=c"));
        assert!("=b".parse::<ConfigPair>().is_err());
        assert_eq!("k".parse::<HeaderPair>().expect("header").value, None);
    }

    #[test]
    fn seconds_are_bounded() {
        assert_eq!(parse_seconds("1.5"), Ok(Duration::from_millis(1500)));
        assert!(parse_seconds("0").is_err());
        assert!(parse_seconds("nan").is_err());
        assert!(parse_seconds("1e9").is_err());
    }
}
