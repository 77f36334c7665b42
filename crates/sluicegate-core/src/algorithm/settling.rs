//! The settling bucket: a token bucket whose charges may be reservations, told the truth later, and which can lock.

use core::num::NonZeroU64;
use core::time::Duration;

use super::answer::{Answer, Ruling, Wide};
use super::concurrency::Concurrency;
use super::ticks::Tick;
use super::token_bucket::{Tat, TokenBucket};
use crate::{Cost, Limit, Retry, Timestamp};

/// A limit whose charges are settled later, or that locks who uses it up, made ready to decide by.
///
/// It meters as the token bucket does, and remembers beside the TAT how many units are reserved and not yet settled:
/// `outstanding`. Those block refill, by a floor that comes before everything else: `TAT ≥ t + outstanding·T`. So what is
/// given back later was not refilled meanwhile, can be credited in full, and never revives refill that another request
/// has spent.
///
/// With a lock, the charge that uses up the last of the burst for good, a plain one or a reservation settled as kept,
/// locks the key: it is refused until the lock ends, attempts meanwhile do not extend it, and afterwards it is as never
/// seen. While reservations are open that could come back, nothing locks.
///
/// Source: the rule for leases, here with the one node's own reservations in the place of leased tokens.
///
/// It remembers of a key when it will be idle; the TAT or, with the highest bit set, the tick until which it is locked;
/// and what is outstanding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settling {
    bucket: TokenBucket,
    lock: Option<Duration>,
}

impl Settling {
    /// Says that the second word is the end of a lock, not a TAT.
    const LOCKED: u64 = 1 << 63;

    /// Keeps to `limit`, and locks for `lock` who uses it up; never if that is `None`.
    pub const fn new(limit: Limit, lock: Option<Duration>) -> Self {
        Self::new_sharing(limit, limit.burst(), lock)
    }

    /// A bucket that counts in the tick and interval of one of the same rate and the burst `largest_burst`, as
    /// [`TokenBucket::new_sharing`] does.
    pub const fn new_sharing(limit: Limit, largest_burst: NonZeroU64, lock: Option<Duration>) -> Self {
        Self {
            bucket: TokenBucket::new_sharing(limit, largest_burst),
            lock,
        }
    }

    /// The limit this bucket keeps.
    pub const fn limit(&self) -> &Limit {
        self.bucket.limit()
    }

    /// How long it locks who uses it up.
    pub const fn lock(&self) -> Option<Duration> {
        self.lock
    }

    /// Decides one request and, if it passes, charges it for good.
    #[inline]
    pub fn charge(&self, state: Wide, now: Timestamp, cost: Cost) -> Ruling<Wide> {
        self.decide(state, now, cost, |mut account| {
            account.tat += cost.units() * self.bucket.interval();
            self.keep_or_lock(account, now)
        })
    }

    /// Decides one request and, if it passes, reserves its cost: until [`Self::settle`] it counts in full and blocks
    /// refill.
    #[inline]
    pub fn reserve(&self, state: Wide, now: Timestamp, cost: Cost) -> Ruling<Wide> {
        self.decide(state, now, cost, |mut account| {
            account.tat += cost.units() * self.bucket.interval();
            account.outstanding = account.outstanding.saturating_add(cost.units());
            self.keep_account(account)
        })
    }

    /// Settles a reservation of `reserved` as `actual`: less is given back in full, more is an overdraft, and may exceed
    /// the burst. With `actual` zero it is as if the request had never come.
    ///
    /// A lock stays as it is; what is kept during it is forgotten with it.
    #[must_use]
    pub fn settle(&self, state: Wide, now: Timestamp, reserved: Cost, actual: Cost) -> Wide {
        let mut account = self.account(state, now);
        let (reserved, actual) = (reserved.units(), actual.units());
        account.outstanding = account.outstanding.saturating_sub(reserved);
        if let Some(less) = reserved.checked_sub(actual) {
            let floor = self.floor(account.tick, account.outstanding);
            account.tat = account.tat.saturating_sub(self.ticks(less)).max(floor);
        } else {
            account.tat = account
                .tat
                .saturating_add(self.ticks(actual - reserved))
                .min(Tat::MAX.as_u64());
        }
        if actual > 0 {
            self.keep_or_lock(account, now)
        } else {
            self.keep_account(account)
        }
    }

