//! The limiter as a program sees it: a policy's text, requests, and what becomes of them.

#![allow(clippy::panic, reason = "a test's way to fail")]

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};
use sluicegate::policy::Policy;
use sluicegate::{
    Algorithm, Align, Decision, Limiter, ManualClock, Mode, Outcome, Reason, Request, Retry, Rule, Secret,
};

/// A limiter on a clock that stands until it is moved.
struct World {
    limiter: Limiter,
    clock: Arc<ManualClock>,
}

impl World {
    #[track_caller]
    fn new(text: &str) -> Self {
        let (policy, _) = Policy::parse("policy.yaml", text).expect("a good policy");
        let clock = Arc::new(ManualClock::default());
        let secret = Secret::from_bytes([5; 32]);
        let limiter = Limiter::new(&policy, &secret, Arc::clone(&clock)).expect("a small table");
        Self { limiter, clock }
    }

    fn decide(&self, request: &Ask<'_>) -> Decision {
        let (method, headers) = (request.method.parse().expect("a method"), request.headers());
        let request = Request {
            method: &method,
            host: request.host,
            path: request.path,
            query: "",
            peer: request.peer.map(|peer| peer.parse().expect("an address")),
            headers: &headers,
        };
        match self.limiter.decide(&request) {
            Outcome::Decided(decision) => decision,
            Outcome::NeedsBody(question) => {
                let outcome = question.finish().expect("a request without a body");
                outcome.decided().expect("nothing here waits for a store")
            }
            Outcome::Pending(_) => unreachable!("nothing here waits for a store"),
        }
    }

    fn passes(&self, request: &Ask<'_>) -> bool {
        self.decide(request).passes()
    }

    /// How many of `count` such requests pass.
    fn passing(&self, count: usize, request: &Ask<'_>) -> usize {
        (0..count).filter(|_| self.passes(request)).count()
    }
}

#[derive(Clone)]
struct Ask<'a> {
    method: &'a str,
    host: &'a str,
    path: &'a str,
    peer: Option<&'a str>,
    header_lines: &'a [(&'static str, &'a str)],
}

const ASK: Ask<'static> = Ask {
    method: "GET",
    host: "api.example",
    path: "/",
    peer: Some("192.0.2.1"),
    header_lines: &[],
};

impl Ask<'_> {
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in self.header_lines {
            headers.append(*name, HeaderValue::from_str(value).expect("a value"));
        }
        headers
    }
}

#[test]
fn a_client_gets_its_burst_then_its_rate_and_another_is_not_touched() {
    let world = World::new("version: 1\nrules:\n  - {name: per-client, key: ip, limit: 2/s burst 5}\n");
    assert_eq!(world.passing(20, &ASK), 5);
    assert_eq!(
        world.passing(
            20,
            &Ask {
                peer: Some("192.0.2.2"),
                ..ASK
            }
        ),
        5
    );
    world.clock.advance(Duration::from_millis(500));
    assert_eq!(world.passing(20, &ASK), 1);
}

#[test]
fn a_refusal_says_when_to_come_back_and_that_is_when_it_passes() {
    let world = World::new("version: 1\nrules:\n  - {name: per-client, key: ip, limit: 3 per 10s}\n");
    assert_eq!(world.passing(3, &ASK), 3);
    let Decision::Deny {
        reason: Reason::Limit,
        retry: Retry::After(wait),
        ..
    } = world.decide(&ASK)
    else {
        panic!("the fourth request is refused for its limit")
    };
    world.clock.advance(wait.saturating_sub(Duration::from_nanos(2)));
    assert!(!world.passes(&ASK));
    world.clock.advance(Duration::from_nanos(2));
    assert!(world.passes(&ASK));
}

#[test]
fn a_rule_without_a_key_holds_for_all_clients_together() {
    let world = World::new("version: 1\nrules:\n  - {name: everyone, key: [], limit: 3/s}\n");
    let peers = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
    let passed = peers
        .iter()
        .filter(|peer| {
            world.passes(&Ask {
                peer: Some(peer),
                ..ASK
            })
        })
        .count();
    assert_eq!(passed, 3);
}

