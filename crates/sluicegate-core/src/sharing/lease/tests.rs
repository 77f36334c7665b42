//! One node, and now and then a second, at a store of their own.
#![expect(clippy::float_cmp, reason = "units are whole numbers, and times are given")]
#![expect(clippy::cast_precision_loss, reason = "counts of a test")]

mod queue;
mod reserve;

use super::*;
use crate::Limit;
use crate::sharing::exchange::{Ask, Reply};
use crate::sharing::plan::{Now, OnStoreLoss, Plan, Sharing};
use crate::sharing::{Kind, Terms, exchange, windows};

const MS: f64 = 1_000.0;
const SECOND: f64 = 1_000_000.0;

/// A store, and what surrounds its nodes. A round trip takes no time.
struct World {
    plan: Plan,
    bucket: Option<exchange::Kept>,
    window: Option<windows::Kept>,
    at: Now,
}

impl World {
    fn of(limit: &str, sharing: Sharing) -> Self {
        Self::of_kind(Kind::Bucket, limit, sharing)
    }

    fn of_kind(kind: Kind, limit: &str, sharing: Sharing) -> Self {
        let limit: Limit = limit.parse().expect("a limit");
        Self {
            plan: Plan {
                terms: Terms::new(kind, &limit, 0.0),
                sharing,
                on_store_loss: OnStoreLoss::Local,
                cost_max: 1.0,
                fanout: 0.0,
                spacing: None,
            },
            bucket: None,
            window: None,
            at: Now {
                time: 1e9,
                round_trip: MS,
                nodes: 10.0,
                is_down: false,
                generation: 1,
            },
        }
    }

    fn lease(&self) -> Lease {
        Lease::new(self.at.time)
    }

    fn pass(&mut self, time: f64) {
        self.at.time += time;
    }

    /// The store's clock is an even number of ten seconds apart from the nodes'.
    fn answer(&mut self, ask: &Ask) -> Reply {
        let now = self.at.time + 9e13;
        let terms = self.plan.view(self.at).terms();
        if terms.kind == Kind::Bucket {
            let (kept, reply, _) = exchange::bucket(self.bucket, &terms, ask, now);
            self.bucket = Some(kept);
            reply
        } else {
            let (kept, reply, _) = windows::exchange(self.window, &terms, ask, now);
            self.window = Some(kept);
            reply
        }
    }

    /// Does an exchange if there is something to say.
    fn sync(&mut self, lease: &mut Lease) -> Option<(Ask, Reply)> {
        let ask = lease.build(&self.plan.view(self.at), 0.5)?;
        let reply = self.answer(&ask);
        lease.apply(&self.plan.view(self.at), &ask, &reply, self.at.time, 0.5);
        Some((ask, reply))
    }

    fn look(&self, lease: &Lease, cost: f64) -> Look {
        lease.look(&self.plan.view(self.at), cost)
    }

    /// A request of one unit.
    fn request(&self, lease: &mut Lease) -> Look {
        self.request_of(lease, 1.0)
    }

    fn request_of(&self, lease: &mut Lease, cost: f64) -> Look {
        let view = self.plan.view(self.at);
        lease.note(&view, cost);
        let look = lease.look(&view, cost);
        let _ = lease.spend(&view, look, cost);
        look
    }

    /// A node that has met a hundred requests in a tenth of a second, and holds a lease for as many.
    fn busy(&mut self) -> Lease {
        let mut lease = self.lease();
        for _ in 0..100 {
            self.pass(MS);
            let _ = self.request(&mut lease);
        }
        let _ = self.sync(&mut lease);
        assert!(lease.held(self.at.time) > 50.0);
        lease
    }

    /// Takes all that the store has left.
    fn use_up(&mut self) {
        let terms = self.plan.view(self.at).terms();
        let _ = self.answer(&Ask {
            take: terms.burst,
            ..Ask::default()
        });
    }
}

fn is_refused(look: Look) -> bool {
    matches!(look, Look::Deny { .. })
}

#[test]
fn what_a_request_meets_depends_on_the_mode_and_what_is_held() {
    for (sharing, cold) in [
        (Sharing::Exact, Look::Wait),
        (Sharing::Leased, Look::Wait),
        (Sharing::Hybrid, Look::Allowance),
    ] {
        let mut world = World::of("1000/s burst 1000", sharing);
        let lease = world.lease();
        assert_eq!(world.look(&lease, 1.0), cold);
        assert_ne!(world.look(&lease, 1_000.0), Look::Never);
        assert_eq!(world.look(&lease, 1_001.0), Look::Never, "no burst is so large");
        if sharing != Sharing::Exact {
            let lease = world.busy();
            assert_eq!(world.look(&lease, 1.0), Look::Lease);
        }
    }
}

