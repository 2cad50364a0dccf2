//! The command line of `ringlog-bench`.

fn main() {}
