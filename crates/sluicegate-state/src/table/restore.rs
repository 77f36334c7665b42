//! Reading back what a table remembered before a restart.

use std::collections::HashMap;
use std::io::{Read, Seek};
use std::sync::Arc;
use std::time::Duration;

use sluicegate_core::Timestamp;
use sluicegate_core::algorithm::{Ageing, Entry, Log as _, Meter, Storage, WideMeter, WordMeter};

use super::Table;
use super::bucket::{Bucket, OwnCell, UNSEEN};
use super::counted_in::CountedIn;
use super::groups::{FIRST_GROUP_FREE_MIN, Groups, Spot, Tag};
use super::wide::{State, WideCell};
use crate::atomics::{AtomicU64, Ordering};
use crate::snapshot::{self, Chunk, Identity, Own, ReadError, Snapshot};

/// What came of a restored snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restored {
    /// Cells that limit somebody again, those of buckets without keys and of overflows included.
    pub cells: u64,
    /// Records that limit nobody any more: their time has passed.
    pub idle: u64,
    /// Records of buckets that no policy asks for any more, or that keep another kind of state now.
    pub passed_over: u64,
    /// Records that found no room: the table is smaller than it was, or the bucket has its share. Their keys start anew.
    pub no_room: u64,
}

impl Table {
    /// Puts back what a snapshot has of the buckets in force. `away` is the time that has passed since it was written: debts are
    /// paid back by that much. Where a limit has changed since, the debt stays in units, cut to the new burst, as in
    /// [`Table::install`]; a lock stays to its end.
    ///
    /// To be called when the first buckets are installed and before anybody draws from them. Who does so meanwhile gets true answers, but keys
    /// without a cell wait until this has ended; of a key that has a cell already, the larger debt stays.
    ///
    /// Ten million small cells take some 0.2 s beside the two readings of the file.
    ///
    /// # Errors
    ///
    /// If the file has changed since it was checked. What was read until then stays.
    pub fn restore<R: Read + Seek>(
        &self,
        snapshot: &mut Snapshot<R>,
        now: Timestamp,
        away: Duration,
    ) -> Result<Restored, ReadError> {
        // Nobody makes a cell meanwhile, so none need be searched for twice, and an empty one can be written as it is.
        let _small = self.small.all_stripes();
        let _wide = self.wide.all_stripes();
        // The earlier of two records of one key is of a cell that was idle before the last one was gathered.
        let are_single = snapshot.took() <= away && self.slots.owned() == 0;
        let walk = Walk::new(are_single);
        let mut restoring = Restoring {
            table: self,
            heirs: self.heirs(snapshot.header().buckets(), Moment { now, away }, walk),
            restored: Restored::default(),
        };
        let read = snapshot.for_each_chunk(|chunk| restoring.take(&chunk));
        for heir in restoring.heirs.iter().flatten() {
            for _ in 0..heir.granted {
                self.slots.disown(heir.bucket.id().number());
            }
        }
        read.map(|()| restoring.restored)
    }

    /// For each bucket of a file, who goes on with its state.
    fn heirs(&self, listed: &[snapshot::Bucket], moment: Moment, walk: Walk) -> Vec<Option<Heir>> {
        let by_identity: HashMap<Identity, Arc<Bucket>> = self
            .buckets()
            .into_iter()
            .map(|bucket| (bucket.identity().into(), bucket))
            .collect();
        let heir = |listed: &snapshot::Bucket| {
            let bucket = by_identity.get(&listed.identity)?;
            let former = CountedIn::from(&listed.parameters)?;
            let is_kin = listed.storage == bucket.storage().into() && former.meter.storage() == bucket.storage();
            is_kin.then(|| Heir::new(Arc::clone(bucket), former, moment, walk))
        };
        listed.iter().map(heir).collect()
    }
}

/// To when states are brought, and from how long before.
#[derive(Clone, Copy)]
struct Moment {
    now: Timestamp,
    away: Duration,
}

/// A bucket that goes on with the state of one in the file.
struct Heir {
    bucket: Arc<Bucket>,
    former: CountedIn,
    words: Option<Words>,
    moment: Moment,
    walk: Walk,
    /// Cells that are counted to the bucket, and not made yet.
    granted: usize,
}

/// How words become what they are worth now.
#[derive(Clone, Copy)]
struct Words {
    ageing: Ageing,
    /// Whether the limit is what it was, so that nothing is left to do.
    is_unchanged: bool,
}

