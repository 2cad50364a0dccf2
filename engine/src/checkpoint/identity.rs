//! Whose directory it is and how it was left: `meta.properties`, `partition.metadata`, `.kafka_cleanshutdown`.

use super::CheckpointError;

/// A 16-byte id: of a topic, of a directory.
pub type Uuid = [u8; 16];

/// The id no topic has.
pub const ZERO_UUID: Uuid = [0; 16];

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The id as Kafka writes it: base64 with the URL alphabet and no padding, 22 characters.
pub fn encode_uuid(id: Uuid) -> String {
    let bits = u128::from_be_bytes(id);
    let sextet = |i: u32| if i < 21 { bits >> (122 - 6 * i) } else { bits << 4 };
    (0..22)
        .map(|i| char::from(ALPHABET[(sextet(i) & 63) as usize]))
        .collect()
}

/// Reads an id as Kafka writes it, with or without padding. `None` when it is not one.
pub fn parse_uuid(text: &str) -> Option<Uuid> {
    let text = text.strip_suffix("==").unwrap_or(text);
    if text.len() != 22 {
        return None;
    }
    let mut bits = 0u128;
    for (i, c) in text.bytes().enumerate() {
        let sextet = ALPHABET.iter().position(|&a| a == c)? as u128;
        bits = if i < 21 {
            bits << 6 | sextet
        } else {
            bits << 2 | sextet >> 4
        };
    }
    Some(bits.to_be_bytes())
}

/// The text of `partition.metadata`.
pub fn encode_partition_metadata(topic_id: Uuid) -> String {
    format!("version: 0\ntopic_id: {}", encode_uuid(topic_id))
}

/// Reads the topic id from the text of `partition.metadata`. Any version from 0 on is read, as Kafka does, so that a
/// newer broker's directory can still be opened.
pub fn parse_partition_metadata(text: &str) -> Result<Uuid, CheckpointError> {
    let mut lines = text.lines();
    let mut value = |line: usize, key: &str| {
        let found = lines
            .next()
            .and_then(|l| l.split_once(':'))
            .filter(|(k, v)| *k == key && v.starts_with(' '));
        found
            .map(|(_, v)| v.trim())
            .ok_or_else(|| CheckpointError::new(line, format!("expected \"{key}: ...\"")))
    };
    let version = value(1, "version")?;
    if !version.parse::<i32>().is_ok_and(|v| v >= 0) {
        return Err(CheckpointError::new(
            1,
            format!("version {version:?} is not known"),
        ));
    }
    let id = parse_uuid(value(2, "topic_id")?).filter(|id| *id != ZERO_UUID);
    id.ok_or_else(|| CheckpointError::new(2, "not a topic id"))
}

/// What `meta.properties` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// Id of the cluster the directory belongs to.
    pub cluster_id: String,
    /// Id of the node the directory belongs to.
    pub node_id: i32,
    /// Id of the directory itself.
    pub directory_id: Option<Uuid>,
    /// Keys that mean nothing here, kept so that writing the file again does not lose them.
    pub other: Vec<(String, String)>,
}

impl MetaProperties {
    /// The text of `meta.properties`. Kafka reads it; it writes the same keys in no particular order below a date.
    pub fn encode(&self) -> String {
        let mut text = format!(
            "version=1\ncluster.id={}\nnode.id={}\n",
            escape(&self.cluster_id, false),
            self.node_id
        );
        if let Some(id) = self.directory_id {
            text.push_str(&format!("directory.id={}\n", encode_uuid(id)));
        }
        for (key, value) in &self.other {
            text.push_str(&format!("{}={}\n", escape(key, true), escape(value, false)));
        }
        text
    }

    /// Reads the text of `meta.properties`, version 1. Version 0, of clusters with ZooKeeper, is refused.
    pub fn parse(text: &str) -> Result<MetaProperties, CheckpointError> {
        let mut properties = parse_properties(text)?;
        let version = required(&mut properties, "version")?;
        if version.value != "1" {
            return Err(CheckpointError::new(
                version.line,
                format!("version {:?} is not known, only 1", version.value),
            ));
        }
        let cluster_id = required(&mut properties, "cluster.id")?.value;
        let node = required(&mut properties, "node.id")?;
        let node_id = node.value.parse().ok().filter(|id| *id >= 0);
        let node_id =
            node_id.ok_or_else(|| CheckpointError::new(node.line, "node.id is not a number from 0 on"))?;
        let directory_id = match take(&mut properties, "directory.id") {
            None => None,
            Some(p) => Some(
                parse_uuid(&p.value)
                    .ok_or_else(|| CheckpointError::new(p.line, "directory.id is not an id"))?,
            ),
        };
        let other = properties.into_iter().map(|p| (p.key, p.value)).collect();
        Ok(MetaProperties {
            cluster_id,
            node_id,
            directory_id,
            other,
        })
    }
}

