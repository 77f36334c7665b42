//! A limiter that goes on where another left off, by a file.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use sluicegate::policy::Policy;
use sluicegate::{Durability, Limiter, ManualClock, Outcome, ReadError, Request, Secret};
use sluicegate_core::Timestamp;
use tempfile::TempDir;

const SECRET: [u8; Secret::LEN] = [5; Secret::LEN];

/// A directory of its own, and the snapshot's path in it.
fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("snapshot");
    (directory, path)
}

fn policy(rules: &str) -> Policy {
    let text = format!("version: 1\nstate: {{memory: 4MiB}}\nrules:\n{rules}");
    Policy::parse("policy.yaml", &text).expect("a good policy").0
}

/// A limiter so many seconds after 1970, since when its clock runs.
fn limiter(policy: &Policy, secret: [u8; Secret::LEN], second: u64) -> Limiter {
    let clock = ManualClock::at(Timestamp::from_nanos(second * 1_000_000_000));
    Limiter::new(policy, &Secret::from_bytes(secret), Arc::new(clock)).expect("a small table")
}

fn passes(limiter: &Limiter, client: u8) -> bool {
    let headers = HeaderMap::new();
    let request = Request {
        method: &Method::GET,
        host: "a",
        path: "/",
        query: "",
        peer: Some(Ipv4Addr::new(192, 0, 2, client).into()),
        headers: &headers,
    };
    match limiter.decide(&request) {
        Outcome::Decided(decision) => decision.passes(),
        _ => unreachable!("no rule here reads bodies"),
    }
}

fn passing(limiter: &Limiter, client: u8, requests: usize) -> usize {
    (0..requests).filter(|_| passes(limiter, client)).count()
}

fn write(limiter: &Limiter, path: &Path) -> u64 {
    limiter.snapshot(path, Durability::Cached).expect("room").records
}

const PER_CLIENT: &str = "  - {name: per-client, key: ip, limit: 10/h}\n";

#[test]
fn a_drained_client_stays_drained_and_gets_back_what_has_refilled_since() {
    let (_directory, path) = place();
    let policy = policy(PER_CLIENT);
    let before = limiter(&policy, SECRET, 1_000);
    assert_eq!(passing(&before, 1, 12), 10);
    assert_eq!(passing(&before, 2, 4), 4);
    assert_eq!(write(&before, &path), 2);

    // A unit every six minutes: after 13 of them there are two.
    for (minutes, left) in [(0, 0), (13, 2), (60, 10)] {
        let after = limiter(&policy, SECRET, 1_000 + 60 * minutes);
        let restored = after.restore(&path).expect("a whole file").expect("a file");
        assert_eq!(restored.away, Duration::from_mins(minutes));
        assert_eq!(passing(&after, 1, 12), left, "after {minutes} min");
        assert_eq!(passing(&after, 3, 12), 10);
    }
    // The clock went back.
    let after = limiter(&policy, SECRET, 10);
    let restored = after.restore(&path).expect("a whole file").expect("a file");
    assert_eq!((restored.records.cells, restored.away), (2, Duration::ZERO));
    assert_eq!((passing(&after, 1, 12), passing(&after, 2, 12)), (0, 6));
}

#[test]
fn rules_may_come_go_and_change_places_while_the_node_is_down() {
    let (_directory, path) = place();
    let other = "  - {name: other, key: header.x, on_missing_key: shared, limit: 5/h}\n";
    let before = limiter(&policy(&format!("{PER_CLIENT}{other}")), SECRET, 1_000);
    assert_eq!(passing(&before, 1, 3), 3);
    assert_eq!(write(&before, &path), 2);
    let whole = "  - {name: all, key: [], limit: 100/h}\n";
    let after = limiter(&policy(&format!("{whole}{other}{PER_CLIENT}")), SECRET, 1_000);
    let restored = after.restore(&path).expect("a whole file").expect("a file");
    assert_eq!((restored.records.cells, restored.records.passed_over), (2, 0));
    assert_eq!(passing(&after, 1, 12), 2);
    let after = limiter(&policy(whole), SECRET, 1_000);
    let restored = after.restore(&path).expect("a whole file").expect("a file");
    assert_eq!((restored.records.cells, restored.records.passed_over), (0, 2));

    // A rule without a key has a cell that lies outside the table.
    assert_eq!(passing(&after, 1, 70), 70);
    assert_eq!(write(&after, &path), 1);
    let again = limiter(&policy(whole), SECRET, 1_000);
    assert!(again.restore(&path).expect("a whole file").is_some());
    assert_eq!(passing(&again, 9, 40), 30);
}