impl Heir {
    fn new(bucket: Arc<Bucket>, former: CountedIn, moment: Moment, walk: Walk) -> Self {
        let Moment { now, away } = moment;
        let words = match (bucket.meter(), &former.meter) {
            (Meter::Word(new), Meter::Word(old)) => old.ageing(now, away).map(|ageing| Words {
                ageing,
                is_unchanged: counts_as(new, old),
            }),
            _ => None,
        };
        Self {
            bucket,
            former,
            words,
            moment,
            walk,
            granted: 0,
        }
    }
}

/// Whether two meters make the same of a word.
fn counts_as(one: &WordMeter, other: &WordMeter) -> bool {
    match (one, other) {
        (WordMeter::TokenBucket(one), WordMeter::TokenBucket(other)) => one == other,
        (WordMeter::LeakyBucket(one), WordMeter::LeakyBucket(other)) => one.bucket() == other.bucket(),
        _ => false,
    }
}

/// A snapshot on its way into the table.
struct Restoring<'t> {
    table: &'t Table,
    /// By the buckets' places in the file.
    heirs: Vec<Option<Heir>>,
    restored: Restored,
}

/// What became of a record.
enum Fate {
    Placed,
    /// Another record of the same key was placed before.
    Joined,
    Idle,
    PassedOver,
    NoRoom,
}

impl Restoring<'_> {
    fn take(&mut self, chunk: &Chunk<'_>) {
        match chunk {
            Chunk::Word(records) => {
                for [tag, kept] in *records {
                    self.record(*tag, |table, heir, hash| table.restore_small(heir, hash, *kept));
                }
            }
            Chunk::Wide(records) => {
                for [tag, kept @ ..] in *records {
                    self.record(*tag, |table, heir, hash| table.restore_wide(heir, hash, *kept));
                }
            }
            Chunk::Log(logs) => {
                for log in logs.clone() {
                    let tag = log.tag.as_u64();
                    self.record(tag, |table, heir, hash| table.restore_log(heir, hash, log.entries));
                }
            }
            Chunk::Own(cells) => {
                for cell in cells.clone() {
                    let tag = snapshot::Tag::new(cell.bucket, 0).as_u64();
                    self.record(tag, |table, heir, _| table.restore_own(heir, cell.which, cell.words));
                }
            }
        }
    }

    #[inline]
    fn record(&mut self, tag: u64, place: impl FnOnce(&Table, &mut Heir, u64) -> Fate) {
        let tag = snapshot::Tag::from_u64(tag);
        let Some(Some(heir)) = self.heirs.get_mut(usize::from(tag.bucket())) else {
            self.restored.passed_over += 1;
            return;
        };
        match place(self.table, heir, tag.hash()) {
            Fate::Placed => self.restored.cells += 1,
            Fate::Joined => {}
            Fate::Idle => self.restored.idle += 1,
            Fate::PassedOver => self.restored.passed_over += 1,
            Fate::NoRoom => self.restored.no_room += 1,
        }
    }
}

impl Table {
    #[inline]
    fn restore_small(&self, heir: &mut Heir, hash: u64, kept: u64) -> Fate {
        let state = heir.words.map_or(0, |words| match words {
            Words {
                ageing,
                is_unchanged: true,
            } => ageing.tat(kept).as_u64(),
            _ => word(heir.bucket.meter(), &heir.former.meter, heir.moment, kept),
        });
        if state == 0 {
            return Fate::Idle;
        }
        let spot = heir.bucket.spot_of(hash);
        match heir.walk.place(&self.small, spot) {
            Place::Own([_, cell]) => {
                // A later TAT is a larger debt.
                cell.fetch_max(state, Ordering::Relaxed);
                Fate::Joined
            }
            Place::Empty([tag, cell]) if self.grant(heir) => {
                cell.store(state, Ordering::Relaxed);
                // Release pairs with the acquire of who finds the tag: the state is there before it.
                tag.store(spot.tag.0, Ordering::Release);
                Fate::Placed
            }
            Place::Empty(_) | Place::Full => Fate::NoRoom,
        }
    }

    fn restore_wide(&self, heir: &mut Heir, hash: u64, kept: State) -> Fate {
        match wide(heir.bucket.meter(), &heir.former.meter, heir.moment, kept) {
            UNSEEN => Fate::Idle,
            state => self.place_wide(heir, hash, state),
        }
    }

    fn restore_log(&self, heir: &mut Heir, hash: u64, entries: &[[u64; 2]]) -> Fate {
        match self.log(heir.bucket.meter(), &heir.former.meter, heir.moment, entries) {
            Some(UNSEEN) => Fate::Idle,
            Some(state) => self.place_wide(heir, hash, state),
            None => Fate::NoRoom,
        }
    }

