//! Ringlog as a broker to measure.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::launch::command::{is_program, on_path, quote};

/// The command that runs the `ringlog` beside this program, or else the one on the PATH; further options may be appended.
///
/// # Errors
/// A sentence that says how to get one when there is neither.
pub fn ringlog_command() -> Result<String, Error> {
    let own = std::env::current_exe().ok();
    let found = own.as_deref().and_then(beside).or_else(|| on_path("ringlog"));
    let binary = found.ok_or_else(|| {
        Error::failed(
            "there is no `ringlog` beside this program and none on the PATH: build it with `cargo build --release --bin ringlog`, \
             or name a command",
        )
    })?;
    Ok(command(&binary))
}

fn beside(program: &Path) -> Option<PathBuf> {
    let sibling = program.with_file_name("ringlog");
    is_program(&sibling).then_some(sibling)
}

fn command(binary: &Path) -> String {
    let binary = quote(&binary.to_string_lossy());
    format!("exec {binary} serve --listen 127.0.0.1:{{port}} --data-dir {{dir}}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_one_beside_this_program_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("ringlog-bench");
        let sibling = folder.path().join("ringlog");
        assert_eq!(beside(&own), None);
        write(&sibling, "").unwrap();
        set_permissions(&sibling, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(beside(&own), None, "no program");
        set_permissions(&sibling, Permissions::from_mode(0o755)).unwrap();
        assert_eq!(beside(&own), Some(sibling));
    }

    #[test]
    fn the_command_is_quoted() {
        let line = command(Path::new("/a b/ringlog"));
        assert_eq!(
            line,
            "exec '/a b/ringlog' serve --listen 127.0.0.1:{port} --data-dir {dir}"
        );
    }
}
