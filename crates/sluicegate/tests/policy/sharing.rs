//! What limits are shared by, and what a rule's words come to on so many nodes.

use std::num::NonZeroU32;
use std::path::Path;

use sluicegate::policy::PolicyText;
use sluicegate::policy::checked::{
    Alone, Credentials, Division, Mode, Offered, Policy, SecretSource, Share, SharingTerms, StoreAddress,
};
use sluicegate_core::sharing::excess::Outage;

use crate::policy;

fn share(store: &str) -> Share {
    let text = format!("version: 1\nstate:\n  secret: ${{S}}\n  share: {store}\nrules: []\n");
    policy(&text).state.share.expect("it shares")
}

fn nodes(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).expect("a node")
}

/// A policy with a store, and one rule by address with these fields.
fn rule(fields: &str) -> Policy {
    let text = format!(
        "version: 1\nstate: {{ secret_file: s, share: \"redis://a:1\" }}\nrules:\n  - {{ name: a, key: ip, {fields} }}\n"
    );
    policy(&text)
}

fn terms(policy: &Policy) -> SharingTerms {
    SharingTerms::of(&policy.rules, policy.state.share.is_some()).expect("there is a rule")
}

#[test]
fn a_store_is_a_ring_a_cluster_or_what_sentinels_watch() {
    let shown = |store: &str| {
        let address = share(store).store;
        let kind = match &address {
            StoreAddress::Ring(_) => "ring",
            StoreAddress::Cluster(_) => "cluster",
            StoreAddress::Sentinel { master, .. } => master,
        };
        let servers = address.servers().iter().map(|server| format!(" {server}"));
        format!("{kind}{}", servers.collect::<String>())
    };
    for (store, expected) in [
        ("redis://127.0.0.1:6379", "ring redis://127.0.0.1:6379"),
        ("redis://Redis.Internal:6379/", "ring redis://redis.internal:6379"),
        (
            "{ redis: [\"redis://a:1/3\", \"rediss://[2001:db8::1]:2\"] }",
            "ring redis://a:1/3 rediss://[2001:db8::1]:2",
        ),
        ("{ redis_cluster: \"redis://a:1\" }", "cluster redis://a:1"),
        (
            "{ sentinel: { servers: [\"redis://a:1\", \"redis://b:1\"], master: limits } }",
            "limits redis://a:1 redis://b:1",
        ),
    ] {
        assert_eq!(shown(store), expected);
    }
}

#[test]
fn whom_a_password_is_for_follows_from_where_it_stands() {
    let of = |username: Option<&str>, password: SecretSource| Credentials {
        username: username.map(str::to_owned),
        password: Some(password),
    };
    let variable = |name: &str| SecretSource::Variable(name.to_owned());
    let file = |path: &str| SecretSource::File(path.into());

    let each = share("{ redis: [\"rediss://gate:${A}@a:1\", \"rediss://:${B}@b:1\"] }");
    let [first, second] = each.store.servers() else {
        unreachable!("two servers")
    };
    assert_eq!(first.credentials, of(Some("gate"), variable("A")));
    assert_eq!(second.credentials, of(None, variable("B")));

    let all = share("{ redis: [\"rediss://a:1\", \"rediss://b:1\"], username: gate, password_file: p }");
    for server in all.store.servers() {
        assert_eq!(server.credentials, of(Some("gate"), file("p")));
    }

    let watched =
        share("{ sentinel: { servers: \"rediss://:${S}@a:1\", master: m }, username: gate, password: \"${M}\" }");
    let StoreAddress::Sentinel {
        servers, credentials, ..
    } = watched.store
    else {
        unreachable!("it is watched")
    };
    assert_eq!(servers[0].credentials, of(None, variable("S")));
    assert_eq!(credentials, of(Some("gate"), variable("M")));
}

