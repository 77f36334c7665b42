//! The store's side of a token bucket: what it keeps of a key, and what one exchange makes of it.

use libm::{exp, floor};

use super::Terms;

/// What a node asks the store for, of one key, and what it tells.
///
/// All counts are units, at least zero and finite; spans are microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Ask {
    /// Let through already within the node's allowance: charged whatever is left.
    pub pay: f64,
    /// For requests that wait: charged as far as there is enough, spent on arrival.
    pub take: f64,
    /// Whether what is taken is not spent on arrival, but outstanding of the reply's epoch like a lease: for requests that put right what
    /// they took when they end. A window knows no difference.
    pub holds: bool,
    /// For the lease: granted as far as there is enough and others get their part.
    pub want: f64,
    /// Taken for requests that then did not pass: given back, less what has come back by itself since.
    pub refund: f64,
    /// What became of the leases of two epochs.
    pub settled: [Settled; 2],
    /// Whether the key is to be as never seen, but for what is outstanding and for a lock.
    pub clear: bool,
    /// Units asked for at this node since its last exchange.
    pub demand: f64,
    /// The node's own average of them: what it asked for within one [`Terms::theta`], fading.
    pub own: f64,
    /// A number drawn evenly from 0 to below 1: a lease's broken unit is granted by it.
    pub chance: f64,
    /// What the node remembers, for a store that may have lost it.
    pub heal: Option<Heal>,
}

/// What became of the units of a lease epoch since the last exchange.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Settled {
    /// Which epoch, by the number that its [`Reply::epoch`] gave it; zero for none.
    pub epoch: f64,
    /// Units spent.
    pub spent: f64,
    /// Units given back.
    pub returned: f64,
    /// Units reserved for requests that have not ended: they move to the epoch of the reply, so that they outlive their own. If that is dead
    /// already they count as spent in it.
    pub reserved: f64,
}

/// What a node remembers of a key.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Heal {
    /// The [`Reply::seen`] of its last exchange: of a bucket a time, of a window a count.
    pub seen: f64,
    /// Of a window, which one that count is of; of a bucket, its [`Reply::locked_until`].
    pub seen_epoch: f64,
    /// Unspent units that it still holds.
    pub held: f64,
}

/// What the store answers, of one key.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Reply {
    /// Of [`Ask::take`], what was charged: whole units.
    pub taken: f64,
    /// Of [`Ask::want`], what the node now holds in addition: whole units.
    pub granted: f64,
    /// The epoch they belong to: a number that only the store understands.
    pub epoch: f64,
    /// The epoch before, whose units can still be settled. Those of any other are dead.
    pub previous_epoch: f64,
    /// How long they are good, in microseconds from the moment the ask was sent.
    pub valid_for: f64,
    /// Units left for others; negative while the debt is above the burst.
    pub available: f64,
    /// Until there is a whole unit; zero if there is.
    pub ready_after: f64,
    /// What all nodes together ask for, in units a microsecond.
    pub rate: f64,
    /// This node's part of it, above 0 to 1.
    pub share: f64,
    /// What [`Heal::seen`] says if the store ever loses the key.
    pub seen: f64,
    /// Until when the key is locked, by the store's clock, and [`Reply::ready_after`] is the rest of that; zero if it is not.
    pub locked_until: f64,
    /// Whether what was kept made no sense and was thrown away.
    pub damaged: bool,
}

impl Reply {
    /// Whether a store can have said so: numbers, and of what is granted no debt.
    pub fn is_sane(&self) -> bool {
        let numbers = [
            self.epoch,
            self.previous_epoch,
            self.valid_for,
            self.available,
            self.rate,
            self.seen,
        ];
        let counts = [self.taken, self.granted, self.ready_after, self.locked_until];
        numbers.iter().all(|value| value.is_finite())
            && counts.iter().all(|value| value.is_finite() && *value >= 0.0)
            && self.share > 0.0
            && self.share <= 1.0
    }
}

/// What the store keeps of a token bucket: 48 bytes, and while it is locked 8 more. The default is a key never seen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Kept {
    /// The theoretical arrival time of the next unit. Leases are charged in it from their grant on.
    pub tat: f64,
    /// What was asked for within one theta, fading; as of `demand_at`.
    pub demand: f64,
    /// When that was.
    pub demand_at: f64,
    /// Units outstanding of the epoch that ends at `epoch_ends_at`.
    pub current: f64,
    /// Units outstanding of the epoch before, which die when the current one ends.
    pub previous: f64,
    /// When the current epoch ends; also its number. Zero for a key never seen.
    pub epoch_ends_at: f64,
    /// Until when nothing is taken or granted; zero if the key is not locked. When it is over, the key is as never seen.
    pub locked_until: f64,
}