    /// The state after a charge that is made whether it fits or not. It may lock, as one that fits.
    #[must_use]
    pub fn overdraw(&self, state: Wide, now: Timestamp, cost: Cost) -> Wide {
        if cost.units() == 0 {
            return state;
        }
        let mut account = self.account(state, now);
        account.tat = account
            .tat
            .saturating_add(self.ticks(cost.units()))
            .min(Tat::MAX.as_u64());
        self.keep_or_lock(account, now)
    }

    /// The state after a refused request is charged all the same, as a penalty: as far as the burst reaches. What is
    /// overdrawn already stays so, and a lock is not extended.
    #[must_use]
    pub fn penalize(&self, state: Wide, now: Timestamp, cost: Cost) -> Wide {
        let mut account = self.account(state, now);
        if cost.units() == 0 || account.locked_until.is_some() {
            return state;
        }
        let most = account.tick + self.bucket.tolerance();
        let end = account.tat.saturating_add(self.ticks(cost.units()));
        account.tat = account.tat.max(end.min(most));
        self.keep_or_lock(account, now)
    }

    /// The state after a plain charge of `cost`, made at `charged_at`, is taken back: as much as has not refilled since, as
    /// in [`TokenBucket::give_back`].
    ///
    /// A lock that this very charge started goes with it; what was charged before it then reads as the most that it can
    /// have been, less than a unit above the truth.
    #[must_use]
    pub fn give_back(&self, state: Wide, cost: Cost, charged_at: Timestamp, now: Timestamp) -> Wide {
        let mut account = self.account(state, now);
        if let Some(until) = account.locked_until {
            if self.lock.map(|lock| self.lock_end(charged_at, lock)) != Some(until) {
                return state;
            }
            account.locked_until = None;
            account.tat = (self.bucket.tick(charged_at).0 + self.bucket.tolerance()).max(account.tat);
        }
        let refilled = account.tick.saturating_sub(self.bucket.tick(charged_at).0);
        let credit = self.ticks(cost.units()).saturating_sub(refilled);
        let floor = self.floor(account.tick, account.outstanding);
        account.tat = account.tat.saturating_sub(credit).max(floor);
        self.keep_account(account)
    }

    /// Forgets all but what is outstanding, and an existing lock.
    #[must_use]
    pub fn clear(&self, state: Wide, now: Timestamp) -> Wide {
        let mut account = self.account(state, now);
        account.tat = self.floor(account.tick, account.outstanding);
        self.keep_account(account)
    }

    /// How long the key is still locked; `None` if it is not.
    pub fn locked_for(&self, state: Wide, now: Timestamp) -> Option<Duration> {
        let until = self.account(state, now).locked_until?;
        Some(self.until(until, now))
    }

    /// A state of `old`'s in this bucket's ticks: the debt in units stays, as far as a changed limit's burst
    /// reaches; what is outstanding stays, and so does a lock, to its end.
    #[must_use]
    pub fn carry_over(&self, old: &Self, state: Wide, now: Timestamp) -> Wide {
        if self.bucket == old.bucket {
            return state;
        }
        let account = old.account(state, now);
        let tick = self.bucket.tick(now).0;
        let debt = self.bucket.debt_carried(&old.bucket, account.tat - account.tick);
        let floor = self.floor(tick, account.outstanding);
        self.keep_account(Account {
            locked_until: account.locked_until.map(|until| {
                let end = Timestamp::from_nanos(old.bucket.scale().first_nano(until));
                self.bucket.scale().tick_up(end).0
            }),
            tat: (tick + debt.min(self.bucket.tolerance())).max(floor),
            outstanding: account.outstanding,
            tick,
        })
    }