#[test]
fn an_allowance_is_what_one_node_may_owe_while_it_is_told_too() {
    // A tenth of a hundred, divided by ten nodes, is one.
    let mut world = World::of("100/s burst 100", Sharing::Hybrid);
    let mut lease = world.lease();
    assert_eq!(world.request(&mut lease), Look::Allowance);
    assert!(is_refused(world.request(&mut lease)));
    let view = world.plan.view(world.at);
    let ask = lease.build(&view, 0.5).expect("one is owed");
    assert_eq!(ask.pay, 1.0);
    assert!(is_refused(world.request(&mut lease)), "it is under way");
    let reply = world.answer(&ask);
    lease.apply(&world.plan.view(world.at), &ask, &reply, world.at.time, 0.5);
    assert!(world.request(&mut lease).passes());
}

#[test]
fn a_cost_beyond_the_allowance_passes_by_lease_after_one_refusal() {
    let mut world = World::of("1000/s burst 1000", Sharing::Hybrid);
    let mut lease = world.lease();
    assert!(is_refused(world.request_of(&mut lease, 50.0)));
    let (ask, _) = world.sync(&mut lease).expect("it was refused for want of a lease");
    assert!(ask.want >= 50.0);
    assert_eq!(world.request_of(&mut lease, 50.0), Look::Lease);
}

#[test]
fn a_key_that_is_used_up_is_refused_here_until_there_may_be_something() {
    for sharing in [Sharing::Leased, Sharing::Exact] {
        let mut world = World::of("10/s burst 10", sharing);
        world.use_up();
        let mut lease = world.lease();
        assert_eq!(world.request(&mut lease), Look::Wait);
        let (_, reply) = world.sync(&mut lease).expect("a request waits");
        assert_eq!(reply.taken, 0.0);
        for _ in 0..20 {
            let look = world.request(&mut lease);
            let is_told =
                matches!(look, Look::Deny { retry_after } if retry_after > 0.0 && retry_after <= 3.0 * SECOND);
            assert!(is_told, "{sharing:?}: {look:?}");
            assert!(lease.due_at() > world.at.time, "no use in asking");
            world.pass(MS);
        }
        world.pass(3.0 * SECOND);
        assert_eq!(world.request(&mut lease), Look::Wait);
    }
}

#[test]
fn a_lease_is_spent_until_a_moment_before_it_ends() {
    let mut world = World::of("1000/s burst 1000", Sharing::Leased);
    let lease = world.busy();
    let ends_at = lease.held[1].expires_at;
    // One to two epochs of half a second.
    assert!(ends_at - world.at.time > 0.45 * SECOND && ends_at - world.at.time < SECOND);
    world.at.time = ends_at - 1.0;
    assert_eq!(world.look(&lease, 1.0), Look::Lease);
    world.at.time = ends_at;
    assert_ne!(world.look(&lease, 1.0), Look::Lease);
}

#[test]
fn a_lease_that_runs_low_is_renewed_at_once_and_one_that_nobody_needs_goes_back() {
    let mut world = World::of("1000/s burst 1000", Sharing::Leased);
    let mut lease = world.busy();
    let planned = lease.due_at();
    assert!(planned > world.at.time);
    while lease.held(world.at.time) > 4.0 {
        let _ = world.request(&mut lease);
    }
    assert_eq!(lease.due_at(), world.at.time);
    let _ = world.sync(&mut lease);
    let outstanding = |world: &World| world.bucket.map_or(0.0, |kept| kept.current + kept.previous);
    assert!(outstanding(&world) > 0.0);
    while lease.due_at().is_finite() {
        world.at.time = lease.due_at();
        let _ = world.sync(&mut lease);
    }
    assert_eq!(lease.held(world.at.time), 0.0);
    assert_eq!(outstanding(&world), 0.0);
}

