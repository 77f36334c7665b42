//! One key of a bucket at its store.
#![expect(clippy::float_cmp, reason = "units are whole numbers, and times are given")]

use core::time::Duration;

use super::*;
use crate::Limit;
use crate::sharing::Kind;

/// Some time in November 2026, by the store's clock.
const NOW: f64 = 91_000_000_000_000.0;
const SECOND: f64 = 1_000_000.0;

fn terms(limit: &str) -> Terms {
    let limit: Limit = limit.parse().expect("a limit");
    Terms::new(Kind::Bucket, &limit, 100.0)
}

fn want(want: f64) -> Ask {
    Ask { want, ..Ask::default() }
}

fn take(take: f64) -> Ask {
    Ask { take, ..Ask::default() }
}

fn settle(epoch: f64, spent: f64, returned: f64) -> Ask {
    Ask {
        settled: [
            Settled {
                epoch,
                spent,
                returned,
                ..Settled::default()
            },
            Settled::default(),
        ],
        ..Ask::default()
    }
}

fn ask(kept: &mut Option<Kept>, terms: &Terms, ask: &Ask, now: f64) -> Reply {
    let (next, reply, matters_for) = bucket(*kept, terms, ask, now);
    assert!(reply.is_sane(), "{reply:?}");
    assert!(matters_for > 0.0 && matters_for.is_finite());
    *kept = Some(next);
    reply
}

#[test]
fn requests_take_what_there_is_and_leases_half_of_it() {
    let terms = terms("100/s burst 100");
    for (asked, taken, granted) in [
        (take(10.0), 10.0, 0.0),
        (take(1_000.0), 100.0, 0.0),
        (want(10.0), 0.0, 10.0),
        (want(1_000.0), 0.0, 50.0),
        (
            Ask {
                want: 1_000.0,
                ..take(60.0)
            },
            60.0,
            40.0,
        ),
    ] {
        let reply = ask(&mut None, &terms, &asked, NOW);
        assert_eq!((reply.taken, reply.granted), (taken, granted), "{asked:?}");
        assert_eq!(reply.available, 100.0 - taken - granted);
    }
}

#[test]
fn a_broken_unit_is_granted_by_chance_and_never_one_that_is_not_there() {
    let terms = terms("100/s burst 100");
    let granted = |want: f64, available: f64, chance: f64| {
        let asked = Ask {
            want,
            chance,
            own: 100.0,
            demand: 100.0,
            ..Ask::default()
        };
        let mut kept = None;
        let _ = ask(&mut kept, &terms, &take(100.0), NOW);
        ask(&mut kept, &terms, &asked, NOW + available * terms.interval).granted
    };
    assert_eq!(granted(3.25, 20.0, 0.24), 4.0);
    assert_eq!(granted(3.25, 20.0, 0.26), 3.0);
    assert_eq!(granted(20.0, 3.75, 0.0), 3.0);
    assert_eq!(granted(0.5, 0.75, 0.0), 0.0);
    let all = (0..1_000).map(|step| granted(3.25, 20.0, f64::from(step) / 1_000.0));
    assert!((all.sum::<f64>() / 1_000.0 - 3.25).abs() < 0.01);
}

#[test]
fn what_passed_on_trust_is_charged_whatever_is_left_and_said_when_it_has_come_back() {
    let terms = terms("100/s burst 100");
    let mut kept = None;
    let _ = ask(&mut kept, &terms, &take(100.0), NOW);
    let pays = Ask { pay: 20.0, ..take(1.0) };
    let reply = ask(&mut kept, &terms, &pays, NOW);
    assert_eq!((reply.taken, reply.available), (0.0, -20.0));
    assert_eq!(reply.ready_after, 21.0 * terms.interval);
    assert_eq!(ask(&mut kept, &terms, &take(1.0), NOW + reply.ready_after).taken, 1.0);
}