    /// Gives a key a wide cell with that state.
    fn place_wide(&self, heir: &mut Heir, hash: u64, state: State) -> Fate {
        let spot = heir.bucket.spot_of(hash);
        match heir.walk.place(&self.wide, spot) {
            Place::Own(words) => {
                self.join_wide(WideCell::at(words), heir.bucket.storage(), state);
                Fate::Joined
            }
            Place::Empty([tag, first, second, third]) if self.grant(heir) => {
                second.store(state[1], Ordering::Relaxed);
                third.store(state[2], Ordering::Relaxed);
                first.store(state[0], Ordering::Relaxed);
                // Release pairs with the acquire of who finds the tag: the state is there before it.
                tag.store(spot.tag.0, Ordering::Release);
                Fate::Placed
            }
            Place::Empty(_) | Place::Full => {
                self.drop_state(heir.bucket.storage(), state);
                Fate::NoRoom
            }
        }
    }

    /// Lets a cell have that state if it says more than its own: reaches further or, if both reach as far, counts more.
    fn join_wide(&self, cell: WideCell<'_>, storage: Storage, state: State) {
        let said = |state: State| match storage {
            Storage::Log => [state[0], self.slab.ring(state[1], state[2]).used(), 0],
            Storage::Word | Storage::Wide => state,
        };
        let mut held = cell.hold();
        let mine = held.state();
        let (more, less) = if said(state) > said(mine) {
            (state, mine)
        } else {
            (mine, state)
        };
        held.set(more);
        self.drop_state(storage, less);
    }

    /// Gives back what a state has in the slab.
    fn drop_state(&self, storage: Storage, [_, second, third]: State) {
        if storage == Storage::Log {
            self.slab.ring(second, third).clear();
        }
    }

    fn restore_own(&self, heir: &Heir, which: Own, words: &[[u64; 2]]) -> Fate {
        let own = &heir.bucket.own;
        let (cell, new, old) = match which {
            Own::Whole => (&own.whole, Some(heir.bucket.meter()), Some(&heir.former.meter)),
            Own::Overflow => (
                &own.overflow,
                heir.bucket.overflow_meter(),
                heir.former.overflow.as_ref(),
            ),
        };
        let (Some(new), Some(old)) = (new, old) else {
            // Closed now, or then.
            return Fate::PassedOver;
        };
        if new.storage() != old.storage() {
            return Fate::PassedOver;
        }
        let state = match (new.storage(), words) {
            (Storage::Word, [[kept, _]]) => {
                let state = word(new, old, heir.moment, *kept);
                return join_own(cell, state);
            }
            (Storage::Wide, [[first, second], [third, _]]) => wide(new, old, heir.moment, [*first, *second, *third]),
            (Storage::Log, entries) => match self.log(new, old, heir.moment, entries) {
                Some(state) => state,
                None => return Fate::NoRoom,
            },
            _ => return Fate::PassedOver,
        };
        if state == UNSEEN {
            return Fate::Idle;
        }
        self.join_wide(cell.wide(), new.storage(), state);
        Fate::Placed
    }

    /// The state of a log of those entries, with room in the slab for what still counts of them; `None` if there is none.
    fn log(&self, new: &Meter, old: &Meter, moment: Moment, entries: &[[u64; 2]]) -> Option<State> {
        let (Meter::Log(new), Meter::Log(old)) = (new, old) else {
            return Some(UNSEEN);
        };
        let mut ring = self.slab.ring(0, 0);
        for [ends_at, cost] in entries {
            let (ends_at, cost) = (*ends_at, *cost);
            let Some(entry) = new.restore(Entry { ends_at, cost }, moment.now, moment.away) else {
                continue;
            };
            if ring.push_newest(entry).is_err() {
                ring.clear();
                return None;
            }
            ring.set_used(ring.used().saturating_add(cost));
        }
        new.carry_over(old, &mut ring);
        let [second, third] = ring.to_words();
        Some([new.idle_at(&ring), second, third])
    }

    /// Counts one more cell to the bucket; `false` if it has its share.
    #[inline]
    fn grant(&self, heir: &mut Heir) -> bool {
        if heir.granted == 0 {
            heir.granted = self.slots.own_some(heir.bucket.id().number(), GRANT);
        }
        match heir.granted.checked_sub(1) {
            Some(left) => {
                heir.granted = left;
                true
            }
            None => false,
        }
    }
}

/// Cells that are counted to a bucket at once: counting each by itself would cost more than making it.
const GRANT: usize = 1024;