#[test]
fn paths_of_secrets_and_certificates_start_at_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("policy.yaml");
    let text = "version: 1\nstate:\n  secret_file: secret\n  share:\n    redis: [\"rediss://a:1\", \"rediss://b:1\"]\n    \
                password_file: run/password\n    ca_file: ca.pem\n    client_cert: c.pem\n    client_key: /abs/k.pem\nrules: []\n";
    std::fs::write(&path, text).expect("our own folder");
    let (policy, _) = Policy::load(&path).expect("a sound policy");
    let at = |name: &str| folder.path().join(name);
    assert_eq!(policy.state.secret, Some(SecretSource::File(at("secret"))));
    let share = policy.state.share.expect("it shares");
    for server in share.store.servers() {
        assert_eq!(
            server.credentials.password,
            Some(SecretSource::File(at("run/password")))
        );
    }
    let client = share.tls.client.expect("it shows itself");
    assert_eq!(share.tls.ca_file, Some(at("ca.pem")));
    assert_eq!(
        (client.certificate.as_path(), client.private_key.as_path()),
        (at("c.pem").as_path(), Path::new("/abs/k.pem"))
    );
}

#[test]
fn a_local_limit_is_divided_by_its_fanout_and_never_rounded_up() {
    let divided = |fields: &str| {
        let text = format!("version: 1\nrules: [{{ name: a, key: ip, sharing: local, {fields} }}]\n");
        policy(&text).rules.remove(0).limit.to_string()
    };
    for (fields, expected) in [
        ("limit: 100/min, fanout: 1", "100/min"),
        ("limit: 100/min, fanout: 4", "25/min"),
        ("limit: 100/min burst 10, fanout: 4", "25/min burst 2"),
        // A rate that does not divide is slowed down, exactly.
        ("limit: 10/min, fanout: 3", "10 per 3min burst 3"),
        ("limit: 10/min, fanout: 3, algorithm: sliding_window", "3/min"),
        (
            "limit: 10/min, fanout: 3, algorithm: fixed_window, rationale: x",
            "3/min",
        ),
        ("limit: 10/min, fanout: 10, algorithm: sliding_log", "1/min"),
        ("limit: 10, fanout: 3, algorithm: concurrency", "3"),
        (
            "limit: 40/s burst 400, fanout: 4, algorithm: leaky_bucket, max_wait: 10s",
            "10/s burst 100",
        ),
        ("limit: 100/min", "100/min"),
    ] {
        assert_eq!(divided(fields), expected, "{fields}");
    }
    let text = "version: 1\nrules:\n  - { name: a, key: ip, sharing: local, fanout: 4, limit: 100/min }\n  \
                - { name: b, key: ip, sharing: local, fanout: 4, limit: 9/min burst 8, algorithm: leaky_bucket, free: 7, max_wait: 30s, overflow: 80/min }\n";
    let rules = policy(text).rules;
    assert_eq!(
        format!("{:?}", rules[0].overflow),
        format!("{:?}", policy(&text.replace("80/min", "100/min")).rules[0].overflow)
    );
    let told = |index: usize| match rules[index].overflow {
        sluicegate::policy::checked::Overflow::Shared(limit) => limit.to_string(),
        sluicegate::policy::checked::Overflow::Closed => "closed".to_owned(),
    };
    assert_eq!((told(0), told(1)), ("250/min".to_owned(), "20/min".to_owned()));
    // Of two units at most one is free, since the last always waits.
    assert!(
        format!("{:?}", rules[1].algorithm).contains("free: 1"),
        "{:?}",
        rules[1].algorithm
    );
}

