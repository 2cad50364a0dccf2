//! A request in parts, whose answers are gathered on the connection's core.

/// One whose parts have not all been answered.
#[derive(Debug)]
pub struct Gathering<F, A> {
    /// How the answers are put together.
    form: F,
    told: Vec<Option<A>>,
    remaining: usize,
}

impl<F, A> Gathering<F, A> {
    /// One with so many parts.
    pub fn new(form: F, parts: usize) -> Self {
        let mut told = Vec::new();
        told.resize_with(parts, || None);
        Gathering {
            form,
            told,
            remaining: parts,
        }
    }

    /// Takes answers, by their places, each once. True when all are there.
    pub fn settle(&mut self, answers: impl IntoIterator<Item = (u32, A)>) -> bool {
        for (place, answer) in answers {
            if let Some(slot @ None) = self.told.get_mut(place as usize) {
                *slot = Some(answer);
                self.remaining -= 1;
            }
        }
        self.remaining == 0
    }

    /// The form, and the answers in the order of the parts.
    pub fn into_parts(self) -> (F, Vec<A>) {
        (self.form, self.told.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_answered_once_in_whatever_order() {
        let mut gathering = Gathering::new("form", 3);
        assert!(!gathering.settle([(2, 'c'), (0, 'a')]));
        assert!(
            !gathering.settle([(0, 'x'), (7, 'y')]),
            "known already, and nobody's"
        );
        assert!(gathering.settle([(1, 'b')]));
        assert_eq!(gathering.into_parts(), ("form", vec!['a', 'b', 'c']));
    }
}
