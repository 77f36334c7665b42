//! Watching the folders that the policy file is in, and the files that it names.
//!
//! Folders and not files: editors put a new file in the place of the old one, and so does whoever turns a symbolic link to
//! another target, as Kubernetes does. A watch on the file would stay with what was there before.

use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::wishes::Wishes;

/// A watch on some folders; ends when dropped.
#[derive(Debug)]
pub(super) struct Watch {
    watcher: RecommendedWatcher,
    files: Vec<PathBuf>,
}

impl Watch {
    /// Touches `wishes` at every change to one of `files`, or that may have been to it.
    ///
    /// # Errors
    ///
    /// When the system watches nothing for us.
    pub(super) fn start(files: Vec<PathBuf>, wishes: Wishes) -> notify::Result<Self> {
        let watched = files.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Where events were lost, anything may have happened.
            let matters = |event: notify::Event| {
                let is_theirs = |path: &PathBuf| watched.iter().any(|file| may_be(file, path));
                let about = event.paths.is_empty() || event.paths.iter().any(is_theirs);
                changes(event.kind) && about
            };
            if event.map_or(true, matters) {
                wishes.touch();
            }
        })?;
        for file in &files {
            watcher.watch(folder(file), RecursiveMode::NonRecursive)?;
        }
        Ok(Self { watcher, files })
    }

    /// Watches the folders of those names again: others may have taken their places.
    ///
    /// # Errors
    ///
    /// When one of them is not there, or the system watches nothing for us.
    pub(super) fn renew(&mut self) -> notify::Result<()> {
        let (watcher, files) = (&mut self.watcher, &self.files);
        files
            .iter()
            .try_for_each(|file| watcher.watch(folder(file), RecursiveMode::NonRecursive))
    }
}

/// Whether a change of `path` may be one of the policy's: of the file itself, of where it leads to, or of a link or folder on the way.
/// Any other file beside it is somebody else's; our own log may be one, and would have us read the policy for ever.
fn may_be(policy: &Path, path: &Path) -> bool {
    if path.file_name() == policy.file_name() {
        return true;
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => {
            let target = std::fs::canonicalize(policy).ok();
            target.is_some() && target == std::fs::canonicalize(path).ok()
        }
        Ok(_) => true,
        // It is gone. If the policy went with it, what comes in its place is seen.
        Err(_) => !policy.exists(),
    }
}

/// Whether it tells of a change. Reading the file is an event too, and we do that ourselves.
fn changes(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

fn folder(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_in_the_present_folder() {
        for (file, expected) in [
            ("policy.yaml", "."),
            ("./policy.yaml", "."),
            ("/etc/sluicegate/p", "/etc/sluicegate"),
            ("/", "."),
        ] {
            assert_eq!(folder(Path::new(file)), Path::new(expected), "{file}");
        }
    }

    #[test]
    fn a_file_beside_the_policy_is_not_the_policys_unless_a_link_leads_to_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["policy.yaml", "real.yaml", "sluicegate.log"] {
            std::fs::write(path(name), "").expect("a file");
        }
        std::os::unix::fs::symlink("real.yaml", path("link.yaml")).expect("a link");
        std::os::unix::fs::symlink("v1", path("..data")).expect("a link");
        let policy = path("policy.yaml");
        assert!(may_be(&policy, &path("policy.yaml")) && may_be(&policy, &path("..data")));
        assert!(!may_be(&policy, &path("sluicegate.log")) && !may_be(&policy, &path("real.yaml")));
        assert!(!may_be(&policy, &path("gone")));
        assert!(may_be(&path("link.yaml"), &path("real.yaml")));
        assert!(!may_be(&path("link.yaml"), &path("sluicegate.log")));
    }

    #[test]
    fn our_own_reading_is_no_change() {
        assert!(!changes(EventKind::Access(AccessKind::Open(AccessMode::Any))));
        assert!(!changes(EventKind::Access(AccessKind::Close(AccessMode::Read))));
        assert!(changes(EventKind::Access(AccessKind::Close(AccessMode::Write))));
        assert!(changes(EventKind::Any));
    }
}
