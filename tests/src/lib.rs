//! The test harness: starts the real binary in a fresh directory and stops it again.
