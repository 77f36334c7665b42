//! Asking by the library: what a program counts by, which rules it asks, and what it is told.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use proptest::prelude::*;
use sluicegate::policy::Policy;
use sluicegate::{
    Algorithm, Align, AskError, BuildError, Builder, Cost, Decision, Limiter, ManualClock, Mode, Outcome, Request,
    Retry, Rule, Secret,
};

/// A limiter whose clock stands until it is moved.
fn build(builder: Builder) -> (Limiter, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let builder = builder.memory(4 << 20).secret(Secret::from_bytes([5; 32]));
    let limiter = builder.clock(Arc::clone(&clock)).build().expect("sound rules");
    (limiter, clock)
}

/// How many of `count` checks pass.
#[track_caller]
fn passing(limiter: &Limiter, rule: &str, key: &str, count: usize) -> usize {
    (0..count)
        .filter(|_| limiter.check(rule, key).expect("the rule").passes())
        .count()
}

fn policy(text: &str) -> Policy {
    Policy::parse("policy.yaml", text).expect("a good policy").0
}

fn from_policy(text: &str) -> Limiter {
    let clock = Arc::new(ManualClock::default());
    Limiter::new(&policy(text), &Secret::from_bytes([5; 32]), clock).expect("a small table")
}

#[test]
fn a_limiter_is_made_and_asked_without_a_file() {
    let (limiter, clock) = build(Limiter::builder().limit("emails", "10/h").limit("withdrawals", "3/d"));
    assert_eq!(passing(&limiter, "emails", "alice", 50), 10);
    assert_eq!(passing(&limiter, "emails", "bob", 50), 10);
    assert_eq!(passing(&limiter, "withdrawals", "alice", 50), 3);
    let refused = limiter.check("emails", "alice").expect("the rule");
    assert_eq!(
        (refused.fits(), refused.remaining(), refused.mode()),
        (false, 0, Mode::Enforced)
    );
    let Some(Retry::After(wait)) = refused.retry() else {
        unreachable!("it says when")
    };
    clock.advance(wait.saturating_sub(Duration::from_nanos(2)));
    assert_eq!(passing(&limiter, "emails", "alice", 1), 0);
    clock.advance(Duration::from_nanos(2));
    assert_eq!(passing(&limiter, "emails", "alice", 2), 1);
}

#[test]
fn every_algorithm_is_offered_without_a_file() {
    let rule = |name: &str, algorithm| Rule::named(name).limit("3/min").algorithm(algorithm);
    let first_hit = Algorithm::FixedWindow { align: Align::FirstHit };
    let leaky = Algorithm::LeakyBucket {
        max_wait: Duration::from_mins(1),
        free: 1,
    };
    let (limiter, clock) = build(
        Limiter::builder()
            .rule(rule("fixed", Algorithm::FixedWindow { align: Align::Epoch }))
            .rule(rule("first", first_hit))
            .rule(rule("sliding", Algorithm::SlidingWindow))
            .rule(rule("log", Algorithm::SlidingLog))
            .rule(rule("leaky", leaky))
            .rule(Rule::named("locked").limit("3/min").lock(Duration::from_mins(10))),
    );
    for name in ["fixed", "first", "sliding", "log", "leaky", "locked"] {
        assert_eq!(passing(&limiter, name, "alice", 10), 3, "{name}");
    }
    clock.advance(Duration::from_mins(2));
    for name in ["fixed", "first", "sliding", "log", "leaky"] {
        assert_eq!(passing(&limiter, name, "alice", 10), 3, "{name}");
    }
    assert_eq!(passing(&limiter, "locked", "alice", 10), 0);
}

#[test]
fn a_place_in_a_queue_tells_its_wait() {
    let algorithm = Algorithm::LeakyBucket {
        max_wait: Duration::from_millis(250),
        free: 0,
    };
    let (limiter, _) = build(Limiter::builder().rule(Rule::named("outbound").limit("10/s").algorithm(algorithm)));
    let ask = || limiter.check("outbound", "mail.example").expect("the rule");
    let waits = [(); 3].map(|()| ask().delay().as_millis());
    assert_eq!(waits, [0, 100, 200]);
    let refused = ask();
    assert!(!refused.passes() && refused.delay().is_zero());
    assert_eq!(refused.retry(), Some(Retry::After(Duration::from_millis(50))));
}

