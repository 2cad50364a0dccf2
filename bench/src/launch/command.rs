//! Command lines: placeholders, quoting, programs on the PATH.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Puts the port and the directory where the command says `{port}` and `{dir}`. The directory is quoted for the shell when it
/// needs to be.
pub fn fill(command: &str, directory: &Path, port: u16) -> String {
    let quoted = quote(&directory.to_string_lossy());
    // by pieces, so that a directory with `{port}` in its name stays one
    let pieces = command.split("{dir}");
    let filled: Vec<String> = pieces
        .map(|piece| piece.replace("{port}", &port.to_string()))
        .collect();
    filled.join(&quoted)
}

/// A word of a shell command line that means `text` literally.
pub fn quote(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%=".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Where a program is that can be called by its name alone.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| is_program(file))
}

/// Whether this is a file that somebody may execute.
pub fn is_program(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// What a broker's files are called after: its name without anything that means something in a path.
pub fn file_name(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '-'
        }
    };
    let name: String = name.chars().map(plain).collect();
    let name = name.trim_start_matches('.');
    if name.is_empty() {
        "broker".to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn fills_in_port_and_directory() {
        let of = |command, directory| fill(command, Path::new(directory), 9092);
        assert_eq!(
            of("x --at :{port} -d {dir} {port}", "/a/b-1"),
            "x --at :9092 -d /a/b-1 9092"
        );
        assert_eq!(of("x {dir}/sub", "/a b"), "x '/a b'/sub");
        assert_eq!(of("x {dir}", "/{port}/{dir}"), "x '/{port}/{dir}'");
        assert_eq!(of("x {ports} ${HOME} {}", "/a"), "x {ports} ${HOME} {}");
    }

    #[test]
    fn the_shell_reads_a_quoted_word_as_it_was() {
        for text in [
            "",
            "plain",
            "a b",
            "it's",
            "$HOME `id` \"x\" \\ ; & é",
            "'",
            "-n*?~",
        ] {
            let line = format!("printf %s {}", quote(text));
            let said = Command::new("sh").args(["-c", &line]).output().unwrap().stdout;
            assert_eq!(String::from_utf8_lossy(&said), text);
        }
    }

    #[test]
    fn finds_programs() {
        assert!(on_path("sh").is_some_and(|file| is_program(&file)));
        assert_eq!(on_path("no-such-program-anywhere"), None);
        assert!(!is_program(Path::new("/")) && !is_program(Path::new("/proc/version")));
    }

    #[test]
    fn file_names_stay_in_their_folder() {
        for (name, wanted) in [
            ("kafka", "kafka"),
            ("../../etc/x", "-..-etc-x"),
            ("127.0.0.1:9092", "127.0.0.1-9092"),
            ("..", "broker"),
            ("", "broker"),
        ] {
            assert_eq!(file_name(name), wanted);
        }
    }
}
