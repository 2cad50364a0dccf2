//! Raising and lowering the levels of features (KIP-584).

use super::{Refusal, View};
use crate::metadata::features::{self, Feature};
use crate::metadata::image::METADATA_VERSION;
use crate::metadata::records::Record;
use crate::wire::ErrorCode;
use crate::wire::metadata_records::FeatureLevelRecord;

/// In which direction a level may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Up.
    Upgrade,
    /// Down, as long as nothing in the log needs the higher level.
    SafeDowngrade,
    /// Down, whatever is lost.
    UnsafeDowngrade,
}

impl Direction {
    /// The direction of a number in a request.
    pub fn from_number(number: i8) -> Option<Direction> {
        match number {
            1 => Some(Direction::Upgrade),
            2 => Some(Direction::SafeDowngrade),
            3 => Some(Direction::UnsafeDowngrade),
            _ => None,
        }
    }
}

/// Decides about the level of a feature. Kafka checks and says the same, but that it goes down where the log's format is alike.
///
/// # Errors
/// INVALID_UPDATE_VERSION.
pub fn update(
    view: View<'_>,
    feature: &str,
    wanted: i16,
    direction: Option<Direction>,
) -> Result<Option<Record>, Refusal> {
    let refused = |why: String| {
        let message = format!("Invalid update version {wanted} for feature {feature}. {why}");
        Err(Refusal::new(ErrorCode::InvalidUpdateVersion, message))
    };
    let Some(direction) = direction else {
        return refused("The controller does not support the given upgrade type.".to_owned());
    };
    if wanted < 0 {
        return refused("A feature version cannot be less than 0.".to_owned());
    }
    let node_id = view.node_id;
    let Some(&Feature { oldest, newest, .. }) = features::feature(feature) else {
        return match wanted {
            // What is not finalized is at level 0, and may stay there.
            0 if view.image.feature(feature).is_none() => Ok(None),
            _ => refused(format!(
                "Local controller {node_id} does not support this feature."
            )),
        };
    };
    if !(oldest..=newest).contains(&wanted) {
        return refused(format!(
            "Local controller {node_id} only supports versions {oldest}-{newest}"
        ));
    }
    let is_format = feature == METADATA_VERSION;
    let now = match is_format {
        true => view.image.metadata_version(),
        false => view.image.feature(feature).unwrap_or(0),
    };
    let (name, feature_level) = (feature.to_owned(), wanted);
    let changed = || Ok(Some(FeatureLevelRecord { name, feature_level }.into()));
    match (wanted.cmp(&now), direction) {
        (std::cmp::Ordering::Equal, _) => Ok(None),
        (std::cmp::Ordering::Greater, Direction::Upgrade) => changed(),
        (std::cmp::Ordering::Greater, _) => refused("Can't downgrade to a newer version.".to_owned()),
        (std::cmp::Ordering::Less, Direction::Upgrade) => refused(
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade."
                .to_owned(),
        ),
        (std::cmp::Ordering::Less, _) if !is_format => changed(),
        (std::cmp::Ordering::Less, Direction::SafeDowngrade) => downgrade(
            now,
            wanted,
            "Refusing to perform the requested downgrade because it might delete metadata information.",
        ),
        (std::cmp::Ordering::Less, Direction::UnsafeDowngrade) => {
            downgrade(now, wanted, "Unsafe metadata downgrade is not supported in this version.")
        }
    }
}

fn downgrade(now: i16, wanted: i16, why: &str) -> Result<Option<Record>, Refusal> {
    let message = format!("Unsupported metadata.version downgrade from {now} to {wanted}. {why}");
    Err(Refusal::new(ErrorCode::InvalidUpdateVersion, message))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn run(feature: &str, wanted: i16, direction: i8) -> Result<Option<i16>, String> {
        let level = |name: &str, feature_level| {
            let name = name.to_owned();
            Record::from(FeatureLevelRecord { name, feature_level })
        };
        let log = vec![
            level(METADATA_VERSION, 20),
            level("group.version", 1),
            level("share.version", 1),
        ];
        let (now, config) = (image(&log), config(&[]));
        let decided = update(
            view(&now, &config),
            feature,
            wanted,
            Direction::from_number(direction),
        );
        let record = decided.map_err(|refusal| {
            assert_eq!(refusal.code, ErrorCode::InvalidUpdateVersion);
            refusal.message
        })?;
        let after = |record| image(&[log, vec![record]].concat()).feature(feature).unwrap_or(0);
        Ok(record.map(after))
    }

    #[test]
    fn the_level_of_the_log_goes_up() {
        assert_eq!(run(METADATA_VERSION, 30, 1), Ok(Some(30)));
        assert_eq!(run(METADATA_VERSION, 20, 1), Ok(None));
        assert_eq!(run("transaction.version", 0, 2), Ok(None));
        assert_eq!(run("streams.version", 0, 2), Ok(None));
    }

    #[test]
    fn other_levels_go_up_and_down() {
        assert_eq!(run("transaction.version", 2, 1), Ok(Some(2)));
        assert_eq!(run("group.version", 1, 1), Ok(None));
        assert_eq!(run("group.version", 0, 2), Ok(Some(0)));
        assert_eq!(run("group.version", 0, 3), Ok(Some(0)));
    }

    #[test]
    fn other_changes_are_refused_with_the_reason() {
        for (feature, wanted, direction, part) in [
            (METADATA_VERSION, 31, 1, "only supports versions 7-30"),
            ("transaction.version", 3, 1, "only supports versions 0-2"),
            ("group.version", 0, 1, "without setting the upgrade type"),
            (METADATA_VERSION, 0, 2, "only supports versions 7-30"),
            (METADATA_VERSION, -1, 2, "cannot be less than 0"),
            (METADATA_VERSION, 19, 1, "without setting the upgrade type"),
            (METADATA_VERSION, 19, 2, "might delete metadata information"),
            (METADATA_VERSION, 19, 3, "Unsafe metadata downgrade"),
            (METADATA_VERSION, 21, 2, "Can't downgrade to a newer version"),
            (METADATA_VERSION, 21, 0, "does not support the given upgrade type"),
            (
                "share.version",
                1,
                1,
                "Local controller 1 does not support this feature.",
            ),
            (
                "share.version",
                0,
                2,
                "Local controller 1 does not support this feature.",
            ),
            (
                "no.such",
                1,
                1,
                "Local controller 1 does not support this feature.",
            ),
        ] {
            let said = run(feature, wanted, direction).expect_err(part);
            assert!(
                said.contains(part) && said.contains(&wanted.to_string()),
                "{said}"
            );
        }
    }
}
