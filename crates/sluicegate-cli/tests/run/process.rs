//! A running `sluicegate`, an upstream that answers when told, and the few words of HTTP that tests need.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write, pipe};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

/// The command under test.
pub(crate) fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sluicegate"))
}

/// `sluicegate run` with its doors open; killed when dropped.
pub(crate) struct Running {
    child: Child,
    /// `None` where nobody reads it any more.
    stderr: Option<BufReader<ChildStderr>>,
    /// Where standard error is read all along.
    log: Option<JoinHandle<String>>,
    pub(crate) gateway: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// What it said before it listened.
    pub(crate) said_first: String,
    folder: TempDir,
}

impl Running {
    /// Starts it on free ports, with `rest` appended to the policy, and returns when every listener is named.
    pub(crate) fn start(upstream: SocketAddr, rest: &str) -> Self {
        Self::with_policy(&policy(upstream, rest))
    }

    /// Starts it with a policy whose gateway and admin listen on ports of its own choice.
    pub(crate) fn with_policy(text: &str) -> Self {
        Self::logging(text, "trace")
    }

    /// The same, logging from `level` upwards.
    pub(crate) fn logging(text: &str, level: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join(FILE), text).expect("a file of ours");
        Self::with_folder(folder, level)
    }

    /// Starts it with the policy in a folder that is there already, logging from `level` upwards.
    pub(crate) fn with_folder(folder: TempDir, level: &str) -> Self {
        let mut child = binary()
            .args(["run", "-c"])
            .arg(folder.path().join(FILE))
            .env("SLUICEGATE_LOG", level)
            .stderr(Stdio::piped())
            .spawn()
            .expect("built");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut said_first = String::new();
        let gateway = address(&mut stderr, "gateway listens on ", &mut said_first);
        let admin = address(&mut stderr, "admin listens on ", &mut said_first);
        Self {
            child,
            stderr: Some(stderr),
            log: None,
            gateway,
            admin,
            said_first,
            folder,
        }
    }

    /// Reads standard error from now on, for one that may say more than a pipe holds.
    pub(crate) fn read_on(mut self) -> Self {
        self.log = self.stderr.take().map(|mut stderr| {
            thread::spawn(move || {
                let mut rest = String::new();
                stderr.read_to_string(&mut rest).expect("text");
                rest
            })
        });
        self
    }

    /// The policy file.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    /// Starts it with nobody to read its standard error from the start, and returns when it is ready.
    pub(crate) fn start_unread(upstream: SocketAddr, options: &[&str]) -> Self {
        let (gateway, admin) = (own_address(), own_address());
        let text = policy(upstream, "")
            .replace(
                "admin: { listen: 127.0.0.1:0 }",
                &format!("admin: {{ listen: \"{admin}\" }}"),
            )
            .replace("address: 127.0.0.1:0", &format!("address: {gateway}"));
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join(FILE);
        fs::write(&path, text).expect("a file of ours");
        let child = binary()
            .args(["run", "-c"])
            .arg(&path)
            .args(options)
            .env("SLUICEGATE_LOG", "trace")
            .stderr(unread())
            .spawn()
            .expect("built");
        let mut running = Self {
            child,
            stderr: None,
            log: None,
            gateway,
            admin,
            said_first: String::new(),
            folder,
        };
        // Nobody hears when it listens, so it is asked; one that has ended would never answer.
        while TcpStream::connect(admin).is_err() {
            assert_eq!(running.child.try_wait().expect("a child"), None, "it ended by itself");
            thread::yield_now();
        }
        running.wait_for_stage("ready");
        running
    }

    /// Goes away as the reader of its standard error.
    pub(crate) fn stop_reading(&mut self) {
        self.stderr = None;
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(sent.expect("kill is there").success());
    }

    /// Waits for `/readyz` to tell of `stage`.
    pub(crate) fn wait_for_stage(&self, stage: &str) {
        // A liveness poll: each turn is one exchange, and the test runner ends what never comes.
        while !get(self.admin, "/readyz").1.contains(&format!("\"stage\":\"{stage}\"")) {
            thread::yield_now();
        }
    }

    /// Waits for the end; gives back the exit code and the rest of standard error, as far as anybody reads it.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        if let Some(stderr) = &mut self.stderr {
            stderr.read_to_string(&mut rest).expect("text");
        }
        if let Some(log) = self.log.take() {
            rest = log.join().expect("no panic");
        }
        (self.child.wait().expect("a child").code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already in a test that went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the policy file is called in its folder.
pub(crate) const FILE: &str = "policy.yaml";

/// A policy for one upstream and free ports; `rest` continues `gateway` first, then the top level.
pub(crate) fn policy(upstream: SocketAddr, rest: &str) -> String {
    format!(
        "\
version: 1
admin: {{ listen: 127.0.0.1:0 }}
state: {{ memory: 1MiB }}
routes:
  - {{ name: everything, path: \"/{{*rest}}\", upstream: api }}
rules:
  - {{ name: per-client, key: ip, limit: 2 per 1d }}
gateway:
  listen: [ {{ address: 127.0.0.1:0 }} ]
  upstreams: {{ api: {{ servers: [\"{upstream}\"] }} }}
{rest}"
    )
}

/// A pipe whose reader is gone.
pub(crate) fn unread() -> Stdio {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// A port at a loopback address that nobody else uses, so that it is still free a moment later.
fn own_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::new(127, 77, 88, 100), 0)).expect("a free port");
    listener.local_addr().expect("bound")
}

/// The address on the line that begins so; what comes before it is added to `said`.
fn address(lines: &mut impl BufRead, before: &str, said: &mut String) -> SocketAddr {
    loop {
        let mut line = String::new();
        assert_ne!(
            lines.read_line(&mut line).expect("text"),
            0,
            "it ended before {before:?}:\n{said}"
        );
        if let Some(address) = line.trim_end().strip_prefix(before) {
            let (_scheme, address) = address.split_once("://").expect("a URL");
            return address.parse().expect("an address");
        }
        said.push_str(&line);
    }
}

/// An upstream that answers each request when it is let.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    /// One for each request that arrives.
    pub(crate) arrived: Receiver<()>,
    /// Each lets one answer go.
    pub(crate) answer: Sender<()>,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (arrive, arrived) = channel();
        let (answer, answers) = channel();
        thread::spawn(move || {
            // One connection at a time is enough: the tests send one request after the other.
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.expect("accepted"));
                let mut line = String::new();
                while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                    line.clear();
                }
                // The test is over when nobody listens.
                if arrive.send(()).is_err() || answers.recv().is_err() {
                    return;
                }
                let _ = stream
                    .get_mut()
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
            }
        });
        Self {
            address,
            arrived,
            answer,
        }
    }
}

/// Asks and reads the answer: its status and everything that follows.
pub(crate) fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let stream = TcpStream::connect(address).expect("it listens");
    exchange(
        stream,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
    )
}

/// As [`get`], from an address of its own and with a request of its own.
pub(crate) fn send_from(source: Ipv4Addr, address: SocketAddr, request: &str) -> (u16, String) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::from((source, 0)).into())
        .expect("a loopback address");
    socket.connect(&address.into()).expect("it listens");
    exchange(socket.into(), request)
}

fn exchange(mut stream: TcpStream, request: &str) -> (u16, String) {
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a socket");
    stream.write_all(request.as_bytes()).expect("a small request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer in text");
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .expect("a status");
    (status, answer)
}
