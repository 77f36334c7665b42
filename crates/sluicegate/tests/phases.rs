//! A request's phases: its head, its body, its wait, its response and its end, by a clock that stands until it is moved.

#![allow(clippy::panic, reason = "a test's way to fail")]

use std::sync::Arc;
use std::time::Duration;

use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use sluicegate::body::ReadFault;
use sluicegate::policy::Policy;
use sluicegate::{
    Admitted, BodyQuestion, Clock, Decision, Limiter, ManualClock, Outcome, Reason, Report, Request, Retry, Secret,
};

/// A limiter, and the clock it reads.
struct World {
    limiter: Limiter,
    clock: Arc<ManualClock>,
}

#[track_caller]
fn decided(outcome: Outcome) -> Decision {
    outcome.decided().expect("nothing here waits for a store")
}

impl World {
    #[track_caller]
    fn new(rules: &str) -> Self {
        let clock = Arc::new(ManualClock::default());
        clock.advance(Duration::from_hours(1));
        let secret = Secret::from_bytes([5; 32]);
        let limiter = Limiter::new(&policy(rules), &secret, Arc::clone(&clock)).expect("a small table");
        Self { limiter, clock }
    }

    fn outcome(&self, path: &str, headers: &[(&'static str, &str)]) -> Outcome {
        let mut lines = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("a value");
            lines.append(HeaderName::from_static(name), value);
        }
        self.limiter.decide(&Request {
            method: &Method::POST,
            host: "api.example",
            path,
            query: "",
            peer: Some([192, 0, 2, 1].into()),
            headers: &lines,
        })
    }

    /// Of a request that needs no body.
    #[track_caller]
    fn decide(&self, path: &str, headers: &[(&'static str, &str)]) -> Decision {
        match self.outcome(path, headers) {
            Outcome::Decided(decision) => decision,
            other => panic!("not decided by its head: {other:?}"),
        }
    }

    /// Of a request whose head passes, and which has to show its body.
    #[track_caller]
    fn question(&self, path: &str) -> BodyQuestion {
        match self.outcome(path, &[("content-type", "application/json")]) {
            Outcome::NeedsBody(question) => *question,
            other => panic!("nobody asks for the body: {other:?}"),
        }
    }

    #[track_caller]
    fn with_body(&self, path: &str, body: &str) -> Result<Decision, ReadFault> {
        let mut question = self.question(path);
        question.feed(body.as_bytes())?;
        Ok(decided(question.finish()?))
    }

    /// What the rule has left, seen by a request that is dropped again.
    #[track_caller]
    fn left(&self, rule: &str) -> u64 {
        let rule = self.limiter.engine().rule(rule).expect("a rule");
        match self.outcome("/look", &[]) {
            Outcome::Decided(decision) => remaining(decision.report(), rule),
            other => panic!("not decided by its head: {other:?}"),
        }
    }

    /// Units of a rule's permits and open reservations.
    fn held(&self, rule: &str) -> u64 {
        let engine = self.limiter.engine();
        let rule = engine.rule(rule).expect("a rule");
        engine.bucket(rule).expect("a bucket").held()
    }
}

fn policy(rules: &str) -> Policy {
    let text = format!("version: 1\nstate: {{memory: 1MiB, waiting: 2}}\nroutes:\n{ROUTES}rules:\n{rules}");
    let (policy, _) = Policy::parse("policy.yaml", &text).unwrap_or_else(|faults| panic!("{faults}"));
    policy
}

/// Where bodies are read, where they are not, and one where nothing but what is looked at applies.
const ROUTES: &str = "  - {name: body, path: /body}\n  - {name: head, path: /head}\n  - {name: look, path: /look}\n";

fn remaining(report: &Report, rule: sluicegate::RuleId) -> u64 {
    let state = report.states().iter().find(|state| state.rule == rule);
    state.expect("the rule applies").remaining
}

#[track_caller]
fn admitted(decision: Decision) -> Admitted {
    match decision {
        Decision::Allow { admitted, .. } | Decision::Delay { admitted, .. } => admitted,
        other => panic!("refused: {other:?}"),
    }
}

/// A response's head.
fn answer(status: u16, headers: &[(&str, &str)]) -> Parts {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(()).expect("a response").into_parts().0
}

const JSON: (&str, &str) = ("content-type", "application/json");

/// A whole response.
fn respond(mut admitted: Admitted, status: u16, headers: &[(&str, &str)], body: &str) {
    admitted.answered(&answer(status, headers));
    if admitted.reads_body() {
        admitted.feed(body.as_bytes());
    }
    admitted.finish();
}

// --- The body's phase -------------------------------------------------------------------------------------------------

const BY_BODY: &str =
    "  - {name: heads, key: [], limit: 3/h}\n  - {name: bodies, routes: [body], key: body./user, limit: 1/h}\n";

#[test]
fn a_client_that_its_head_refuses_is_never_asked_for_a_body() {
    let world = World::new(BY_BODY);
    for user in ["a", "b", "c"] {
        let decision = world.with_body("/body", &format!(r#"{{"user": "{user}"}}"#));
        assert!(decision.expect("a good body").passes());
    }
    assert!(matches!(
        world.decide("/body", &[]),
        Decision::Deny {
            reason: Reason::Limit,
            ..
        }
    ));
}

#[test]
fn what_the_head_took_comes_back_when_the_body_is_refused_by_every_algorithm() {
    for head in [
        "limit: 5/h",
        "limit: 5/s, algorithm: leaky_bucket, max_wait: 2s",
        "limit: 5/h, algorithm: fixed_window, rationale: a test",
        "limit: 5/h, algorithm: sliding_window",
        "limit: 5/h, algorithm: sliding_log",
        "limit: 5, algorithm: concurrency",
        "limit: 5/h, cost: {reserve: 1, settle: response.header.x-cost}",
        "limit: 5/h, exceed: {lock: 1h}",
        "limit: 5/h, enforce: 0%",
    ] {
        let world = World::new(&format!(
            "  - {{name: heads, key: [], {head}}}\n  - {{name: bodies, routes: [body], key: body./user, limit: 1/h}}\n"
        ));
        let one = r#"{"user": "alice"}"#;
        drop(world.with_body("/body", one).expect("a good body"));
        // The one look costs a unit itself; a permit and a place in a queue are back at once.
        let before = world.left("heads");
        for _ in 0..9 {
            assert!(!world.with_body("/body", one).expect("a good body").passes(), "{head}");
        }
        let step = u64::from(!head.contains("concurrency") && !head.contains("leaky"));
        assert_eq!(world.left("heads"), before - step, "{head}");
        assert_eq!(world.held("heads"), 0, "{head}");
    }
}

#[test]
fn what_the_head_took_comes_back_when_the_question_is_dropped_or_its_body_cannot_be_read() {
    let world = World::new(
        "  - {name: heads, key: [], limit: 9/h, algorithm: sliding_window}\n  - {name: streams, key: [], limit: 4, algorithm: concurrency}\n  - {name: bodies, routes: [body], key: body./user, limit: 1/h}\n",
    );
    let before = world.left("heads");
    drop(world.question("/body"));
    let mut question = world.question("/body");
    assert!(question.feed(br#"{"user": "a", "#).is_ok());
    assert_eq!(world.held("streams"), 1);
    assert!(question.finish().is_err(), "a body that is cut off");
    assert!(world.with_body("/body", "{]").is_err());
    assert!(world.with_body("/body", r#"{"user": "a", "user": "b"}"#).is_err());
    assert_eq!((world.left("heads"), world.held("streams")), (before - 1, 0));
}

#[test]
fn a_body_without_the_member_is_counted_as_the_rule_says() {
    for (on_missing_key, passing) in [("ip", 2), ("shared", 2), ("refuse", 0), ("skip", 9)] {
        let world = World::new(&format!(
            "  - {{name: bodies, routes: [body], key: body./user, limit: 2/h, on_missing_key: {on_missing_key}}}\n"
        ));
        let passed = (0..9).filter(|turn| match turn % 3 {
            // No body at all.
            0 => decided(world.question("/body").finish().expect("nothing to read")).passes(),
            1 => world
                .with_body("/body", r#"{"other": 1}"#)
                .expect("a good body")
                .passes(),
            _ => world
                .with_body("/body", r#"{"user": null}"#)
                .expect("a good body")
                .passes(),
        });
        assert_eq!(passed.count(), passing, "{on_missing_key}");
    }
}

#[test]
fn a_cost_that_is_no_number_of_units_is_a_bad_value_and_charges_nothing() {
    let rules = |enforce| {
        format!(
            "  - {{name: heads, key: [], limit: 9/h}}\n  - {{name: units, routes: [body], key: ip, limit: 5/h, cost: body./units, enforce: {enforce}}}\n"
        )
    };
    let (world, shadow) = (World::new(&rules("100%")), World::new(&rules("0%")));
    let before = world.left("heads");
    // As many as the shadow world's heads have room for.
    let shadow_units = ["-1", "1.5", "1e3"];
    for units in [
        "-1",
        "1.5",
        "1e3",
        "\"3\"",
        "true",
        "[1]",
        "18446744073709551616",
        "99999999999999999999999",
    ] {
        let body = format!(r#"{{"units": {units}}}"#);
        assert!(
            matches!(
                world.with_body("/body", &body),
                Ok(Decision::Deny {
                    reason: Reason::BadValue,
                    retry: Retry::Never,
                    ..
                })
            ),
            "{units}"
        );
        // A rule in shadow mode refuses nobody, whatever it reads.
        if shadow_units.contains(&units) {
            assert!(
                shadow.with_body("/body", &body).expect("a good body").passes(),
                "{units}"
            );
        }
    }
    assert!(
        world
            .with_body("/body", r#"{"units": 6}"#)
            .is_ok_and(|decision| !decision.passes())
    );
    assert!(
        world
            .with_body("/body", r#"{"units": 5}"#)
            .is_ok_and(|decision| decision.passes())
    );
    assert_eq!(world.left("heads"), before - 2);
}

/// Refused in its second phase, it once paid nothing in its first, whatever that said.
#[test]
fn a_penalty_of_the_head_stays_when_the_body_is_refused() {
    let world = World::new(
        "  - {name: heads, key: [], limit: 9/h, charge_refused: true}\n  - {name: others, key: [], limit: 90/h}\n  - {name: bodies, routes: [body], key: body./user, limit: 1/h}\n",
    );
    let passed = (0..5).filter(|_| {
        world
            .with_body("/body", r#"{"user": "a"}"#)
            .is_ok_and(|decision| decision.passes())
    });
    assert_eq!(passed.count(), 1);
    assert_eq!((world.left("heads"), world.left("others")), (3, 87));
}

/// Bodies that nobody could read were once free, whatever the head's rules said.
#[test]
fn a_penalty_of_the_head_stays_when_the_body_cannot_be_read() {
    let world = World::new(
        "  - {name: heads, key: [], limit: 9/h, charge_refused: true}\n  - {name: others, key: [], limit: 90/h}\n  - {name: bodies, routes: [body], key: body./user, limit: 1/h}\n",
    );
    for _ in 0..5 {
        assert!(matches!(
            world.with_body("/body", r#"{"user":"#),
            Err(ReadFault::CutOff)
        ));
    }
    assert_eq!((world.left("heads"), world.left("others")), (3, 88));
}

// --- The wait ---------------------------------------------------------------------------------------------------------

const QUEUED: &str = "  - {name: queue, key: [], limit: 1/s burst 9, algorithm: leaky_bucket, max_wait: 5s}\n";

#[track_caller]
fn delay(decision: &Decision) -> Duration {
    match decision {
        Decision::Allow { .. } => Duration::ZERO,
        Decision::Delay { after, .. } => *after,
        other => panic!("refused: {other:?}"),
    }
}

#[test]
fn no_more_wait_than_may_and_one_that_departs_or_leaves_makes_room() {
    let world = World::new(QUEUED);
    assert_eq!(delay(&world.decide("/head", &[])), Duration::ZERO);
    let first = world.decide("/head", &[]);
    let second = world.decide("/head", &[]);
    assert_eq!(
        (delay(&first), delay(&second), world.limiter.waiting()),
        (Duration::from_secs(1), Duration::from_secs(2), 2)
    );
    assert!(matches!(
        world.decide("/head", &[]),
        Decision::Deny {
            reason: Reason::Limit,
            retry: Retry::After(_),
            ..
        }
    ));
    // The refused one has left the queue again: who comes next stands where it stood.
    let mut first = admitted(first);
    world.clock.advance(Duration::from_secs(1));
    first.depart();
    assert_eq!(world.limiter.waiting(), 1);
    assert_eq!(delay(&world.decide("/head", &[])), Duration::from_secs(2));
    drop((first, second));
    assert_eq!(world.limiter.waiting(), 0);
}

#[test]
fn a_client_that_leaves_while_it_waits_gets_everything_back() {
    let world = World::new(&format!(
        "{QUEUED}  - {{name: spent, key: [], limit: 9/h, algorithm: sliding_log}}\n  - {{name: streams, key: [], limit: 4, algorithm: concurrency}}\n  - {{name: tokens, key: [], limit: 50/h, cost: {{reserve: 10, settle: response.header.x-cost}}}}\n"
    ));
    let first = admitted(world.decide("/head", &[]));
    let waiting = world.decide("/head", &[]);
    assert_eq!(
        (delay(&waiting), world.held("streams"), world.held("tokens")),
        (Duration::from_secs(1), 2, 20)
    );
    drop(waiting);
    assert_eq!(
        (world.limiter.waiting(), world.held("streams"), world.held("tokens")),
        (0, 1, 10)
    );
    respond(first, 200, &[("x-cost", "10")], "");
    let again = world.decide("/head", &[]);
    assert_eq!(delay(&again), Duration::from_secs(1), "the place is free again");
    let left: Vec<_> = again.report().states().iter().map(|state| state.remaining).collect();
    assert_eq!(left[1..], [7, 3, 30]);
}

/// Its wait once began anew when its body was there.
#[test]
fn the_time_that_a_body_takes_counts_as_waited() {
    let rules = format!("{QUEUED}  - {{name: bodies, routes: [body], key: body./user, limit: 3/h}}\n");
    let world = World::new(&rules);
    let body = r#"{"user": "a"}"#;
    let send = |world: &World, seconds| {
        let mut question = world.question("/body");
        question.feed(body.as_bytes()).expect("a good body");
        world.clock.advance(Duration::from_secs(seconds));
        decided(question.finish().expect("a good body"))
    };
    assert_eq!(delay(&send(&world, 0)), Duration::ZERO);
    let begun_at = world.clock.now();
    let second = send(&world, 0);
    assert_eq!(delay(&second), Duration::from_secs(1));
    assert_eq!(
        delay(&send(&world, 1)),
        Duration::from_secs(1),
        "two seconds in the queue, of which one is over"
    );
    assert_eq!(world.clock.now().saturating_since(begun_at), Duration::from_secs(1));
    // A body that takes longer than the wait: the request goes on at once.
    assert_eq!(delay(&send(&world, 9)), Duration::ZERO);
    assert!(!send(&world, 0).passes(), "three have passed that did not leave");
    drop(second);
}

/// What the body's rules took of a client that waited for its head's sake, and left, once stayed.
#[test]
fn a_client_that_leaves_while_its_head_lets_it_wait_gets_back_what_its_body_was_charged() {
    let rules = format!("{QUEUED}  - {{name: bodies, routes: [body], key: body./user, limit: 2/h}}\n");
    let world = World::new(&rules);
    let body = r#"{"user": "a"}"#;
    drop(world.decide("/head", &[]));
    for _ in 0..9 {
        let waiting = world.with_body("/body", body).expect("a good body");
        assert_eq!(delay(&waiting), Duration::from_secs(1));
        drop(waiting);
    }
    assert_eq!(world.limiter.waiting(), 0);
}

// --- The response -----------------------------------------------------------------------------------------------------

#[test]
fn a_cost_is_settled_by_a_header_by_a_member_and_by_the_last_event() {
    for (settle, headers, body) in [
        ("response.header.x-cost", vec![("x-cost", "7")], ""),
        (
            "response./usage/total",
            vec![JSON],
            r#"{"text": "…", "usage": {"total": 7}}"#,
        ),
        (
            "response./usage/total",
            vec![("content-type", "text/event-stream")],
            "data: {\"usage\": {\"total\": 3}}\n\ndata: {\"usage\": {\"total\": 7}}\n\ndata: [DONE]\n\n",
        ),
    ] {
        for (reserve, reserved) in [("20", 20), ("2", 2), ("0", 0)] {
            let world = World::new(&format!(
                "  - {{name: tokens, key: [], limit: 100/h, cost: {{reserve: {reserve}, settle: {settle}}}}}\n"
            ));
            let request = admitted(world.decide("/head", &[]));
            assert_eq!(world.held("tokens"), reserved);
            respond(request, 200, &headers, body);
            assert_eq!(world.held("tokens"), 0);
            assert_eq!(world.left("tokens"), 100 - 7 - reserved, "{settle}, {reserve} reserved");
        }
    }
}

/// How a response ends.
type End = fn(Admitted);

#[test]
fn what_a_response_does_not_tell_is_charged_as_reserved_and_a_cut_off_one_never_less() {
    let rules = "  - {name: tokens, key: [], limit: 100/h, cost: {reserve: 20, settle: response./total}}\n";
    let ends: [(&str, End); 5] = [
        ("never answered", drop),
        ("without the member", |admitted| {
            respond(admitted, 200, &[JSON], r#"{"other": 1}"#);
        }),
        ("no number", |admitted| {
            respond(admitted, 200, &[JSON], r#"{"total": "many"}"#);
        }),
        ("under an encoding", |admitted| {
            respond(admitted, 200, &[JSON, ("content-encoding", "br")], "");
        }),
        ("cut off after the member", |mut admitted| {
            admitted.answered(&answer(200, &[JSON]));
            admitted.feed(br#"{"total": 1, "#);
        }),
    ];
    for (name, end) in ends {
        let world = World::new(rules);
        end(admitted(world.decide("/head", &[])));
        assert_eq!(world.held("tokens"), 0, "{name}");
        assert_eq!(
            world.left("tokens"),
            60,
            "{name}: twenty of it and twenty of the one that looks"
        );
    }
}

const FAILURES: &str = "  - {name: guesses, routes: [head], key: header.x-user, limit: 5 per 15min, count: failures, on_success: clear, exceed: {lock: 30min}}\n";
const ALICE: (&str, &str) = ("x-user", "alice");

#[test]
fn failures_stay_as_those_who_leave_do_and_other_answers_give_back() {
    let world = World::new(FAILURES);
    let guess = || admitted(world.decide("/head", &[ALICE]));
    // The server's failure, a redirection to nowhere, and what is the client's fault but no wrong guess.
    for status in [500, 503, 404, 400] {
        respond(guess(), status, &[], "");
    }
    let (one, two) = (guess(), guess());
    drop(one);
    respond(two, 401, &[], "");
    respond(guess(), 403, &[], "");
    let mut heads = Vec::new();
    while let Decision::Allow { admitted, .. } = world.decide("/head", &[ALICE]) {
        heads.push(admitted);
    }
    assert_eq!((heads.len(), world.held("guesses")), (2, 2), "two of five are left");
}

#[test]
fn a_success_clears_the_accounts_failures_but_not_what_others_have_open() {
    let world = World::new(FAILURES);
    let guess = || admitted(world.decide("/head", &[ALICE]));
    for _ in 0..3 {
        respond(guess(), 401, &[], "");
    }
    let (open, owner) = (guess(), guess());
    respond(owner, 200, &[], "");
    let mut heads = Vec::new();
    while let Decision::Allow { admitted, .. } = world.decide("/head", &[ALICE]) {
        heads.push(admitted);
    }
    assert_eq!(heads.len(), 4, "four beside the one that is open");
    respond(open, 401, &[], "");
}

#[test]
fn the_last_allowed_failure_locks_and_attempts_meanwhile_do_not_lengthen_it() {
    let world = World::new(FAILURES);
    for _ in 0..5 {
        respond(admitted(world.decide("/head", &[ALICE])), 401, &[], "");
    }
    let wait = |decision| match decision {
        Decision::Deny {
            retry: Retry::After(wait),
            ..
        } => wait.as_secs(),
        other => panic!("not locked: {other:?}"),
    };
    assert_eq!(wait(world.decide("/head", &[ALICE])), 30 * 60);
    world.clock.advance(Duration::from_mins(29));
    for _ in 0..9 {
        assert_eq!(wait(world.decide("/head", &[ALICE])), 60);
    }
    assert!(world.decide("/head", &[("x-user", "bob")]).passes());
    world.clock.advance(Duration::from_mins(1));
    // As never seen.
    let open: Vec<_> = (0..9)
        .map(|_| world.decide("/head", &[ALICE]))
        .filter(Decision::passes)
        .collect();
    assert_eq!(open.len(), 5);
}

/// What was refused because of attempts that are still open is a plain refusal.
#[test]
fn parallel_guesses_never_beat_the_limit_and_open_ones_start_no_lock() {
    let world = World::new(FAILURES);
    let mut open = Vec::new();
    while let Decision::Allow { admitted, .. } = world.decide("/head", &[ALICE]) {
        open.push(admitted);
    }
    assert_eq!(open.len(), 5);
    for guess in open.drain(1..) {
        respond(guess, 404, &[], "");
    }
    assert!(world.decide("/head", &[ALICE]).passes(), "nothing has locked");
}

#[test]
fn a_failure_told_by_a_member_or_a_header_is_one_whatever_the_status() {
    let world = World::new(
        "  - {name: guesses, routes: [head], key: ip, limit: 3/h, count: failures, failed_when: [response./error, response.header.x-error]}\n",
    );
    let guess = || admitted(world.decide("/head", &[]));
    respond(guess(), 200, &[JSON], r#"{"error": false}"#);
    respond(guess(), 401, &[JSON], r#"{"ok": true}"#);
    respond(guess(), 200, &[JSON, ("x-error", "")], "{}");
    respond(guess(), 200, &[JSON], r#"{"error": "wrong"}"#);
    let mut cut_off = guess();
    cut_off.answered(&answer(200, &[JSON]));
    cut_off.feed(br#"{"ok": tr"#);
    drop(cut_off);
    assert!(
        !world.decide("/head", &[]).passes(),
        "three have failed, the one that was cut off among them"
    );
}

// --- Another policy meanwhile -----------------------------------------------------------------------------------------

#[test]
fn a_permit_taken_under_one_policy_is_released_under_another_and_leaves_none_held() {
    let streams = |limit| format!("  - {{name: streams, key: ip, limit: {limit}, algorithm: concurrency}}\n");
    let world = World::new(&streams("3"));
    let first = [world.decide("/head", &[]), world.decide("/head", &[])];
    for limit in ["1", "20", "5"] {
        world.limiter.replace(&policy(&streams(limit))).expect("a good policy");
        assert_eq!(world.held("streams"), 2, "still held at a limit of {limit}");
        assert_eq!(world.decide("/head", &[]).passes(), limit != "1");
    }
    drop(first);
    assert_eq!(world.held("streams"), 0);
    let all: Vec<_> = (0..9)
        .map(|_| world.decide("/head", &[]))
        .filter(Decision::passes)
        .collect();
    assert_eq!((all.len(), world.held("streams")), (5, 5));
    drop(all);
    assert_eq!(world.held("streams"), 0);
}

#[test]
fn a_reservation_made_under_one_policy_is_settled_under_another() {
    let tokens = |limit| {
        format!(
            "  - {{name: tokens, key: [], limit: {limit}, cost: {{reserve: 20, settle: response.header.x-cost}}}}\n"
        )
    };
    let world = World::new(&tokens("100/h"));
    let request = admitted(world.decide("/head", &[]));
    world.limiter.replace(&policy(&tokens("60/h"))).expect("a good policy");
    respond(request, 200, &[("x-cost", "5")], "");
    assert_eq!((world.held("tokens"), world.left("tokens")), (0, 60 - 5 - 20));
}

#[test]
fn a_question_asked_under_one_policy_is_answered_by_it_and_charged_to_the_next() {
    let world = World::new(BY_BODY);
    let mut question = world.question("/body");
    question.feed(br#"{"user": "a"}"#).expect("a good body");
    world
        .limiter
        .replace(&policy(&BY_BODY.replace("3/h", "9/h")))
        .expect("a good policy");
    assert!(decided(question.finish().expect("a good body")).passes());
    assert_eq!(world.left("heads"), 7, "one before and one that looks, of nine");
    assert!(
        !world
            .with_body("/body", r#"{"user": "a"}"#)
            .expect("a good body")
            .passes()
    );
}
