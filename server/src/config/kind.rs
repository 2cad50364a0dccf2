//! The types a setting can have, the values each allows, and the sentences said about a value it does not.
//!
//! The checks and their wording follow Kafka's `ConfigDef`, since tools match on them; the text a value is
//! reported with is normalised the same way (`TRUE` becomes `true`, ` 5 ` becomes `5`, `1` as a double `1.0`).

/// What a setting's value is, and its allowed range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A 16-bit number in `[min, max]`.
    Short(i16, i16),
    /// A 32-bit number in `[min, max]`.
    Int(i32, i32),
    /// A 64-bit number in `[min, max]`.
    Long(i64, i64),
    /// A floating-point number in `[min, max]`.
    Double(f64, f64),
    /// Any text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One of these words, in small letters or capitals.
    AnyCase(&'static [&'static str]),
    /// Comma-separated values.
    List(Items),
    /// A compression level in `[min, max]`, or -1 for the codec's own default.
    LevelOrDefault(i32, i32),
    /// A number of bytes, with an optional suffix K, M or G (powers of 1024), in `[min, max]`.
    Bytes(u64, u64),
}

/// What the items of a list may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Items {
    /// Anything.
    Any,
    /// Words out of these; the list may be empty, and a word that is repeated counts once.
    OneOf(&'static [&'static str]),
    /// The same, and at least one.
    SomeOf(&'static [&'static str]),
    /// `partition:broker` pairs, or the single item `*`.
    Replicas,
}

/// The type of a setting as DescribeConfigs names it (KIP-569).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigType {
    /// A name the broker does not know.
    Unknown = 0,
    /// Kafka's BOOLEAN.
    Boolean = 1,
    /// Kafka's STRING.
    String = 2,
    /// Kafka's INT.
    Int = 3,
    /// Kafka's SHORT.
    Short = 4,
    /// Kafka's LONG.
    Long = 5,
    /// Kafka's DOUBLE.
    Double = 6,
    /// Kafka's LIST.
    List = 7,
}

impl Kind {
    /// The type this kind is reported with.
    pub fn config_type(self) -> ConfigType {
        match self {
            Kind::Bool => ConfigType::Boolean,
            Kind::Int(..) | Kind::LevelOrDefault(..) => ConfigType::Int,
            Kind::Short(..) => ConfigType::Short,
            Kind::Long(..) | Kind::Bytes(..) => ConfigType::Long,
            Kind::Double(..) => ConfigType::Double,
            Kind::Text | Kind::Choice(_) | Kind::AnyCase(_) => ConfigType::String,
            Kind::List(_) => ConfigType::List,
        }
    }

    /// Checks `value` for the setting `name` and returns it normalised, or the sentence that says what is wrong.
    pub fn check(self, name: &str, value: &str) -> Result<String, String> {
        let text = value.trim();
        let wrong = |why: &str| Err(format!("Invalid value {value} for configuration {name}: {why}"));
        let checked = match self {
            Kind::Bool => bool_text(text),
            Kind::Short(min, max) => number(text, "SHORT", i64::from(i16::MIN)..=i64::from(i16::MAX))
                .and_then(|n| within(n, min.into(), max.into())),
            Kind::Int(min, max) => number(text, "INT", i64::from(i32::MIN)..=i64::from(i32::MAX))
                .and_then(|n| within(n, min.into(), max.into())),
            Kind::Long(min, max) => {
                number(text, "LONG", i64::MIN..=i64::MAX).and_then(|n| within(n, min, max))
            }
            Kind::Double(min, max) => double(text, min, max),
            Kind::Text => Ok(text.to_owned()),
            Kind::Choice(words) if words.contains(&text) => Ok(text.to_owned()),
            Kind::Choice(words) => Err(format!("String must be one of: {}", words.join(", "))),
            Kind::AnyCase(words) if words.iter().any(|word| word.eq_ignore_ascii_case(text)) => {
                Ok(text.to_owned())
            }
            Kind::AnyCase(words) => {
                let words = words.join(", ").to_uppercase();
                Err(format!("String must be one of (case insensitive): {words}"))
            }
            Kind::List(items) => return list(name, value, items),
            Kind::LevelOrDefault(min, max) => number(text, "INT", i64::from(i32::MIN)..=i64::from(i32::MAX))
                .and_then(|n| level(n, min, max)),
            Kind::Bytes(min, max) => sized(text, min, max),
        };
        checked.or_else(|why| wrong(&why))
    }