#[test]
fn auto_chooses_by_limit_cost_and_nodes() {
    let mode = |fields: &str, live| terms(&rule(fields)).mode(nodes(live));
    for (fields, live, expected) in [
        ("limit: 1000/s", 100, Some(Mode::Hybrid)),
        ("limit: 1000/s", 101, Some(Mode::Leased)),
        ("limit: 5/min", 1, Some(Mode::Leased)),
        ("limit: 5/min", 100, Some(Mode::Leased)),
        ("limit: 2000/s, cost: 2", 100, Some(Mode::Hybrid)),
        ("limit: 2000/s, cost: 3", 100, Some(Mode::Leased)),
        ("limit: 2000/s, cost: header.x", 100, Some(Mode::Leased)),
        (
            "limit: 2000/s, cost: { reserve: header.x, max: 2 }",
            100,
            Some(Mode::Hybrid),
        ),
        (
            "limit: 2000/s, cost: { reserve: header.x, max: 2, default: 1 }, fanout: 200",
            1,
            Some(Mode::Leased),
        ),
        ("limit: 1000/s, algorithm: sliding_window", 100, Some(Mode::Hybrid)),
        ("limit: 9, algorithm: concurrency", 100, Some(Mode::Leased)),
        ("limit: 1000/s, sharing: exact", 100, Some(Mode::Exact)),
        ("limit: 1000/s, sharing: leased", 100, Some(Mode::Leased)),
        ("limit: 1000/s, sharing: local", 100, None),
        ("limit: 1000/s, algorithm: leaky_bucket", 100, Some(Mode::Hybrid)),
        ("limit: 1000/s, count: failures", 100, Some(Mode::Hybrid)),
        (
            "limit: 5 per 15min, count: failures, exceed: { lock: 15min }",
            2,
            Some(Mode::Leased),
        ),
        (
            "limit: 20000/min, cost: { reserve: header.x, max: 8000, settle: response./n }, sharing: exact",
            2,
            Some(Mode::Exact),
        ),
    ] {
        assert_eq!(mode(fields, live), expected, "{fields} on {live}");
    }
    let alone = policy("version: 1\nrules: [{ name: a, key: ip, limit: 1000/s }]\n");
    assert_eq!(terms(&alone).mode(nodes(3)), None);
}

#[test]
fn a_bucket_is_shared_by_the_strictest_of_its_rules() {
    let bucket = |second: &str| {
        let text = format!(
            "version: 1\nstate: {{ secret_file: s, share: \"redis://a:1\" }}\nroutes: [{{ name: a, path: /a }}, {{ name: b, path: /b }}]\n\
             rules:\n  - {{ name: a, bucket: x, routes: a, key: ip, limit: 2000/s }}\n  - {{ name: b, bucket: x, routes: b, key: ip, {second} }}\n"
        );
        terms(&policy(&text))
    };
    assert_eq!(bucket("limit: 2000/s").mode(nodes(100)), Some(Mode::Hybrid));
    assert_eq!(bucket("limit: 2000/s burst 900").mode(nodes(100)), Some(Mode::Leased));
    assert_eq!(bucket("limit: 2000/s, cost: 3").mode(nodes(100)), Some(Mode::Leased));
    let settles = bucket("limit: 2000/s, cost: { reserve: 1, settle: response./n }");
    assert_eq!(settles.mode(nodes(100)), Some(Mode::Hybrid));
    assert!(settles.holds && settles.plan().is_some_and(|plan| plan.terms.holds));
    let strictest = bucket("limit: 2000/s burst 900");
    assert_eq!(strictest.limit.to_string(), "2000/s burst 900");
    assert!(strictest.plan().is_some_and(|plan| !plan.terms.holds));
    let locks = terms(&rule("limit: 2000/s, exceed: { lock: 1h }"));
    assert_eq!(locks.plan().map(|plan| plan.terms.lock), Some(3_600e6));
}

#[test]
fn what_a_rule_can_have_of_sharing_is_said_of_each_kind() {
    for (fields, offered) in [
        ("limit: 9/s", Offered::Every),
        ("limit: 9/s, algorithm: sliding_window", Offered::Every),
        ("limit: 9/s, algorithm: fixed_window", Offered::Every),
        ("limit: 9/s, charge_refused: true", Offered::Every),
        ("limit: 9, algorithm: concurrency", Offered::Leases),
        ("limit: 9/s, algorithm: leaky_bucket", Offered::Every),
        (
            "limit: 9/s, algorithm: fixed_window, align: first_hit",
            Offered::Local(Alone::FirstHit),
        ),
        ("limit: 9/s, algorithm: sliding_log", Offered::Local(Alone::Log)),
        ("limit: 9/s, count: failures", Offered::Every),
        ("limit: 9/s, exceed: { lock: 1h }", Offered::Every),
        ("limit: 9/s, cost: { reserve: 1, settle: response./n }", Offered::Every),
        (
            "limit: 9/s, algorithm: sliding_window, cost: { reserve: 1, settle: response./n }",
            Offered::Every,
        ),
    ] {
        assert_eq!(rule(fields).rules[0].offered(), offered, "{fields}");
    }
}

