//! What all algorithms promise alike.

use proptest::prelude::*;
use sluicegate_core::algorithm::{Algorithm, Align, Meter, MeterSpec, Settle, Wide, WideMeter, WordMeter};
use sluicegate_core::{Cost, Limit, Retry, Timestamp};
use std::time::Duration;

use crate::cell::{Cell, State};
use crate::histories::{HORIZON, Step, histories, limits, most, nanos, specs, steps};

/// A cell that has lived through all but the last of `steps`, with the time and cost of the last; on a clock that may
/// stand, jump and go back.
fn lived(spec: &MeterSpec, steps: &[Step]) -> (Cell, u64, u64) {
    lived_on(spec, steps, Step::time)
}

fn lived_on(spec: &MeterSpec, steps: &[Step], clock: fn(Step, &Limit, u64) -> u64) -> (Cell, u64, u64) {
    let mut cell = Cell::unseen(Meter::new(spec));
    let (mut now, mut cost) = (0, 0);
    for (index, step) in steps.iter().enumerate() {
        now = clock(*step, &spec.limit, now);
        cost = step.cost(most(spec));
        if index + 1 < steps.len() {
            let _ = cell.take(now, cost);
            // Permits do not come back by themselves.
            if matches!(cell.meter, Meter::Word(WordMeter::Concurrency(_))) && step.pick(2) == 0 {
                cell.give_back(step.pick(most(spec)), now, now);
            }
            if step.pick(16) == 0 {
                cell.overdraw(cost % most(spec).saturating_mul(2).max(1), now);
            }
        }
    }
    (cell, now, cost)
}

/// Whether a meter tells waits to the nanosecond. A token bucket, whose answer costs one multiplication, may tell a tick
/// more; and nobody knows when permits come back.
fn is_exact(meter: &Meter) -> bool {
    !matches!(
        meter,
        Meter::Word(WordMeter::TokenBucket(_) | WordMeter::Concurrency(_))
    )
}

