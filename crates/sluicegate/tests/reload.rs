//! Policies that take each other's place while requests are decided.

#![allow(clippy::panic, reason = "a test's way to fail")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use http::{HeaderMap, Method};
use sluicegate::policy::{FieldFault, Policy, PolicyText};
use sluicegate::{Decision, Limiter, ManualClock, Outcome, Request, Secret};

fn policy(text: &str) -> Policy {
    let (policy, _) = Policy::parse("test", text).expect("no faults");
    policy
}

fn limiter(text: &str) -> Limiter {
    let clock = Arc::new(ManualClock::default());
    Limiter::new(&policy(text), &Secret::from_bytes([7; 32]), clock).expect("a small table")
}

fn ask(limiter: &Limiter, path: &str) -> Decision {
    let headers = HeaderMap::new();
    let peer: Option<IpAddr> = Some(Ipv4Addr::LOCALHOST.into());
    let request = Request {
        method: &Method::GET,
        host: "h",
        path,
        query: "",
        peer,
        headers: &headers,
    };
    match limiter.decide(&request) {
        Outcome::Decided(decision) => decision,
        _ => panic!("nothing reads a body here"),
    }
}

/// Requests by route and outcome, and decisions by rule; what is zero is left out.
fn counted(limiter: &Limiter) -> BTreeMap<String, u64> {
    let engine = limiter.engine();
    let (rules, routes): (Vec<_>, Vec<_>) = (engine.rule_names().collect(), engine.route_names().collect());
    let mut counted = BTreeMap::new();
    for count in engine.metrics().requests() {
        let route = count.route.map_or("-", |route| routes[route.index()]);
        *counted
            .entry(format!("{route} {}", count.outcome.as_str()))
            .or_default() += count.count;
    }
    for count in engine.metrics().rules() {
        *counted
            .entry(format!("{}: {}", rules[count.rule], count.outcome.as_str()))
            .or_default() += count.count;
    }
    counted.retain(|_, count| *count > 0);
    counted
}

#[track_caller]
fn assert_counted(limiter: &Limiter, expected: &[(&str, u64)]) {
    let expected = expected
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect();
    assert_eq!(counted(limiter), expected);
}

#[test]
fn counters_go_on_under_their_names_when_rules_and_routes_are_numbered_anew() {
    let limiter = limiter(
        "version: 1\nstate: { memory: 1MiB }\nroutes:\n  - { name: a, path: /a }\n  - { name: b, path: /b }\nrules:\n  \
         - { name: all, key: ip, limit: 3 per 1d }\n  - { name: of-b, key: ip, routes: b, limit: 9 per 1d }\n",
    );
    for path in ["/a", "/b", "/b", "/b", "/c"] {
        let _ = ask(&limiter, path);
    }
    assert_counted(
        &limiter,
        &[
            ("- deny", 1),
            ("a allow", 1),
            ("all: allow", 3),
            ("all: deny", 2),
            ("b allow", 2),
            ("b deny", 1),
            ("of-b: allow", 3),
        ],
    );
    let turned = policy(
        "version: 1\nstate: { memory: 1MiB }\nroutes:\n  - { name: new, path: /new }\n  - { name: b, path: /b }\n  - { name: a, path: /a }\nrules:\n  \
         - { name: of-b, key: ip, routes: b, limit: 9 per 1d }\n  - { name: all, key: ip, limit: 3 per 1d }\n",
    );
    for _ in 0..20 {
        limiter.replace(&turned).expect("it fits");
    }
    let _ = ask(&limiter, "/b");
    let _ = ask(&limiter, "/new");
    assert_counted(
        &limiter,
        &[
            ("- deny", 1),
            ("a allow", 1),
            ("all: allow", 3),
            ("all: deny", 4),
            ("b allow", 2),
            ("b deny", 2),
            ("new deny", 1),
            ("of-b: allow", 4),
        ],
    );
}

/// I4: whoever asks while policies change is decided once and counted once.
#[test]
fn every_decision_is_counted_once_however_often_policies_change_meanwhile() {
    let text = |limit: u32| {
        format!("version: 1\nstate: {{ memory: 1MiB }}\nrules:\n  - {{ name: all, key: ip, limit: {limit}/s }}\n")
    };
    let limiter = limiter(&text(5));
    let (asked, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _ = ask(&limiter, "/");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for turn in 0..200 {
            limiter.replace(&policy(&text(1 + turn % 7))).expect("it fits");
        }
        done.store(true, Ordering::Relaxed);
    });
    let counted = counted(&limiter);
    let sum = |of: &str| -> u64 {
        let counts = counted.iter().filter(|(name, _)| name.starts_with(of));
        counts.map(|(_, count)| count).sum()
    };
    assert_eq!(
        (sum("-"), sum("all:")),
        (asked.load(Ordering::Relaxed), asked.load(Ordering::Relaxed))
    );
}

#[test]
fn a_policy_is_published_before_anything_is_decided_by_it() {
    let text = "version: 1\nstate: { memory: 1MiB }\nrules:\n  - { name: all, key: ip, limit: 1000000/s }\n";
    let limiter = limiter(text);
    let (published, done) = (AtomicU32::new(1), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if let Decision::Allow { admitted, .. } = ask(&limiter, "/") {
                    assert!(admitted.generation() <= published.load(Ordering::SeqCst));
                }
            }
        });
        for expected in 2..300 {
            let publish = |generation| {
                assert_eq!(generation, expected);
                published.store(generation, Ordering::SeqCst);
            };
            limiter.replace_after(&policy(text), publish).expect("it fits");
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_fault_that_shows_beside_something_else_gets_its_line() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, "version: 1\nstate:\n  memory: 1MiB\nrules: []\n").expect("a file of ours");
    let text = PolicyText::read(&path).expect("it is there");
    assert!(text.faults(Vec::new()).is_none());
    let fault = |field| FieldFault {
        field,
        problem: "p".to_owned(),
        remedy: "r".to_owned(),
    };
    let found = vec![
        fault(&["gateway", "listen"]),
        fault(&["state", "memory"]),
        fault(&["state", "split"]),
    ];
    let faults = text.faults(found).expect("three faults");
    let found: Vec<_> = faults
        .iter()
        .map(|fault| (fault.place.as_str(), fault.line, fault.column))
        .collect();
    assert_eq!(
        found,
        [("gateway.listen", 1, 1), ("state.split", 3, 3), ("state.memory", 3, 11)]
    );
}

#[test]
fn the_same_content_has_the_same_fingerprint_and_no_other_has() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let read = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("a file of ours");
        PolicyText::read(&path).expect("it is there").fingerprint()
    };
    let one = read("a", "version: 1\n");
    assert_eq!(one, read("b", "version: 1\n"));
    assert_ne!(one, read("c", "version: 1 \n"));
}
