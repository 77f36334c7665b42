//! The whole of it: a real nginx behind the built command, driven by raw sockets and by wrk.
//!
//! nginx keeps its own book of what reached it, so that what the gateway says it admitted can be held against it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::cast_precision_loss, reason = "counts of a few thousand")]

// Beside the root and not below it, since the file's name is what finds the tests that need nginx.
#[path = "nginx/bounds.rs"]
mod bounds;

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sluicegate_testkit::upstream::{Message, ReadBody};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use bounds::{BURST, Exchange, RATE, assert_every_window, assert_whole_run};

/// How long the greedy client asks. Three of the limit's periods and more, so that the rate counts and not the burst.
const GREEDY_FOR: Duration = Duration::from_secs(4);

/// A bound far above anything a healthy process needs: whoever reaches it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

const GREEDY: [u8; 4] = [127, 0, 0, 2];
const MODEST: [u8; 4] = [127, 0, 0, 3];

#[test]
fn a_greedy_client_gets_its_limit_in_every_window_and_a_modest_one_is_not_touched() {
    let nginx = Nginx::start();
    let gateway = Gateway::start(nginx.address);
    let (mut greedy, mut modest) = (Client::connect(GREEDY, &gateway), Client::connect(MODEST, &gateway));
    let start = now();
    let mut exchanges = Vec::new();
    let mut modest_asked: usize = 0;
    // Ends on a refusal, so that nothing it may have is left over at the end.
    while exchanges
        .last()
        .is_none_or(|last: &Exchange| last.received - start < GREEDY_FOR || last.status == 200)
    {
        exchanges.push(greedy.ask("/"));
        // Evenly over the run, and never more than its burst: nothing may be refused.
        let part = exchanges
            .last()
            .unwrap()
            .received
            .saturating_duration_since(start)
            .as_secs_f64();
        if (modest_asked as f64) < (part / GREEDY_FOR.as_secs_f64() * BURST).min(BURST) {
            modest_asked += 1;
            assert_eq!(
                modest.ask("/").status,
                200,
                "request {modest_asked} of the modest client"
            );
        }
    }
    assert!(exchanges.iter().all(|exchange| matches!(exchange.status, 200 | 429)));
    let admitted: Vec<&Exchange> = exchanges.iter().filter(|exchange| exchange.status == 200).collect();
    assert_whole_run(&exchanges);
    assert_every_window(&admitted);

    // A limit may only be held if the requests it let through are those that arrived.
    let arrived = nginx.arrived();
    assert_eq!(arrived.get(&IpAddr::from(GREEDY)).copied(), Some(admitted.len()));
    assert_eq!(arrived.get(&IpAddr::from(MODEST)).copied(), Some(modest_asked));
    let told = gateway.decisions();
    assert_eq!(told.allowed, admitted.len() + modest_asked);
    assert_eq!(told.denied, exchanges.len() - admitted.len());
    gateway.stop();
}

#[test]
fn every_allowed_request_of_a_load_test_is_in_the_upstreams_book() {
    let nginx = Nginx::start();
    let gateway = Gateway::start(nginx.address);
    let free = wrk(&gateway, "/free");
    let limited = wrk(&gateway, "/");
    let arrived: usize = nginx.arrived().values().sum();
    let told = gateway.decisions();
    assert!(free.answered > 0 && free.refused == 0, "{free:?}");
    assert!(limited.refused > 0, "{limited:?}");
    // wrk hangs up at the end of its time: what it had asked and not yet heard may have been admitted or not, and may
    // have reached nginx or not, at most one request for each of its connections.
    let cut = 2 * CONNECTIONS;
    assert!(
        told.allowed.abs_diff(arrived) <= cut,
        "{told:?}, and {arrived} reached nginx"
    );
    let asked = free.answered + limited.answered;
    assert!(
        (told.allowed + told.denied).abs_diff(asked) <= cut,
        "{told:?}, and wrk counted {asked}"
    );
    assert!(
        told.denied.abs_diff(limited.refused) <= cut,
        "{told:?}, and wrk counted {}",
        limited.refused
    );
    let most = BURST + RATE * limited.took.as_secs_f64() + 1.0;
    let passed = (limited.answered - limited.refused) as f64;
    assert!(passed <= most, "{passed} passed of {limited:?}; {most:.2} is the most");
    gateway.stop();
}

/// A keep-alive connection from an address of its own.
struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    fn connect(from: [u8; 4], gateway: &Gateway) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        socket.connect(&gateway.address.into()).unwrap();
        socket.set_tcp_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            reader: BufReader::new(socket.into()),
        }
    }

    fn ask(&mut self, path: &str) -> Exchange {
        let sent = now();
        let request = format!("GET {path} HTTP/1.1\r\nHost: api.test\r\n\r\n");
        self.reader.get_mut().write_all(request.as_bytes()).unwrap();
        let answer = Message::read(&mut self.reader, ReadBody::Whole)
            .unwrap()
            .expect("an answer");
        Exchange {
            sent,
            received: now(),
            status: answer.status().unwrap(),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a rate on real sockets is held against the wall clock"
)]
fn now() -> Instant {
    Instant::now()
}

/// The built command, run as a user would.
struct Gateway {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
    _folder: TempDir,
}

