//! `--format`: text with directives, parsed once.

use ringlog_records::Record;

/// A parsed format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Value,
    Key,
    Topic,
    Partition,
    Offset,
    Timestamp,
    Headers,
    ValueSize,
    KeySize,
}

impl Format {
    /// Parses directives (`%v`) and escapes (`\n`); see `ringlog consume --help` for all of them.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '%' => directive(chars.next(), &mut pieces)?,
                '\\' => push_text(&mut pieces, escape(chars.next())?),
                _ => push_text(&mut pieces, c),
            }
        }
        Ok(Self(pieces))
    }

    /// The bytes for one record: keys and values as they are, null as nothing.
    pub(super) fn apply(&self, topic: &str, partition: i32, record: &Record) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Value => out.extend_from_slice(record.value.as_deref().unwrap_or_default()),
                Piece::Key => out.extend_from_slice(record.key.as_deref().unwrap_or_default()),
                Piece::Topic => out.extend_from_slice(topic.as_bytes()),
                Piece::Partition => out.extend_from_slice(partition.to_string().as_bytes()),
                Piece::Offset => out.extend_from_slice(record.offset.to_string().as_bytes()),
                Piece::Timestamp => out.extend_from_slice(record.timestamp_ms.to_string().as_bytes()),
                Piece::Headers => write_headers(&mut out, record),
                Piece::ValueSize => out.extend_from_slice(size(record.value.as_deref()).as_bytes()),
                Piece::KeySize => out.extend_from_slice(size(record.key.as_deref()).as_bytes()),
            }
        }
        out
    }
}

fn directive(letter: Option<char>, pieces: &mut Vec<Piece>) -> Result<(), String> {
    pieces.push(match letter {
        Some('v') => Piece::Value,
        Some('k') => Piece::Key,
        Some('t') => Piece::Topic,
        Some('p') => Piece::Partition,
        Some('o') => Piece::Offset,
        Some('T') => Piece::Timestamp,
        Some('h') => Piece::Headers,
        Some('S') => Piece::ValueSize,
        Some('K') => Piece::KeySize,
        Some('%') => {
            push_text(pieces, '%');
            return Ok(());
        }
        Some(other) => {
            return Err(format!(
                "--format: unknown directive %{other}; see `ringlog consume --help`"
            ));
        }
        None => return Err("--format: a single % at the end; write %% for a percent sign".to_owned()),
    });
    Ok(())
}

fn escape(letter: Option<char>) -> Result<char, String> {
    match letter {
        Some('n') => Ok('\n'),
        Some('t') => Ok('\t'),
        Some('r') => Ok('\r'),
        Some('0') => Ok('\0'),
        Some('\\') => Ok('\\'),
        Some(other) => Err(format!(
            "--format: unknown escape \\{other}; see `ringlog consume --help`"
        )),
        None => Err("--format: a single \\ at the end; write \\\\ for a backslash".to_owned()),
    }
}

fn push_text(pieces: &mut Vec<Piece>, c: char) {
    if !matches!(pieces.last(), Some(Piece::Text(_))) {
        pieces.push(Piece::Text(Vec::new()));
    }
    if let Some(Piece::Text(text)) = pieces.last_mut() {
        text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// `a=1,b=2`; a null value has no `=`.
fn write_headers(out: &mut Vec<u8>, record: &Record) {
    for (index, (key, value)) in record.headers.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&key);
        if let Some(value) = value {
            out.push(b'=');
            out.extend_from_slice(&value);
        }
    }
}

fn size(bytes: Option<&[u8]>) -> String {
    bytes.map_or("-1".to_owned(), |bytes| bytes.len().to_string())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use ringlog_records::Headers;

    fn record() -> Record {
        Record {
            offset: 7,
            timestamp_ms: 1000,
            key: None,
            value: Some(Bytes::from_static(b"\xffv")),
            headers: Headers::default(),
        }
    }

    #[test]
    fn every_directive_and_escape() {
        let format = Format::parse("%t %p:%o %T [%k|%K] %v %S%% \\t\\\\é%h\\n").expect("parses");
        let expected = b"t 3:7 1000 [|-1] \xffv 2% \t\\\xc3\xa9\n";
        assert_eq!(format.apply("t", 3, &record()), expected);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, named) in [("%x", "%x"), ("a%", "%%"), ("\\q", "\\q"), ("\\", "\\\\")] {
            let error = Format::parse(text).expect_err(text);
            assert!(error.contains(named), "{error}");
        }
    }
}
