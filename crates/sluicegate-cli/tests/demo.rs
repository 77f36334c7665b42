//! `sluicegate demo` as a user runs it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use serde_json::Value;

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
    command.arg("demo").args(arguments);
    command
}

#[test]
fn the_abusive_client_is_held_to_its_limit_and_the_others_lose_nothing() {
    let output = demo(&["--for", "2s", "--json"]).output().expect("runs");
    let told = String::from_utf8_lossy(&output.stderr);
    let summary: Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    assert_eq!(output.status.code(), Some(0), "{summary:#}\n{told}");
    assert_eq!(summary["ok"], true);

    let number = |client: &Value, name: &str| client[name].as_u64().expect("a count");
    let clients = summary["clients"].as_array().expect("a list");
    let names: Vec<_> = clients
        .iter()
        .map(|client| client["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(names, ["steady", "bursty", "abusive"]);
    for client in &clients[..2] {
        assert_eq!(number(client, "asked"), number(client, "passed"), "{client:#}");
    }
    let abusive = &clients[2];
    assert!(
        number(abusive, "passed") <= number(abusive, "limit_allows") + 1,
        "{abusive:#}"
    );
    assert!(number(abusive, "refused") > 0, "{abusive:#}");
    let passed: u64 = clients.iter().map(|client| number(client, "passed")).sum();
    assert_eq!(summary["upstream_received"], passed);
    assert!(told.contains("curl -i http://127.0.0.1:"), "{told}");
}

#[test]
fn without_a_terminal_it_prints_plain_lines_and_ends_by_a_signal_with_its_summary() {
    let mut child = demo(&["--port", "0"]).stdout(Stdio::piped()).spawn().expect("built");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    // Whoever tries it by hand is neither counted against the clients nor in their way.
    let gateway = loop {
        line.clear();
        assert_ne!(out.read_line(&mut line).expect("text"), 0, "it ended by itself");
        if let Some(address) = line.trim().strip_prefix("gateway   http://") {
            break address.trim_end_matches('/').to_owned();
        }
    };
    let mut stream = TcpStream::connect(gateway).expect("it listens");
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")
        .expect("a small request");
    let mut greeting = String::new();
    stream.read_to_string(&mut greeting).expect("text");
    assert!(greeting.ends_with("hello from the toy upstream\n"), "{greeting}");
    while !line.starts_with("   1 s  steady: ") {
        line.clear();
        assert_ne!(out.read_line(&mut line).expect("text"), 0, "it ended by itself");
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }
    let stop = Command::new("kill").arg(child.id().to_string()).status();
    assert!(stop.expect("kill is there").success());
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("text");
    assert_eq!(child.wait().expect("a child").code(), Some(0), "{rest}");
    for part in [
        "limit allows",
        "ok   steady: lost nothing",
        "ok   abusive: passed",
        "and 1 that others sent",
        "Every limit was held.",
    ] {
        assert!(rest.contains(part), "no {part:?} in:\n{rest}");
    }
}

#[test]
fn a_port_that_was_asked_for_and_is_taken_is_an_error_that_names_it() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = taken.local_addr().expect("bound");
    let output = demo(&["--for", "1s", "--port", &address.port().to_string()])
        .output()
        .expect("runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains(&address.to_string()), "{told}");
}
