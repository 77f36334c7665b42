//! What expressions say of a request, and what is wrong with those that make no sense.

#![allow(clippy::panic, reason = "a test's way to fail")]

use std::borrow::Cow;
use std::net::IpAddr;

use super::*;

const SCOPE: Scope<'_> = Scope {
    routes: Some(&["login", "rest"]),
    path_parts: Some(&["id", "owner"]),
    body: true,
};

/// `POST https://a.example/items/7?page=2&name=ann`, from 10.1.2.3.
struct Post;

impl Facts for Post {
    fn text(&self, attribute: &Attribute) -> Result<Cow<'_, str>, NoValue> {
        Ok(Cow::Borrowed(match attribute.to_string().as_str() {
            "route" => "login",
            "sensitivity" => "critical",
            "method" => "POST",
            "host" => "a.example",
            "path" => "/items/7",
            "path.id" => "7",
            "header.x-plan" => "Gold",
            "header.x-bytes" => return Err(NoValue),
            "query.page" => "2",
            "cookie.session" => "abc",
            "body./model" => "large",
            _ => "",
        }))
    }

    fn has(&self, attribute: &Attribute) -> bool {
        self.text(attribute).map_or(true, |text| !text.is_empty())
    }

    fn address(&self) -> Option<IpAddr> {
        Some([10, 1, 2, 3].into())
    }
}

#[track_caller]
fn check(text: &str, expected: Result<bool, NoValue>) -> Condition {
    let condition = Condition::read(text, &SCOPE).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
    assert_eq!(condition.holds(&Post), expected, "{text}");
    condition
}

#[track_caller]
fn check_native(text: &str, expected: bool) {
    assert!(
        check(text, Ok(expected)).is_native(),
        "{text} is left to the interpreter"
    );
}

#[test]
fn what_is_common_is_answered_natively() {
    for (text, expected) in [
        ("true", true),
        ("method == \"POST\"", true),
        ("method != 'POST'", false),
        ("\"POST\" == method", true),
        ("method in [\"GET\", \"POST\"]", true),
        ("!(method in [\"GET\", \"HEAD\"])", true),
        ("path.startsWith(\"/items/\") && path.endsWith(\"7\")", true),
        ("path.contains(\"tem\") || method == \"GET\"", true),
        ("path.matches(\"^/items/[0-9]+$\")", true),
        ("matches(path, '(?i)^/ITEMS')", true),
        ("size(path) == 8 && path.size() < 9", true),
        ("has(header.absent)", false),
        ("\"x-plan\" in header && !(\"x-other\" in header)", true),
        ("header[\"x-absent\"] == \"\"", true),
        ("lower(header[\"x-plan\"]) == \"gold\"", true),
        ("header[\"x-plan\"].lowerAscii().startsWith(\"go\")", true),
        ("lower(header[\"x-plan\"]) in [\"gold\", \"silver\"]", true),
        ("in_network(ip, \"10.1.0.0/16\")", true),
        ("in_network(ip, [\"192.0.2.0/24\", \"10.0.0.0/8\"])", true),
        ("ip == \"10.1.2.3\" && ip in [\"10.1.2.3\"] && ip != \"::1\"", true),
        ("ip == \"::ffff:10.1.2.3\"", true),
        ("path.id == \"7\" && path[\"owner\"] == \"\"", true),
        ("query.page == \"2\" && cookie.session == \"abc\"", true),
        ("body[\"/model\"] == \"large\"", true),
        ("route == \"login\" && sensitivity == \"critical\"", true),
        ("int(query.page) * 2 + 1 == 5", true),
        ("max(1, min(int(query.page), 9)) >= 2", true),
        ("(has(query.page) ? int(query.page) : 1) > 1", true),
        ("(method == \"POST\") == (path == \"/\")", false),
        ("\"a\" + string(1) == \"a1\"", true),
        ("-1 < 0 && 7 % 4 == 3 && 7 / 2 == 3", true),
        ("1 in [1, 2] && !(3 in [1, 2])", true),
        ("path < \"/j\" && path >= \"/items\"", true),
    ] {
        check_native(text, expected);
    }
}