    /// What to keep of a state where another clock will read it: the debt in ticks, or with the highest bit set the ticks
    /// for which the lock still holds. What is outstanding counts as charged: nobody will settle it.
    pub fn keep(&self, state: Wide, now: Timestamp) -> [u64; 3] {
        let account = self.account(state, now);
        match account.locked_until {
            Some(until) => [0, Self::LOCKED | (until - account.tick), 0],
            None => [0, account.tat - account.tick, 0],
        }
    }

    /// The state of what was kept `away` ago.
    pub fn restore(&self, kept: [u64; 3], now: Timestamp, away: Duration) -> Wide {
        let [_, word, _] = kept;
        let passed = self.bucket.tick(Timestamp::ZERO.saturating_add(away)).0;
        let left = (word & !Self::LOCKED).saturating_sub(passed);
        let tick = self.bucket.tick(now).0;
        // Of the parts of ticks that are rounded here and at its keeping, none is given away.
        let end = match left {
            0 => tick,
            left => self
                .bucket
                .scale()
                .tick_up(now)
                .0
                .saturating_add(left)
                .min(Tat::MAX.as_u64()),
        };
        let locked = word & Self::LOCKED != 0;
        self.keep_account(Account {
            locked_until: (locked && end > tick).then_some(end),
            tat: if locked { tick } else { end },
            outstanding: 0,
            tick,
        })
    }

    /// Decides, and lets `charge` write what a charge of a positive cost makes of the account.
    fn decide(&self, state: Wide, now: Timestamp, cost: Cost, charge: impl FnOnce(Account) -> Wide) -> Ruling<Wide> {
        let account = self.account(state, now);
        let retry = self.retry(&account, now, cost);
        let state = if retry.is_none() && cost.units() > 0 {
            charge(account)
        } else {
            state
        };
        let after = self.account(state, now);
        let locked = after.locked_until;
        Ruling {
            state,
            answer: Answer {
                remaining: match locked {
                    Some(_) => 0,
                    None => self.bucket.tolerance().saturating_sub(after.debt()) / self.bucket.interval(),
                },
                reset_after: match locked.unwrap_or(after.tat) {
                    whole if whole > after.tick => self.until(whole, now),
                    _ => Duration::ZERO,
                },
                retry,
                delay: Duration::ZERO,
            },
        }
    }

    /// `None` if `cost` passes, else the least wait after which it would, if nothing else is charged or settled.
    fn retry(&self, account: &Account, now: Timestamp, cost: Cost) -> Option<Retry> {
        let cost = cost.units();
        if cost > self.bucket.cost_max() {
            return Some(Retry::Never);
        }
        // No overflow: cost ≤ cost_max.
        let room = self.bucket.tolerance() - cost * self.bucket.interval();
        let blocked = self.ticks(account.outstanding) > room;
        let passes_at = match account.locked_until {
            Some(until) => until,
            None if account.debt() <= room => return None,
            None => account.tat - room,
        };
        // A wait of zero would be a pass; only words that nobody wrote lie beyond what the clock can reach.
        let wait = self.until(passes_at, now).max(Duration::from_nanos(1));
        Some(Retry::After(if blocked {
            wait.max(Concurrency::UNKNOWN_AFTER)
        } else {
            wait
        }))
    }

    /// Reads a state: the end of a lock that is over is a key never seen, and the floor holds.
    #[inline]
    fn account(&self, state: Wide, now: Timestamp) -> Account {
        let [_, word, outstanding] = state.words();
        let Tick(tick) = self.bucket.tick(now);
        let end = word & !Self::LOCKED;
        let locked = word & Self::LOCKED != 0;
        Account {
            locked_until: (locked && end > tick).then_some(end),
            tat: if locked { tick } else { end }.max(self.floor(tick, outstanding)),
            outstanding,
            tick,
        }
    }

