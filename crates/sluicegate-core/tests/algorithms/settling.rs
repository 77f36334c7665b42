//! The settling bucket against exact accounts, and against what was truly spent.

use std::time::Duration;

use num_bigint::BigInt;
use proptest::prelude::*;
use sluicegate_core::algorithm::{Settling, Wide};
use sluicegate_core::{Cost, Limit, Retry, Timestamp};

use crate::histories::{histories, limits, nanos, small_limits, steps, whole_limits};

/// The account of a key, in nanoseconds, for a limit whose interval is whole.
struct Account {
    interval: BigInt,
    burst: BigInt,
    lock: Option<u64>,
    tat: BigInt,
    outstanding: BigInt,
    locked_until: Option<BigInt>,
}

impl Account {
    fn new(limit: &Limit, lock: Option<u64>) -> Self {
        Self {
            interval: (limit.period().as_nanos() / u128::from(limit.count().get())).into(),
            burst: limit.burst().get().into(),
            lock,
            tat: 0.into(),
            outstanding: 0.into(),
            locked_until: None,
        }
    }

    /// The TAT that counts at `now`, or the end of the lock that holds.
    fn standing(&self, now: u64) -> Result<BigInt, BigInt> {
        let now = BigInt::from(now);
        let floor = &now + &self.outstanding * &self.interval;
        match &self.locked_until {
            Some(until) if *until > now => Err(until.clone()),
            Some(_) => Ok(floor),
            None => Ok(self.tat.clone().max(floor)),
        }
    }

    /// Whether `cost` fits at `now`.
    fn fits(&self, now: u64, cost: u64) -> bool {
        self.standing(now)
            .is_ok_and(|tat| tat + &self.interval * cost - now <= &self.burst * &self.interval)
    }

    fn write(&mut self, tat: BigInt, now: u64, may_lock: bool) {
        self.locked_until = None;
        let kept = &tat - now - &self.outstanding * &self.interval;
        if may_lock
            && let Some(lock) = self.lock
            && kept + &self.interval > &self.burst * &self.interval
        {
            self.locked_until = Some(BigInt::from(now) + lock);
        }
        // A bucket found full is forgotten, whatever the clock says later.
        let full = tat <= now.into() && self.outstanding == 0.into();
        self.tat = if full { 0.into() } else { tat };
    }

    fn charge(&mut self, now: u64, cost: u64) {
        if cost > 0
            && let Ok(tat) = self.standing(now)
        {
            let tat = tat + &self.interval * cost;
            self.write(tat, now, true);
        }
    }

    fn reserve(&mut self, now: u64, cost: u64) {
        if cost > 0
            && let Ok(tat) = self.standing(now)
        {
            self.outstanding += cost;
            let tat = tat + &self.interval * cost;
            self.write(tat, now, false);
        }
    }

    fn settle(&mut self, now: u64, reserved: u64, actual: u64) {
        let standing = self.standing(now);
        self.outstanding -= reserved;
        if let Ok(tat) = standing {
            let floor = BigInt::from(now) + &self.outstanding * &self.interval;
            let moved = tat - &self.interval * (BigInt::from(reserved) - actual);
            self.write(moved.max(floor), now, actual > 0);
        }
    }

    fn clear(&mut self, now: u64) {
        if self.standing(now).is_ok() {
            let floor = BigInt::from(now) + &self.outstanding * &self.interval;
            self.write(floor, now, false);
        }
    }
}

