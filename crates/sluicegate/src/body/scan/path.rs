//! Where in the document the scanner stands, as far as its pointers care.
//!
//! Containers are counted by level, the root's is 0. A pointer is *on the path* of the container at level *l* if its first
//! *l* tokens lead to that container and it has more. Names are compared as they arrive, so that none is ever held.

use super::super::pointer::{Pointer, Pointers};
use super::super::set::Set;

/// Follows the document down and up again, and says which pointers lead to the next value.
#[derive(Debug, Clone)]
pub(super) struct Path {
    pointers: Pointers,
    /// Which pointers have that many tokens.
    ends: [Set; Pointer::DEPTH_MAX + 1],
    /// For each level that a pointer can reach.
    levels: [Level; Pointer::DEPTH_MAX],
    /// How many containers are open.
    depth: usize,
    /// Which pointers are on the path of the innermost container.
    here: Set,
    /// Which pointers' tokens lead to the value that comes next.
    next: Set,
    /// Which pointers' names are like the one being read, so far.
    alike: Set,
    /// How many bytes of that name have been read.
    name_length: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Level {
    on_path: Set,
    /// Which pointers' member was found. An object on the path of a pointer is the only one at its level, or a member above
    /// it would stand there twice; so that this is never taken back.
    taken: Set,
    /// The index of the element that comes next.
    index: u64,
}

/// A member on the path of a pointer stands there a second time.
#[derive(Debug)]
pub(super) struct Duplicate;

impl Path {
    pub(super) fn new(pointers: &Pointers) -> Self {
        let mut ends = [Set::EMPTY; Pointer::DEPTH_MAX + 1];
        for (place, pointer) in pointers.iter().enumerate() {
            ends[pointer.tokens().len()] |= Set::one(place);
        }
        let mut path = Self {
            pointers: pointers.clone(),
            ends,
            levels: [Level::default(); Pointer::DEPTH_MAX],
            depth: 0,
            here: Set::EMPTY,
            next: Set::EMPTY,
            alike: Set::EMPTY,
            name_length: 0,
        };
        path.reset();
        path
    }

    /// Back to before the root.
    pub(super) fn reset(&mut self) {
        self.levels = [Level::default(); Pointer::DEPTH_MAX];
        self.depth = 0;
        self.here = Set::EMPTY;
        self.next = Set::first(self.pointers.len());
        self.alike = Set::EMPTY;
    }

    /// A scalar comes next: which pointers mean it.
    #[inline]
    pub(super) fn scalar(&mut self) -> Set {
        if self.next.is_empty() {
            return Set::EMPTY;
        }
        let meant = self.next & self.ends_here();
        self.next = Set::EMPTY;
        meant
    }

    /// A container comes next: which pointers mean it, rather than something inside.
    #[inline]
    pub(super) fn enter(&mut self) -> Set {
        let meant = self.next & self.ends_here();
        self.here = self.next.without(meant);
        self.next = Set::EMPTY;
        if let Some(level) = self.levels.get_mut(self.depth) {
            level.on_path = self.here;
            level.index = 0;
        }
        self.depth += 1;
        meant
    }

    /// The innermost container ends.
    #[inline]
    pub(super) fn leave(&mut self) {
        self.depth -= 1;
        let outer = self.depth.checked_sub(1).and_then(|level| self.levels.get(level));
        self.here = outer.map_or(Set::EMPTY, |level| level.on_path);
    }

    /// An element of the innermost container, an array, comes next.
    #[inline]
    pub(super) fn element(&mut self) {
        if self.here.is_empty() {
            return;
        }
        let level = self.depth - 1;
        let index = self.levels[level].index;
        self.levels[level].index = index.saturating_add(1);
        let pointers = &self.pointers;
        self.next = self
            .here
            .filter(|place| pointers.token(place, level).index() == Some(index));
    }

    /// A name in the innermost container, an object, comes next.
    #[inline]
    pub(super) fn begin_name(&mut self) {
        self.alike = self.here;
        self.name_length = 0;
    }

    /// Some more of the name, unescaped.
    #[inline]
    pub(super) fn name(&mut self, bytes: &[u8]) {
        if self.alike.is_empty() {
            return;
        }
        let (level, start) = (self.depth - 1, self.name_length);
        self.name_length = start + bytes.len();
        let (end, pointers) = (self.name_length, &self.pointers);
        self.alike = self
            .alike
            .filter(|place| pointers.token(place, level).name().get(start..end) == Some(bytes));
    }

    /// The name is whole, its value comes next.
    #[inline]
    pub(super) fn end_name(&mut self) -> Result<(), Duplicate> {
        if self.alike.is_empty() {
            return Ok(());
        }
        let (level, length, pointers) = (self.depth - 1, self.name_length, &self.pointers);
        let meant = self
            .alike
            .filter(|place| pointers.token(place, level).name().len() == length);
        let taken = &mut self.levels[level].taken;
        if !(*taken & meant).is_empty() {
            return Err(Duplicate);
        }
        *taken |= meant;
        self.next = meant;
        Ok(())
    }

    fn ends_here(&self) -> Set {
        self.ends.get(self.depth).copied().unwrap_or_default()
    }
}