    /// Locks, if what is kept leaves no room for one more unit even if all that is outstanding came back.
    fn keep_or_lock(&self, mut account: Account, now: Timestamp) -> Wide {
        let kept = account.debt().saturating_sub(self.ticks(account.outstanding));
        let used_up = kept > self.bucket.tolerance() - self.bucket.interval();
        if let Some(lock) = self.lock
            && used_up
            && account.locked_until.is_none()
        {
            let end = self.lock_end(now, lock);
            account.locked_until = (end > account.tick).then_some(end);
        }
        self.keep_account(account)
    }

    /// Writes an account down.
    fn keep_account(&self, account: Account) -> Wide {
        let end = account.locked_until.unwrap_or(account.tat);
        if account.outstanding == 0 && end <= account.tick {
            return Wide::UNSEEN;
        }
        let idle_at = if account.outstanding > 0 {
            Wide::NEVER
        } else {
            self.bucket.scale().first_nano(end).min(Wide::NEVER)
        };
        let flag = if account.locked_until.is_some() {
            Self::LOCKED
        } else {
            0
        };
        Wide::from_words([idle_at, flag | end, account.outstanding])
    }

    /// The tick at which a lock of `lock` ends that starts at `now`.
    fn lock_end(&self, now: Timestamp, lock: Duration) -> u64 {
        self.bucket.scale().tick_up(now.saturating_add(lock)).0
    }

    /// The least that a TAT may be: what is outstanding blocks refill.
    const fn floor(&self, tick: u64, outstanding: u64) -> u64 {
        let floor = tick.saturating_add(self.ticks(outstanding));
        if floor > Tat::MAX.as_u64() {
            Tat::MAX.as_u64()
        } else {
            floor
        }
    }

    const fn ticks(&self, units: u64) -> u64 {
        units.saturating_mul(self.bucket.interval())
    }

    /// From `now` to the first moment of a tick.
    const fn until(&self, tick: u64, now: Timestamp) -> Duration {
        Duration::from_nanos(self.bucket.scale().first_nano(tick).saturating_sub(now.as_nanos()))
    }
}

/// A state, read at one moment.
#[derive(Clone, Copy)]
struct Account {
    /// After `tick`, if at all.
    locked_until: Option<u64>,
    /// At least `tick`, and at most [`Tat::MAX`].
    tat: u64,
    outstanding: u64,
    /// The moment.
    tick: u64,
}

impl Account {
    const fn debt(&self) -> u64 {
        self.tat - self.tick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at_s(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * SECOND)
    }

    fn bucket(limit: &str, lock_s: u64) -> Settling {
        let lock = (lock_s > 0).then(|| Duration::from_secs(lock_s));
        Settling::new(limit.parse().expect(limit), lock)
    }

    fn units(units: u64) -> Cost {
        Cost::new(units)
    }