#[test]
fn a_lease_is_settled_in_its_epoch_and_the_next_and_counts_as_spent_after_that() {
    let terms = terms("100/s burst 100");
    let begins_at = grid(NOW, terms.ttl);
    for (later, is_settled) in [(0.0, true), (1.0, true), (1.9, true), (2.0, false), (5.0, false)] {
        let mut kept = None;
        let lease = ask(&mut kept, &terms, &want(40.0), begins_at);
        assert_eq!(lease.valid_for, 2.0 * terms.ttl);
        let now = begins_at + later * terms.ttl;
        let _ = ask(&mut kept, &terms, &settle(lease.epoch, 0.0, 40.0), now);
        let outstanding = kept.map_or(0.0, |kept| kept.current + kept.previous);
        assert_eq!(outstanding, 0.0, "{later} epochs later");
        let reply = ask(&mut kept, &terms, &Ask::default(), now);
        // Ended two epochs after its grant, and has come back since.
        let came_back = (later - 2.0) * terms.ttl / terms.interval;
        let expected = if is_settled {
            100.0
        } else {
            (60.0 + came_back).min(100.0)
        };
        assert!(
            (reply.available - expected).abs() < 0.001,
            "{later}: {}",
            reply.available
        );
    }
}

#[test]
fn nobody_settles_more_than_is_outstanding() {
    let terms = terms("100/s burst 100");
    let mut kept = None;
    let lease = ask(&mut kept, &terms, &want(10.0), NOW);
    let _ = ask(&mut kept, &terms, &take(50.0), NOW);
    let reply = ask(&mut kept, &terms, &settle(lease.epoch, 0.0, 1_000.0), NOW);
    assert_eq!(reply.available, 50.0);
    let reply = ask(&mut kept, &terms, &settle(lease.epoch, 1_000.0, 1_000.0), NOW);
    assert_eq!(reply.available, 50.0);
}

#[test]
fn what_nodes_remember_is_merged_and_what_they_hold_is_outstanding() {
    let terms = terms("100/s burst 100");
    let mut kept = None;
    let heal = |seen: f64, held: f64| Ask {
        heal: Some(Heal {
            seen,
            seen_epoch: 0.0,
            held,
        }),
        ..Ask::default()
    };
    let reply = ask(&mut kept, &terms, &heal(NOW + 40.0 * terms.interval, 10.0), NOW);
    assert_eq!(reply.available, 60.0);
    let reply = ask(&mut kept, &terms, &heal(NOW + 70.0 * terms.interval, 20.0), NOW);
    assert_eq!(reply.available, 30.0);
    let reply = ask(&mut kept, &terms, &heal(NOW + 20.0 * terms.interval, 20.0), NOW);
    assert_eq!(reply.available, 30.0, "others know better");
    assert_eq!(kept.map(|kept| kept.current), Some(50.0));
    // After what no node can have seen the key is as if just used up, and what they hold is never more than there is.
    let reply = ask(&mut kept, &terms, &heal(1e300, 1e300), NOW);
    assert_eq!(reply.available, 0.0);
    assert_eq!(kept.map(|kept| kept.current), Some(100.0));
}

#[test]
fn a_node_s_share_is_its_part_of_what_all_ask_for() {
    let terms = terms("100/s burst 100");
    let mut kept = None;
    let asks = |own: f64| Ask {
        own,
        demand: own,
        ..Ask::default()
    };
    let _ = ask(&mut kept, &terms, &asks(75.0), NOW);
    let reply = ask(&mut kept, &terms, &asks(25.0), NOW);
    assert!((reply.share - 0.243).abs() < 1e-9);
    assert_eq!(reply.rate * terms.theta, 100.0);
    // One that asks for next to nothing still has a part.
    assert!(ask(&mut kept, &terms, &asks(0.0), NOW).share > 0.0);
    assert_eq!(ask(&mut None, &terms, &asks(0.0), NOW).share, 1.0);
}

