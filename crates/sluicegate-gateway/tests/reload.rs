//! Another policy takes the place of the one in force, while connections are open and requests under way.

mod support;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

use sluicegate_gateway::{ReplaceError, Settings};
use sluicegate_testkit::upstream::{ReadBody, Upstream, ok};
use support::{PATIENCE, gateway, gateway_with, policy, upstreams};

/// An upstream that answers with its name.
fn named(name: &'static str) -> Upstream {
    Upstream::answering(move |_| ok(name)).expect("a free port")
}

#[track_caller]
fn replace(settings: &Settings, lines: &str, rest: &str) {
    settings.replace(&policy(lines, rest)).expect("nothing needs a restart");
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: gateway.test\r\n\r\n";

#[test]
fn requests_under_way_end_where_they_began_and_new_ones_go_to_the_new_servers() {
    let (arrived, arrivals) = mpsc::channel();
    let (go, may_go) = mpsc::channel();
    let may_go = Mutex::new(may_go);
    let old = Upstream::scripted(move |connection| {
        while connection.request()?.is_some() {
            arrived.send(()).expect("the test waits");
            may_go.lock().expect("one at a time").recv().expect("the test says so");
            connection.write(ok("old").as_bytes())?;
        }
        Ok(())
    })
    .expect("a free port");
    let new = named("new");
    let gateway = gateway(&upstreams(&[&old]));
    let (mut first, mut second) = (gateway.client(), gateway.client());
    first.send(GET.as_bytes());
    arrivals.recv().expect("it arrives");
    replace(&gateway.settings, &upstreams(&[&new]), "");
    assert_eq!(second.ask(GET).text(), "new");
    go.send(()).expect("it waits");
    assert_eq!(first.answer(ReadBody::Whole).text(), "old");
    // The connection goes on, to where requests go now.
    assert_eq!(first.ask(GET).text(), "new");
    assert_eq!((old.connections(), old.requests().len()), (1, 1));
}

/// A route is a number in its own policy, and another route in the next one.
#[test]
fn a_request_goes_by_the_routes_of_the_policy_that_decided_it() {
    let (a, b) = (named("a"), named("b"));
    let lines = |first: &Upstream, second: &Upstream| {
        format!(
            "upstreams: {{ one: {{ servers: \"{}\" }}, two: {{ servers: \"{}\" }} }}\n",
            first.address(),
            second.address()
        )
    };
    let by_body = "rules: [ { name: by-user, key: body./user, limit: 1000/s } ]\n";
    let before = format!(
        "routes:\n  - {{ name: a, path: /a, upstream: one }}\n  - {{ name: b, path: /b, upstream: two }}\n{by_body}"
    );
    let after = format!(
        "routes:\n  - {{ name: b, path: /b, upstream: one }}\n  - {{ name: a, path: /a, upstream: two }}\n{by_body}"
    );
    let gateway = gateway_with(&lines(&a, &b), &before);
    let head = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nExpect: 100-continue\r\nContent-Length: 8\r\n\r\n";
    let mut waiting: Vec<_> = (0..3).map(|_| gateway.client()).collect();
    for (reloads, client) in waiting.iter_mut().enumerate() {
        client.send(head.as_bytes());
        // Its head is decided, and the rest waits for its body.
        assert_eq!(client.answer_head().status(), Some(100));
        if reloads % 2 == 0 {
            replace(&gateway.settings, &lines(&b, &a), &after);
        } else {
            replace(&gateway.settings, &lines(&a, &b), &before);
        }
        assert_eq!(gateway.ask(&format!("{head}user=eve")).status(), Some(100));
    }
    for client in &mut waiting {
        client.send(b"user=ann");
        assert_eq!(client.answer(ReadBody::Whole).text(), "a");
    }
    // Of a policy that nothing was forwarded by, nothing is known once it has been replaced too often.
    replace(&gateway.settings, &lines(&a, &b), &before);
    let mut client = gateway.client();
    client.send(head.as_bytes());
    assert_eq!(client.answer_head().status(), Some(100));
    for _ in 0..70 {
        replace(&gateway.settings, &lines(&b, &a), &after);
    }
    client.send(b"user=ann");
    assert_eq!(client.answer(ReadBody::Whole).status(), Some(503));
}

#[test]
fn a_server_that_stays_keeps_its_connection_and_one_that_goes_loses_it() {
    let (told, closed) = mpsc::channel();
    let goes = Upstream::scripted(move |connection| {
        while connection.request()?.is_some() {
            connection.write(ok("goes").as_bytes())?;
        }
        told.send(()).expect("the test waits");
        Ok(())
    })
    .expect("a free port");
    let stays = named("stays");
    let both = format!(
        "threads: 1\ndeadlines: {{ upstream_idle: 60s }}\n{}",
        upstreams(&[&stays, &goes])
    );
    let one = format!(
        "threads: 1\ndeadlines: {{ upstream_idle: 60s }}\n{}",
        upstreams(&[&stays])
    );
    let gateway = gateway(&both);
    let mut client = gateway.client();
    let mut answers: Vec<_> = (0..2).map(|_| client.ask(GET).text()).collect();
    answers.sort();
    assert_eq!(answers, ["goes", "stays"]);
    replace(&gateway.settings, &one, "");
    for _ in 0..3 {
        assert_eq!(client.ask(GET).text(), "stays");
    }
    closed.recv_timeout(PATIENCE).expect("nobody uses it any more");
    assert_eq!(stays.connections(), 1);
}

#[test]
fn who_is_trusted_follows_on_open_connections_too() {
    let upstream =
        Upstream::answering(|request| ok(request.header("x-forwarded-for").unwrap_or_default())).expect("a free port");
    let lines = upstreams(&[&upstream]);
    let gateway = gateway(&lines);
    let mut client = gateway.client();
    let claiming = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n";
    assert_eq!(client.ask(claiming).text(), "127.0.0.1");
    replace(
        &gateway.settings,
        &lines,
        "identity: { trusted_proxies: [127.0.0.1] }\n",
    );
    assert_eq!(client.ask(claiming).text(), "192.0.2.7, 127.0.0.1");
    replace(&gateway.settings, &lines, "identity: { forwarded_header: forwarded }\n");
    assert_eq!(client.ask(claiming).text(), "");
}

#[test]
fn new_connections_are_held_to_the_new_caps_and_deadlines() {
    let upstream = named("here");
    let lines = upstreams(&[&upstream]);
    let gateway = gateway(&lines);
    let mut before = gateway.client();
    let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X-A: 1\r\n".repeat(17));
    assert_eq!(before.ask(&many).status(), Some(200));
    replace(
        &gateway.settings,
        &format!("caps: {{ headers: 16 }}\ndeadlines: {{ keep_alive: 100ms }}\n{lines}"),
        "",
    );
    assert_eq!(gateway.ask(&many).status(), Some(431));
    let mut after = gateway.client();
    assert_eq!(after.ask(GET).status(), Some(200));
    assert!(after.is_closed(), "it is unused for longer than the new deadline");
    assert_eq!(
        before.ask(&many).status(),
        Some(200),
        "it was accepted under the old ones"
    );
}

#[test]
fn what_needs_a_restart_is_refused_as_a_whole_and_named() {
    let (here, there) = (named("here"), named("there"));
    let gateway = gateway(&format!("threads: 1\n{}", upstreams(&[&here])));
    let other = policy(
        &format!("threads: 2\ncaps: {{ connections: 7 }}\n{}", upstreams(&[&there])),
        "rules: [ { name: all, key: ip, limit: 1/d } ]\n",
    );
    let refused = gateway.settings.replace(&other).expect_err("threads are fixed");
    let ReplaceError::NeedsRestart(found) = refused else {
        unreachable!("{refused}");
    };
    let fields: Vec<_> = found.iter().map(|fault| fault.field.join(".")).collect();
    assert_eq!(fields, ["gateway.threads", "gateway.caps.connections"]);
    let mut client = gateway.client();
    for _ in 0..3 {
        assert_eq!(client.ask(GET).text(), "here");
    }
    assert_eq!(gateway.limiter.engine().generation(), 1);
}

#[test]
fn nothing_is_lost_while_policies_change_under_load() {
    let (a, b) = (named("a"), named("b"));
    let gateway = gateway(&upstreams(&[&a]));
    let (asked, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut client = gateway.client();
                while !done.load(Ordering::Relaxed) {
                    let answer = client.ask(GET);
                    assert_eq!(answer.status(), Some(200), "{}", answer.text());
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for turn in 0..100 {
            let upstream = if turn % 2 == 0 { &b } else { &a };
            replace(&gateway.settings, &upstreams(&[upstream]), "");
            let before = asked.load(Ordering::Relaxed);
            while asked.load(Ordering::Relaxed) < before + 5 {
                std::thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    let seen = a.requests().len() + b.requests().len();
    let counted: u64 = gateway
        .limiter
        .engine()
        .metrics()
        .requests()
        .map(|count| count.count)
        .sum();
    let asked = asked.load(Ordering::Relaxed);
    assert_eq!((seen as u64, counted), (asked, asked));
}
