//! Files that appear whole or not at all: written beside their target, flushed, and renamed over it.

use crate::{Error, Result};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Writes `bytes` to `path`. A reader sees the old file or the new one, never a part.
///
/// A symbolic link keeps pointing where it pointed. A target that is no regular file (a pipe, `/dev/null`) is written straight.
///
/// # Errors
/// `io`, naming `path`.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let fail = |e| Error::io(path, e);
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    if fs::metadata(&target).is_ok_and(|m| !m.is_file() && !m.is_dir()) {
        return fs::write(&target, bytes).map_err(fail);
    }
    let mut file = temporary_beside(&target).map_err(fail)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(fail)?;
    file.persist(&target).map_err(|e| fail(e.error))?;
    Ok(())
}

/// As [`write()`], to a path where there is nothing yet.
///
/// # Errors
/// `io`, naming `path`, also when something is there.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let fail = |e| Error::io(path, e);
    let mut file = temporary_beside(path).map_err(fail)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(fail)?;
    file.persist_noclobber(path).map_err(|e| fail(e.error))?;
    Ok(())
}

/// Whether `path` can be written, found out before the long work; leaves nothing behind.
///
/// # Errors
/// `io`, naming `path`.
pub fn check_writable(path: &Path) -> Result<()> {
    let fail = |e| Error::io(path, e);
    match fs::metadata(path) {
        Ok(m) if m.is_dir() => Err(fail(std::io::Error::new(std::io::ErrorKind::IsADirectory, "is a folder, not a file"))),
        Ok(m) if !m.is_file() => Ok(()),
        _ => temporary_beside(path).map(drop).map_err(fail),
    }
}

fn temporary_beside(target: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let folder = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".radnet-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666)); // less the umask, as for any file a program writes
    }
    builder.tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_and_leaves_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.json");
        check_writable(&path).unwrap();
        assert!(names(folder.path()).is_empty());
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(folder.path()), ["r.json"]);
    }

    #[test]
    fn a_new_file_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        write_new(&path, b"one").unwrap();
        assert_eq!(write_new(&path, b"two").unwrap_err().kind(), crate::ErrorKind::Io);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(names(folder.path()), ["new"]);
    }

    #[test]
    fn names_the_file_that_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing/r.json");
        for error in [write(&missing, b"x").unwrap_err(), check_writable(&missing).unwrap_err(), check_writable(folder.path()).unwrap_err()]
        {
            assert_eq!(error.kind(), crate::ErrorKind::Io);
            assert!(error.path().is_some());
        }
    }

    #[cfg(unix)]
    #[test]
    fn keeps_links_and_special_files() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, b"old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write(&link, b"new").unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        write(Path::new("/dev/null"), b"gone").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
