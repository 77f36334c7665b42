//! The command as a user runs it, where no door has to be opened.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use tempfile::TempDir;

const GOOD: &str = "\
version: 1
gateway:
  listen: [ { address: 127.0.0.1:0 } ]
  upstreams: { api: { servers: [\"127.0.0.1:9001\"] } }
admin: { listen: 127.0.0.1:0 }
routes:
  - { name: everything, path: \"/{*rest}\", upstream: api }
rules:
  - { name: per-client, key: ip, limit: 300 per 1min burst 10 }
  - { name: tried, key: [ip, route], limit: 1/s, enforce: 0%, overflow: closed }
";

/// Two faults, on lines 3 and 4.
const BAD: &str = "\
version: 1
rules:
  - { name: a, key: ip, limit: 5/fortnight }
  - { name: b, key: ip, limit: 0/s }
";

/// Keyed only on what a client types.
const DOUBTFUL: &str = "\
version: 1
rules:
  - { name: per-key, key: header.x-api-key, limit: 5/s }
";

struct Answer {
    code: i32,
    out: String,
    err: String,
}

fn sluicegate(arguments: &[&str]) -> Answer {
    let output = Command::cargo_bin("sluicegate")
        .expect("built")
        .args(arguments)
        .output()
        .expect("runs");
    Answer {
        code: output.status.code().expect("no signal"),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

fn policy(folder: &TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("policy.yaml");
    fs::write(&path, text).expect("a file of ours");
    path
}

fn check(text: &str, options: &[&str]) -> Answer {
    let folder = TempDir::new().expect("a folder");
    let path = policy(&folder, text);
    let mut arguments = vec!["check", as_str(&path)];
    arguments.extend(options);
    sluicegate(&arguments)
}

fn as_str(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

#[test]
fn run_without_a_file_says_what_to_do_next() {
    let answer = sluicegate(&["run"]);
    assert_eq!((answer.code, answer.out.as_str()), (2, ""));
    for hint in [
        "sluicegate demo",
        "sluicegate run -c policy.yaml",
        "version: 1",
        "limit: 5/s burst 10",
    ] {
        assert!(answer.err.contains(hint), "no {hint:?} in:\n{}", answer.err);
    }
}

#[test]
fn run_shows_every_fault_with_its_line_and_ends_with_1() {
    let folder = TempDir::new().expect("a folder");
    let path = policy(&folder, BAD);
    let answer = sluicegate(&["run", "-c", as_str(&path)]);
    assert_eq!(answer.code, 1);
    for shown in [
        "policy.yaml:3:",
        "5/fortnight }",
        "policy.yaml:4:",
        "rules[1].limit",
        "^",
        "= remedy:",
    ] {
        assert!(answer.err.contains(shown), "no {shown:?} in:\n{}", answer.err);
    }
}

#[test]
fn run_logs_faults_as_json_when_asked() {
    let folder = TempDir::new().expect("a folder");
    let path = policy(&folder, BAD);
    let answer = sluicegate(&["run", "-c", as_str(&path), "--json"]);
    assert_eq!(answer.code, 1);
    let lines: Vec<_> = answer.err.lines().map(json).collect();
    let places: Vec<_> = lines.iter().map(|line| (&line["line"], &line["place"])).collect();
    assert_eq!(
        places,
        [
            (&3.into(), &"rules[0].limit".into()),
            (&4.into(), &"rules[1].limit".into())
        ]
    );
}

#[test]
fn a_policy_without_a_gateway_gives_nothing_to_run() {
    let folder = TempDir::new().expect("a folder");
    let path = policy(&folder, "version: 1\n");
    let answer = sluicegate(&["run", "-c", as_str(&path)]);
    assert_eq!(answer.code, 1);
    assert!(answer.err.contains("gateway"), "{}", answer.err);
}

#[test]
fn a_file_that_is_not_there_is_named_with_what_the_system_said() {
    for arguments in [
        &["run", "-c", "/nowhere/policy.yaml"][..],
        &["check", "/nowhere/policy.yaml"],
    ] {
        let answer = sluicegate(arguments);
        let told = answer.out + &answer.err;
        assert_eq!(answer.code, 1);
        assert!(
            told.contains("/nowhere/policy.yaml") && told.contains("No such file"),
            "{told}"
        );
        assert!(told.contains("remedy"), "{told}");
    }
}

#[test]
fn an_address_that_others_can_reach_is_refused_for_admin() {
    let folder = TempDir::new().expect("a folder");
    let path = policy(
        &folder,
        &GOOD.replace("admin: { listen: 127.0.0.1:0 }", "admin: { listen: 0.0.0.0:0 }"),
    );
    let answer = sluicegate(&["run", "-c", as_str(&path)]);
    assert_eq!(answer.code, 1);
    assert!(
        answer.err.contains("other machines") && answer.err.contains("127.0.0.1"),
        "{}",
        answer.err
    );
}

#[test]
fn check_tells_what_each_rule_allows() {
    let answer = check(GOOD, &[]);
    assert_eq!((answer.code, answer.err.as_str()), (0, ""));
    // The limit in its shortest form; one every 200 ms; 10 at once; 310 in any minute.
    let row = answer
        .out
        .lines()
        .find(|line| line.contains("per-client"))
        .expect("a line for the rule");
    let words: Vec<&str> = row.split_whitespace().collect();
    assert!(
        row.contains("burst 10") && words.contains(&"200ms") && words.contains(&"310"),
        "{row}"
    );
    let row = answer
        .out
        .lines()
        .find(|line| line.contains("tried"))
        .expect("a line for the rule");
    assert!(
        row.contains("ip, route") && row.contains("no (shadow)") && row.ends_with("refused"),
        "{row}"
    );
}

/// One rule of each algorithm.
const ALGORITHMS: &str = "\
version: 1
state: { memory: 16MiB }
routes:
  - { name: login, path: /login }
  - { name: chat, path: /chat }
rules:
  - { name: each, key: ip, limit: 100/s burst 200 }
  - { name: paced, key: ip, limit: 10/s burst 16, algorithm: leaky_bucket, free: 5, charge_refused: true }
  - { name: daily, key: ip, limit: 50/min, algorithm: fixed_window, align: first_hit, rationale: a contract }
  - { name: slid, key: ip, limit: 50/min, algorithm: sliding_window }
  - { name: exact, key: ip, limit: 50/min, algorithm: sliding_log }
  - { name: streams, routes: chat, key: ip, limit: 20, algorithm: concurrency }
  - { name: tokens, routes: chat, key: ip, limit: 9k/h, bucket: paid, cost: { reserve: body./n, max: 500, settle: response./used } }
  - name: guesses
    routes: login
    key: [ip, body./user]
    limit: 5/h
    count: failures
    failed_when: [401, response./error, response.header.x-no]
    exceed: { lock: 90min }
";

#[test]
fn check_tells_the_worst_case_of_every_algorithm() {
    let answer = check(ALGORITHMS, &["--strict"]);
    assert_eq!(answer.code, 0, "{}", answer.out);
    for (rule, cells) in [
        ("each", &["token_bucket", "requests", "10ms", "200", "6200"][..]),
        (
            "paced",
            &[
                "leaky_bucket, waits up to 1s, 5 free",
                "refused ones too",
                "100ms",
                "16",
                "616",
            ],
        ),
        ("daily", &["fixed_window from the first hit", "–", "50", "100"]),
        ("slid", &["sliding_window", "–", "50", "100"]),
        ("exact", &["sliding_log", "–", "50", "50"]),
        ("streams", &["concurrency", "–", "20", "–", "200"]),
        ("tokens (bucket paid)", &["requests at body./n, settled", "9000"]),
        ("guesses", &["body./user", "failures, then locked for 90min"]),
    ] {
        let lines = answer.out.lines();
        let row = lines
            .clone()
            .find(|line| line.trim_start().starts_with(rule))
            .expect(rule);
        let mut rest = row;
        for cell in cells {
            assert!(rest.contains(cell), "no {cell:?} in {row}");
            rest = rest.split_once(cell).map_or("", |(_, behind)| behind);
        }
    }
}

#[test]
fn check_tells_how_the_memory_is_divided() {
    let answer = check(ALGORITHMS, &[]);
    for row in [
        "  small cells  6.3MiB    262.1k  keys",
        "  wide cells   6.3MiB      131k  keys",
    ] {
        assert!(answer.out.contains(row), "no {row:?} in\n{}", answer.out);
    }
    let memory = &json(&check(ALGORITHMS, &["--json"]).out)["memory"];
    assert_eq!(memory["bytes"], 16 << 20);
    let parts = ["small", "wide", "logs"].map(|part| memory[part]["bytes"].as_u64().expect("bytes"));
    assert!(parts.iter().sum::<u64>() <= 16 << 20, "{parts:?}");
}

/// Rules of several nodes.
const SHARED: &str = "\
version: 1
state: { memory: 16MiB, secret: \"${SECRET}\", share: \"redis://127.0.0.1:6379\" }
rules:
  - { name: everyone, key: [], limit: 1000/s burst 2000 }
  - { name: logins, key: ip, limit: 5/min }
  - { name: trusted, key: ip, limit: 50/min, sharing: hybrid }
";

#[test]
fn check_tells_how_nodes_share_each_limit_and_by_how_much_they_can_exceed_it() {
    // Neither the store nor the secret has to be there.
    let answer = check(SHARED, &["--nodes", "5"]);
    assert_eq!(answer.code, 0, "{}", answer.out);
    for (rule, cells) in [
        ("everyone", "5 auto: hybrid 200 10% 5% – 3600 more, and 80% of the rate"),
        ("logins", "5 auto: leased 0 0% 0% <1 9 more, and 80% of the rate"),
        ("trusted", "5 hybrid 5 10% 5% – 90 more, and 80% of the rate"),
    ] {
        let is_row = |line: &&str| line.trim_start().starts_with(rule) && line.contains("more");
        let row = answer.out.lines().find(is_row).expect(rule);
        let words: Vec<&str> = row.split_whitespace().skip(1).collect();
        assert!(words.join(" ").starts_with(cells), "{row}");
    }
    assert!(answer.out.contains("busy keys"), "{}", answer.out);
    // Nobody has said how many there are.
    let answer = check(SHARED, &[]);
    assert!(answer.out.contains("--nodes N"), "{}", answer.out);
    assert!(!check(GOOD, &[]).out.contains("without the store"));
}

#[test]
fn check_refuses_what_a_limit_cannot_mean_on_so_many_nodes() {
    let answer = check(SHARED, &["--nodes", "6"]);
    assert_eq!(answer.code, 0);
    assert!(answer.out.contains("6·1 = 6 tokens pass beyond 50"), "{}", answer.out);
    let answer = check(SHARED, &["--nodes", "100"]);
    assert_eq!(answer.code, 1);
    assert!(
        answer.out.contains("100·1 = 100 tokens pass beyond 50"),
        "{}",
        answer.out
    );
    let answer = check(GOOD, &["--nodes", "3"]);
    assert!(answer.out.contains("3 nodes that share nothing"), "{}", answer.out);
    for rubbish in ["0", "-1", "many", "100001"] {
        assert_eq!(check(SHARED, &["--nodes", rubbish]).code, 2, "{rubbish}");
    }
}

#[test]
fn check_answers_programs_with_the_worst_case_of_nodes() {
    let report = json(&check(SHARED, &["--json", "--nodes", "5"]).out);
    let sharing = serde_json::json!({
        "asked": "auto",
        "mode": "hybrid",
        "because": "5 × 40 is at most a tenth of 2000, and no cost is above 40",
        "nodes": 5,
        "divided_by": null,
        "allowance": 40,
        "excess_units": 200,
        "excess_percent": 10.0,
        "excess_rate_percent": 5.0,
        "late_units": null,
        "on_store_loss": "local",
        "outage_units": 3600,
        "outage_rate_percent": 80.0,
    });
    assert_eq!(report["rules"][0]["sharing"], sharing);
    assert_eq!(report["memory"]["leases"]["bytes"], 4 << 20);
    let alone = json(&check(GOOD, &["--json"]).out);
    assert_eq!(alone["rules"][0]["sharing"]["mode"], "local");
    assert_eq!(alone["rules"][0]["sharing"]["excess_units"], 0);
    assert!(alone["memory"]["leases"].is_null() && alone["rules"][0]["sharing"]["on_store_loss"].is_null());
}

#[test]
fn check_answers_programs_with_all_that_a_rule_says() {
    let report = json(&check(ALGORITHMS, &["--json"]).out);
    let rule = |index: usize| &report["rules"][index];
    assert_eq!(
        (
            &rule(1)["algorithm"],
            &rule(1)["max_wait_ms"],
            &rule(1)["free"],
            &rule(1)["charge_refused"]
        ),
        (&"leaky_bucket".into(), &1_000.into(), &5.into(), &true.into())
    );
    assert_eq!(rule(2)["align"], "first_hit");
    assert!(rule(3)["emission_interval_ns"].is_null() && rule(5)["minute"].is_null());
    assert_eq!(rule(6)["bucket"], "paid");
    let cost = serde_json::json!({ "reserve": "body./n", "default": 1, "max": 500, "settle": "response./used" });
    assert_eq!(rule(6)["cost"], cost);
    let failures = serde_json::json!({
        "failed_when": ["401", "response./error", "response.header.x-no"],
        "on_success": "return",
    });
    assert_eq!(
        (&rule(7)["failures"], &rule(7)["lock_ms"]),
        (&failures, &5_400_000.into())
    );
}

#[test]
fn check_answers_programs_with_the_same() {
    let answer = check(GOOD, &["--json"]);
    assert_eq!(answer.code, 0);
    let report = json(&answer.out);
    assert_eq!(report["ok"], true);
    assert_eq!(report["rules"][0]["emission_interval_ns"], 200_000_000);
    assert_eq!(report["rules"][0]["burst"], 10);
    assert_eq!(report["rules"][0]["minute"], 310);
    assert_eq!(report["rules"][1]["enforce_percent"], 0);

    let answer = check(BAD, &["--json"]);
    assert_eq!(answer.code, 1);
    let report = json(&answer.out);
    assert_eq!(report["ok"], false);
    assert_eq!(report["faults"].as_array().map(Vec::len), Some(2));
    assert_eq!(report["faults"][0]["line"], 3);
    assert!(report["faults"][0]["remedy"].is_string());
}

#[test]
fn check_ends_with_1_on_faults_and_counts_them() {
    let answer = check(BAD, &[]);
    assert_eq!(answer.code, 1);
    assert!(answer.out.contains("2 faults"), "{}", answer.out);
}

#[test]
fn warnings_pass_unless_strict() {
    let answer = check(DOUBTFUL, &[]);
    assert_eq!(answer.code, 0, "{}", answer.out);
    assert!(
        answer.out.contains("warning: ") && answer.out.contains("1 warning"),
        "{}",
        answer.out
    );
    let answer = check(DOUBTFUL, &["--strict"]);
    assert_eq!(answer.code, 1, "{}", answer.out);
    assert!(answer.out.contains("--strict"), "{}", answer.out);
    assert_eq!(check(GOOD, &["--strict"]).code, 0);
}

#[test]
fn the_schema_is_an_object_that_names_the_rules() {
    let answer = sluicegate(&["schema"]);
    assert_eq!(answer.code, 0);
    let schema = json(&answer.out);
    assert!(schema["$schema"].is_string());
    assert!(schema["properties"]["rules"].is_object(), "{schema}");
}

#[test]
fn the_version_is_told_to_people_and_programs() {
    let version = env!("CARGO_PKG_VERSION");
    for arguments in [&["version"][..], &["--version"], &["-V"]] {
        let answer = sluicegate(arguments);
        assert_eq!(answer.code, 0);
        assert!(
            answer.out.starts_with(&format!("sluicegate {version}")),
            "{}",
            answer.out
        );
    }
    assert_eq!(json(&sluicegate(&["version", "--json"]).out)["version"], version);
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let answer = sluicegate(&["completions", shell]);
        assert_eq!(answer.code, 0);
        assert!(
            answer.out.contains("sluicegate") && answer.out.contains("demo"),
            "{shell}: {}",
            answer.out
        );
    }
}

#[test]
fn the_command_line_is_refused_with_2_where_it_is_not_understood() {
    for arguments in [
        &[][..],
        &["dance"],
        &["check"],
        &["run", "--fast"],
        &["demo", "--for", "10"],
        &["demo", "--for", "0s"],
        &["demo", "--port", "65536"],
        &["completions", "tcsh"],
    ] {
        let answer = sluicegate(arguments);
        assert_eq!((answer.code, answer.out.as_str()), (2, ""), "{arguments:?}");
        assert!(!answer.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_names_the_exit_codes_and_gives_examples() {
    for arguments in [&["--help"][..], &["-h"], &["help"]] {
        let answer = sluicegate(arguments);
        assert_eq!(answer.code, 0);
        for part in ["Examples:", "Exit codes:", "  4  demo"] {
            assert!(answer.out.contains(part), "no {part:?} in:\n{}", answer.out);
        }
    }
    for command in ["run", "check", "demo", "draw", "completions"] {
        let answer = sluicegate(&[command, "--help"]);
        assert_eq!(answer.code, 0);
        assert!(answer.out.contains("Examples:"), "{command}: {}", answer.out);
    }
}

#[test]
fn the_documentation_lists_the_same_exit_codes_as_help() {
    let help = sluicegate(&["--help"]).out;
    let codes = help.lines().skip_while(|line| *line != "Exit codes:").skip(1);
    let codes: Vec<(&str, &str)> = codes.filter_map(|line| line.trim().split_once("  ")).collect();
    assert_eq!(codes.len(), 6, "{help}");
    let documented = include_str!("../../../docs/cli.md").replace('`', "");
    for (code, meaning) in codes {
        let row = format!("| {code} | {} |", meaning.replace('`', ""));
        assert!(documented.contains(&row), "docs/cli.md has no row {row:?}");
    }
}

#[test]
fn the_demos_policy_is_one_that_check_accepts() {
    let answer = sluicegate(&["demo", "--print-policy"]);
    assert_eq!(answer.code, 0);
    let checked = check(&answer.out, &["--strict"]);
    assert_eq!(checked.code, 0, "{}", checked.out);
}

#[test]
fn what_changes_for_whom_is_told_before_a_policy_takes_anothers_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).expect("a file");
        file
    };
    let routes = "routes: [{ name: item, path: /items }, { name: rest, path: \"/{*rest}\" }]\n";
    let old = write(
        "old.yaml",
        &format!(
            "version: 1\n{routes}rules:\n  - {{ name: each, key: ip, limit: 100/min }}\n  - {{ name: gone, key: [], limit: 5/s }}\n  \
             - {{ name: moved, key: ip, limit: 9/s }}\n"
        ),
    );
    let new = write(
        "new.yaml",
        &format!(
            "version: 1\n{routes}rules:\n  - {{ name: each, key: ip, limit: 60/min, routes: item }}\n  \
             - {{ name: moved, key: [ip, method], limit: 9/s }}\n  - {{ name: fresh, key: ip, limit: 7/s, enforce: 10% }}\n"
        ),
    );
    let said = |json: bool| {
        let mut command = assert_cmd::Command::cargo_bin("sluicegate").expect("the binary");
        command.arg("check").arg("--against").arg(&old).arg(&new);
        if json {
            command.arg("--json");
        }
        String::from_utf8(command.assert().success().get_output().stdout.clone()).expect("UTF-8")
    };
    let text = said(false);
    for line in [
        "lowered",
        "100/min → 60/min, for each ip, on item",
        "routes: every request → item",
        "key: [ip] → [ip and method]; everybody starts anew",
        "7/s, for each ip, on every request, enforced for 10%",
        "5/s, for all together, on every request",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    let json: serde_json::Value = serde_json::from_str(&said(true)).expect("JSON");
    let words: Vec<_> = json["changes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|change| change["change"].clone())
        .collect();
    assert_eq!(words, ["lowered", "changed", "state_lost", "added", "removed"]);
}
