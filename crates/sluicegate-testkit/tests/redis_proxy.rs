//! Each mode of the fault proxy before a real server.

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use sluicegate_testkit::poll;
use sluicegate_testkit::proxy::{FaultProxy, Mode, Replies};
use sluicegate_testkit::redis::{Client, RedisError, RedisServer, Reply};

type Outcome = Result<(), Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(10);

/// A server with a proxy before it.
struct Rig {
    server: RedisServer,
    proxy: FaultProxy,
}

impl Rig {
    fn new() -> Result<Self, Box<dyn Error>> {
        let server = RedisServer::start()?;
        let proxy = FaultProxy::before(server.address())?;
        Ok(Self { server, proxy })
    }

    fn client(&self) -> Result<Client, RedisError> {
        Client::connect(self.proxy.address(), None)
    }

    fn raw(&self) -> io::Result<TcpStream> {
        raw(self.proxy.address())
    }

    /// How often the server counted.
    fn counted(&self) -> Result<Option<i64>, RedisError> {
        Ok(self.server.command(&["GET", "count"])?.integer())
    }
}

fn raw(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

const INCR: &[u8] = b"*2\r\n$4\r\nINCR\r\n$5\r\ncount\r\n";

fn to_end(mut stream: &TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes);
    (bytes, ended.err().map(|error| error.kind()))
}

#[test]
fn everything_passes_and_is_counted() -> Outcome {
    let rig = Rig::new()?;
    let mut client = rig.client()?;
    let large = vec![b'x'; 3 << 20];
    client.command(&[b"SET", b"large".as_slice(), &large])?;
    assert_eq!(client.command(&["GET", "large"])?.bytes(), Some(large.as_slice()));
    for number in 1..=100 {
        assert_eq!(client.command(&["INCR", "count"])?, Reply::Integer(number));
    }
    let counts = rig.proxy.counts();
    assert_eq!((counts.accepted, counts.connected, counts.open), (1, 1, 1));
    assert_eq!((counts.requests, counts.replies, counts.replies_spoilt), (102, 102, 0));
    assert!(
        counts.request_bytes > 3 << 20 && counts.reply_bytes > 3 << 20,
        "{counts:?}"
    );
    drop(client);
    poll::until_true("the connection is closed", PATIENCE, || rig.proxy.counts().open == 0)?;
    Ok(())
}

#[test]
fn a_delay_is_added_to_each_direction() -> Outcome {
    let rig = Rig::new()?;
    let by = Duration::from_millis(40);
    rig.proxy.set(Mode::Delay {
        requests: by,
        replies: by,
    })?;
    let mut client = rig.client()?;
    for number in 1..=3 {
        let begun = now();
        assert_eq!(client.command(&["INCR", "count"])?, Reply::Integer(number));
        assert!(now() - begun >= by * 2);
    }
    Ok(())
}

#[test]
fn what_is_late_holds_up_nothing_behind_it() -> Outcome {
    let rig = Rig::new()?;
    rig.proxy.set(Mode::late(Duration::from_hours(1)))?;
    let mut stream = rig.raw()?;
    for _ in 0..50 {
        stream.write_all(INCR)?;
    }
    poll::until_true("all are answered, and on their way", PATIENCE, || {
        rig.proxy.counts().replies == 50
    })?;
    assert_eq!(rig.counted()?, Some(50));
    stream.set_nonblocking(true)?;
    let nothing = stream.read(&mut [0]).expect_err("an hour is not over");
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    Ok(())
}

#[test]
fn what_was_late_is_not_overtaken_when_the_line_is_quick_again() -> Outcome {
    let rig = Rig::new()?;
    let mut stream = rig.raw()?;
    rig.proxy.set(Mode::late(Duration::from_millis(300)))?;
    stream.write_all(INCR)?;
    poll::until_true("it is counted", PATIENCE, || matches!(rig.counted(), Ok(Some(1))))?;
    rig.proxy.set(Mode::Pass)?;
    stream.write_all(INCR)?;
    let mut both = [0; 8];
    stream.read_exact(&mut both)?;
    assert_eq!(&both, b":1\r\n:2\r\n");
    Ok(())
}

