//! What a server is started with.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::tls::{self, Identity};
use super::{RedisError, RedisServer};
use crate::environment;

/// How to start a server. Unless told otherwise: the program that [`environment::server`] says, nothing kept on disk, no password, no
/// bound on memory, and the machine's clock.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    program: PathBuf,
    password: Option<String>,
    persistent: bool,
    sentinel: bool,
    own_clock: bool,
    tls: Option<Identity>,
    lines: Vec<String>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl RedisOptions {
    /// The options that [`RedisServer::start`] takes.
    pub fn new() -> Self {
        Self {
            program: environment::server(),
            password: None,
            persistent: false,
            sentinel: false,
            own_clock: false,
            tls: None,
            lines: Vec::new(),
        }
    }

    /// Another program that takes the same options, such as `valkey-server` or an older `redis-server`.
    #[must_use]
    pub fn program(mut self, program: impl AsRef<OsStr>) -> Self {
        self.program = PathBuf::from(program.as_ref());
        self
    }

    /// A password for all clients, also for replicas.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        let password = quoted(password);
        self.line(&format!("requirepass {password}"))
            .line(&format!("masterauth {password}"))
    }

    /// At most so many bytes for data, and what happens beyond: `noeviction`, `allkeys-lru` and so on. An empty server takes about
    /// a million bytes.
    #[must_use]
    pub fn memory(self, bytes: u64, policy: &str) -> Self {
        self.line(&format!("maxmemory {bytes}"))
            .line(&format!("maxmemory-policy {policy}"))
    }

    /// Every write goes to disk before it is answered, so that [`RedisServer::restart`] finds it.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        self.persistent = true;
        self
    }

    /// It goes by a clock that [`RedisServer::set_clock`] sets, at first the machine's. Needs libfaketime (Debian: `faketime`).
    #[must_use]
    pub fn own_clock(mut self) -> Self {
        self.own_clock = true;
        self
    }

    /// A replica of whoever listens there: a server, or a [`FaultProxy`](crate::proxy::FaultProxy) before one.
    #[must_use]
    pub fn replica_of(self, primary: SocketAddr) -> Self {
        self.line(&format!("replicaof {} {}", primary.ip(), primary.port()))
    }

    /// A second port that speaks TLS, as [`SERVER`](tls::SERVER) or whoever. It asks for no certificate of its clients unless the
    /// line `tls-auth-clients yes` follows; it then trusts [`AUTHORITY`](tls::AUTHORITY).
    #[must_use]
    pub fn tls(mut self, identity: Identity) -> Self {
        self.tls = Some(identity);
        self.line("tls-auth-clients no")
    }

    /// A line of `redis.conf`, such as `user app on >secret ~sg:* +@all`. Later lines win.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Starts a server on a free port and waits until it answers.
    ///
    /// # Errors
    ///
    /// [`RedisError::Missing`] if there is no such program, or no libfaketime for a clock of its own; if it ends, or does not answer within ten seconds.
    pub fn start(self) -> Result<RedisServer, RedisError> {
        RedisServer::with(self)
    }

    pub(super) fn password_for_clients(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// A sentinel instead of a server.
    pub(super) fn sentinel(mut self) -> Self {
        self.sentinel = true;
        self
    }

    pub(super) fn is_sentinel(&self) -> bool {
        self.sentinel
    }

    pub(super) fn has_own_clock(&self) -> bool {
        self.own_clock
    }

    pub(super) fn program_path(&self) -> &Path {
        &self.program
    }

    pub(super) fn speaks_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The files of a server on these ports that lives in `folder`, by name.
    pub(super) fn files(&self, ports: Ports, folder: &Path) -> Result<Vec<(&'static str, String)>, RedisError> {
        let mut files = vec![(CONFIGURATION, self.configuration(ports, folder)?)];
        if let Some(identity) = self.tls {
            files.extend([
                ("server.pem", identity.certificate.to_owned()),
                ("server.key", identity.key.to_owned()),
                ("authority.pem", tls::AUTHORITY.to_owned()),
            ]);
        }
        Ok(files)
    }

    fn configuration(&self, ports: Ports, folder: &Path) -> Result<String, RedisError> {
        let mut lines = vec![
            format!("port {}", ports.plain),
            "bind 127.0.0.1".to_owned(),
            format!("dir {}", quoted(&folder.to_string_lossy())),
            "daemonize no".to_owned(),
            "save \"\"".to_owned(),
            // A full synchronisation otherwise waits five seconds for a second replica.
            "repl-diskless-sync yes".to_owned(),
            "repl-diskless-sync-delay 0".to_owned(),
        ];
        if self.persistent {
            lines.extend(["appendonly yes".to_owned(), "appendfsync always".to_owned()]);
        }
        if let Some(port) = ports.tls {
            let path = |name: &str| quoted(&folder.join(name).to_string_lossy());
            lines.extend([
                format!("tls-port {port}"),
                format!("tls-cert-file {}", path("server.pem")),
                format!("tls-key-file {}", path("server.key")),
                format!("tls-ca-cert-file {}", path("authority.pem")),
            ]);
        }
        // Before version 7 DEBUG was for everybody, and this line a fault.
        if self.major_version()? >= 7 {
            lines.push("enable-debug-command yes".to_owned());
        }
        lines.extend(self.lines.iter().cloned());
        Ok(lines.join("\n") + "\n")
    }

    /// The first number of `v=7.0.15` in what the program says of itself.
    fn major_version(&self) -> Result<u32, RedisError> {
        let said = Command::new(&self.program)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(|source| not_started(&self.program, source))?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let version = said.split_whitespace().find_map(|word| word.strip_prefix("v="));
        let major = version.and_then(|version| version.split('.').next()?.parse().ok());
        Ok(major.unwrap_or_default())
    }
}

/// Where a server listens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) plain: u16,
    pub(super) tls: Option<u16>,
}

/// The name of the configuration file.
pub(super) const CONFIGURATION: &str = "redis.conf";

pub(super) fn not_started(program: &Path, source: std::io::Error) -> RedisError {
    if source.kind() == std::io::ErrorKind::NotFound {
        RedisError::Missing {
            program: program.to_owned(),
            package: "redis-server",
        }
    } else {
        RedisError::System {
            what: "the server cannot be started",
            source,
        }
    }
}

/// As one word of the configuration file.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_an_error_that_names_the_package() {
        let error = RedisOptions::new()
            .program("no-such-server")
            .start()
            .expect_err("it is not there");
        assert_eq!(
            error.to_string(),
            "no-such-server is not there: install the package redis-server (Debian: apt-get install redis-server)"
        );
    }
}
