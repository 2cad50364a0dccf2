//! Answers as text that no run and no broker changes.

use std::collections::HashMap;

use ringlog::wire::ErrorCode;

/// Fields whose value another run changes; what stands for nothing stays.
const TIMES: &[&str] = &["transaction_start_time_ms: ", "last_timestamp: ", "port: "];

/// The producer ids met so far, numbered.
#[derive(Debug, Default)]
pub struct Names {
    producers: HashMap<i64, usize>,
}

impl Names {
    /// The name of a producer id; what is none stays a number.
    pub fn of(&mut self, id: i64) -> String {
        if !(0..crate::script::MADE_UP).contains(&id) {
            return id.to_string();
        }
        let next = self.producers.len() + 1;
        format!("P{}", self.producers.entry(id).or_insert(next))
    }

    /// The fields of an answer's `Debug` form.
    pub fn fields(&mut self, answer: &impl std::fmt::Debug) -> String {
        let text = format!("{answer:?}");
        let text = text.split_once(' ').map_or("", |(_, fields)| fields);
        let text = text.replace(", unknown_tagged_fields: {}", "");
        let text = numbers(&text, "throttle_time_ms: ", |_| "0".to_owned());
        let text = text.replace("throttle_time_ms: 0, ", "");
        let text = topic_ids(&text);
        let text = numbers(&text, "error_code: ", |code| {
            let code = ErrorCode::from_code(code.try_into().unwrap_or(-1));
            code.name().to_owned()
        });
        let text = numbers(&text, "producer_id: ", |id| self.of(id));
        let text = numbers(&text, "producer_id: ProducerId(", |id| self.of(id));
        TIMES.iter().fold(text, |text, field| {
            let shown = |value: i64| {
                if value < 0 {
                    value.to_string()
                } else {
                    "<some>".to_owned()
                }
            };
            numbers(&text, field, shown)
        })
    }
}

/// The text without the ids of topics that are not named by one, and with a word for the others.
fn topic_ids(text: &str) -> String {
    const FIELD: &str = "topic_id: ";
    const ZERO: &str = "00000000-0000-0000-0000-000000000000";
    let text = text.replace(&format!(", {FIELD}{ZERO}"), "");
    let mut parts = text.split(FIELD);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(FIELD);
        out.push_str("<some>");
        out.push_str(part.get(ZERO.len()..).unwrap_or_default());
    }
    out
}

/// The text with each number that follows `field` told otherwise.
fn numbers(text: &str, field: &str, mut told: impl FnMut(i64) -> String) -> String {
    let mut parts = text.split(field);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part
            .find(|c: char| !c.is_ascii_digit() && c != '-')
            .unwrap_or(part.len());
        let (number, rest) = part.split_at(end);
        out.push_str(field);
        match number.parse() {
            Ok(number) => out.push_str(&told(number)),
            Err(_) => out.push_str(number),
        }
        out.push_str(rest);
    }
    out
}