#[test]
fn nothing_that_a_file_may_not_say_can_be_built_and_each_fault_names_its_rule() {
    let faults = |rule: Rule| match Limiter::builder().rule(rule).build() {
        Err(BuildError::Rules(faults)) => faults.to_string(),
        other => unreachable!("{other:?}"),
    };
    let check = |rule: Rule, said: &str| {
        let found = faults(rule);
        assert!(found.starts_with(said), "{found}\n does not begin with\n{said}");
    };
    let named = || Rule::named("emails");
    check(named(), "rule \"emails\": the field `limit` is missing; add `limit:`");
    check(
        named().limit("10/fortnight"),
        "rule \"emails\": limit: \"10/fortnight\" is not a limit: no such unit of time",
    );
    check(named().limit("0/s"), "rule \"emails\": limit: ");
    check(
        named().limit(20),
        "rule \"emails\": limit: \"20\" is not a limit: the period is missing",
    );
    check(named().permits(0), "rule \"emails\": limit: ");
    check(named().limit("5/s").enforce(101), "rule \"emails\": enforce: ");
    check(
        named().limit("5/s").lock(Duration::from_micros(1_500)),
        "rule \"emails\": exceed[0].lock: ",
    );
    check(
        named().limit("5/s").algorithm(Algorithm::SlidingLog).settles(),
        "rule \"emails\": cost.settle: a cost that is put right later does not go with this algorithm",
    );
    check(named().limit("5/s").key(["cookie"]), "rule \"emails\": key[0]: ");
    check(
        named().limit("5/s").key(["program", "ip"]),
        "rule \"emails\": key: `program` stands for the whole key",
    );
    check(
        named().limit("5/s").key(["ip"]).settles(),
        "rule \"emails\": cost: no program asks by this rule",
    );
    check(Rule::named("e\u{fc}").limit("5/s"), "rule \"e\u{fc}\": name: ");
    check(Rule::named("").limit("5/s"), "rule \"\": name: ");

    let twice = Limiter::builder().limit("a", "1/s").limit("a", "2/s").memory(1).build();
    let Err(BuildError::Rules(faults)) = twice else {
        unreachable!("two rules of one name")
    };
    let found: Vec<_> = faults.iter().map(|fault| fault.place.as_str()).collect();
    assert_eq!(found, ["state.memory", "rules[1].name"]);
    assert!(faults.to_string().contains("state.memory: \"1B\" is below the least"));
}

#[test]
fn a_rule_in_code_is_the_rule_that_a_file_has() {
    let yaml = "version: 1\nrules:\n  \
                - {name: \"7\", key: program, limit: 5 per 15min, count: failures, on_success: clear, exceed: {lock: 15min}}\n  \
                - {name: streams, key: program, limit: 20, algorithm: concurrency, enforce: 50%}\n  \
                - {name: tokens, key: program, limit: 20k/min, cost: {reserve: 1, settle: program}, overflow: closed}\n";
    let file = from_policy(yaml);
    let (code, _) = build(
        Limiter::builder()
            .rule(
                Rule::named("7")
                    .limit("1/s")
                    .limit("5 per 15min")
                    .count_failures()
                    .on_success(sluicegate::OnSuccess::Clear)
                    .lock(Duration::from_mins(15)),
            )
            .rule(Rule::named("streams").permits(20).enforce(50))
            .rule(Rule::named("tokens").limit("20k/min").settles().overflow("closed")),
    );
    let (file, code) = (file.engine(), code.engine());
    for name in ["7", "streams", "tokens"] {
        let [one, other] = [&file, &code].map(|engine| {
            let rule = engine.rule(name).expect("the rule");
            let bucket = engine.bucket(rule).expect("its bucket");
            (
                bucket.identity(),
                *bucket.meter(),
                bucket.overflow_meter().copied(),
                engine.enforce(rule),
            )
        });
        assert_eq!(one, other, "{name}");
    }
}

