//! Documents, schema and reader say the same.

use serde_json::Value;
use sluicegate::policy::checked::{Admin, Caps, Deadlines, Identity, Paths, SNAPSHOT_EVERY, State};
use sluicegate::policy::{Policy, parse_keys, schema};

use crate::{IDENTITY_DOC, POLICY_DOC, examples, policy, read};

#[test]
fn every_documented_example_is_sound_and_what_the_schema_asks_for() {
    let examples = examples(POLICY_DOC).into_iter().chain(examples(IDENTITY_DOC));
    let mut count = 0;
    for example in examples {
        if example.contains("\nkeys:\n") {
            // The one file that stands there beside policies.
            assert!(parse_keys("keys.yaml", example).is_ok(), "{example}");
            continue;
        }
        if example.contains("jwt:") && !cfg!(feature = "jwt") {
            // What this build does not read is told, and is no example of a sound file.
            continue;
        }
        let (_, warnings) = read(example);
        assert!(warnings.is_empty(), "{warnings:?}");
        let json: Value = serde_saphyr::from_str(example).expect("sound YAML");
        assert_eq!(mismatch(&schema(), &json, ""), None, "{example}");
        count += 1;
    }
    assert_eq!(count, if cfg!(feature = "jwt") { 6 } else { 5 });
}

#[test]
fn the_schema_refuses_what_the_reader_refuses_by_form() {
    for text in [
        "rules: []",
        "version: 2",
        "version: 1\nrule: []",
        "version: 1\nrules: { name: a }",
        "version: 1\nrules: [{ name: a, key: ip }]",
        "version: 1\nrules: [{ name: a, key: ip, limit: 5.5 }]",
        "version: 1\nrules: [{ name: a, key: ip, limit: 1/s, shadow: true }]",
        "version: 1\nrules: [{ name: a, key: ip, limit: 1/s, algorithm: gcra }]",
        "version: 1\nrules: [{ name: a, key: ip, limit: 1/s, routes: [] }]",
        "version: 1\nrules: [{ name: a, key: ip, limit: 0, algorithm: concurrency }]",
        "version: 1\nrules: [{ name: a, key: { trim: true }, limit: 1/s }]",
        "version: 1\nrules: [{ name: a, key: { body: /a, trim: 1 }, limit: 1/s }]",
        "version: 1\nrules: [{ name: a, key: ip, limit: 1/s, cost: { by: colour } }]",
        "version: 1\nrules: [{ name: a, key: ip, limit: 1/s, cost: -1 }]",
        "version: 1\nrules: [{ name: a, key: ip, limit: 1/s, count: errors }]",
        "version: 1\nrules: [{ name: a, key: ip, limit: 1/s, count: failures, failed_when: 503 }]",
        "version: 1\nrules: [{ name: a, key: ip, limit: 1/s, exceed: [] }]",
        "version: 1\nrules: [{ name: a, key: ip, limit: 1/s, exceed: { block: 1min } }]",
        "version: 1\nrules: [{ name: a, key: ip, limit: 1/s, charge_refused: 1 }]",
        "version: 1\nstate: { split: { small: 50%, wide: 50% } }",
        "version: 1\nstate: { waiting: 0 }",
        "version: 1\nstate: { secret_file: s, share: [] }",
        "version: 1\nstate: { secret_file: s, share: { redis: [] } }",
        "version: 1\nstate: { secret_file: s, share: { redis: \"redis://a:1\", fanout: 0 } }",
        "version: 1\nstate: { secret_file: s, share: { sentinel: { servers: \"redis://a:1\" } } }",
        "version: 1\nrules: [{ name: a, key: ip, limit: 1/s, sharing: shared }]",
        "version: 1\nrules: [{ name: a, key: ip, limit: 1/s, on_store_loss: skip }]",
        "version: 1\nstate: { memory: 5 }",
        "version: 1\nidentity: { address_prefix: { v6: 129 } }",
        "version: 1\ngateway: { listen: 0.0.0.0:1 }",
        "version: 1\ngateway: { listen: 0.0.0.0:1, upstreams: {} }",
        "version: 1\ngateway: { listen: 0.0.0.0:1, threads: 0, upstreams: { a: { servers: a:1 } } }",
    ] {
        let json: Value = serde_saphyr::from_str(text).expect("sound YAML");
        assert!(mismatch(&schema(), &json, "").is_some(), "{text}");
        Policy::parse("policy.yaml", text).expect_err(text);
    }
}

