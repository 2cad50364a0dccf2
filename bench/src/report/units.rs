//! Figures as people read them: us, ms and s, thousands separated, MiB and GiB, and text from outside made harmless.

/// A time given in microseconds: `412 us`, `1.23 ms`, `12.3 s`.
pub fn time_us(us: f64) -> String {
    match us.abs() {
        us_abs if us_abs < 999.5 => format!("{} us", digits3(us)),
        us_abs if us_abs < 999_500.0 => format!("{} ms", digits3(us / 1e3)),
        _ => format!("{} s", digits3(us / 1e6)),
    }
}

/// A number rounded to a whole one, thousands separated: `1,234,567`.
pub fn whole(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    let digits = format!("{:.0}", value.abs());
    let mut out = String::new();
    if value < 0.0 && digits != "0" {
        out.push('-');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Three significant digits, or all digits of what is longer: `0.0123`, `1.23`, `48.8`, `1,234`.
pub fn digits3(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "-".to_owned(),
        0.0 => "0".to_owned(),
        size if size < 0.000_95 => format!("{value:.1e}"),
        size if size < 0.0995 => format!("{value:.4}"),
        size if size < 0.9995 => format!("{value:.3}"),
        size if size < 9.995 => format!("{value:.2}"),
        size if size < 99.95 => format!("{value:.1}"),
        _ => whole(value),
    }
}

/// Memory or file sizes: `512 B`, `1.50 KiB`, `48.8 MiB`, `7.61 GiB`.
pub fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB"] {
        if value < 1024.0 {
            return format!("{} {unit}", digits3(value));
        }
        value /= 1024.0;
    }
    format!("{} GiB", digits3(value))
}

/// A value in `unit` as it stands in a table: times in the unit that suits, everything else with its unit.
pub fn with_unit(value: f64, unit: &str) -> String {
    match unit {
        "us" => time_us(value),
        "ms" => time_us(value * 1e3),
        "" => digits3(value),
        "B" if value >= 0.0 => bytes(value as u64),
        "MiB" if value >= 1024.0 => bytes((value * 1_048_576.0) as u64),
        _ => format!("{} {unit}", digits3(value)),
    }
}

/// A change in percent with its sign: `+5.2 %`.
pub fn change(percent: f64) -> String {
    match percent {
        _ if percent.is_infinite() => "from 0".to_owned(),
        _ if percent.abs() < 0.05 => "0.0 %".to_owned(),
        _ => format!("{percent:+.1} %"),
    }
}

/// Text from a broker or a file without control characters, so that it cannot steer a terminal.
pub fn plain(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_suits() {
        for (us, text) in [
            (0.0, "0 us"),
            (0.4, "0.400 us"),
            (412.3, "412 us"),
            (999.7, "1.00 ms"),
            (14_230.0, "14.2 ms"),
            (999_900.0, "1.00 s"),
            (61e6, "61.0 s"),
            (f64::NAN, "- s"),
        ] {
            assert_eq!(time_us(us), text);
        }
    }

    #[test]
    fn thousands_are_separated() {
        for (value, text) in [
            (0.0, "0"),
            (999.0, "999"),
            (1_000.4, "1,000"),
            (-1_234_567.0, "-1,234,567"),
            (-0.2, "0"),
        ] {
            assert_eq!(whole(value), text);
        }
    }

    #[test]
    fn sizes_and_changes() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(8 << 30), "8.00 GiB");
        assert_eq!(with_unit(1.5, "ms"), "1.50 ms");
        assert_eq!(with_unit(1.6e10, "B"), "14.9 GiB");
        assert_eq!(with_unit(1.5, "CPU-s/GiB"), "1.50 CPU-s/GiB");
        assert_eq!(
            (change(5.21), change(-0.01), change(f64::INFINITY)),
            ("+5.2 %".to_owned(), "0.0 %".to_owned(), "from 0".to_owned())
        );
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\nc\u{202e}d\u{9b}"), "a [31mb c d ");
    }
}