#[test]
fn an_unknown_rule_is_an_error_and_not_a_decision() {
    let (limiter, _) = build(
        Limiter::builder()
            .limit("emails", "10/h")
            .rule(Rule::named("streams").permits(1)),
    );
    let unknown = AskError::UnknownRule {
        name: "e-mails".to_owned(),
    };
    assert_eq!(limiter.check("e-mails", "alice"), Err(unknown.clone()));
    assert_eq!(limiter.rule("e-mails").err(), Some(unknown.clone()));
    assert_eq!(limiter.acquire("e-mails", "alice").err(), Some(unknown.clone()));
    assert_eq!(limiter.attempt("e-mails", "alice").err(), Some(unknown.clone()));
    assert_eq!(limiter.reserve("e-mails", "alice").take().err(), Some(unknown.clone()));
    let all = limiter.check_all(&[("emails", &"alice", 1), ("e-mails", &"alice", 1)]);
    assert_eq!(all.err(), Some(unknown.clone()));
    let many = limiter.check_many("e-mails", ["alice"], |_, _| unreachable!("nobody is asked"));
    assert_eq!(many, Err(unknown));
    assert_eq!(passing(&limiter, "emails", "alice", 20), 10, "nothing was charged");
}

#[test]
fn a_rule_that_is_asked_the_wrong_way_says_which_is_right() {
    let leaky = Algorithm::LeakyBucket {
        max_wait: Duration::from_secs(1),
        free: 0,
    };
    let (limiter, _) = build(
        Limiter::builder()
            .limit("emails", "10/h")
            .rule(Rule::named("streams").permits(1))
            .rule(Rule::named("leaky").limit("10/s").algorithm(leaky))
            .rule(Rule::named("log").limit("10/s").algorithm(Algorithm::SlidingLog)),
    );
    let name = || "streams".to_owned();
    assert_eq!(
        limiter.check("streams", "a"),
        Err(AskError::GivesPermits { name: name() })
    );
    let many = limiter.check_many("streams", ["a"], |_, _| unreachable!("nobody is asked"));
    assert_eq!(many, Err(AskError::GivesPermits { name: name() }));
    for rule in ["streams", "leaky", "log"] {
        let name = rule.to_owned();
        assert_eq!(
            limiter.reserve(rule, "a").take().err(),
            Some(AskError::CannotSettle { name })
        );
    }
    let name = || "emails".to_owned();
    assert_eq!(
        limiter.acquire("emails", "a").err(),
        Some(AskError::GivesNoPermits { name: name() })
    );
    assert_eq!(
        limiter.attempt("emails", "a").err(),
        Some(AskError::CountsAttempts { name: name() })
    );
    assert!(limiter.acquire("streams", "a").expect("the rule").is_granted());
}

/// A reload numbers the rules anew.
#[test]
fn a_handle_keeps_to_its_rule_when_the_policy_changes() {
    let limiter = from_policy(
        "version: 1\nrules:\n  - {name: a, key: program, limit: 1/h}\n  - {name: b, key: program, limit: 5/h}\n",
    );
    let b = limiter.rule("b").expect("the rule");
    assert!(limiter.check(&b, "x").expect("the rule").passes());
    let next = policy(
        "version: 1\nrules:\n  - {name: b, key: program, limit: 5/h}\n  - {name: c, key: program, limit: 1/h}\n",
    );
    limiter.replace(&next).expect("a small policy");
    let other = b.clone();
    assert_eq!(limiter.check(&b, "x").expect("the rule").remaining(), 3);
    assert_eq!(limiter.check(&other, "x").expect("the rule").remaining(), 2);
    limiter
        .replace(&policy("version: 1\nrules: []\n"))
        .expect("a small policy");
    let gone = AskError::UnknownRule { name: "b".to_owned() };
    assert_eq!(limiter.check(&b, "x"), Err(gone));
}

