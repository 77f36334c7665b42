//! The README's policy, commands and answers are true as printed.

use std::collections::BTreeSet;
use std::fs;

use crate::process::{Running, Upstream, binary, get};
use sluicegate::policy::Policy;
use tempfile::TempDir;

const README: &str = include_str!("../../../../README.md");

/// The text between the first line that is `start` and the next fence.
fn block(start: &str) -> &'static str {
    let (_, rest) = README.split_once(&format!("\n{start}\n")).expect(start);
    rest.split("\n```").next().unwrap_or_default()
}

fn policy() -> String {
    format!("{}\n", block("```yaml"))
}

#[test]
fn the_policy_has_ten_lines() {
    assert_eq!(policy().lines().count(), 10);
}

/// The one that tells of many nodes is the second.
#[test]
fn the_policy_of_many_nodes_has_neither_faults_nor_warnings() {
    let (_, rest) = README
        .split_once("\n## One limit on many nodes\n")
        .expect("the section");
    let (_, rest) = rest.split_once("\n```yaml\n").expect("a policy");
    let text = rest.split("```").next().unwrap_or_default();
    let (policy, warnings) = Policy::parse("policy.yaml", text).expect("no faults");
    assert_eq!((warnings, policy.state.share.is_some()), (Vec::new(), true));
}

#[test]
fn check_answers_as_printed() {
    let folder = TempDir::new().expect("a folder");
    let check = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).expect("a file of ours");
        let output = binary()
            .args(["check", name])
            .current_dir(folder.path())
            .output()
            .expect("built");
        String::from_utf8([output.stdout, output.stderr].concat()).expect("text")
    };
    let printed = block("$ sluicegate check policy.yaml")
        .split("\n$ ")
        .next()
        .unwrap_or_default();
    assert_eq!(check("policy.yaml", &policy()).trim_end(), printed);

    let broken = policy().replace("10s", "10 fortnights");
    let printed = block("$ sed 's/10s/10 fortnights/' policy.yaml > broken.yaml; sluicegate check broken.yaml");
    assert_eq!(check("broken.yaml", &broken).trim_end(), printed);
}

#[test]
fn the_fourth_request_is_answered_as_printed() {
    let upstream = Upstream::start();
    // The README's ports may be taken here.
    let text = policy()
        .replace("127.0.0.1:8080", "127.0.0.1:0")
        .replace("127.0.0.1:9001", &upstream.address.to_string());
    let running = Running::with_policy(&format!("{text}admin: {{ listen: 127.0.0.1:0 }}\n"));
    for _ in 0..3 {
        upstream.answer.send(()).expect("it waits");
        assert_eq!(get(running.gateway, "/").0, 200);
    }
    let answer = get(running.gateway, "/").1.replace("\r\n", "\n");
    let printed = block("$ curl -i http://127.0.0.1:8080/")
        .split("\n$ ")
        .next()
        .unwrap_or_default();
    let lines = |text: &'_ str| -> BTreeSet<String> {
        text.lines()
            .filter(|line| !line.starts_with("date: ") && *line != "connection: close")
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(lines(&answer), lines(printed));

    let metrics = get(running.admin, "/metrics").1;
    let printed = block(r#"$ curl -s http://127.0.0.1:9900/metrics | grep '^sluicegate_requests_total{route="all"'"#);
    for line in printed.lines() {
        assert!(metrics.lines().any(|found| found == line), "no {line:?} in:\n{metrics}");
    }
}
