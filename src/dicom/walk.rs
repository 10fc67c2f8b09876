//! Finding the files under a PATH: iterative, bounded, in an order that depends on names alone, and never opening anything but regular files.

use crate::{Error, ErrorKind};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Bounds of one search.
#[derive(Clone, Copy, Debug)]
pub(super) struct WalkLimits {
    pub(super) max_files: usize,
    pub(super) max_depth: usize,
}

/// What lies under one PATH.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Regular files, folder by folder, sorted by name.
    pub(super) files: Vec<PathBuf>,
    /// Folders and links that could not be followed.
    pub(super) problems: Vec<Error>,
    /// The PATH itself is a file.
    pub(super) is_file: bool,
}

/// Lists the regular files under `root`. Links are followed once: a file or folder reached a second time is skipped, so loops end.
///
/// # Errors
/// `no_images` when `root` cannot be read at all, `too_large` when more than `max_files` entries lie under it.
pub(super) fn walk(root: &Path, limits: &WalkLimits) -> crate::Result<Found> {
    let unreadable = |e: std::io::Error| Error::new(ErrorKind::NoImages, format!("cannot be read: {e}")).in_file(root).caused_by(e);
    let meta = fs::metadata(root).map_err(unreadable)?;
    if meta.is_file() {
        return Ok(Found { files: vec![root.to_path_buf()], is_file: true, ..Found::default() });
    }
    if !meta.is_dir() {
        return Err(Error::new(ErrorKind::NoImages, "is neither a file nor a folder").in_file(root));
    }
    fs::read_dir(root).map_err(unreadable)?;
    Walker { limits, found: Found::default(), seen: HashSet::new(), entries: 0 }.run(root)
}

struct Walker<'a> {
    limits: &'a WalkLimits,
    found: Found,
    /// Canonical paths of every folder and file met so far.
    seen: HashSet<PathBuf>,
    entries: usize,
}

/// A folder still to be read, or a file in its place among them.
struct Pending {
    path: PathBuf,
    depth: usize,
}

impl Walker<'_> {
    fn run(mut self, root: &Path) -> crate::Result<Found> {
        let mut stack = vec![Pending { path: root.to_path_buf(), depth: 0 }];
        while let Some(next) = stack.pop() {
            let meta = match fs::metadata(&next.path) {
                Ok(meta) => meta,
                Err(e) => {
                    self.found.problems.push(Error::io(&next.path, e));
                    continue;
                }
            };
            if meta.is_file() {
                if self.first_visit(&next.path) {
                    self.found.files.push(next.path);
                }
            } else if meta.is_dir() {
                self.enter(next, &mut stack, root)?;
            }
        }
        Ok(self.found)
    }

    /// Puts the entries of a folder on the stack so that they come off sorted by name.
    fn enter(&mut self, folder: Pending, stack: &mut Vec<Pending>, root: &Path) -> crate::Result<()> {
        if !self.first_visit(&folder.path) {
            return Ok(());
        }
        if folder.depth >= self.limits.max_depth {
            let message = format!("lies {} folders deep, the limit; not searched", folder.depth);
            self.found.problems.push(Error::new(ErrorKind::TooLarge, message).in_file(folder.path));
            return Ok(());
        }
        let mut children = Vec::new();
        match fs::read_dir(&folder.path) {
            Err(e) => self.found.problems.push(Error::io(&folder.path, e)),
            Ok(entries) => {
                for entry in entries {
                    match entry {
                        Ok(entry) => children.push(entry.path()),
                        Err(e) => {
                            self.found.problems.push(Error::io(&folder.path, e));
                            break;
                        }
                    }
                    self.entries += 1;
                    if self.entries > self.limits.max_files {
                        let message = format!("more than {} files and folders lie under it; name smaller folders", self.limits.max_files);
                        return Err(Error::new(ErrorKind::TooLarge, message).in_file(root));
                    }
                }
            }
        }
        children.sort_unstable_by(|a, b| b.cmp(a));
        stack.extend(children.into_iter().map(|path| Pending { path, depth: folder.depth + 1 }));
        Ok(())
    }

    fn first_visit(&mut self, path: &Path) -> bool {
        // A path that has vanished since is kept: reading it says what is wrong.
        fs::canonicalize(path).map_or(true, |canonical| self.seen.insert(canonical))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: WalkLimits = WalkLimits { max_files: 100, max_depth: 8 };

    fn names(found: &Found, root: &Path) -> Vec<String> {
        found.files.iter().map(|f| f.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/")).collect()
    }

    /// Depth first, each folder sorted by name, whatever order the file system lists them in.
    #[test]
    fn order_depends_on_names_alone() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b/2", "b/10", "a", "c/x/y"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
        let found = walk(dir.path(), &LIMITS).unwrap();
        assert_eq!(names(&found, dir.path()), ["a", "b/10", "b/2", "c/x/y"]);
        assert!(found.problems.is_empty() && !found.is_file);
    }

    /// A folder deeper than the limit is named, the rest is kept; too many entries refuse the whole PATH.
    #[test]
    fn bounds_are_said() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("1/2/3")).unwrap();
        fs::write(dir.path().join("1/2/3/deep"), b"").unwrap();
        fs::write(dir.path().join("1/shallow"), b"").unwrap();
        let found = walk(dir.path(), &WalkLimits { max_files: 100, max_depth: 3 }).unwrap();
        assert_eq!(names(&found, dir.path()), ["1/shallow"]);
        assert_eq!(found.problems.len(), 1);
        assert!(found.problems[0].path().unwrap().ends_with("1/2/3"));
        let refused = walk(dir.path(), &WalkLimits { max_files: 2, max_depth: 9 }).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::TooLarge);
    }

    #[test]
    fn a_missing_path_is_no_images() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(walk(&dir.path().join("none"), &LIMITS).unwrap_err().kind(), ErrorKind::NoImages);
    }

    /// Loops end, a file reached by name and by link counts once, a dangling link is reported, a named pipe is not opened.
    #[cfg(unix)]
    #[test]
    fn links_and_special_files() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/real"), b"").unwrap();
        symlink(dir.path(), dir.path().join("sub/loop")).unwrap();
        symlink(dir.path().join("sub/real"), dir.path().join("sub/zlink")).unwrap();
        symlink(dir.path().join("gone"), dir.path().join("dangling")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(dir.path().join("pipe")).status();
        if !made.is_ok_and(|s| s.success()) {
            eprintln!("skipped: no mkfifo here, named pipes not tried");
        }
        let found = walk(dir.path(), &LIMITS).unwrap();
        assert_eq!(names(&found, dir.path()), ["sub/real"]);
        assert_eq!(found.problems.len(), 1);
        assert!(found.problems[0].path().unwrap().ends_with("dangling"));
    }
}
