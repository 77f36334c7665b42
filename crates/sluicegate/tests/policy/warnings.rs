//! What is allowed and probably not meant.

use crate::read;

/// The places that warnings are about, each with a part of what is said.
#[track_caller]
fn check_warnings(text: &str, expected: &[(&str, &str)]) {
    let (_, warnings) = read(&format!("version: 1\n{text}"));
    let told = warnings
        .iter()
        .map(|warning| format!("{warning}\n"))
        .collect::<Vec<_>>()
        .concat();
    assert_eq!(warnings.len(), expected.len(), "{told}");
    for (warning, (place, part)) in warnings.iter().zip(expected) {
        assert!(
            warning.place == *place && warning.text.contains(part),
            "no {part:?} at {place} in\n{told}"
        );
    }
}

#[test]
fn a_rule_by_what_a_client_types_needs_one_by_address_beside_it() {
    let typed = "is not limited";
    let routes = "routes: [{ name: a, path: /a }, { name: b, path: /b }]\nrules:\n";
    let rule = |fields: &str| format!("  - {{ name: \"{fields}\", limit: 1/s, {fields} }}\n");
    let check = |rules: &[&str], expected: &[(&str, &str)]| {
        let rules = rules.iter().map(|fields| rule(fields)).collect::<Vec<_>>().concat();
        check_warnings(&format!("{routes}{rules}"), expected);
    };
    check(&["key: header.x-api-key"], &[("rules[0].key", typed)]);
    check(&["key: host"], &[("rules[0].key", typed)]);
    // A tuple changes with each of its parts.
    check(&["key: [ip, header.x-api-key]"], &[("rules[0].key", typed)]);
    check(&["key: header.x-api-key", "key: []"], &[("rules[0].key", typed)]);
    check(
        &["key: header.x-api-key", "key: ip, enforce: 0%"],
        &[("rules[0].key", typed)],
    );
    check(
        &["key: header.x-api-key", "key: [ip, host]"],
        &[("rules[0].key", typed), ("rules[1].key", typed)],
    );
    check(
        &["key: header.x-api-key, routes: [a, b]", "key: ip, routes: a"],
        &[("rules[0].key", "on the route \"b\"")],
    );
    check(
        &["key: header.x-api-key", "key: ip, routes: [a, b]"],
        &[("rules[0].key", typed)],
    );

    check(&["key: header.x-api-key", "key: ip"], &[]);
    check(&["key: header.x-api-key", "key: [ip, route]"], &[]);
    check(
        &["key: header.x-api-key, routes: [a, b]", "key: ip, routes: [b, a]"],
        &[],
    );
    check(&["key: [ip, method]"], &[]);
}

#[test]
fn a_cost_that_a_client_names_needs_a_rule_beside_it_that_counts() {
    let rule = "  - { name: a, key: ip, limit: 9/s, cost: header.x-cost }\n";
    let zero = &[("rules[0].cost", "sends 0 as `header.x-cost`")];
    check_warnings(&format!("rules:\n{rule}"), zero);
    check_warnings(
        &format!("rules:\n{rule}  - {{ name: b, key: ip, limit: 9/s, enforce: 0% }}\n"),
        zero,
    );
    check_warnings(
        &format!("rules:\n{rule}  - {{ name: b, key: ip, limit: 9/s, cost: header.y }}\n"),
        &[zero[0], ("rules[1].cost", "sends 0 as `header.y`")],
    );
    check_warnings(&format!("rules:\n{rule}  - {{ name: b, key: [], limit: 9/s }}\n"), &[]);
    let settled = rule.replace(
        "header.x-cost",
        "{ reserve: header.x-cost, settle: response.header.x-cost }",
    );
    check_warnings(&format!("rules:\n{settled}"), &[]);
    check_warnings(
        &format!(
            "rules:\n{}",
            settled.replace("reserve: header.x-cost", "reserve: header.x-cost, max: 10")
        ),
        &[("rules[0].cost.max", "a claim above 9 never passes")],
    );
}

