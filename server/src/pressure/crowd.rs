//! The requests that all connections of a core have brought and that are not answered, and what their sum means for reading more.
//!
//! ```text
//!   0            3/8      1/2         3/4          1    of the limit
//!   |------ calm -|--------|-----------|-----------|
//!                 ^ calm again   ^ pressed again
//!                          | pressed: who holds its share is not read from
//!                                                  | full: nobody is, but for the oldest unfinished requests
//! ```
//!
//! A state is left well below where it was entered, so that sockets are not switched with every request.

/// How much is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everybody is read from.
    #[default]
    Calm,
    /// Those that hold less than their share are.
    Pressed,
    /// Nobody is.
    Full,
}

/// The sum over the connections of one core.
#[derive(Debug, Default)]
pub struct Crowd {
    limit_bytes: usize,
    held_bytes: usize,
    /// Connections that hold something.
    holders: usize,
    level: Level,
}

impl Crowd {
    /// Nothing is held yet. `limit_bytes` is `ringlog.core.max.in.flight.bytes`.
    pub fn new(limit_bytes: usize) -> Crowd {
        Crowd {
            limit_bytes,
            ..Crowd::default()
        }
    }

    /// A connection that held `before` bytes holds `after` now.
    pub fn recount(&mut self, before: usize, after: usize) {
        self.held_bytes = self.held_bytes - before + after;
        self.holders = self.holders + usize::from(after > 0) - usize::from(before > 0);
    }

    /// Takes up the state that follows from what is held. Whether it is another one.
    pub fn look(&mut self) -> bool {
        let (held, limit) = (self.held_bytes, self.limit_bytes);
        let level = match self.level {
            _ if held > limit => Level::Full,
            Level::Full if held > limit / 4 * 3 => Level::Full,
            _ if held > limit / 2 => Level::Pressed,
            Level::Pressed | Level::Full if held > limit / 8 * 3 => Level::Pressed,
            _ => Level::Calm,
        };
        std::mem::replace(&mut self.level, level) != level
    }

    /// The state.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The most bytes that are held, but for what is on its way.
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Bytes held.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether a connection that holds so many bytes is read from.
    pub fn may_read(&self, own_bytes: usize) -> bool {
        match self.level {
            Level::Calm => true,
            Level::Pressed => !self.is_over_share(own_bytes),
            Level::Full => false,
        }
    }

    /// Whether a connection that holds so many bytes has its share.
    pub fn is_over_share(&self, own_bytes: usize) -> bool {
        own_bytes >= self.share_bytes()
    }

    /// What each of those that hold something may have of the half that fills up before anybody is paused.
    fn share_bytes(&self) -> usize {
        (self.limit_bytes / 2 / self.holders.max(1)).max(1)
    }

    /// What unfinished requests may still bring while others are paused: up to a quarter above the limit.
    pub fn reserve_bytes(&self) -> usize {
        (self.limit_bytes + self.limit_bytes / 4).saturating_sub(self.held_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 8000;

    fn level_at(crowd: &mut Crowd, held: usize) -> Level {
        crowd.recount(crowd.held_bytes, held);
        crowd.look();
        crowd.level()
    }

    #[test]
    fn a_state_is_left_well_below_where_it_began() {
        let mut crowd = Crowd::new(LIMIT);
        for (held, level) in [
            (4000, Level::Calm),
            (4001, Level::Pressed),
            (3001, Level::Pressed),
            (3000, Level::Calm),
            (8001, Level::Full),
            (6001, Level::Full),
            (6000, Level::Pressed),
            (8000, Level::Pressed),
            (8001, Level::Full),
            (0, Level::Calm),
        ] {
            assert_eq!(level_at(&mut crowd, held), level, "{held}");
        }
        assert!(!crowd.look(), "nothing has changed");
    }

    #[test]
    fn who_holds_much_is_paused_before_who_holds_little() {
        let mut crowd = Crowd::new(LIMIT);
        for held in [3000, 1500, 100] {
            crowd.recount(0, held);
        }
        assert!(crowd.look());
        assert_eq!(
            [3000, 1500, 1333, 100, 0].map(|own| crowd.may_read(own)),
            [false, false, false, true, true]
        );
        crowd.recount(3000, 8000);
        crowd.look();
        assert!(!crowd.may_read(0), "full is full for everybody");
        assert_eq!((crowd.held_bytes(), crowd.reserve_bytes()), (9600, 400));
    }

    #[test]
    fn the_fewer_hold_something_the_larger_is_a_share() {
        let mut crowd = Crowd::new(LIMIT);
        (0..4000).for_each(|_| crowd.recount(0, 2));
        assert_eq!(crowd.share_bytes(), 1);
        (0..3999).for_each(|_| crowd.recount(2, 0));
        assert_eq!((crowd.share_bytes(), crowd.held_bytes()), (4000, 2));
    }
}