/// One key of a `.properties` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The line it starts on, counted from 1.
    pub line: usize,
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// Reads a file in Java's `.properties` format: comments, continued lines, escapes, `=`, `:` or blanks between key and value.
///
/// # Errors
/// A `\u` without four hexadecimal digits, and a key given twice (Java would take the last).
pub fn parse_properties(text: &str) -> Result<Vec<Property>, CheckpointError> {
    let mut properties: Vec<Property> = Vec::new();
    for (line, text) in logical_lines(text) {
        let (key, value) = split_property(&text);
        let error = || CheckpointError::new(line, "\\u needs four hexadecimal digits");
        let (key, value) = (
            unescape(key).ok_or_else(error)?,
            unescape(value).ok_or_else(error)?,
        );
        if properties.iter().any(|p| p.key == key) {
            return Err(CheckpointError::new(line, format!("{key} is given twice")));
        }
        properties.push(Property { line, key, value });
    }
    Ok(properties)
}

fn take(properties: &mut Vec<Property>, key: &str) -> Option<Property> {
    let at = properties.iter().position(|p| p.key == key)?;
    Some(properties.remove(at))
}

fn required(properties: &mut Vec<Property>, key: &str) -> Result<Property, CheckpointError> {
    take(properties, key).ok_or_else(|| CheckpointError::new(0, format!("{key} is missing")))
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// Lines that say something, without the blanks in front, those that end in a backslash joined with the next.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut joined: Vec<(usize, String)> = Vec::new();
    let mut continues = false;
    for (i, line) in text.lines().enumerate() {
        let line = line.trim_start_matches(is_blank);
        if !continues && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        let backslashes = line.bytes().rev().take_while(|b| *b == b'\\').count();
        let part = if backslashes % 2 == 1 {
            &line[..line.len() - 1]
        } else {
            line
        };
        match joined.last_mut().filter(|_| continues) {
            Some((_, start)) => start.push_str(part),
            None => joined.push((i + 1, part.to_owned())),
        }
        continues = backslashes % 2 == 1;
    }
    joined.retain(|(_, line)| !line.is_empty());
    joined
}

/// Key and value, still escaped: parted by blanks, and among them at most one `=` or `:`.
fn split_property(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (is_blank(c) || c == '=' || c == ':');
        escaped = c == '\\' && !escaped;
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(is_blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, value.trim_start_matches(is_blank))
}

fn unescape(text: &str) -> Option<String> {
    let mut units = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some('u') => {
                    units.push(hex_unit(&mut chars)?);
                    continue;
                }
                Some(other) => other,
                None => continue,
            },
            other => other,
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
    Some(String::from_utf16_lossy(&units))
}

fn hex_unit(chars: &mut std::str::Chars<'_>) -> Option<u16> {
    (0..4).try_fold(0, |unit, _| Some(unit << 4 | chars.next()?.to_digit(16)? as u16))
}

/// As Java writes keys and values: blanks are escaped everywhere in a key, and at the front of a value.
fn escape(text: &str, is_key: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, unit) in text.encode_utf16().enumerate() {
        match u8::try_from(unit).map(char::from) {
            Ok(' ') if is_key || i == 0 => out.push_str("\\ "),
            Ok('\t') => out.push_str("\\t"),
            Ok('\n') => out.push_str("\\n"),
            Ok('\r') => out.push_str("\\r"),
            Ok('\x0c') => out.push_str("\\f"),
            Ok(c @ ('\\' | '=' | ':' | '#' | '!')) => out.extend(['\\', c]),
            Ok(c @ ' '..='~') => out.push(c),
            _ => out.push_str(&format!("\\u{unit:04X}")),
        }
    }
    out
}

/// The text of `.kafka_cleanshutdown`.
pub fn encode_clean_shutdown(broker_epoch: i64) -> String {
    format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}")
}

/// Reads the broker's epoch from the text of `.kafka_cleanshutdown`. That the file is there is what says the stop was
/// clean; a text that cannot be read (older brokers left the file empty) only leaves the epoch unknown.
pub fn parse_clean_shutdown(text: &str) -> Option<i64> {
    let body = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut fields = body.split(',').map(|field| field.split_once(':'));
    let (_, epoch) = fields.find_map(|field| field.filter(|(key, _)| key.trim() == "\"brokerEpoch\""))?;
    epoch.trim().parse().ok()
}

#[cfg(test)]
mod tests;