#[test]
fn a_threads_own_limiter_decides_by_the_policy_in_force() {
    let limiter = Arc::new(from_policy(
        "version: 1\nrules:\n  - {name: a, key: program, limit: 1/h}\n  - {name: all, key: [], limit: 9/h}\n",
    ));
    let mine = limiter.local();
    let its = mine.clone();
    let a = mine.rule("a").expect("the rule");
    assert!(mine.check(&a, "x").expect("the rule").passes());
    assert!(!limiter.check(&a, "x").expect("the rule").passes());
    let next =
        policy("version: 1\nrules:\n  - {name: b, key: program, limit: 5/h}\n  - {name: all, key: [], limit: 9/h}\n");
    limiter.replace(&next).expect("a small policy");
    let gone = AskError::UnknownRule { name: "a".to_owned() };
    assert_eq!(mine.check(&a, "x"), Err(gone));
    std::thread::scope(|scope| {
        let asked = scope.spawn(move || its.check_cost("b", "x", 2).map(|check| check.remaining()));
        assert_eq!(asked.join().expect("no panic"), Ok(3));
    });
    let mut left = Vec::new();
    mine.check_many("b", ["x", "y"], |_, check| left.push(check.remaining()))
        .expect("the rule");
    assert_eq!(left, [2, 4]);
    let (method, headers) = (Method::GET, HeaderMap::new());
    let Outcome::Decided(decision) = mine.decide(&Request {
        method: &method,
        host: "api.example",
        path: "/",
        query: "",
        peer: None,
        headers: &headers,
    }) else {
        unreachable!("no rule needs a body")
    };
    assert_eq!(decision.report().generation(), 2);
    assert_eq!(decision.report().states()[0].remaining, 8);
}

#[test]
fn a_batch_goes_on_when_the_policy_changes_meanwhile() {
    let limits = |limit: &str| {
        policy(&format!(
            "version: 1\nrules: [{{name: a, key: program, limit: {limit}}}]\n"
        ))
    };
    let limiter = Arc::new(from_policy(
        "version: 1\nrules: [{name: a, key: program, limit: 3/h}]\n",
    ));
    let mine = limiter.local();
    let mut left = Vec::new();
    mine.check_many("a", ["x", "y"], |key, check| {
        left.push(check.remaining());
        if key == "x" {
            limiter.replace(&limits("9/h")).expect("a small policy");
            // Asked in between, it decides too.
            assert!(mine.check("a", "z").expect("the rule").passes());
        }
    })
    .expect("the rule");
    // The rule's state is the new limit's by then.
    assert_eq!(left, [2, 8]);
    assert_eq!(mine.check("a", "fresh").expect("the rule").remaining(), 8);
}

#[test]
fn a_handle_of_another_limiter_means_the_rule_of_that_name_here() {
    let (one, _) = build(Limiter::builder().limit("a", "1/h").limit("b", "1/h").limit("c", "9/h"));
    let (other, _) = build(Limiter::builder().limit("c", "5/h"));
    let c = one.rule("c").expect("the rule");
    assert_eq!(one.check(&c, "x").expect("the rule").remaining(), 8);
    assert_eq!(other.check(&c, "x").expect("the rule").remaining(), 4);
    assert_eq!(one.check(&c, "x").expect("the rule").remaining(), 7);
}

#[test]
fn an_address_is_the_client_that_requests_from_there_are() {
    let limiter = from_policy(
        "version: 1\nrules:\n  - {name: each, key: ip, limit: 2/h}\n  - {name: all, key: [], limit: 9/h}\n",
    );
    let address: IpAddr = "2001:db8::1".parse().expect("an address");
    let neighbour: IpAddr = "2001:db8::2".parse().expect("an address");
    let request = Request {
        method: &Method::GET,
        host: "api.example",
        path: "/",
        query: "",
        peer: Some(address),
        headers: &HeaderMap::new(),
    };
    assert!(matches!(
        limiter.decide(&request),
        Outcome::Decided(Decision::Allow { .. })
    ));
    assert_eq!(limiter.check("each", neighbour).expect("the rule").remaining(), 0);
    assert!(matches!(
        limiter.decide(&request),
        Outcome::Decided(Decision::Deny { .. })
    ));
    // A rule without a key has one cell, whoever asks.
    assert_eq!(limiter.check("all", "anyone").expect("the rule").remaining(), 7);
    assert_eq!(limiter.check("all", ()).expect("the rule").remaining(), 6);
}

