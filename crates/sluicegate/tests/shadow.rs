//! T39 of the threat list: a rule that is tried changes nothing for anybody, and says what it would have done.

#![allow(clippy::panic, reason = "a test's way to fail")]

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method};
use sluicegate::policy::Policy;
use sluicegate::{Decision, Limiter, ManualClock, Mode, Outcome, Request, Secret};

const ENFORCED: &str = "
  - { name: all, key: [], limit: 20/s }
  - { name: each, key: ip, limit: 3/s, algorithm: sliding_window }
";

const TRIED: &str = "
  - { name: strict, key: ip, limit: 1/min, enforce: 0%, charge_refused: true }
  - { name: shared, key: [], limit: 2/min, enforce: 0%, algorithm: leaky_bucket }
  - { name: keyed, key: header.x-api-key, limit: 1/h, on_missing_key: refuse, enforce: 0% }
  - { name: priced, key: ip, limit: 5/h, cost: header.x-cost, enforce: 0% }
";

const GATEWAY: &str = "
gateway: { listen: 127.0.0.1:0, upstreams: { main: { servers: 127.0.0.1:9001 } }, shadow_header: x-shadow }";

fn policy(rules: &str) -> Policy {
    let text = format!("version: 1{GATEWAY}\nrules:{rules}");
    let (policy, _) = Policy::parse("policy.yaml", &text).unwrap_or_else(|faults| panic!("{faults}"));
    policy
}

fn limiter(policy: &Policy, clock: &Arc<ManualClock>) -> Limiter {
    Limiter::new(policy, &Secret::from_bytes([7; 32]), Arc::clone(clock)).expect("a small table")
}

/// What becomes of the request of this number, what enforced rules say of it, and what its sender is told.
fn ask(limiter: &Limiter, number: u8) -> (String, HeaderMap) {
    let mut headers = HeaderMap::new();
    if number.is_multiple_of(3) {
        headers.insert("x-cost", HeaderValue::from_static("no number"));
    }
    let request = Request {
        method: &Method::GET,
        host: "a.example",
        path: "/",
        query: "",
        peer: Some([192, 0, 2, number % 4].into()),
        headers: &headers,
    };
    let Outcome::Decided(decision) = limiter.decide(&request) else {
        panic!("nothing waits here")
    };
    let enforced = decision
        .report()
        .states()
        .iter()
        .filter(|state| state.mode == Mode::Enforced);
    let enforced: Vec<_> = enforced.map(|state| (state.remaining, state.retry())).collect();
    let mut told = HeaderMap::new();
    if let Some(refusal) = limiter.refusal(&request, &decision) {
        told = refusal.headers;
    } else {
        limiter.announce(None, decision.report(), &mut told);
    }
    let kind = match decision {
        Decision::Allow { .. } => "allow",
        Decision::Delay { .. } => "delay",
        _ => "deny",
    };
    let shadow = told
        .remove("x-shadow")
        .map(|value| HeaderMap::from_iter([(http::HeaderName::from_static("x-shadow"), value)]));
    (format!("{kind} {enforced:?} {told:?}"), shadow.unwrap_or_default())
}

#[test]
fn twins_with_and_without_rules_in_shadow_mode_treat_everybody_alike() {
    let clock = Arc::new(ManualClock::default());
    let (with, without) = (format!("{ENFORCED}{TRIED}"), policy(ENFORCED));
    let (with, without) = (limiter(&policy(&with), &clock), limiter(&without, &clock));
    for number in 0..200 {
        let (tried, told) = ask(&with, number);
        let (plain, nothing) = ask(&without, number);
        assert_eq!(tried, plain, "request {number}");
        assert!(nothing.is_empty() && !told.is_empty());
        clock.advance(std::time::Duration::from_millis(u64::from(number % 7) * 20));
    }
}

#[test]
fn a_whole_policy_in_shadow_mode_refuses_nobody_and_tells_what_it_would_have_done() {
    let clock = Arc::new(ManualClock::default());
    let mut policy = policy(ENFORCED);
    policy.shadow();
    let limiter = limiter(&policy, &clock);
    let answers: Vec<_> = (0..100).map(|_| ask(&limiter, 1)).collect();
    assert!(
        answers.iter().all(|(said, _)| said.starts_with("allow [] {}")),
        "{answers:?}"
    );
    let told = |at: usize| answers[at].1.get("x-shadow").and_then(|value| value.to_str().ok());
    assert_eq!(told(0), Some("\"all\";outcome=allow, \"each\";outcome=allow"));
    assert_eq!(told(99), Some("\"all\";outcome=deny, \"each\";outcome=deny"));
}

#[test]
fn a_misspelt_word_never_turns_a_limit_off() {
    for fields in [
        "shadow: \"flase\"",
        "shadow: false",
        "enforce: \"false\"",
        "enforced: 0%",
        "enforce: -1%",
        "enforce: 101%",
    ] {
        let text = format!("version: 1\nrules: [{{ name: a, key: ip, limit: 1/s, {fields} }}]\n");
        assert!(Policy::parse("policy.yaml", &text).is_err(), "{fields}");
    }
    let text = format!("version: 1{}\nrules: []\n", GATEWAY.replace("x-shadow", "retry-after"));
    assert!(Policy::parse("policy.yaml", &text).is_err());
}
