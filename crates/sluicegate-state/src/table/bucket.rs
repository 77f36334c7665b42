//! A bucket: what one or more rules draw from, with its limits, its overflow and its counts.

use std::num::NonZeroU16;
use std::sync::Arc;

use sluicegate_core::algorithm::{Meter, Storage, TokenBucket, WordMeter};
use sluicegate_core::{Cost, KeyHash, Limit};

use super::groups::Spot;
use super::slots::{Kind, Slot};
use super::wide::{State, WideCell};
use crate::atomics::{AtomicBool, AtomicU64, Mutex, Ordering, lock};

/// Most buckets of one table, those of a policy that is being replaced among them: the 12 bits that a cell's tag has for them, less
/// the empty cell's.
pub const BUCKETS_MAX: usize = 4095;

/// A bucket's place in its table: a number from 1 to [`BUCKETS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketId(NonZeroU16);

impl BucketId {
    /// The bucket numbered from 1; the table has checked that there are at most [`BUCKETS_MAX`].
    pub(super) fn from_number(number: u16) -> Self {
        Self(NonZeroU16::new(number).unwrap_or(NonZeroU16::MIN))
    }

    #[inline]
    pub(super) const fn number(self) -> u16 {
        self.0.get()
    }
}

/// What makes a bucket the same one before and after a change of its limits: 128 bits of a hash of whatever its owner says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BucketIdentity(pub u128);

/// What a bucket is made from.
#[derive(Debug, Clone)]
pub struct BucketSpec {
    /// By what its state is found again when the limits are replaced, and in a snapshot.
    pub identity: BucketIdentity,
    /// How much each key may draw: one meter for each limit that rules have in this bucket, at least one, the strictest first.
    /// All of one algorithm, rate and tick.
    pub meters: Vec<Meter>,
    /// Whether keys have cells of their own; without keys the bucket takes no share of the table.
    pub keyed: bool,
    /// What a key meets that finds no free cell.
    pub overflow: Overflow,
}

impl BucketSpec {
    /// A token bucket with one limit, for each key a cell; `None` closes its overflow.
    pub fn token_bucket(identity: BucketIdentity, limit: Limit, overflow: Option<Limit>) -> Self {
        let meter = |limit| Meter::Word(WordMeter::TokenBucket(TokenBucket::new(limit)));
        let overflow = overflow.map_or(Overflow::Closed, |limit| Overflow::Shared(meter(limit)));
        Self::new(identity, meter(limit), overflow)
    }

    /// A bucket with one limit, for each key a cell.
    pub fn new(identity: BucketIdentity, meter: Meter, overflow: Overflow) -> Self {
        Self {
            identity,
            meters: vec![meter],
            keyed: true,
            overflow,
        }
    }
}

/// What a key meets that finds no free cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Overflow {
    /// All such keys draw from one cell with this limit, of the bucket's own algorithm.
    Shared(Meter),
    /// Such requests are refused.
    Closed,
}

/// What one or more rules draw from.
pub struct Bucket {
    /// The strictest limit; on the path of every request, so it comes first.
    meter: Meter,
    id: BucketId,
    /// The number of the first bucket of this line: it chooses the places of the cells, so that they can be taken over where they are.
    lineage: u16,
    identity: BucketIdentity,
    keyed: bool,
    /// The limits after the strictest.
    laxer: Box<[Meter]>,
    overflow: Option<Meter>,
    pub(super) slot: Arc<Slot>,
    pub(super) own: OwnCells,
    line: Arc<Line>,
    /// The bucket that took this one's place. Set before any of its cells are taken over.
    successor: Mutex<Option<Successor>>,
    /// Whether there is one: read where there mostly is none.
    is_replaced: AtomicBool,
    /// The bucket whose place this one took, until all cells are taken over.
    predecessor: Mutex<Option<Arc<Bucket>>>,
    /// Whether there is one: read where there mostly is none.
    has_predecessor: AtomicBool,
}

/// What became of a replaced bucket.
#[derive(Clone)]
pub(super) enum Successor {
    /// Another goes on with its state.
    Bucket(Arc<Bucket>),
    /// Its rule is gone; nobody keeps its state.
    Nobody,
}

