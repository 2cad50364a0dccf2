//! Error codes in answers: their names, which of them pass by themselves, and advice where there is some.

use crate::cli::error::CliError;
use crate::wire::code::ErrorCode;

/// `NAME: what it means`, with the broker's own words instead of ours where it sent some.
pub fn describe(code: i16, message: Option<&str>) -> String {
    let error = ErrorCode::from_code(code);
    match (error.code() == code, message) {
        (true, _) => format!("{}: {}", error.name(), message.unwrap_or(error.message())),
        (false, Some(text)) => format!("error {code}: {text}"),
        (false, None) => format!("error {code}, which this program does not know"),
    }
}

/// Whether an error goes away by itself: a leader moves, a broker starts, a replica catches up.
pub fn is_retriable(code: i16) -> bool {
    ErrorCode::from_code(code).is_retriable()
}

/// An answer of "no such topic".
pub fn unknown_topic(topic: &str) -> CliError {
    CliError::refused(format!(
        "topic {topic:?} does not exist; create it with `ringlog topic create {topic}`, or see `ringlog topic list`"
    ))
}

/// A partition that the topic lacks.
pub fn no_such_partition(topic: &str, partition: i32, count: usize) -> CliError {
    CliError::refused(format!(
        "topic {topic:?} has no partition {partition}: it has {count}, numbered from 0"
    ))
}
