//! One request hidden in another, with HAProxy as the upstream.

mod support;

#[path = "support/payloads.rs"]
mod payloads;
#[path = "support/peer.rs"]
mod peer;

use std::process::Command;

/// T45
#[test]
fn haproxy_sees_no_request_that_was_hidden_in_another() {
    peer::check(|folder, address| {
        let file = peer::configuration(
            folder,
            &format!(
                "global
  log stdout format raw local0
defaults
  mode http
  log global
  option dontlognull
  log-format \"%HM %HP\"
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend all
  bind {address}
  http-request return status 200 content-type text/plain string here
"
            ),
        );
        let mut command = Command::new(peer::program("haproxy"));
        command.arg("-db").arg("-f").arg(file);
        command
    });
}
