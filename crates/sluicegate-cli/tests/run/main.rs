//! `sluicegate run` as a user runs it: real listeners, real signals.

mod process;
mod readme;
mod reload;
mod snapshot;
mod tokens;
mod unread;

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::thread;

use process::{FILE, Running, Upstream, binary, get, policy, send_from};
use sluicegate::policy::Policy;
use sluicegate_testkit::certificates as tls;
use tempfile::TempDir;

#[test]
fn a_client_passes_until_its_limit_and_the_metrics_say_so() {
    let upstream = Upstream::start();
    let running = Running::start(upstream.address, "");
    for _ in 0..2 {
        upstream.answer.send(()).expect("it waits");
        assert_eq!(get(running.gateway, "/x").0, 200);
    }
    let (status, answer) = get(running.gateway, "/x");
    assert_eq!(status, 429, "{answer}");
    let metrics = get(running.admin, "/metrics").1;
    for line in [
        r#"sluicegate_requests_total{route="everything",outcome="allow"} 2"#,
        r#"sluicegate_requests_total{route="everything",outcome="deny"} 1"#,
        r#"sluicegate_decisions_total{rule="per-client",route="everything",outcome="deny"} 1"#,
        "sluicegate_gateway_connections_accepted_total 3",
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line:?} in:\n{metrics}");
    }
    assert_eq!(
        upstream.arrived.try_iter().count(),
        2,
        "what is refused does not reach the upstream"
    );
}

#[test]
fn a_scrape_has_what_the_documentation_lists_and_nothing_else() {
    // With a store, so that its numbers are there too; that it is away is no matter.
    let folder = TempDir::new().expect("a folder");
    let secret = folder.path().join("secret");
    fs::write(&secret, "11".repeat(32)).expect("a file of ours");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("a file of ours");
    let share = "state: { memory: 1MiB, secret_file: ./secret, share: \"redis://127.0.0.1:1\" }";
    // And with TLS, whose certificates have an end.
    for (name, text) in [("cert.pem", tls::SERVER.certificate), ("cert.key", tls::SERVER.key)] {
        fs::write(folder.path().join(name), text).expect("a file of ours");
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(0o600)).expect("a file of ours");
    }
    let second =
        "{ address: 127.0.0.1:0 }, { address: 127.0.0.2:0, tls: { certificate: cert.pem, private_key: cert.key } }";
    // And with conditions, which are counted where there are some.
    let allow = "allow:\n  - { name: probes, when: path == '/healthz' }\n";
    let text = policy(Upstream::start().address, allow)
        .replace("limit: 2 per 1d }", "limit: 2 per 1d, when: method == 'GET' }")
        .replace("state: { memory: 1MiB }", share)
        .replace("{ address: 127.0.0.1:0 }", second);
    fs::write(folder.path().join(FILE), text).expect("a file of ours");
    let running = Running::with_folder(folder, "info");
    let metrics = get(running.admin, "/metrics").1;
    let scraped: BTreeMap<String, &str> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| match kind {
            "counter" => (format!("{name}_total"), kind),
            "info" => (format!("{name}_info"), kind),
            _ => (name.to_owned(), kind),
        })
        .collect();
    let documented: BTreeMap<String, &str> = include_str!("../../../../docs/metrics.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `sluicegate_")?.split_once("` | "))
        .map(|(name, rest)| (format!("sluicegate_{name}"), rest.split(' ').next().unwrap_or_default()))
        .collect();
    assert_eq!(scraped, documented);
}

/// The documentation called `allow` what was passed on.
#[test]
fn what_is_allowed_and_cannot_be_passed_on_is_counted_as_allowed() {
    // Bound once and let go, so nobody listens there.
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let text = policy(closed.expect("a free port"), "").replace("/{*rest}", "/api");
    let running = Running::with_policy(&text);
    assert_eq!(get(running.gateway, "/elsewhere").0, 404);
    assert_eq!(get(running.gateway, "/api").0, 502);
    assert_eq!(get(running.gateway, "/api").0, 429);
    let metrics = get(running.admin, "/metrics").1;
    for line in [
        r#"sluicegate_requests_total{route="",outcome="allow"} 1"#,
        r#"sluicegate_requests_total{route="everything",outcome="allow"} 1"#,
        r#"sluicegate_requests_total{route="everything",outcome="deny"} 1"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line:?} in:\n{metrics}");
    }
}

/// The documentation said `admin: off`, which is a fault.
#[test]
fn admin_is_turned_off_as_the_documentation_says() {
    let page = include_str!("../../../../docs/metrics.md");
    let (before, _) = page.split_once("` closes it").expect("how it is turned off");
    let (_, off) = before.rsplit_once('`').expect("in code");
    let (policy, _) = Policy::parse("shown", &format!("version: 1\n{off}\n")).expect("no faults");
    assert_eq!(policy.admin.listen, None, "{off}");
}

#[test]
fn either_signal_ends_an_idle_gateway_with_0() {
    for signal in ["TERM", "INT"] {
        let running = Running::start(Upstream::start().address, "");
        running.signal(signal);
        let (code, log) = running.end();
        assert_eq!(code, Some(0), "{log}");
    }
}

