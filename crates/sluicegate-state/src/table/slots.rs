//! What stands in the table for each number that a tag can carry: how its cells age, and how many there are.

use std::sync::{Arc, OnceLock};

use sluicegate_core::Timestamp;
use sluicegate_core::algorithm::{Tick, TickScale};

use super::BUCKETS_MAX;
use crate::atomics::{AtomicU64, AtomicUsize, Ordering};

/// What the cells of a bucket are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Small = 0,
    Wide = 1,
    /// Wide, with entries in the slab.
    Log = 2,
}

/// One number's slot. It outlives the buckets that carry the number one after another; it is given to the next only when no
/// cell of the former is left.
///
/// Aligned so that no two buckets' counts share a cache line.
#[repr(align(128))]
pub(super) struct Slot {
    /// How the clock's time becomes the ticks in which small cells keep their state.
    factor: AtomicU64,
    shift: AtomicU64,
    /// What its cells are; see [`Kind`].
    kind: AtomicU64,
    /// Cells that are this bucket's for the asking; beyond them it draws on the common ones.
    kept: AtomicUsize,
    /// Cells that belong to keys of this bucket.
    owned: AtomicUsize,
}

impl Slot {
    fn new() -> Self {
        Self {
            factor: AtomicU64::new(0),
            shift: AtomicU64::new(0),
            kind: AtomicU64::new(Kind::Small as u64),
            kept: AtomicUsize::new(0),
            owned: AtomicUsize::new(0),
        }
    }

    /// Prepares the slot for a bucket. `scale` is `None` where small cells keep no time: idle is what is zero.
    pub(super) fn prepare(&self, kind: Kind, scale: Option<TickScale>) {
        let (factor, shift) = scale.map_or((0, 0), TickScale::to_parts);
        self.kind.store(kind as u64, Ordering::Relaxed);
        // Relaxed: no cell with this number exists before the bucket is handed out, which synchronises.
        self.factor.store(factor, Ordering::Relaxed);
        self.shift.store(u64::from(shift), Ordering::Relaxed);
    }

    fn kind(&self) -> Kind {
        match self.kind.load(Ordering::Relaxed) {
            1 => Kind::Wide,
            2 => Kind::Log,
            _ => Kind::Small,
        }
    }

    /// The time now in the ticks of this bucket's small cells.
    #[inline]
    fn tick(&self, now: Timestamp) -> Tick {
        #[expect(clippy::cast_possible_truncation, reason = "set from a u32")]
        let shift = self.shift.load(Ordering::Relaxed) as u32;
        TickScale::tick_by(self.factor.load(Ordering::Relaxed), shift, now)
    }

    pub(super) fn owned(&self) -> usize {
        self.owned.load(Ordering::Relaxed)
    }

    pub(super) fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// What the bucket owns beyond what is kept for it.
    pub(super) fn beyond(&self) -> usize {
        self.owned().saturating_sub(self.kept())
    }
}

/// Cells that buckets may own beyond those kept for each, of one kind of cell.
struct Common {
    /// Over all buckets. May fall below zero, and so wrap, for the moment between another thread's two counts.
    used: AtomicUsize,
    max: AtomicUsize,
}

