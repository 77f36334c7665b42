//! One request hidden in another, with nginx as the upstream.

mod support;

#[path = "support/payloads.rs"]
mod payloads;
#[path = "support/peer.rs"]
mod peer;

use std::process::Command;

/// T45
#[test]
fn nginx_sees_no_request_that_was_hidden_in_another() {
    peer::check(|folder, address| {
        let path = folder.display();
        let file = peer::configuration(
            folder,
            &format!(
                "daemon off; master_process off; pid {path}/pid; error_log stderr;
events {{ worker_connections 64; }}
http {{
  log_format book '$request_method $uri';
  access_log /dev/stdout book;
  client_body_temp_path {path}/a; proxy_temp_path {path}/b; fastcgi_temp_path {path}/c;
  uwsgi_temp_path {path}/d; scgi_temp_path {path}/e;
  server {{ listen {address}; location / {{ return 200 'here'; }} }}
}}
"
            ),
        );
        let mut command = Command::new(peer::program("nginx"));
        command.arg("-p").arg(folder).arg("-c").arg(file).args(["-e", "stderr"]);
        command
    });
}