/// What came of an exchange beside what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Outcome {
    /// As [`Reply::taken`].
    pub taken: f64,
    /// As [`Reply::granted`].
    pub granted: f64,
    /// As [`Reply::damaged`].
    pub damaged: bool,
}

/// Does one exchange at the store's time `now`, and says for how long what is kept matters.
///
/// The order of the steps is the safety of it. An epoch that dies counts as spent at the moment it died; what is outstanding
/// blocks refill *before* a report is settled, or the refill would let the reported units through twice.
pub fn bucket(kept: Option<Kept>, terms: &Terms, ask: &Ask, now: f64) -> (Kept, Reply, f64) {
    bucket_under(Rules::ALL, kept, terms, ask, now)
}

/// As [`bucket`], under fewer rules: for the tests that show what each is for.
#[doc(hidden)]
pub fn bucket_under(rules: Rules, kept: Option<Kept>, terms: &Terms, ask: &Ask, now: f64) -> (Kept, Reply, f64) {
    let mut outcome = Outcome::default();
    let mut key = kept.unwrap_or_default();
    if !key.makes_sense() {
        key = Kept::default();
        outcome.damaged = true;
    }
    outcome.damaged |= key.follow_clock(now);
    key.end_lock(now);
    let mut spent = key.turn_epoch(rules, terms, now);
    let latest = now + (terms.burst + terms.overdraft) * terms.interval;
    if key.tat > latest {
        // No sequence of exchanges makes this: the clock went back, or somebody wrote here. As if just used up, so that it
        // comes back at the limit's own pace.
        key.tat = now + terms.burst * terms.interval;
        outcome.damaged = true;
    }
    outcome.damaged |= key.cut_lock(terms, now);
    if rules.floors_before_settling {
        key.block_refill(rules, terms, now);
    }
    if let Some(heal) = &ask.heal {
        // A time that no sequence of exchanges makes is of a clock that was ahead of this one.
        let seen = if heal.seen > latest {
            now + terms.burst * terms.interval
        } else {
            heal.seen
        };
        key.tat = key.tat.max(seen);
        key.current = (key.current + heal.held).min((terms.burst - key.previous).max(key.current));
        if terms.lock > 0.0 && heal.seen_epoch > now {
            key.locked_until = key.locked_until.max(heal.seen_epoch.min(now + terms.lock));
        }
    }
    for settled in &ask.settled {
        spent += key.settle(rules, settled, terms);
    }
    key.tat -= ask.refund * terms.interval;
    if ask.clear {
        key.tat = 0.0;
    }
    key.block_refill(rules, terms, now);
    // More than that would be taken for damage the next time, and forgotten.
    key.tat = (key.tat + ask.pay * terms.interval).min(latest);
    spent += ask.pay;

    key.demand = fade(key.demand, key.demand_at, now, terms.theta) + ask.demand;
    key.demand = key.demand.min(DEMAND_MAX);
    key.demand_at = now;

    let available = key.available(terms, now);
    outcome.taken = ask.take.min(floor(available)).max(0.0);
    outcome.granted = grant(ask, key.demand, available - outcome.taken, terms);
    key.tat += (outcome.taken + outcome.granted) * terms.interval;
    key.current += outcome.granted;
    if ask.holds && rules.taken_stays_outstanding {
        key.current += outcome.taken;
    } else {
        spent += outcome.taken;
    }
    if spent > 0.0 {
        key.begin_lock(terms, now);
    }

    let matters_for = (key.tat.max(key.locked_until) - now).max(0.0) + 2.0 * terms.ttl + EXTRA_US;
    (key, key.reply(terms, ask, now, &outcome), matters_for)
}

/// How much longer than needed a value is kept, in microseconds: a second, so that no rounding of clocks cuts it short.
pub(super) const EXTRA_US: f64 = 1_000_000.0;

/// By how much the times of exchanges may go back where the store's clock does not, in microseconds: stores carry a clock that went back
/// forward by what nodes know of it, at most by a second, and not all nodes know the same. What is owed is not less for that.
const BACK_US: f64 = 1_100_000.0;