#[test]
fn a_request_refused_by_one_rule_costs_nothing_by_another() {
    let world = World::new(
        "version: 1\nrules:\n  - {name: everyone, key: [], limit: 10 per 1000s}\n  - {name: each, key: ip, limit: 2 per 1000s}\n",
    );
    assert_eq!(world.passing(100, &ASK), 2);
    assert_eq!(
        world.passing(
            100,
            &Ask {
                peer: Some("192.0.2.2"),
                ..ASK
            }
        ),
        2
    );
    let report = world.decide(&Ask {
        peer: Some("192.0.2.3"),
        ..ASK
    });
    assert_eq!(report.report().states()[0].remaining, 5);
}

#[test]
fn a_rule_on_a_route_leaves_other_routes_alone() {
    let world = World::new(
        "version: 1\nroutes:\n  - {name: login, methods: [POST], path: /login}\nrules:\n  - {name: logins, routes: [login], key: ip, limit: 1/h}\n",
    );
    let login = Ask {
        method: "POST",
        path: "/login",
        ..ASK
    };
    assert_eq!(world.passing(5, &login), 1);
    assert_eq!(
        world.passing(
            5,
            &Ask {
                method: "GET",
                ..login.clone()
            }
        ),
        5
    );
    assert_eq!(world.passing(5, &Ask { path: "/", ..login }), 5);
}

#[test]
fn every_attribute_of_a_tuple_makes_a_key_of_its_own() {
    let world = World::new(
        "version: 1\nroutes:\n  - {name: a, path: /a}\n  - {name: b, path: /b}\nrules:\n  - {name: each, key: [ip, route, method, host, header.x-user], limit: 1/h}\n",
    );
    let base = Ask {
        path: "/a",
        header_lines: &[("x-user", "alice")],
        ..ASK
    };
    let others = [
        base.clone(),
        Ask {
            peer: Some("192.0.2.9"),
            ..base.clone()
        },
        Ask {
            path: "/b",
            ..base.clone()
        },
        Ask {
            method: "PUT",
            ..base.clone()
        },
        Ask {
            host: "other.example",
            ..base.clone()
        },
        Ask {
            header_lines: &[("x-user", "bob")],
            ..base
        },
    ];
    for ask in &others {
        assert!(world.passes(ask) && !world.passes(ask));
    }
}

/// T17 of the threat list, as far as keys go.
#[test]
fn made_up_methods_are_one_key_and_head_draws_from_gets() {
    let world = World::new("version: 1\nrules:\n  - {name: each, key: [ip, method], limit: 1/h}\n");
    let passes = |method| world.passes(&Ask { method, ..ASK });
    assert_eq!(
        ["GET", "HEAD", "POST", "get", "PURGE", "X1", "X2"].map(passes),
        [true, false, true, true, false, false, false]
    );
}

/// T9 of the threat list, as far as keys go: spellings of one header line are one key.
#[test]
fn blanks_around_a_header_value_make_no_new_key() {
    let world = World::new(
        "version: 1\nrules:\n  - {name: each, key: header.x-user, limit: 1/h}\n  - {name: ip, key: ip, limit: 100/s}\n",
    );
    assert!(world.passes(&Ask {
        header_lines: &[("x-user", "k")],
        ..ASK
    }));
    assert!(!world.passes(&Ask {
        header_lines: &[("X-USER", " k ")],
        ..ASK
    }));
    assert!(!world.passes(&Ask {
        header_lines: &[("X-User", "\tk")],
        ..ASK
    }));
}

