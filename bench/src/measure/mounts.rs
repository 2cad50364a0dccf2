//! Which filesystem a path is on, from `/proc/self/mountinfo`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One line of the mount table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// Its type: `ext4`.
    pub kind: String,
    /// Options of the mount, then those of the filesystem that are not among them; comma-separated.
    pub options: String,
    /// The device, or whatever the filesystem calls its source.
    pub source: String,
}

impl Mount {
    /// Whether its files are in memory only, where direct writes mean nothing (newer kernels accept them all the same).
    pub fn is_memory(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "tmpfs" | "ramfs" | "rootfs" | "devtmpfs" | "hugetlbfs"
        )
    }
}

/// The mount an absolute path without links is on: the one with the longest mount point, of several there the last,
/// which hides the others. `table` has the form of `/proc/self/mountinfo`; lines of another form are passed over.
pub fn mount_of(table: &str, path: &Path) -> Option<Mount> {
    table
        .lines()
        .filter_map(parse_line)
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.components().count())
}

/// `id parent major:minor root POINT OPTIONS tags... - KIND SOURCE SUPER_OPTIONS`
fn parse_line(line: &str) -> Option<Mount> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(4);
    let (point, own) = (mount.next()?, mount.next()?);
    let mut filesystem = filesystem.split(' ');
    let (kind, source) = (filesystem.next()?, filesystem.next()?);
    let mut options: Vec<&str> = own.split(',').collect();
    for option in filesystem.next().unwrap_or_default().split(',') {
        if !option.is_empty() && !options.contains(&option) {
            options.push(option);
        }
    }
    Some(Mount {
        point: PathBuf::from(unescape(point)),
        kind: kind.to_owned(),
        options: options.join(","),
        source: unescape(source).to_string_lossy().into_owned(),
    })
}

/// Blanks, tabs, newlines and backslashes are written as a backslash and three octal digits.
fn unescape(text: &str) -> OsString {
    let (mut rest, mut bytes) = (text.as_bytes(), Vec::with_capacity(text.len()));
    while let Some((first, behind)) = rest.split_first() {
        let octal = behind.get(..3).filter(|_| *first == b'\\');
        let value = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        match value.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[3..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r"22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard,resuid=65534
40 27 8:1 / /data rw,noatime shared:1 master:2 - xfs /dev/sda1 rw,attr2
41 27 8:2 / /data\040two rw - ext4 /dev/disk\040b rw
42 40 0:50 / /data/fast rw - ext4 /dev/hidden rw
43 40 0:51 / /data/fast ro - tmpfs none rw,size=4k
garbage
44 40 0:52 / - x
45 40 0:52 / /database rw - btrfs /dev/sdc";

    #[test]
    fn the_longest_mount_point_wins_and_the_last_of_equals() {
        let of = |path: &str| mount_of(TABLE, Path::new(path)).unwrap();
        let root = of("/home/x");
        assert_eq!((root.kind.as_str(), root.source.as_str()), ("ext4", "/dev/vda"));
        assert_eq!(root.options, "rw,relatime,discard,resuid=65534");
        assert_eq!(of("/data/kafka").options, "rw,noatime,attr2");
        assert_eq!(of("/data").source, "/dev/sda1");
        assert_eq!(of("/data two/x").source, "/dev/disk b");
        assert!(of("/data/fast/x").is_memory());
        assert_eq!(of("/database").kind, "btrfs");
        assert_eq!(of("/databases").source, "/dev/vda");
    }

    #[test]
    fn hostile_tables_name_no_mount() {
        for table in [
            "",
            "\n\n",
            " - ",
            "1 2 3 4 / - ",
            "1 2 3 4 / rw - ext4",
            "1 2 3 4 relative rw - ext4 d",
        ] {
            assert_eq!(mount_of(table, Path::new("/x")), None, "{table}");
        }
        assert_eq!(unescape(r"a\04"), "a\\04");
        assert_eq!(unescape(r"\999\134\400"), r"\999\\400");
        assert_eq!(unescape("\\0é"), "\\0é");
    }
}