    /// Plays a script of `SECOND WORD [UNITS…]` a line: `charge` and `reserve` end in `A` or the seconds to wait, `settle`
    /// takes what was reserved and what it was in truth, `clear` nothing. Returns the state after it.
    #[track_caller]
    fn play(bucket: &Settling, script: &str) -> Wide {
        let mut state = Wide::UNSEEN;
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: alloc::vec::Vec<&str> = line.split_whitespace().collect();
            let number = |index: usize| words[index].parse::<u64>().expect(line);
            let now = at_s(number(0));
            let ruling = match words[1] {
                "charge" => bucket.charge(state, now, units(number(2))),
                "reserve" => bucket.reserve(state, now, units(number(2))),
                "settle" => {
                    state = bucket.settle(state, now, units(number(2)), units(number(3)));
                    continue;
                }
                "clear" => {
                    state = bucket.clear(state, now);
                    continue;
                }
                "left" => {
                    let answer = bucket.charge(state, now, Cost::ZERO).answer;
                    assert_eq!(answer.remaining, number(2), "{line}");
                    continue;
                }
                _ => unreachable!("{line}"),
            };
            state = ruling.state;
            let got = match ruling.answer.retry {
                None => alloc::string::String::from("A"),
                Some(Retry::After(wait)) => alloc::format!("{}", wait.as_secs_f64()),
                Some(Retry::Never) => "never".into(),
            };
            assert_eq!(got, words[3], "{line}");
        }
        state
    }

    /// With a refund by subtraction, 19 units would pass within 9 emission intervals of a burst of 10.
    #[test]
    fn what_is_given_back_late_never_revives_refill_that_was_spent() {
        play(
            &bucket("1/s burst 10", 0),
            "0 reserve 10 A
             9 charge   9 9
             9 settle  10 0
             9 charge  10 A
             9 charge   1 1",
        );
    }

    #[test]
    fn what_is_outstanding_does_not_refill_and_what_is_kept_does() {
        play(
            &bucket("1/s burst 10", 0),
            "0   reserve 6 A
             100 left    4
             100 settle  6 6
             101 left    5
             106 left    10",
        );
    }

    #[test]
    fn more_than_was_reserved_is_an_overdraft_that_refuses_even_nothing() {
        play(
            &bucket("1/s burst 10", 0),
            "0  reserve 1 A
             0  settle  1 15
             0  left    0
             0  charge  0 5
             5  charge  0 A
             5  charge  1 1
             15 left    10",
        );
    }

    #[test]
    fn five_guesses_at_once_are_five_and_the_last_that_fails_locks() {
        play(
            &bucket("5/h", 900),
            "0    reserve 1 A
             0    reserve 1 A
             0    reserve 1 A
             0    reserve 1 A
             0    reserve 1 A
             0    reserve 1 720
             1    settle  1 1
             1    settle  1 1
             1    settle  1 1
             1    settle  1 1
             1    reserve 1 720
             2    settle  1 1
             2    reserve 1 900
             900  reserve 1 2
             901  charge  0 1
             902  left    5",
        );
    }

    #[test]
    fn attempts_that_are_still_open_start_no_lock() {
        play(
            &bucket("2/h", 900),
            "0 reserve 1 A
             0 reserve 1 A
             0 reserve 1 1800
             1 settle  1 0
             1 settle  1 1
             1 left    1",
        );
    }

    #[test]
    fn a_plain_charge_of_the_last_unit_passes_and_locks() {
        play(
            &bucket("3/h", 900),
            "0   charge 1 A
             0   charge 1 A
             0   charge 1 A
             0   charge 0 900
             600 charge 1 300
             900 left   3",
        );
    }

    #[test]
    fn a_lock_outlives_success_and_leaves_what_is_outstanding() {
        play(
            &bucket("3/h", 900),
            "0   charge  2 A
             0   clear
             0   left    3
             0   reserve 1 A
             0   clear
             0   left    2
             0   settle  1 9
             0   clear
             0   charge  1 900
             900 left    3",
        );
    }

    #[test]
    fn a_charge_undone_at_once_takes_its_lock_along() {
        let bucket = bucket("3/h", 900);
        let before = bucket.charge(Wide::UNSEEN, at_s(7), units(2)).state;
        let locked = bucket.charge(before, at_s(7), Cost::ONE).state;
        assert_eq!(bucket.locked_for(locked, at_s(7)), Some(Duration::from_mins(15)));
        assert_eq!(bucket.give_back(locked, Cost::ONE, at_s(7), at_s(7)), before);
        assert_eq!(bucket.give_back(locked, Cost::ONE, at_s(6), at_s(7)), locked);
    }

    #[test]
    fn a_state_with_something_outstanding_is_never_idle() {
        let bucket = bucket("1/s burst 10", 0);
        let reserved = bucket.reserve(Wide::UNSEEN, at_s(0), units(3)).state;
        assert!(!reserved.is_idle(Timestamp::MAX));
        let settled = bucket.settle(reserved, at_s(100), units(3), units(3));
        assert_eq!(settled.idle_at(), 103 * SECOND);
        assert_eq!(bucket.settle(reserved, at_s(100), units(3), units(0)), Wide::UNSEEN);
    }

    #[test]
    fn another_limit_keeps_the_debt_in_units_the_lock_and_what_is_outstanding() {
        let old = bucket("10/min", 900);
        let used = old.charge(Wide::UNSEEN, at_s(60), units(6)).state;
        let left = |new: &Settling| {
            new.charge(new.carry_over(&old, used, at_s(60)), at_s(60), Cost::ZERO)
                .answer
                .remaining
        };
        assert_eq!(left(&bucket("10/min", 900)), 4);
        assert_eq!(left(&bucket("20/min", 900)), 14);
        assert_eq!(left(&bucket("3/min", 900)), 0);
        let reserved = old.reserve(Wide::UNSEEN, at_s(60), units(6)).state;
        let raised = bucket("20/min", 900);
        let carried = raised.carry_over(&old, reserved, at_s(60));
        assert_eq!(raised.settle(carried, at_s(90), units(6), Cost::ZERO), Wide::UNSEEN);
        let locked = old.charge(Wide::UNSEEN, at_s(60), units(10)).state;
        let new = bucket("7/min", 5);
        let carried = new.carry_over(&old, locked, at_s(100));
        assert_eq!(new.locked_for(carried, at_s(100)), Some(Duration::from_secs(860)));
    }

    #[test]
    fn another_clock_reads_debt_and_lock_and_takes_what_was_outstanding_as_charged() {
        let bucket = bucket("1/s burst 10", 900);
        let state = bucket.charge(Wide::UNSEEN, at_s(1_000), units(2)).state;
        let state = bucket.reserve(state, at_s(1_000), units(3)).state;
        let kept = bucket.keep(state, at_s(1_000));
        let left = |away| {
            let state = bucket.restore(kept, at_s(0), Duration::from_secs(away));
            bucket.charge(state, at_s(0), Cost::ZERO).answer.remaining
        };
        assert_eq!((left(0), left(2), left(60)), (5, 7, 10));
        let locked = bucket.charge(Wide::UNSEEN, at_s(1_000), units(10)).state;
        let kept = bucket.keep(locked, at_s(1_100));
        let restored = bucket.restore(kept, at_s(0), Duration::from_secs(200));
        assert_eq!(bucket.locked_for(restored, at_s(0)), Some(Duration::from_mins(10)));
        assert_eq!(bucket.restore(kept, at_s(0), Duration::from_secs(800)), Wide::UNSEEN);
    }

    #[test]
    fn an_overdraft_is_paid_off_before_anything_passes_again() {
        let bucket = bucket("1/s burst 2", 0);
        assert_eq!(bucket.lock(), None);
        let state = bucket.overdraw(Wide::UNSEEN, at_s(0), units(5));
        assert_eq!(bucket.overdraw(state, at_s(0), Cost::ZERO), state);
        let wait = |second| bucket.charge(state, at_s(second), Cost::ONE).answer.retry;
        assert_eq!(wait(0), Some(Retry::After(Duration::from_secs(4))));
        assert_eq!((wait(3), wait(4)), (Some(Retry::After(Duration::from_secs(1))), None));
    }

    #[test]
    fn an_overdraft_that_uses_a_limit_up_locks_like_a_charge() {
        let bucket = bucket("1/s burst 2", 60);
        assert_eq!(bucket.lock(), Some(Duration::from_mins(1)));
        let state = bucket.overdraw(Wide::UNSEEN, at_s(0), units(2));
        assert_eq!(bucket.locked_for(state, at_s(1)), Some(Duration::from_secs(59)));
    }
}