#[test]
fn an_absent_part_is_replaced_by_the_address_and_never_frees_anyone() {
    let world = World::new("version: 1\nrules:\n  - {name: each, key: header.x-user, limit: 2/h}\n");
    assert_eq!(world.passing(5, &ASK), 2);
    // Two lines are two claims: neither is believed, and the address's cell is drained already.
    assert_eq!(
        world.passing(
            5,
            &Ask {
                header_lines: &[("x-user", "a"), ("x-user", "b")],
                ..ASK
            }
        ),
        0
    );
    // A value that spells the address is not the address.
    assert_eq!(
        world.passing(
            5,
            &Ask {
                header_lines: &[("x-user", "192.0.2.1")],
                ..ASK
            }
        ),
        2
    );
    assert_eq!(
        world.passing(
            5,
            &Ask {
                peer: Some("192.0.2.2"),
                ..ASK
            }
        ),
        2
    );
}

#[test]
fn requests_without_an_address_share_one_cell() {
    let world = World::new("version: 1\nrules:\n  - {name: each, key: ip, limit: 2/h}\n");
    assert_eq!(world.passing(5, &Ask { peer: None, ..ASK }), 2);
    assert_eq!(world.passing(5, &ASK), 2);
}

#[test]
fn a_missing_key_is_shared_refused_or_skipped_as_the_rule_says() {
    let policy = |what: &str| {
        format!(
            "version: 1\nrules:\n  - {{name: each, key: header.x-user, limit: 2/h, on_missing_key: {what}}}\n  - {{name: ip, key: ip, limit: 100/s}}\n"
        )
    };
    let other = Ask {
        peer: Some("192.0.2.2"),
        ..ASK
    };

    let shared = World::new(&policy("shared"));
    assert_eq!(shared.passing(1, &ASK) + shared.passing(5, &other), 2);

    let refuse = World::new(&policy("refuse"));
    let decision = refuse.decide(&ASK);
    assert!(matches!(
        decision,
        Decision::Deny {
            reason: Reason::MissingKey,
            retry: Retry::Never,
            ..
        }
    ));
    assert_eq!(
        refuse.passing(
            5,
            &Ask {
                header_lines: &[("x-user", "k")],
                ..ASK
            }
        ),
        2
    );

    let skip = World::new(&policy("skip"));
    assert_eq!(skip.passing(5, &ASK), 5);
}

#[test]
fn a_shadow_rule_refuses_nobody_and_says_whom_it_would() {
    let world = World::new(
        "version: 1\nrules:\n  - {name: new, key: ip, limit: 1/h, enforce: 0%}\n  - {name: ip, key: ip, limit: 3/h}\n",
    );
    for expected in [(true, true), (true, false), (true, false), (false, false)] {
        let decision = world.decide(&ASK);
        let state = decision.report().states()[0];
        assert_eq!(state.mode, Mode::Shadow);
        assert_eq!((decision.passes(), state.passes()), expected);
    }
}

#[test]
fn a_rollout_holds_for_the_same_clients_every_time() {
    let policy = |percent: u8| {
        World::new(&format!(
            "version: 1\nrules:\n  - {{name: new, key: ip, limit: 1/h, enforce: {percent}%}}\n"
        ))
    };
    let refused = |world: &World| -> Vec<u8> {
        (1..=250)
            .filter(|host| {
                let peer = format!("192.0.2.{host}");
                world.passing(
                    2,
                    &Ask {
                        peer: Some(&peer),
                        ..ASK
                    },
                ) < 2
            })
            .collect()
    };
    let tenth = refused(&policy(10));
    let half = refused(&policy(50));
    assert!((10..45).contains(&tenth.len()), "{} of 250 at 10 %", tenth.len());
    assert!((95..155).contains(&half.len()), "{} of 250 at 50 %", half.len());
    assert!(
        tenth.iter().all(|host| half.contains(host)),
        "a larger share keeps everyone of a smaller one"
    );
    assert_eq!(tenth, refused(&policy(10)));
    assert_eq!(refused(&policy(100)).len(), 250);
}