/// The slots of one table.
pub(super) struct Slots {
    by_number: Box<[OnceLock<Arc<Slot>>]>,
    small: Common,
    wide: Common,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self {
            by_number: (0..BUCKETS_MAX).map(|_| OnceLock::new()).collect(),
            small: Common::new(),
            wide: Common::new(),
        }
    }

    /// The slot of a number from 1 to [`BUCKETS_MAX`], made if it was never used.
    pub(super) fn make(&self, number: u16) -> Arc<Slot> {
        let index = usize::from(number).saturating_sub(1).min(BUCKETS_MAX - 1);
        Arc::clone(self.by_number[index].get_or_init(|| Arc::new(Slot::new())))
    }

    #[inline]
    fn get(&self, number: u16) -> Option<&Slot> {
        let slot = self.by_number.get(usize::from(number).checked_sub(1)?)?;
        slot.get().map(|slot| &**slot)
    }

    fn common(&self, slot: &Slot) -> &Common {
        match slot.kind() {
            Kind::Small => &self.small,
            Kind::Wide | Kind::Log => &self.wide,
        }
    }

    /// The time now in the ticks of the bucket numbered `number`; `None` for the empty cell's number.
    #[inline]
    pub(super) fn tick(&self, number: u16, now: Timestamp) -> Option<Tick> {
        self.get(number).map(|slot| slot.tick(now))
    }

    /// Whether the cells of the bucket numbered `number` have entries in the slab.
    pub(super) fn has_logs(&self, number: u16) -> bool {
        self.get(number).is_some_and(|slot| slot.kind() == Kind::Log)
    }

    /// Cells that belong to a key.
    pub(super) fn owned(&self) -> usize {
        self.all().map(Slot::owned).sum()
    }

    /// Sets what is kept for each number, and how many small and wide cells are common to all. What was counted as common is
    /// counted anew; a cell made at this very moment may be counted on the wrong side, until the next time.
    pub(super) fn share_out(&self, kept: impl Iterator<Item = (u16, usize)>, small_max: usize, wide_max: usize) {
        for slot in self.all() {
            slot.kept.store(0, Ordering::Relaxed);
        }
        for (number, kept) in kept {
            self.make(number).kept.store(kept, Ordering::Relaxed);
        }
        for (common, max) in [(&self.small, small_max), (&self.wide, wide_max)] {
            common.max.store(max.min(isize::MAX.cast_unsigned()), Ordering::Relaxed);
            let of_kind = self.all().filter(|slot| std::ptr::eq(self.common(slot), common));
            common.used.store(of_kind.map(Slot::beyond).sum(), Ordering::Relaxed);
        }
    }

    /// Counts a cell to the number; `false` if it has its share.
    pub(super) fn own(&self, number: u16) -> bool {
        let Some(slot) = self.get(number) else { return false };
        if slot.owned.fetch_add(1, Ordering::Relaxed) < slot.kept() || self.common(slot).take() {
            return true;
        }
        self.disown(number);
        false
    }

    /// Counts up to `most` cells to the number, as far as its share reaches, and tells how many.
    pub(super) fn own_some(&self, number: u16, most: usize) -> usize {
        let Some(slot) = self.get(number) else { return 0 };
        let owned = slot.owned.fetch_add(most, Ordering::Relaxed);
        let beyond = most - slot.kept().saturating_sub(owned).min(most);
        let refused = self.common(slot).take_some(beyond);
        // In this order the cells taken back are those beyond the share, which are not counted as common any more.
        slot.owned.fetch_sub(refused, Ordering::Relaxed);
        most - refused
    }

    /// Counts a cell to the number, whether or not it has its share: for a cell that is there already and goes from one bucket of
    /// a line to the next.
    pub(super) fn own_regardless(&self, number: u16) {
        if let Some(slot) = self.get(number)
            && slot.owned.fetch_add(1, Ordering::Relaxed) >= slot.kept()
        {
            self.common(slot).used.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a cell no more to the number, 0 for an empty cell.
    ///
    /// Whoever counts up past what is kept counts the common ones up, and whoever counts down past it counts them down,
    /// so that the common count always is what all buckets own beyond their kept ones.
    pub(super) fn disown(&self, number: u16) {
        if let Some(slot) = self.get(number)
            && slot.owned.fetch_sub(1, Ordering::Relaxed) > slot.kept()
        {
            self.common(slot).used.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn all(&self) -> impl Iterator<Item = &Slot> {
        self.by_number.iter().filter_map(OnceLock::get).map(|slot| &**slot)
    }
}

impl Common {
    fn new() -> Self {
        Self {
            used: AtomicUsize::new(0),
            max: AtomicUsize::new(isize::MAX.cast_unsigned()),
        }
    }

    /// Counts one more; `false` if there were as many as may be. It is counted all the same, for `disown` to undo.
    fn take(&self) -> bool {
        let max = self.max.load(Ordering::Relaxed);
        self.used.fetch_add(1, Ordering::Relaxed).cast_signed() < max.cast_signed()
    }

    /// Counts `wanted` more as far as there may be, and tells how many may not.
    fn take_some(&self, wanted: usize) -> usize {
        let max = self.max.load(Ordering::Relaxed).cast_signed();
        let used = self.used.fetch_add(wanted, Ordering::Relaxed).cast_signed();
        let room = usize::try_from(max.saturating_sub(used)).unwrap_or(0);
        let refused = wanted.saturating_sub(room);
        self.used.fetch_sub(refused, Ordering::Relaxed);
        refused
    }
}