#[test]
fn a_request_under_way_is_finished_before_the_end() {
    let upstream = Upstream::start();
    let running = Running::start(upstream.address, "");
    let gateway = running.gateway;
    let asking = thread::spawn(move || get(gateway, "/slow"));
    upstream.arrived.recv().expect("the request arrives");
    running.signal("TERM");
    running.wait_for_stage("draining");
    upstream.answer.send(()).expect("it waits");
    assert_eq!(asking.join().expect("no panic").0, 200);
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_second_signal_ends_at_once_with_a_code_of_its_own() {
    let upstream = Upstream::start();
    let running = Running::start(upstream.address, "");
    let gateway = running.gateway;
    // Its answer never comes, so what the client reads is the end of the connection.
    thread::spawn(move || drop(std::panic::catch_unwind(|| get(gateway, "/slow"))));
    upstream.arrived.recv().expect("the request arrives");
    running.signal("TERM");
    running.wait_for_stage("draining");
    running.signal("INT");
    let (code, log) = running.end();
    assert_eq!(code, Some(5), "{log}");
}

#[test]
fn a_request_beyond_the_drain_deadline_is_cut_off_and_the_exit_code_tells() {
    let upstream = Upstream::start();
    let running = Running::start(upstream.address, "  deadlines: { drain: 100ms }\n");
    let gateway = running.gateway;
    thread::spawn(move || drop(std::panic::catch_unwind(|| get(gateway, "/slow"))));
    upstream.arrived.recv().expect("the request arrives");
    running.signal("TERM");
    let (code, log) = running.end();
    assert_eq!(code, Some(5), "{log}");
    assert!(log.contains("cut off"), "{log}");
}

#[test]
fn an_address_in_use_is_named_and_ends_with_3() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = taken.local_addr().expect("bound");
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("policy.yaml");
    let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let text = policy(upstream, "").replace("address: 127.0.0.1:0", &format!("address: {address}"));
    std::fs::write(&path, text).expect("a file of ours");
    for json in [&[][..], &["--json"]] {
        let output = binary()
            .args(["run", "-c"])
            .arg(&path)
            .args(json)
            .output()
            .expect("runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{told}");
        assert!(told.contains(&address.to_string()) && told.contains("in use"), "{told}");
        if !json.is_empty() {
            assert!(serde_json::from_str::<serde_json::Value>(&told).is_ok(), "{told}");
        }
    }
}

/// Who asks and what they send is nobody's to read: not in the logs at their most talkative, not in the metrics.
#[test]
fn nothing_that_a_client_sends_reaches_logs_or_metrics() {
    const CANARY: &str = "canary0b5e55ed";
    let source = Ipv4Addr::new(127, 77, 88, 99);
    let upstream = Upstream::start();
    let running = Running::start(upstream.address, "");
    let request = |host: &str| {
        format!(
            "GET /{CANARY}?token={CANARY} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {CANARY}\r\n\
             Cookie: {CANARY}\r\nX-Api-Key: {CANARY}\r\nX-{CANARY}: 1\r\nConnection: close\r\n\r\n"
        )
    };
    let malformed = format!("GET /{CANARY} HTTP/1.1\r\nAuthorization {CANARY}\r\n\r\n");
    for _ in 0..2 {
        upstream.answer.send(()).expect("it waits");
        assert_eq!(send_from(source, running.gateway, &request(CANARY)).0, 200);
    }
    assert_eq!(send_from(source, running.gateway, &request(CANARY)).0, 429);
    assert_eq!(send_from(source, running.gateway, &malformed).0, 400);
    assert_eq!(send_from(source, running.gateway, &request("a b")).0, 400);
    let metrics = get(running.admin, "/metrics").1;
    running.signal("TERM");
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
    for (what, text) in [("metrics", &metrics), ("log", &log)] {
        assert!(!text.contains(CANARY), "the {what}:\n{text}");
        assert!(!text.contains(&source.to_string()), "the {what}:\n{text}");
    }
}

#[test]
fn logs_are_json_lines_when_asked() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("policy.yaml");
    let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    std::fs::write(&path, policy(upstream, "")).expect("a file of ours");
    let mut child = binary()
        .args(["run", "--json", "-c"])
        .arg(&path)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("built");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().expect("piped")))
        .map(|line| serde_json::from_str::<serde_json::Value>(&line.expect("text")).expect("JSON"));
    // A machine with few file descriptors is told so in between.
    let named = lines.by_ref().filter_map(|line| line.get("door").cloned());
    let doors: Vec<_> = named.take(2).collect();
    assert_eq!(doors, ["gateway", "admin"]);
    let stop = std::process::Command::new("kill").arg(child.id().to_string()).status();
    assert!(stop.expect("kill is there").success());
    assert!(lines.any(|line| line["signal"] == "SIGTERM"));
    assert_eq!(child.wait().expect("a child").code(), Some(0));
}