#[test]
fn lost_chunks_come_later_and_nothing_is_missing() -> Outcome {
    let rig = Rig::new()?;
    rig.proxy.set(Mode::Lossy { permille: 200, seed: 7 })?;
    let mut client = rig.client()?;
    for number in 1..=8 {
        assert_eq!(client.command(&["INCR", "count"])?, Reply::Integer(number));
    }
    assert!(rig.proxy.counts().chunks_lost > 0);
    Ok(())
}

#[test]
fn drops_come_one_byte_at_a_time() -> Outcome {
    let rig = Rig::new()?;
    let every = Duration::from_millis(20);
    rig.proxy.set(Mode::Drip { every })?;
    let mut stream = rig.raw()?;
    let begun = now();
    stream.write_all(b"*1\r\n$4\r\nPING\r\n")?;
    let mut bytes = Vec::<u8>::new();
    while bytes.len() < 7 {
        let mut some = [0; 16];
        let read = stream.read(&mut some)?;
        assert!(read > 0, "it is closed");
        bytes.extend(&some[..read]);
    }
    assert_eq!(bytes, b"+PONG\r\n");
    assert!(now() - begun >= every * 6, "six pauses between seven bytes");
    Ok(())
}

#[test]
fn what_was_stalled_comes_when_the_stall_ends() -> Outcome {
    let rig = Rig::new()?;
    let mut open = rig.client()?;
    assert_eq!(open.command(&["INCR", "count"])?, Reply::Integer(1));
    rig.proxy.set(Mode::Stall)?;
    let mut fresh = rig.raw()?;
    fresh.write_all(INCR)?;
    poll::until_true("it is accepted", PATIENCE, || rig.proxy.counts().accepted == 2)?;
    assert_eq!(rig.counted()?, Some(1), "nothing has passed");
    rig.proxy.set(Mode::Pass)?;
    let mut reply = [0; 4];
    fresh.read_exact(&mut reply)?;
    assert_eq!(&reply, b":2\r\n");
    assert_eq!(open.command(&["INCR", "count"])?, Reply::Integer(3));
    Ok(())
}

#[test]
fn a_blackhole_swallows_and_what_it_has_swallowed_from_stays_silent() -> Outcome {
    let rig = Rig::new()?;
    let mut open = rig.raw()?;
    open.write_all(INCR)?;
    open.read_exact(&mut [0; 4])?;
    rig.proxy.set(Mode::Blackhole)?;
    let mut fresh = rig.raw()?;
    let before = rig.proxy.counts().request_bytes;
    for stream in [&mut open, &mut fresh] {
        stream.write_all(INCR)?;
    }
    let swallowed = before + 2 * INCR.len() as u64;
    poll::until_true("both are swallowed", PATIENCE, || {
        rig.proxy.counts().request_bytes == swallowed
    })?;

    rig.proxy.set(Mode::Pass)?;
    for stream in [&mut open, &mut fresh] {
        stream.write_all(INCR)?;
    }
    let swallowed = before + 4 * INCR.len() as u64;
    poll::until_true("both are swallowed again", PATIENCE, || {
        rig.proxy.counts().request_bytes == swallowed
    })?;
    assert_eq!(rig.counted()?, Some(1), "none of them has passed");
    assert_eq!(
        rig.client()?.command(&["INCR", "count"])?,
        Reply::Integer(2),
        "a new one passes"
    );
    Ok(())
}

#[test]
fn a_connection_that_was_silent_in_the_blackhole_passes_afterwards() -> Outcome {
    let rig = Rig::new()?;
    let mut open = rig.client()?;
    open.command(&["PING"])?;
    rig.proxy.set(Mode::Blackhole)?;
    rig.proxy.set(Mode::Pass)?;
    open.command(&["PING"])?;
    Ok(())
}

#[test]
fn one_way_requests_arrive_and_replies_do_not() -> Outcome {
    let rig = Rig::new()?;
    rig.proxy.set(Mode::OneWay)?;
    let mut stream = rig.raw()?;
    for expected in 1..=3 {
        stream.write_all(INCR)?;
        poll::until_true(
            "it is counted",
            PATIENCE,
            || matches!(rig.counted(), Ok(count) if count == Some(expected)),
        )?;
    }
    poll::until_true("the replies came", PATIENCE, || rig.proxy.counts().reply_bytes == 12)?;
    rig.proxy.set(Mode::Pass)?;
    stream.write_all(INCR)?;
    rig.proxy.set(Mode::Reset)?;
    let (bytes, ended) = to_end(&stream);
    assert_eq!(
        (bytes, ended),
        (Vec::new(), Some(ErrorKind::ConnectionReset)),
        "nothing was ever said"
    );
    Ok(())
}