#[test]
fn what_an_account_s_lock_does_to_its_owner_is_said_until_the_policy_says_why() {
    let check = |fields: &str, expected: &[(&str, &str)]| {
        let routes = "routes: [{ name: a, path: /a }]";
        check_warnings(
            &format!("{routes}\nrules: [{{ name: a, routes: a, limit: 5/h, {fields} }}]\n"),
            expected,
        );
    };
    let account = "key: body./user, count: failures";
    check(
        account,
        &[(
            "rules[0].key",
            "with 5 failed attempts whoever knows another's `body./user` keeps its owner out",
        )],
    );
    check(
        &format!("{account}, exceed: {{ lock: 90min }}"),
        &[("rules[0].key", "keeps its owner out for 90min")],
    );
    check(&format!("{account}, rationale: there is a mail"), &[]);
    check("key: [ip, body./user], count: failures", &[]);
    check("key: ip, count: failures, exceed: { lock: 1h }", &[]);
    check(
        "key: [], exceed: { lock: 1h }",
        &[("rules[0].key", "keeps everybody out for 1h")],
    );
}

#[test]
fn what_an_algorithm_s_name_does_not_tell_is_told() {
    let check = |fields: &str, expected: &[(&str, &str)]| {
        check_warnings(&format!("rules: [{{ name: a, key: ip, {fields} }}]\n"), expected);
    };
    check(
        "limit: 10/s, algorithm: fixed_window",
        &[("rules[0].algorithm", "up to 20 may pass within a moment")],
    );
    check("limit: 10/s, algorithm: fixed_window, rationale: a contract", &[]);
    check("limit: 10/s, algorithm: sliding_window", &[]);
    check(
        "limit: 10/s, algorithm: sliding_window, count: failures",
        &[("rules[0].algorithm", "nearly twice the count")],
    );
    check("limit: 10/s, algorithm: sliding_log", &[]);
    // Nine wait behind the first, the last of them for 900 ms.
    check("limit: 10/s, algorithm: leaky_bucket", &[]);
    check("limit: 10/s, algorithm: leaky_bucket, max_wait: 1125ms", &[]);
    check(
        "limit: 10/s, algorithm: leaky_bucket, max_wait: 1126ms",
        &[("rules[0].max_wait", "no request ever waits longer than 900ms")],
    );
    check(
        "limit: 10/s, algorithm: leaky_bucket, max_wait: 900ms, free: 4",
        &[("rules[0].max_wait", "no request ever waits longer than 500ms")],
    );
    check(
        "limit: 10/s burst 100, algorithm: leaky_bucket",
        &[("rules[0].limit", "of a burst of 100 only 11 ever pass at once")],
    );
    check("limit: 10/s burst 100, algorithm: leaky_bucket, max_wait: 9900ms", &[]);
}

#[test]
fn a_rule_that_reads_the_body_of_every_request_is_warned_of() {
    let check = |rule: &str, expected: &[(&str, &str)]| {
        check_warnings(
            &format!(
                "routes: [{{ name: a, path: /a }}]\nrules:\n  - {{ name: a, key: ip, limit: 9/s }}\n  - {{ name: b, limit: 9/s, {rule} }}\n"
            ),
            expected,
        );
    };
    check("key: body./a", &[("rules[1].key", "the body of every request")]);
    check(
        "key: ip, cost: body./n",
        &[("rules[1].cost", "the body of every request")],
    );
    check("key: body./a, routes: a", &[]);
}

#[test]
fn what_weakens_a_policy_is_warned_of() {
    check_warnings("", &[("rules", "no rules")]);
    check_warnings("rules: []\n", &[("rules", "no rules")]);
    let ip = "rules: [{ name: a, key: ip, limit: 1/s";
    check_warnings(&format!("{ip} }}]\n"), &[]);
    check_warnings(
        &format!("{ip}, on_missing_key: skip }}]\n"),
        &[("rules[0].on_missing_key", "leaves a part of the key out")],
    );
    check_warnings(
        "rules: [{ name: a, key: [], limit: 1/s, on_missing_key: ip }]\n",
        &[("rules[0].on_missing_key", "no key")],
    );
    check_warnings(
        &format!("{ip}, enforce: 50% }}]\n"),
        &[("rules[0].enforce", "drawn anew at each start")],
    );
    check_warnings(&format!("state: {{ directory: s }}\n{ip}, enforce: 50% }}]\n"), &[]);
    check_warnings(&format!("state: {{ secret_file: s }}\n{ip}, enforce: 50% }}]\n"), &[]);
    check_warnings(
        &format!("routes: [{{ name: a, path: /a }}, {{ name: b, path: /b }}]\n{ip}, routes: b }}]\n"),
        &[("routes[0]", "no rule applies to the route \"a\"")],
    );
    check_warnings(
        "rules: [{ name: a, key: ip, limit: 1/s }, { name: b, key: header.x-forwarded-for, limit: 1/s }]\n",
        &[("rules[1].key", "any address into `x-forwarded-for`")],
    );
    check_warnings(
        &format!("identity: {{ trusted_proxies: 8.0.0.0/6, address_prefix: {{ v6: 96 }} }}\n{ip} }}]\n"),
        &[
            ("identity.trusted_proxies", "everybody in 8.0.0.0/6"),
            ("identity.address_prefix.v6", "2^32 addresses"),
        ],
    );
    check_warnings(
        &format!("identity: {{ forwarded_header: forwarded }}\n{ip} }}]\n"),
        &[("identity.forwarded_header", "no proxy is trusted")],
    );
}