/// Below so much demand of its own a node still counts as a third of a request: what it asks for once must not look like a share of
/// nothing. The 0.7 taken away is by how much a node's average is above its part of the store's just after its own request.
const SHARE_LEAST: f64 = 0.3;
const SHARE_BIAS: f64 = 0.7;

/// More than a fleet asks for within a theta: ten million a second for ten seconds, a hundred times over. Fading from it takes four
/// minutes, so that no written nonsense keeps a node's share small for long.
pub(super) const DEMAND_MAX: f64 = 1e10;

/// Which of the rules that keep the bound are in force: all of them, but in the tests that show what each is for.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each rule is in force or not, whatever the others are"
)]
pub struct Rules {
    /// Nothing comes back for units that may still be spent.
    pub outstanding_blocks_refill: bool,
    /// That is seen to before a report is settled, not only after.
    pub floors_before_settling: bool,
    /// What is taken for requests that settle is outstanding until they have.
    pub taken_stays_outstanding: bool,
    /// What is reserved goes on to the next epoch.
    pub reservations_move: bool,
}

impl Rules {
    /// What the product goes by.
    pub const ALL: Self = Self {
        outstanding_blocks_refill: true,
        floors_before_settling: true,
        taken_stays_outstanding: true,
        reservations_move: true,
    };
}

impl Kept {
    /// The answer to `ask`, from what is kept after it and what came of it: what a store elsewhere sends is only these two.
    pub fn reply(&self, terms: &Terms, ask: &Ask, now: f64, outcome: &Outcome) -> Reply {
        let available = self.available(terms, now);
        Reply {
            taken: outcome.taken,
            granted: outcome.granted,
            epoch: self.epoch_ends_at,
            previous_epoch: self.epoch_ends_at - terms.ttl,
            valid_for: self.epoch_ends_at + terms.ttl - now,
            available,
            ready_after: if self.is_locked() {
                (self.locked_until - now).max(0.0)
            } else {
                ((1.0 - available) * terms.interval).max(0.0)
            },
            rate: self.demand / terms.theta,
            share: share(ask.own, self.demand),
            seen: self.tat,
            locked_until: self.locked_until,
            damaged: outcome.damaged,
        }
    }

    fn available(&self, terms: &Terms, now: f64) -> f64 {
        let available = terms.burst - (self.tat - now) / terms.interval;
        if self.is_locked() {
            available.min(0.0)
        } else {
            available
        }
    }

    /// Of a lock that is over nothing is left after [`Kept::end_lock`].
    fn is_locked(&self) -> bool {
        self.locked_until > 0.0
    }

    /// A lock that is over leaves the key as never seen at its end.
    fn end_lock(&mut self, now: f64) {
        if self.is_locked() && now >= self.locked_until {
            self.tat = self.locked_until;
            self.locked_until = 0.0;
        }
    }

    /// After a clock that went back, what is owed is what was owed at the last exchange, however long before that the clock stands now: it
    /// would else be refused for as long as the clock went back. Says whether it did.
    fn follow_clock(&mut self, now: f64) -> bool {
        let back = self.demand_at - now;
        let went_back = back > BACK_US;
        if went_back {
            self.tat = (self.tat - back).max(0.0);
            if self.is_locked() {
                self.locked_until = (self.locked_until - back).max(now);
            }
            self.demand_at = now;
        }
        went_back
    }

    /// No lock ends later than one that begins now; says whether one did. Where nothing locks any more, none holds.
    fn cut_lock(&mut self, terms: &Terms, now: f64) -> bool {
        if terms.lock <= 0.0 {
            self.locked_until = 0.0;
        }
        let is_longer = self.locked_until > now + terms.lock;
        if is_longer {
            self.locked_until = now + terms.lock;
        }
        is_longer
    }

    /// Locks the key, if what is spent for good leaves no room for one more unit even if all that is outstanding came back. Called only
    /// where something was spent, so that neither what nodes remember nor a changed limit locks anybody. A lock is not extended.
    fn begin_lock(&mut self, terms: &Terms, now: f64) {
        let spent = (self.tat - now) / terms.interval - self.current - self.previous;
        if terms.lock > 0.0 && !self.is_locked() && spent > terms.burst - 1.0 {
            self.locked_until = now + terms.lock;
        }
    }

    fn makes_sense(&self) -> bool {
        let all = [
            self.tat,
            self.demand,
            self.demand_at,
            self.current,
            self.previous,
            self.epoch_ends_at,
            self.locked_until,
        ];
        all.iter().all(|value| value.is_finite() && *value >= 0.0) && self.demand <= DEMAND_MAX
    }