#[test]
fn what_makes_no_sense_is_thrown_away_and_locks_no_key() {
    let terms = terms("100/s burst 100").locking(Duration::from_secs(1));
    let mut sane = None;
    let _ = ask(&mut sane, &terms, &want(10.0), NOW);
    let sane = sane.expect("it was kept");
    let fields: [fn(&mut Kept, f64); 7] = [
        |kept, value| kept.tat = value,
        |kept, value| kept.demand = value,
        |kept, value| kept.demand_at = value,
        |kept, value| kept.current = value,
        |kept, value| kept.previous = value,
        |kept, value| kept.epoch_ends_at = value,
        |kept, value| kept.locked_until = value,
    ];
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e300, f64::MAX, 1e16] {
        for (index, spoil) in fields.iter().enumerate() {
            let mut damaged = sane;
            spoil(&mut damaged, value);
            let mut kept = Some(damaged);
            let _ = ask(&mut kept, &terms, &want(10.0), NOW);
            let _ = ask(&mut kept, &terms, &take(1.0), NOW + terms.ttl);
            // Two epochs for what may be outstanding, and all that nodes may owe.
            let recovers_after = 2.0 * terms.ttl + (terms.burst + terms.overdraft) * terms.interval + terms.lock;
            let reply = ask(&mut kept, &terms, &take(1.0), NOW + terms.ttl + recovers_after);
            assert_eq!(reply.taken, 1.0, "field {index} was {value}");
            let demand = kept.map_or(f64::NAN, |kept| kept.demand);
            assert!(demand <= DEMAND_MAX, "field {index} was {value}");
        }
    }
}

#[test]
fn a_clock_that_goes_back_costs_a_burst_at_most() {
    let terms = terms("100/s burst 100");
    for back in [0.1, 1.0, 10.0, 3_600.0, 86_400.0 * 365.0] {
        let mut kept = None;
        let _ = ask(
            &mut kept,
            &terms,
            &Ask {
                want: 50.0,
                ..take(50.0)
            },
            NOW,
        );
        let now = NOW - back * SECOND;
        let reply = ask(&mut kept, &terms, &take(1.0), now);
        assert!(
            reply.ready_after <= 2.0 * terms.whole() + terms.interval,
            "{back}: {reply:?}"
        );
        // Two epochs for what is outstanding, by numbers that nobody knows any more.
        let later = now + 2.0 * terms.ttl + 2.0 * terms.whole();
        assert_eq!(ask(&mut kept, &terms, &take(1.0), later).taken, 1.0, "{back}");
    }
}

/// Regression: a clock that went back by less than what nodes may owe, which in a fleet of `hybrid` nodes is thousands of units, locked the
/// key for as long as it went back.
#[test]
fn a_clock_that_goes_back_leaves_what_is_owed_as_it_was() {
    let mut terms = terms("100/s burst 100");
    terms.overdraft = 2_000.0;
    for back in [1.2, 4.0, 15.0, 3_600.0, 86_400.0 * 365.0] {
        let mut kept = None;
        assert_eq!(ask(&mut kept, &terms, &take(100.0), NOW).taken, 100.0);
        let now = NOW - back * SECOND;
        let reply = ask(&mut kept, &terms, &take(1.0), now);
        assert_eq!((reply.taken, reply.damaged), (0.0, true), "{back}");
        assert!((reply.ready_after - terms.interval).abs() < 1.0, "{back}: {reply:?}");
        // And no more than that comes back.
        assert_eq!(
            ask(&mut kept, &terms, &take(100.0), now + 0.5 * SECOND).taken,
            50.0,
            "{back}"
        );
    }
    // What is carried forward and let go again costs that much, and is not given twice.
    let mut kept = None;
    assert_eq!(ask(&mut kept, &terms, &take(100.0), NOW).taken, 100.0);
    for _ in 0..10 {
        assert_eq!(ask(&mut kept, &terms, &take(1.0), NOW - SECOND).taken, 0.0);
        assert_eq!(ask(&mut kept, &terms, &take(1.0), NOW).taken, 0.0);
    }
}

/// A server that was started again under an earlier time hears of times that lie far ahead.
#[test]
fn what_nodes_remember_of_a_clock_that_was_ahead_costs_a_burst_at_most() {
    let mut terms = terms("100/s burst 100");
    terms.overdraft = 2_000.0;
    for ahead in [30.0, 3_600.0] {
        let mut kept = None;
        let heal = Ask {
            heal: Some(Heal {
                seen: NOW + ahead * SECOND,
                ..Heal::default()
            }),
            ..take(1.0)
        };
        let reply = ask(&mut kept, &terms, &heal, NOW);
        assert!(reply.ready_after <= terms.whole(), "{ahead}: {reply:?}");
    }
}

