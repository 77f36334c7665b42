//! Standard error that nobody reads.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;

use crate::process::{Running, Upstream, binary, get, policy, unread};
use tempfile::TempDir;

/// The line about the drain panicked, so no drain happened and the process ended with 101.
#[test]
fn a_log_reader_that_goes_away_stops_neither_requests_nor_the_drain() {
    let upstream = Upstream::start();
    let mut running = Running::start(upstream.address, "");
    running.stop_reading();
    upstream.answer.send(()).expect("it waits");
    assert_eq!(get(running.gateway, "/before").0, 200);
    upstream.arrived.recv().expect("the request arrives");
    let gateway = running.gateway;
    let asking = thread::spawn(move || get(gateway, "/slow"));
    upstream.arrived.recv().expect("the request arrives");
    running.signal("TERM");
    running.wait_for_stage("draining");
    upstream.answer.send(()).expect("it waits");
    assert_eq!(asking.join().expect("no panic").0, 200);
    assert_eq!(running.end().0, Some(0));
}

/// The lines that name the listeners panicked, which left a process with 101 and doors that had just opened.
#[test]
fn a_gateway_whose_log_nobody_ever_reads_serves_and_drains() {
    for form in [&[][..], &["--json"]] {
        let upstream = Upstream::start();
        let running = Running::start_unread(upstream.address, form);
        upstream.answer.send(()).expect("it waits");
        assert_eq!(get(running.gateway, "/x").0, 200);
        running.signal("TERM");
        assert_eq!(running.end().0, Some(0), "{form:?}");
    }
}

#[test]
fn the_exit_code_tells_what_went_wrong_also_where_nobody_reads_the_error() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = taken.local_addr().expect("bound");
    let folder = TempDir::new().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file of ours");
        path.to_str().expect("a plain path").to_owned()
    };
    let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let faulty = file(
        "faulty.yaml",
        "version: 1\nrules:\n  - { name: a, key: ip, limit: 0/s }\n",
    );
    let doorless = file("doorless.yaml", "version: 1\n");
    let busy = policy(upstream, "").replace("address: 127.0.0.1:0", &format!("address: {address}"));
    let busy = file("busy.yaml", &busy);
    for (arguments, code) in [
        (&["dance"][..], 2),
        (&["run"], 2),
        (&["run", "-c", "/nowhere/policy.yaml"], 1),
        (&["run", "-c", &faulty], 1),
        (&["run", "--json", "-c", &faulty], 1),
        (&["run", "-c", &doorless], 1),
        (&["run", "-c", &busy], 3),
        (&["run", "--json", "-c", &busy], 3),
        (&["demo", "--for", "1s", "--port", &address.port().to_string()], 3),
    ] {
        let status = binary().args(arguments).stderr(unread()).status().expect("runs");
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
}
