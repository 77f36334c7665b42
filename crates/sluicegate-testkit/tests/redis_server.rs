//! Servers of a test's own: what they do, what can be done to them, and that nothing is left of them.

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::Duration;

use sluicegate_testkit::poll;
use sluicegate_testkit::proxy::{FaultProxy, Mode};
use sluicegate_testkit::redis::{RedisError, RedisOptions, RedisServer, Reply, tls};

type Outcome = Result<(), Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn servers_started_at_once_are_apart_from_one_another() -> Outcome {
    let servers = [RedisServer::start()?, RedisServer::start()?, RedisServer::start()?];
    for (number, server) in servers.iter().enumerate() {
        server.command(&["SET", "number", &number.to_string()])?;
    }
    for (number, server) in servers.iter().enumerate() {
        assert_eq!(
            server.command(&["GET", "number"])?.integer(),
            i64::try_from(number).ok()
        );
        assert_ne!(server.port(), 6379, "the port of a server that is not ours");
    }
    Ok(())
}

#[test]
fn keys_and_values_may_be_any_bytes() -> Outcome {
    let server = RedisServer::start()?;
    let mut client = server.client()?;
    let (key, value) = (b"\0\r\n\xff".as_slice(), b"$-1\r\n\x80".as_slice());
    client.command(&[b"SET", key, value])?;
    assert_eq!(client.command(&[b"GET", key])?.bytes(), Some(value));
    assert_eq!(client.command(&["GET", "another"])?, Reply::Nil);
    Ok(())
}

#[test]
fn a_server_with_a_clock_of_its_own_is_in_whatever_year_the_test_says_also_after_a_restart() -> Outcome {
    const YEAR: i64 = 365 * 86_400;
    let server = RedisOptions::new().own_clock().persistent().start()?;
    let other = RedisServer::start()?;
    let ahead = || -> Result<i64, Box<dyn Error>> {
        let second = |server: &RedisServer| -> Result<i64, Box<dyn Error>> {
            let time = server.command(&["EVAL", "return redis.call('TIME')[1]", "0"])?;
            Ok(time.text().ok_or("seconds")?.parse()?)
        };
        Ok(second(&server)? - second(&other)?)
    };
    assert!(ahead()?.abs() <= 1);
    for jump in [YEAR, -YEAR, 7, 0] {
        server.set_clock(jump)?;
        assert!((ahead()? - jump).abs() <= 1, "{jump}: {}", ahead()?);
    }
    server.command(&["SET", "a", "b", "PX", "3600000"])?;
    server.kill()?;
    server.set_clock(-YEAR)?;
    server.restart()?;
    assert!((ahead()? + YEAR).abs() <= 1, "{}", ahead()?);
    assert_eq!(server.command(&["EXISTS", "a"])?.integer(), Some(1));
    server.set_clock(YEAR)?;
    assert_eq!(server.command(&["EXISTS", "a"])?.integer(), Some(0), "it has expired");
    Ok(())
}

#[test]
fn a_server_tells_what_it_has_refused() -> Outcome {
    let server = RedisServer::start()?;
    assert_eq!(server.errors_of("WRONGTYPE")?, 0);
    server.command(&["RPUSH", "list", "a"])?;
    for _ in 0..2 {
        assert!(server.command(&["GET", "list"]).is_err());
    }
    assert_eq!(server.errors_of("WRONGTYPE")?, 2);
    Ok(())
}

#[test]
fn a_server_and_its_folder_are_gone_when_it_is_dropped() -> Outcome {
    let server = RedisServer::start()?;
    let traces = Traces::of(&server);
    assert!(traces.are_there());
    drop(server);
    traces.assert_gone();
    Ok(())
}

#[test]
fn a_stopped_server_is_gone_when_it_is_dropped() -> Outcome {
    let server = RedisServer::start()?;
    let traces = Traces::of(&server);
    server.pause()?;
    drop(server);
    traces.assert_gone();
    Ok(())
}

#[test]
fn a_server_is_gone_after_a_panic() -> Outcome {
    let server = RedisServer::start()?;
    let traces = Traces::of(&server);
    let panicked = panic::catch_unwind(AssertUnwindSafe(move || {
        let _held = server;
        panic::resume_unwind(Box::new("a test that fails"));
    }));
    assert!(panicked.is_err());
    traces.assert_gone();
    Ok(())
}