#[test]
fn a_rule_for_programs_is_met_by_no_request() {
    let rules = (0..40).map(|number| format!("  - {{name: r{number}, key: program, limit: 1/h}}"));
    let rules: Vec<String> = rules.collect();
    let limiter = from_policy(&format!("version: 1\nrules:\n{}", rules.join("\n")));
    for _ in 0..3 {
        let request = Request {
            method: &Method::GET,
            host: "api.example",
            path: "/",
            query: "",
            peer: None,
            headers: &HeaderMap::new(),
        };
        let Outcome::Decided(decision) = limiter.decide(&request) else {
            unreachable!("no rule needs a body")
        };
        assert!(decision.passes() && decision.report().states().is_empty());
    }
    assert_eq!(passing(&limiter, "r39", "x", 3), 1);
}

#[test]
fn a_rule_in_shadow_mode_lets_a_program_pass_and_says_what_it_would_have_said() {
    let (limiter, _) = build(Limiter::builder().rule(Rule::named("new").limit("1/h").enforce(0)));
    let first = limiter.check("new", "x").expect("the rule");
    let second = limiter.check("new", "x").expect("the rule");
    assert_eq!((first.mode(), first.passes(), first.fits()), (Mode::Shadow, true, true));
    assert_eq!((second.passes(), second.fits()), (true, false));
}

#[test]
fn a_laxer_rule_of_a_shared_bucket_is_asked_by_its_own_threshold() {
    let (limiter, _) = build(
        Limiter::builder()
            .rule(Rule::named("strict").limit("1/h burst 2").bucket("both"))
            .rule(Rule::named("lax").limit("1/h burst 5").bucket("both")),
    );
    assert_eq!(passing(&limiter, "strict", "x", 9), 2);
    assert_eq!(passing(&limiter, "lax", "x", 9), 3);
}

#[test]
fn several_rules_are_charged_together_or_not_at_all() {
    let (limiter, _) = build(
        Limiter::builder()
            .limit("per-user", "2/h")
            .limit("per-key", "5/h")
            .rule(Rule::named("streams").permits(3)),
    );
    let ask = |user: &str| {
        let user = user.to_owned();
        limiter
            .check_all(&[
                ("per-user", &("acme", &user), 1),
                ("per-key", &"acme", 1),
                ("streams", &(), 1),
            ])
            .expect("the rules")
    };
    let held: Vec<Decision> = ["ann", "ann", "ann", "bob"].map(ask).into();
    let passed: Vec<bool> = held.iter().map(Decision::passes).collect();
    assert_eq!(passed, [true, true, false, true]);
    let report: Vec<_> = held[2]
        .report()
        .states()
        .iter()
        .map(|state| (state.passes(), state.remaining))
        .collect();
    assert_eq!(report, [(false, 0), (true, 3), (true, 1)]);
    // All permits are out, and nothing else of the refused question stays charged.
    assert!(!ask("cem").passes());
    drop(held);
    assert!(ask("cem").passes());
    assert_eq!(
        limiter.check_cost("per-key", "acme", 0).expect("the rule").remaining(),
        1
    );
}

#[test]
fn more_rules_in_one_question_than_a_decision_holds_are_an_error() {
    let (limiter, _) = build(Limiter::builder().limit("a", "9/h").rule(Rule::named("p").permits(9)));
    let one: (&str, &dyn sluicegate::Key, u64) = ("a", &"x", 1);
    let held: (&str, &dyn sluicegate::Key, u64) = ("p", &"x", 1);
    assert_eq!(
        limiter.check_all(&[one; 17]).err(),
        Some(AskError::TooManyAtOnce { asked: 17 })
    );
    assert_eq!(
        limiter.check_all(&[held; 5]).err(),
        Some(AskError::TooManyHeld { asked: 5 })
    );
    assert!(limiter.check_all(&[]).expect("nothing to refuse").passes());
    assert_eq!(passing(&limiter, "a", "x", 20), 9);
}