/// Asserts that two cells say the same at `now` and later.
fn assert_alike(one: &Cell, other: &Cell, now: u64, spec: &MeterSpec) -> Result<(), TestCaseError> {
    let period = nanos(spec.limit.period());
    for at in [now, now + 1, now.saturating_add(period / 3), now.saturating_add(period)] {
        for cost in [0, 1, 2, most(spec), most(spec) / 2] {
            prop_assert_eq!(one.look(at, cost), other.look(at, cost), "cost {} at {}", cost, at);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(histories(12_000))]

    /// S4: who comes back after exactly the wait that was told is admitted; one nanosecond earlier is not.
    #[test]
    fn waiting_as_told_admits_and_waiting_less_does_not(spec in specs(), steps in steps()) {
        let (cell, now, cost) = lived(&spec, &steps);
        let answer = cell.look(now, cost);
        let Some(retry) = answer.retry else { return Ok(()) };
        let Retry::After(wait) = retry else {
            for later in [now, now.saturating_add(nanos(spec.limit.period())), HORIZON] {
                prop_assert!(!cell.look(later, cost).passes(), "never is never");
            }
            return Ok(());
        };
        prop_assert!(wait > Duration::ZERO);
        let then = now.saturating_add(nanos(wait.min(Duration::from_hours(24 * 365 * 200))));
        if then > HORIZON * 2 || matches!(cell.meter, Meter::Word(WordMeter::Concurrency(_))) {
            return Ok(());
        }
        prop_assert!(cell.look(then, cost).passes(), "refused after {:?}: {:?}", wait, cell);
        if is_exact(&cell.meter) {
            prop_assert!(!cell.look(then - 1, cost).passes(), "passed before {:?}: {:?}", wait, cell);
        }
    }

    /// So many requests of one unit as remain pass at once, and no more.
    #[test]
    fn as_much_as_remains_passes_and_no_more(spec in specs(), steps in steps()) {
        let (mut cell, now, _) = lived(&spec, &steps);
        let remaining = cell.look(now, 0).remaining;
        for unit in 0..remaining.min(50) {
            let answer = cell.take(now, 1);
            prop_assert!(answer.passes(), "unit {} of {}: {:?}", unit, remaining, cell);
            prop_assert_eq!(answer.remaining, remaining - unit - 1);
        }
        if remaining <= 50 {
            prop_assert!(!cell.take(now, 1).passes(), "more than {}: {:?}", remaining, cell);
        }
    }

    /// When the limit is told to be whole again, it is as for a key never seen; not earlier.
    #[test]
    fn a_limit_is_whole_again_when_it_says_so(spec in specs(), steps in steps()) {
        let (cell, now, _) = lived(&spec, &steps);
        let reset_after = cell.look(now, 0).reset_after;
        let then = now.saturating_add(nanos(reset_after.min(Duration::from_hours(24 * 365 * 200))));
        if then > HORIZON * 2 || matches!(cell.meter, Meter::Word(WordMeter::Concurrency(_))) {
            return Ok(());
        }
        let full = Cell::unseen(cell.meter).look(then, 0).remaining;
        prop_assert_eq!(cell.look(then, 0).remaining, full);
        prop_assert!(reset_after.is_zero() || !is_exact(&cell.meter) || !cell.look(then - 1, 0).reset_after.is_zero());
    }

    /// T33: a refusal leaves the state as it was, and so does a question of cost zero.
    #[test]
    fn neither_a_refusal_nor_a_question_leaves_a_trace(spec in specs(), steps in steps()) {
        let (mut cell, now, cost) = lived(&spec, &steps);
        let before = cell.clone();
        let answer = cell.take(now, cost);
        if !answer.passes() || cost == 0 {
            // A log may drop what counts no more.
            if matches!(cell.state, State::Log(_)) {
                assert_alike(&cell, &before, now, &spec)?;
            } else {
                prop_assert_eq!(&cell.state, &before.state);
            }
        }
        if !answer.passes() {
            prop_assert_eq!(answer.delay, Duration::ZERO);
        }
    }

    /// What is idle may be forgotten: it says the same as a key never seen, then and later.
    #[test]
    fn what_is_idle_says_the_same_as_a_key_never_seen(spec in specs(), steps in steps(), wait in any::<u64>()) {
        let (cell, now, _) = lived(&spec, &steps);
        let reset_after = cell.look(now, 0).reset_after;
        if reset_after > Duration::from_nanos(HORIZON) {
            return Ok(());
        }
        let reset_after = nanos(reset_after);
        for at in [now, now + reset_after, now + wait % (reset_after + 2)] {
            if cell.is_idle(at) {
                assert_alike(&cell, &Cell::unseen(cell.meter), at, &spec)?;
            }
        }
        if !matches!(cell.meter, Meter::Word(WordMeter::Concurrency(_))) {
            let whole_at = now + reset_after;
            prop_assert!(cell.is_idle(whole_at + 2 + nanos(spec.limit.period())));
        }
    }

    /// A penalty never leaves more than there was, and is over within a period or a burst after the last of them.
    #[test]
    fn a_penalty_takes_and_passes(spec in specs(), steps in steps()) {
        let (mut cell, now, cost) = lived_on(&spec, &steps, Step::later);
        let before = cell.look(now, 0);
        cell.penalize(cost, now);
        let after = cell.look(now, 0);
        prop_assert!(after.remaining <= before.remaining);
        if cost > 0 && !matches!(cell.meter, Meter::Word(WordMeter::Concurrency(_))) {
            let whole = Cell::unseen(cell.meter).look(now, 0).remaining;
            prop_assert!(after.remaining < whole || whole == 0);
            let window = matches!(cell.meter, Meter::Wide(WideMeter::SlidingWindow(_)));
            let overdrawn = !before.passes() || window;
            prop_assert!(overdrawn || after.passes(), "a penalty overdrew");
        }
    }

    /// All or nothing: a charge that is taken back at once was never made.
    #[test]
    fn what_is_given_back_at_once_leaves_no_trace(spec in specs(), steps in steps()) {
        let (mut cell, now, cost) = lived(&spec, &steps);
        let before = cell.clone();
        if cell.take(now, cost).passes() {
            let charged = cell.clone();
            cell.give_back(cost, now, now);
            // What a clock left behind by going back gets nothing back, or what counts shorter.
            let tats = matches!(before.meter, Meter::Word(_) | Meter::Wide(WideMeter::Settling(_)));
            let behind = !tats
                && cell.state != before.state
                && before.look(now, 0).reset_after > spec.limit.period();
            // In a leaky bucket the place that was left stays empty for the rest of its tick.
            let leaky = matches!(before.meter, Meter::Word(WordMeter::LeakyBucket(_)));
            if behind || leaky || (cell.state == charged.state && cost > 0) {
                prop_assert!(cell.look(now, 0).remaining <= before.look(now, 0).remaining);
            } else {
                assert_alike(&cell, &before, now, &spec)?;
            }
        }
    }

    /// What is given back late never makes more pass than if it had never been charged.
    #[test]
    fn what_is_given_back_late_is_at_most_what_was_charged(spec in specs(), steps in steps(), late in steps()) {
        // A window that begins at the first hit begins elsewhere without the charge.
        if spec.algorithm == (Algorithm::FixedWindow { align: Align::FirstHit }) {
            return Ok(());
        }
        let (mut without, charged_at, cost) = lived_on(&spec, &steps, Step::later);
        let mut with = without.clone();
        if !with.take(charged_at, cost).passes() {
            return Ok(());
        }
        let mut now = charged_at;
        for step in late {
            now = step.later(&spec.limit, now);
            // What passes beside the charge would have passed without it.
            let other = step.cost(most(&spec));
            if with.take(now, other).passes() {
                prop_assert!(without.take(now, other).passes(), "{}", other);
            }
        }
        with.give_back(cost, charged_at, now);
        prop_assert!(with.look(now, 0).remaining <= without.look(now, 0).remaining, "{:?} {:?}", with, without);
    }

    /// T49: the same limit after a reload says the same; another one keeps what was used, as far as it reaches.
    #[test]
    fn a_reload_keeps_what_was_used(spec in specs(), steps in steps(), other in limits()) {
        let (cell, now, _) = lived(&spec, &steps);
        assert_alike(&cell, &cell.carried_over(cell.meter, now), now, &spec)?;
        let Ok(limit) = Limit::new(other.count().get(), spec.limit.period(), other.burst().get()) else { return Ok(()) };
        let limit = if matches!(cell.meter, Meter::Log(_)) { crate::histories::fewer(&limit, 1_000) } else { limit };
        let new = MeterSpec { limit, ..spec };
        let used = |cell: &Cell| Cell::unseen(cell.meter).look(now, 0).remaining - cell.look(now, 0).remaining;
        let carried = cell.carried_over(Meter::new(&new), now);
        match cell.meter {
            // What a leaky bucket has left depends on how long one may wait, not on the debt alone; and what a sliding
            // window has used is rounded as a whole.
            Meter::Word(WordMeter::LeakyBucket(_)) | Meter::Wide(WideMeter::SlidingWindow(_)) => {}
            Meter::Word(WordMeter::Concurrency(_)) => prop_assert_eq!(&carried.state, &cell.state),
            _ => {
                let full = Cell::unseen(carried.meter).look(now, 0).remaining;
                // A raised limit tells that an overdrawn cell is overdrawn beyond what the old one told.
                if used(&carried) < full {
                    prop_assert!(used(&carried).abs_diff(used(&cell)) <= 1 || used(&carried) > used(&cell));
                }
                prop_assert!(used(&carried) + 1 >= used(&cell).min(full));
            }
        }
        let concurrency = matches!(carried.meter, Meter::Word(WordMeter::Concurrency(_)));
        // Only a limit that changed in what its algorithm reads forgives an overdraft.
        let unchanged = carried.state == cell.state;
        prop_assert!(carried.look(now, 0).passes() || concurrency || unchanged, "an overdraft was carried over");
    }

    /// F12: after a restart a key stands where it stood, with the refill of the time between, whenever the new clock
    /// started.
    #[test]
    fn a_restart_keeps_what_was_used(spec in specs(), steps in steps(), away in any::<u64>(), later in 0u64..1 << 40) {
        let (cell, now, _) = lived_on(&spec, &steps, Step::later);
        let away = away % nanos(spec.limit.period()).saturating_mul(3);
        // The new clock starts after the old one was left, and reads `later` when the snapshot is read.
        let later = later.min(away);
        let unix_then = spec.epoch_at_start + now + away;
        let new = MeterSpec { epoch_at_start: unix_then - later, ..spec };
        let restarted = cell.restarted(Meter::new(&new), now, later, away);
        if matches!(cell.meter, Meter::Word(WordMeter::Concurrency(_))) {
            prop_assert!(restarted.is_idle(0));
            return Ok(());
        }
        let (then, now_then) = (restarted.look(later, 0), cell.look(now + away, 0));
        // Ticks are rounded three times, never to the client's favour, and a tick may be a unit.
        let ticks = if matches!(cell.meter, Meter::Word(_) | Meter::Wide(WideMeter::Settling(_))) { 3 } else { 0 };
        if !matches!(cell.meter, Meter::Word(WordMeter::LeakyBucket(_))) {
            // What remains in a leaky bucket depends on where its ticks begin, which another clock moves.
            prop_assert!(then.remaining <= now_then.remaining, "{:?} {:?}", then, now_then);
            prop_assert!(then.remaining + ticks >= now_then.remaining, "{:?} {:?}", then, now_then);
        }
        let clock = Duration::from_nanos(1);
        prop_assert!(then.reset_after.saturating_add(clock) >= now_then.reset_after, "{:?} {:?}", then, now_then);
    }
}

/// Every meter, with limits at both ends of what can be written.
fn extreme_meters() -> Vec<Meter> {
    let mut meters = Vec::new();
    for text in [
        "1 per 3660d burst 18446744073709551615",
        "1000000000/s burst 18446744073709551615",
        "1000000000/s burst 1",
        "1 per 3660d",
        "3/s burst 7",
    ] {
        for algorithm in [
            Algorithm::TokenBucket,
            Algorithm::LeakyBucket {
                max_wait: Duration::MAX,
                free: u64::MAX,
            },
            Algorithm::LeakyBucket {
                max_wait: Duration::ZERO,
                free: 0,
            },
            Algorithm::FixedWindow { align: Align::Epoch },
            Algorithm::FixedWindow { align: Align::FirstHit },
            Algorithm::SlidingWindow,
            Algorithm::SlidingLog,
            Algorithm::Concurrency,
        ] {
            for settle in [None, Some(Duration::ZERO), Some(Duration::MAX)] {
                for epoch_at_start in [0, 1, u64::MAX] {
                    meters.push(Meter::new(&MeterSpec {
                        algorithm,
                        limit: text.parse().expect(text),
                        largest_burst: std::num::NonZeroU64::new(epoch_at_start),
                        settle: settle.map(|lock| Settle { lock: Some(lock) }),
                        epoch_at_start,
                    }));
                }
            }
        }
    }
    meters
}

#[test]
fn stored_words_of_any_value_are_an_answer_never_a_panic() {
    const WORDS: [u64; 8] = [0, 1, 1 << 59, 1 << 61, 1 << 62, u64::MAX >> 1, 1 << 63, u64::MAX];
    let costs = [0, 1, 7, 8, u64::MAX].map(Cost::new);
    let times = [0, 1, 1 << 61, u64::MAX].map(Timestamp::from_nanos);
    let spans = [Duration::ZERO, Duration::MAX];
    for meter in extreme_meters() {
        for (now, then) in times.iter().flat_map(|now| times.iter().map(move |then| (*now, *then))) {
            for cost in costs {
                for word in WORDS {
                    if let Meter::Word(meter) = meter {
                        let _ = meter.penalize(word, now, cost);
                        let _ = meter.decide_departing(word, now, cost, spans[1]);
                        let _ = meter.decide(word, now, cost);
                        let _ = meter.settle(word, cost, Cost::ONE, then, now);
                        let _ = meter.carry_over(&meter, meter.overdraw(word, now, cost), then);
                        let _ = spans.map(|away| meter.restore(meter.keep(word, now), then, away));
                        let _ = meter.restore(word, now, Duration::ZERO);
                        let _ = meter.is_idle(word, now);
                    }
                }
                for words in WORDS
                    .iter()
                    .flat_map(|first| WORDS.map(|second| [*first, second, second ^ 1]))
                {
                    if let Meter::Wide(meter) = meter {
                        let state = Wide::from_words(words);
                        let _ = meter.penalize(state, now, cost);
                        let _ = meter.decide(state, now, cost);
                        let _ = meter.reserve(state, now, cost);
                        let _ = meter.give_back(state, cost, then, now);
                        let _ = meter.settle(state, cost, Cost::ONE, then, now);
                        let _ = meter.carry_over(&meter, meter.overdraw(state, now, cost), then);
                        let _ = meter.clear(state, now);
                        let _ = spans.map(|away| meter.restore(meter.keep(state, now), then, away));
                        let _ = meter.restore(words, now, Duration::ZERO);
                        assert!(meter.overdraw(Wide::UNSEEN, now, cost).idle_at() < 1 << 63);
                    }
                }
            }
        }
    }
}
