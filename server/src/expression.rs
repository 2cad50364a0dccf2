//! Regular expressions of clients, which must match a whole name. Kafka has them of RE2: neither has anything that could take long to match.

use regex::{Regex, RegexBuilder};

/// What a compiled expression, and the cache of one that is being matched, may take in memory.
const MAX_COMPILED_BYTES: usize = 1024 * 1024;
/// How often a part of an expression may be asked to repeat, as in RE2.
const MAX_REPEATS: u32 = 1_000;
/// How deep an expression may be nested.
const MAX_NESTING: u32 = 100;

/// An expression that must match a whole name. One that ends in a comment needs a line break before what follows.
///
/// # Errors
/// Why it is none, in a few words.
pub fn compile(regex: &str) -> Result<Regex, String> {
    let unquoted = without_quotes(regex);
    let compiled = limited(&unquoted).and_then(|_| {
        limited(&format!("\\A(?:{unquoted})\\z")).or_else(|_| limited(&format!("\\A(?:{unquoted}\n)\\z")))
    });
    match compiled {
        Ok(_) if repeats_too_often(&unquoted) => Err("invalid repeat count".to_owned()),
        Ok(compiled) => Ok(compiled),
        Err(error) => Err(reason(&error)),
    }
}

fn limited(regex: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(regex)
        .size_limit(MAX_COMPILED_BYTES)
        .dfa_size_limit(MAX_COMPILED_BYTES)
        .nest_limit(MAX_NESTING)
        .build()
}

/// `\Q…\E`, which RE2 has and the library has not, as single escapes.
fn without_quotes(regex: &str) -> String {
    let mut out = String::with_capacity(regex.len());
    let mut chars = regex.chars();
    while let Some(char) = chars.next() {
        match (char, chars.as_str().chars().next()) {
            ('\\', Some('Q')) => {
                let rest = &chars.as_str()[1..];
                let (quoted, after) = rest.split_once("\\E").unwrap_or((rest, ""));
                out.push_str(&regex::escape(quoted));
                chars = after.chars();
            }
            ('\\', Some(escaped)) => {
                chars.next();
                out.extend([char, escaped]);
            }
            _ => out.push(char),
        }
    }
    out
}

/// Whether a repetition asks for more than RE2 allows. A class of characters may hold what looks like one; nobody misses it.
fn repeats_too_often(regex: &str) -> bool {
    let mut parts = regex.split('{');
    let mut escaped = is_escaped(parts.next().unwrap_or_default());
    for part in parts {
        let counts = part.split_once('}').map_or("", |(counts, _)| counts);
        let too_many = |count: &str| {
            let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
            digits && count.parse().map_or(true, |count: u32| count > MAX_REPEATS)
        };
        if !escaped && counts.split(',').any(too_many) {
            return true;
        }
        escaped = is_escaped(part);
    }
    false
}

/// Whether what follows the text is escaped by its end.
fn is_escaped(text: &str) -> bool {
    text.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

/// The last line of an error, which is its reason: those before draw the expression.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}
