//! Servers that answer nonsense, and values that make none.

use sluicegate_core::sharing::{Mode, OnStoreLoss};
use sluicegate_testkit::proxy::{FaultProxy, Mode as Fault, Replies};
use sluicegate_testkit::redis::RedisServer;

use crate::world::{Fleet, Load, Mishaps, Shared, Tested, ms, ring};

#[test]
fn answers_that_are_lost_or_make_no_sense_let_nothing_more_through() -> Tested {
    let server = RedisServer::start()?;
    let proxy = FaultProxy::before(server.address())?;
    let fleet = Fleet::start(6, LEASED, &ring(&[proxy.address()]));
    let load = Load::new(1_800, 6);
    let some = || Replies::to(&["EVALSHA"]).every(7);
    for fault in [
        Fault::Lose(some()),
        Fault::Cut(some()),
        Fault::Garble(some()),
        Fault::Mistype(some()),
        Fault::Replace(some(), b"-LOADING Redis is loading the dataset in memory\r\n".to_vec()),
        Fault::Flood(some()),
        Fault::Lossy { permille: 300, seed: 7 },
        Fault::Drip { every: ms(1) },
    ] {
        proxy.set(fault)?;
        fleet.run(&load, ms(500));
    }
    proxy.set(Fault::Pass)?;
    fleet.run_until_together(&load);
    fleet.run_until_accurate(&load);
    fleet.assert_holds(Mishaps::default());
    let unknown: u64 = fleet.statuses().iter().map(|status| status.counts.unknown).sum();
    assert!(unknown > 0, "what is spoilt is counted");
    Ok(())
}

#[test]
fn a_value_that_was_tampered_with_is_forgotten_and_locks_nobody_out() -> Tested {
    let server = RedisServer::start()?;
    let fleet = Fleet::start(4, LEASED, &ring(&[server.address()]));
    let load = Load::new(1_800, 4);
    fleet.run(&load, ms(500));
    let numbers = |value: f64| value.to_le_bytes().repeat(6);
    let bad = [
        Vec::new(),
        b"0".to_vec(),
        b"nonsense".to_vec(),
        vec![0; 48],
        vec![0xFF; 48],
        numbers(f64::NAN),
        numbers(f64::INFINITY),
        numbers(-1.0),
        numbers(1e18),
        numbers(f64::MIN_POSITIVE),
        numbers(9_007_199_254_740_993.0),
        vec![0x41; 1 << 16],
    ];
    for value in &bad {
        for name in server.command(&["KEYS", "sg:*"])?.elements() {
            let name = name.bytes().ok_or("a name")?;
            server.command(&[&b"SET"[..], name, value])?;
        }
        fleet.run(&load, ms(200));
    }
    // And of another kind altogether.
    for name in server.command(&["KEYS", "sg:*"])?.elements() {
        let name = name.bytes().ok_or("a name")?;
        server.command(&[&b"DEL"[..], name])?;
        server.command(&[&b"LPUSH"[..], name, b"1"])?;
    }
    fleet.run_until_together(&load);
    fleet.run_until_accurate(&load);
    fleet.assert_holds(Mishaps {
        outages: 0,
        lost: 600 * (bad.len() as u64 + 1),
    });
    Ok(())
}

/// Asked for three times as much.
const LEASED: Shared = Shared::new("600/s burst 600", Mode::Leased).on_store_loss(OnStoreLoss::Closed);