    /// Goes on to the epoch that `now` lies in. Units of an epoch nobody reported any more count as spent when it died; tells how many.
    fn turn_epoch(&mut self, rules: Rules, terms: &Terms, now: f64) -> f64 {
        let ttl = terms.ttl;
        if self.epoch_ends_at > now + ttl {
            // The store's clock went back, or the limit has changed: nobody can report what is outstanding by its number any more.
            self.epoch_ends_at = grid(now, ttl);
        }
        if now < self.epoch_ends_at {
            return 0.0;
        }
        let ended_at = self.epoch_ends_at;
        let mut died = self.previous;
        if rules.outstanding_blocks_refill {
            self.tat = self
                .tat
                .max(ended_at + bounded(self.current + self.previous, terms) * terms.interval);
        }
        if now < ended_at + ttl {
            self.previous = self.current;
            self.epoch_ends_at = ended_at + ttl;
        } else {
            if rules.outstanding_blocks_refill {
                self.tat = self
                    .tat
                    .max(ended_at + ttl + bounded(self.current, terms) * terms.interval);
            }
            died += self.current;
            self.previous = 0.0;
            self.epoch_ends_at = grid(now, ttl);
        }
        self.current = 0.0;
        died
    }

    /// Nothing comes back for units that may still be spent.
    fn block_refill(&mut self, rules: Rules, terms: &Terms, now: f64) {
        let outstanding = if rules.outstanding_blocks_refill {
            bounded(self.current + self.previous, terms)
        } else {
            0.0
        };
        self.tat = self.tat.max(now + outstanding * terms.interval);
    }

    /// Takes a report, and tells how many units of it were spent.
    #[expect(
        clippy::float_cmp,
        reason = "epochs are told by whole numbers below 2⁵³, whose sums are exact"
    )]
    fn settle(&mut self, rules: Rules, settled: &Settled, terms: &Terms) -> f64 {
        let returned;
        if settled.epoch == self.epoch_ends_at {
            returned = settled.returned.min(self.current);
            self.current = (self.current - settled.spent - returned).max(0.0);
        } else if settled.epoch == self.epoch_ends_at - terms.ttl {
            returned = settled.returned.min(self.previous + self.current);
            self.previous -= settled.spent + returned;
            if self.previous < 0.0 {
                // They have moved on already, by a call whose answer was lost.
                self.current = (self.current + self.previous).max(0.0);
                self.previous = 0.0;
            }
            if rules.reservations_move {
                // At worst others' units live on in the place of these, and die an epoch later.
                let moved = settled.reserved.min(self.previous);
                self.previous -= moved;
                self.current += moved;
            }
        } else {
            // Its epoch is dead, and it counts as spent.
            return 0.0;
        }
        self.tat -= returned * terms.interval;
        settled.spent
    }
}

/// What is outstanding, as far as it can be: more than all there is can only be of a limit that was larger, or damage.
fn bounded(outstanding: f64, terms: &Terms) -> f64 {
    outstanding.min(terms.burst)
}

/// The end of the epoch that `now` lies in, on the grid of whole epochs.
fn grid(now: f64, ttl: f64) -> f64 {
    (floor(now / ttl) + 1.0) * ttl
}

/// What is left of an average; a clock that went back takes nothing from it.
pub(super) fn fade(value: f64, at: f64, now: f64, theta: f64) -> f64 {
    value * exp((at - now).min(0.0) / theta)
}

/// A node's part of what all ask for.
pub(super) fn share(own: f64, all: f64) -> f64 {
    if all <= 0.0 {
        return 1.0;
    }
    ((own - SHARE_BIAS).max(SHARE_LEAST) / all).min(1.0)
}

/// How much of what a node wants for its lease it gets, of what is `available`: half where there is plenty, otherwise its share
/// twice, so that something is left for whoever comes next. A broken unit is granted by chance, so that on average it is.
pub(super) fn grant(ask: &Ask, demand: f64, available: f64, terms: &Terms) -> f64 {
    let plenty = available > terms.burst / 2.0 && demand / terms.theta < terms.rate();
    let most = if plenty {
        available / 2.0
    } else {
        available * (2.0 * share(ask.own, demand)).min(1.0)
    };
    let granted = ask.want.min(most).max(0.0);
    let whole = floor(granted);
    let rounded = if ask.chance < granted - whole {
        whole + 1.0
    } else {
        whole
    };
    rounded.min(floor(available)).max(0.0)
}

#[cfg(test)]
mod tests;
