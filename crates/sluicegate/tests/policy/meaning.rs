//! What the fields mean, and what is meant where they are left out.

use std::path::Path;
use std::time::Duration;

use http::{HeaderName, Method};
use sluicegate::policy::Policy;
use sluicegate::policy::checked::{
    Admin, Caps, Deadlines, Enforce, ForwardedHeader, Identity, KeyPart, OnMissingKey, Overflow, RuleLimit, State,
};

use crate::{POLICY_DOC, examples, policy};

#[test]
fn every_field_of_the_documented_policy_means_what_it_says() {
    let policy = policy(examples(POLICY_DOC)[1]);
    let gateway = policy.gateway.expect("the example has a gateway");
    assert_eq!(
        gateway
            .listen
            .iter()
            .map(|listen| listen.address.to_string())
            .collect::<Vec<_>>(),
        ["0.0.0.0:8080"]
    );
    assert_eq!(gateway.threads, Some(2));
    let upstreams = gateway.upstreams.iter().map(|upstream| {
        let servers = upstream
            .servers
            .iter()
            .map(|server| (server.authority.as_str(), server.weight));
        (upstream.name.as_str(), servers.collect::<Vec<_>>())
    });
    let expected = [
        ("users", vec![("127.0.0.1:9001", 1), ("127.0.0.1:9002", 3)]),
        ("search", vec![("search.internal:8080", 1)]),
    ];
    assert_eq!(upstreams.collect::<Vec<_>>(), expected);
    let deadlines = Deadlines {
        connect: Duration::from_millis(500),
        response_head: Duration::from_secs(20),
        ..Deadlines::default()
    };
    assert_eq!(gateway.deadlines, deadlines);
    assert_eq!(
        gateway.caps,
        Caps {
            body_bytes: Some(10 << 20),
            connections: 5_000,
            ..Caps::default()
        }
    );

    assert_eq!(policy.state.memory, 64 << 20);
    assert_eq!(policy.state.directory.as_deref(), Some(Path::new("./state")));
    let networks: Vec<String> = policy
        .identity
        .trusted_proxies
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(networks, ["10.0.0.0/8", "2001:db8:1::/48"]);
    assert_eq!(policy.identity.forwarded_header, ForwardedHeader::XForwardedFor);
    assert_eq!((policy.identity.v4_prefix, policy.identity.v6_prefix), (32, 64));

    let [login, item, search, rest] = policy.routes.as_slice() else {
        unreachable!("four routes")
    };
    assert_eq!(
        (login.name.as_str(), login.methods.as_slice(), login.upstream),
        ("login", &[Method::POST][..], Some(0))
    );
    assert_eq!(
        (item.path.as_str(), item.methods.len(), item.hosts.len()),
        ("/items/{id}", 0, 0)
    );
    assert_eq!(
        (search.hosts.as_slice(), search.upstream),
        (&["search.example.com".to_owned()][..], Some(1))
    );
    assert_eq!((rest.path.as_str(), rest.upstream), ("/{*rest}", Some(0)));

    let [everyone, per_client, login, per_api_key] = policy.rules.as_slice() else {
        unreachable!("four rules")
    };
    assert_eq!(
        (everyone.key.len(), everyone.limit.to_string()),
        (0, "10000/s burst 20000".to_owned())
    );
    assert_eq!(
        everyone.rationale.as_deref(),
        Some("the load test of October saturated at 14k/s")
    );
    assert_eq!(everyone.owner.as_deref(), Some("platform team"));
    assert_eq!(everyone.review_by.as_deref(), Some("2027-03-01"));
    assert_eq!((per_client.routes.len(), per_client.enforce), (0, Enforce::ALL));
    let ten_times = RuleLimit::Rate("10000/min burst 1000".parse().expect("a limit"));
    assert_eq!(
        (&per_client.key[..], &per_client.overflow),
        (&[KeyPart::Ip][..], &Overflow::Shared(ten_times))
    );
    assert_eq!(
        (login.routes.as_slice(), &login.overflow),
        (&[0][..], &Overflow::Closed)
    );
    assert_eq!(login.description.as_deref(), Some("slows down guessing"));
    assert_eq!(per_api_key.routes, [1, 2]);
    assert_eq!(per_api_key.key, [KeyPart::Header(HeaderName::from_static("x-api-key"))]);
    assert_eq!(per_api_key.on_missing_key, OnMissingKey::Ip);
    assert_eq!(Some(per_api_key.enforce), Enforce::percent(10));
}

