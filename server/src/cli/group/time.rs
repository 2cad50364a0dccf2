//! Points in time on the command line: ISO 8601, or milliseconds since 1970.

const EXPECTED: &str =
    "expected a time as 2026-03-01T06:00:00.000Z or 2026-03-01, or milliseconds since 1970";
const MS_PER_DAY: i64 = 86_400_000;

/// Milliseconds since 1970. A time without a zone is in UTC, a date without a time its beginning.
///
/// # Errors
/// What is no such time, and times before 1970: records have none, and to a broker negative times mean something else.
pub fn parse_time_ms(text: &str) -> Result<i64, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = match is_number {
        true => text.parse().ok(),
        false => iso_ms(text),
    };
    parsed.filter(|ms| *ms >= 0).ok_or_else(|| EXPECTED.to_owned())
}

fn iso_ms(text: &str) -> Option<i64> {
    let mut rest = Rest(text);
    let days = date(&mut rest)?;
    if rest.0.is_empty() {
        return Some(days * MS_PER_DAY);
    }
    rest.one_of(&['T', 't', ' '])?;
    let time_ms = time_of_day_ms(&mut rest)?;
    let zone_ms = zone_ms(&mut rest)?;
    rest.0.is_empty().then_some(days * MS_PER_DAY + time_ms - zone_ms)
}

/// `2026-03-01`, as days since 1970.
fn date(rest: &mut Rest<'_>) -> Option<i64> {
    let year = rest.digits(4)?;
    rest.one_of(&['-'])?;
    let month = rest.digits(2).filter(|month| (1..=12).contains(month))?;
    rest.one_of(&['-'])?;
    let day = rest.digits(2)?;
    let whole = days_to_month(year, month);
    let length = match month {
        12 => 31,
        _ => days_to_month(year, month + 1) - whole,
    };
    (1..=length).contains(&day).then_some(whole + day - 1)
}

/// Days from 1970 to the first of a month, negative before.
fn days_to_month(year: i64, month: i64) -> i64 {
    const BEFORE_MONTH: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let leap_days_before = |year: i64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let years = 365 * (year - 1970) + leap_days_before(year) - leap_days_before(1970);
    let before = BEFORE_MONTH.get(month as usize - 1).copied().unwrap_or(0);
    years + before + i64::from(is_leap && month > 2)
}

/// `06:00`, `06:00:00` or `06:00:00.000`.
fn time_of_day_ms(rest: &mut Rest<'_>) -> Option<i64> {
    let hours = rest.digits(2).filter(|hours| *hours < 24)?;
    rest.one_of(&[':'])?;
    let minutes = rest.digits(2).filter(|minutes| *minutes < 60)?;
    let mut ms = (hours * 60 + minutes) * 60_000;
    if rest.one_of(&[':']).is_some() {
        ms += rest.digits(2).filter(|seconds| *seconds < 60)? * 1000;
        if rest.one_of(&['.', ',']).is_some() {
            ms += rest.fraction_ms()?;
        }
    }
    Some(ms)
}

/// What a zone is ahead of UTC: nothing or `Z`, `+01`, `+0130` or `+01:30`.
fn zone_ms(rest: &mut Rest<'_>) -> Option<i64> {
    if rest.0.is_empty() || rest.one_of(&['Z', 'z']).is_some() {
        return Some(0);
    }
    let sign = match rest.one_of(&['+', '-'])? {
        '-' => -1,
        _ => 1,
    };
    let hours = rest.digits(2).filter(|hours| *hours <= 18)?;
    let colon = rest.one_of(&[':']);
    let minutes = match colon.is_none() && rest.0.is_empty() {
        true => 0,
        false => rest.digits(2).filter(|minutes| *minutes < 60)?,
    };
    Some(sign * (hours * 60 + minutes) * 60_000)
}

/// What is still to be read.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    /// So many digits as a number.
    fn digits(&mut self, count: usize) -> Option<i64> {
        let digits = self.0.get(..count)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        self.0 = self.0.get(count..)?;
        digits.parse().ok()
    }

    /// One of these characters.
    fn one_of(&mut self, letters: &[char]) -> Option<char> {
        let first = self.0.chars().next().filter(|first| letters.contains(first))?;
        self.0 = self.0.get(first.len_utf8()..)?;
        Some(first)
    }

    /// One to nine digits of a second, cut to milliseconds.
    fn fraction_ms(&mut self) -> Option<i64> {
        let count = self.0.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=9).contains(&count) {
            return None;
        }
        let digits = self.digits(count)?;
        Some(digits * 1000 / 10_i64.pow(count as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_millisecond_in_any_zone() {
        let cases = [
            ("0", 0),
            ("1735689600000", 1_735_689_600_000),
            ("1970-01-01", 0),
            ("1970-01-01T00:00Z", 0),
            ("2025-01-01T00:00:00", 1_735_689_600_000),
            ("2025-01-01 00:00:00", 1_735_689_600_000),
            ("2025-01-01T01:30:00+01:30", 1_735_689_600_000),
            ("2025-01-01T01:00:00.250+01", 1_735_689_600_250),
            ("2024-12-31T19:00:00,25-0500", 1_735_689_600_250),
            ("2025-01-01T00:00:00.123456789z", 1_735_689_600_123),
            ("2000-02-29T12:34:56Z", 951_827_696_000),
            ("2024-02-29", 1_709_164_800_000),
            ("2024-03-01", 1_709_251_200_000),
            ("2100-03-01", 4_107_542_400_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_time_ms(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "-1",
            "9223372036854775808",
            "1969-12-31",
            "1970-01-01T00:00:00+00:01",
            "2023-02-29",
            "2100-02-29",
            "2025-00-01",
            "2025-13-01",
            "2025-01-32",
            "2025-04-31",
            "2025-01-01T",
            "2025-01-01T24:00",
            "2025-01-01T00:60",
            "2025-01-01T00:00:60",
            "2025-01-01T00:00:00.",
            "2025-01-01T00:00:00.1234567890",
            "2025-01-01T00:00:00+1",
            "2025-01-01T00:00:00+01:",
            "2025-01-01T00:00:00Zulu",
            "2025-01-01é00:00",
            "é025-01-01",
        ] {
            assert_eq!(parse_time_ms(text), Err(EXPECTED.to_owned()), "{text}");
        }
    }
}
