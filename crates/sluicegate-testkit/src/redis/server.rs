//! One server.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use super::client::Client;
use super::options::{CONFIGURATION, Ports, RedisOptions};
use super::process::{Process, end_of};
use super::resp::Reply;
use super::{RedisError, clock};
use crate::{poll, ports};

/// A `redis-server` of a test's own. It is killed, and its folder removed, when this is dropped.
///
/// All methods take `&self`, so that a test can break it while other threads use it.
#[derive(Debug)]
pub struct RedisServer {
    options: RedisOptions,
    ports: Ports,
    process: Mutex<Process>,
    folder: TempDir,
}

impl RedisServer {
    /// Starts a server with [`RedisOptions::new`].
    ///
    /// # Errors
    ///
    /// As [`RedisOptions::start`].
    pub fn start() -> Result<Self, RedisError> {
        RedisOptions::new().start()
    }

    /// Starts a server that holds a copy of what `primary` holds, and waits until it does.
    ///
    /// # Errors
    ///
    /// As [`RedisOptions::start`].
    pub fn replica_of(primary: &Self) -> Result<Self, RedisError> {
        let mut options = RedisOptions::new().program(primary.options.program_path());
        if let Some(password) = primary.options.password_for_clients() {
            options = options.password(password);
        }
        let replica = options.replica_of(primary.address()).start()?;
        replica.wait_for("the replica is linked to its primary", "master_link_status", "up")?;
        Ok(replica)
    }

    pub(super) fn with(options: RedisOptions) -> Result<Self, RedisError> {
        let folder =
            TempDir::with_prefix("sluicegate-redis-").map_err(RedisError::system("no folder for the server"))?;
        for _ in 1..PORTS_TRIED {
            match Self::on_free_port(&options, &folder) {
                // Somebody else was faster.
                Err(RedisError::Ended { said, .. }) if said.contains("in use") => {}
                other => return other.map(|(process, ports)| Self::new(options, ports, process, folder)),
            }
        }
        let (process, ports) = Self::on_free_port(&options, &folder)?;
        Ok(Self::new(options, ports, process, folder))
    }

    fn new(options: RedisOptions, ports: Ports, process: Process, folder: TempDir) -> Self {
        Self {
            options,
            ports,
            process: Mutex::new(process),
            folder,
        }
    }

    fn on_free_port(options: &RedisOptions, folder: &TempDir) -> Result<(Process, Ports), RedisError> {
        let free = || ports::free().map_err(RedisError::system("no free port"));
        let ports = Ports {
            plain: free()?,
            tls: options.speaks_tls().then(free).transpose()?,
        };
        Ok((begin(options, ports, folder)?, ports))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        loopback(self.ports.plain)
    }

