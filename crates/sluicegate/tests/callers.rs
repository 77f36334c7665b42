//! Who is calling: what is verified counts, and what is not is as if it had not been shown.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sluicegate::policy::{Policy, parse_keys};
use sluicegate::{
    Caller, Decision, KeyDigest, Limiter, ManualClock, Outcome, Reason, Request, Secret, VouchKind, Vouched,
};

/// A limiter that knows some keys, on a clock that stands until it is moved.
struct World {
    limiter: Limiter,
    clock: Arc<ManualClock>,
}

const IDENTITY: &str = "identity: { api_keys: keys.yaml }\n";

impl World {
    /// `keys` are the keys themselves, each with the rest of its entry.
    #[track_caller]
    fn new(identity: &str, rules: &str, keys: &[(&str, &str)]) -> Self {
        let text = format!("version: 1\n{identity}rules:\n{rules}");
        let (mut policy, _) = Policy::parse("policy.yaml", &text).expect("a good policy");
        if let Some(api_keys) = &mut policy.identity.api_keys {
            let entries = keys.iter().map(|(key, rest)| {
                let hash = KeyDigest::of(key.as_bytes());
                format!("  - {{ hash: \"{hash}\", {rest} }}\n")
            });
            let text = format!("version: 1\nkeys:\n{}", entries.collect::<String>());
            api_keys.directory = Arc::new(parse_keys("keys.yaml", &text).expect("good keys").directory);
        }
        let clock = Arc::new(ManualClock::default());
        let secret = Secret::from_bytes([5; 32]);
        let limiter = Limiter::new(&policy, &secret, Arc::clone(&clock)).expect("a small table");
        Self { limiter, clock }
    }

    fn decide(&self, caller: &Caller, peer: &str, lines: &[(&str, &str)]) -> Decision {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        let request = Request {
            method: &Method::GET,
            host: "api.example",
            path: "/",
            query: "",
            peer: Some(peer.parse().expect("an address")),
            headers: &headers,
        };
        let outcome = self.limiter.decide_as(&request, caller);
        outcome.decided().expect("neither a body nor a store is asked")
    }

    fn passes(&self, peer: &str, lines: &[(&str, &str)]) -> bool {
        self.decide(&Caller::default(), peer, lines).passes()
    }

    /// How many of `count` such requests pass.
    fn passing(&self, count: usize, peer: &str, lines: &[(&str, &str)]) -> usize {
        (0..count).filter(|_| self.passes(peer, lines)).count()
    }
}

const HERE: &str = "192.0.2.1";
const THERE: &str = "198.51.100.7";

fn per_client(limit: &str) -> String {
    format!("  - {{ name: per-client, key: client, limit: {limit} }}\n")
}

/// T9 of the threat list.
#[test]
fn three_spellings_of_a_key_are_one_caller_and_two_lines_that_differ_are_refused() {
    let world = World::new(IDENTITY, &per_client("3/h"), &[("k", "id: one"), ("l", "id: two")]);
    for (name, value) in [("X-Api-Key", "k"), ("x-api-key", "k "), ("X-API-KEY", "\tk")] {
        assert!(world.passes(HERE, &[(name, value)]), "{name}: {value:?}");
    }
    assert!(
        !world.passes(THERE, &[("x-api-key", "k")]),
        "one bucket has three units"
    );
    // Said twice alike it is one claim.
    assert!(world.passes(HERE, &[("x-api-key", "l"), ("X-Api-Key", " l")]));
    let refused = world.decide(&Caller::default(), HERE, &[("x-api-key", "l"), ("x-api-key", "k")]);
    assert!(
        matches!(
            refused,
            Decision::Deny {
                reason: Reason::BadValue,
                ..
            }
        ),
        "{refused:?}"
    );
    assert_eq!(world.passing(9, THERE, &[("x-api-key", "l")]), 2, "neither was charged");
}

/// T34 of the threat list, and D11: a guess is charged to whoever guesses.
#[test]
fn a_key_that_nobody_issued_is_counted_by_the_address_and_never_as_the_id_it_names() {
    let world = World::new(IDENTITY, &per_client("3/h"), &[("secret", "id: victim")]);
    let forged = ["victim", "Secret", "secre", "secret2", "", "sg_0", "192.0.2.1"];
    let passed = forged
        .iter()
        .filter(|key| world.passes(HERE, &[("x-api-key", **key)]))
        .count();
    assert_eq!(passed, 3, "all made-up keys share the address");
    assert!(!world.passes(HERE, &[]), "as does no key at all");
    assert_eq!(
        world.passing(9, THERE, &[("x-api-key", "secret")]),
        3,
        "the victim has lost nothing"
    );
}

#[test]
fn a_key_that_has_ended_is_no_key() {
    let keys = [("k", "id: ends, not_after: 1970-01-01T00:01:00Z")];
    let world = World::new(IDENTITY, &per_client("1/h"), &keys);
    let shown = [("x-api-key", "k")];
    assert!(world.passes(HERE, &[]), "the address's own unit");
    assert!(world.passes(HERE, &shown), "the key's own");
    world.clock.advance(Duration::from_mins(1));
    assert!(!world.passes(HERE, &shown), "the address's is used up");
    assert!(world.passes(THERE, &shown), "counted as any other address");
}

