//! What rules apply to by conditions, what is always allowed, and what keys are made of, by whole policies.

#![allow(clippy::panic, reason = "a test's way to fail")]

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sluicegate::policy::Policy;
use sluicegate::{AllowId, Decision, Limiter, ManualClock, Outcome, Reason, Request, RuleId, Secret};
use std::sync::Arc;

const ROUTES: &str = "
routes:
  - { name: login, methods: POST, path: /auth/login, sensitivity: critical }
  - { name: item, path: \"/items/{id}\", sensitivity: costly }
  - { name: owner, path: \"/owners/{owner}/{id}\" }
  - { name: rest, path: \"/{*rest}\" }
";

/// A policy of these fields, with routes, in force.
fn limiter(fields: &str) -> Limiter {
    let text = format!("version: 1{ROUTES}{fields}");
    let (policy, _) = Policy::parse("policy.yaml", &text).unwrap_or_else(|faults| panic!("{faults}"));
    let clock = Arc::new(ManualClock::default());
    Limiter::new(&policy, &Secret::from_bytes([7; 32]), clock).expect("a small table")
}

/// A request in a few words: `POST /items/7?page=2 x-plan=gold`, from 192.0.2.1 unless `peer=` says another.
fn decide(limiter: &Limiter, words: &str) -> Decision {
    let mut words = words.split(' ');
    let method = words
        .next()
        .and_then(|word| word.parse::<Method>().ok())
        .expect("a method");
    let target = words.next().expect("a path");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = HeaderMap::new();
    let (mut peer, mut host) = ([192, 0, 2, 1].into(), "a.example");
    for (name, value) in words.filter_map(|word| word.split_once('=')) {
        match name {
            "peer" => peer = value.parse().expect("an address"),
            "host" => host = value,
            name => {
                let name: HeaderName = name.parse().expect("a header's name");
                headers.append(
                    name,
                    HeaderValue::from_bytes(value.as_bytes()).expect("a header's value"),
                );
            }
        }
    }
    let request = Request {
        method: &method,
        host,
        path,
        query,
        peer: Some(peer),
        headers: &headers,
    };
    match limiter.decide(&request) {
        Outcome::Decided(decision) => decision,
        other => panic!("{other:?}"),
    }
}

/// Asks one after another; `A` for each that passes, `d` for each that does not.
#[track_caller]
fn check(limiter: &Limiter, requests: &[&str], expected: &str) {
    let said = requests
        .iter()
        .map(|words| if decide(limiter, words).passes() { 'A' } else { 'd' });
    assert_eq!(said.collect::<String>(), expected, "{requests:?}");
}

#[test]
fn a_rule_whose_condition_is_false_charges_nothing() {
    let limiter = limiter("rules: [{ name: posts, key: ip, limit: 1/h, when: method == \"POST\" }]\n");
    check(&limiter, &["GET /", "GET /", "POST /", "GET /", "POST /"], "AAAAd");
}

#[test]
fn a_condition_asks_for_everything_that_a_request_brings() {
    for (when, request) in [
        ("path.startsWith(\"/items/\")", "GET /items/7"),
        ("path.id == \"7\"", "GET /items/7"),
        ("route == \"item\" && sensitivity == \"costly\"", "GET /items/7"),
        ("sensitivity == \"critical\"", "POST /auth/login"),
        ("host == \"b.example\"", "GET / host=b.example"),
        ("query.page == \"2 3\"", "GET /?page=2+%33"),
        ("cookie.session == \"abc\"", "GET / cookie=x=1;session=abc"),
        ("header[\"x-plan\"] in [\"gold\", \"silver\"]", "GET / x-plan=gold"),
        ("in_network(ip, \"10.0.0.0/8\")", "GET / peer=10.1.2.3"),
        ("[\"/a\", \"/items\"].exists(p, path.startsWith(p))", "GET /items/7"),
    ] {
        let limiter = limiter(&format!(
            "rules: [{{ name: one, key: [], limit: 1/h, when: '{when}' }}]\n"
        ));
        check(
            &limiter,
            &["GET /other peer=192.0.2.9 host=c.example", request, request],
            "AAd",
        );
    }
}

#[test]
fn a_condition_without_a_value_means_that_the_rule_applies_and_is_counted() {
    let limiter = limiter("rules: [{ name: many, key: ip, limit: 1/h, when: int(query.limit) > 100 }]\n");
    check(
        &limiter,
        &[
            "GET /?limit=5",
            "GET /?limit=5",
            "GET /?limit=lots",
            "GET /",
            "GET /?limit=101",
        ],
        "AAAdd",
    );
    let engine = limiter.engine();
    assert_eq!(engine.metrics().rule_without_value(RuleId::new(0)), 2);
}

#[test]
fn what_is_allowed_is_charged_nothing_and_counted_by_entry() {
    let limiter = limiter(
        "allow:
  - { name: probes, when: 'in_network(ip, \"10.1.0.0/16\") && path == \"/healthz\"' }
  - { name: office, when: 'in_network(ip, \"198.51.100.0/24\")' }
rules: [{ name: all, key: [], limit: 1/h }]
",
    );
    let probe = "GET /healthz peer=10.1.0.9";
    check(&limiter, &[probe, probe, "GET / peer=198.51.100.7", probe], "AAAA");
    check(
        &limiter,
        &["GET /", "GET /healthz", "GET / peer=10.1.0.9", probe],
        "AddA",
    );
    let engine = limiter.engine();
    let allowed = [0, 1].map(|entry| engine.metrics().allowed(AllowId::new(entry)));
    assert_eq!(allowed, [4, 1]);
    let decision = decide(&limiter, probe);
    assert_eq!(decision.report().allowed_by(), Some(AllowId::new(0)));
    assert!(decision.report().states().is_empty());
    assert_eq!(decide(&limiter, "GET /").report().allowed_by(), None);
}

#[test]
fn an_allowance_without_a_value_allows_nothing_and_is_counted() {
    let limiter = limiter(
        "allow: [{ name: small, when: 'ip == \"192.0.2.1\" && int(query.limit) < 5' }]
rules: [{ name: all, key: [], limit: 1/h }]
",
    );
    check(
        &limiter,
        &["GET /?limit=4", "GET /?limit=x", "GET /?limit=x", "GET /?limit=4"],
        "AAdA",
    );
    assert_eq!(limiter.engine().metrics().allow_without_value(AllowId::new(0)), 2);
}

/// What is typed is another key for another value, and what is absent or there twice is counted by the address.
#[test]
fn attributes_of_a_request_are_keys_and_two_claims_are_none() {
    for (key, one, same, other, twice) in [
        ("path", "/a", "/a", "/b", None),
        ("path.id", "/items/7", "/owners/me/7", "/items/8", None),
        (
            "query.page",
            "/?page=a",
            "/?x=1&pag%65=%61",
            "/?page=b",
            Some("/?page=a&page=a"),
        ),
        ("sensitivity", "/", "/owners/me/7", "/items/7", None),
    ] {
        let limiter = limiter(&format!("rules: [{{ name: one, key: {key}, limit: 1/h }}]\n"));
        let [one, same, other] = [one, same, other].map(|target| format!("GET {target}"));
        check(&limiter, &[&one, &same, &other], "AdA");
        if let Some(twice) = twice {
            let twice = format!("GET {twice}");
            // Counted by the address, as one who writes none is.
            check(&limiter, &[&twice, "GET /", &twice], "Add");
        }
    }
    let limiter = limiter("rules: [{ name: one, key: cookie.session, limit: 1/h }]\n");
    let (one, other, twice) = (
        "GET / cookie=session=a",
        "GET / cookie=session=b",
        "GET / cookie=session=a;session=a",
    );
    check(
        &limiter,
        &[one, "GET / cookie=x=1;session=a", other, twice, "GET /"],
        "AdAAd",
    );
}

/// T5 of the threat list: one value in two attributes is two keys, for every pair that a key can have in one place.
#[test]
fn no_attribute_s_value_reads_like_another_s() {
    use sluicegate_core::{KeyHasher, PartKind};
    let kinds = [
        PartKind::Absent,
        PartKind::Ip,
        PartKind::Route,
        PartKind::Method,
        PartKind::Host,
        PartKind::Header,
        PartKind::Rule,
        PartKind::Value,
        PartKind::Body,
        PartKind::Number,
        PartKind::Key,
        PartKind::User,
        PartKind::Certificate,
        PartKind::Tenant,
        PartKind::Tier,
        PartKind::Claim,
        PartKind::CertificateName,
        PartKind::Ja4,
        PartKind::Fingerprint,
        PartKind::CertificateSubject,
        PartKind::Spiffe,
        PartKind::Path,
        PartKind::PathPart,
        PartKind::Cookie,
        PartKind::Query,
        PartKind::Sensitivity,
    ];
    let hasher = KeyHasher::new(&Secret::from_bytes([7; 32]));
    for (at, one) in kinds.iter().enumerate() {
        for other in &kinds[..at] {
            for value in [&b""[..], b"a", b"192.0.2.1", &[4, 192, 0, 2, 1]] {
                let hash = |kind| hasher.key().part(kind, value).finish();
                assert_ne!(hash(*one), hash(*other), "{one:?} and {other:?} of {value:?}");
            }
        }
    }
    let numbers = kinds.map(|kind| kind as u8);
    assert_eq!(
        numbers,
        [
            0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 32, 33, 34, 35, 36
        ],
        "format 1 is pinned"
    );
}

/// What stands in for an absent part is not what a client can write into it.
#[test]
fn no_value_that_a_client_writes_reads_like_its_address() {
    let limiter = limiter("rules: [{ name: one, key: query.name, limit: 1/h }]\n");
    check(
        &limiter,
        &[
            "GET /",
            "GET /?name=192.0.2.1",
            "GET /?name=%04%C0%00%02%01",
            "GET /?name=",
            "GET /",
        ],
        "AAAAd",
    );
}

#[test]
fn a_refused_value_is_told_as_such() {
    let limiter = limiter("rules: [{ name: one, key: query.name, limit: 1/h, on_missing_key: refuse }]\n");
    let decision = decide(&limiter, "GET /?name=a&name=b");
    assert!(matches!(
        decision,
        Decision::Deny {
            reason: Reason::MissingKey,
            ..
        }
    ));
}

/// T17 of the threat list: an override is a header like any other, and odd case is no method that anyone named.
#[test]
fn a_method_is_what_the_request_line_says() {
    let limiter = limiter("rules: [{ name: posts, key: ip, limit: 1/h, when: method == \"POST\" }]\n");
    let overridden = "GET / x-http-method-override=POST";
    check(
        &limiter,
        &[
            overridden,
            overridden,
            "post /",
            "post /",
            "POST /",
            "POST / x-http-method-override=GET",
        ],
        "AAAAAd",
    );
}

#[test]
fn deciding_by_native_conditions_allocates_nothing() {
    let limiter = limiter(
        "allow: [{ name: probes, when: 'in_network(ip, \"10.1.0.0/16\") && path == \"/healthz\"' }]
rules:
  - { name: one, key: [ip, path.id], limit: 1000/s, when: 'method in [\"GET\", \"PUT\"] && query.page != \"9\"' }
  - { name: two, key: [ip, query.page], limit: 1000/s, when: 'path.startsWith(\"/items/\")' }
",
    );
    let (method, headers) = (Method::GET, HeaderMap::new());
    let request = Request {
        method: &method,
        host: "a.example",
        path: "/items/7",
        query: "page=2",
        peer: Some([192, 0, 2, 1].into()),
        headers: &headers,
    };
    let _ = limiter.decide(&request);
    let info = allocation_counter::measure(|| {
        let _ = std::hint::black_box(limiter.decide(&request));
    });
    assert_eq!(info.count_total, 0);
}

#[track_caller]
fn check_fault(fields: &str, expected: &str) {
    let text = format!("version: 1{ROUTES}{fields}");
    let faults = Policy::parse("policy.yaml", &text).expect_err(fields).to_string();
    assert!(faults.contains(expected), "{faults}");
}

#[test]
fn a_condition_that_makes_no_sense_is_a_fault_with_place_value_and_remedy() {
    check_fault(
        "rules: [{ name: a, key: ip, limit: 1/s, when: methd == \"POST\" }]\n",
        "policy.yaml:7:47: rules[0].when: `methd` is no attribute of a request; did you mean `method`?",
    );
    check_fault(
        "rules: [{ name: a, key: ip, limit: 1/s, routes: item, when: path.owner == \"me\" }]\n",
        "no route that this applies to has {owner} in its path; the parts are id",
    );
    check_fault(
        "rules: [{ name: a, key: path.ids, limit: 1/s }]\n",
        "no route of this rule has {ids} in its path; did you mean `path.id`?",
    );
    check_fault(
        "allow: [{ name: a, when: 'body[\"/a\"] == \"b\"' }]\nrules: []\n",
        "allow[0].when: the body is not there yet where this is asked",
    );
    check_fault(
        "allow: [{ name: a, when: method == \"GET\" }, { name: a, when: method == \"PUT\" }]\nrules: []\n",
        "is also the name of allow[0]",
    );
    check_fault(
        "rules: [{ name: a, key: ip, limit: 1/s, enforce: \"0%\", shadow: \"flase\" }]\n",
        "there is no field \"shadow\"",
    );
}

#[test]
fn a_condition_or_an_allowance_by_what_a_client_writes_is_warned_of() {
    let warnings = |fields: &str| {
        let text = format!("version: 1{ROUTES}{fields}");
        let (_, warnings) = Policy::parse("policy.yaml", &text).unwrap_or_else(|faults| panic!("{faults}"));
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let typed = "{ name: a, key: ip, limit: 1/s, when: 'header[\"x-plan\"] == \"\"' }";
    let warned = "whoever sends another `header.x-plan` than `when` asks for is not limited";
    assert!(warnings(&format!("rules: [{typed}]\n")).contains(warned));
    let beside = format!("rules: [{typed}, {{ name: b, key: ip, limit: 9/s }}]\n");
    assert!(!warnings(&beside).contains(warned));
    let allowed =
        "allow: [{ name: a, when: 'header[\"x-internal\"] == \"1\"' }]\nrules: [{ name: b, key: ip, limit: 9/s }]\n";
    assert!(warnings(allowed).contains("whoever writes what is asked of `header.x-internal` is never limited"));
    for key in ["path", "path.id", "query.page", "cookie.session"] {
        let text = warnings(&format!("rules: [{{ name: a, key: {key}, limit: 1/s }}]\n"));
        assert!(
            text.contains(&format!(
                "whoever sends another `{key}` with each request is not limited"
            )),
            "{text}"
        );
    }
}

#[test]
fn a_cost_goes_by_the_class_of_the_request_or_by_what_it_asks_for() {
    for (cost, requests, expected) in [
        (
            "{ by: sensitivity, values: { critical: 6, costly: 3 } }",
            ["POST /auth/login", "GET /items/7", "GET /", "GET /"],
            "AAAd",
        ),
        (
            "{ by: route, values: { item: 4, rest: 2 }, default: 3 }",
            ["GET /items/7", "GET /owners/me/7", "GET /", "GET /"],
            "AAAd",
        ),
        (
            "{ expression: 'has(query.limit) ? int(query.limit) / 10 + 1 : 1', max: 5 }",
            ["GET /?limit=40", "GET /?limit=1000", "GET /", "GET /?limit=0"],
            "AAdd",
        ),
        (
            "{ expression: '{\"gold\": 1, \"free\": 5}[header[\"x-plan\"]]' }",
            [
                "GET / x-plan=free",
                "GET / x-plan=gold",
                "GET / x-plan=free",
                "GET / x-plan=gold",
            ],
            "AAdA",
        ),
    ] {
        let limiter = limiter(&format!(
            "rules: [{{ name: one, key: [], limit: 10/h, cost: {cost} }}]\n"
        ));
        check(&limiter, &requests, expected);
    }
}

#[test]
fn an_amount_without_a_value_is_the_clients_fault() {
    let limiter = limiter("rules: [{ name: one, key: [], limit: 10/h, cost: { expression: int(query.limit) } }]\n");
    for request in ["GET /?limit=x", "GET /", "GET /?limit=-1"] {
        let decision = decide(&limiter, request);
        assert!(
            matches!(
                decision,
                Decision::Deny {
                    reason: Reason::BadValue,
                    ..
                }
            ),
            "{request}"
        );
    }
    check(&limiter, &["GET /?limit=10"], "A");
}

#[test]
fn a_cost_that_makes_no_sense_is_a_fault() {
    let cost = |cost: &str| format!("rules: [{{ name: a, key: ip, limit: 10/s, cost: {cost} }}]\n");
    for (text, expected) in [
        ("{ default: 3 }", "reserve"),
        ("{ reserve: 1, expression: '1' }", "the cost is said in two ways"),
        ("{ values: { costly: 1 } }", "nothing says what the values are by"),
        (
            "{ by: sensitivity, values: { costy: 2 } }",
            "there is no sensitivity \"costy\"; did you mean `costly`?",
        ),
        (
            "{ by: route, values: { itm: 2 } }",
            "there is no route \"itm\"; did you mean `item`?",
        ),
        ("{ by: route, values: { item: 11 } }", "\"11\" never passes"),
        ("{ by: route }", "no class has a cost of its own"),
        ("{ expression: 'path' }", "the amount is a text"),
        (
            "{ expression: '1', default: 2 }",
            "the expression says what every request costs",
        ),
    ] {
        check_fault(&cost(text), expected);
    }
}
