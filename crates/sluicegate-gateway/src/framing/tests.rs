//! What passes and what is refused, in one piece and byte by byte.

use super::*;

const CAPS: HeadCaps = HeadCaps {
    bytes: 1024,
    headers: 16,
};

/// How a client's bytes come through: how many, in how many requests, and why no more.
fn pass(bytes: &[u8], step: usize) -> (usize, u64, Option<Doubt>) {
    let mut framing = Framing::new(CAPS);
    let mut passed = 0;
    for part in bytes.chunks(step.max(1)) {
        let mut left = part;
        loop {
            let look = framing.handle(left);
            passed += look.passes;
            left = &left[look.passes..];
            match look.then {
                Then::GoOn => break,
                Then::Wait => framing.resume(),
                Then::Refuse(doubt) => return (passed, framing.requests(), Some(doubt)),
            }
        }
    }
    (passed, framing.requests(), None)
}

#[track_caller]
fn passes(text: &str, requests: u64) {
    for step in [text.len(), 1, 7] {
        assert_eq!(
            pass(text.as_bytes(), step),
            (text.len(), requests, None),
            "{text:?} by {step}"
        );
    }
}

/// `good` passes, and what follows is refused.
#[track_caller]
fn refuses(good: &str, bad: &str, doubt: Doubt) {
    let text = [good, bad].concat();
    let (passed, _, found) = pass(text.as_bytes(), text.len());
    assert_eq!((passed, found), (good.len(), Some(doubt)), "{text:?}");
    let (_, requests, found) = pass(text.as_bytes(), 1);
    assert_eq!(found, Some(doubt), "{text:?} byte by byte");
    assert_eq!(
        requests,
        pass(good.as_bytes(), 1).1,
        "a head that is refused has passed: {text:?}"
    );
}

#[test]
fn requests_pass_with_their_bodies_and_are_told_apart() {
    passes("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1);
    passes("\r\n\r\nGET / HTTP/1.0\r\n\r\n", 1);
    passes(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcdGET / HTTP/1.1\r\n\r\n",
        2,
    );
    passes(
        "POST / HTTP/1.1\r\ncontent-length:0\r\n\r\nGET http://a/b HTTP/1.1\r\n\r\n",
        2,
    );
    passes(
        "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n4;a=b\r\nabcd\r\n00A\r\n0123456789\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\nOPTIONS * HTTP/1.1\r\n\r\n",
        2,
    );
    passes("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\nGET / HTTP/1.1\r\n\r\n", 2);
    // A body that looks like a request is a body.
    passes("POST / HTTP/1.1\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n", 1);
}

/// The rows of framing: each is what some reader takes otherwise than another.
#[test]
fn what_has_two_meanings_is_refused_before_its_head_is_whole() {
    use Doubt::{Coding, Length, LineEnd, Malformed, Target};
    for (lines, doubt) in [
        // Two lengths.
        ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", Length),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", Length),
        ("Content-Length: 4\r\nContent-Length: 5\r\n", Length),
        ("Content-Length: 4\r\nContent-Length: 4\r\n", Length),
        ("Content-Length: 4, 4\r\n", Length),
        // Lengths that are none.
        ("Content-Length: +4\r\n", Length),
        ("Content-Length: -0\r\n", Length),
        ("Content-Length: 0x4\r\n", Length),
        ("Content-Length: 1_0\r\n", Length),
        ("Content-Length:\r\n", Length),
        ("Content-Length: 4 4\r\n", Length),
        ("Content-Length: 4;\r\n", Length),
        ("Content-Length: 18446744073709551616\r\n", Length),
        ("Content_Length: 4\r\n", Length),
        // Codings.
        ("Transfer-Encoding: xchunked\r\n", Coding),
        ("Transfer-Encoding: chunked, chunked\r\n", Coding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Coding),
        ("Transfer-Encoding: chunked, identity\r\n", Coding),
        ("Transfer-Encoding: gzip, chunked\r\n", Coding),
        ("Transfer-Encoding: identity\r\n", Coding),
        ("Transfer-Encoding: \"chunked\"\r\n", Coding),
        ("Transfer-Encoding: chunked;q=1\r\n", Coding),
        ("Transfer-Encoding:\r\n", Coding),
        ("Transfer_Encoding: chunked\r\n", Coding),
        ("Transfer-Encoding: \u{a0}chunked\r\n", Coding),
        ("Transfer-Encoding: chunked\u{b}\r\n", Malformed),
        // Fields that are none.
        ("Content-Length : 4\r\n", Malformed),
        ("Transfer-Encoding\t: chunked\r\n", Malformed),
        ("X: a\r\n folded\r\n", Malformed),
        ("X: a\r\n\tTransfer-Encoding: chunked\r\n", Malformed),
        (" X: a\r\n", Malformed),
        ("X: a\rTransfer-Encoding: chunked\r\n", Malformed),
        ("X: a\0b\r\n", Malformed),
        ("X: a\u{7f}\r\n", Malformed),
        ("X\r\n", Malformed),
        (": a\r\n", Malformed),
        ("X Y: a\r\n", Malformed),
        ("X\0: a\r\n", Malformed),
        ("X\u{e9}: a\r\n", Malformed),
        // Line ends.
        ("X: a\n", LineEnd),
        ("X: a\nTransfer-Encoding: chunked\r\n", LineEnd),
    ] {
        refuses("", &format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"), doubt);
        refuses(
            "GET / HTTP/1.1\r\n\r\n",
            &format!("POST / HTTP/1.1\r\n{lines}\r\n"),
            doubt,
        );
    }
    for (head, doubt) in [
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Coding),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", LineEnd),
        ("GET / HTTP/1.1\n\n", LineEnd),
        ("\nGET / HTTP/1.1\r\n\r\n", LineEnd),
        ("GET / HTTP/2.0\r\n\r\n", Malformed),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Malformed),
        ("GET / HTTP/1.2\r\n\r\n", Malformed),
        ("GET / http/1.1\r\n\r\n", Malformed),
        ("GET / HTTP/1.1 \r\n\r\n", Malformed),
        ("GET  / HTTP/1.1\r\n\r\n", Malformed),
        (" GET / HTTP/1.1\r\n\r\n", Malformed),
        ("GET\t/ HTTP/1.1\r\n\r\n", Malformed),
        ("GET /a b HTTP/1.1\r\n\r\n", Malformed),
        ("GET /\r\n\r\n", Malformed),
        ("GET\r\n\r\n", Malformed),
        ("G(T / HTTP/1.1\r\n\r\n", Malformed),
        (
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n\r\n",
            Malformed,
        ),
        ("GET login HTTP/1.1\r\n\r\n", Target),
        ("GET a:80 HTTP/1.1\r\n\r\n", Target),
        ("CONNECT a:80 HTTP/1.1\r\n\r\n", Target),
        ("CONNECT / HTTP/1.1\r\n\r\n", Target),
        ("GET * HTTP/1.1\r\n\r\n", Target),
        ("GET ftp://a/ HTTP/1.1\r\n\r\n", Target),
        ("GET http:// HTTP/1.1\r\n\r\n", Target),
        ("GET /a#b HTTP/1.1\r\n\r\n", Target),
    ] {
        refuses("", head, doubt);
    }
}