#[test]
fn every_field_is_described_in_the_schema_and_in_the_document() {
    let schema = schema();
    let mut fields = Vec::new();
    properties(&schema, "", &mut fields);
    assert!(fields.len() > 50, "{}", fields.len());
    for (place, field) in fields {
        let described = field.get("description").and_then(Value::as_str).unwrap_or_default();
        assert!(
            described.len() > 15 && described.ends_with('.'),
            "{place}: {described:?}"
        );
        let name = place.rsplit('.').next().unwrap_or_default();
        let in_words = [format!("`{name}`"), format!(".{name}**"), format!("`{name}:")];
        assert!(
            in_words.iter().any(|word| POLICY_DOC.contains(word)),
            "{place} is not in docs/policy.md"
        );
        if let Some(default) = field.get("default") {
            let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
            assert!(
                POLICY_DOC.contains(&default),
                "{place}: the default {default} is not in docs/policy.md"
            );
        }
    }
}

#[test]
fn the_defaults_that_the_schema_names_are_the_defaults() {
    let schema = schema();
    let defaults = |path: &str| {
        let fields = schema.pointer(path).and_then(Value::as_object).expect("fields");
        let lines = fields
            .iter()
            .filter_map(|(name, field)| Some((name, field.get("default")?)));
        lines
            .map(|(name, default)| format!("{name}: {default}, "))
            .collect::<Vec<_>>()
            .concat()
    };
    let section = |name: &str| defaults(&format!("/properties/{name}/properties"));
    let said = policy(&format!(
        "version: 1\nadmin: {{ {} }}\nstate: {{ directory: s, {} }}\n\
         identity: {{ trusted_proxies: 10.0.0.1, {} address_prefix: {{ {} }} }}\n\
         paths: {{ {} }}\n\
         gateway:\n  listen: 0.0.0.0:80\n  upstreams: {{ a: {{ servers: a:1 }} }}\n  deadlines: {{ {} }}\n  caps: {{ {} }}\n  method_override: strip\n\
         rules: []\n",
        section("admin"),
        section("state"),
        section("identity"),
        defaults("/properties/identity/properties/address_prefix/properties"),
        section("paths"),
        defaults("/properties/gateway/properties/deadlines/properties"),
        defaults("/properties/gateway/properties/caps/properties"),
    ));
    let gateway = said.gateway.expect("there is a gateway");
    assert_eq!(
        (gateway.deadlines, gateway.caps),
        (Deadlines::default(), Caps::default())
    );
    assert_eq!(
        (said.admin.listen, said.state.memory, said.state.waiting),
        (
            Admin::default().listen,
            State::default().memory,
            State::default().waiting
        )
    );
    assert_eq!(said.state.snapshot_every, Some(SNAPSHOT_EVERY));
    assert_eq!(said.identity.forwarded_header, Identity::default().forwarded_header);
    assert_eq!(said.paths, Paths::default());
    let numbers = |identity: &Identity| (identity.v4_prefix, identity.v6_prefix, identity.body_bytes);
    assert_eq!(numbers(&said.identity), numbers(&Identity::default()));
}

#[test]
fn a_rule_that_says_its_defaults_is_the_rule_that_does_not() {
    let schema = schema();
    let defaults = |path: &str| {
        let fields = schema.pointer(path).and_then(Value::as_object).expect("fields").iter();
        fields
            .filter_map(|(name, field)| Some((name.clone(), field.get("default")?.clone())))
            .collect::<Vec<_>>()
    };
    let check = |fields: &str, more: &str| {
        let rule = |fields: &str| {
            let text = format!("version: 1\nrules: [{{ name: a, key: ip, limit: 5/s, {fields} }}]\n");
            format!("{:?}", policy(&text).rules)
        };
        assert_eq!(rule(&format!("{fields}{more}")), rule(fields), "{fields}{more}");
    };
    let of_rule = defaults("/properties/rules/items/properties");
    assert!(of_rule.len() >= 9, "{of_rule:?}");
    for (name, default) in of_rule {
        let knows_it = match name.as_str() {
            "max_wait" | "free" => "algorithm: leaky_bucket, ",
            "align" => "algorithm: fixed_window, ",
            _ => "",
        };
        check(knows_it, &format!("{name}: {default}, "));
    }
    for (name, default) in defaults("/properties/rules/items/properties/cost/anyOf/1/properties") {
        let cost = |more: &str| format!("cost: {{ reserve: header.x-cost{more} }}");
        let text = |cost: &str| format!("version: 1\nrules: [{{ name: a, key: ip, limit: 5/s, {cost} }}]\n");
        let said = policy(&text(&cost(&format!(", {name}: {default}"))));
        assert_eq!(said.rules[0].cost, policy(&text(&cost(""))).rules[0].cost, "{name}");
    }
}

