//! Apache Kafka as a broker to compare with: the scripts of `peers/kafka`, carried along in this binary.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Error;
use crate::launch::command::{on_path, quote};

/// Name, content, whether it is a program.
const FILES: [(&str, &str, bool); 6] = [
    ("run", include_str!("../../peers/kafka/run"), true),
    ("format", include_str!("../../peers/kafka/format"), true),
    ("tool", include_str!("../../peers/kafka/tool"), true),
    ("jars", include_str!("../../peers/kafka/jars"), true),
    ("pom.xml", include_str!("../../peers/kafka/pom.xml"), false),
    (
        "log4j2.properties",
        include_str!("../../peers/kafka/log4j2.properties"),
        false,
    ),
];

/// The command that runs a one-node Apache Kafka with a heap of 1 GiB; further `key=value` for its server.properties may be
/// appended. The scripts go to the user's cache directory, and so do the jars from Maven Central (55 MB, the first time).
///
/// # Errors
/// A sentence when Java, Maven (only the first time) or Bash is missing, the cache directory cannot be written, or the jars cannot be
/// fetched; what Maven says about that goes to stderr.
pub fn kafka_command() -> Result<String, Error> {
    needs("bash", "the scripts that start Apache Kafka are for Bash")?;
    needs("java", "Apache Kafka needs Java 17 or newer")?;
    let cache = cache_directory(std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME"))?;
    let scripts = cache.join(folder_name());
    write_scripts(&scripts).map_err(|error| {
        let folder = scripts.display();
        Error::failed(format!(
            "the scripts of Apache Kafka cannot be written to {folder}: {error}"
        ))
    })?;
    fetch_jars(&scripts)?;
    let run = scripts.join("run");
    Ok(format!("exec {} {{port}} {{dir}}", quote(&run.to_string_lossy())))
}

fn needs(program: &str, why: &str) -> Result<(), Error> {
    match on_path(program) {
        Some(_) => Ok(()),
        None => Err(Error::failed(format!(
            "{why}, and there is no `{program}` on the PATH"
        ))),
    }
}

fn cache_directory(xdg: Option<OsString>, home: Option<OsString>) -> Result<PathBuf, Error> {
    let xdg = xdg.map(PathBuf::from).filter(|path| path.is_absolute());
    let home = home.map(PathBuf::from).filter(|path| path.is_absolute());
    xdg.or_else(|| home.map(|home| home.join(".cache")))
        .ok_or_else(|| {
            Error::failed(
                "neither XDG_CACHE_HOME nor HOME says where the scripts of Apache Kafka may be kept",
            )
        })
}

/// `ringlog-bench/kafka-<version>-<crc>`: another content is another folder, so that no two versions of this tool disturb each other.
fn folder_name() -> String {
    let all: String = FILES
        .iter()
        .flat_map(|(name, content, _)| [*name, *content])
        .collect();
    let crc = crc_fast::crc32_iscsi(all.as_bytes());
    format!("ringlog-bench/kafka-{}-{crc:08x}", version())
}

/// The version of Kafka in the pom.
fn version() -> &'static str {
    let pom = FILES
        .iter()
        .find(|file| file.0 == "pom.xml")
        .map_or("", |file| file.1);
    let behind = pom.split_once("<kafka.version>").map_or("", |(_, behind)| behind);
    behind.split_once('<').map_or("unknown", |(version, _)| version)
}

/// Writes what is missing or differs, each file whole before it has its name: another run may be using them.
fn write_scripts(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, content, is_program) in FILES {
        let path = folder.join(name);
        if fs::read(&path).is_ok_and(|there| there == content.as_bytes()) {
            continue;
        }
        let new = folder.join(format!("{name}.{}.new", std::process::id()));
        fs::write(&new, content)?;
        fs::set_permissions(
            &new,
            Permissions::from_mode(if is_program { 0o755 } else { 0o644 }),
        )?;
        fs::rename(&new, &path)?;
    }
    Ok(())
}

fn fetch_jars(scripts: &Path) -> Result<(), Error> {
    let has_maven = on_path("mvn").is_some();
    let mut command = Command::new(scripts.join("jars"));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    if !has_maven {
        command.stderr(Stdio::null());
    }
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        _ if !has_maven => Err(Error::failed(
            "Apache Kafka's jars come from Maven Central the first time, and there is no `mvn` on the PATH",
        )),
        Ok(status) => Err(Error::failed(format!(
            "Apache Kafka's jars cannot be fetched from Maven Central ({status})"
        ))),
        Err(error) => Err(Error::failed(format!(
            "Apache Kafka's jars cannot be fetched: {error}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_are_written_whole_and_repaired() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join(folder_name());
        write_scripts(&folder).unwrap();
        fs::write(folder.join("run"), "damaged").unwrap();
        write_scripts(&folder).unwrap();
        for (name, content, is_program) in FILES {
            let path = folder.join(name);
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            let mode = path.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o111 != 0, is_program, "{name}");
        }
        assert_eq!(folder.read_dir().unwrap().count(), FILES.len());
    }

    #[test]
    fn the_folder_names_the_version() {
        assert!(
            version().starts_with(|c: char| c.is_ascii_digit()),
            "{}",
            version()
        );
        assert!(folder_name().starts_with(&format!("ringlog-bench/kafka-{}-", version())));
    }

    #[test]
    fn the_cache_is_where_the_user_wants_it() {
        let of = |xdg: Option<&str>, home: Option<&str>| {
            cache_directory(xdg.map(Into::into), home.map(Into::into)).ok()
        };
        assert_eq!(of(Some("/c"), Some("/h")), Some("/c".into()));
        assert_eq!(of(None, Some("/h")), Some("/h/.cache".into()));
        assert_eq!(of(Some("relative"), Some("/h")), Some("/h/.cache".into()));
        assert_eq!(of(Some(""), None), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = needs("no-such-program-anywhere", "this test needs it").unwrap_err();
        assert_eq!(
            error.to_string(),
            "this test needs it, and there is no `no-such-program-anywhere` on the PATH"
        );
    }
}
