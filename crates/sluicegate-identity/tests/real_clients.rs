//! JA4 of real programs, beside an implementation that shares nothing with ours: a reading of the specification in Python.
//!
//! Needs `curl`, `chromium` and `python3` in the search path.

use std::io::{self, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sluicegate_identity::{ClientHello, HelloReader, Ja4};

/// A bound far above anything a program needs to begin a handshake: a browser starts first.
const PATIENCE: Duration = Duration::from_mins(1);

/// Ends a program that nobody answers.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &str, arguments: &[String]) -> io::Result<Started> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().map(Started)
}

/// The first message of the program that connects next, and the bytes that it came in.
#[allow(
    clippy::disallowed_methods,
    reason = "a test waits for another process, and not for ever"
)]
fn first_message(listener: &TcpListener) -> io::Result<(ClientHello, Vec<u8>)> {
    listener.set_nonblocking(true)?;
    let until = Instant::now() + PATIENCE;
    let mut socket = loop {
        match listener.accept() {
            Ok((socket, _)) => break socket,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < until => {
                std::thread::yield_now();
            }
            Err(error) => return Err(error),
        }
    };
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let (mut reader, mut wire) = (HelloReader::default(), Vec::new());
    loop {
        let mut bytes = [0; 1024];
        let count = socket.read(&mut bytes)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        wire.extend_from_slice(&bytes[..count]);
        if let Some(hello) = reader.feed(&bytes[..count]).map_err(io::Error::other)? {
            return Ok((hello, wire));
        }
    }
}

fn independently(wire: &[u8]) -> io::Result<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ja4.py");
    let mut child = Command::new("python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let hex = |byte: &u8| [byte >> 4, byte & 0xf].map(|digit| b"0123456789abcdef"[usize::from(digit)]);
    let digits: Vec<u8> = wire.iter().flat_map(hex).collect();
    child
        .stdin
        .take()
        .ok_or(io::ErrorKind::BrokenPipe)?
        .write_all(&digits)?;
    let said = child.wait_with_output()?.stdout;
    Ok(String::from_utf8_lossy(&said).trim().to_owned())
}

#[track_caller]
fn check(program: &str, arguments: impl Fn(u16) -> Vec<String>, begins: &str) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let _started = start(program, &arguments(listener.local_addr()?.port()))?;
    let (hello, wire) = first_message(&listener)?;
    let ja4 = Ja4::of(&hello).to_string();
    assert_eq!(ja4, independently(&wire)?);
    assert!(ja4.starts_with(begins), "{ja4}");
    println!("{program}: {ja4}");
    Ok(())
}

#[test]
fn curl_has_the_ja4_that_the_specification_says() -> io::Result<()> {
    let resolve = |port: u16| format!("client.test:{port}:127.0.0.1");
    let arguments = |port| {
        vec![
            "--insecure".into(),
            "--resolve".into(),
            resolve(port),
            format!("https://client.test:{port}/"),
        ]
    };
    check("curl", arguments, "t13d")?;
    let old = |port| {
        [
            vec!["--tls-max".into(), "1.2".into(), "--no-alpn".into()],
            arguments(port),
        ]
        .concat()
    };
    check("curl", old, "t12d")
}

#[test]
fn a_browser_has_the_ja4_that_the_specification_says() -> io::Result<()> {
    let folder = std::env::temp_dir().join(format!("sluicegate-ja4-{}", std::process::id()));
    let profile = format!("--user-data-dir={}", folder.display());
    let arguments = |port| {
        let fixed = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--ignore-certificate-errors",
            "--dump-dom",
        ];
        let mut arguments: Vec<String> = fixed.iter().map(|argument| (*argument).to_owned()).collect();
        arguments.push(profile.clone());
        arguments.push("--host-resolver-rules=MAP client.test 127.0.0.1".to_owned());
        arguments.push(format!("https://client.test:{port}/"));
        arguments
    };
    let checked = check("chromium", arguments, "t13d");
    // Left behind where the browser still writes; the system clears the folder.
    let _ = std::fs::remove_dir_all(&folder);
    checked
}
