//! The `RateLimit` fields, judged by an independent parser of structured fields (`http-sf`, installed by `./x test`).

#![allow(clippy::panic, reason = "a test's way to fail")]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use serde_json::{Value, json};
use sluicegate::policy::Policy;
use sluicegate::{Decision, Limiter, ManualClock, Outcome, Request, Secret};

/// Parses both fields of every answer as Lists and writes them back as JSON: `[[name, parameters], …]` each.
const JUDGE: &str = r#"
import json, sys, http_sf
answers = json.load(sys.stdin)
fields = ("ratelimit-policy", "ratelimit")
print(json.dumps([[http_sf.parse(answer[f].encode(), tltype="list") for f in fields] for answer in answers]))
"#;

fn judge(answers: &Value) -> Value {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    let mut child = Command::new(&python)
        .args(["-c", JUDGE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; ./x test makes it", python.display()));
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin
        .write_all(answers.to_string().as_bytes())
        .expect("the judge reads");
    drop(stdin);
    let output = child.wait_with_output().expect("the judge ends");
    assert!(output.status.success(), "the judge found a field malformed");
    serde_json::from_slice(&output.stdout).expect("JSON from the judge")
}

struct Answer {
    passed: bool,
    headers: HeaderMap,
    body: String,
}

fn limiter(text: &str) -> (Limiter, Arc<ManualClock>) {
    let (policy, _) = Policy::parse("policy.yaml", text).expect("a good policy");
    let clock = Arc::new(ManualClock::default());
    let limiter = Limiter::new(&policy, &Secret::from_bytes([8; 32]), Arc::clone(&clock)).expect("a small table");
    (limiter, clock)
}

fn ask(limiter: &Limiter, headers: &HeaderMap) -> Answer {
    let peer = Some([192, 0, 2, 1].into());
    let request = Request {
        method: &Method::GET,
        host: "",
        path: "/",
        query: "",
        peer,
        headers,
    };
    let Outcome::Decided(decision) = limiter.decide(&request) else {
        unreachable!("nothing waits for a store")
    };
    if let Some(refusal) = limiter.refusal(&request, &decision) {
        return Answer {
            passed: false,
            headers: refusal.headers,
            body: refusal.body,
        };
    }
    let Decision::Allow { admitted, report } = decision else {
        unreachable!("not refused")
    };
    let mut headers = HeaderMap::new();
    limiter.announce(admitted.route(), &report, &mut headers);
    Answer {
        passed: true,
        headers,
        body: String::new(),
    }
}

fn field(answer: &Answer, name: &str) -> String {
    answer
        .headers
        .get(name)
        .map_or_else(String::new, |value| value.to_str().expect("visible ASCII").to_owned())
}

/// D1 to D6 of the requirements, on full, half-spent and empty limits of every size.
#[test]
fn the_fields_are_well_formed_and_keep_to_the_draft() {
    let policies = [
        "version: 1\nrules:\n  - {name: per-client, key: ip, limit: 5/s burst 10}\n",
        "version: 1\nrules:\n  - {name: 'quote \" and \\ back', key: ip, limit: 3/min}\n  - {name: everyone, key: [], limit: 10000/s burst 20000}\n",
        "version: 1\nrules:\n  - {name: huge, key: ip, limit: 1 per 3650d burst 18446744073709551615}\n  - {name: fast, key: ip, limit: 1000000000/s burst 9007199254740992}\n  - {name: tight, key: ip, limit: 1/h}\n",
        "version: 1\nrules:\n  - {name: shadow, key: ip, limit: 1/h, enforce: 0%}\n  - {name: part, key: ip, limit: 7/h, enforce: 50%}\n  - {name: whole, key: ip, limit: 9/h}\n",
    ];
    for text in policies {
        let (limiter, clock) = limiter(text);
        let mut answers = Vec::new();
        for _ in 0..30 {
            answers.push(ask(&limiter, &HeaderMap::new()));
            clock.advance(Duration::from_millis(40));
        }
        let texts = |answer: &Answer| json!({"ratelimit-policy": field(answer, "ratelimit-policy"), "ratelimit": field(answer, "ratelimit")});
        let judged = judge(&answers.iter().map(texts).collect());
        for (answer, judged) in answers.iter().zip(judged.as_array().expect("a list")) {
            check(answer, &judged[0], &judged[1]);
        }
        assert!(answers.iter().any(|answer| answer.passed));
    }
}

fn check(answer: &Answer, policies: &Value, standings: &Value) {
    let number = |item: &Value, name: &str| item[1].get(name).map(|value| value.as_u64().expect("a whole number"));
    let policies = policies.as_array().expect("a list");
    let standings = standings.as_array().expect("a list");
    assert!(!standings.is_empty() && standings.len() == policies.len());
    for standing in standings {
        assert_ne!(standing[0], "shadow", "a rule in shadow mode is no limit to a client");
        let policy = policies
            .iter()
            .find(|policy| policy[0] == standing[0])
            .expect("a policy of that name");
        let (quota, left) = (number(policy, "q").expect("q"), number(standing, "r").expect("r"));
        assert!(left <= quota, "{standing} of {policy}");
        assert!(number(policy, "w").expect("w") >= 1);
        assert!(number(standing, "t").is_none_or(|t| t >= 1));
        assert!(left == quota || answer.passed || number(standing, "t").is_some());
    }
    if !answer.passed {
        assert!(standings.iter().any(|standing| number(standing, "r") == Some(0)));
        // S6: never earlier than the end of the window that was told.
        let wait: u64 = field(answer, "retry-after").parse().expect("whole seconds");
        let empty = standings.iter().filter(|standing| number(standing, "r") == Some(0));
        assert!(empty.filter_map(|standing| number(standing, "t")).all(|t| wait >= t));
    }
}

/// D4 of the requirements.
#[test]
fn the_policy_is_the_same_on_a_thousand_answers() {
    let (limiter, clock) =
        limiter("version: 1\nrules:\n  - {name: a, key: ip, limit: 5/s}\n  - {name: b, key: [], limit: 50/s}\n");
    let told: BTreeSet<_> = (0..1000)
        .map(|_| {
            clock.advance(Duration::from_millis(17));
            field(&ask(&limiter, &HeaderMap::new()), "ratelimit-policy")
        })
        .collect();
    assert_eq!(told.into_iter().collect::<Vec<_>>(), [r#""a";q=5;w=1, "b";q=50;w=1"#]);
}

/// D8 of the requirements: nobody may make an upstream's limits look wider, or hide them.
#[test]
fn an_upstreams_own_fields_stay_beside_ours() {
    let (limiter, _) = limiter("version: 1\nrules:\n  - {name: ours, key: ip, limit: 5/s}\n");
    let (method, headers, peer) = (Method::GET, HeaderMap::new(), Some([192, 0, 2, 1].into()));
    let request = Request {
        method: &method,
        host: "",
        path: "/",
        query: "",
        peer,
        headers: &headers,
    };
    let Outcome::Decided(Decision::Allow { admitted, report }) = limiter.decide(&request) else {
        unreachable!("the first request passes")
    };
    let mut answer = HeaderMap::new();
    answer.insert("ratelimit-policy", "\"theirs\";q=9;w=60".parse().expect("a value"));
    answer.insert("ratelimit", "\"theirs\";r=8;t=30".parse().expect("a value"));
    limiter.announce(admitted.route(), &report, &mut answer);
    let lines = |name| {
        answer
            .get_all(name)
            .iter()
            .map(|line| line.to_str().expect("ASCII"))
            .collect::<Vec<_>>()
    };
    assert_eq!(lines("ratelimit-policy"), ["\"theirs\";q=9;w=60", "\"ours\";q=5;w=1"]);
    assert_eq!(lines("ratelimit"), ["\"theirs\";r=8;t=30", "\"ours\";r=4;t=1"]);
}

/// S1, S3 and S4 of the requirements, and RFC 9457.
#[test]
fn a_refusal_carries_a_problem_document_that_no_cache_keeps() {
    let (limiter, _) = limiter("version: 1\nrules:\n  - {name: 'per \"client\"', key: ip, limit: 3 per 10s}\n");
    let answers: Vec<_> = (0..4).map(|_| ask(&limiter, &HeaderMap::new())).collect();
    let refused = answers.last().expect("four answers");
    assert!(!refused.passed);
    assert_eq!(field(refused, "cache-control"), "no-store");
    assert_eq!(field(refused, "content-type"), "application/problem+json");
    assert_eq!(field(refused, "retry-after"), "4", "a third of ten seconds, rounded up");
    assert_eq!(field(refused, "content-length"), refused.body.len().to_string());
    assert_eq!(field(refused, "ratelimit"), r#""per \"client\"";r=0;t=4"#);
    let problem: Value = serde_json::from_str(&refused.body).expect("JSON");
    assert_eq!(
        problem,
        json!({
            "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "title": "Request cannot be satisfied as assigned quota has been exceeded",
            "status": 429,
            "detail": "The limit is used up; try again in 4 seconds.",
            "violated-policies": ["per \"client\""],
        })
    );
}

#[test]
fn several_violated_policies_are_all_named_and_the_longest_wait_is_told() {
    let (limiter, _) = limiter(
        "version: 1\nrules:\n  - {name: a, key: ip, limit: 1 per 10s}\n  - {name: b, key: ip, limit: 1 per 3000d}\n  - {name: c, key: ip, limit: 5/s}\n",
    );
    let _ = ask(&limiter, &HeaderMap::new());
    let refused = ask(&limiter, &HeaderMap::new());
    let problem: Value = serde_json::from_str(&refused.body).expect("JSON");
    assert_eq!(problem["violated-policies"], json!(["a", "b"]));
    assert_eq!(field(&refused, "retry-after"), "86400", "at most a day");
    assert_eq!(
        problem["detail"],
        "The limits are used up; try again in a day at the earliest."
    );
}

#[test]
fn a_request_that_leaves_out_its_key_is_a_bad_request_without_a_time_to_come_back() {
    let (limiter, _) =
        limiter("version: 1\nrules:\n  - {name: each, key: header.x-user, limit: 1/h, on_missing_key: refuse}\n");
    let refused = ask(&limiter, &HeaderMap::new());
    let problem: Value = serde_json::from_str(&refused.body).expect("JSON");
    assert_eq!(
        (problem["status"].as_u64(), problem["type"].as_str()),
        (Some(400), Some("about:blank"))
    );
    assert!(refused.headers.get("retry-after").is_none());
}

/// A bare 429 would reach a gRPC caller as UNAVAILABLE, which it retries at once.
#[test]
fn a_grpc_caller_is_told_in_its_own_words() {
    let (limiter, _) = limiter("version: 1\nrules:\n  - {name: a, key: ip, limit: 1/h}\n");
    let headers = HeaderMap::from_iter([(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/grpc+proto"),
    )]);
    let _ = ask(&limiter, &headers);
    let refused = ask(&limiter, &headers);
    assert_eq!(field(&refused, "grpc-status"), "8");
    assert_eq!(field(&refused, "content-type"), "application/grpc");
    assert_eq!(field(&refused, "retry-after"), "3600");
    assert!(refused.body.is_empty());
}
