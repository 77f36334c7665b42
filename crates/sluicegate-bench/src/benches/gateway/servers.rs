//! The servers: each on a free port of this machine, with its files in one folder that goes when the bench ends.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::load;
use crate::child::{self, Server, free_port, pinned};
use crate::error::BenchError;
use crate::progress::tell;

/// The processor of whoever is measured.
const PROCESSOR: usize = 0;

/// The folder, the gateway's program, and the upstream of all proxies.
pub(super) struct Stage {
    folder: TempDir,
    gateway: PathBuf,
    upstream: Server,
}

impl Stage {
    /// Builds the gateway as this bench was built, and starts the upstream.
    pub(super) fn set(bench: &str) -> Result<Self, BenchError> {
        let gateway = build(bench)?;
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        let upstream = nginx(
            "the upstream",
            folder.path(),
            load::PROCESSOR,
            port,
            &format!(
                "server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{}'; }} }}",
                "x".repeat(1024)
            ),
        )?;
        Ok(Self {
            folder,
            gateway,
            upstream,
        })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Our gateway with three rules, none of which refuses.
    pub(super) fn ours_passing(&self) -> Result<Server, BenchError> {
        self.ours(
            "sluicegate, three rules",
            "passing.yaml",
            "rules:
  - { name: everyone, key: [], limit: 100M/s burst 1000M }
  - { name: per-client, key: ip, limit: 100M/s burst 1000M }
  - { name: per-client-and-method, key: [ip, method], limit: 100M/s burst 1000M }
",
        )
    }

    /// Our gateway with three rules, one of which refuses.
    pub(super) fn ours_refusing(&self) -> Result<Server, BenchError> {
        self.ours(
            "sluicegate, three rules",
            "refusing.yaml",
            "rules:
  - { name: everyone, key: [], limit: 100M/s burst 1000M }
  - { name: per-client, key: ip, limit: 1/h }
  - { name: per-client-and-method, key: [ip, method], limit: 100M/s burst 1000M }
",
        )
    }

    fn ours(&self, name: &'static str, file: &str, rules: &str) -> Result<Server, BenchError> {
        let port = free_port()?;
        let upstream = self.upstream.address();
        let policy = format!(
            "version: 1
gateway:
  listen: {{ address: 127.0.0.1:{port} }}
  upstreams: {{ items: {{ servers: [\"{upstream}\"] }} }}
admin: {{ listen: off }}
{rules}"
        );
        let policy = write(self.folder().join(file), &policy)?;
        let mut command = pinned(PROCESSOR, &self.gateway);
        command.arg("run").arg("--config").arg(policy);
        Server::start(name, command, port, &self.folder().join("sluicegate.log"))
    }

    /// The least that a proxy on the same libraries can be.
    pub(super) fn minimal_proxy(&self) -> Result<Server, BenchError> {
        let port = free_port()?;
        let mut command = pinned(PROCESSOR, child::this_program()?);
        command
            .args(["part", "proxy"])
            .args([port, self.upstream.address().port()].map(|port| port.to_string()));
        Server::start("minimal hyper proxy", command, port, &self.folder().join("proxy.log"))
    }

    /// The least that a server on the same libraries can be, answering 429.
    pub(super) fn minimal_refuser(&self) -> Result<Server, BenchError> {
        let port = free_port()?;
        let mut command = pinned(PROCESSOR, child::this_program()?);
        command.args(["part", "refuser"]).arg(port.to_string());
        Server::start(
            "minimal hyper server",
            command,
            port,
            &self.folder().join("refuser.log"),
        )
    }

    /// nginx with a limit that is never reached.
    pub(super) fn nginx_passing(&self) -> Result<Server, BenchError> {
        self.nginx_limiting("1000000r/s", "burst=1000000 nodelay")
    }

    /// nginx with a limit that is reached at once.
    pub(super) fn nginx_refusing(&self) -> Result<Server, BenchError> {
        self.nginx_limiting("1r/m", "nodelay")
    }

    fn nginx_limiting(&self, rate: &str, how: &str) -> Result<Server, BenchError> {
        let port = free_port()?;
        let upstream = self.upstream.address();
        let how = how.strip_prefix("nodelay").map_or(how, |_| "");
        let servers = format!(
            "limit_req_zone $binary_remote_addr zone=clients:10m rate={rate};
limit_req_status 429;
limit_req_log_level info;
upstream items {{ server {upstream}; keepalive 64; }}
server {{
    listen 127.0.0.1:{port};
    location / {{
        limit_req zone=clients {how};
        proxy_pass http://items;
        proxy_http_version 1.1;
        proxy_set_header Connection \"\";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
}}"
        );
        nginx("nginx with limit_req", self.folder(), PROCESSOR, port, &servers)
    }
}

/// Starts an nginx of one process with the given `servers`.
fn nginx(name: &'static str, folder: &Path, processor: usize, port: u16, servers: &str) -> Result<Server, BenchError> {
    let folder = folder.display();
    // One process instead of a master and a worker: what is measured and stopped then is the worker itself.
    let text = format!(
        "daemon off;
master_process off;
worker_processes 1;
pid {folder}/{port}.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {servers}
}}
"
    );
    let folder = PathBuf::from(folder.to_string());
    let conf = write(folder.join(format!("{port}.conf")), &text)?;
    let mut command = pinned(processor, "nginx");
    command
        .arg("-e")
        .arg("stderr")
        .arg("-p")
        .arg(&folder)
        .arg("-c")
        .arg(conf);
    Server::start(name, command, port, &folder.join(format!("{port}.log")))
}

/// Writes a file and gives its path back.
pub(super) fn write(path: PathBuf, text: &str) -> Result<PathBuf, BenchError> {
    match std::fs::write(&path, text) {
        Ok(()) => Ok(path),
        Err(source) => Err(BenchError::File { path, source }),
    }
}

/// Builds the gateway with this bench's profile, so that no older one is measured; its program lies beside this one.
fn build(bench: &str) -> Result<PathBuf, BenchError> {
    let profile = child::profile().ok_or_else(|| BenchError::Child {
        program: "cargo".to_owned(),
        what: "cannot be told which profile this bench was built with".to_owned(),
    })?;
    tell(bench, &format!("building the gateway with profile '{profile}'"));
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--locked", "--quiet", "--profile", &profile])
        // Beside the bench, as `./x` has built it: alone it would have other features and be built from the ground again.
        .args([
            "--package",
            "sluicegate-cli",
            "--package",
            "sluicegate-bench",
            "--bin",
            "sluicegate",
        ]);
    child::output(cargo)?;
    Ok(child::this_program()?.with_file_name("sluicegate"))
}