/// Cells that are a bucket's alone and never change their owner, apart from what is only read.
#[repr(align(128))]
pub(super) struct OwnCells {
    /// The cell of [`super::Key::Whole`].
    pub(super) whole: OwnCell,
    /// The cell that keys without a cell share.
    pub(super) overflow: OwnCell,
}

/// What is counted of a bucket and of those that take its place, one after another.
#[repr(align(128))]
pub(super) struct Line {
    /// Requests that drew from the overflow cell or met it closed.
    overflowed: AtomicU64,
    /// Units of permits and open reservations.
    held: AtomicU64,
}

impl Line {
    pub(super) fn hold(&self, cost: Cost) {
        self.held.fetch_add(cost.units(), Ordering::Relaxed);
    }

    pub(super) fn release(&self, cost: Cost) {
        self.held.fetch_sub(cost.units(), Ordering::Relaxed);
    }
}

/// A cell that never changes its owner, small or wide by the bucket's algorithm: a small one keeps its state in the second word.
pub(super) struct OwnCell([AtomicU64; 4]);

impl OwnCell {
    fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    #[inline]
    pub(super) const fn small(&self) -> &AtomicU64 {
        &self.0[1]
    }

    pub(super) const fn wide(&self) -> WideCell<'_> {
        WideCell::at(&self.0)
    }
}

/// The state of a small cell of a replaced bucket's own: look at the successor's.
pub(super) const MOVED: u64 = u64::MAX;

impl Bucket {
    pub(super) fn new(id: BucketId, spec: BucketSpec, slot: Arc<Slot>, predecessor: Option<Arc<Bucket>>) -> Self {
        let mut meters = spec.meters.into_iter();
        let meter = meters.next().expect("a table has checked that each bucket has a limit");
        let (kind, scale) = match &meter {
            Meter::Word(meter) => (Kind::Small, meter.scale()),
            Meter::Wide(_) => (Kind::Wide, None),
            Meter::Log(_) => (Kind::Log, None),
        };
        slot.prepare(kind, scale);
        Self {
            id,
            lineage: predecessor.as_ref().map_or(id.number(), |bucket| bucket.lineage),
            identity: spec.identity,
            keyed: spec.keyed,
            meter,
            laxer: meters.collect(),
            overflow: match spec.overflow {
                Overflow::Shared(meter) => Some(meter),
                Overflow::Closed => None,
            },
            slot,
            own: OwnCells {
                whole: OwnCell::new(),
                overflow: OwnCell::new(),
            },
            line: predecessor.as_ref().map_or_else(
                || {
                    Arc::new(Line {
                        overflowed: AtomicU64::new(0),
                        held: AtomicU64::new(0),
                    })
                },
                |bucket| Arc::clone(&bucket.line),
            ),
            successor: Mutex::new(None),
            is_replaced: AtomicBool::new(false),
            has_predecessor: AtomicBool::new(predecessor.is_some()),
            predecessor: Mutex::new(predecessor),
        }
    }

    /// The bucket's place in its table.
    pub const fn id(&self) -> BucketId {
        self.id
    }

    /// By what its state is found again.
    pub const fn identity(&self) -> BucketIdentity {
        self.identity
    }

    /// Whether keys have cells of their own.
    pub const fn keyed(&self) -> bool {
        self.keyed
    }

    /// The strictest limit, made ready to decide by.
    #[inline]
    pub const fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The limit at `index` of the spec's; the strictest for an index beyond them.
    #[inline]
    pub fn meter_at(&self, index: u8) -> &Meter {
        match usize::from(index).checked_sub(1) {
            None => &self.meter,
            Some(index) => self.laxer.get(index).unwrap_or(&self.meter),
        }
    }

    /// All limits, the strictest first.
    pub(super) fn meters(&self) -> impl Iterator<Item = &Meter> {
        std::iter::once(&self.meter).chain(&self.laxer)
    }

    /// The limit of the overflow cell; `None` where the overflow is closed.
    pub const fn overflow_meter(&self) -> Option<&Meter> {
        self.overflow.as_ref()
    }

