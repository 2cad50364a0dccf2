//! The command line of `ringlog-bench`; see [`ringlog_bench::cli`].

fn main() {
    std::process::exit(ringlog_bench::cli::main());
}