#[test]
fn what_was_not_sent_is_said_again_and_what_may_have_been_done_only_if_it_is_owed() {
    let mut world = World::of("1000/s burst 1000", Sharing::Hybrid);
    let mut lease = world.busy();
    for _ in 0..10 {
        let _ = world.request(&mut lease);
    }
    lease.owe(&world.plan.view(world.at), 3.0);
    let held = lease.held(world.at.time);
    let view = world.plan.view(world.at);
    let first = lease.build(&view, 0.5).expect("there is much to say");
    assert_eq!(first.settled.iter().map(|settled| settled.spent).sum::<f64>(), 10.0);
    lease.unsent(&view, &first);
    assert_eq!(lease.held(world.at.time), held);
    let again = lease.build(&view, 0.5).expect("it was not said");
    assert_eq!(
        (again.settled, again.pay, again.demand),
        (first.settled, first.pay, first.demand)
    );
    lease.lost(&view);
    let last = lease.build(&view, 0.5).expect("something is owed still");
    assert_eq!(last.pay, first.pay);
    assert!(
        last.settled.iter().all(|settled| settled.spent == 0.0),
        "it may have been settled"
    );
}

#[test]
fn a_failed_ask_does_not_lie_until_a_request_comes() {
    let world = World::of("100/s burst 100", Sharing::Hybrid);
    let mut lease = world.lease();
    let _ = world.request(&mut lease);
    let view = world.plan.view(world.at);
    let _ = lease.build(&view, 0.5).expect("one is owed");
    assert!(lease.due_at().is_infinite(), "an ask is under way");
    lease.lost(&view);
    assert!(lease.due_at() < world.at.time + SECOND);
}

#[test]
fn requests_that_come_while_an_ask_is_under_way_ask_no_sooner_than_its_reply_says() {
    let mut world = World::of("10/s burst 10", Sharing::Leased);
    world.use_up();
    let mut lease = world.lease();
    let _ = world.request(&mut lease);
    let view = world.plan.view(world.at);
    let ask = lease.build(&view, 0.5).expect("a request waits");
    lease.note(&view, 1.0);
    let _ = lease.spend(&view, Look::Deny { retry_after: 1.0 }, 1.0);
    let reply = world.answer(&ask);
    lease.apply(&world.plan.view(world.at), &ask, &reply, world.at.time, 0.5);
    assert!(lease.due_at() >= lease.next_at && lease.next_at > world.at.time);
}

#[test]
fn a_store_with_other_data_is_told_what_is_known_and_held_and_settles_nothing() {
    let mut world = World::of("1000/s burst 1000", Sharing::Leased);
    let mut lease = world.busy();
    let _ = world.request(&mut lease);
    let held = lease.held(world.at.time);
    let seen = lease.known.expect("it was answered").seen;
    world.bucket = None;
    world.at.generation = 2;
    let view = world.plan.view(world.at);
    let ask = lease.build(&view, 0.5).expect("it has to be healed");
    let heal = ask.heal.expect("the data is other");
    assert_eq!((heal.held, heal.seen), (held, seen));
    assert!(
        ask.settled
            .iter()
            .all(|settled| settled.spent + settled.returned == 0.0)
    );
    assert_eq!(ask.want, 0.0, "what others remember is not there yet");
    // Spent while it is told as held.
    let _ = world.request(&mut lease);
    let reply = world.answer(&ask);
    lease.apply(&world.plan.view(world.at), &ask, &reply, world.at.time, 0.5);
    assert_eq!(world.bucket.map(|kept| kept.current), Some(held));
    let _ = world.request(&mut lease);
    let (ask, _) = world.sync(&mut lease).expect("two are spent");
    assert_eq!(ask.heal, None);
    assert_eq!(ask.settled.iter().map(|settled| settled.spent).sum::<f64>(), 2.0);
    let returned: f64 = ask.settled.iter().map(|settled| settled.returned).sum();
    let granted = world.bucket.map_or(0.0, |kept| kept.current) - (held - 2.0 - returned);
    assert!(granted >= 0.0, "told by its new epoch");
}

#[test]
fn a_reply_of_former_data_heals_nothing() {
    let mut world = World::of("1000/s burst 1000", Sharing::Leased);
    let mut lease = world.busy();
    let _ = world.request(&mut lease);
    let view = world.plan.view(world.at);
    let ask = lease.build(&view, 0.5);
    let ask = ask.expect("one is spent");
    let reply = world.answer(&ask);
    // Meanwhile another call was told that the data has changed.
    world.at.generation = 2;
    lease.apply(&world.plan.view(world.at), &ask, &reply, world.at.time, 0.5);
    let _ = world.request(&mut lease);
    let ask = lease.build(&world.plan.view(world.at), 0.5).expect("one more is spent");
    assert!(ask.heal.is_some());
}

