//! Which names a topic may have.

use super::Refusal;
use crate::metadata::image::MetadataImage;
use crate::wire::ErrorCode;

/// The longest name, in bytes: with a partition's suffix it must still be a file name.
pub const MAX_NAME_BYTES: usize = 249;

/// Topics that brokers create for themselves.
const INTERNAL: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// Whether a topic of this name is the brokers' own.
pub fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

/// Checks the form of a name: 1 to 249 letters, digits, dots, underscores and dashes, neither `.` nor `..`.
///
/// # Errors
/// INVALID_TOPIC_EXCEPTION with the reason.
pub fn check(name: &str) -> Result<(), Refusal> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let reason = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." | ".." => format!("'{name}' is not allowed"),
        _ if name.len() > MAX_NAME_BYTES => {
            format!("the length of '{name}' is longer than the max allowed length {MAX_NAME_BYTES}")
        }
        _ if !name.bytes().all(allowed) => {
            format!(
                "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
            )
        }
        _ => return Ok(()),
    };
    Err(Refusal::new(
        ErrorCode::InvalidTopicException,
        format!("Topic name is invalid: {reason}"),
    ))
}

/// Checks that a topic of this name can be created: its form, that no other name differs from it by `.` and `_` only
/// (metric names cannot tell those apart), and that it does not exist.
///
/// # Errors
/// INVALID_TOPIC_EXCEPTION or TOPIC_ALREADY_EXISTS.
pub fn check_new(image: &MetadataImage, name: &str) -> Result<(), Refusal> {
    if image.topic(name).is_some() {
        return Err(Refusal::new(
            ErrorCode::TopicAlreadyExists,
            format!("Topic '{name}' already exists."),
        ));
    }
    check(name)?;
    match image.colliding_topic(name) {
        Some(other) => Err(Refusal::new(
            ErrorCode::InvalidTopicException,
            format!("Topic '{name}' collides with existing topic: {other}"),
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn names_have_a_form() {
        for good in ["a", "A-z_0.9", "...", &"x".repeat(249)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a b", "ä", "a/b", "a\0", &"x".repeat(250)] {
            assert_eq!(check(bad).expect_err(bad).code, ErrorCode::InvalidTopicException);
        }
    }

    #[test]
    fn new_names_differ_by_more_than_dots() {
        let image = image(&[topic("a.b", 1), topic("plain", 1)].concat());
        for (name, want) in [
            ("a.b", Some(ErrorCode::TopicAlreadyExists)),
            ("a_b", Some(ErrorCode::InvalidTopicException)),
            ("a-b", None),
            ("plain", Some(ErrorCode::TopicAlreadyExists)),
            ("plain2", None),
        ] {
            assert_eq!(
                check_new(&image, name).err().map(|refusal| refusal.code),
                want,
                "{name}"
            );
        }
    }
}
