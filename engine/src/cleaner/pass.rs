//! A pass.

use std::sync::Arc;

use super::order::{CleanDone, CleanError, CleanOrder};
use super::pace::Pace;
use super::threads::CleanerSettings;
use crate::error::Error;

/// Does passes, one after the other.
pub struct Cleaner {}

impl Cleaner {
    /// One of `settings.threads`.
    pub fn new(_settings: &CleanerSettings, _pace: Arc<Pace>) -> Cleaner {
        Cleaner {}
    }

    /// Does one pass.
    pub fn run(&mut self, order: &CleanOrder) -> Result<CleanDone, CleanError> {
        Err(Error::io("clean", &order.folder)(std::io::Error::other("not there yet")).into())
    }
}