#[test]
fn terms_travel_with_each_ask_so_a_limit_changes_with_the_next() {
    let (large, small) = (terms("1000/s burst 1000"), terms("100/s burst 100"));
    let mut kept = None;
    let lease = ask(
        &mut kept,
        &large,
        &Ask {
            want: 500.0,
            ..take(100.0)
        },
        NOW,
    );
    assert_eq!(lease.granted, 450.0);
    let reply = ask(&mut kept, &small, &take(1.0), NOW);
    assert!(reply.taken == 0.0 && reply.available <= 0.0);
    // What is out on leases of the old limit drains within two epochs of it.
    let reply = ask(
        &mut kept,
        &small,
        &take(1.0),
        NOW + 2.0 * large.ttl + small.whole() + small.interval,
    );
    assert_eq!(reply.taken, 1.0);
}

/// Takes for a request that puts it right at its end.
fn reserve(take: f64) -> Ask {
    Ask {
        take,
        holds: true,
        ..Ask::default()
    }
}

/// Goes on with what is reserved, or puts it right.
fn report(epoch: f64, spent: f64, returned: f64, reserved: f64) -> Ask {
    let settled = Settled {
        epoch,
        spent,
        returned,
        reserved,
    };
    Ask {
        holds: true,
        settled: [settled, Settled::default()],
        ..Ask::default()
    }
}

/// The example that a refund must stand: at ten units, all are reserved, nine come back by themselves and are spent, and then the
/// ten are given back.
fn spent_around_a_late_refund(rules: Rules) -> f64 {
    let terms = terms("10/s burst 10").held();
    let (mut kept, mut epoch, mut now, mut reserved) = (None, 0.0, grid(NOW, terms.ttl), 0.0);
    let mut ask = |ask: &Ask, now: f64| {
        let (next, reply, _) = bucket_under(rules, kept, &terms, ask, now);
        kept = Some(next);
        reply
    };
    let reply = ask(&reserve(10.0), now);
    reserved += reply.taken;
    epoch += reply.epoch;
    let mut spent = 0.0;
    for _ in 0..9 {
        now += terms.interval;
        epoch = ask(&report(epoch, 0.0, 0.0, reserved), now).epoch;
    }
    spent += ask(&take(9.0), now).taken;
    let _ = ask(&report(epoch, 0.0, reserved, 0.0), now);
    spent + ask(&take(10.0), now).taken
}

#[test]
fn what_is_reserved_blocks_refill_so_that_a_late_refund_revives_none() {
    assert_eq!(spent_around_a_late_refund(Rules::ALL), 10.0);
    let spent_on_arrival = Rules {
        taken_stays_outstanding: false,
        ..Rules::ALL
    };
    // Nothing is outstanding that could be given back: then nine are spent and the refund is lost.
    assert_eq!(spent_around_a_late_refund(spent_on_arrival), 9.0);
    let nothing_blocks = Rules {
        outstanding_blocks_refill: false,
        ..Rules::ALL
    };
    assert_eq!(spent_around_a_late_refund(nothing_blocks), 19.0);
    // Nor may what was spent on arrival be given back whole.
    let terms = terms("10/s burst 10");
    let mut kept = None;
    let _ = ask(&mut kept, &terms, &take(10.0), NOW);
    let now = NOW + 9.0 * terms.interval;
    let spent = ask(&mut kept, &terms, &take(9.0), now).taken;
    let refunds = Ask {
        refund: 10.0,
        ..take(10.0)
    };
    assert_eq!(spent + ask(&mut kept, &terms, &refunds, now).taken, 19.0);
}

#[test]
fn a_reservation_that_moves_on_with_each_exchange_is_given_back_whole_whenever_it_ends() {
    let terms = terms("100/s burst 100").held();
    let stays = Rules {
        reservations_move: false,
        ..Rules::ALL
    };
    for (rules, taken, given_back) in [(Rules::ALL, 60.0, 40.0), (stays, 100.0, 0.0)] {
        let (mut kept, mut now) = (None, NOW);
        let mut ask = |ask: &Ask, now: f64| {
            let (next, reply, _) = bucket_under(rules, kept, &terms, ask, now);
            kept = Some(next);
            reply
        };
        let mut epoch = ask(&reserve(40.0), now).epoch;
        for _ in 0..10 {
            now += 0.9 * terms.ttl;
            epoch = ask(&report(epoch, 0.0, 0.0, 40.0), now).epoch;
        }
        // Without moving they had died as spent, and came back by themselves long since.
        assert_eq!(ask(&take(100.0), now).taken, taken, "{rules:?}");
        let reply = ask(&report(epoch, 0.0, 40.0, 0.0), now);
        assert_eq!(reply.available, given_back, "{rules:?}");
    }
}

