//! Charging: one cell, or all the cells of a request, or none of them.

use arrayvec::ArrayVec;
use sluicegate_core::algorithm::{Tat, TokenBucket, Verdict};
use sluicegate_core::{Cost, Mode, RULES_MAX, Report, Retry, RuleState, Timestamp};

use super::cells::{Cell, Found, Swap, Tag};
use super::{At, Bucket, Charge, Key, Table};
use crate::atomics::{AtomicU64, AtomicUsize, Ordering};
use crate::clock::Clock;

/// What is said to a request whose rule has no free cell and a closed overflow: cells are found idle within seconds, and
/// a shorter wait would only bring the flood back sooner.
const CLOSED_RETRY: Retry = Retry::After(std::time::Duration::from_secs(1));

/// What became of a request's charges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Taken {
    /// All were taken.
    All,
    /// At least one enforced rule refused; everything is as if the request had never come.
    Nothing,
}

/// Where one key stands in one bucket, after one charge.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Standing<'a> {
    verdict: Verdict,
    source: Source<'a>,
}

/// Which cell answered, and the limit that its verdict is counted in.
#[derive(Debug, Clone, Copy)]
enum Source<'a> {
    /// The key's own.
    Own(&'a TokenBucket),
    /// It has none, and the shared one answered.
    Overflow(&'a TokenBucket),
    /// It has none, and the overflow is closed.
    Closed,
}

impl<'a> Standing<'a> {
    #[inline]
    const fn own(meter: &'a TokenBucket, verdict: Verdict) -> Self {
        Self {
            verdict,
            source: Source::Own(meter),
        }
    }

    /// Whether the charge fits.
    #[inline]
    pub const fn passes(&self) -> bool {
        self.verdict.passes() && !matches!(self.source, Source::Closed)
    }

    /// Whether the key found no free cell and met the bucket's overflow.
    pub const fn overflow(&self) -> bool {
        matches!(self.source, Source::Overflow(_) | Source::Closed)
    }

    /// Whole units left.
    pub const fn remaining(&self) -> u64 {
        match self.source {
            Source::Own(meter) | Source::Overflow(meter) => meter.remaining(&self.verdict),
            Source::Closed => 0,
        }
    }

    /// Until the limit is whole again; zero when it is.
    pub const fn reset_after(&self) -> std::time::Duration {
        match self.source {
            Source::Own(meter) | Source::Overflow(meter) => meter.reset_after(&self.verdict),
            Source::Closed => std::time::Duration::ZERO,
        }
    }

    /// `None` if the charge fits, else when it would.
    pub const fn retry(&self) -> Option<Retry> {
        match self.source {
            Source::Own(meter) | Source::Overflow(meter) => meter.retry(&self.verdict),
            Source::Closed => Some(CLOSED_RETRY),
        }
    }

    fn state(&self, charge: &Charge) -> RuleState {
        RuleState {
            rule: charge.rule,
            mode: charge.mode,
            overflow: self.overflow(),
            remaining: self.remaining(),
            reset_after: self.reset_after(),
            retry: self.retry(),
        }
    }
}

/// Cells that buckets may own beyond those kept for each, over all buckets.
pub(super) struct Common {
    /// May fall below zero, and so wrap, for the moment between another thread's two counts.
    used: AtomicUsize,
    max: usize,
}

impl Common {
    pub(super) fn new(max: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            max: max.min(isize::MAX.cast_unsigned()),
        }
    }

    /// Counts one more; `false` if there were as many as may be. It is counted all the same, for `give` to undo.
    fn take(&self) -> bool {
        self.used.fetch_add(1, Ordering::Relaxed).cast_signed() < self.max.cast_signed()
    }

    fn give(&self) {
        self.used.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Table {
    /// Charges one key of one bucket. Waits for nothing, allocates nothing, and reads no clock.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "a standing of 48 bytes would be copied twice on its way out"
    )]
    pub fn charge<'t>(&'t self, bucket: &'t Bucket, key: Key, cost: Cost, now: Timestamp) -> Standing<'t> {
        let meter = bucket.meter();
        let tag = match key {
            Key::Whole => {
                return Standing::own(meter, charge_word(&bucket.counts().whole, meter, cost, now));
            }
            Key::Hash(hash) => Tag::new(bucket.id().number(), hash),
        };
        let tick = meter.tick(now);
        if let Some(cell) = self.cells.find(tag) {
            while let Some(tat) = cell.read(tag) {
                let verdict = meter.decide(tat, tick, cost);
                if verdict.tat() == tat || matches!(cell.swap(tat, verdict.tat()), Swap::Done) {
                    return Standing::own(meter, verdict);
                }
            }
        }
        self.charge_first(bucket, tag, cost, now)
    }

    /// Charges a key that has no cell yet, or whose cell is changing its owner.
    #[cold]
    fn charge_first<'t>(&'t self, bucket: &'t Bucket, tag: Tag, cost: Cost, now: Timestamp) -> Standing<'t> {
        let meter = bucket.meter();
        let tick = meter.tick(now);
        let held = self.cells.stripe(tag);
        loop {
            match self.cells.find_or_claim(tag, &At { table: self, now }, &held) {
                Found::Cell(cell) => {
                    let Some(tat) = cell.read(tag) else { continue };
                    let verdict = meter.decide(tat, tick, cost);
                    if verdict.tat() == tat || matches!(cell.swap(tat, verdict.tat()), Swap::Done) {
                        return Standing::own(meter, verdict);
                    }
                }
                Found::Free { slot, from } => {
                    self.disown(from);
                    let verdict = meter.decide(Tat::UNSEEN, tick, cost);
                    // Neither a refusal nor a question of cost zero leaves a trace, so neither needs a cell.
                    if verdict.tat() == Tat::UNSEEN {
                        slot.free();
                        return Standing::own(meter, verdict);
                    }
                    if !self.own(bucket) {
                        slot.free();
                        break;
                    }
                    slot.give(tag, verdict.tat());
                    return Standing::own(meter, verdict);
                }
                Found::Full => break,
            }
        }
        drop(held);
        bucket.counts().count_overflow();
        match bucket.overflow_meter() {
            Some(meter) => Standing {
                verdict: charge_word(&bucket.counts().overflow, meter, cost, now),
                source: Source::Overflow(meter),
            },
            None => Standing {
                verdict: meter.decide(Tat::UNSEEN, tick, Cost::ZERO),
                source: Source::Closed,
            },
        }
    }

    /// Takes all charges, or none, and reports where every rule stands.
    ///
    /// Every enforced charge is looked at first; if one refuses, nothing is touched. Then they are taken in their order.
    /// If another request was faster at one of them, what was taken before it is given back at once. So the limits
    /// never admit more than they should, though a request may be refused for a charge that is about to be given back.
    /// Shadow charges are taken only after that, and never decide.
    ///
    /// At most [`RULES_MAX`] charges count; a checked policy has no more.
    pub fn take(&self, charges: &[Charge], clock: &impl Clock, report: &mut Report) -> Taken {
        let now = clock.now();
        if let [charge] = charges
            && charge.mode == Mode::Enforced
        {
            let Some(bucket) = self.bucket(charge.bucket) else {
                return Taken::All;
            };
            let standing = self.charge(bucket, charge.key, charge.cost, now);
            report.push(standing.state(charge));
            return if standing.passes() { Taken::All } else { Taken::Nothing };
        }
        let enforced = || {
            charges
                .iter()
                .take(RULES_MAX)
                .filter(|charge| charge.mode == Mode::Enforced)
        };
        for charge in enforced() {
            if let Some(standing) = self.look(charge, charge.cost, now)
                && !standing.passes()
            {
                self.report_untouched(charges, (charge, standing), now, report);
                return Taken::Nothing;
            }
        }
        let mut taken = ArrayVec::<(&Charge, Standing<'_>), RULES_MAX>::new();
        for charge in enforced() {
            let Some(bucket) = self.bucket(charge.bucket) else {
                continue;
            };
            let standing = self.charge(bucket, charge.key, charge.cost, now);
            if !standing.passes() {
                // Time has passed since the charges were made, and may have refilled part of them.
                let later = clock.now();
                for (charge, standing) in &taken {
                    self.give_back(charge, standing, now, later);
                }
                self.report_untouched(charges, (charge, standing), now, report);
                return Taken::Nothing;
            }
            taken.push((charge, standing));
        }
        let mut taken = taken.iter();
        for charge in charges.iter().take(RULES_MAX) {
            let standing = match charge.mode {
                Mode::Enforced => taken.next().map(|(_, standing)| *standing),
                Mode::Shadow => self
                    .bucket(charge.bucket)
                    .map(|bucket| self.charge(bucket, charge.key, charge.cost, now)),
            };
            if let Some(standing) = standing {
                report.push(standing.state(charge));
            }
        }
        Taken::All
    }

    /// What [`Table::charge`] would answer, without a charge; `None` for another table's bucket.
    fn look(&self, charge: &Charge, cost: Cost, now: Timestamp) -> Option<Standing<'_>> {
        let bucket = self.bucket(charge.bucket)?;
        let meter = bucket.meter();
        let tat = match charge.key {
            Key::Whole => Tat::from_u64(bucket.counts().whole.load(Ordering::Relaxed)),
            Key::Hash(hash) => {
                let tag = Tag::new(bucket.id().number(), hash);
                self.cells
                    .find(tag)
                    .and_then(|cell| cell.read(tag))
                    .unwrap_or(Tat::UNSEEN)
            }
        };
        Some(Standing::own(meter, meter.decide(tat, meter.tick(now), cost)))
    }

    /// Reports a refused request: rules that refuse say when they would not, the others what is left untouched.
    ///
    /// `refused` is the charge that settled it, with what was seen then: another look might see a charge given back.
    fn report_untouched(
        &self,
        charges: &[Charge],
        (refused, standing): (&Charge, Standing<'_>),
        now: Timestamp,
        report: &mut Report,
    ) {
        for charge in charges.iter().take(RULES_MAX) {
            let standing = if std::ptr::eq(refused, charge) {
                Some(standing)
            } else {
                let standing = self.look(charge, charge.cost, now);
                let untouched = || self.look(charge, Cost::ZERO, now);
                standing.filter(|standing| !standing.passes()).or_else(untouched)
            };
            if let Some(standing) = standing {
                report.push(standing.state(charge));
            }
        }
    }

    /// Undoes a charge made at `charged_at`.
    fn give_back(&self, charge: &Charge, standing: &Standing<'_>, charged_at: Timestamp, now: Timestamp) {
        let Some(bucket) = self.bucket(charge.bucket) else {
            return;
        };
        let back =
            |meter: &TokenBucket, tat| meter.give_back(tat, charge.cost, meter.tick(charged_at), meter.tick(now));
        match (standing.source, charge.key) {
            (Source::Own(meter), Key::Whole) => update(&bucket.counts().whole, |tat| back(meter, tat)),
            (Source::Overflow(meter), _) => update(&bucket.counts().overflow, |tat| back(meter, tat)),
            (Source::Own(meter), Key::Hash(hash)) => {
                let tag = Tag::new(bucket.id().number(), hash);
                // A cell that is gone lay idle: all of the charge has refilled meanwhile.
                while let Some(cell) = self.cells.find(tag) {
                    let Some(tat) = self.settled(cell, tag) else { break };
                    if matches!(cell.swap(tat, back(meter, tat)), Swap::Done) {
                        break;
                    }
                }
            }
            (Source::Closed, _) => {}
        }
    }

    /// The cell's TAT; `None` if it was `tag`'s and is no more. Waits out a change of owner that may yet be undone.
    fn settled(&self, cell: Cell<'_>, tag: Tag) -> Option<Tat> {
        if let Some(tat) = cell.read(tag) {
            return Some(tat);
        }
        let held = self.cells.stripe(tag);
        self.cells.find_settled(tag, &held)
    }

    /// Counts a cell to the bucket; `false` if it has its share.
    fn own(&self, bucket: &Bucket) -> bool {
        if bucket.counts().own() < bucket.kept() || self.common.take() {
            return true;
        }
        self.disown(bucket.id().number());
        false
    }

    /// Counts a cell no more to the bucket numbered `bucket`, 0 for an empty cell.
    ///
    /// Whoever counts up past what is kept counts the common ones up, and whoever counts down past it counts them down,
    /// so that the common count always is what all buckets own beyond their kept ones.
    pub(super) fn disown(&self, bucket: u16) {
        let Some(bucket) = usize::from(bucket)
            .checked_sub(1)
            .and_then(|index| self.buckets.get(index))
        else {
            return;
        };
        if bucket.counts().disown() > bucket.kept() {
            self.common.give();
        }
    }
}

/// Charges a cell that never changes its owner.
fn charge_word(word: &AtomicU64, meter: &TokenBucket, cost: Cost, now: Timestamp) -> Verdict {
    let tick = meter.tick(now);
    let mut seen = word.load(Ordering::Relaxed);
    loop {
        let tat = Tat::from_u64(seen);
        let verdict = meter.decide(tat, tick, cost);
        if verdict.tat() == tat {
            return verdict;
        }
        // Relaxed: the word is all that is shared.
        match word.compare_exchange_weak(seen, verdict.tat().as_u64(), Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return verdict,
            Err(now) => seen = now,
        }
    }
}

fn update(word: &AtomicU64, change: impl Fn(Tat) -> Tat) {
    let mut seen = word.load(Ordering::Relaxed);
    while let Err(now) = word.compare_exchange_weak(
        seen,
        change(Tat::from_u64(seen)).as_u64(),
        Ordering::Relaxed,
        Ordering::Relaxed,
    ) {
        seen = now;
    }
}