/// Where `value` is not what the schema asks for. Knows the keywords that our schema uses, patterns aside, and no others.
fn mismatch(schema: &Value, value: &Value, place: &str) -> Option<String> {
    let number = |keyword: &Value| keyword.as_u64().expect("a number");
    let no = |keyword: &str| Some(format!("{place}: {keyword}"));
    for (keyword, asked) in schema.as_object().expect("a schema") {
        let found = match keyword.as_str() {
            "type" => match (asked.as_str().expect("a type"), value) {
                ("object", Value::Object(_))
                | ("array", Value::Array(_))
                | ("string", Value::String(_))
                | ("boolean", Value::Bool(_)) => None,
                ("integer", Value::Number(number)) if number.is_u64() => None,
                _ => no("type"),
            },
            "const" if value != asked => no("const"),
            "enum" if !asked.as_array().expect("values").contains(value) => no("enum"),
            "minimum" if value.as_u64().is_some_and(|value| value < number(asked)) => no("minimum"),
            "maximum" if value.as_u64().is_some_and(|value| value > number(asked)) => no("maximum"),
            "minItems"
                if value
                    .as_array()
                    .is_some_and(|items| (items.len() as u64) < number(asked)) =>
            {
                no("minItems")
            }
            "maxItems" if value.as_array().is_some_and(|items| items.len() as u64 > number(asked)) => no("maxItems"),
            "minProperties" if value.as_object().is_some_and(serde_json::Map::is_empty) => no("minProperties"),
            "required" => {
                let names = asked
                    .as_array()
                    .expect("names")
                    .iter()
                    .map(|name| name.as_str().expect("a name"));
                names.filter(|name| value.get(name).is_none()).find_map(no)
            }
            "anyOf" => {
                let ways = asked.as_array().expect("schemas");
                if ways.iter().any(|way| mismatch(way, value, place).is_none()) {
                    None
                } else {
                    no("anyOf")
                }
            }
            "items" => {
                let mut items = value.as_array().into_iter().flatten().enumerate();
                items.find_map(|(index, item)| mismatch(asked, item, &format!("{place}[{index}]")))
            }
            "properties" => {
                let mut fields = value.as_object().into_iter().flatten();
                fields.find_map(|(name, field)| mismatch(asked.get(name)?, field, &format!("{place}.{name}")))
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                let others = value.as_object().into_iter().flatten();
                let mut others = others.filter(|(name, _)| known.is_none_or(|known| !known.contains_key(*name)));
                if asked.is_object() {
                    others.find_map(|(name, field)| mismatch(asked, field, &format!("{place}.{name}")))
                } else {
                    others.next().and_then(|(name, _)| no(name))
                }
            }
            "const" | "enum" | "minimum" | "maximum" | "minItems" | "maxItems" | "minProperties" | "maxProperties"
            | "$schema" | "title" | "description" | "default" | "examples" | "pattern" | "propertyNames"
            | "minLength" | "maxLength" => None,
            other => unreachable!("the keyword {other} is not known to this check"),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Each property of the schema with its place and its schema, its short form's too.
fn properties<'s>(schema: &'s Value, place: &str, found: &mut Vec<(String, &'s Value)>) {
    for (name, field) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let place = format!("{place}.{name}");
        found.push((place.clone(), field));
        properties(field, &place, found);
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(keyword).filter(|inner| inner.is_object()) {
            properties(inner, place, found);
        }
    }
    for way in schema.get("anyOf").and_then(Value::as_array).into_iter().flatten() {
        properties(way, place, found);
    }
}