/// T7 of the threat list.
#[test]
fn a_forwarded_address_counts_only_from_a_trusted_proxy() {
    let world = World::new(
        "version: 1\nidentity: {trusted_proxies: [10.0.0.0/8]}\nrules:\n  - {name: each, key: ip, limit: 5/h}\n",
    );
    let spoofs: Vec<String> = (0..100).map(|n| format!("203.0.113.{n}")).collect();
    let admitted = spoofs.iter().filter(|spoof| {
        world.passes(&Ask {
            header_lines: &[("x-forwarded-for", spoof)],
            ..ASK
        })
    });
    assert_eq!(
        admitted.count(),
        5,
        "an untrusted peer is one client whatever it claims"
    );
    let chain = |spoof: &str| format!("{spoof}, 198.51.100.7, 10.0.0.9");
    let admitted = spoofs.iter().filter(|spoof| {
        world.passes(&Ask {
            peer: Some("10.0.0.1"),
            header_lines: &[("x-forwarded-for", &chain(spoof))],
            ..ASK
        })
    });
    assert_eq!(admitted.count(), 5, "behind a proxy the client is whom the proxy saw");
}

/// T10 of the threat list.
#[test]
fn addresses_of_one_v6_network_are_one_client() {
    let world = World::new("version: 1\nrules:\n  - {name: each, key: ip, limit: 5/h}\n");
    let admitted = (0..1000)
        .filter(|n| {
            world.passes(&Ask {
                peer: Some(&format!("2001:db8::{n:x}")),
                ..ASK
            })
        })
        .count();
    assert_eq!(admitted, 5);
    assert!(world.passes(&Ask {
        peer: Some("2001:db8:0:1::1"),
        ..ASK
    }));
}

/// T10
#[test]
fn a_thousand_networks_of_a_site_share_what_a_wider_rule_gives_them() {
    let world = World::new(
        "version: 1\nrules:\n  - {name: each, key: ip, limit: 5/h}\n  - {name: site, key: ip/48, limit: 20/h}\n",
    );
    let passes = |peer: &str| {
        world.passes(&Ask {
            peer: Some(peer),
            ..ASK
        })
    };
    let admitted = (0..1000).filter(|n| passes(&format!("2001:db8:1:{n:x}::1"))).count();
    assert_eq!(admitted, 20);
    assert!(passes("2001:db8:2::1"), "another site is not touched");
    let admitted = (0..10).filter(|_| passes("192.0.2.1")).count();
    assert_eq!(admitted, 5, "an IPv4 address is its own network");
}

#[test]
fn counts_are_kept_by_route_rule_and_outcome() {
    let world = World::new(
        "version: 1\nroutes:\n  - {name: a, path: /a}\nrules:\n  - {name: each, key: ip, limit: 2/h}\n  - {name: new, key: ip, limit: 1/h, enforce: 0%}\n",
    );
    world.passing(5, &Ask { path: "/a", ..ASK });
    world.passing(3, &ASK);
    let engine = world.limiter.engine();
    let names: Vec<_> = engine.route_names().collect();
    let metrics = engine.metrics();
    let requests: Vec<_> = metrics
        .requests()
        .map(|c| {
            (
                c.route.map(|route| names[route.index()].to_owned()),
                c.outcome.as_str(),
                c.count,
            )
        })
        .collect();
    let a = || Some("a".to_owned());
    assert_eq!(
        requests,
        [
            (a(), "allow", 2),
            (a(), "deny", 3),
            (None, "allow", 0),
            (None, "deny", 3)
        ]
    );
    let rules: Vec<_> = metrics
        .rules()
        .filter(|c| c.count > 0)
        .map(|c| (c.rule, c.route.is_some(), c.outcome.as_str(), c.count))
        .collect();
    assert_eq!(
        rules,
        [
            (0, true, "allow", 2),
            (0, true, "deny", 3),
            (1, true, "shadow_allow", 1),
            (1, true, "shadow_deny", 4),
            (0, false, "deny", 3),
            (1, false, "shadow_deny", 3),
        ]
    );
    let times = metrics.decision_times();
    assert_eq!(
        times.counts.iter().sum::<u64>(),
        2,
        "the first decision of each route is timed"
    );
}

