//! Limits that several limiters hold together, through a store in memory.
#![cfg(feature = "sharing")]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use http::{HeaderMap, Method};
use sluicegate::policy::Policy;
use sluicegate::{Decision, Limiter, Outcome, Request, Retry, Secret, ShareError, Sharer, Sharing, SystemClock};
use sluicegate_state::store::{Call, Exchanged, Heartbeat, Lane, MemoryStore, Presence, Store, StoreError};

/// A limiter that shares what `rules` say, as a list under `rules:`.
fn limiter(rules: &str) -> Limiter {
    let text = format!(
        "version: 1\nstate: {{memory: 8MiB, secret_file: secret, share: {{redis: \"redis://127.0.0.1:1\"}}}}\nroutes:\n  - {{name: body, path: /body, upstream: up}}\n  - {{name: rest, path: \"/{{*rest}}\", upstream: up}}\ngateway: {{listen: \"127.0.0.1:0\", upstreams: {{up: {{servers: \"127.0.0.1:1\"}}}}}}\nrules:\n{rules}"
    );
    let (policy, _) = Policy::parse("policy.yaml", &text).expect("a good policy");
    Limiter::new(&policy, &Secret::from_bytes([3; 32]), SystemClock::new()).expect("a limiter")
}

fn share<S: Store>(limiter: &Limiter, store: &S) -> Result<Sharer, ShareError> {
    limiter.share(|_runtime, _clock| Ok(store.clone()))
}

/// So many limiters that share one store.
fn fleet(nodes: u32, rules: &str) -> Vec<(Limiter, Sharer)> {
    let store = MemoryStore::ticking();
    let fleet: Vec<_> = (0..nodes)
        .map(|_| {
            let limiter = limiter(rules);
            let sharer = share(&limiter, &store).expect("a thread");
            (limiter, sharer)
        })
        .collect();
    for (limiter, _) in &fleet {
        until(|| {
            limiter
                .sharing()
                .is_some_and(|sharing| sharing.lanes_up == 1 && sharing.nodes >= f64::from(nodes))
        });
    }
    fleet
}