#[test]
fn a_snapshot_after_a_reload_has_what_both_policies_counted() {
    let (_directory, path) = place();
    let before = limiter(&policy(PER_CLIENT), SECRET, 1_000);
    assert_eq!(passing(&before, 1, 4), 4);
    let raised = policy("  - {name: per-client, key: ip, limit: 20/h}\n");
    before.replace(&raised).expect("a small policy");
    assert_eq!(passing(&before, 1, 3), 3);
    assert_eq!(write(&before, &path), 1);
    for (policy, left) in [(&raised, 13), (&policy(PER_CLIENT), 3)] {
        let after = limiter(policy, SECRET, 1_000);
        assert!(after.restore(&path).expect("a whole file").is_some());
        assert_eq!(passing(&after, 1, 30), left);
    }
}

#[test]
fn another_secret_is_an_amnesty() {
    let (_directory, path) = place();
    let policy = policy(PER_CLIENT);
    let before = limiter(&policy, SECRET, 1_000);
    assert_eq!(passing(&before, 1, 12), 10);
    write(&before, &path);
    let after = limiter(&policy, [6; Secret::LEN], 1_000);
    assert!(matches!(after.restore(&path), Err(ReadError::OtherSecret)));
    assert_eq!(passing(&after, 1, 12), 10);
    // Nothing in the file is worth anything to who does not know the secret, or tells of it.
    let bytes = fs::read(&path).expect("the file");
    assert!(!bytes.windows(8).any(|part| part == &SECRET[..8]));
    assert!(!bytes.windows(4).any(|part| part == [192, 0, 2, 1]));
}

#[test]
fn where_there_is_no_file_or_no_whole_one_nothing_is_restored() {
    let (_directory, path) = place();
    let limiter = limiter(&policy(PER_CLIENT), SECRET, 1_000);
    assert!(limiter.restore(&path).expect("no error").is_none());
    assert_eq!(passing(&limiter, 1, 3), 3);
    write(&limiter, &path);
    let mut bytes = fs::read(&path).expect("the file");
    *bytes.last_mut().expect("bytes") ^= 1;
    fs::write(&path, bytes).expect("our own file");
    assert!(matches!(limiter.restore(&path), Err(ReadError::Damaged { .. })));
}

#[test]
fn a_change_shows_when_anything_was_charged_or_settled_and_not_otherwise() {
    let rules = "  - {name: per-client, key: ip, limit: 10/h}\n  - {name: streams, key: ip, algorithm: concurrency, limit: 5}\n";
    let limiter = limiter(&policy(rules), SECRET, 1_000);
    let mut marks = vec![limiter.change()];
    assert_eq!(limiter.change(), marks[0]);
    let headers = HeaderMap::new();
    let request = Request {
        method: &Method::GET,
        host: "a",
        path: "/",
        query: "",
        peer: Some(Ipv4Addr::new(192, 0, 2, 1).into()),
        headers: &headers,
    };
    let held = limiter.decide(&request);
    marks.push(limiter.change());
    drop(held);
    marks.push(limiter.change());
    let rule = limiter.rule("per-client").expect("the rule");
    assert!(limiter.check(rule, b"alice").is_ok_and(|check| check.passes()));
    marks.push(limiter.change());
    limiter.replace(&policy(PER_CLIENT)).expect("a small policy");
    marks.push(limiter.change());
    for (index, mark) in marks.iter().enumerate() {
        assert!(!marks[..index].contains(mark), "the mark at {index}");
    }
    assert_eq!(limiter.clean(1 << 20), 0);
    assert_eq!(limiter.change(), marks[4]);
}