#[test]
fn a_move_takes_at_most_what_is_there_and_nothing_from_an_epoch_that_is_dead() {
    let terms = terms("100/s burst 100").held();
    let begins_at = grid(NOW, terms.ttl);
    for (later, previous, current) in [(0.5, 0.0, 10.0), (1.5, 0.0, 10.0), (2.5, 0.0, 0.0)] {
        let mut kept = None;
        let epoch = ask(&mut kept, &terms, &reserve(10.0), begins_at).epoch;
        let now = begins_at + later * terms.ttl;
        let _ = ask(&mut kept, &terms, &report(epoch, 0.0, 0.0, 1e6), now);
        let kept = kept.expect("it was kept");
        assert_eq!((kept.previous, kept.current), (previous, current), "{later}");
    }
}

#[test]
fn a_key_that_is_cleared_owes_nothing_but_what_is_outstanding() {
    let terms = terms("5/min").held();
    let mut kept = None;
    let epoch = ask(&mut kept, &terms, &reserve(5.0), NOW).epoch;
    let clears = Ask {
        clear: true,
        ..report(epoch, 3.0, 1.0, 1.0)
    };
    assert_eq!(ask(&mut kept, &terms, &clears, NOW).available, 4.0);
}

#[test]
fn what_is_owed_is_never_more_than_nodes_may_owe() {
    let terms = terms("100/s burst 100");
    let mut kept = None;
    let pays = Ask {
        pay: 1e9,
        ..Ask::default()
    };
    let reply = ask(&mut kept, &terms, &pays, NOW);
    assert_eq!((reply.available, reply.damaged), (-terms.overdraft, false));
    let reply = ask(&mut kept, &terms, &Ask::default(), NOW);
    assert_eq!((reply.available, reply.damaged), (-terms.overdraft, false));
}

const LOCK: Duration = Duration::from_mins(15);

/// Five failures in fifteen minutes, and then a lock of as long.
fn locking() -> Terms {
    terms("5 per 15min").held().locking(LOCK)
}

/// One attempt that fails, `later` seconds after the first.
fn fail(kept: &mut Option<Kept>, later: f64) -> Reply {
    let now = NOW + later * SECOND;
    let tried = ask(kept, &locking(), &reserve(1.0), now);
    if tried.taken < 1.0 {
        return tried;
    }
    ask(kept, &locking(), &report(tried.epoch, 1.0, 0.0, 0.0), now)
}

#[test]
fn the_last_failure_that_is_let_through_locks_the_key_and_no_attempt_makes_it_longer() {
    let mut kept = None;
    for failure in 0..4 {
        assert_eq!(fail(&mut kept, f64::from(failure)).locked_until, 0.0, "{failure}");
    }
    let lock_ends_at = NOW + 4.0 * SECOND + LOCK.as_secs_f64() * SECOND;
    let fifth = fail(&mut kept, 4.0);
    assert_eq!((fifth.locked_until, fifth.available), (lock_ends_at, 0.0));
    assert_eq!(fifth.ready_after, LOCK.as_secs_f64() * SECOND);
    for later in [5.0, 200.0, 400.0, 903.9] {
        let refused = fail(&mut kept, later);
        assert_eq!((refused.taken, refused.locked_until), (0.0, lock_ends_at), "{later}");
        assert!((refused.ready_after - (904.0 - later) * SECOND).abs() < 1.0);
    }
    // As never seen.
    let reply = ask(&mut kept, &locking(), &reserve(5.0), lock_ends_at);
    assert_eq!((reply.taken, reply.locked_until), (5.0, 0.0));
}

#[test]
fn attempts_that_are_still_open_lock_nobody() {
    let mut kept = None;
    let epoch = ask(&mut kept, &locking(), &reserve(5.0), NOW).epoch;
    let refused = ask(&mut kept, &locking(), &reserve(1.0), NOW);
    assert_eq!((refused.taken, refused.locked_until), (0.0, 0.0));
    let four_failed = ask(&mut kept, &locking(), &report(epoch, 4.0, 0.0, 1.0), NOW);
    assert_eq!(four_failed.locked_until, 0.0);
    let one_succeeded = ask(&mut kept, &locking(), &report(epoch, 0.0, 1.0, 0.0), NOW);
    assert_eq!((one_succeeded.available, one_succeeded.locked_until), (1.0, 0.0));
}