/// What a server leaves behind if it is not taken away.
struct Traces {
    process: String,
    folder: std::path::PathBuf,
    address: std::net::SocketAddr,
}

impl Traces {
    fn of(server: &RedisServer) -> Self {
        Self {
            process: format!("/proc/{}", server.pid()),
            folder: server.folder(),
            address: server.address(),
        }
    }

    fn are_there(&self) -> bool {
        Path::new(&self.process).exists() && self.folder.exists() && TcpStream::connect(self.address).is_ok()
    }

    #[track_caller]
    fn assert_gone(&self) {
        assert!(!Path::new(&self.process).exists(), "{} is there", self.process);
        assert!(!self.folder.exists(), "{} is there", self.folder.display());
        assert!(TcpStream::connect(self.address).is_err(), "{} listens", self.address);
    }
}

#[test]
fn a_paused_server_stands_still_and_answers_when_it_goes_on() -> Outcome {
    let server = RedisServer::start()?;
    let mut client = server.client()?;
    for _ in 0..3 {
        server.pause()?;
        assert_eq!(state_of(&server)?, "T", "stopped");
        let asked = std::thread::spawn(move || client.command(&["INCR", "asked"]).map(|reply| (client, reply)));
        server.resume()?;
        let (again, reply) = asked.join().expect("it does not panic")?;
        assert!(reply.integer().is_some());
        client = again;
    }
    assert_eq!(server.command(&["GET", "asked"])?.integer(), Some(3));
    Ok(())
}

/// The letter that the system gives to a process's state.
fn state_of(server: &RedisServer) -> Result<String, Box<dyn Error>> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.pid()))?;
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    Ok(after_name.split(' ').next().unwrap_or_default().to_owned())
}

#[test]
fn a_killed_server_refuses_and_comes_back_empty_on_its_port() -> Outcome {
    let server = RedisServer::start()?;
    server.command(&["SET", "key", "value"])?;
    let sha = server
        .command(&["SCRIPT", "LOAD", "return 1"])?
        .text()
        .unwrap_or_default();
    let (port, pid) = (server.port(), server.pid());
    server.kill()?;
    assert!(TcpStream::connect(server.address()).is_err());
    assert!(server.pause().is_err(), "nobody is left to be stopped");

    server.restart_empty()?;
    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), pid);
    assert_eq!(server.command(&["DBSIZE"])?, Reply::Integer(0));
    assert_eq!(
        server.command(&["SCRIPT", "EXISTS", &sha])?,
        Reply::Array(vec![Reply::Integer(0)])
    );
    Ok(())
}

#[test]
fn a_persistent_server_keeps_its_keys_over_a_kill_unless_it_is_to_forget_them() -> Outcome {
    let server = RedisOptions::new().persistent().start()?;
    server.command(&["SET", "key", "value"])?;
    server.restart()?;
    assert_eq!(server.command(&["GET", "key"])?.text().as_deref(), Some("value"));
    server.restart_empty()?;
    assert_eq!(server.command(&["GET", "key"])?, Reply::Nil);
    Ok(())
}

#[test]
fn a_password_and_users_are_asked_for() -> Outcome {
    let server = RedisOptions::new()
        .password("a \"secret\" \\ word")
        .line("user app on >other ~sg:* +ping +auth")
        .start()?;
    assert_eq!(server.command(&["PING"])?, Reply::Status("PONG".to_owned()));
    let mut stranger = sluicegate_testkit::redis::Client::connect(server.address(), None)?;
    let refused = stranger.command(&["PING"]).expect_err("it has no password");
    assert!(matches!(refused, RedisError::Refused { said, .. } if said.starts_with("NOAUTH")));
    stranger.command(&["AUTH", "app", "other"])?;
    stranger.command(&["PING"])?;
    let refused = stranger.command(&["FLUSHALL"]).expect_err("it may not");
    assert!(matches!(refused, RedisError::Refused { said, .. } if said.starts_with("NOPERM")));
    Ok(())
}