/// Where a key's cell is, or may be.
enum Place<'a, const WORDS: usize> {
    /// It has this one.
    Own(&'a [AtomicU64; WORDS]),
    /// It has none, and this one is nobody's.
    Empty(&'a [AtomicU64; WORDS]),
    /// It has none, and both its groups are full.
    Full,
}

/// Follows the records of a file through the groups in which their cells lay.
///
/// A table of the same size and buckets as the one that was written has the same groups for the same keys, so that of a key's two the
/// one that comes next in the file's order is where its cell lay: there the memory is near, and there is room. A table
/// of another size has each key's groups wherever they fall, and they are found by looking at both.
#[derive(Clone, Copy)]
struct Walk {
    /// Whether no two records are of one key, and none of one that has a cell already, so that what lies in the other group need not be looked at.
    are_single: bool,
    /// The group of the last record that was placed.
    at: usize,
}

impl Walk {
    /// Of how many groups one counts as near, on either side: far more than lie between two cells of a table that takes long to
    /// restore, and so few that what falls there by chance is rare. A small table has none, and is restored soon enough.
    const NEAR_IN: usize = 2048;

    const fn new(are_single: bool) -> Self {
        Self { are_single, at: 0 }
    }

    #[inline]
    fn place<'a, const WORDS: usize>(&mut self, groups: &'a Groups<WORDS>, spot: Spot) -> Place<'a, WORDS> {
        if self.are_single {
            let near = groups.count() / Self::NEAR_IN;
            let first = groups.first(spot);
            for index in [first, groups.second(spot, first)] {
                if index.abs_diff(self.at) < near
                    && let Some(cell) = empty(groups.group(index))
                {
                    self.at = index;
                    return Place::Empty(cell);
                }
            }
        }
        place(groups, spot)
    }
}

#[inline]
fn empty<const WORDS: usize>(group: &[[AtomicU64; WORDS]]) -> Option<&[AtomicU64; WORDS]> {
    group
        .iter()
        .find(|cell| cell[0].load(Ordering::Relaxed) == Tag::EMPTY.0)
}

/// Looks for the key's cell as long as nobody makes or frees any: then the second group need be looked at only where the first has
/// little room, since it had more before.
#[inline]
fn place<const WORDS: usize>(groups: &Groups<WORDS>, spot: Spot) -> Place<'_, WORDS> {
    let index = groups.first(spot);
    let first = match look(groups.group(index), spot.tag) {
        Looked::Own(cell) => return Place::Own(cell),
        Looked::Room { free, empty } if free >= FIRST_GROUP_FREE_MIN => match empty {
            Some(cell) => return Place::Empty(cell),
            None => (free, empty),
        },
        Looked::Room { free, empty } => (free, empty),
    };
    let second = match look(groups.group(groups.second(spot, index)), spot.tag) {
        Looked::Own(cell) => return Place::Own(cell),
        Looked::Room { free, empty } => (free, empty),
    };
    let (_, empty) = if first.0 >= second.0 { first } else { second };
    empty.map_or(Place::Full, Place::Empty)
}

/// What a group has for a key.
enum Looked<'a, const WORDS: usize> {
    Own(&'a [AtomicU64; WORDS]),
    Room {
        free: usize,
        empty: Option<&'a [AtomicU64; WORDS]>,
    },
}

#[inline]
fn look<const WORDS: usize>(group: &[[AtomicU64; WORDS]], tag: Tag) -> Looked<'_, WORDS> {
    let (mut free, mut empty) = (0, None);
    for cell in group {
        let found = Tag(cell[0].load(Ordering::Acquire));
        if found == tag {
            return Looked::Own(cell);
        }
        if found == Tag::EMPTY {
            free += 1;
            empty = Some(cell);
        }
    }
    Looked::Room { free, empty }
}

/// What a word is worth now. Zero for nothing.
fn word(new: &Meter, old: &Meter, Moment { now, away }: Moment, kept: u64) -> u64 {
    match (new, old) {
        (Meter::Word(new), Meter::Word(old)) => new.carry_over(old, old.restore(kept, now, away), now),
        _ => 0,
    }
}

/// What a wide state is worth now.
fn wide(new: &Meter, old: &Meter, Moment { now, away }: Moment, kept: State) -> State {
    let (Meter::Wide(new), Meter::Wide(old)) = (new, old) else {
        return UNSEEN;
    };
    // Only who counts in ticks reads them; windows lie where this node's clock says, and their lengths are the same.
    let reader = if let WideMeter::Settling(_) = new { old } else { new };
    new.carry_over(old, reader.restore(kept, now, away), now).words()
}

/// Lets a small cell of a bucket's own have that state, unless its own is larger.
fn join_own(cell: &OwnCell, state: u64) -> Fate {
    if state == 0 {
        return Fate::Idle;
    }
    // No bucket is replaced before its first requests; of one that is, the state says so and is the largest there is.
    cell.small().fetch_max(state, Ordering::Relaxed);
    Fate::Placed
}
