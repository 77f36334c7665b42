//! The policy file is read again while the gateway runs: by signal, by an event in its folder, by a POST.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sluicegate_testkit::certificates as tls;
use sluicegate_testkit::upstream::{Message, ReadBody, Upstream, ok};
use tempfile::TempDir;

use crate::process::{FILE, Running, binary, get, send_from};

fn upstream() -> Upstream {
    Upstream::answering(|_| ok("here")).expect("a free port")
}

/// A policy with these rules; the first route is free of those that name the second.
fn with_rules(upstream: &Upstream, rules: &[&str]) -> String {
    let rules: String = rules.iter().flat_map(|rule| ["  - { ", rule, " }\n"]).collect();
    format!(
        "version: 1\nadmin: {{ listen: 127.0.0.1:0 }}\nstate: {{ memory: 1MiB }}\ngateway:\n  listen: 127.0.0.1:0\n  upstreams: {{ api: {{ servers: \"{}\" }} }}\nroutes:\n  - {{ name: free, path: /free, upstream: api }}\n  - {{ name: limited, path: /limited, upstream: api }}\nrules:\n{rules}",
        upstream.address()
    )
}

fn start(text: &str) -> Running {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join(FILE), text).expect("a file of ours");
    Running::with_folder(folder, "info").read_on()
}

/// Writes the file, and has it read.
#[track_caller]
fn put(running: &Running, text: impl AsRef<[u8]>) -> (u16, Value) {
    fs::write(running.file(), text).expect("a file of ours");
    post(running.admin, "")
}

