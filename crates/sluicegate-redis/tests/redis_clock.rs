//! Whose clock counts: the server's, carried forward a little where it went back, and never by more than a second.
//!
//! The script that runs here has its clock told by the test; that is the one line in which it differs from the product's.

use std::error::Error;

use sluicegate_core::sharing::EPOCH_UNIX_US;
use sluicegate_redis::script::{self, Generation, Header, Said};
use sluicegate_testkit::redis::{Client, RedisServer};

struct Told {
    client: Client,
    sha: String,
}

impl Told {
    fn start(server: &RedisServer) -> Result<Self, Box<dyn Error>> {
        let text = script::EXCHANGE.replace(
            "local time = call('TIME')",
            "local time = call('LRANGE', 'sg:test', 0, 1)",
        );
        assert!(text != script::EXCHANGE, "the line to replace is there");
        let mut client = server.client()?;
        let sha = client.command(&["SCRIPT", "LOAD", &text])?.text().ok_or("no sha")?;
        Ok(Self { client, sha })
    }

    /// What a call about nothing hears while the server's clock shows `clock`.
    fn call(&mut self, clock: f64, header: Header) -> Result<Said, Box<dyn Error>> {
        let unix = clock + EPOCH_UNIX_US;
        let seconds = (unix / 1e6).floor();
        self.client.command(&["DEL", "sg:test"])?;
        let micros = unix - seconds * 1e6;
        self.client
            .command(&["RPUSH", "sg:test", &seconds.to_string(), &micros.to_string()])?;
        let words: [&[u8]; 6] = [
            b"EVALSHA",
            self.sha.as_bytes(),
            b"1",
            b"sg:generation",
            &header.to_bytes(),
            b"",
        ];
        let reply = self.client.command(&words)?;
        script::read(reply.bytes().ok_or("no bytes")?, &[]).ok_or_else(|| "unreadable".into())
    }

    fn now(&mut self, clock: f64, estimate: f64) -> Result<f64, Box<dyn Error>> {
        match self.call(clock, header(0.0, estimate))? {
            Said::Done { now, .. } => Ok(now),
            other => Err(format!("{other:?}").into()),
        }
    }
}

fn header(deadline: f64, estimate: f64) -> Header {
    Header {
        expected: None,
        fresh: Generation::new(7).expect("not zero"),
        deadline,
        estimate,
        prolong: false,
    }
}

/// Some time of 2026, in microseconds since 2024.
const CLOCK: f64 = 9e13;

#[test]
fn a_clock_that_went_back_is_carried_forward_by_a_second_at_most() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let mut told = Told::start(&server)?;
    for (estimate, expected) in [
        // Who knows nothing, or believes less, changes nothing.
        (0.0, 0.0),
        (CLOCK - 5e6, 0.0),
        (CLOCK + 50e3, 0.0),
        // Who believes more is followed, but for what his belief may be wrong by.
        (CLOCK + 60e3, 10e3),
        (CLOCK + 1e6, 950e3),
        // And nobody moves it by hours.
        (CLOCK + 3e6, 1e6),
        (1e300, 1e6),
    ] {
        let forward = told.now(CLOCK, estimate)? - CLOCK;
        assert!((forward - expected).abs() < 1.0, "{estimate}: {forward}");
    }
    Ok(())
}

#[test]
fn past_its_deadline_by_the_servers_clock_a_call_does_nothing() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let mut told = Told::start(&server)?;
    let late = told.call(CLOCK, header(CLOCK - 1.0, CLOCK))?;
    assert!(
        matches!(late, Said::Late { now } if (now - CLOCK).abs() < 1.0),
        "{late:?}"
    );
    assert_eq!(server.command(&["EXISTS", "sg:generation"])?.integer(), Some(0));
    for deadline in [CLOCK, CLOCK + 1.0, 0.0] {
        let done = told.call(CLOCK, header(deadline, CLOCK))?;
        assert!(matches!(done, Said::Done { .. }), "{deadline}: {done:?}");
    }
    Ok(())
}

#[test]
fn a_header_that_is_none_is_refused() -> Result<(), Box<dyn Error>> {
    let server = RedisServer::start()?;
    let mut told = Told::start(&server)?;
    for (deadline, estimate) in [(f64::NAN, 0.0), (-1.0, 0.0), (0.0, f64::INFINITY), (f64::INFINITY, 0.0)] {
        assert!(
            told.call(CLOCK, header(deadline, estimate)).is_err(),
            "{deadline} {estimate}"
        );
    }
    assert_eq!(server.command(&["EXISTS", "sg:generation"])?.integer(), Some(0));
    Ok(())
}
