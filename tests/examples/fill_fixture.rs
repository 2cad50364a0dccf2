//! Fills a running broker with what the fixtures hold: `cargo run -p ringlog-tests --example fill_fixture HOST:PORT`.

fn main() {
    let Some(bootstrap) = std::env::args().nth(1) else {
        eprintln!("usage: fill_fixture HOST:PORT");
        std::process::exit(2);
    };
    ringlog_tests::fixture::fill(&bootstrap);
}
