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
