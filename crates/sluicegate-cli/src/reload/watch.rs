//! Watching the folder that the policy file is in.
//!
//! The folder and not the file: editors put a new file in the place of the old one, and so does whoever turns a symbolic link to
//! another target, as Kubernetes does. A watch on the file would stay with what was there before.

use std::path::Path;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::wishes::Wishes;

/// A watch on a folder; ends when dropped.
#[derive(Debug)]
pub(super) struct Watch(RecommendedWatcher);

impl Watch {
    /// Touches `wishes` at every change beside `file`, or to it.
    ///
    /// # Errors
    ///
    /// When the system watches nothing for us.
    pub(super) fn start(file: &Path, wishes: Wishes) -> notify::Result<Self> {
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Where events were lost, anything may have happened.
            if event.map_or(true, |event| changes(event.kind)) {
                wishes.touch();
            }
        })?;
        watcher.watch(folder(file), RecursiveMode::NonRecursive)?;
        Ok(Self(watcher))
    }

    /// Watches the folder of that name again: another one may have taken its place.
    ///
    /// # Errors
    ///
    /// When there is none, or the system watches nothing for us.
    pub(super) fn renew(&mut self, file: &Path) -> notify::Result<()> {
        self.0.watch(folder(file), RecursiveMode::NonRecursive)
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
    fn our_own_reading_is_no_change() {
        assert!(!changes(EventKind::Access(AccessKind::Open(AccessMode::Any))));
        assert!(!changes(EventKind::Access(AccessKind::Close(AccessMode::Read))));
        assert!(changes(EventKind::Access(AccessKind::Close(AccessMode::Write))));
        assert!(changes(EventKind::Any));
    }
}