#[test]
fn chunks_that_are_framed_otherwise_are_refused_where_they_stand() {
    const HEAD: &str = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (good, bad) in [
        ("", "\r\n"),
        ("", " 4\r\nabcd\r\n"),
        ("", "+4\r\nabcd\r\n"),
        ("", "-1\r\n"),
        ("0", "x4\r\nabcd\r\n"),
        ("4", "_0\r\n"),
        ("4", " \r\nabcd\r\n"),
        ("4", "\nabcd\r\n"),
        ("4\r", "abcd"),
        ("4;", "\nabcd\r\n"),
        ("4;a=", "\0\r\n"),
        ("4;a\r", "b\r\n"),
        ("4\r\nabcd", "e\r\n"),
        ("4\r\nabcd", "\n"),
        ("4\r\nabcd\r", "0"),
        ("0000000000000000", "0\r\n\r\n"),
        ("FFFFFFFFFFFFFFFF", "F\r\n"),
        ("0\r\n", "\n"),
        ("0\r\n", " X: a\r\n\r\n"),
        ("0\r\nX: a\r\n", "\tfolded\r\n\r\n"),
        ("0\r\nX", "\r\n\r\n"),
        ("0\r\nX", " : a\r\n\r\n"),
        ("0\r\n", ": a\r\n\r\n"),
        ("0\r\nX: a", "\n\r\n"),
        ("0\r\nX: ", "\0\r\n\r\n"),
        ("0\r\n\r", "GET / HTTP/1.1\r\n\r\n"),
    ] {
        refuses(&format!("{HEAD}{good}"), bad, Doubt::Chunk);
    }
    let extension = format!("{HEAD}4;{}", "a".repeat(256));
    refuses(&extension, "a\r\n", Doubt::Chunk);
    let trailers = format!("{HEAD}0\r\nX:{}", "a".repeat(8190));
    refuses(&trailers, "a", Doubt::Chunk);
}

#[test]
fn a_head_beyond_its_caps_is_refused_however_it_comes() {
    let mut longest = String::from("GET / HTTP/1.1\r\nX: ");
    longest.push_str(&"a".repeat(CAPS.bytes - longest.len() - 4));
    passes(&format!("{longest}\r\n\r\n"), 1);
    let longer = format!("{longest}a\r\n\r\n");
    let endless = "a".repeat(2 * CAPS.bytes);
    for step in [longer.len(), 1, 100] {
        assert_eq!(pass(longer.as_bytes(), step).2, Some(Doubt::HeadTooLarge));
    }
    for head in [format!("GET / HTTP/1.1\r\nX: {endless}"), "\r\n".repeat(CAPS.bytes)] {
        for step in [head.len(), 1, 100] {
            assert_eq!(pass(head.as_bytes(), step).2, Some(Doubt::HeadTooLarge));
        }
    }
    let lines = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count));
    passes(&lines(16), 1);
    refuses("", &lines(17), Doubt::TooManyHeaders);
}

#[test]
fn nothing_behind_an_offer_passes_before_it_is_declined() {
    let mut framing = Framing::new(CAPS);
    let offer = b"GET / HTTP/1.1\r\nupgrade: websocket\r\n\r\n";
    let look = framing.handle(&[&offer[..], b"\x81\x05hello"].concat());
    assert_eq!(
        look,
        Look {
            passes: offer.len(),
            then: Then::Wait
        }
    );
    assert!(framing.is_waiting());
    framing.resume();
    assert_eq!(framing.handle(b"\x81\x05hello").then, Then::Refuse(Doubt::Malformed));
}
