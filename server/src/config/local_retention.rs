//! What is kept on local disk is part of what is kept at all. Kafka checks that of a running broker's defaults, whether there is remote storage or
//! not; of a topic's settings only where there is, which is never here.

/// A default of a broker, and the one it must not be above.
const PAIRS: [(&str, &str, &str); 2] = [
    ("log.local.retention.ms", "local.retention.ms", "retention.ms"),
    (
        "log.local.retention.bytes",
        "local.retention.bytes",
        "retention.bytes",
    ),
];

/// Follows the whole retention.
const AS_ALL: i64 = -2;

/// Checks the defaults of a broker, by the names of topics' settings.
///
/// # Errors
/// The sentence for the answer, in Kafka's words.
pub fn check(number: &dyn Fn(&str) -> Option<i64>) -> Result<(), String> {
    for (name, local, all) in PAIRS {
        let (Some(kept), Some(most)) = (number(local), number(all)) else {
            continue;
        };
        let why = match kept {
            AS_ALL => continue,
            _ if most < 0 => continue,
            -1 => format!("Value must not be -1 as log.{all} value is set as {most}."),
            _ if kept > most => format!("Value must not be more than log.{all} property value: {most}"),
            _ => continue,
        };
        return Err(format!("Invalid value {kept} for configuration {name}: {why}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_local_is_part_of_all() {
        for (local, all, said) in [
            (-2, 5, None),
            (-2, -1, None),
            (-1, -1, None),
            (9, -1, None),
            (5, 5, None),
            (0, 0, None),
            (
                6,
                5,
                Some(
                    "Invalid value 6 for configuration log.local.retention.ms: Value must not be more than log.retention.ms property value: 5",
                ),
            ),
            (
                -1,
                5,
                Some(
                    "Invalid value -1 for configuration log.local.retention.ms: Value must not be -1 as log.retention.ms value is set as 5.",
                ),
            ),
        ] {
            let number = |name: &str| match name {
                "local.retention.ms" => Some(local),
                "retention.ms" => Some(all),
                _ => None,
            };
            assert_eq!(check(&number).err().as_deref(), said, "{local} of {all}");
        }
        let number = |name: &str| Some(if name.starts_with("local") { 2 } else { 1 });
        let of_bytes = |name: &str| number(name).filter(|_| name.ends_with("bytes"));
        assert!(check(&of_bytes).is_err());
    }
}
