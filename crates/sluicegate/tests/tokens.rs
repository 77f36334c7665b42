//! Callers by their tokens: a good one counts as its user, and every other as no token at all.
#![cfg(feature = "jwt")]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use allocation_counter::measure;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method};
use sluicegate::jwt::KeySet;
use sluicegate::policy::{Policy, parse_keys};
use sluicegate::{Decision, KeyDigest, Limiter, ManualClock, Reason, Request, Secret};
use sluicegate_testkit::tokens::{Issuer, encode};

static ISSUER: LazyLock<Issuer> = LazyLock::new(Issuer::rs256);

const IDENTITY: &str = "identity:
  api_keys: keys.yaml
  jwt: { jwks: jwks.json, issuer: \"https://id.example\", audience: api, tenant: org, tier: plan }
";

const HERE: &str = "192.0.2.1";
const THERE: &str = "198.51.100.7";

struct World {
    limiter: Limiter,
    clock: Arc<ManualClock>,
}

fn policy(rules: &str) -> Policy {
    let text = format!("version: 1\n{IDENTITY}rules:\n{rules}");
    let (mut policy, _) = Policy::parse("policy.yaml", &text).expect("a good policy");
    let jwt = policy.identity.jwt.as_mut().expect("the policy reads tokens");
    let keys = KeySet::parse(ISSUER.key_set("one").as_bytes(), &jwt.terms.algorithms).expect("a key");
    jwt.keys = Some(Arc::new(keys));
    let hash = KeyDigest::of(b"k");
    let keys = parse_keys(
        "keys.yaml",
        &format!("version: 1\nkeys: [{{ id: ci, hash: \"{hash}\" }}]\n"),
    );
    let api_keys = policy.identity.api_keys.as_mut().expect("the policy knows keys");
    api_keys.directory = Arc::new(keys.expect("a good file").directory);
    policy
}

impl World {
    fn new(rules: &str) -> Self {
        let clock = Arc::new(ManualClock::default());
        clock.advance(Duration::from_hours(1));
        let secret = Secret::from_bytes([5; 32]);
        let limiter = Limiter::new(&policy(rules), &secret, Arc::clone(&clock)).expect("a small table");
        Self { limiter, clock }
    }

    fn decide(&self, peer: &str, token: &str) -> Decision {
        let value = HeaderValue::try_from(format!("Bearer {token}")).expect("a header's value");
        self.decide_with(peer, &HeaderMap::from_iter([(AUTHORIZATION, value)]))
    }

    fn decide_with(&self, peer: &str, headers: &HeaderMap) -> Decision {
        let request = Request {
            method: &Method::GET,
            host: "api.example",
            path: "/",
            query: "",
            peer: Some(peer.parse().expect("an address")),
            headers,
        };
        let outcome = self.limiter.decide(&request);
        outcome.decided().expect("neither a body nor a store is asked")
    }

    fn passing(&self, count: usize, peer: &str, token: &str) -> usize {
        (0..count).filter(|_| self.decide(peer, token).passes()).count()
    }
}

/// Claims of a user that are good for another five minutes, with `more` of them.
fn claims(user: &str, more: &str) -> String {
    format!(r#"{{"iss":"https://id.example","aud":"api","exp":3900,"sub":"{user}"{more}}}"#)
}

fn good(user: &str) -> String {
    ISSUER.token("one", &claims(user, ""))
}

/// T12 and T13 of the threat list, and D11.
#[test]
fn fifteen_forged_tokens_share_the_address_and_leave_the_victims_bucket_as_it_was() {
    let world = World::new("  - { name: per-client, key: client, limit: 100/h }\n");
    let other = Issuer::rs256();
    let victim = claims("victim", "");
    let header = |fields: &str| format!(r#"{{"kid":"one",{fields}}}"#);
    let unsigned = format!(
        "{}.{}.",
        encode(header(r#""alg":"none""#).as_bytes()),
        encode(victim.as_bytes())
    );
    let with = |from: &str, to: &str| ISSUER.token("one", &victim.replace(from, to));
    let forged = [
        unsigned,
        ISSUER.token_with(&header(r#""alg":"HS256""#), &victim),
        ISSUER.token_with(&header(r#""alg":"RS512""#), &victim),
        other.token("one", &victim),
        other.token_with(&format!(r#"{{"alg":"RS256","jwk":{}}}"#, other.jwk("x")), &victim),
        other.token_with(&header(r#""alg":"RS256","jku":"http://127.0.0.1:1/keys""#), &victim),
        other.token_with(&header(r#""alg":"RS256","x5u":"http://127.0.0.1:1/cert""#), &victim),
        other.token("../../keys/one", &victim),
        ISSUER.token_with(&header(r#""alg":"RS256","crit":["exp"]"#), &victim),
        with("3900", "3000"),
        with(r#""exp":3900"#, r#""exp":3900,"nbf":3700"#),
        with(r#""api""#, r#""web""#),
        with("id.example", "evil.example"),
        with(r#""sub""#, r#""sub":"victim","sub""#),
        with(r#""victim""#, r#"["victim"]"#),
        with("victim", &"victim".repeat(2_000)),
    ];
    let passed: usize = forged.iter().map(|token| world.passing(20, HERE, token)).sum();
    assert_eq!(passed, 100, "{} tokens, twenty times each", forged.len());
    assert_eq!(
        world.passing(200, THERE, &good("victim")),
        100,
        "the victim has lost nothing"
    );
}

#[test]
fn a_user_is_one_caller_wherever_and_by_whichever_token_and_others_are_not_touched() {
    let world = World::new("  - { name: per-client, key: client, limit: 3/h }\n");
    assert!(world.decide(HERE, &good("alice")).passes() && world.decide(THERE, &good("alice")).passes());
    let another = ISSUER.token("one", &claims("alice", r#","jti":"2""#));
    assert_eq!(world.passing(9, HERE, &another), 1);
    assert_eq!(world.passing(9, HERE, &good("bob")), 3);
    // It ends, and what it was shown for is counted by the address from then on.
    world.clock.advance(Duration::from_secs(329));
    assert!(!world.decide(THERE, &good("alice")).passes());
    world.clock.advance(Duration::from_secs(1));
    assert!(world.decide(THERE, &good("alice")).passes());
}

#[test]
fn tokens_count_by_tenant_tier_user_and_claim_as_rules_ask_for_them() {
    let world =
        World::new("  - { name: all, key: [tenant, tier, user, claim.team], limit: 1/h, on_missing_key: refuse }\n");
    let token = |org: &str, plan: &str, user: &str, team: &str| {
        ISSUER.token(
            "one",
            &claims(user, &format!(r#","org":"{org}","plan":"{plan}","team":"{team}""#)),
        )
    };
    let tokens = [
        token("a", "b", "c", "d"),
        token("b", "a", "c", "d"),
        token("a", "c", "b", "d"),
        token("a", "b", "d", "c"),
        token("ab", "-", "c", "d"),
        token("a", "b-", "c", "d"),
    ];
    for token in &tokens {
        assert!(world.decide(HERE, token).passes());
        assert!(!world.decide(THERE, token).passes());
    }
    let refused = world.decide(HERE, &good("c"));
    assert!(
        matches!(
            refused,
            Decision::Deny {
                reason: Reason::MissingKey,
                ..
            }
        ),
        "{refused:?}"
    );
}

#[test]
fn a_key_goes_before_a_token_and_two_tokens_on_two_lines_are_refused() {
    let world = World::new("  - { name: per-client, key: client, limit: 1/h }\n");
    let bearer = |user: &str| HeaderValue::try_from(format!("Bearer {}", good(user))).expect("a value");
    let mut headers = HeaderMap::from_iter([(AUTHORIZATION, bearer("alice"))]);
    headers.insert("x-api-key", HeaderValue::from_static("k"));
    assert!(world.decide_with(HERE, &headers).passes());
    assert!(!world.decide_with(THERE, &headers).passes(), "it was the key");
    assert!(world.decide(HERE, &good("alice")).passes(), "not the user");
    headers.append(AUTHORIZATION, bearer("bob"));
    let refused = world.decide_with(HERE, &headers);
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
}

#[test]
fn deciding_on_a_token_that_was_seen_before_allocates_nothing() {
    let world = World::new("  - { name: per-client, key: [client, tenant], limit: 100/h }\n");
    let token = ISSUER.token("one", &claims("alice", r#","org":"acme""#));
    let mut headers = HeaderMap::from_iter([(
        AUTHORIZATION,
        HeaderValue::try_from(format!("Bearer {token}")).expect("a value"),
    )]);
    headers.insert("x-api-key", HeaderValue::from_static("unknown"));
    let request = Request {
        method: &Method::GET,
        host: "api.example",
        path: "/",
        query: "",
        peer: Some(HERE.parse().expect("an address")),
        headers: &headers,
    };
    let decide = || {
        let decision = world.limiter.decide(&request).decided();
        assert!(decision.is_some_and(|decision| decision.passes()));
    };
    decide();
    let allocated = measure(|| (0..50).for_each(|_| decide()));
    assert_eq!(allocated.count_total, 0);
}

#[test]
fn a_change_of_the_policy_keeps_what_is_remembered_as_long_as_it_says_the_same_of_tokens() {
    let rules = "  - { name: per-client, key: client, limit: 1/h }\n";
    let world = World::new(rules);
    let before = world.limiter.verifier().expect("tokens are read");
    world.limiter.replace(&policy(rules)).expect("the same again");
    assert!(Arc::ptr_eq(
        &before,
        &world.limiter.verifier().expect("tokens are read")
    ));
    let mut other = policy(rules);
    other.identity.jwt.as_mut().expect("tokens are read").terms.audience = "web".to_owned();
    world.limiter.replace(&other).expect("a good policy");
    assert!(world.decide(HERE, &good("alice")).passes(), "the address");
    assert!(
        !world.decide(HERE, &good("bob")).passes(),
        "both are meant for another audience now"
    );
}