    /// The allowed values in words, for an error or a help page. Empty when anything goes.
    pub fn range(self) -> String {
        match self {
            Kind::Bool => "true or false".to_owned(),
            Kind::Short(min, max) => bounds(min.into(), max.into(), i16::MAX.into()),
            Kind::Int(min, max) => bounds(min.into(), max.into(), i32::MAX.into()),
            Kind::Long(min, max) => bounds(min, max, i64::MAX),
            Kind::Double(f64::MIN, f64::MAX) => "a number".to_owned(),
            Kind::Double(min, max) => format!("from {min} to {max}"),
            Kind::Choice(words) | Kind::AnyCase(words) => format!("one of {}", words.join(", ")),
            Kind::List(Items::OneOf(words) | Items::SomeOf(words)) => {
                format!("a list out of {}", words.join(", "))
            }
            Kind::List(Items::Replicas) => "* or a list of partition:broker".to_owned(),
            Kind::LevelOrDefault(min, max) => format!("from {min} to {max}, or -1"),
            Kind::Bytes(min, max) => {
                format!("from {min} to {max} bytes; the suffixes K, M and G are understood")
            }
            Kind::Text | Kind::List(Items::Any) => String::new(),
        }
    }
}

fn bounds(min: i64, max: i64, top: i64) -> String {
    if max == top {
        format!("{min} or more")
    } else {
        format!("from {min} to {max}")
    }
}

fn bool_text(text: &str) -> Result<String, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok("true".to_owned()),
        "false" => Ok("false".to_owned()),
        _ => Err("Expected value to be either true or false".to_owned()),
    }
}

fn number(text: &str, type_name: &str, fits: std::ops::RangeInclusive<i64>) -> Result<i64, String> {
    text.parse()
        .ok()
        .filter(|n| fits.contains(n))
        .ok_or_else(|| format!("Not a number of type {type_name}"))
}

fn within(n: i64, min: i64, max: i64) -> Result<String, String> {
    if n < min {
        Err(format!("Value must be at least {min}"))
    } else if n > max {
        Err(format!("Value must be no more than {max}"))
    } else {
        Ok(n.to_string())
    }
}

fn level(n: i64, min: i32, max: i32) -> Result<String, String> {
    if n == -1 || (i64::from(min)..=i64::from(max)).contains(&n) {
        Ok(n.to_string())
    } else {
        Err(format!("Value must be between {min} and {max} or equal to -1"))
    }
}

fn double(text: &str, min: f64, max: f64) -> Result<String, String> {
    let n: f64 = text
        .parse()
        .map_err(|_| "Not a number of type DOUBLE".to_owned())?;
    if n < min || n.is_nan() {
        Err(format!("Value must be at least {min}"))
    } else if n > max {
        Err(format!("Value must be no more than {max}"))
    } else {
        // As Java writes it.
        Ok(format!("{n:?}").replace('e', "E"))
    }
}

/// Reads a number of bytes: digits, then at most one of K, M, G (in either case, `iB` and `B` allowed behind it).
pub fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let unit = match suffix.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

fn sized(text: &str, min: u64, max: u64) -> Result<String, String> {
    let Some(bytes) = parse_bytes(text) else {
        return Err("Not a number of bytes (digits and an optional K, M or G)".to_owned());
    };
    if bytes < min {
        Err(format!("Value must be at least {min} bytes"))
    } else if bytes > max {
        Err(format!("Value must be no more than {max} bytes"))
    } else {
        Ok(bytes.to_string())
    }
}

/// Splits a list as Kafka does: at commas, blanks around them dropped; an empty text has no items.
pub fn split_list(text: &str) -> Vec<&str> {
    let text = text.trim();
    if text.is_empty() {
        Vec::new()
    } else {
        text.split(',').map(str::trim).collect()
    }
}

fn list(name: &str, value: &str, items: Items) -> Result<String, String> {
    let mut found = split_list(value);
    match items {
        Items::Any => {}
        Items::SomeOf(_) if found.is_empty() => {
            return Err(format!(
                "Configuration '{name}' must not be empty. Valid values include: any non-empty value"
            ));
        }
        Items::OneOf(words) | Items::SomeOf(words) => {
            check_words(name, &found, words)?;
            let mut seen = Vec::new();
            found.retain(|item| {
                !seen.contains(item) && {
                    seen.push(*item);
                    true
                }
            });
        }
        Items::Replicas => check_replicas(name, value, &found)?,
    }
    Ok(found.join(","))
}