#[test]
fn a_limit_that_nodes_hold_worse_than_it_says_is_warned_of() {
    let check = |share: &str, rule: &str, expected: &[(&str, &str)]| {
        check_warnings(
            &format!("state: {{ secret_file: s, share: {share} }}\nrules: [{{ name: a, key: ip, {rule} }}]\n"),
            expected,
        );
    };
    let one = "\"redis://a:1\"";
    let hundred = "{ redis: \"redis://a:1\", fanout: 100 }";
    check(hundred, "limit: 1000/s", &[]);
    check(hundred, "limit: 5/min", &[]);
    check(hundred, "limit: 1000/s, sharing: hybrid", &[]);
    check(
        hundred,
        "limit: 500/s, sharing: hybrid",
        &[(
            "rules[0].sharing",
            "100·1 = 100 tokens pass beyond 500, more than a tenth",
        )],
    );
    let claimed = ("rules[0].cost", "sends 0 as");
    check(
        hundred,
        "limit: 1000/s, sharing: hybrid, cost: header.x",
        &[
            ("rules[0].cost", "may spend 1 unasked, and a request may take 1000"),
            claimed,
        ],
    );
    check(
        hundred,
        "limit: 1000/s, sharing: hybrid, cost: { reserve: header.x, max: 1 }",
        &[claimed],
    );

    let each = "each node keeps this limit for itself";
    check(one, "limit: 9/s, algorithm: leaky_bucket", &[]);
    check(one, "limit: 9/s, algorithm: sliding_log", &[("rules[0]", each)]);
    check(
        one,
        "limit: 9/s, algorithm: sliding_log, sharing: auto",
        &[("rules[0].sharing", each)],
    );
    check(one, "limit: 9/s, count: failures", &[]);
    check(one, "limit: 9/s, exceed: { lock: 1h }, sharing: auto", &[]);
    check(one, "limit: 9/s, algorithm: leaky_bucket, sharing: local", &[]);
    check(one, "limit: 9/s, sharing: local", &[]);
    check(
        hundred,
        "limit: 9/s, sharing: local",
        &[("rules[0].sharing", "on 100 nodes 891 tokens pass beyond 9")],
    );
    check(hundred, "limit: 900/s, sharing: local, fanout: 100", &[]);
    check(
        hundred,
        "limit: 500/s, sharing: local, fanout: 50",
        &[("rules[0].sharing", "on 100 nodes 500 tokens pass beyond 500")],
    );

    check(one, "limit: 9/s, on_store_loss: closed", &[]);
    check(
        one,
        "limit: 9/s, on_store_loss: open",
        &[("rules[0].on_store_loss", "whoever brings the store down")],
    );
}

#[test]
fn a_password_that_others_can_read_on_its_way_is_warned_of() {
    let check = |share: &str, expected: &[(&str, &str)]| {
        check_warnings(
            &format!("state: {{ secret_file: s, share: {share} }}\nrules: [{{ name: a, key: ip, limit: 9/s }}]\n"),
            expected,
        );
    };
    let plain = |place| [(place, "the password crosses the network")];
    check("\"redis://:${P}@a:1\"", &plain("state.share"));
    check("\"rediss://:${P}@a:1\"", &[]);
    check("\"redis://a:1\"", &[]);
    for here in ["localhost", "127.0.0.1", "[::1]"] {
        check(&format!("\"redis://:${{P}}@{here}:1\""), &[]);
    }
    check(
        "{ redis: \"redis://10.0.0.1:1\", password_file: p }",
        &plain("state.share.redis"),
    );
    check(
        "{ sentinel: { servers: \"redis://10.0.0.1:1\", master: m }, password_file: p }",
        &plain("state.share.sentinel.servers"),
    );
}