#[test]
fn many_keys_are_answered_in_their_order_as_one_by_one() {
    let rules = || {
        Limiter::builder()
            .limit("each", "2/h")
            .rule(Rule::named("all").limit("5/h").key([] as [&str; 0]))
    };
    let keys: Vec<u64> = (0..1_000u64).map(|number| number * number % 357).collect();
    for rule in ["each", "all"] {
        let (one_by_one, _) = build(rules());
        let (together, _) = build(rules());
        let expected: Vec<_> = keys
            .iter()
            .map(|key| one_by_one.check(rule, key).expect("the rule"))
            .collect();
        let mut found = Vec::new();
        together
            .check_many(rule, &keys, |key, check| found.push((*key, check)))
            .expect("the rule");
        assert_eq!(found, keys.iter().copied().zip(expected).collect::<Vec<_>>(), "{rule}");
        let count = |limiter: &Limiter| {
            limiter
                .engine()
                .metrics()
                .rules()
                .map(|count| count.count)
                .collect::<Vec<_>>()
        };
        assert_eq!(count(&one_by_one), count(&together), "{rule}");
    }
}

/// T20 of the threat list, in the library: what a client writes is read by `Cost::parse`, which `cost.rs` holds.
#[test]
fn a_cost_beyond_all_bounds_is_refused_and_charges_nothing() {
    let algorithms = [
        Algorithm::TokenBucket,
        Algorithm::LeakyBucket {
            max_wait: Duration::from_mins(1),
            free: 0,
        },
        Algorithm::FixedWindow { align: Align::Epoch },
        Algorithm::SlidingWindow,
        Algorithm::SlidingLog,
    ];
    let rules = (0..)
        .zip(algorithms)
        .fold(Limiter::builder(), |builder, (number, algorithm)| {
            builder.rule(Rule::named(format!("r{number}")).limit("1000/s").algorithm(algorithm))
        });
    let (limiter, _) = build(rules.rule(Rule::named("r5").limit("1000/s").settles()));
    for number in 0..6 {
        let rule = format!("r{number}");
        for cost in [1_001, u64::from(u32::MAX) + 1, 1 << 53, 1 << 63, u64::MAX - 1, u64::MAX] {
            let check = limiter.check_cost(&rule, "x", cost).expect("the rule");
            assert_eq!(
                (check.passes(), check.retry()),
                (false, Some(Retry::Never)),
                "{rule}, {cost}"
            );
            let all = limiter
                .check_all(&[(&rule, &"x", cost), ("r0", &"y", u64::MAX)])
                .expect("the rules");
            assert!(!all.passes());
        }
        let check = limiter.check_cost(&rule, "x", 0).expect("the rule");
        assert_eq!((check.passes(), check.remaining()), (true, 1_000), "{rule}");
    }
    for text in ["-1", "1.5", "NaN", "1e309", "18446744073709551616", ""] {
        assert!(Cost::parse(text).is_err(), "{text}");
    }
}

proptest! {
    /// Whatever costs follow each other, no more passes than the burst while the clock stands.
    #[test]
    fn no_run_of_costs_lets_more_pass_than_the_burst(
        costs in proptest::collection::vec(prop_oneof![0..5u64, 0..200u64, any::<u64>()], 1..60),
    ) {
        let (limiter, _) = build(Limiter::builder().limit("a", "100/h").rule(Rule::named("b").limit("100/h").settles()));
        for rule in ["a", "b"] {
            let mut passed = 0u128;
            for cost in &costs {
                let check = limiter.check_cost(rule, "x", *cost).expect("the rule");
                if check.passes() {
                    passed += u128::from(*cost);
                }
                prop_assert_eq!(u128::from(check.remaining()), 100 - passed);
            }
        }
    }
}
