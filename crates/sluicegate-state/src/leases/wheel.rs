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

/// The first tick that begins at `time` or after it: before that it is not yet time.
pub(super) fn tick_from(time: f64) -> u64 {
    tick((time / TICK_US).ceil() * TICK_US)
}

/// Bytes of the lists' beginnings.
pub(super) const BYTES: usize = SLOTS * size_of::<u32>();

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
    /// A bit for each list that is not empty.
    filled: [u64; SLOTS / 64],
    /// Everything before it has been taken out.
    reached: u64,
    planned: usize,
}

impl Wheel {
    pub(super) fn new() -> Self {
        Self {
            heads: vec![NONE; SLOTS].into_boxed_slice(),
            filled: [0; SLOTS / 64],
            reached: 0,
            planned: 0,
        }
    }

    /// Plans an entry for `tick`, wherever it was planned before; [`NEVER`] takes it out. `now` is the tick it is.
    pub(super) fn plan(&mut self, links: &mut impl Links, index: u32, tick: u64, now: u64) {
        let link = *links.link(index);
        if link.tick == tick {
            return;
        }
        self.remove(links, index);
        if tick != NEVER {
            if self.planned == 0 {
                // Nothing was planned for a while, and nothing is skipped.
                self.reached = self.reached.max(now);
            }
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
        self.filled[slot as usize / 64] |= 1 << (slot % 64);
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
            if link.next == NONE {
                self.filled[link.slot as usize / 64] &= !(1 << (link.slot % 64));
            }
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
                    self.insert(links, index, link.tick);
                }
                index = link.next;
            }
            if self.reached >= now {
                return None;
            }
            self.reached = self
                .first_filled(self.reached + 1)
                .map_or(now, |filled| filled.min(now));
        }
    }

    /// When the next look is worth while: the first list that is not empty.
    pub(super) fn next(&self) -> u64 {
        if self.planned == 0 {
            return NEVER;
        }
        self.first_filled(self.reached).unwrap_or(NEVER)
    }

    /// The first tick from `from` on, of one round, whose list is not empty.
    fn first_filled(&self, from: u64) -> Option<u64> {
        let slot = usize::try_from(from % SLOTS as u64).unwrap_or_default();
        let words = self.filled.len();
        // The word that it begins in comes last once more, with the bits that lie before.
        (0..=words).find_map(|ahead| {
            let word = (slot / 64 + ahead) % words;
            let bits = match ahead {
                0 => self.filled[word] & (u64::MAX << (slot % 64)),
                _ if ahead == words => self.filled[word] & !(u64::MAX << (slot % 64)),
                _ => self.filled[word],
            };
            if bits == 0 {
                return None;
            }
            let found = word * 64 + bits.trailing_zeros() as usize;
            Some(from + ((found + SLOTS - slot) % SLOTS) as u64)
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Slab(Vec<Link>);

    impl Links for Slab {
        fn link(&mut self, index: u32) -> &mut Link {
            &mut self.0[index as usize]
        }
    }

    const ENTRIES: u32 = 12;

    /// What is done to a wheel.
    #[derive(Debug, Clone)]
    enum Step {
        /// Plans an entry for so many ticks from now, which may be past.
        Plan(u32, i64),
        Waiter(u32),
        Never(u32),
        /// Time passes, and all that is due is taken out.
        Pass(u64),
        /// One is taken out.
        Pop,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let near = prop_oneof![-20i64..40, 900i64..1_200, 2_000i64..40_000];
        let span = prop_oneof![4 => 0u64..30, 2 => 200u64..1_100, 1 => 1_000u64..100_000];
        let step = prop_oneof![
            6 => (0..ENTRIES, near).prop_map(|(index, ahead)| Step::Plan(index, ahead)),
            1 => (0..ENTRIES).prop_map(Step::Waiter),
            1 => (0..ENTRIES).prop_map(Step::Never),
            4 => span.prop_map(Step::Pass),
            2 => Just(Step::Pop),
        ];
        prop::collection::vec(step, 1..200)
    }

    /// The model: for when each entry is planned.
    struct Plans {
        wheel: Wheel,
        slab: Slab,
        due: [u64; ENTRIES as usize],
        now: u64,
    }

    impl Plans {
        fn plan(&mut self, index: u32, tick: u64) {
            self.wheel.plan(&mut self.slab, index, tick, self.now);
            self.due[index as usize] = tick;
        }

        /// Takes one out; it was due.
        fn pop(&mut self) -> Option<u32> {
            let popped = self.wheel.pop(&mut self.slab, self.now);
            match popped {
                Some(index) => {
                    let due = std::mem::replace(&mut self.due[index as usize], NEVER);
                    assert!(due <= self.now, "{index} is due at {due}, and it is {}", self.now);
                }
                None => assert!(self.first() > self.now, "one that is due was not found"),
            }
            popped
        }

        fn first(&self) -> u64 {
            *self.due.iter().min().expect("there are some")
        }

        fn check(&self) {
            let planned = self.due.iter().filter(|due| **due != NEVER).count();
            assert_eq!(self.wheel.planned, planned);
            assert!(self.wheel.next() <= self.first().max(self.now), "one would be missed");
        }
    }

    proptest! {
        #[test]
        fn every_entry_comes_out_once_when_it_is_due_and_none_is_missed(start in 0u64..1_000_000, steps in steps()) {
            let mut plans = Plans {
                wheel: Wheel::new(),
                slab: Slab(vec![Link::new(); ENTRIES as usize]),
                due: [NEVER; ENTRIES as usize],
                now: start,
            };
            for step in steps {
                match step {
                    Step::Plan(index, ahead) => plans.plan(index, plans.now.saturating_add_signed(ahead)),
                    Step::Waiter(index) => plans.plan(index, 0),
                    Step::Never(index) => plans.plan(index, NEVER),
                    Step::Pop => {
                        let _ = plans.pop();
                    }
                    Step::Pass(span) => {
                        plans.now += span;
                        while plans.pop().is_some() {}
                        // Nothing more to do until then: the driver sleeps.
                        assert!(plans.wheel.next() > plans.now, "the driver would not rest");
                    }
                }
                plans.check();
            }
        }
    }

    #[test]
    fn nothing_is_planned_before_its_time() {
        for (time, from) in [(0.0, 0), (1.0, 1), (250.0, 1), (250.1, 2), (1e12 + 3.0, 4_000_000_001)] {
            assert_eq!(tick_from(time), from, "{time}");
        }
        assert_eq!(tick_from(f64::INFINITY), NEVER);
    }
}