#[test]
fn a_server_whose_memory_is_full_refuses_writes() -> Outcome {
    let server = RedisOptions::new().memory(1 << 20, "noeviction").start()?;
    assert_eq!(server.info("maxmemory_policy")?.as_deref(), Some("noeviction"));
    server.command(&["CONFIG", "SET", "maxmemory", "1"])?;
    let refused = server.command(&["SET", "key", "value"]).expect_err("there is no room");
    assert!(matches!(refused, RedisError::Refused { said, .. } if said.starts_with("OOM")));
    Ok(())
}

#[test]
fn commands_are_counted() -> Outcome {
    let server = RedisServer::start()?;
    assert_eq!(server.stats_of("evalsha")?.calls, 0);
    let sha = server
        .command(&["SCRIPT", "LOAD", "return 1"])?
        .text()
        .unwrap_or_default();
    for _ in 0..5 {
        server.command(&["EVALSHA", &sha, "0"])?;
    }
    server.command(&["SCRIPT", "FLUSH"])?;
    assert!(
        server.command(&["EVALSHA", &sha, "0"]).is_err(),
        "it has no such script any more"
    );
    let stats = server.stats_of("EVALSHA")?;
    assert_eq!((stats.calls, stats.failed), (6, 1));
    Ok(())
}

#[test]
fn a_server_can_be_put_to_sleep() -> Outcome {
    let server = RedisServer::start()?;
    server.command(&["DEBUG", "SLEEP", "0.01"])?;
    server.command(&["CLIENT", "PAUSE", "10", "ALL"])?;
    server.command(&["PING"])?;
    Ok(())
}

#[test]
fn a_configuration_that_is_refused_is_told_with_its_reason() {
    let error = RedisOptions::new()
        .line("no-such-option 1")
        .start()
        .expect_err("there is no such option");
    assert!(error.to_string().contains("no-such-option"), "{error}");
}

#[test]
fn a_replica_has_what_its_primary_has_and_becomes_one_itself() -> Outcome {
    let primary = RedisOptions::new().password("secret").start()?;
    primary.command(&["SET", "key", "value"])?;
    let replica = RedisServer::replica_of(&primary)?;
    assert_eq!(replica.command(&["GET", "key"])?.text().as_deref(), Some("value"));
    let refused = replica.command(&["SET", "key", "other"]).expect_err("it is a replica");
    assert!(matches!(refused, RedisError::Refused { said, .. } if said.starts_with("READONLY")));
    primary.kill()?;
    replica.promote()?;
    replica.command(&["SET", "key", "other"])?;
    Ok(())
}

// Stopping the replica instead would lose nothing: what the primary sent waits in its socket.
#[test]
fn a_replica_behind_a_cut_line_lacks_the_last_writes_when_it_is_promoted() -> Outcome {
    let primary = RedisServer::start()?;
    let line = FaultProxy::before(primary.address())?;
    let replica = RedisOptions::new().replica_of(line.address()).start()?;
    primary.command(&["SET", "key", "before"])?;
    poll::until_true("the write arrives", PATIENCE, || {
        replica
            .command(&["GET", "key"])
            .is_ok_and(|value| value.text().as_deref() == Some("before"))
    })?;
    line.set(Mode::Blackhole)?;
    primary.command(&["SET", "key", "after"])?;
    primary.kill()?;
    line.set(Mode::Refuse)?;
    replica.promote()?;
    assert_eq!(replica.command(&["GET", "key"])?.text().as_deref(), Some("before"));
    Ok(())
}

#[test]
fn a_second_port_speaks_tls_and_nothing_else() -> Outcome {
    let server = RedisOptions::new().tls(tls::SERVER).start()?;
    let address = server.tls_address().expect("it was asked for");
    assert_ne!(address, server.address());
    server.command(&["PING"])?;
    let mut stranger = TcpStream::connect(address)?;
    stranger.set_read_timeout(Some(PATIENCE))?;
    stranger.write_all(b"*1\r\n$4\r\nPING\r\n")?;
    let mut answer = Vec::new();
    // What is no TLS is told so in an alert at most.
    if stranger.read_to_end(&mut answer).is_ok() {
        assert!(!answer.windows(4).any(|bytes| bytes == b"PONG"), "{answer:?}");
    }
    Ok(())
}