/// Polls, for at most ten seconds.
#[track_caller]
fn until(mut is_so: impl FnMut() -> bool) {
    let clock = SystemClock::new();
    let begun_at = sluicegate::Clock::now(&clock);
    while !is_so() {
        let waited = sluicegate::Clock::now(&clock).saturating_since(begun_at);
        assert!(waited < Duration::from_secs(10), "it did not come to be");
        thread::yield_now();
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread, without a runtime.
fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn decide(limiter: &Limiter, path: &str) -> Decision {
    let request = Request {
        method: &Method::GET,
        host: "api.example",
        path,
        query: "",
        peer: Some([192, 0, 2, 1].into()),
        headers: &HeaderMap::new(),
    };
    let mut outcome = limiter.decide(&request);
    loop {
        outcome = match outcome {
            Outcome::Decided(decision) => return decision,
            Outcome::Pending(ticket) => wait(ticket),
            Outcome::NeedsBody(question) => question.finish().expect("no body to read"),
        }
    }
}

#[test]
fn a_small_limit_on_five_nodes_admits_its_burst_and_not_one_more() {
    let fleet = fleet(5, "  - {name: login, key: ip, limit: 5/h, on_store_loss: closed}\n");
    let admitted = fleet
        .iter()
        .cycle()
        .take(50)
        .filter(|(limiter, _)| decide(limiter, "/").passes())
        .count();
    assert_eq!(admitted, 5);
}

#[test]
fn an_exact_limit_asks_for_every_request_and_is_exact() {
    let fleet = fleet(
        3,
        "  - {name: exact, key: ip, limit: 30/h, sharing: exact, on_store_loss: closed}\n",
    );
    let admitted = fleet
        .iter()
        .cycle()
        .take(90)
        .filter(|(limiter, _)| decide(limiter, "/").passes())
        .count();
    assert_eq!(admitted, 30);
}

#[test]
fn a_hybrid_limit_never_waits_and_overruns_by_no_more_than_it_says() {
    let fleet = fleet(4, "  - {name: hybrid, key: ip, limit: 40/h, sharing: hybrid}\n");
    let mut admitted = 0;
    for (limiter, _) in fleet.iter().cycle().take(4_000) {
        let request = Request {
            method: &Method::GET,
            host: "api.example",
            path: "/",
            query: "",
            peer: Some([192, 0, 2, 1].into()),
            headers: &HeaderMap::new(),
        };
        let decision = limiter.decide(&request).decided().expect("a hybrid limit never waits");
        admitted += usize::from(decision.passes());
    }
    assert!(
        (36..=44).contains(&admitted),
        "{admitted} of 40, and one beyond it on each of four nodes"
    );
}

#[test]
fn a_request_that_one_rule_refuses_costs_the_others_nothing_on_any_node() {
    let rules = "  - {name: wide, key: [], limit: 10/h, sharing: exact}\n  - {name: own, routes: [body], key: ip, limit: 9/h, sharing: local}\n  - {name: narrow, routes: [body], key: ip, limit: 2/h, sharing: exact}\n";
    let fleet = fleet(2, rules);
    let admitted = |path| {
        fleet
            .iter()
            .cycle()
            .take(20)
            .filter(|(limiter, _)| decide(limiter, path).passes())
            .count()
    };
    assert_eq!(admitted("/body"), 2, "by the narrow rule");
    // What the store took for the request that the narrow rule then refused comes back but for what refilled meanwhile, which is
    // less than a unit, and could cost one.
    assert!((7..=8).contains(&admitted("/")), "what is left of the wide one");
    let own = fleet[0].0.engine().rule("own").expect("a rule");
    let refused = decide(&fleet[0].0, "/body");
    let own = refused.report().states().iter().find(|state| state.rule == own);
    assert_eq!(own.map(|state| state.remaining), Some(8), "one of the two passed here");
}

/// How long an admitted request has to wait for its turn; whoever asks keeps its place.
fn turn(limiter: &Limiter, path: &str) -> (Duration, Decision) {
    let mut decision = None;
    // The store's answer may be late on a busy machine, and the request is then refused.
    until(|| {
        decision = Some(decide(limiter, path)).filter(Decision::passes);
        decision.is_some()
    });
    let decision = decision.expect("it was waited for");
    let wait = match &decision {
        Decision::Delay { after, .. } => *after,
        _ => Duration::ZERO,
    };
    (wait, decision)
}

/// Between one request of the queues below and the next.
const INTERVAL: Duration = Duration::from_secs(15);

/// For what passes meanwhile.
const MEANWHILE: Duration = Duration::from_secs(10);

#[test]
fn an_exact_queue_lets_requests_of_two_nodes_go_one_after_another_and_no_wait_is_too_long() {
    let rules = "  - {name: queue, key: ip, algorithm: leaky_bucket, limit: 240/h burst 20, max_wait: 50s, sharing: exact, on_store_loss: closed}\n";
    let fleet = fleet(2, rules);
    let places: Vec<_> = (0..4).map(|turns| turn(&fleet[turns % 2].0, "/")).collect();
    for (ahead, (wait, _)) in (0..).zip(&places) {
        assert!(*wait + MEANWHILE >= INTERVAL * ahead, "{wait:?} behind {ahead}");
        assert!(*wait <= Duration::from_millis(50_005), "{wait:?} behind {ahead}");
    }
    let after = match decide(&fleet[0].0, "/") {
        Decision::Deny {
            retry: Retry::After(after),
            ..
        } => Some(after),
        _ => None,
    };
    let after = after.expect("the fifth would wait for a minute");
    assert!(after <= Duration::from_secs(10), "{after:?}");
}

#[test]
fn whoever_leaves_a_shared_queue_last_leaves_its_place_to_the_next() {
    let rules = "  - {name: queue, key: ip, algorithm: leaky_bucket, limit: 240/h burst 20, max_wait: 1min, sharing: exact, on_store_loss: closed}\n";
    let fleet = fleet(1, rules);
    let limiter = &fleet[0].0;
    let (_, _first) = turn(limiter, "/");
    let (wait, last) = turn(limiter, "/");
    drop(last);
    until(|| {
        let (next, _) = turn(limiter, "/");
        next <= wait + Duration::from_secs(1)
    });
}

#[test]
fn a_request_in_two_queues_has_its_place_in_each_when_it_leaves_both() {
    let rules = "  - {name: shared, routes: [rest], key: ip, algorithm: leaky_bucket, limit: 240/h burst 20, max_wait: 1min, sharing: hybrid}\n  - {name: own, key: ip, algorithm: leaky_bucket, limit: 1/s burst 50, max_wait: 1min, sharing: local}\n";
    let fleet = fleet(1, rules);
    let limiter = &fleet[0].0;
    let _first = turn(limiter, "/");
    let (ahead, _second) = turn(limiter, "/");
    assert!(ahead + MEANWHILE >= INTERVAL, "{ahead:?}");
    let (behind, _third) = turn(limiter, "/body");
    assert!(
        behind + MEANWHILE >= ahead + Duration::from_secs(1),
        "{behind:?} behind {ahead:?}"
    );
    let check = limiter.check("shared", "bob").expect("a rule");
    assert!(check.passes() && check.delay().is_zero());
    let check = wait(limiter.check_waiting("shared", "bob", 1)).expect("a rule");
    assert!(check.delay() > Duration::ZERO, "the place is told to programs too");
}

#[test]
fn permits_of_two_nodes_never_exceed_the_limit_and_come_back() {
    let fleet = fleet(
        2,
        "  - {name: streams, key: program, algorithm: concurrency, limit: 4}\n",
    );
    let acquire = |node: usize| {
        wait(fleet[node].0.acquire_waiting("streams", "ann"))
            .expect("a rule")
            .granted()
    };
    // A node that was just refused asks the store again only after a moment.
    let mut held = Vec::new();
    until(|| {
        held.extend((0..8).filter_map(|turn| acquire(turn % 2)));
        held.len() >= 4
    });
    assert_eq!(held.len(), 4);
    assert!((0..8).all(|turn| acquire(turn % 2).is_none()));
    held.clear();
    until(|| {
        held.extend(acquire(1));
        held.len() == 4
    });
    assert_eq!(
        fleet[0]
            .0
            .engine()
            .shared_bucket(sluicegate::RuleId::new(0))
            .map(sluicegate::SharedBucket::in_use),
        Some(0)
    );
}

#[test]
fn a_request_gives_its_permit_back_when_its_response_has_ended() {
    let fleet = fleet(1, "  - {name: streams, key: ip, algorithm: concurrency, limit: 1}\n");
    let limiter = &fleet[0].0;
    let mut admitted = None;
    until(|| {
        if let Decision::Allow { admitted: proof, .. } = decide(limiter, "/") {
            admitted = Some(proof);
        }
        admitted.is_some()
    });
    assert!(!decide(limiter, "/").passes());
    drop(admitted);
    until(|| decide(limiter, "/").passes());
}

#[test]
fn a_program_asks_a_shared_rule_and_waits_only_if_it_says_so() {
    let fleet = fleet(
        2,
        "  - {name: mails, key: program, limit: 4/h, sharing: leased, on_store_loss: closed}\n",
    );
    let mut nodes = fleet.iter().cycle();
    let mut sends = || {
        let (limiter, _) = nodes.next().expect("round and round");
        wait(limiter.check_waiting("mails", "ann", 1)).expect("a rule").passes()
    };
    let mut sent = 0;
    // A slow machine answers some too late, which costs nothing.
    until(|| {
        sent += u32::from(sends());
        sent == 4
    });
    assert_eq!((0..12).filter(|_| sends()).count(), 0);
    // A check that cannot wait is refused at first, and has what it asked for fetched.
    let (limiter, _) = &fleet[0];
    assert!(!limiter.check("mails", "bob").expect("a rule").passes());
    until(|| limiter.check("mails", "bob").expect("a rule").passes());
}

#[test]
fn without_a_store_each_node_goes_by_its_share() {
    let limiter = limiter("  - {name: alone, key: ip, limit: 100/h burst 50, sharing: hybrid, fanout: 10}\n");
    let admitted = (0..100).filter(|_| decide(&limiter, "/").passes()).count();
    assert_eq!(admitted, 5, "a tenth of the burst");
}

#[test]
fn limiters_without_a_file_share_what_their_rules_say() {
    let store = MemoryStore::ticking();
    let fleet: Vec<_> = (0..2)
        .map(|_| {
            let limiter = Limiter::builder()
                .rule(sluicegate::Rule::named("mails").limit("3/h").sharing(Sharing::Exact))
                .limit("own", "1/h")
                .shared()
                .secret(Secret::from_bytes([5; 32]))
                .build()
                .expect("a limiter");
            let sharer = share(&limiter, &store).expect("a thread");
            (limiter, sharer)
        })
        .collect();
    for (limiter, _) in &fleet {
        until(|| limiter.sharing().is_some_and(|sharing| sharing.lanes_up == 1));
    }
    let asks = fleet.iter().cycle().take(10);
    let sent = asks.filter(|(limiter, _)| wait(limiter.check_waiting("mails", "ann", 1)).expect("a rule").passes());
    assert_eq!(sent.count(), 3);
}

#[test]
fn nodes_that_are_to_share_limits_have_to_be_given_one_secret() {
    let refused = Limiter::builder().limit("mails", "1/h").shared().build();
    assert!(matches!(refused, Err(sluicegate::BuildError::SharedWithoutSecret)));
}

#[test]
fn a_limiter_that_shares_nothing_says_so() {
    let limiter = Limiter::builder().limit("mails", "1/h").build().expect("a limiter");
    let refused = share(&limiter, &MemoryStore::ticking());
    assert!(matches!(refused, Err(ShareError::NotShared)));
}

/// A store in memory that can be away, break off, and panic.
#[derive(Clone, Debug)]
struct Frail {
    inner: MemoryStore,
    fault: Arc<AtomicU8>,
}

const WELL: u8 = 0;
const AWAY: u8 = 1;
const SILENT: u8 = 2;
const PANICS: u8 = 3;

impl Frail {
    fn new() -> Self {
        Self {
            inner: MemoryStore::ticking(),
            fault: Arc::new(AtomicU8::new(WELL)),
        }
    }

    fn set(&self, fault: u8) {
        self.fault.store(fault, Ordering::SeqCst);
    }
}

impl Store for Frail {
    fn lanes(&self) -> u16 {
        self.inner.lanes()
    }

    fn lane(&self, shard: u8) -> Lane {
        self.inner.lane(shard)
    }

    async fn exchange(&self, call: Call<'_>) -> Result<Exchanged, StoreError> {
        match self.fault.load(Ordering::SeqCst) {
            AWAY => Err(StoreError::NotSent(None)),
            SILENT => std::future::pending().await,
            PANICS => std::panic::resume_unwind(Box::new("a defect of the store's")),
            _ => self.inner.exchange(call).await,
        }
    }

    async fn heartbeat(&self, presence: Presence) -> Result<Heartbeat, StoreError> {
        self.inner.heartbeat(presence).await
    }
}

fn in_step(limiter: &Limiter) -> bool {
    limiter.sharing().is_some_and(|sharing| sharing.lanes_up == 1)
}

/// A store of two lanes, of which the second goes away; the heartbeat goes to the first.
#[derive(Clone)]
struct Halves {
    inner: MemoryStore,
    is_gone: Arc<AtomicU8>,
}

impl Store for Halves {
    fn lanes(&self) -> u16 {
        2
    }

    fn lane(&self, shard: u8) -> Lane {
        Lane(u16::from(shard % 2))
    }

    async fn exchange(&self, call: Call<'_>) -> Result<Exchanged, StoreError> {
        if call.lane == Lane(1) && self.is_gone.load(Ordering::SeqCst) != 0 {
            return Err(StoreError::NotSent(None));
        }
        self.inner.exchange(call).await
    }

    async fn heartbeat(&self, presence: Presence) -> Result<Heartbeat, StoreError> {
        self.inner.heartbeat(presence).await
    }
}

#[test]
fn a_lane_that_nobody_asks_anything_is_missed_when_it_is_gone() {
    let store = Halves {
        inner: MemoryStore::ticking(),
        is_gone: Arc::default(),
    };
    let limiter = limiter("  - {name: login, key: ip, limit: 5/h}\n");
    let _sharer = share(&limiter, &store).expect("a thread");
    let up = |lanes| until(|| limiter.sharing().is_some_and(|sharing| sharing.lanes_up == lanes));
    up(2);
    store.is_gone.store(1, Ordering::SeqCst);
    up(1);
    store.is_gone.store(0, Ordering::SeqCst);
    up(2);
}

/// What was due kept the driver awake, so that nothing else on its thread ran: no probe was ever made, and the store never came back.
#[test]
fn a_store_that_was_away_under_traffic_is_found_again() {
    let store = Frail::new();
    let limiter = limiter("  - {name: hybrid, key: ip, limit: 100/s burst 200, sharing: hybrid}\n");
    let _sharer = share(&limiter, &store).expect("a thread");
    until(|| in_step(&limiter));
    store.set(AWAY);
    until(|| {
        let _ = decide(&limiter, "/");
        limiter
            .sharing()
            .is_some_and(|sharing| sharing.lanes_up == 0 && sharing.keys_alone == 1)
    });
    store.set(WELL);
    until(|| {
        let _ = decide(&limiter, "/");
        limiter
            .sharing()
            .is_some_and(|sharing| sharing.lanes_up == 1 && sharing.keys_alone == 0)
    });
}

/// The same where as many calls were under way as may be.
#[test]
fn more_that_is_due_than_may_be_asked_for_keeps_no_answer_from_coming() {
    let fleet = fleet(1, "  - {name: many, key: program, limit: 5/h, sharing: leased}\n");
    let (limiter, _sharer) = &fleet[0];
    let waiting = (0..2_000).map(|key| limiter.check_waiting("many", key.to_string(), 1));
    let mut waiting: Vec<_> = waiting.map(Box::pin).collect();
    // All are begun before the first is looked at again.
    until(|| {
        waiting.retain_mut(|one| one.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        waiting.is_empty()
    });
}

#[test]
fn who_waits_when_sharing_ends_is_answered_and_nobody_waits_after() {
    for fault in [WELL, SILENT, PANICS] {
        let store = Frail::new();
        let limiter = limiter("  - {name: login, key: ip, limit: 5/h, sharing: leased, on_store_loss: closed}\n");
        let sharer = share(&limiter, &store).expect("a thread");
        assert!(matches!(share(&limiter, &store), Err(ShareError::SharedAlready)));
        until(|| in_step(&limiter));
        store.set(fault);
        let ended = thread::scope(|scope| {
            let asking = scope.spawn(|| (0..20).filter(|_| decide(&limiter, "/").passes()).count());
            drop(sharer);
            asking.join().expect("no panic")
        });
        assert!(ended <= 5);
        assert_eq!(limiter.sharing().map(|sharing| sharing.lanes_up), Some(0));
        assert!(!decide(&limiter, "/").passes(), "closed while there is no store");
        // And it may be shared anew.
        store.set(WELL);
        let _sharer = share(&limiter, &store).expect("a thread");
        until(|| in_step(&limiter));
    }
}

#[test]
fn a_call_that_panicked_counts_as_lost_and_its_keys_go_on() {
    let store = Frail::new();
    let limiter = limiter("  - {name: login, key: ip, limit: 50/h, sharing: exact, on_store_loss: closed}\n");
    let _sharer = share(&limiter, &store).expect("a thread");
    until(|| in_step(&limiter));
    store.set(PANICS);
    assert!(!decide(&limiter, "/").passes());
    store.set(WELL);
    until(|| in_step(&limiter));
    until(|| decide(&limiter, "/").passes());
}

#[test]
fn a_decision_by_a_limit_that_nodes_hold_together_allocates_nothing() {
    let fleet = fleet(1, "  - {name: hybrid, key: ip, limit: 1000000/s, sharing: hybrid}\n");
    let (limiter, _sharer) = &fleet[0];
    let headers = HeaderMap::new();
    let request = Request {
        method: &Method::GET,
        host: "api.example",
        path: "/",
        query: "",
        peer: Some([192, 0, 2, 1].into()),
        headers: &headers,
    };
    // The key has an entry, and its driver is awake or not, as it comes.
    for _ in 0..1_000 {
        assert!(
            limiter
                .decide(&request)
                .decided()
                .is_some_and(|decision| decision.passes())
        );
    }
    let counted = allocation_counter::measure(|| {
        for _ in 0..10_000 {
            assert!(
                limiter
                    .decide(&request)
                    .decided()
                    .is_some_and(|decision| decision.passes())
            );
        }
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn a_refused_guess_is_charged_on_all_nodes_whichever_rule_refuses() {
    let rules = "  - {name: guesses, routes: [body], key: ip, limit: 3/h, sharing: exact, charge_refused: true, on_store_loss: closed}\n  - {name: own, routes: [body], key: ip, limit: 1/h, sharing: local}\n";
    let fleet = fleet(2, rules);
    let (first, second) = (&fleet[0].0, &fleet[1].0);
    let _ = decide(first, "/body");
    let told = || first.sharing().map_or(0, |sharing| sharing.counts.keys);
    for _ in 0..2 {
        let before = told();
        assert!(!decide(first, "/body").passes(), "by its own rule");
        // Each by itself: two that come at once are told of together.
        until(|| told() > before);
    }
    // Three guesses were made, and no node allows a fourth.
    assert!(!decide(second, "/body").passes());
}

/// The response to an admitted request, with these headers.
fn respond(decision: Decision, status: u16, headers: &[(&'static str, &str)]) {
    let Decision::Allow { mut admitted, .. } = decision else {
        unreachable!("it was not admitted");
    };
    let mut response = http::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    let (head, ()) = response.body(()).expect("a response").into_parts();
    admitted.answered(&head);
    admitted.finish();
}

#[test]
fn responses_put_right_on_all_nodes_what_their_requests_took() {
    let fleet = fleet(
        2,
        "  - {name: tokens, key: ip, limit: 100/d, cost: {reserve: 60, settle: response.header.x-used}, on_store_loss: closed}\n",
    );
    let [(first, _), (second, _)] = &fleet[..] else {
        unreachable!("there are two");
    };
    let mut passed = None;
    until(|| {
        passed = Some(decide(first, "/")).filter(Decision::passes);
        passed.is_some()
    });
    assert!(!decide(second, "/").passes(), "forty are left");
    respond(passed.expect("it passed"), 200, &[("x-used", "10")]);
    let mut passed = None;
    until(|| {
        passed = Some(decide(second, "/")).filter(Decision::passes);
        passed.is_some()
    });
    // More than all that there is.
    respond(passed.expect("it passed"), 200, &[("x-used", "150")]);
    until(|| !decide(first, "/").passes());
}

#[test]
fn failed_requests_on_two_nodes_lock_a_client_out_of_both() {
    let fleet = fleet(
        2,
        "  - {name: logins, key: ip, limit: 5 per 15min, count: failures, exceed: {lock: 1h}, on_store_loss: closed}\n",
    );
    for _ in 0..10 {
        // Nine good ones in ten change nothing.
        if let decision @ Decision::Allow { .. } = decide(&fleet[0].0, "/") {
            respond(decision, 200, &[]);
        }
    }
    for attempt in 0..5 {
        let (limiter, _) = &fleet[attempt % 2];
        let mut passed = None;
        until(|| {
            passed = Some(decide(limiter, "/")).filter(Decision::passes);
            passed.is_some()
        });
        respond(passed.expect("it passed"), 401, &[]);
    }
    for (limiter, _) in &fleet {
        // A lock lasts longer than five failures take to come back.
        until(|| match decide(limiter, "/") {
            Decision::Deny { report, .. } => report.states().iter().any(
                |state| matches!(state.retry(), Some(sluicegate::Retry::After(wait)) if wait > Duration::from_mins(50)),
            ),
            _ => false,
        });
    }
}

#[test]
fn a_program_reserves_and_settles_what_nodes_hold_together() {
    let store = MemoryStore::ticking();
    let nodes = [(); 2].map(|()| {
        let tokens = sluicegate::Rule::named("tokens").limit("100/d").settles();
        let limiter = Limiter::builder()
            .rule(
                tokens
                    .sharing(Sharing::Leased)
                    .on_store_loss(sluicegate::OnStoreLoss::Closed),
            )
            .shared()
            .secret(Secret::from_bytes([3; 32]))
            .build()
            .expect("a limiter");
        let sharer = share(&limiter, &store).expect("a thread");
        (limiter, sharer)
    });
    for (limiter, _) in &nodes {
        until(|| {
            limiter
                .sharing()
                .is_some_and(|sharing| sharing.lanes_up == 1 && sharing.nodes >= 2.0)
        });
    }
    let [(first, _), (second, _)] = &nodes;
    let reserve = |limiter: &Limiter, cost| {
        let taken = wait(limiter.reserve("tokens", "acme").cost(cost).take_waiting());
        taken.expect("the rule settles").granted()
    };
    let mut held = None;
    until(|| {
        held = reserve(first, 90);
        held.is_some()
    });
    let held = held.expect("it was taken");
    assert!(reserve(second, 20).is_none());
    let _ = held.settle(10);
    until(|| reserve(second, 90).is_some_and(|held| held.release() == sluicegate::Settled::Now));
    // By name, once, and settled from elsewhere.
    let named = |limiter: &Limiter| {
        let reserve = limiter.reserve("tokens", "acme").cost(50).once("request 17");
        wait(reserve.take_waiting()).expect("the rule settles").granted()
    };
    let mut once = None;
    until(|| {
        once = named(first);
        once.is_some()
    });
    let id = once.and_then(|held| held.id()).expect("it has a name");
    assert!(named(first).is_some_and(|held| held.is_repeat()));
    assert_eq!(first.settle(id, 0), sluicegate::Settled::Now);
    assert_eq!(first.settle(id, 0), sluicegate::Settled::Before);
    until(|| reserve(second, 90).is_some());
}

#[test]
fn attempts_of_programs_on_two_nodes_count_together() {
    let fleet = fleet(
        2,
        "  - {name: pins, key: program, limit: 3/h, count: failures, on_success: clear, on_store_loss: closed}\n",
    );
    let attempt = |limiter: &Limiter| {
        wait(limiter.attempt_waiting("pins", "card"))
            .expect("it counts failures")
            .granted()
    };
    for node in [0, 1] {
        let mut begun = None;
        until(|| {
            begun = attempt(&fleet[node].0);
            begun.is_some()
        });
        begun.expect("it has begun").failed();
    }
    let mut third = None;
    until(|| {
        third = attempt(&fleet[0].0);
        third.is_some()
    });
    assert!(attempt(&fleet[1].0).is_none(), "three are open or have failed");
    third.expect("it has begun").succeeded();
    for node in [0, 1, 0] {
        let mut begun = None;
        until(|| {
            begun = attempt(&fleet[node].0);
            begun.is_some()
        });
        begun.expect("it has begun").failed();
    }
}
