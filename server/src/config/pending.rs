//! Settings that are checked, stored and told, and that nothing acts on yet. The table of topic settings marks them; a broker setting that gives
//! such a one its default is as idle as that.

use super::Settings;
use super::topic::{TOPIC_KEYS, TopicKey};

/// How the documentation of a setting ends as long as it is so. Tools tell by it what to warn of: the broker knows, whatever their own version is.
pub const NO_EFFECT_YET: &str = "has no effect yet.";

/// Which values of a setting have no effect yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// None: all do what they say.
    Nothing,
    /// Whatever it is set to.
    Everything,
    /// A list that has this word.
    Word(&'static str),
}

impl Pending {
    /// Whether this value has no effect.
    pub fn concerns(self, value: &str) -> bool {
        match self {
            Pending::Nothing => false,
            Pending::Everything => true,
            Pending::Word(word) => value.split(',').any(|one| one.trim() == word),
        }
    }

    /// The sentence at the end of the documentation.
    fn sentence(self) -> Option<String> {
        match self {
            Pending::Nothing => None,
            Pending::Everything => Some(format!("It is stored, and {NO_EFFECT_YET}")),
            Pending::Word(word) => Some(format!("{word} is stored, and {NO_EFFECT_YET}")),
        }
    }

    /// The documentation of a setting with this mark.
    pub fn documentation(self, doc: &str) -> String {
        match self.sentence() {
            Some(sentence) => format!("{doc} {sentence}"),
            None => doc.to_owned(),
        }
    }
}

/// The mark of a broker setting: that of the topic setting it gives a default.
pub fn of_broker(name: &str) -> Pending {
    let gives_default = |key: &&TopicKey| key.synonyms.iter().any(|synonym| synonym.name == name);
    TOPIC_KEYS
        .iter()
        .find(gives_default)
        .map_or(Pending::Nothing, |key| key.pending)
}

/// One line that names the broker settings that are set and have no effect yet; nothing if there is none.
pub fn notice(fixed: &Settings) -> Option<String> {
    let idle = fixed
        .iter()
        .filter(|(name, value)| of_broker(name).concerns(value));
    let named: Vec<String> = idle.map(|(name, value)| format!("{name}={value}")).collect();
    match named.len() {
        0 => None,
        1 => Some(format!("stored, and without effect yet: {}", named[0])),
        count => Some(format!(
            "{count} settings are stored, and without effect yet: {}",
            named.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pairs: &[(&str, &str)]) -> Option<String> {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        notice(&pairs.collect())
    }

    #[test]
    fn what_is_set_and_has_no_effect_is_named_in_one_line() {
        let all = [
            ("log.cleaner.min.cleanable.ratio", "0.3"),
            ("log.cleanup.policy", "compact,delete"),
            ("log.cleaner.min.compaction.lag.ms", "168"),
            ("log.segment.bytes", "2000000"),
        ];
        assert_eq!(
            said(&all).as_deref(),
            Some(
                "3 settings are stored, and without effect yet: log.cleaner.min.cleanable.ratio=0.3, \
                 log.cleaner.min.compaction.lag.ms=168, log.cleanup.policy=compact,delete"
            )
        );
        assert_eq!(
            said(&all[2..]).as_deref(),
            Some("stored, and without effect yet: log.cleaner.min.compaction.lag.ms=168")
        );
    }

    #[test]
    fn what_has_an_effect_is_not_named() {
        let all = [
            ("log.cleanup.policy", "delete"),
            ("log.retention.bytes", "1000"),
            ("log.retention.ms", "5"),
            ("num.partitions", "3"),
            ("ringlog.durability", "written"),
        ];
        assert_eq!(said(&all), None);
    }

    #[test]
    fn the_documentation_says_so_too() {
        for key in TOPIC_KEYS {
            let documented = key.documentation();
            assert_eq!(
                documented.ends_with(NO_EFFECT_YET),
                key.pending != Pending::Nothing,
                "{documented}"
            );
        }
    }
}