#[test]
fn the_rest_is_left_to_the_interpreter_and_says_what_cel_says() {
    for (text, expected) in [
        ("[\"/a\", \"/items\"].exists(p, path.startsWith(p))", true),
        ("[\"/a\", \"/items\"].all(p, path.startsWith(p))", false),
        ("[1, 2, 3].filter(n, n > 1).map(n, n * 2) == [4, 6]", true),
        ("[1, 2].exists_one(n, n == int(query.page))", true),
        ("{\"free\": 1, \"Gold\": 5}[header[\"x-plan\"]] == 5", true),
        ("\"Gold\" in {\"Gold\": 1}", true),
        ("path in [\"/a\", \"/items/\" + path.id]", true),
        ("[path, host][1] == \"a.example\"", true),
        ("size([1, 2] + [3]) == 3", true),
        ("[\"GOLD\"].exists(p, lower(p) == lower(header[\"x-plan\"]))", true),
        ("[1, 5].map(n, max(n, 3)) == [3, 5]", true),
        ("[[1], []].exists(l, size(l) == 0)", true),
        (
            "method == \"GET\" || [\"a\"].exists(a, [\"b\"].exists(b, a + b == \"ab\"))",
            true,
        ),
    ] {
        assert!(!check(text, Ok(expected)).is_native(), "{text} needs no interpreter");
    }
}

#[test]
fn what_cannot_be_reckoned_has_no_value_unless_another_part_decides() {
    for text in [
        "int(header[\"x-plan\"]) == 1",
        "int(header[\"x-absent\"]) == 1",
        "int(\"+\" + query.page) == 2",
        "1 / (int(query.page) - 2) == 1",
        "9223372036854775807 + int(query.page) > 0",
        "header[\"x-bytes\"] == \"a\"",
        "{\"free\": 1}[header[\"x-plan\"]] == 1",
        "[1][int(query.page)] == 1",
    ] {
        check(text, Err(NoValue));
        check(&format!("true || {text}"), Ok(true));
        check(&format!("{text} || true"), Ok(true));
        check(&format!("{text} && false"), Ok(false));
        check(&format!("{text} && true"), Err(NoValue));
    }
}

#[test]
fn an_amount_is_a_whole_number_that_is_not_below_zero() {
    let of = |text| Amount::read(text, &SCOPE).expect(text).of(&Post);
    assert_eq!(of("has(query.page) ? int(query.page) * 10 : 1"), Ok(20));
    assert_eq!(of("{\"login\": 7}[route]"), Ok(7));
    assert_eq!(of("int(query.page) - 3"), Err(NoValue));
    assert!(Amount::read("path", &SCOPE).is_err());
}

#[test]
fn what_makes_no_sense_is_named_with_its_remedy() {
    for (text, problem, remedy) in [
        ("", "nothing in it", "method"),
        ("method = \"POST\"", "no expression of CEL", "write one"),
        ("(((", "no expression of CEL", "write one"),
        ("methd == \"POST\"", "`methd` is no attribute", "did you mean `method`?"),
        (
            "path.beginsWith(\"/a\")",
            "no function `beginsWith`",
            "the functions are",
        ),
        (
            "path.startWith(\"/a\")",
            "no function `startWith`",
            "did you mean `startsWith`?",
        ),
        ("startsWith(path, \"/a\")", "does not take", "path.startsWith"),
        ("method == 1", "a text beside a whole number", "int("),
        ("method", "the condition is a text", "compare it"),
        ("size(path)", "the condition is a whole number", "true or false"),
        ("method == \"get\"", "methods are in capitals", "\"GET\""),
        ("route == \"logn\"", "no route \"logn\"", "did you mean \"login\"?"),
        (
            "sensitivity == \"critcal\"",
            "no sensitivity",
            "did you mean \"critical\"?",
        ),
        ("path.startsWith(\"items\")", "no path begins", "\"/items\""),
        ("path == \"/a?b=c\"", "has a query", "query.NAME"),
        ("host == \"A.example\"", "small letters", "\"a.example\""),
        (
            "lower(header.accept) == \"Json\"",
            "nothing in small letters",
            "\"json\"",
        ),
        ("ip == \"10.0.0.0/8\"", "no address", "in_network"),
        (
            "ip.startsWith(\"10.\")",
            "an address, and has to be a text",
            "in_network",
        ),
        (
            "in_network(ip, \"10.1.2.3/8\")",
            "bits behind its prefix",
            "\"10.0.0.0/8\"",
        ),
        ("in_network(ip, host)", "known before any request", "in quotes"),
        ("header.x_plan == \"a\"", "underscore", "header[\"x-plan\"]"),
        ("header[path] == \"a\"", "known before any request", "in quotes"),
        ("header == \"a\"", "family", "a text"),
        ("path.ids == \"7\"", "{ids}", "did you mean `path.id`?"),
        ("path.matches(\"(\")", "no pattern", "RE2"),
        ("path.matches(host)", "known before any request", "in quotes"),
        (
            "[\"a\"].exists(p, p.matches(\"a\"))",
            "what a macro names",
            "one pattern",
        ),
        (
            "[\"a\"].exists(path, path == \"a\")",
            "the name of an attribute",
            "another name",
        ),
        ("[\"a\", 1].exists(p, true)", "of one kind", "all as"),
        ("path.exists(p, true)", "only lists", "write a list"),
        ("1.5 > 1", "fractions", "whole number"),
        ("null == path", "null", "empty text"),
        ("header[\"a b\"] == \"\"", "names no header", "x-plan"),
        ("1 / 0 == 1", "divided by 0", "another number"),
        ("true < false", "neither more nor less", "=="),
        ("google.protobuf.Any{} == path", "no part of conditions", "attributes"),
        ("foo.bar == \"\"", "nothing called `bar`", "header["),
    ] {
        let fault = Condition::read(text, &SCOPE).expect_err(text);
        assert!(
            fault.problem.contains(problem) && fault.remedy.contains(remedy),
            "{text}: {fault:?}"
        );
    }
}