#[test]
fn the_worst_case_of_a_rule_is_reckoned_for_its_nodes() {
    let excess = |fields: &str, live| {
        let policy = rule(fields);
        let terms = terms(&policy);
        (terms.excess(nodes(live)).units, terms.outage(nodes(live)))
    };
    let bounded = |units, rate| Outage::Bounded { units, rate };
    assert_eq!(excess("limit: 1000/s", 10), (100, bounded(1_900, 0.9)));
    assert_eq!(excess("limit: 1000/s, fanout: 20", 10), (100, bounded(1_950, 0.95)));
    assert_eq!(excess("limit: 5/min", 100), (0, bounded(10, 0.99)));
    assert_eq!(
        excess("limit: 1000/s, on_store_loss: closed", 10),
        (100, bounded(0, 0.0))
    );
    assert_eq!(
        excess("limit: 1000/s, on_store_loss: open", 10),
        (100, Outage::Unbounded)
    );
    assert_eq!(excess("limit: 1000/s, sharing: local", 10), (9_000, bounded(0, 0.0)));
    // Ten nodes with a fifth each.
    assert_eq!(
        excess("limit: 1000/s, sharing: local, fanout: 5", 10),
        (1_000, bounded(0, 0.0))
    );
}

#[test]
fn leases_have_a_quarter_of_the_memory_where_limits_are_shared() {
    let leases = |state: &str, rule: &str| {
        let text = format!(
            "version: 1\nstate: {{ memory: 160MiB{state} }}\nrules: [{{ name: a, key: ip, limit: 9/s{rule} }}]\n"
        );
        let policy = policy(&text);
        let Division {
            small,
            wide,
            logs,
            leases,
        } = policy.state.divide(&policy.rules);
        assert!(small + wide + logs + leases <= policy.state.memory);
        [small, leases].map(|bytes| (bytes + (1 << 19)) >> 20)
    };
    let store = ", secret_file: s, share: \"redis://a:1\"";
    assert_eq!(leases("", ""), [155, 0]);
    assert_eq!(leases(store, ""), [116, 40]);
    // Room for a rule that a reload may add.
    assert_eq!(leases(store, ", sharing: local"), [153, 3]);
    assert_eq!(leases(store, ", algorithm: leaky_bucket"), [116, 40]);
    assert_eq!(
        leases(
            &format!("{store}, split: {{ small: 50%, wide: 20%, logs: 20%, leases: 10% }}"),
            ""
        ),
        [80, 16]
    );
}

#[test]
fn a_file_is_judged_for_the_nodes_that_share_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("policy.yaml");
    let text = "version: 1\nstate: { secret_file: s, share: \"redis://a:1\" }\n\
                rules: [{ name: a, key: ip, limit: 50/min, sharing: hybrid }]\n";
    std::fs::write(&path, text).expect("our own folder");
    let text = PolicyText::read(&path).expect("it is there");
    assert!(text.policy().expect("five are a tenth").1.is_empty());
    let (_, warnings) = text.policy_for(nodes(6)).expect("six are more than a tenth");
    assert!(
        warnings[0].text.contains("6·1 = 6 tokens pass beyond 50"),
        "{warnings:?}"
    );
    let faults = text.policy_for(nodes(51)).expect_err("51 are more than there are");
    assert!(
        faults.to_string().contains("51·1 = 51 tokens pass beyond 50"),
        "{faults}"
    );
}