#[test]
fn the_first_requests_of_a_rare_key_are_never_told_where_two_are_allowed() {
    for (limit, is_silent) in [("1000/s burst 1000", true), ("100/s burst 100", false)] {
        let world = World::of(limit, Sharing::Hybrid);
        let mut lease = world.lease();
        assert_eq!(world.request(&mut lease), Look::Allowance);
        assert_eq!(lease.due_at().is_infinite(), is_silent, "{limit}");
    }
    // Windows forget nothing before they end, so there everything is told.
    let world = World::of_kind(Kind::FixedWindow, "1000/s", Sharing::Hybrid);
    let mut lease = world.lease();
    assert_eq!(world.request(&mut lease), Look::Allowance);
    assert!(lease.due_at().is_finite());
}

#[test]
fn while_the_store_is_away_a_node_goes_by_its_share_and_tells_what_is_missing_of_it() {
    let mut world = World::of("1000/s burst 1000", Sharing::Leased);
    let mut lease = world.lease();
    world.at.is_down = true;
    // A cold key: a tenth of a full bucket.
    let passed = (0..200).filter(|_| world.request(&mut lease) == Look::Share).count();
    assert_eq!(passed, 100);
    // A tenth of the rate.
    world.pass(100.0 * MS);
    let passed = (0..200).filter(|_| world.request(&mut lease) == Look::Share).count();
    assert_eq!(passed, 10);
    assert!(matches!(world.look(&lease, 101.0), Look::Deny { retry_after } if retry_after.is_infinite()));
    world.pass(800.0 * MS);
    world.at.is_down = false;
    assert_eq!(world.look(&lease, 1.0), Look::Share, "until the store was told");
    let (ask, _) = world.sync(&mut lease).expect("the store has to be told");
    // Of a hundred there are eighty.
    assert!((ask.pay - 20.0).abs() < 1e-6, "{}", ask.pay);
    assert_ne!(world.look(&lease, 1.0), Look::Share);
}

#[test]
fn an_outage_that_begins_with_nothing_left_still_earns_its_share() {
    let mut world = World::of("1000/s burst 1000", Sharing::Leased);
    let mut lease = world.lease();
    world.use_up();
    let _ = world.request(&mut lease);
    let _ = world.sync(&mut lease);
    world.at.is_down = true;
    let passed = (0..1_000).filter(|_| {
        world.pass(MS);
        world.request(&mut lease) == Look::Share
    });
    // One request is as good as no word of what this node's share is: three tenths.
    assert!(passed.count() > 250);
}

#[test]
fn a_rule_may_be_closed_or_open_while_the_store_is_away() {
    for (on_store_loss, passes) in [(OnStoreLoss::Closed, false), (OnStoreLoss::Open, true)] {
        let mut world = World::of("1000/s burst 1000", Sharing::Leased);
        world.plan.on_store_loss = on_store_loss;
        let mut lease = world.busy();
        world.at.is_down = true;
        let held = lease.held(world.at.time);
        let by_lease = (0..2_000).filter(|_| world.request(&mut lease) == Look::Lease).count();
        assert_eq!(
            by_lease as f64, held,
            "leases are good for as long as they were granted"
        );
        assert_eq!(world.request(&mut lease).passes(), passes);
    }
}

#[test]
fn a_store_too_slow_to_wait_for_is_asked_ahead_or_gone_without() {
    let mut world = World::of("1000/s burst 1000", Sharing::Leased);
    world.at.round_trip = 80.0 * MS;
    let lease = world.lease();
    assert_eq!(world.look(&lease, 1.0), Look::Share);
    world.plan.on_store_loss = OnStoreLoss::Closed;
    let mut lease = world.lease();
    assert!(is_refused(world.request(&mut lease)));
    let _ = world.sync(&mut lease);
    assert_eq!(world.request(&mut lease), Look::Lease);
}