proptest! {
    #![proptest_config(histories(20_000))]

    /// Charges, reservations, settlements, overdrafts, locks and clearances in any order, on any clock.
    #[test]
    fn verdicts_are_those_of_exact_accounts(
        limit in whole_limits(), lock in proptest::option::of(1u64..1 << 45), steps in steps(),
    ) {
        let bucket = Settling::new(limit, lock.map(Duration::from_nanos));
        let mut model = Account::new(&limit, lock);
        let mut state = Wide::UNSEEN;
        let mut open: Vec<u64> = Vec::new();
        let mut now = 0;
        for step in steps {
            now = step.time(&limit, now);
            let at = Timestamp::from_nanos(now);
            let cost = step.cost(limit.burst().get());
            match step.pick(10) {
                0 => {
                    state = bucket.clear(state, at);
                    model.clear(now);
                }
                1..=3 if !open.is_empty() => {
                    let index = usize::try_from(step.pick(open.len() as u64)).expect("a small index");
                    let reserved = open.swap_remove(index);
                    let actual = match cost % 3 {
                        0 => reserved,
                        1 => cost % reserved.saturating_add(1),
                        _ => cost % 50,
                    };
                    state = bucket.settle(state, at, Cost::new(reserved), Cost::new(actual));
                    model.settle(now, reserved, actual);
                }
                charge => {
                    let reserve = charge % 2 == 0;
                    let cost = if lock.is_some() && cost < 1 << 40 { cost % 4 } else { cost };
                    let ruling = if reserve {
                        bucket.reserve(state, at, Cost::new(cost))
                    } else {
                        bucket.charge(state, at, Cost::new(cost))
                    };
                    state = ruling.state;
                    let fits = model.fits(now, cost);
                    prop_assert_eq!(ruling.answer.passes(), fits, "{} at {}", cost, now);
                    if fits && reserve {
                        model.reserve(now, cost);
                        open.extend((cost > 0).then_some(cost));
                    } else if fits {
                        model.charge(now, cost);
                    }
                    let locked = bucket.locked_for(state, at).map(nanos);
                    prop_assert_eq!(locked.map(|left| BigInt::from(left) + now), model.standing(now).err());
                    if let Ok(tat) = model.standing(now) {
                        let left = (&model.burst * &model.interval - (tat - now)).max(0.into()) / &model.interval;
                        prop_assert_eq!(BigInt::from(ruling.answer.remaining), left);
                    }
                }
            }
            prop_assert_eq!(state.words()[2], open.iter().sum::<u64>(), "what is outstanding");
            prop_assert!(open.is_empty() || state.idle_at() == Wide::NEVER);
        }
    }

    /// However late the truth comes, and whatever it is: over any interval Δ at most B + nΔ/P + 1 units are truly spent.
    #[test]
    fn any_interval_spends_at_most_burst_and_refill(limit in prop_oneof![limits(), small_limits()], steps in steps()) {
        let bucket = Settling::new(limit, None);
        let (count, period) = (BigInt::from(limit.count().get()), BigInt::from(limit.period().as_nanos()));
        let burst = BigInt::from(limit.burst().get()) + 1;
        // When each passed, and what it spent in truth: known late.
        let mut spent: Vec<(u64, u64)> = Vec::new();
        let mut open: Vec<(u64, u64)> = Vec::new();
        let mut state = Wide::UNSEEN;
        let mut now = 0;
        for step in steps {
            now = step.later(&limit, now);
            let at = Timestamp::from_nanos(now);
            if step.pick(2) == 0 && !open.is_empty() {
                let index = usize::try_from(step.pick(open.len() as u64)).expect("a small index");
                let (reserved_at, reserved) = open.swap_remove(index);
                let actual = step.pick(4).min(1) * step.pick(reserved.saturating_add(1));
                state = bucket.settle(state, at, Cost::new(reserved), Cost::new(actual));
                spent.push((reserved_at, actual));
                continue;
            }
            let cost = step.cost(limit.burst().get());
            let reserve = step.pick(3) > 0;
            let ruling = if reserve {
                bucket.reserve(state, at, Cost::new(cost))
            } else {
                bucket.charge(state, at, Cost::new(cost))
            };
            state = ruling.state;
            match ruling.answer.passes() {
                true if reserve => open.push((now, cost)),
                true => spent.push((now, cost)),
                false => {}
            }
        }
        spent.sort_unstable();
        for (first, (from, _)) in spent.iter().enumerate() {
            let mut within = BigInt::from(0);
            for (to, cost) in &spent[first..] {
                within += *cost;
                prop_assert!(&within * &period <= &burst * &period + &count * (to - from), "from {} to {}", from, to);
            }
        }
    }

    /// Guesses at a password, so many at once as one likes: no more fail than the limit has units, and then it locks.
    #[test]
    fn guesses_in_parallel_never_beat_the_limit(units in 1u64..8, steps in steps()) {
        let limit = Limit::new(units, Duration::from_hours(24), units).expect("a limit");
        let lock = Duration::from_mins(15);
        let bucket = Settling::new(limit, Some(lock));
        let mut state = Wide::UNSEEN;
        let (mut open, mut failed, mut now) = (0u64, 0u64, 0u64);
        for step in steps {
            now += step.pick(1_000_000_000);
            let at = Timestamp::from_nanos(now);
            if step.pick(2) == 0 && open > 0 {
                open -= 1;
                // A guess in three succeeds, and gives its own reservation back.
                let failure = u64::from(step.pick(3) > 0);
                failed += failure;
                state = bucket.settle(state, at, Cost::ONE, Cost::new(failure));
                prop_assert_eq!(bucket.locked_for(state, at).is_some(), failed == units);
                if failed == units {
                    let answer = bucket.reserve(state, at, Cost::ONE).answer;
                    prop_assert_eq!(answer.retry, Some(Retry::After(lock)));
                    return Ok(());
                }
                continue;
            }
            let ruling = bucket.reserve(state, at, Cost::ONE);
            state = ruling.state;
            open += u64::from(ruling.answer.passes());
            prop_assert!(failed + open <= units);
            prop_assert_eq!(ruling.answer.passes() || failed + open == units, true);
        }
    }
}
