//! Writing results: a line of text or a JSON object, from the same fields; and bytes as either can carry them.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

use super::error::{CliError, CliResult};

/// Fields in the order in which they are shown.
pub type Fields = Map<String, Value>;

/// Makes [`Fields`]; values are anything `serde_json::Value` can be made from.
macro_rules! fields {
    ($($name:ident: $value:expr),* $(,)?) => {{
        #[allow(unused_mut)]
        let mut fields = $crate::cli::output::Fields::new();
        $(fields.insert(stringify!($name).to_owned(), serde_json::Value::from($value));)*
        fields
    }};
}
pub(crate) use fields;

/// Where results go, buffered: whoever waits for input or time flushes first.
pub struct Output {
    out: Box<dyn Write>,
    json: bool,
}

impl Output {
    /// Stdout, locked for this thread.
    pub fn stdout(json: bool) -> Self {
        Self::to(BufWriter::with_capacity(1 << 16, io::stdout().lock()), json)
    }

    /// Anything else.
    pub fn to(out: impl Write + 'static, json: bool) -> Self {
        Self {
            out: Box::new(out),
            json,
        }
    }

    /// Whether results are JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// One JSON object and a newline, whatever the mode.
    pub fn json_line(&mut self, fields: &Fields) -> CliResult<()> {
        serde_json::to_writer(&mut self.out, fields).map_err(|error| CliError::output(&error.into()))?;
        self.bytes(b"\n")
    }

    /// One line of text.
    pub fn text_line(&mut self, text: &str) -> CliResult<()> {
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")
    }

    /// In JSON mode the object; else its fields as `name=value`, behind `indent`.
    pub fn fields_line(&mut self, indent: &str, fields: &Fields) -> CliResult<()> {
        match self.json {
            true => self.json_line(fields),
            false => self.text_line(&format!("{indent}{}", as_text(fields))),
        }
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> CliResult<()> {
        self.out
            .write_all(bytes)
            .map_err(|error| CliError::output(&error))
    }

    /// Hands everything to the system.
    pub fn flush(&mut self) -> CliResult<()> {
        self.out.flush().map_err(|error| CliError::output(&error))
    }
}

/// `a=1 b=two c="with space"`; the field `kind` goes first without its name.
fn as_text(fields: &Fields) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        let space = if text.is_empty() { "" } else { " " };
        let _infallible = match (name.as_str(), value) {
            ("kind", Value::String(kind)) => write!(text, "{space}{kind}"),
            (_, Value::String(word)) if is_word(word) => write!(text, "{space}{name}={word}"),
            _ => write!(text, "{space}{name}={value}"),
        };
    }
    text
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"' || c == '=')
}

/// Adds bytes: `name` as a string when they are UTF-8, `name_base64` when not, `name: null` when there are none.
pub fn insert_bytes(fields: &mut Fields, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(std::str::from_utf8) {
        None => fields.insert(name.to_owned(), Value::Null),
        Some(Ok(text)) => fields.insert(name.to_owned(), Value::from(text)),
        Some(Err(_)) => fields.insert(
            format!("{name}_base64"),
            Value::from(BASE64.encode(bytes.unwrap_or_default())),
        ),
    };
}

/// The fields of a record, as `consume --json` and `dump --records` show them.
pub fn insert_record(fields: &mut Fields, record: &ringlog_records::Record) {
    fields.insert("offset".to_owned(), Value::from(record.offset));
    fields.insert("timestamp_ms".to_owned(), Value::from(record.timestamp_ms));
    insert_bytes(fields, "key", record.key.as_deref());
    insert_bytes(fields, "value", record.value.as_deref());
    let headers: Vec<Value> = record
        .headers
        .iter()
        .map(|(key, value)| header_value(&key, value.as_deref()))
        .collect();
    fields.insert("headers".to_owned(), Value::from(headers));
}

fn header_value(key: &[u8], value: Option<&[u8]>) -> Value {
    let mut header = Fields::new();
    insert_bytes(&mut header, "key", Some(key));
    insert_bytes(&mut header, "value", value);
    Value::Object(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_quotes_only_what_needs_it() {
        let fields =
            fields! { kind: "batch", position: 0, codec: "zstd", error: "two words", empty: "", ok: true };
        assert_eq!(
            as_text(&fields),
            r#"batch position=0 codec=zstd error="two words" empty="" ok=true"#
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_named_so() {
        let mut fields = Fields::new();
        insert_bytes(&mut fields, "a", None);
        insert_bytes(&mut fields, "b", Some("é".as_bytes()));
        insert_bytes(&mut fields, "c", Some(&[0xff, 0]));
        assert_eq!(
            Value::Object(fields).to_string(),
            r#"{"a":null,"b":"é","c_base64":"/wA="}"#
        );
    }
}