#[test]
fn a_reply_that_no_store_makes_counts_as_none() {
    let damage: [fn(&mut Reply); 6] = [
        |reply| reply.granted = f64::NAN,
        |reply| reply.granted = -1.0,
        |reply| reply.ready_after = f64::INFINITY,
        |reply| reply.share = 0.0,
        |reply| reply.available = f64::NEG_INFINITY,
        |reply| reply.valid_for = f64::NAN,
    ];
    for spoil in damage {
        let mut world = World::of("1000/s burst 1000", Sharing::Leased);
        let mut lease = world.lease();
        let _ = world.request(&mut lease);
        let view = world.plan.view(world.at);
        let ask = lease.build(&view, 0.5).expect("a request waits");
        let mut reply = world.answer(&ask);
        spoil(&mut reply);
        lease.apply(&world.plan.view(world.at), &ask, &reply, world.at.time, 0.5);
        assert_eq!(lease.known, None);
        assert!(!lease.in_flight());
    }
    // A reply that is only absurd delays the next ask by no more than the longest debt.
    let mut world = World::of("1000/s burst 1000", Sharing::Leased);
    let mut lease = world.lease();
    let _ = world.request(&mut lease);
    let ask = lease.build(&world.plan.view(world.at), 0.5).expect("a request waits");
    let mut reply = world.answer(&ask);
    reply.available = -1e300;
    reply.ready_after = 1e300;
    lease.apply(&world.plan.view(world.at), &ask, &reply, world.at.time, 0.5);
    assert!(lease.next_at - world.at.time <= 10.0 * SECOND);
}

/// SH16.
#[test]
fn of_three_limits_the_one_that_refuses_costs_the_others_nothing() {
    let mut worlds =
        ["1000/s burst 1000", "10/s burst 10", "500/s burst 500"].map(|limit| World::of(limit, Sharing::Leased));
    let mut leases = [worlds[0].busy(), worlds[1].lease(), worlds[2].busy()];
    worlds[1].use_up();
    let _ = worlds[1].request(&mut leases[1]);
    let _ = worlds[1].sync(&mut leases[1]);
    let held = |worlds: &[World; 3], leases: &[Lease; 3]| [0, 2].map(|which| leases[which].held(worlds[which].at.time));
    let before = held(&worlds, &leases);
    for _ in 0..50 {
        let mut made: [Option<Spent>; 3] = [None; 3];
        for which in 0..3 {
            let view = worlds[which].plan.view(worlds[which].at);
            leases[which].note(&view, 1.0);
            let look = leases[which].look(&view, 1.0);
            if !look.passes() {
                break;
            }
            made[which] = Some(leases[which].spend(&view, look, 1.0));
        }
        assert!(made[0].is_some() && made[1].is_none());
        for (which, spent) in made.iter().enumerate() {
            if let Some(spent) = spent {
                leases[which].unspend(&worlds[which].plan.view(worlds[which].at), spent, 1.0);
            }
        }
    }
    assert_eq!(held(&worlds, &leases), before);
    let (ask, _) = worlds[0]
        .sync(&mut leases[0])
        .expect("the lease is renewed for what was asked for");
    assert!(ask.settled.iter().all(|settled| settled.spent == 0.0));
}

#[test]
fn what_was_reported_as_spent_meanwhile_stays_spent() {
    let mut world = World::of("1000/s burst 1000", Sharing::Leased);
    let mut lease = world.busy();
    let view = world.plan.view(world.at);
    let look = lease.look(&view, 1.0);
    let spent = lease.spend(&view, look, 1.0);
    let _ = world.sync(&mut lease);
    let held = lease.held(world.at.time);
    lease.unspend(&world.plan.view(world.at), &spent, 1.0);
    assert_eq!(lease.held(world.at.time), held);
}

#[test]
fn taken_units_that_nobody_uses_go_back_less_what_has_come_back_by_itself() {
    let mut world = World::of("100/s burst 100", Sharing::Leased);
    let mut lease = world.lease();
    let _ = world.request_of(&mut lease, 5.0);
    let (ask, reply) = world.sync(&mut lease).expect("a request waits");
    assert_eq!((ask.take, reply.taken), (5.0, 5.0));
    lease.return_taken(&world.plan.view(world.at), 5.0);
    world.pass(20.0 * MS);
    let (ask, reply) = world.sync(&mut lease).expect("five go back");
    assert!((ask.refund - 3.0).abs() < 1e-6);
    assert!((reply.available - 100.0).abs() < 1e-3);
}

