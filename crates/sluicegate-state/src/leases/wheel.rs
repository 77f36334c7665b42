//! Which entries of a stripe have to speak with the store, and when: lists of them by time.
//!
//! The lists run through the entries themselves, so that planning an exchange allocates nothing.

/// A list's end.
pub(super) const NONE: u32 = u32::MAX;

/// No time at all.
pub(super) const NEVER: u64 = u64::MAX;

/// A tick, in microseconds: a fraction of a round trip, since what is due may wait for so long.
pub(super) const TICK_US: f64 = 250.0;

/// Ticks ahead that have a list of their own: a quarter of a second, twice the longest lease period of a limit that is in
/// use. What is later is looked at again when its list comes round.
const SLOTS: usize = 1_024;

/// The tick that `time` lies in.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times of a node are positive and stay below 2⁵³ µs; the infinite one is never"
)]
pub(super) fn tick(time: f64) -> u64 {
    if time.is_finite() {
        (time.max(0.0) / TICK_US) as u64
    } else {
        NEVER
    }
}

/// An entry's place in the lists.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub(super) next: u32,
    pub(super) previous: u32,
    /// In which list, or [`NONE`].
    slot: u32,
    /// When it is due.
    pub(super) tick: u64,
}

impl Link {
    pub(super) const fn new() -> Self {
        Self {
            next: NONE,
            previous: NONE,
            slot: NONE,
            tick: NEVER,
        }
    }
}

/// What has links.
pub(super) trait Links {
    fn link(&mut self, index: u32) -> &mut Link;
}

/// The lists.
#[derive(Debug)]
pub(super) struct Wheel {
    heads: Box<[u32]>,
    /// Everything before it has been taken out.
    reached: u64,
    planned: usize,
}

impl Wheel {
    pub(super) fn new() -> Self {
        Self {
            heads: vec![NONE; SLOTS].into_boxed_slice(),
            reached: 0,
            planned: 0,
        }
    }

    /// Plans an entry for `tick`, wherever it was planned before; [`NEVER`] takes it out.
    pub(super) fn plan(&mut self, links: &mut impl Links, index: u32, tick: u64) {
        let link = *links.link(index);
        if link.tick == tick {
            return;
        }
        self.remove(links, index);
        if tick != NEVER {
            self.insert(links, index, tick);
        }
    }

    fn insert(&mut self, links: &mut impl Links, index: u32, tick: u64) {
        let place = tick.max(self.reached).min(self.reached + SLOTS as u64 - 1);
        #[expect(clippy::cast_possible_truncation, reason = "the remainder is below SLOTS")]
        let slot = (place % SLOTS as u64) as u32;
        let head = std::mem::replace(&mut self.heads[slot as usize], index);
        if head != NONE {
            links.link(head).previous = index;
        }
        *links.link(index) = Link {
            next: head,
            previous: NONE,
            slot,
            tick,
        };
        self.planned += 1;
    }

    pub(super) fn remove(&mut self, links: &mut impl Links, index: u32) {
        let link = std::mem::replace(links.link(index), Link::new());
        if link.slot == NONE {
            return;
        }
        self.planned -= 1;
        if link.next != NONE {
            links.link(link.next).previous = link.previous;
        }
        if link.previous == NONE {
            self.heads[link.slot as usize] = link.next;
        } else {
            links.link(link.previous).next = link.next;
        }
    }

    /// Takes out the next entry that is due at `now`.
    pub(super) fn pop(&mut self, links: &mut impl Links, now: u64) -> Option<u32> {
        if self.planned == 0 {
            self.reached = self.reached.max(now);
            return None;
        }
        // After a long rest each list is looked at once.
        if now.saturating_sub(self.reached) >= SLOTS as u64 {
            self.reached = now - (SLOTS as u64 - 1);
        }
        loop {
            let slot = usize::try_from(self.reached % SLOTS as u64).unwrap_or_default();
            let mut index = self.heads[slot];
            while index != NONE {
                let link = *links.link(index);
                if link.tick <= now {
                    self.remove(links, index);
                    return Some(index);
                }
                // Of a later round. If the list that it belongs into is another by now, it goes there.
                if link.tick > self.reached + SLOTS as u64 - 1 || link.tick % SLOTS as u64 != slot as u64 {
                    self.remove(links, index);
                    self.insert_later(links, index, link.tick);
                }
                index = link.next;
            }
            if self.reached >= now {
                return None;
            }
            self.reached += 1;
        }
    }

    /// Plans an entry anew whose list has come round too early.
    fn insert_later(&mut self, links: &mut impl Links, index: u32, tick: u64) {
        // The list that is looked at now comes round last.
        let reached = self.reached;
        self.reached += 1;
        self.insert(links, index, tick);
        self.reached = reached;
    }

    /// When the next look is worth while: the first list that is not empty.
    pub(super) fn next(&self) -> u64 {
        if self.planned == 0 {
            return NEVER;
        }
        let ahead = (0..SLOTS as u64).find(|ahead| {
            let slot = usize::try_from((self.reached + ahead) % SLOTS as u64).unwrap_or_default();
            self.heads[slot] != NONE
        });
        ahead.map_or(NEVER, |ahead| self.reached + ahead)
    }
}