#[test]
fn what_an_expression_may_cost_has_a_bound() {
    let long = format!("path == \"/{}\"", "a".repeat(EXPRESSION_BYTES_MAX));
    let deep = format!("{}true{}", "!(".repeat(100), ")".repeat(100));
    let deeper = format!("{}true{}", "(".repeat(900), ")".repeat(900));
    let list = format!("[{}]", vec!["1"; 60].join(","));
    let walks = format!("{list}.exists(a, {list}.exists(b, a == b && a > 1))");
    let items = format!("1 in [{}]", vec!["1"; 200].join(","));
    let doubled = format!("[path]{}.exists(a, a == \"\")", ".map(a, a + a)".repeat(12));
    let sum = format!("{} == 1", vec!["1"; 300].join(" + "));
    let chained = format!("{} == \"\"", vec!["path"; 40].join(" + "));
    for text in [long, deep, deeper, walks, items, doubled, sum, chained] {
        let fault = Condition::read(&text, &SCOPE).expect_err("it costs too much");
        assert!(
            fault.remedy.contains("keep") || fault.problem.contains("CEL"),
            "{fault:?}"
        );
    }
}

#[test]
fn an_expression_tells_what_it_asks() {
    let text = "method == \"POST\" && header[\"x-plan\"] == \"a\" && has(query.page) && method != \"PUT\"";
    let condition = Condition::read(text, &SCOPE).expect(text);
    let reads: Vec<String> = condition.reads().iter().map(ToString::to_string).collect();
    assert_eq!(reads, ["method", "header.x-plan", "query.page"]);
    let without_body = Scope { body: false, ..SCOPE };
    assert!(Condition::read("body[\"/a\"] == \"\"", &without_body).is_err());
}

#[test]
fn native_conditions_allocate_nothing() {
    let conditions = [
        "method == \"POST\" && path.startsWith(\"/items\") && in_network(ip, \"10.0.0.0/8\")",
        "lower(header[\"x-plan\"]) in [\"gold\", \"silver\"] && size(path) < 100 && query.page == \"2\"",
    ];
    for text in conditions {
        let condition = Condition::read(text, &SCOPE).expect(text);
        let plain = PlainPost;
        assert_eq!(condition.holds(&plain), Ok(true));
        let info = allocation_counter::measure(|| {
            let _ = std::hint::black_box(condition.holds(&plain));
        });
        assert_eq!(info.count_total, 0, "{text}");
    }
}

/// As [`Post`], and allocates nothing itself.
struct PlainPost;

impl Facts for PlainPost {
    fn text(&self, attribute: &Attribute) -> Result<Cow<'_, str>, NoValue> {
        Ok(Cow::Borrowed(match attribute {
            Attribute::Method => "POST",
            Attribute::Path => "/items/7",
            Attribute::Header(_) => "Gold",
            Attribute::Query(_) => "2",
            _ => "",
        }))
    }

    fn has(&self, _: &Attribute) -> bool {
        true
    }

    fn address(&self) -> Option<IpAddr> {
        Post.address()
    }
}