fn check_words(name: &str, found: &[&str], words: &[&str]) -> Result<(), String> {
    for item in found {
        if item.is_empty() {
            return Err(format!("Configuration '{name}' values must not be empty."));
        }
        if !words.contains(item) {
            let words = words.join(", ");
            return Err(format!(
                "Invalid value {item} for configuration {name}: String must be one of: {words}"
            ));
        }
    }
    Ok(())
}

fn check_replicas(name: &str, value: &str, found: &[&str]) -> Result<(), String> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let pair = |item: &&str| {
        item.is_empty()
            || item
                .split_once(':')
                .is_some_and(|(left, right)| digits(left) && digits(right))
    };
    if found.concat() == "*" || found.iter().all(pair) {
        return Ok(());
    }
    Err(format!(
        "Invalid value {value} for configuration {name}: {name} must be the literal '*' or a list of replicas \
         in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_normalised() {
        for (kind, value, want) in [
            (Kind::Bool, " TRUE ", "true"),
            (Kind::Int(0, 9), " 5 ", "5"),
            (Kind::Long(-1, i64::MAX), "+7", "7"),
            (Kind::Double(0.0, 1.0), "1", "1.0"),
            (Kind::Double(0.0, 1.0), "0.50", "0.5"),
            (
                Kind::List(Items::OneOf(&["compact", "delete"])),
                "compact , delete",
                "compact,delete",
            ),
            (Kind::List(Items::OneOf(&["compact", "delete"])), "", ""),
            (
                Kind::List(Items::OneOf(&["compact", "delete"])),
                "delete,delete",
                "delete",
            ),
            (Kind::List(Items::Replicas), "0:1,1:2", "0:1,1:2"),
            (Kind::List(Items::Replicas), "*", "*"),
            (Kind::List(Items::SomeOf(&["a", "b"])), "b,a", "b,a"),
            (Kind::LevelOrDefault(1, 9), "-1", "-1"),
            (Kind::Short(1, i16::MAX), "3", "3"),
            (Kind::AnyCase(&["a", "b"]), "B", "B"),
            (Kind::Bytes(0, u64::MAX), "64M", "67108864"),
            (Kind::Bytes(0, u64::MAX), "1 GiB", "1073741824"),
        ] {
            assert_eq!(kind.check("k", value).as_deref(), Ok(want), "{kind:?} {value}");
        }
    }

    #[test]
    fn wrong_values_are_named_with_their_range() {
        for (kind, value, part) in [
            (Kind::Bool, "yes", "either true or false"),
            (Kind::Int(1, i32::MAX), "0", "Value must be at least 1"),
            (Kind::Int(0, 9), "10", "no more than 9"),
            (Kind::Int(0, i32::MAX), "3000000000", "Not a number of type INT"),
            (Kind::Long(0, i64::MAX), "1x", "Not a number of type LONG"),
            (Kind::Double(0.0, 1.0), "NaN", "at least 0"),
            (Kind::Choice(&["a", "b"]), "c", "String must be one of: a, b"),
            (Kind::List(Items::OneOf(&["a", "b"])), "a,", "must not be empty"),
            (
                Kind::List(Items::OneOf(&["a", "b"])),
                "a,c",
                "Invalid value c for configuration k",
            ),
            (Kind::List(Items::SomeOf(&["a", "b"])), " ", "must not be empty"),
            (Kind::Short(1, i16::MAX), "40000", "Not a number of type SHORT"),
            (Kind::AnyCase(&["a", "b"]), "c", "(case insensitive): A, B"),
            (Kind::List(Items::Replicas), "0:1,x", "must be the literal '*'"),
            (Kind::LevelOrDefault(1, 9), "0", "between 1 and 9 or equal to -1"),
            (Kind::Bytes(1024, u64::MAX), "1", "at least 1024 bytes"),
            (
                Kind::Bytes(0, u64::MAX),
                "99999999999999999999",
                "Not a number of bytes",
            ),
            (Kind::Bytes(0, u64::MAX), "1Q", "Not a number of bytes"),
        ] {
            let said = kind.check("k", value).expect_err(value);
            assert!(said.contains(part), "{said}");
        }
    }
}