impl Gateway {
    fn start(upstream: SocketAddr) -> Self {
        let folder = TempDir::new().unwrap();
        let policy = folder.path().join("policy.yaml");
        fs::write(
            &policy,
            format!(
                "version: 1
gateway:
  listen: 127.0.0.1:0
  upstreams: {{ api: {{ servers: \"{upstream}\" }} }}
admin: {{ listen: 127.0.0.1:0 }}
state: {{ memory: 4MiB }}
routes:
  - {{ name: free, path: /free }}
  - {{ name: rest, path: \"/{{*rest}}\" }}
rules:
  - {{ name: per-client, key: ip, routes: rest, limit: {RATE}/s burst {BURST} }}
"
            ),
        )
        .unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
            .args([Path::new("run"), Path::new("-c"), &policy])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut listens = HashMap::new();
        while listens.len() < 2 {
            let line = lines.next().expect("the gateway says where it listens").unwrap();
            if let Some((door, address)) = line.split_once(" listens on http://") {
                listens.insert(door.to_owned(), address.trim().parse().unwrap());
            }
        }
        // Whatever else it says is drained, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            address: listens["gateway"],
            admin: listens["admin"],
            _folder: folder,
        }
    }

    /// Requests by what became of them, over all routes.
    fn decisions(&self) -> Decisions {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        let answer = Message::read(&mut BufReader::new(stream), ReadBody::Whole)
            .unwrap()
            .unwrap();
        let text = answer.text();
        let sum = |outcome: &str| {
            let of = |line: &&str| {
                line.starts_with("sluicegate_requests_total{") && line.contains(&format!("outcome=\"{outcome}\""))
            };
            let count = |line: &str| line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap();
            text.lines().filter(of).map(count).sum()
        };
        Decisions {
            allowed: sum("allow"),
            denied: sum("deny"),
        }
    }

    /// By SIGTERM, as a service manager would.
    fn stop(mut self) {
        let term = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(term.success());
        assert!(
            self.child.wait().unwrap().success(),
            "a drain with nothing under way ends well"
        );
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Gone already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
struct Decisions {
    allowed: usize,
    denied: usize,
}

/// An nginx of the test's own: one process, a free port, and everything it writes in a folder that goes with it.
struct Nginx {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    _folder: TempDir,
}

impl Nginx {
    fn start() -> Self {
        // nginx cannot choose a port by itself, and one that was free a moment ago may be taken: then the next.
        (0..PORTS_TRIED)
            .find_map(|_| Self::try_start())
            .expect("nginx starts on one of several free ports")
    }

    fn try_start() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let path = folder.path().display();
        let configuration = format!(
            "daemon off; master_process off; pid {path}/pid; error_log stderr;
events {{ worker_connections 512; }}
http {{
  log_format book '$http_x_forwarded_for';
  access_log {path}/book book;
  client_body_temp_path {path}/a; proxy_temp_path {path}/b; fastcgi_temp_path {path}/c;
  uwsgi_temp_path {path}/d; scgi_temp_path {path}/e;
  keepalive_requests 1000000;
  server {{ listen {address}; location / {{ return 200 'here'; }} }}
}}
"
        );
        fs::write(folder.path().join("nginx.conf"), configuration).unwrap();
        let child = Command::new(program("nginx"))
            .arg("-p")
            .arg(folder.path())
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed");
        let log = folder.path().join("book");
        let mut nginx = Self {
            child,
            address,
            log,
            _folder: folder,
        };
        nginx.is_up().then_some(nginx)
    }

    /// Waits until it answers, or ends.
    fn is_up(&mut self) -> bool {
        while self.child.try_wait().unwrap().is_none() {
            match TcpStream::connect(self.address) {
                Ok(_) => return true,
                Err(_not_yet) => std::thread::yield_now(),
            }
        }
        false
    }

    /// Requests by the client that the gateway named. nginx writes each line before it answers the next request of the
    /// same connection, so the last few may be a moment behind: the book is read when it no longer grows.
    fn arrived(&self) -> HashMap<IpAddr, usize> {
        let mut text = fs::read_to_string(&self.log).unwrap();
        loop {
            // A round trip through its only process: what was to be written before has been.
            let mut stream = TcpStream::connect(self.address).unwrap();
            stream
                .write_all(b"GET /probe HTTP/1.0\r\nX-Forwarded-For: 127.0.0.9\r\n\r\n")
                .unwrap();
            io::copy(&mut stream, &mut io::sink()).unwrap();
            let again = fs::read_to_string(&self.log).unwrap();
            let probe = "127.0.0.9\n".len();
            if again.len() <= text.len() + probe {
                text = again;
                break;
            }
            text = again;
        }
        let mut arrived = HashMap::new();
        for line in text.lines().filter(|line| *line != "127.0.0.9") {
            *arrived.entry(line.parse().unwrap()).or_insert(0) += 1;
        }
        arrived
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A single process, so that nothing of it is left behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Between asking the system for a free port and nginx taking it, somebody else may; five times in a row nobody does.
const PORTS_TRIED: usize = 5;

/// What wrk counted.
#[derive(Debug)]
struct Load {
    answered: usize,
    refused: usize,
    took: Duration,
}

const CONNECTIONS: usize = 8;

fn wrk(gateway: &Gateway, path: &str) -> Load {
    let start = now();
    let output = Command::new(program("wrk"))
        .args(["-t", "1", "-c", &CONNECTIONS.to_string(), "-d", "2s"])
        .arg(format!("http://{}{path}", gateway.address))
        .output()
        .expect("wrk is installed");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let number = |line: Option<&str>, place: usize| {
        line.map_or(0, |line| line.split_whitespace().nth(place).unwrap().parse().unwrap())
    };
    let line = |mark: &str| text.lines().find(|line| line.contains(mark));
    // `  12345 requests in 2.00s, 1.23MB read` and `  Non-2xx or 3xx responses: 678`.
    Load {
        answered: number(line(" requests in "), 0),
        refused: number(line("Non-2xx"), 4),
        took: now() - start,
    }
}

/// Debian keeps nginx where a plain user's search path does not look.
fn program(name: &str) -> PathBuf {
    let aside = Path::new("/usr/sbin").join(name);
    if aside.exists() { aside } else { PathBuf::from(name) }
}