#[test]
fn a_windows_lease_goes_back_before_the_window_ends_and_taken_units_only_in_it() {
    let mut world = World::of_kind(Kind::FixedWindow, "6000/min burst 6000", Sharing::Leased);
    let mut lease = world.busy();
    let good_until = lease.held[1].expires_at;
    lease.return_taken(&world.plan.view(world.at), 1.0);
    let held = lease.held(world.at.time);
    assert!(lease.due_at() < good_until);
    world.at.time = good_until - 6.0 * MS;
    let (ask, _) = world.sync(&mut lease).expect("it goes back");
    assert_eq!(ask.settled.iter().map(|settled| settled.returned).sum::<f64>(), held);
    // In the next window, what was counted in the last one is no more to be given back.
    world.at.time = good_until + 100.0 * MS;
    lease.return_taken(&world.plan.view(world.at), 1.0);
    assert_eq!(lease.held(world.at.time), 0.0);
    assert_eq!(lease.refund(&world.plan.view(world.at)), 0.0);
}

#[test]
fn a_lowered_limit_holds_as_soon_as_it_is_asked_under() {
    let mut world = World::of("1000/s burst 1000", Sharing::Leased);
    let mut lease = world.busy();
    let lower: Limit = "10/s burst 10".parse().expect("a limit");
    world.plan.terms = Terms::new(Kind::Bucket, &lower, 0.0);
    let held = lease.held(world.at.time);
    let by_lease = (0..2_000).filter(|_| world.request(&mut lease) == Look::Lease).count();
    assert_eq!(by_lease as f64, held, "what is held was charged under the old limit");
    let (_, reply) = world.sync(&mut lease).expect("it is spent");
    assert!(reply.available <= 0.0 && reply.granted == 0.0);
    // Two epochs later the old lease counts as spent, and then it comes back at the new limit's pace.
    world.pass(25.0 * SECOND);
    let (_, reply) = {
        assert_eq!(world.request(&mut lease), Look::Wait);
        world.sync(&mut lease).expect("a request waits")
    };
    assert_eq!(reply.taken, 1.0);
}

#[test]
fn a_key_is_forgotten_only_when_that_loses_nothing() {
    let mut world = World::of("100/s burst 100", Sharing::Hybrid);
    let mut lease = world.lease();
    let is_idle = |world: &World, lease: &Lease| lease.is_idle(&world.plan.view(world.at));
    assert!(is_idle(&world, &lease));
    let _ = world.request(&mut lease);
    assert!(!is_idle(&world, &lease), "one is owed");
    world.use_up();
    let _ = world.sync(&mut lease);
    assert!(!is_idle(&world, &lease), "it would be taken for full");
    world.pass(20.0 * SECOND);
    let _ = world.sync(&mut lease);
    assert!(is_idle(&world, &lease));
}

#[test]
fn nodes_that_are_refused_together_do_not_come_back_together() {
    let mut world = World::of("100/s burst 100", Sharing::Leased);
    world.use_up();
    let next_at = |chance: f64| {
        let mut lease = Lease::new(world.at.time);
        let view = world.plan.view(world.at);
        lease.note(&view, 1.0);
        let _ = lease.spend(&view, Look::Wait, 1.0);
        let ask = lease.build(&view, chance).expect("a request waits");
        let now = world.at.time + 9e13;
        let (_, reply, _) = exchange::bucket(world.bucket, &view.terms(), &ask, now);
        lease.apply(&view, &ask, &reply, world.at.time, chance);
        lease.next_at - world.at.time
    };
    assert!(next_at(0.99) > 1.2 * next_at(0.0));
}

#[test]
fn once_nobody_waits_the_next_ask_is_no_sooner_than_the_last_reply_said() {
    let mut world = World::of("1000/s burst 1000", Sharing::Leased);
    world.use_up();
    world.pass(20.0 * MS);
    let mut lease = world.lease();
    for _ in 0..10 {
        assert_eq!(world.request(&mut lease), Look::Wait);
    }
    let ask = lease.build(&world.plan.view(world.at), 0.5).expect("ten wait");
    assert_eq!(world.request(&mut lease), Look::Wait);
    let reply = world.answer(&ask);
    lease.apply(&world.plan.view(world.at), &ask, &reply, world.at.time, 0.5);
    assert_eq!(lease.due_at(), world.at.time, "for the one who came later");
    assert!(lease.next_at > world.at.time);
    lease.leave(1.0, false);
    assert_eq!(lease.due_at(), lease.next_at);
}
