//! The name that somebody who mistyped one probably meant.

/// The known name with the fewest changes from `wanted`, if they are fewer than half of its letters. Names are compared without `prefix`, which all have.
pub fn nearest<'a>(wanted: &str, known: impl Iterator<Item = &'a str>, prefix: &str) -> Option<&'a str> {
    let own = |name: &'a str| name.strip_prefix(prefix).unwrap_or(name);
    let wanted: Vec<char> = wanted.strip_prefix(prefix).unwrap_or(wanted).chars().collect();
    let distances = known.map(|name| (changes(&wanted, own(name)), name));
    let (least, name) = distances.min_by_key(|(changes, _)| *changes)?;
    (least * 2 <= own(name).chars().count()).then_some(name)
}

/// Letters to insert, remove or replace: Levenshtein's distance.
fn changes(from: &[char], to: &str) -> usize {
    let mut row: Vec<usize> = (0..=from.len()).collect();
    for (above, letter) in (1..).zip(to.chars()) {
        let mut diagonal = std::mem::replace(&mut row[0], above);
        for (column, own) in (1..).zip(from) {
            let replaced = diagonal + usize::from(*own != letter);
            diagonal = row[column];
            row[column] = replaced.min(diagonal + 1).min(row[column - 1] + 1);
        }
    }
    row[from.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["r.cores", "r.durability", "r.memory", "r.send.zerocopy"];

    #[test]
    fn a_slip_finds_the_name_that_was_meant() {
        for (wanted, meant) in [
            ("r.core", Some("r.cores")),
            ("r.croes", Some("r.cores")),
            ("r.durabilty", Some("r.durability")),
            ("r.mem", Some("r.memory")),
            ("r.send.zero.copy", Some("r.send.zerocopy")),
            ("r.", None),
            ("r.something.else.altogether", None),
        ] {
            assert_eq!(nearest(wanted, KNOWN.into_iter(), "r."), meant, "{wanted}");
        }
        assert_eq!(nearest("r.x", [].into_iter(), "r."), None);
    }

    #[test]
    fn changes_are_counted() {
        let count = |from: &str, to: &str| changes(&from.chars().collect::<Vec<_>>(), to);
        assert_eq!(
            (count("kitten", "sitting"), count("", "abc"), count("äöü", "äü")),
            (3, 3, 1)
        );
    }
}