    /// Where the state of a key is kept.
    pub const fn storage(&self) -> Storage {
        self.meter.storage()
    }

    /// Cells that belong to keys of this bucket, live or not yet found idle.
    pub fn owned(&self) -> usize {
        self.slot.owned()
    }

    /// Cells that this bucket can always have.
    pub fn kept(&self) -> usize {
        self.slot.kept()
    }

    /// Requests so far whose key found no free cell, those of the buckets before it in its line included.
    pub fn overflowed(&self) -> u64 {
        self.line.overflowed.load(Ordering::Relaxed)
    }

    /// Units of permits that are held and of reservations that are not settled yet, those of the buckets before it in its line
    /// included.
    pub fn held(&self) -> u64 {
        self.line.held.load(Ordering::Relaxed)
    }

    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    pub(super) fn count_overflow(&self) {
        self.line.overflowed.fetch_add(1, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn spot(&self, key: KeyHash) -> Spot {
        self.spot_of(key.as_u64() >> 12)
    }

    /// By the 52 bits of the key's hash that a tag has.
    #[inline]
    pub(super) fn spot_of(&self, hash: u64) -> Spot {
        Spot::new(self.id.number(), self.lineage, hash)
    }

    /// Whether another bucket goes on with this one's state, or nobody does.
    #[inline]
    pub(super) fn is_replaced(&self) -> bool {
        // Acquire pairs with the release below, for whoever then looks for the successor.
        self.is_replaced.load(Ordering::Acquire)
    }

    /// What took this bucket's place, if anything did.
    pub(super) fn successor(&self) -> Option<Successor> {
        if !self.is_replaced() {
            return None;
        }
        lock(&self.successor).clone()
    }

    /// Names what took this bucket's place, or what has since taken the place of that.
    pub(super) fn replace(&self, successor: Successor) {
        let former = lock(&self.successor).replace(successor);
        self.is_replaced.store(true, Ordering::Release);
        drop(former);
    }

    /// The bucket whose cells this one may still have to take over.
    pub(super) fn predecessor(&self) -> Option<Arc<Bucket>> {
        // Acquire pairs with the release below, for whoever sees that there is none.
        if !self.has_predecessor.load(Ordering::Acquire) {
            return None;
        }
        lock(&self.predecessor).clone()
    }

    /// All whose cells this one may still have to take over: more than one, where buckets were replaced twice without a sweep.
    pub(super) fn predecessors(&self) -> impl Iterator<Item = Arc<Bucket>> {
        std::iter::successors(self.predecessor(), |bucket| bucket.predecessor())
    }

    /// What goes on with this bucket's state now, at the end of its line; `None` for a bucket in force.
    pub(super) fn heir(&self) -> Option<Successor> {
        let mut heir = self.successor()?;
        while let Successor::Bucket(next) = &heir
            && let Some(further) = next.successor()
        {
            heir = further;
        }
        Some(heir)
    }

    pub(super) fn forget_predecessor(&self) {
        let former = lock(&self.predecessor).take();
        self.has_predecessor.store(false, Ordering::Release);
        drop(former);
    }

    /// Whether this bucket, as it is, is what `spec` asks for.
    pub(super) fn is(&self, spec: &BucketSpec) -> bool {
        let overflow = match &spec.overflow {
            Overflow::Shared(meter) => Some(meter),
            Overflow::Closed => None,
        };
        self.identity == spec.identity
            && self.keyed == spec.keyed
            && self.overflow.as_ref() == overflow
            && spec.meters.iter().eq(self.meters())
    }

    /// Whether what this bucket keeps can be taken over by one made of `spec`.
    pub(super) fn leads_to(&self, spec: &BucketSpec) -> bool {
        let storage = spec.meters.first().map(Meter::storage);
        self.identity == spec.identity && self.keyed == spec.keyed && storage == Some(self.storage())
    }
}

/// A wide state that says nothing.
pub(super) const UNSEEN: State = [0; 3];

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket")
            .field("id", &self.id)
            .field("meter", &self.meter)
            .field("owned", &self.owned())
            .field("overflowed", &self.overflowed())
            .finish_non_exhaustive()
    }
}