    /// Where it listens for TLS; `None` unless [`RedisOptions::tls`] says so.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.ports.tls.map(loopback)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.ports.plain
    }

    /// Its process id; another after a restart.
    pub fn pid(&self) -> u32 {
        self.process().pid()
    }

    /// Whether its process is there and not stopped.
    pub fn is_running(&self) -> bool {
        self.process().is_running()
    }

    /// The password that [`RedisOptions::password`] gave it.
    pub fn password(&self) -> Option<&str> {
        self.options.password_for_clients()
    }

    /// The folder that holds its configuration, its log and what it keeps.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// A connection of the testkit's own.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub fn client(&self) -> Result<Client, RedisError> {
        Client::connect(self.address(), self.options.password_for_clients())
    }

    /// Sends one command over a new connection: `server.command(&["CONFIG", "SET", "maxmemory", "1"])`. Words may be any bytes.
    ///
    /// # Errors
    ///
    /// As [`Client::command`].
    pub fn command<A: AsRef<[u8]>>(&self, words: &[A]) -> Result<Reply, RedisError> {
        self.client()?.command(words)
    }

    /// A field of `INFO everything`, such as `run_id` or `used_memory`; `None` if it has none of this name.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub fn info(&self, field: &str) -> Result<Option<String>, RedisError> {
        // A sentinel before version 7 does not know that section.
        let section = if self.options.is_sentinel() {
            "default"
        } else {
            "everything"
        };
        info(&mut self.client()?, section, field)
    }

    /// What it counted of a command since it started or since `CONFIG RESETSTAT`; zeros if it has seen none.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub fn stats_of(&self, command: &str) -> Result<CommandStats, RedisError> {
        let field = self.info(&format!("cmdstat_{}", command.to_lowercase()))?;
        Ok(CommandStats::read(&field.unwrap_or_default()))
    }

    /// How often it answered with an error that begins with this word, such as `MOVED`, since it started; 0 if never.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub fn errors_of(&self, word: &str) -> Result<u64, RedisError> {
        let field = self.info(&format!("errorstat_{word}"))?;
        let count = field
            .as_deref()
            .and_then(|field| field.strip_prefix("count=")?.parse().ok());
        Ok(count.unwrap_or_default())
    }

    /// Sets its clock so many seconds ahead of the machine's, or behind it if that is negative; also of one that is not running, for
    /// when it starts again. For a server with a [clock of its own](RedisOptions::own_clock).
    ///
    /// # Errors
    ///
    /// If its folder cannot be written.
    pub fn set_clock(&self, ahead_seconds: i64) -> Result<(), RedisError> {
        clock::set(self.folder.path(), ahead_seconds)
    }

    /// Stops its process as `kill -STOP` does: connections stay, nothing is answered. Returns when it stands still.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn pause(&self) -> Result<(), RedisError> {
        self.process()
            .pause()
            .map_err(RedisError::system("the server cannot be stopped"))
    }

    /// Lets a stopped process go on; it then answers what came meanwhile.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn resume(&self) -> Result<(), RedisError> {
        self.process()
            .resume()
            .map_err(RedisError::system("the server cannot go on"))
    }

    /// Ends its process as `kill -9` does, also while it is stopped. Its port refuses connections when this returns.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn kill(&self) -> Result<(), RedisError> {
        self.process()
            .kill()
            .map_err(RedisError::system("the server cannot be killed"))
    }

    /// Starts it again on the same port, with nothing in it: no keys, no scripts. Kills it first if it runs.
    ///
    /// # Errors
    ///
    /// If somebody else has taken its port; as [`RedisOptions::start`].
    pub fn restart_empty(&self) -> Result<(), RedisError> {
        let mut process = self.process();
        process
            .kill()
            .map_err(RedisError::system("the server cannot be killed"))?;
        for kept in ["dump.rdb", "appendonly.aof"] {
            removed(fs::remove_file(self.folder.path().join(kept)))?;
        }
        removed(fs::remove_dir_all(self.folder.path().join("appendonlydir")))?;
        *process = begin(&self.options, self.ports, &self.folder)?;
        Ok(())
    }

    /// Starts it again on the same port, with what it keeps: all keys if it is [`RedisOptions::persistent`], else none. Kills it
    /// first if it runs.
    ///
    /// # Errors
    ///
    /// As [`RedisServer::restart_empty`].
    pub fn restart(&self) -> Result<(), RedisError> {
        let mut process = self.process();
        process
            .kill()
            .map_err(RedisError::system("the server cannot be killed"))?;
        *process = begin(&self.options, self.ports, &self.folder)?;
        Ok(())
    }

    /// Makes a replica a primary, with what it has.
    ///
    /// # Errors
    ///
    /// If it does not answer, or is none after ten seconds.
    pub fn promote(&self) -> Result<(), RedisError> {
        self.command(&["REPLICAOF", "NO", "ONE"])?;
        self.wait_for("the replica is a primary", "role", "master")
    }

    /// Waits until a field of `INFO` has this value.
    ///
    /// # Errors
    ///
    /// If it has another for ten seconds.
    pub fn wait_for(&self, what: &str, field: &str, value: &str) -> Result<(), RedisError> {
        let is_so = || matches!(self.info(field), Ok(Some(found)) if found == value);
        Ok(poll::until_true(what, PATIENCE, is_so)?)
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a process and waits until it, and not another on its port, answers.
fn begin(options: &RedisOptions, ports: Ports, folder: &TempDir) -> Result<Process, RedisError> {
    for (name, text) in options.files(ports, folder.path())? {
        let written = fs::write(folder.path().join(name), text);
        written.map_err(RedisError::system("the server's files cannot be written"))?;
    }
    let log = folder.path().join("log");
    removed(fs::remove_file(&log))?;
    let configuration = folder.path().join(CONFIGURATION);
    let configuration = configuration.to_string_lossy();
    let mut arguments = vec![configuration.as_ref()];
    arguments.extend(options.is_sentinel().then_some("--sentinel"));
    let environment = if options.has_own_clock() {
        clock::environment(folder.path())?
    } else {
        Vec::new()
    };
    let mut process = Process::start(options.program_path(), &arguments, &environment, &log)?;
    let pid = process.pid().to_string();
    let answer = poll::until("the server answers", PATIENCE, || {
        let ended = process
            .ended()
            .map_err(RedisError::system("the server cannot be looked at"));
        match ended.transpose() {
            None => {}
            Some(ended) => {
                return Some(ended.and_then(|status| {
                    Err(RedisError::Ended {
                        status,
                        said: end_of(&log),
                    })
                }));
            }
        }
        let mut client = Client::connect(loopback(ports.plain), options.password_for_clients()).ok()?;
        client.command(&["PING"]).ok()?;
        let found = info(&mut client, "server", "process_id").ok()??;
        (found == pid).then_some(Ok(()))
    });
    answer??;
    Ok(process)
}

fn info(client: &mut Client, section: &str, field: &str) -> Result<Option<String>, RedisError> {
    let said = client.command(&["INFO", section])?.text().unwrap_or_default();
    let value = |line: &str| Some(line.strip_prefix(field)?.strip_prefix(':')?.to_owned());
    Ok(said.lines().find_map(value))
}

/// What was to be removed may not have been there.
fn removed(result: io::Result<()>) -> Result<(), RedisError> {
    match result {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(RedisError::System {
            what: "the server's folder cannot be emptied",
            source,
        }),
        _ => Ok(()),
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Between asking the system for a free port and the server taking it, somebody else may; five times in a row nobody does.
const PORTS_TRIED: usize = 5;

/// A bound for what hangs: a server answers 10 ms after its start.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a server counted of one command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommandStats {
    /// How often it ran, whatever came of it.
    pub calls: u64,
    /// How long it ran, all calls together, by the server's clock.
    pub took: Duration,
    /// How often it failed while it ran, which is among `calls`.
    pub failed: u64,
    /// How often it was refused before it ran, such as for want of memory.
    pub rejected: u64,
}

impl CommandStats {
    /// From `calls=2,usec=17,usec_per_call=8.50,rejected_calls=0,failed_calls=0`.
    fn read(fields: &str) -> Self {
        let field = |name: &str| {
            let of_name = |field: &str| field.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
            fields.split(',').find_map(of_name).unwrap_or_default()
        };
        Self {
            calls: field("calls"),
            took: Duration::from_micros(field("usec")),
            failed: field("failed_calls"),
            rejected: field("rejected_calls"),
        }
    }
}
