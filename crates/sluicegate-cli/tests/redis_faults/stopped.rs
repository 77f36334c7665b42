//! A server that is there and does not answer, or not in time.

use std::thread;

use sluicegate_core::sharing::{Mode, OnStoreLoss};
use sluicegate_testkit::proxy::{FaultProxy, Mode as Fault};
use sluicegate_testkit::redis::RedisServer;

use crate::world::{Fleet, Load, Mishaps, Shared, Tested, ms, ring};

#[test]
fn a_hybrid_limit_does_not_notice_that_its_store_stands_still() -> Tested {
    let server = RedisServer::start()?;
    let fleet = Fleet::start(10, HYBRID, &ring(&[server.address()]));
    let load = Load::new(3_000, 10).keys(2);
    // Of a key below its limit, on every node often enough.
    let calm = Load::new(250, 10).of_key(9);
    fleet.run(&load, ms(1_000));
    fleet.run(&calm, ms(500));
    server.pause()?;
    let starved = fleet.run(&calm, ms(500));
    assert!(starved.denied_share() <= 0.01, "{starved:?}");
    // All shares together are the limit.
    fleet.run_until_accurate(&load);
    server.resume()?;
    fleet.run_until_together(&load);
    fleet.run_until_accurate(&load);
    assert_eq!(fleet.waited(), 0, "nothing ever waits");
    fleet.assert_holds(ONE_OUTAGE);
    Ok(())
}

/// Ten seconds of it are played in simulated time; here it is two, and in one of three outages at least the machine is quick enough.
#[test]
fn two_seconds_without_the_store_pass_at_about_the_limit_and_a_second_later_all_of_it_is_there() -> Tested {
    let server = RedisServer::start()?;
    let fleet = Fleet::start(10, HYBRID, &ring(&[server.address()]));
    let load = Load::new(3_000, 10).keys(2);
    // The burst is used up.
    fleet.run(&load, ms(1_500));
    let mut seen = Vec::new();
    let is_good = |(during, after): &(f64, f64)| (0.85..=1.1).contains(during) && *after >= 0.95;
    for _ in 0..3 {
        server.pause()?;
        let during = fleet.run_at_rate(&load, ms(2_000));
        server.resume()?;
        fleet.run(&load, ms(1_000));
        let after = fleet.run_at_rate(&load, ms(1_000));
        seen.push((during, after));
        if seen.iter().any(is_good) {
            break;
        }
    }
    fleet.assert_holds(ONE_OUTAGE);
    assert!(
        seen.iter().any(is_good),
        "during and after, as parts of the limit: {seen:?}"
    );
    Ok(())
}

#[test]
fn an_exact_limit_decides_every_request_by_its_failure_policy_while_its_store_stands_still() -> Tested {
    let server = RedisServer::start()?;
    for policy in [OnStoreLoss::Local, OnStoreLoss::Closed, OnStoreLoss::Open] {
        let exact = Shared::new("200/s burst 200", Mode::Exact).on_store_loss(policy);
        let fleet = Fleet::start(5, exact, &ring(&[server.address()]));
        let load = Load::new(600, 5);
        fleet.run(&load, ms(500));
        server.pause()?;
        fleet.run(&load, ms(300));
        let alone = fleet.run(&load, ms(500));
        server.resume()?;
        match policy {
            OnStoreLoss::Local => assert!(alone.allowed > 0, "by the shares: {alone:?}"),
            OnStoreLoss::Closed => assert_eq!(alone.allowed, 0, "{alone:?}"),
            OnStoreLoss::Open => assert_eq!(alone.denied, 0, "{alone:?}"),
        }
        fleet.run_until(&load, "the store is back", |status| status.lanes_up == status.lanes);
        fleet.run_until_admitted(&load);
        if policy != OnStoreLoss::Open {
            fleet.assert_holds(ONE_OUTAGE);
        }
    }
    Ok(())
}

#[test]
fn a_store_that_answers_eighty_milliseconds_late_delays_no_decision() -> Tested {
    let server = RedisServer::start()?;
    let proxy = FaultProxy::before(server.address())?;
    let fleet = Fleet::start(10, HYBRID, &ring(&[proxy.address()]));
    let load = Load::new(3_000, 10).keys(2);
    fleet.run(&load, ms(500));
    proxy.set(Fault::late(ms(80)))?;
    fleet.run(&load, ms(1_500));
    proxy.set(Fault::Pass)?;
    fleet.run_until_together(&load);
    fleet.run_until_accurate(&load);
    assert_eq!(fleet.waited(), 0, "nothing ever waits");
    fleet.assert_holds(ONE_OUTAGE);
    Ok(())
}

#[test]
fn a_server_that_an_operator_holds_up_delays_no_decision() -> Tested {
    let server = RedisServer::start()?;
    let fleet = Fleet::start(6, HYBRID, &ring(&[server.address()]));
    let load = Load::new(3_000, 6).keys(2);
    fleet.run(&load, ms(500));
    server.command(&["CLIENT", "PAUSE", "700", "ALL"])?;
    fleet.run(&load, ms(1_000));
    server.command(&["CONFIG", "SET", "busy-reply-threshold", "50"])?;
    for held_up in [&["DEBUG", "SLEEP", "0.7"][..], &["EVAL", "while true do end", "0"][..]] {
        thread::scope(|scope| {
            // It is answered, or killed, when it is over.
            let held_up = scope.spawn(|| server.command(held_up));
            fleet.run(&load, ms(700));
            let _ = server.command(&["SCRIPT", "KILL"]);
            drop(held_up.join());
        });
        fleet.run(&load, ms(300));
    }
    fleet.run_until_together(&load);
    fleet.run_until_accurate(&load);
    assert_eq!(fleet.waited(), 0, "nothing ever waits");
    fleet.assert_holds(ONE_OUTAGE);
    Ok(())
}

#[test]
fn connections_that_are_ended_and_scripts_that_are_flushed_all_the_time_cost_no_decision() -> Tested {
    const NODES: usize = 6;
    let server = RedisServer::start()?;
    let fleet = Fleet::start(NODES, HYBRID, &ring(&[server.address()]));
    let load = Load::new(3_000, NODES).keys(2);
    fleet.run(&load, ms(500));
    server.command(&["CONFIG", "SET", "timeout", "1"])?;
    for _ in 0..12 {
        server.command(&["SCRIPT", "FLUSH"])?;
        fleet.run(&load, ms(100));
    }
    let connections = || -> u64 {
        let of_node = |node| {
            fleet
                .store(node)
                .servers()
                .iter()
                .map(|(_, health)| health.connections.get())
                .sum::<u64>()
        };
        (0..NODES).map(of_node).sum()
    };
    let before = connections();
    for _ in 0..20 {
        server.command(&["CLIENT", "KILL", "TYPE", "normal"])?;
        fleet.run(&load, ms(100));
    }
    let made = connections() - before;
    assert!(
        made <= 20 * NODES as u64,
        "{made} connections by {NODES} nodes, each ended twenty times"
    );
    fleet.run_until_together(&load);
    fleet.run_until_accurate(&load);
    assert_eq!(fleet.waited(), 0, "nothing ever waits");
    fleet.assert_holds(ONE_OUTAGE);
    Ok(())
}

/// Asked for three times as much by the loads above.
const HYBRID: Shared = Shared::new("500/s burst 1000", Mode::Hybrid);

const ONE_OUTAGE: Mishaps = Mishaps { outages: 1, lost: 0 };