#[test]
fn a_refusing_port_is_closed_and_opens_again() -> Outcome {
    let rig = Rig::new()?;
    let open = rig.raw()?;
    let mut warm = rig.client()?;
    warm.command(&["PING"])?;
    rig.proxy.set(Mode::Refuse)?;
    let refused = TcpStream::connect(rig.proxy.address()).expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(to_end(&open).1, Some(ErrorKind::ConnectionReset));
    assert!(warm.command(&["PING"]).is_err());
    assert_eq!(rig.proxy.counts().open, 0);
    for _ in 0..3 {
        rig.proxy.set(Mode::Pass)?;
        rig.client()?.command(&["PING"])?;
        rig.proxy.set(Mode::Refuse)?;
    }
    Ok(())
}

#[test]
fn open_and_new_connections_are_reset() -> Outcome {
    let rig = Rig::new()?;
    let open = rig.raw()?;
    rig.proxy.set(Mode::Reset)?;
    assert_eq!(to_end(&open).1, Some(ErrorKind::ConnectionReset));
    for _ in 0..5 {
        // It may be reset before the client has seen that it was accepted.
        if let Ok(fresh) = rig.raw() {
            assert_eq!(to_end(&fresh).1, Some(ErrorKind::ConnectionReset));
        }
    }
    poll::until_true("all are counted", PATIENCE, || rig.proxy.counts().accepted == 6)?;
    assert!(rig.proxy.counts().connected <= 1, "no new one has reached the server");
    Ok(())
}

#[test]
fn every_third_reply_to_a_command_is_lost_after_it_ran() -> Outcome {
    let rig = Rig::new()?;
    rig.proxy.set(Mode::Lose(Replies::to(&["incr"]).every(3)))?;
    let (mut client, mut lost) = (rig.client()?, 0);
    for _ in 0..9 {
        client.command(&["PING"])?;
        match client.command(&["INCR", "count"]) {
            Ok(_) => {}
            Err(RedisError::Disconnected { source, .. }) => {
                assert_eq!(source.kind(), ErrorKind::ConnectionReset);
                lost += 1;
                client = rig.client()?;
            }
            Err(other) => return Err(other.into()),
        }
    }
    assert_eq!(
        (lost, rig.counted()?),
        (3, Some(9)),
        "nine ran and three were not answered"
    );
    assert_eq!(rig.proxy.counts().replies_spoilt, 3);
    poll::until_true("four connections are counted", PATIENCE, || {
        rig.proxy.counts().accepted == 4
    })?;
    Ok(())
}

#[test]
fn replies_before_a_lost_one_arrive() -> Outcome {
    let rig = Rig::new()?;
    rig.proxy.set(Mode::Lose(Replies::to(&["INCR"]).every(3)))?;
    let mut stream = rig.raw()?;
    stream.write_all(&INCR.repeat(5))?;
    assert_eq!(
        to_end(&stream),
        (b":1\r\n:2\r\n".to_vec(), Some(ErrorKind::ConnectionReset))
    );
    Ok(())
}