#[test]
fn attempts_of_a_node_that_died_have_failed() {
    let mut kept = None;
    let _ = ask(&mut kept, &locking(), &reserve(5.0), NOW);
    let later = NOW + 3.0 * locking().ttl;
    assert!(ask(&mut kept, &locking(), &reserve(1.0), later).locked_until > later);
}

#[test]
fn a_plain_charge_that_uses_up_the_last_of_the_burst_locks_too() {
    let terms = terms("5/min").locking(LOCK);
    let mut kept = None;
    assert_eq!(ask(&mut kept, &terms, &take(4.0), NOW).locked_until, 0.0);
    let reply = ask(&mut kept, &terms, &take(1.0), NOW);
    assert_eq!((reply.taken, reply.available), (1.0, 0.0));
    assert!(reply.locked_until > NOW);
    assert_eq!(ask(&mut kept, &terms, &take(1.0), NOW + 60.0 * SECOND).taken, 0.0);
}

#[test]
fn a_lock_is_lifted_neither_by_a_success_nor_by_what_comes_back() {
    let mut kept = None;
    (0..5).for_each(|_| {
        let _ = fail(&mut kept, 0.0);
    });
    let clears = Ask {
        clear: true,
        refund: 5.0,
        ..Ask::default()
    };
    assert!(ask(&mut kept, &locking(), &clears, NOW).locked_until > 0.0);
    assert_eq!(ask(&mut kept, &locking(), &reserve(1.0), NOW + SECOND).taken, 0.0);
}

#[test]
fn a_lock_is_among_what_nodes_remember() {
    let mut kept = None;
    (0..5).for_each(|_| {
        let _ = fail(&mut kept, 0.0);
    });
    let known = ask(&mut kept, &locking(), &Ask::default(), NOW);
    let heal = Ask {
        heal: Some(Heal {
            seen: known.seen,
            seen_epoch: known.locked_until,
            held: 0.0,
        }),
        ..reserve(1.0)
    };
    let reply = ask(&mut None, &locking(), &heal, NOW + SECOND);
    assert_eq!((reply.taken, reply.locked_until), (0.0, known.locked_until));
    // What nobody can remember is cut, and what is over is none.
    for (seen_epoch, expected) in [(1e300, NOW + SECOND + locking().lock), (NOW, 0.0)] {
        let heal = Ask {
            heal: Some(Heal {
                seen_epoch,
                ..Heal::default()
            }),
            ..Ask::default()
        };
        assert_eq!(ask(&mut None, &locking(), &heal, NOW + SECOND).locked_until, expected);
    }
}

#[test]
fn what_nodes_remember_and_a_limit_that_shrinks_lock_nobody() {
    let heal = Ask {
        heal: Some(Heal {
            seen: NOW + locking().whole(),
            seen_epoch: 0.0,
            held: 1.0,
        }),
        ..Ask::default()
    };
    assert_eq!(ask(&mut None, &locking(), &heal, NOW).locked_until, 0.0);
    let mut kept = None;
    let _ = ask(&mut kept, &terms("9 per 15min").held(), &take(6.0), NOW);
    assert_eq!(ask(&mut kept, &locking(), &reserve(1.0), NOW).locked_until, 0.0);
}

#[test]
fn no_lock_ends_later_than_one_that_begins_now_and_none_holds_where_nothing_locks() {
    let mut kept = None;
    (0..5).for_each(|_| {
        let _ = fail(&mut kept, 0.0);
    });
    let locked = kept.expect("it was kept");
    let mut spoilt = Some(Kept {
        locked_until: 1e300,
        ..locked
    });
    let reply = ask(&mut spoilt, &locking(), &Ask::default(), NOW);
    assert_eq!((reply.locked_until, reply.damaged), (NOW + locking().lock, true));
    let unlocked = ask(&mut Some(locked), &terms("5 per 15min").held(), &Ask::default(), NOW);
    assert_eq!((unlocked.locked_until, unlocked.damaged), (0.0, false));
}