#[test]
fn a_tenants_callers_share_a_key_by_tenant_and_the_unverified_are_counted_by_address() {
    let rule = "  - { name: per-tenant, key: tenant, limit: 2/h }\n";
    let keys = [
        ("a", "id: a, tenant: acme"),
        ("b", "id: b, tenant: acme"),
        ("c", "id: c, tenant: other"),
        ("d", "id: d"),
    ];
    let world = World::new(IDENTITY, rule, &keys);
    assert!(world.passes(HERE, &[("x-api-key", "a")]) && world.passes(THERE, &[("x-api-key", "b")]));
    assert!(!world.passes(HERE, &[("x-api-key", "a")]));
    assert!(world.passes(HERE, &[("x-api-key", "c")]));
    // Without a tenant it is the address that counts, verified or not.
    assert!(world.passes(HERE, &[("x-api-key", "d")]) && world.passes(HERE, &[("x-api-key", "forged")]));
    assert!(!world.passes(HERE, &[("x-api-key", "d")]));
}

/// T5 of the threat list, for what callers are known by: one text in the place of each attribute.
#[test]
fn no_two_kinds_of_caller_share_a_bucket() {
    let world = World::new("", &per_client("1/h"), &[]);
    let name = "192.0.2.1";
    for kind in [VouchKind::Key, VouchKind::User, VouchKind::Certificate] {
        let caller = Caller::from(Vouched::new(kind, name));
        assert!(world.decide(&caller, THERE, &[]).passes(), "{kind:?}");
        assert!(!world.decide(&caller, HERE, &[]).passes(), "{kind:?}");
    }
    assert!(world.passes(name, &[]), "the address of that name has its own");

    // In a key of several parts, each place for itself.
    let caller = |user: &str, tenant: &str| {
        Caller::from(
            Vouched::new(VouchKind::User, user)
                .with_tenant(tenant)
                .with_claim("team", "c"),
        )
    };
    let rule = "  - { name: both, key: [tenant, user, claim.team], limit: 1/h }\n";
    let world = World::new("", rule, &[]);
    let pairs = [
        ("a:b", "c"),
        ("a", "b:c"),
        ("b:c", "a"),
        ("a\0", "b"),
        ("a", "\0b"),
        ("", "ab"),
        ("ab", ""),
    ];
    for (user, tenant) in pairs {
        assert!(
            world.decide(&caller(user, tenant), HERE, &[]).passes(),
            "{user:?} of {tenant:?}"
        );
        assert!(
            !world.decide(&caller(user, tenant), HERE, &[]).passes(),
            "{user:?} of {tenant:?}"
        );
    }
}

#[test]
fn what_a_program_has_verified_goes_before_what_a_header_shows() {
    let world = World::new(IDENTITY, &per_client("1/h"), &[("k", "id: one")]);
    let given = Caller::from(Vouched::new(VouchKind::Key, "given"));
    let shown = [("x-api-key", "k")];
    assert!(world.decide(&given, HERE, &shown).passes());
    assert!(!world.decide(&given, HERE, &[]).passes(), "it was the given one");
    // What it leaves open is looked for all the same, and a key goes before a user.
    let user = Caller::from(Vouched::new(VouchKind::User, "alice"));
    assert!(world.decide(&user, HERE, &shown).passes());
    assert!(!world.passes(THERE, &shown), "it was the key");
    assert!(world.decide(&user, HERE, &[]).passes());
}

#[test]
fn a_key_may_stand_in_the_authorization_header_behind_its_scheme() {
    let identity = "identity: { api_keys: { file: keys.yaml, header: authorization } }\n";
    let world = World::new(identity, &per_client("1/h"), &[("k", "id: one")]);
    assert!(world.passes(HERE, &[("authorization", "Bearer k")]));
    assert!(!world.passes(THERE, &[("authorization", "bearer k")]));
    assert!(
        world.passes(THERE, &[("authorization", "Basic k")]),
        "another scheme is no key"
    );
}

#[test]
fn a_caller_is_known_when_its_body_has_been_read() {
    let rule = "  - { name: both, key: [client, body./to], limit: 1/h }\n";
    let world = World::new(IDENTITY, rule, &[("k", "id: one"), ("l", "id: two")]);
    let passes = |key: &'static str| {
        let headers = HeaderMap::from_iter([
            (HeaderName::from_static("x-api-key"), HeaderValue::from_static(key)),
            (http::header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ]);
        let request = Request {
            method: &Method::POST,
            host: "api.example",
            path: "/",
            query: "",
            peer: Some(HERE.parse().expect("an address")),
            headers: &headers,
        };
        let Outcome::NeedsBody(mut question) = world.limiter.decide(&request) else {
            unreachable!("the rule reads the body")
        };
        question.feed(br#"{"to": "bob"}"#).expect("JSON");
        let outcome = question.finish().expect("whole");
        outcome.decided().expect("no store is asked").passes()
    };
    assert!(passes("k") && passes("l"));
    assert!(!passes("k") && !passes("l"));
}
