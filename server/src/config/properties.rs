//! Java `.properties` text: what a Kafka `server.properties` is written in.
//!
//! Comments start with `#` or `!`; key and value are parted by `=`, `:` or blanks; a backslash at the end of a
//! line joins it to the next, whose leading blanks are dropped; `\t \n \r \f \uXXXX` and `\` before any other
//! character are understood. Unlike Java, the text is UTF-8.

/// Reads every `key, value` pair in order; a later pair with the same key is meant to win.
///
/// # Errors
/// The number of the line, counted from 1, with a broken `\u` escape.
pub fn parse(text: &str) -> Result<Vec<(String, String)>, usize> {
    let mut pairs = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let start = line.trim_start();
        if start.is_empty() || start.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = start.to_owned();
        while continues(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start()),
                None => break,
            }
        }
        pairs.push(pair(&logical).ok_or(index + 1)?);
    }
    Ok(pairs)
}

/// Whether the line ends in an odd number of backslashes, so that the last is not itself escaped.
fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

fn pair(line: &str) -> Option<(String, String)> {
    let end = key_end(line);
    let rest = line[end..].trim_start();
    let value = match rest.strip_prefix(['=', ':']) {
        Some(value) => value.trim_start(),
        None => rest,
    };
    Some((unescape(&line[..end])?, unescape(value)?))
}

fn key_end(line: &str) -> usize {
    let mut escaped = false;
    for (index, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '=' | ':' => return index,
            c if c.is_whitespace() => return index,
            _ => {}
        }
    }
    line.len()
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => out.push(unicode(&mut chars)?),
            Some(other) => out.push(other),
            None => {}
        }
    }
    Some(out)
}

fn unicode(chars: &mut std::str::Chars<'_>) -> Option<char> {
    let mut code = 0;
    for _ in 0..4 {
        code = code * 16 + chars.next()?.to_digit(16)?;
    }
    char::from_u32(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_java_reads() {
        let text = "# comment\n! another\n\na=1\n b : two words \nc three\nd\ne=\nf=x\\\n   y\\=z\ng\\ h=\\u0041\\t\\\\\n";
        let want = [
            ("a", "1"),
            ("b", "two words "),
            ("c", "three"),
            ("d", ""),
            ("e", ""),
            ("f", "xy=z"),
            ("g h", "A\t\\"),
        ];
        let got = parse(text).expect("valid");
        let got: Vec<_> = got.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn a_broken_escape_is_reported_with_its_line() {
        assert_eq!(parse("a=1\nb=\\u00g0\n"), Err(2));
    }

    #[test]
    fn odd_ends_do_not_panic() {
        for text in ["\\", "a\\", "=", ":", "a=\\", "\\u", "\u{feff}a=1"] {
            let _ = parse(text);
        }
    }
}