#[test]
fn what_is_left_out_has_its_documented_default() {
    let policy = policy("version: 1\nrules: [{ name: a, key: [], limit: 1/s }]\n");
    assert!(policy.gateway.is_none() && policy.routes.is_empty());
    assert_eq!(policy.admin.listen, Admin::default().listen);
    assert_eq!(policy.state.memory, State::default().memory);
    assert_eq!(policy.state.directory, None);
    assert_eq!(policy.identity.trusted_proxies, Identity::default().trusted_proxies);
}

#[test]
fn a_gateway_with_one_upstream_and_no_routes_passes_everything_to_it() {
    let text = "version: 1\ngateway: { listen: 0.0.0.0:80, upstreams: { api: { servers: a:1 } } }\n\
                rules: [{ name: a, key: ip, limit: 1/s, routes: all }]\n";
    let policy = policy(text);
    let [route] = policy.routes.as_slice() else {
        unreachable!("one route")
    };
    assert_eq!(
        (route.name.as_str(), route.path.as_str(), route.upstream),
        ("all", "/{*rest}", Some(0))
    );
    assert_eq!(policy.rules[0].routes, [0]);
}

#[test]
fn spellings_that_mean_the_same_are_read_the_same() {
    let text = "version: 1\nadmin: { listen: off }\nroutes:\n  - { name: a, path: /, hosts: [Example.COM., \"[2001:DB8::1]\"] }\n\
                rules:\n  - { name: a, key: &key [ip, header.X-Api-Key], limit: 1/s }\n  - { name: b, key: *key, limit: 1/s }\n";
    let policy = policy(text);
    assert_eq!(policy.admin.listen, None);
    assert_eq!(policy.routes[0].hosts, ["example.com", "[2001:db8::1]"]);
    assert_eq!(
        policy.rules[0].key,
        [KeyPart::Ip, KeyPart::Header(HeaderName::from_static("x-api-key"))]
    );
    assert_eq!(policy.rules[0].key, policy.rules[1].key);
}

#[test]
fn sixteen_rules_may_meet_and_routes_keep_the_others_apart() {
    let rules = |prefix: &str, more: &str| {
        let rule = |number| format!("  - {{ name: {prefix}{number}, key: ip, limit: 1/s{more} }}\n");
        (0..8).map(rule).collect::<Vec<_>>().concat()
    };
    let text = format!(
        "version: 1\nroutes: [{{ name: a, path: /a }}, {{ name: b, path: /b }}]\nrules:\n{}{}{}",
        rules("a", ", routes: a"),
        rules("b", ", routes: b"),
        rules("all", ""),
    );
    assert_eq!(policy(&text).rules.len(), 24);
    let text = format!("{text}  - {{ name: more, key: ip, limit: 1/s, routes: b }}\n");
    let faults = Policy::parse("policy.yaml", &text).expect_err("seventeen for b");
    assert!(
        faults.to_string().contains("requests of the route \"b\" meet 17 rules"),
        "{faults}"
    );
}

#[test]
fn routes_that_one_tells_apart_do_not_tie() {
    policy(
        "version: 1\nroutes:\n\
         - { name: a, path: \"/x/{id}\" }\n\
         - { name: b, path: \"/x/{id}\", methods: GET }\n\
         - { name: c, path: \"/x/{id}\", methods: HEAD }\n\
         - { name: d, path: \"/x/{id}\", hosts: a.example }\n\
         - { name: e, path: \"/x/{id}\", hosts: \"*.example\" }\n\
         - { name: f, path: \"/x/special\" }\n\
         - { name: g, path: \"/x/{id}/{*rest}\" }\n\
         - { name: h, path: \"/{*rest}\" }\n\
         - { name: i, path: / }\n",
    );
}