#[track_caller]
fn post(admin: SocketAddr, fields: &str) -> (u16, Value) {
    let request = format!("POST /reload HTTP/1.1\r\nHost: {admin}\r\n{fields}Connection: close\r\n\r\n");
    let (status, answer) = send_from(Ipv4Addr::LOCALHOST, admin, &request);
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

/// Waits until somebody else has had the file read and it came to this.
#[track_caller]
fn wait_for(running: &Running, page: &str, line: &str) {
    // A liveness poll: each turn is one exchange, and the test runner ends what never comes.
    while !get(running.admin, page).1.contains(line) {
        thread::yield_now();
    }
}

/// A client with an address, and so with a key, of its own.
fn ask(from: u8, running: &Running, path: &str) -> u16 {
    let source = Ipv4Addr::new(127, 0, 9, from);
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    send_from(source, running.gateway, &request).0
}

/// How many of ten pass.
fn passing(from: u8, running: &Running) -> usize {
    (0..10).filter(|_| ask(from, running, "/limited") == 200).count()
}

/// F18 of the faults, as an operator meets it: nobody tells the gateway that a file has changed.
#[test]
fn a_certificate_that_is_renewed_in_its_file_is_put_in_force_and_one_that_is_none_is_not() {
    let upstream = upstream();
    let folder = TempDir::new().expect("a folder");
    let put = |identity: &tls::Identity| {
        for (name, text) in [("server.pem", identity.certificate), ("server.key", identity.key)] {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("a file of ours");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        }
    };
    put(&tls::SERVER);
    let policy = with_rules(&upstream, &["name: a, key: ip, limit: 1/h"]).replace(
        "listen: 127.0.0.1:0\n  upstreams",
        &format!(
            "listen: {{ address: \"127.0.0.1:0\", tls: {{ certificate: {0}/server.pem, private_key: {0}/server.key }} }}\n  upstreams",
            folder.path().display()
        ),
    );
    let running = start(&policy);
    let (_, metrics) = get(running.admin, "/metrics");
    assert!(
        metrics.contains("sluicegate_gateway_cert_not_after_timestamp_seconds{listener=\"127.0.0.1:0\""),
        "{metrics}"
    );
    put(&tls::EXPIRED);
    wait_for(&running, "/metrics", "\nsluicegate_config_file_in_force 0");
    put(&tls::STRANGER);
    wait_for(&running, "/metrics", "\nsluicegate_config_file_in_force 1");
    wait_for(&running, "/metrics", "\nsluicegate_config_generation 2");
}

/// Files that are no policy, each in another way; `n` makes them distinct.
fn broken(n: usize, good: &str) -> Vec<u8> {
    let text = match n % 10 {
        0 => format!("{good}field-{n}: 1\n"),
        1 => format!("# {n}\n"),
        2 => good[..good.len() / 2].to_owned() + &format!(" {{ {n}"),
        3 => format!("{good}  - {{ name: r{n}, key: ip, limit: 5/fortnight }}\n"),
        4 => format!("{good}version: {n}\n"),
        5 => format!("a: &a [{n}, 1]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n"),
        6 => format!("{good}#{}", "x".repeat((1 << 20) + n)),
        7 => format!("{}{n}{}", "[".repeat(5000), "]".repeat(5000)),
        8 => good.replace("routes: limited", &format!("routes: nowhere-{n}")),
        _ => return [good.as_bytes(), &[0xff, 0xfe, u8::try_from(n).expect("small")]].concat(),
    };
    text.into_bytes()
}

/// T49.
#[test]
fn fifty_broken_files_change_no_decision_and_lose_no_connection() {
    let upstream = upstream();
    let good = with_rules(&upstream, &["name: all, key: ip, routes: limited, limit: 3 per 1d"]);
    let running = start(&good);
    assert_eq!(passing(1, &running), 3);
    let (done, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for (path, expected) in [("/free", 200), ("/limited", 429)] {
            let (done, asked, gateway) = (&done, &asked, running.gateway);
            scope.spawn(move || {
                let socket =
                    socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
                let source = SocketAddr::from((Ipv4Addr::new(127, 0, 9, 1), 0));
                socket.bind(&source.into()).expect("a loopback address");
                socket.connect(&gateway.into()).expect("it listens");
                let mut stream = BufReader::new(TcpStream::from(socket));
                // One connection for all of it: a second would hide that the first was dropped.
                while !done.load(Ordering::Relaxed) {
                    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
                    stream
                        .get_mut()
                        .write_all(request.as_bytes())
                        .expect("the connection is there");
                    let answer = Message::read(&mut stream, ReadBody::Whole)
                        .expect("an answer")
                        .expect("an answer");
                    assert_eq!(answer.status(), Some(expected), "{}", answer.text());
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for n in 0..50 {
            let (status, told) = put(&running, broken(n, &good));
            assert_eq!((status, &told["outcome"]), (422, &Value::from("faulty")), "{n}: {told}");
            assert!(told["faults"][0]["line"].is_u64(), "{told}");
            let before = asked.load(Ordering::Relaxed);
            while asked.load(Ordering::Relaxed) < before + 4 {
                thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    let ready = get(running.admin, "/readyz");
    assert_eq!(ready.0, 200, "the policy before is in force");
    assert!(ready.1.contains(r#""ok":false"#), "{}", ready.1);
    // Nobody is asked to read it: the folder is watched.
    fs::write(running.file(), good.replace("3 per 1d", "5 per 1d")).expect("a file of ours");
    wait_for(&running, "/metrics", "sluicegate_config_generation 2\n");
    assert_eq!(passing(1, &running), 2);
}

/// T49.
#[test]
fn a_lowered_limit_clamps_and_a_raised_one_does_not_refill() {
    let upstream = upstream();
    let text = |limit: &str| {
        with_rules(
            &upstream,
            &[&format!("name: all, key: ip, routes: limited, limit: {limit}")],
        )
    };
    let running = start(&text("6 per 1d"));
    for _ in 0..2 {
        assert_eq!(ask(1, &running, "/limited"), 200);
    }
    assert_eq!(passing(2, &running), 6);
    assert_eq!(put(&running, text("3 per 1d")).0, 200);
    assert_eq!(passing(1, &running), 1, "two of three were used");
    assert_eq!(passing(2, &running), 0);
    assert_eq!(put(&running, text("8 per 1d")).0, 200);
    assert_eq!(passing(1, &running), 5, "three of eight were used");
    assert_eq!(
        passing(2, &running),
        5,
        "more than three could not be owed under the limit before"
    );
}

#[test]
fn an_unchanged_rule_keeps_its_state_and_a_removed_one_limits_nobody() {
    let upstream = upstream();
    let (stays, goes) = (
        "name: stays, key: ip, routes: limited, limit: 4 per 1d",
        "name: goes, key: ip, routes: limited, limit: 2 per 1d",
    );
    let running = start(&with_rules(&upstream, &[goes, stays]));
    assert_eq!(passing(1, &running), 2);
    let (status, told) = put(&running, with_rules(&upstream, &[stays]));
    assert_eq!((status, &told["generation"]), (200, &Value::from(2)));
    assert_eq!(passing(1, &running), 2, "two of four are left");
    assert_eq!(
        put(
            &running,
            with_rules(&upstream, &[stays, "name: new, key: ip, routes: free, limit: 9/s"])
        )
        .0,
        200
    );
    assert_eq!(passing(1, &running), 0);
}

#[test]
fn the_same_content_again_is_nothing_to_do_and_says_so() {
    let upstream = upstream();
    let text = with_rules(&upstream, &["name: all, key: ip, limit: 3 per 1d"]);
    let running = start(&text);
    assert_eq!(ask(1, &running, "/limited"), 200);
    let (status, told) = put(&running, &text);
    assert_eq!(
        (status, &told["outcome"], &told["generation"]),
        (200, &Value::from("unchanged"), &Value::from(1))
    );
    assert_eq!(passing(1, &running), 2);
}

/// I4.
#[test]
fn counters_go_on_across_reloads() {
    let upstream = upstream();
    let text = |limit: usize| with_rules(&upstream, &[&format!("name: all, key: ip, limit: {limit} per 1d")]);
    let running = start(&text(2));
    for limit in 3..7 {
        assert_eq!(ask(1, &running, "/free"), 200);
        assert_eq!(ask(2, &running, "/limited"), 200);
        assert_eq!(put(&running, text(limit)).0, 200);
    }
    assert_eq!(passing(1, &running), 2);
    let metrics = get(running.admin, "/metrics").1;
    for line in [
        r#"sluicegate_requests_total{route="free",outcome="allow"} 4"#,
        r#"sluicegate_requests_total{route="limited",outcome="allow"} 6"#,
        r#"sluicegate_requests_total{route="limited",outcome="deny"} 8"#,
        r#"sluicegate_decisions_total{rule="all",route="limited",outcome="deny"} 8"#,
        r#"sluicegate_config_reloads_total{outcome="applied"} 4"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line:?} in:\n{metrics}");
    }
    assert_eq!(upstream.requests().len(), 10);
}

/// T50.
#[test]
fn after_a_thousand_wishes_the_last_file_is_in_force() {
    let upstream = upstream();
    let running = start(&with_rules(&upstream, &["name: first, key: ip, limit: 1/s"]));
    let pid = Pid::from_raw(i32::try_from(running.pid()).expect("a small number")).expect("not zero");
    let other = running.file().with_extension("new");
    for n in 0..1000 {
        let text = with_rules(&upstream, &[&format!("name: rule-{n}, key: ip, limit: 1/s")]);
        fs::write(&other, text).expect("a file of ours");
        fs::rename(&other, running.file()).expect("a file of ours");
        kill_process(pid, Signal::HUP).expect("it runs");
    }
    wait_for(&running, "/metrics", r#"rule="rule-999""#);
    let (status, told) = post(running.admin, "");
    assert_eq!((status, &told["outcome"]), (200, &Value::from("unchanged")));
    assert_eq!(ask(1, &running, "/free"), 200);
    running.signal("TERM");
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_signal_has_the_file_read() {
    let upstream = upstream();
    let running = start(&with_rules(&upstream, &["name: first, key: ip, limit: 1/s"]));
    running.signal("HUP");
    wait_for(
        &running,
        "/metrics",
        "sluicegate_config_reloads_total{outcome=\"unchanged\"} 1\n",
    );
}

/// T50: Kubernetes mounts a folder of symbolic links, and turns one of them.
#[test]
fn a_turned_symbolic_link_is_seen() {
    let upstream = upstream();
    let folder = TempDir::new().expect("a folder");
    let version = |name: &str| {
        let version = folder.path().join(name);
        fs::create_dir(&version).expect("a folder");
        let text = with_rules(&upstream, &[&format!("name: {name}, key: ip, limit: 1/s")]);
        fs::write(version.join(FILE), text).expect("a file of ours");
    };
    version("one");
    version("two");
    symlink("one", folder.path().join("..data")).expect("a link of ours");
    symlink(format!("..data/{FILE}"), folder.path().join(FILE)).expect("a link of ours");
    let running = Running::with_folder(folder, "info").read_on();
    let data = running.file().with_file_name("..data");
    let turned = running.file().with_file_name("..data_tmp");
    symlink("two", &turned).expect("a link of ours");
    fs::rename(turned, data).expect("a link of ours");
    wait_for(&running, "/metrics", r#"rule="two""#);
}

#[test]
fn a_file_that_an_editor_puts_in_the_place_of_the_old_one_is_seen() {
    let upstream = upstream();
    let running = start(&with_rules(&upstream, &["name: one, key: ip, limit: 1/s"]));
    for name in ["two", "three"] {
        let (file, swap) = (running.file(), running.file().with_extension("swp"));
        fs::write(
            &swap,
            with_rules(&upstream, &[&format!("name: {name}, key: ip, limit: 1/s")]),
        )
        .expect("a file of ours");
        fs::rename(&file, running.file().with_extension("bak")).expect("a file of ours");
        fs::rename(&swap, &file).expect("a file of ours");
        wait_for(&running, "/metrics", &format!("rule=\"{name}\""));
    }
}

/// T50.
#[test]
fn a_file_that_is_written_in_two_parts_is_in_force_when_the_second_is_there() {
    let upstream = upstream();
    let running = start(&with_rules(&upstream, &["name: one, key: ip, limit: 1/s"]));
    let text = with_rules(&upstream, &["name: two, key: ip, limit: 1/s"]);
    // In the middle of a word.
    let (first, second) = text.split_at(text.len() - 12);
    let mut file = fs::File::create(running.file()).expect("a file of ours");
    file.write_all(first.as_bytes()).expect("a file of ours");
    wait_for(&running, "/readyz", r#""outcome":"faulty""#);
    assert!(get(running.admin, "/metrics").1.contains(r#"rule="one""#));
    file.write_all(second.as_bytes()).expect("a file of ours");
    wait_for(&running, "/metrics", r#"rule="two""#);
    wait_for(
        &running,
        "/readyz",
        r#""policy":{"ok":true,"outcome":"applied","generation":2"#,
    );
}

#[test]
fn a_folder_that_another_takes_the_place_of_is_watched_after_the_next_signal() {
    let upstream = upstream();
    let text = |name: &str| with_rules(&upstream, &[&format!("name: {name}, key: ip, limit: 1/s")]);
    let running = start(&text("one"));
    let folder = running.file().parent().expect("a folder").to_owned();
    fs::remove_dir_all(&folder).expect("a folder of ours");
    wait_for(&running, "/readyz", r#""outcome":"unreadable""#);
    fs::create_dir(&folder).expect("a folder");
    fs::write(running.file(), text("two")).expect("a file of ours");
    running.signal("HUP");
    wait_for(&running, "/metrics", r#"rule="two""#);
    fs::write(running.file(), text("three")).expect("a file of ours");
    wait_for(&running, "/metrics", r#"rule="three""#);
}

/// F16.
#[test]
fn a_file_that_cannot_be_read_leaves_the_policy_in_force_and_is_told_once() {
    let upstream = upstream();
    let text = with_rules(&upstream, &["name: all, key: ip, routes: limited, limit: 3 per 1d"]);
    let running = start(&text);
    assert_eq!(passing(1, &running), 3);
    fs::remove_file(running.file()).expect("a file of ours");
    wait_for(&running, "/readyz", r#""outcome":"unreadable""#);
    fs::create_dir(running.file()).expect("a folder");
    for _ in 0..3 {
        let (status, told) = post(running.admin, "");
        assert_eq!(status, 409, "{told}");
        assert!(
            told["problem"]
                .as_str()
                .is_some_and(|problem| problem.contains("directory")),
            "{told}"
        );
    }
    fs::remove_dir(running.file()).expect("a folder");
    // Nobody may open it, root neither.
    symlink(FILE, running.file()).expect("a link of ours");
    assert_eq!(post(running.admin, "").0, 409);
    assert_eq!(get(running.admin, "/readyz").0, 200);
    assert_eq!(passing(1, &running), 0);
    fs::remove_file(running.file()).expect("a link of ours");
    let (status, told) = put(&running, &text);
    assert_eq!((status, &told["outcome"]), (200, &Value::from("unchanged")));
    running.signal("TERM");
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.matches("is a directory").count(), 1, "{log}");
}

#[test]
fn faults_are_told_in_the_log_once_with_line_and_remedy() {
    let upstream = upstream();
    let text = with_rules(&upstream, &["name: all, key: ip, limit: 3 per 1d"]);
    let running = start(&text);
    for _ in 0..3 {
        assert_eq!(put(&running, text.replace("1d", "1fortnight")).0, 422);
        assert_eq!(put(&running, format!("{text}nonsense: 1\n")).0, 422);
    }
    running.signal("TERM");
    let (_, log) = running.end();
    for said in ["fortnight", "nonsense", "line=12"] {
        let lines = log
            .lines()
            .filter(|line| line.contains(said) && line.contains("remedy="))
            .count();
        assert_eq!(lines, 1, "{said}:\n{log}");
    }
}

#[test]
fn a_policy_that_needs_a_restart_is_refused_as_a_whole_with_a_line_for_each_field() {
    let upstream = upstream();
    let text = with_rules(&upstream, &["name: all, key: ip, limit: 3 per 1d"]);
    let running = start(&text);
    let other = text
        .replace("memory: 1MiB", "memory: 2MiB")
        .replace("  listen: 127.0.0.1:0", "  threads: 3\n  listen: 127.0.0.2:0")
        .replace("admin: { listen: 127.0.0.1:0 }", "admin: { listen: off }")
        .replace("limit: 3", "limit: 9");
    let (status, told) = put(&running, &other);
    assert_eq!(
        (status, &told["outcome"]),
        (409, &Value::from("needs_restart")),
        "{told}"
    );
    let faults = told["faults"].as_array().expect("faults");
    let found: Vec<_> = faults
        .iter()
        .map(|fault| (fault["place"].as_str().unwrap_or(""), fault["line"].as_u64()))
        .collect();
    assert_eq!(
        found,
        [
            ("admin.listen", Some(2)),
            ("state.memory", Some(3)),
            ("gateway.threads", Some(5)),
            ("gateway.listen", Some(6))
        ]
    );
    assert_eq!(passing(1, &running), 3, "nothing of it is in force");
    let (status, _) = put(&running, text.replace("gateway:\n", "was:\n"));
    assert_eq!(status, 422);
}

/// I5.
#[test]
fn a_changed_file_of_keys_is_in_force_and_a_bad_one_changes_nothing() {
    let keys = |id: &str, key: &str| {
        let hash = sluicegate::KeyDigest::of(key.as_bytes());
        format!("version: 1\nkeys: [{{ id: {id}, hash: \"{hash}\" }}]\n")
    };
    let upstream = upstream();
    let folder = TempDir::new().expect("a folder");
    let rules = with_rules(&upstream, &["name: all, key: client, limit: 1 per 1d"]);
    let policy = rules.replace("gateway:\n", "identity: { api_keys: keys.yaml }\ngateway:\n");
    fs::write(folder.path().join(FILE), policy).expect("a file of ours");
    let file = folder.path().join("keys.yaml");
    fs::write(&file, keys("first", "k")).expect("a file of ours");
    let running = Running::with_folder(folder, "info").read_on();
    let asks = |key: &str| {
        let request = format!("GET /free HTTP/1.1\r\nHost: h\r\nX-Api-Key: {key}\r\nConnection: close\r\n\r\n");
        send_from(Ipv4Addr::new(127, 0, 9, 77), running.gateway, &request).0
    };
    assert_eq!(
        [asks("k"), asks("k"), asks("l"), asks("l")],
        [200, 429, 200, 429],
        "`l` is the address"
    );

    fs::write(&file, "version: 1\nkeys: [{ id: second }]\n").expect("a file of ours");
    let (status, answer) = post(running.admin, "");
    assert_eq!((status, answer["outcome"].as_str()), (422, Some("faulty")), "{answer}");
    assert!(answer.to_string().contains("keys.yaml"), "{answer}");
    assert_eq!([asks("k"), asks("l")], [429, 429], "nothing has changed");

    // Without being asked to: the file is watched.
    fs::write(&file, keys("second", "l")).expect("a file of ours");
    wait_for(
        &running,
        "/readyz",
        r#""policy":{"ok":true,"outcome":"applied","generation":2"#,
    );
    assert_eq!(
        [asks("l"), asks("l"), asks("k")],
        [200, 429, 429],
        "now `k` is the address"
    );
}

#[test]
fn a_page_of_another_origin_reloads_nothing() {
    let upstream = upstream();
    let running = start(&with_rules(&upstream, &["name: all, key: ip, limit: 3 per 1d"]));
    assert_eq!(post(running.admin, "Origin: http://evil.test\r\n").0, 403);
    let metrics = get(running.admin, "/metrics").1;
    assert!(
        metrics.contains("sluicegate_config_reloads_total{outcome=\"unchanged\"} 0\n"),
        "{metrics}"
    );
}

#[test]
fn new_servers_get_the_next_request() {
    let (old, new) = (upstream(), upstream());
    let rules = &["name: all, key: ip, limit: 3/s"];
    let running = start(&with_rules(&old, rules));
    assert_eq!(ask(1, &running, "/free"), 200);
    assert_eq!(put(&running, with_rules(&new, rules)).0, 200);
    assert_eq!(ask(2, &running, "/free"), 200);
    assert_eq!((old.requests().len(), new.requests().len()), (1, 1));
}

/// A process that waits for its policy, since the file is a pipe that nobody has written to yet.
struct Piped {
    child: Child,
    folder: TempDir,
}

impl Piped {
    fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let made = Command::new("mkfifo").arg(folder.path().join(FILE)).status();
        assert!(made.expect("mkfifo is there").success());
        let mut command = binary();
        command.args(["run", "-c"]).arg(folder.path().join(FILE));
        let child = command.stderr(Stdio::piped()).spawn().expect("built");
        Self { child, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a small number")).expect("not zero")
    }

    /// Where admin listens, once it does.
    fn admin(&mut self) -> SocketAddr {
        let mut log = BufReader::new(self.child.stderr.take().expect("piped")).lines();
        let admin = log.find_map(|line| {
            let address = line.expect("text").strip_prefix("admin listens on http://")?.to_owned();
            Some(address)
        });
        admin.expect("it comes so far").parse().expect("an address")
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        // It has ended already in a test that went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whoever writes the file and sends the signal does not know whether the process has come that far.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_before_the_doors_are_open_does_not_end_the_process() {
    let upstream = upstream();
    let mut piped = Piped::start();
    let status = format!("/proc/{}/status", piped.child.id());
    let takes_hangups = || {
        let status = fs::read_to_string(&status).expect("it runs");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        u64::from_str_radix(caught.expect("a mask").trim(), 16).expect("a mask") & 1 == 1
    };
    while !takes_hangups() {
        thread::yield_now();
    }
    kill_process(piped.pid(), Signal::HUP).expect("it runs");
    fs::write(piped.file(), with_rules(&upstream, &["name: all, key: ip, limit: 3/s"])).expect("it reads");
    piped.admin();
    kill_process(piped.pid(), Signal::TERM).expect("it runs");
    assert_eq!(piped.child.wait().expect("a child").code(), Some(0));
}

#[test]
fn a_file_that_is_written_before_its_folder_is_watched_is_seen() {
    let upstream = upstream();
    let mut piped = Piped::start();
    let text = |name: &str| with_rules(&upstream, &[&format!("name: {name}, key: ip, limit: 1/s")]);
    let mut pipe = fs::File::options().write(true).open(piped.file()).expect("it is read");
    // The process has the pipe open, and the next to open the file finds another.
    let other = piped.file().with_extension("new");
    fs::write(&other, text("later")).expect("a file of ours");
    fs::rename(&other, piped.file()).expect("a file of ours");
    pipe.write_all(text("earlier").as_bytes()).expect("it reads");
    drop(pipe);
    let admin = piped.admin();
    while !get(admin, "/metrics").1.contains(r#"rule="later""#) {
        thread::yield_now();
    }
}