#[test]
fn half_of_a_reply_comes_and_then_the_end() -> Outcome {
    let rig = Rig::new()?;
    rig.proxy.set(Mode::Cut(Replies::to(&["ECHO"])))?;
    let mut stream = rig.raw()?;
    stream.write_all(b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$4\r\nword\r\n")?;
    assert_eq!(to_end(&stream), (b"+PONG\r\n$4\r\nw".to_vec(), None));
    Ok(())
}

#[test]
fn other_bytes_come_instead_of_a_reply() -> Outcome {
    let rig = Rig::new()?;
    let loading = b"-LOADING Redis is loading the dataset in memory\r\n".to_vec();
    rig.proxy.set(Mode::Replace(Replies::to(&["INCR"]).every(2), loading))?;
    let mut client = rig.client()?;
    assert_eq!(client.command(&["INCR", "count"])?, Reply::Integer(1));
    let refused = client.command(&["INCR", "count"]).expect_err("it is replaced");
    assert!(matches!(refused, RedisError::Refused { said, .. } if said.starts_with("LOADING")));
    assert_eq!(client.command(&["INCR", "count"])?, Reply::Integer(3));
    Ok(())
}

#[test]
fn replies_of_other_kinds_are_whole_and_each_is_another() -> Outcome {
    let rig = Rig::new()?;
    rig.proxy.set(Mode::Mistype(Replies::to(&["INCR"])))?;
    let mut stream = rig.raw()?;
    stream.write_all(&INCR.repeat(4))?;
    stream.write_all(b"*1\r\n$4\r\nPING\r\n")?;
    let expected = b":-7\r\n+OK\r\n$-1\r\n$3\r\nabc\r\n+PONG\r\n";
    let mut bytes = vec![0; expected.len()];
    stream.read_exact(&mut bytes)?;
    assert_eq!(bytes, expected);
    Ok(())
}

#[test]
fn garbled_replies_are_told_from_messages() -> Outcome {
    let rig = Rig::new()?;
    rig.proxy.set(Mode::Garble(Replies::to(&["INCR"])))?;
    let mut told = 0;
    for _ in 0..6 {
        let error = rig.client()?.command(&["INCR", "count"]).expect_err("it is no message");
        told += u32::from(
            matches!(error, RedisError::Disconnected { source, .. } if source.kind() == ErrorKind::InvalidData),
        );
    }
    assert_eq!((told, rig.counted()?), (6, Some(6)));
    Ok(())
}

#[test]
fn a_flood_lasts_as_long_as_it_is_read() -> Outcome {
    let rig = Rig::new()?;
    rig.proxy.set(Mode::Flood(Replies::all()))?;
    let mut stream = rig.raw()?;
    stream.write_all(INCR)?;
    let mut head = [0; 13];
    stream.read_exact(&mut head)?;
    assert_eq!(&head, b"$1073741824\r\n");
    let mut some = vec![0; 1 << 20];
    stream.read_exact(&mut some)?;
    assert!(some.iter().all(|byte| *byte == b'x'));
    drop(stream);
    poll::until_true("the flood ends", PATIENCE, || rig.proxy.counts().open == 0)?;
    Ok(())
}

#[test]
fn what_is_not_redis_passes_too() -> Outcome {
    let rig = Rig::new()?;
    let mut stream = rig.raw()?;
    stream.write_all(b"PING\r\nPING\r\n")?;
    let mut both = [0; 14];
    stream.read_exact(&mut both)?;
    assert_eq!(&both, b"+PONG\r\n+PONG\r\n");
    rig.proxy.set(Mode::Lose(Replies::all()))?;
    stream.write_all(b"PING\r\n")?;
    assert_eq!(to_end(&stream).1, Some(ErrorKind::ConnectionReset));
    Ok(())
}

#[test]
fn new_connections_go_where_the_proxy_points() -> Outcome {
    let rig = Rig::new()?;
    let other = RedisServer::start()?;
    other.command(&["SET", "who", "other"])?;
    let mut open = rig.client()?;
    open.command(&["PING"])?;
    rig.proxy.point_to(other.address());
    assert_eq!(open.command(&["GET", "who"])?, Reply::Nil);
    assert_eq!(rig.client()?.command(&["GET", "who"])?.text().as_deref(), Some("other"));
    Ok(())
}

#[test]
fn a_server_that_is_gone_resets_its_clients() -> Outcome {
    let rig = Rig::new()?;
    rig.server.kill()?;
    if let Ok(stream) = rig.raw() {
        assert_eq!(to_end(&stream).1, Some(ErrorKind::ConnectionReset));
    }
    rig.server.restart_empty()?;
    rig.client()?.command(&["PING"])?;
    Ok(())
}

#[test]
fn a_dropped_proxy_leaves_no_listener_and_no_connection() -> Outcome {
    let rig = Rig::new()?;
    let stream = rig.raw()?;
    let mut warm = rig.client()?;
    warm.command(&["PING"])?;
    let address = rig.proxy.address();
    drop(rig.proxy);
    assert!(TcpStream::connect(address).is_err());
    assert!(matches!(to_end(&stream).1, None | Some(ErrorKind::ConnectionReset)));
    assert!(warm.command(&["PING"]).is_err());
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "what is late is late by the machine's clock")]
fn now() -> Instant {
    Instant::now()
}