#[test]
fn a_decision_allocates_nothing() {
    let world = World::new(
        "version: 1\nidentity: {trusted_proxies: [10.0.0.0/8]}\nroutes:\n  - {name: item, path: '/items/{id}', hosts: [api.example]}\n  - {name: special, path: '/items/special', hosts: [api.example]}\n  - {name: rest, path: '/{*rest}', hosts: [api.example]}\nrules:\n  - {name: everyone, key: [], limit: 1M/s}\n  - {name: each, key: ip, limit: 1/h burst 1000}\n  - {name: tuple, key: [header.x-user, route, method, host], limit: 1/h burst 1000}\n  - {name: new, key: ip, limit: 1/h, enforce: 30%}\n",
    );
    let headers = Ask {
        header_lines: &[("x-forwarded-for", "198.51.100.7, 10.0.0.3"), ("x-user", "alice")],
        ..ASK
    }
    .headers();
    let request = |peer: [u8; 4]| Request {
        method: &Method::GET,
        host: "api.example",
        path: "/items/7",
        query: "",
        peer: Some(peer.into()),
        headers: &headers,
    };
    // The thread's stripe of counters is made with its first decision.
    let _ = world.limiter.decide(&request([10, 0, 0, 1]));
    let counted = allocation_counter::measure(|| {
        for n in 0..200 {
            // Known keys, fresh keys, refusals.
            let _ = world.limiter.decide(&request([10, 0, 0, 1]));
            let _ = world.limiter.decide(&request([192, 0, 2, n]));
        }
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn asking_by_the_library_allocates_nothing() {
    let leaky = Algorithm::LeakyBucket {
        max_wait: Duration::from_secs(1),
        free: 0,
    };
    let algorithms = [
        Algorithm::TokenBucket,
        leaky,
        Algorithm::FixedWindow { align: Align::Epoch },
        Algorithm::SlidingWindow,
        Algorithm::SlidingLog,
    ];
    let rules = ["token", "leaky", "fixed", "sliding", "log"];
    let builder = rules
        .into_iter()
        .zip(algorithms)
        .fold(Limiter::builder(), |builder, (name, algorithm)| {
            builder.rule(Rule::named(name).limit("20/min").algorithm(algorithm))
        });
    let limiter = builder
        .rule(Rule::named("streams").permits(3))
        .rule(Rule::named("tokens").limit("20/min").settles())
        .rule(
            Rule::named("passwords")
                .limit("5/min")
                .count_failures()
                .lock(Duration::from_mins(15)),
        )
        .memory(4 << 20)
        .build()
        .expect("sound rules");
    let limiter = Arc::new(limiter);
    let local = limiter.local();
    let handles = rules.map(|name| limiter.rule(name).expect("the rule"));
    // The thread's stripe of counters is made with its first decision.
    let _ = limiter.check("token", "first");
    let ask = |key: &str| {
        for (name, handle) in rules.into_iter().zip(&handles) {
            let _ = limiter.check(name, key);
            let _ = limiter.check_cost(handle, (key, 7u32), 3);
            let _ = local.check_cost(handle, (key, 8u32), 3);
            let _ = limiter.check_many(handle, [key, "other"], |_, check| {
                let _ = check.remaining();
            });
        }
        let _permits = [(); 4].map(|()| limiter.acquire("streams", key));
        let reserved = limiter.reserve("tokens", key).cost(9).take();
        let reserved = reserved.expect("the rule").granted();
        let attempt = limiter.attempt("passwords", key).expect("the rule").granted();
        let all = limiter.check_all(&[
            ("token", &key, 1),
            ("fixed", &key, 1),
            ("log", &key, 1),
            ("streams", &(), 1),
        ]);
        drop((all, attempt));
        let _ = reserved.map(|reservation| reservation.settle(4));
    };
    let counted = allocation_counter::measure(|| {
        // Fresh keys, known keys, refusals.
        for _ in 0..20 {
            ask("alice");
            ask("bob");
        }
    });
    assert_eq!(counted.count_total, 0);
}
