//! What the fields mean, and what is meant where they are left out.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::Path;
use std::time::Duration;

use http::{HeaderName, Method};
use sluicegate::policy::Policy;
use sluicegate::policy::checked::{
    Admin, Algorithm, Align, Caps, ClientAuth, CostSource, CostSpec, Count, Deadlines, Division, EncodedSlash, Enforce,
    FailedWhen, Failures, ForwardedHeader, Gateway, Identity, KeyPart, MethodOverride, OnMissingKey, OnStoreLoss,
    OnSuccess, Overflow, Paths, Pointer, Rule, RuleLimit, SecretSource, SettleSource, Sharing, Split, State, Step,
    StoreAddress, TlsVersion,
};

use crate::{POLICY_DOC, examples, policy};

#[test]
fn every_field_of_the_documented_policy_means_what_it_says() {
    let policy = policy(examples(POLICY_DOC)[1]);
    the_documented_gateway_means_what_it_says(policy.gateway.as_ref().expect("the example has a gateway"));

    assert_eq!(policy.state.memory, 64 << 20);
    assert_eq!(policy.state.snapshot_every, Some(Duration::from_secs(30)));
    assert_eq!(policy.state.waiting, 2_000);
    let split = Split {
        small: 40,
        wide: 30,
        logs: 10,
        leases: 20,
    };
    assert_eq!(policy.state.split, Some(split));
    assert_eq!(policy.state.directory.as_deref(), Some(Path::new("./state")));
    the_documented_store_means_what_it_says(&policy.state);
    let networks: Vec<String> = policy
        .identity
        .trusted_proxies
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(networks, ["10.0.0.0/8", "2001:db8:1::/48"]);
    assert_eq!(policy.identity.forwarded_header, ForwardedHeader::XForwardedFor);
    assert_eq!((policy.identity.v4_prefix, policy.identity.v6_prefix), (32, 64));

    assert_eq!(policy.identity.body_bytes, 128 << 10);
    let paths = Paths {
        encoded_slash: EncodedSlash::Keep,
        ..Paths::default()
    };
    assert_eq!(policy.paths, paths);

    let [login, chat, item, search, rest] = policy.routes.as_slice() else {
        unreachable!("five routes")
    };
    assert_eq!((chat.path.as_str(), chat.upstream), ("/v1/chat/completions", Some(0)));
    assert_eq!(
        (login.name.as_str(), login.methods.as_slice(), login.upstream),
        ("login", &[Method::POST][..], Some(0))
    );
    assert_eq!(
        (item.path.as_str(), item.methods.len(), item.hosts.len()),
        ("/items/{id}", 0, 0)
    );
    assert_eq!(
        (search.hosts.as_slice(), search.upstream),
        (&["search.example.com".to_owned()][..], Some(1))
    );
    assert_eq!((rest.path.as_str(), rest.upstream), ("/{*rest}", Some(0)));

    let [everyone, per_client, login, per_api_key, later @ ..] = policy.rules.as_slice() else {
        unreachable!("four rules and more")
    };
    the_documented_algorithms_and_costs_mean_what_they_say(later);
    assert_eq!(
        (everyone.key.len(), everyone.limit.to_string()),
        (0, "10000/s burst 20000".to_owned())
    );
    assert_eq!(
        everyone.rationale.as_deref(),
        Some("the load test of October saturated at 14k/s")
    );
    assert_eq!(
        (everyone.sharing, everyone.fanout, everyone.on_store_loss),
        (Sharing::Auto, NonZeroU32::new(20), OnStoreLoss::Closed)
    );
    assert_eq!(
        (login.sharing, login.fanout, login.on_store_loss),
        (Sharing::Leased, None, OnStoreLoss::Local)
    );
    assert_eq!(everyone.owner.as_deref(), Some("platform team"));
    assert_eq!(everyone.review_by.as_deref(), Some("2027-03-01"));
    assert_eq!((per_client.routes.len(), per_client.enforce), (0, Enforce::ALL));
    let ten_times = RuleLimit::Rate("10000/min burst 1000".parse().expect("a limit"));
    assert_eq!(
        (&per_client.key[..], &per_client.overflow),
        (&[KeyPart::Ip][..], &Overflow::Shared(ten_times))
    );
    assert_eq!(
        (login.routes.as_slice(), &login.overflow),
        (&[0][..], &Overflow::Closed)
    );
    assert_eq!(login.description.as_deref(), Some("slows down guessing"));
    assert_eq!(per_api_key.routes, [2, 3]);
    assert_eq!(per_api_key.key, [KeyPart::Header(HeaderName::from_static("x-api-key"))]);
    assert_eq!(per_api_key.on_missing_key, OnMissingKey::Ip);
    assert_eq!(Some(per_api_key.enforce), Enforce::percent(10));
}

fn the_documented_store_means_what_it_says(state: &State) {
    let file = |path: &str| SecretSource::File(path.into());
    assert_eq!(state.secret, Some(file("/run/secrets/sluicegate")));
    let share = state.share.as_ref().expect("the example shares its limits");
    let StoreAddress::Ring(servers) = &share.store else {
        unreachable!("independent servers")
    };
    let shown: Vec<String> = servers.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "rediss://gate@redis-a.internal:6379",
            "rediss://gate@redis-b.internal:6379"
        ]
    );
    for server in servers {
        assert_eq!(server.credentials.password, Some(file("/run/secrets/redis")));
    }
    assert_eq!(share.fanout, None);
    assert_eq!(share.tls.ca_file.as_deref(), Some(Path::new("ca.pem")));
    assert_eq!(share.tls.client, None);
}

fn the_documented_gateway_means_what_it_says(gateway: &Gateway) {
    assert_eq!(
        gateway
            .listen
            .iter()
            .map(|listen| (listen.address.to_string(), listen.proxy_protocol))
            .collect::<Vec<_>>(),
        [("0.0.0.0:8080".to_owned(), false), ("10.0.0.1:8081".to_owned(), true)]
    );
    assert_eq!(gateway.method_override, MethodOverride::Honour);
    assert_eq!(gateway.threads, Some(2));
    let upstreams = gateway.upstreams.iter().map(|upstream| {
        let servers = upstream
            .servers
            .iter()
            .map(|server| (server.authority.as_str(), server.weight));
        (upstream.name.as_str(), servers.collect::<Vec<_>>())
    });
    let expected = [
        ("users", vec![("127.0.0.1:9001", 1), ("127.0.0.1:9002", 3)]),
        ("search", vec![("search.internal:8080", 1)]),
    ];
    assert_eq!(upstreams.collect::<Vec<_>>(), expected);
    let deadlines = Deadlines {
        connect: Duration::from_millis(500),
        response_head: Duration::from_secs(20),
        ..Deadlines::default()
    };
    assert_eq!(gateway.deadlines, deadlines);
    assert_eq!(
        gateway.caps,
        Caps {
            body_bytes: Some(10 << 20),
            connections: 5_000,
            ..Caps::default()
        }
    );
}

fn the_documented_algorithms_and_costs_mean_what_they_say(rules: &[Rule]) {
    let pointer = |text| Pointer::parse(text).expect("a pointer");
    let [failures, tokens, streams, pace, searches, items, daily] = rules else {
        unreachable!("seven rules")
    };
    let username = KeyPart::Body {
        pointer: pointer("/username"),
        trim: true,
        lowercase: true,
    };
    assert_eq!(failures.key, [username]);
    let counted = Failures {
        failed_when: FailedWhen {
            statuses: vec![401, 403],
            members: vec![pointer("/error")],
            headers: Vec::new(),
        },
        on_success: OnSuccess::Clear,
    };
    assert_eq!(failures.count, Count::Failures(counted));
    assert_eq!(failures.exceed, [Step::Lock(Duration::from_mins(15))]);
    assert!(failures.holds() && failures.needs_settling_cell() && failures.reads_body());

    let cost = CostSpec {
        reserve: CostSource::Body(pointer("/max_tokens")),
        default: 500,
        max: Some(8_000),
        settle: Some(SettleSource::Body(pointer("/usage/total_tokens"))),
    };
    assert_eq!(tokens.cost, cost);
    assert_eq!(
        tokens.request_members().map(Pointer::as_str).collect::<Vec<_>>(),
        ["/max_tokens"]
    );
    assert_eq!(
        tokens.response_members().map(Pointer::as_str).collect::<Vec<_>>(),
        ["/usage/total_tokens"]
    );

    let permits = |count| RuleLimit::AtOnce(NonZeroU64::new(count).expect("not zero"));
    assert_eq!(
        (streams.algorithm, streams.limit),
        (Algorithm::Concurrency, permits(20))
    );
    assert_eq!(streams.overflow, Overflow::Shared(permits(200)));
    assert!(streams.holds() && !streams.settles() && !streams.reads_body());

    let queue = Algorithm::LeakyBucket {
        max_wait: Duration::from_secs(2),
        free: 10,
    };
    assert_eq!((pace.algorithm, pace.charge_refused), (queue, true));
    // A fifth of what the file says.
    assert_eq!(pace.limit.to_string(), "50/s burst 100");
    assert_eq!((pace.sharing, pace.fanout), (Sharing::Local, NonZeroU32::new(5)));
    assert!(!pace.holds());

    assert_eq!((searches.bucket_name(), items.bucket_name()), ("reads", "reads"));
    assert_eq!(
        (&searches.cost, &items.cost),
        (&CostSpec::fixed(5), &CostSpec::fixed(1))
    );
    // One bucket has one overflow: the first rule's, also where it follows from its burst.
    assert_eq!(items.overflow, searches.overflow);

    assert_eq!(daily.algorithm, Algorithm::FixedWindow { align: Align::Epoch });
    assert_eq!(daily.limit.to_string(), "20000/d");
    assert_eq!(
        (daily.bucket_name(), daily.cost.clone()),
        ("daily", CostSpec::default())
    );
    assert_eq!((&daily.count, daily.exceed.len()), (&Count::Requests, 0));
}

#[test]
fn a_success_clears_accounts_and_returns_what_it_took_elsewhere() {
    let on_success = |fields: &str| {
        let text = format!("version: 1\nrules: [{{ name: a, limit: 5/h, count: failures, {fields} }}]\n");
        match policy(&text).rules.remove(0).count {
            Count::Failures(failures) => failures.on_success,
            Count::Requests => unreachable!("it counts failures"),
        }
    };
    for (fields, expected) in [
        ("key: body./username", OnSuccess::Clear),
        ("key: [body./tenant, body./username]", OnSuccess::Clear),
        ("key: [ip, body./username]", OnSuccess::Return),
        ("key: ip", OnSuccess::Return),
        ("key: header.x-user", OnSuccess::Return),
        ("key: []", OnSuccess::Return),
        ("key: ip, on_success: clear", OnSuccess::Clear),
        ("key: body./username, on_success: return", OnSuccess::Return),
    ] {
        assert_eq!(on_success(fields), expected, "{fields}");
    }
}

#[test]
fn the_overflow_of_a_log_is_a_token_bucket_of_any_length() {
    let text = "version: 1\nrules:\n  - { name: a, key: ip, limit: 1000/h, algorithm: sliding_log }\n  \
                - { name: b, key: ip, limit: 9/h, algorithm: sliding_log, overflow: 5k/h burst 10 }\n";
    let overflows = policy(text).rules.into_iter().map(|rule| match rule.overflow {
        Overflow::Shared(limit) => limit.to_string(),
        Overflow::Closed => "closed".to_owned(),
    });
    assert_eq!(overflows.collect::<Vec<_>>(), ["10000/h", "5000/h burst 10"]);
}

#[test]
fn the_same_member_read_by_many_rules_is_read_once() {
    let rules = (0..16).map(|number| {
        let on = if number % 2 == 0 { "" } else { ", routes: r" };
        format!(
            "  - {{ name: r{number}, key: body./m{}, limit: 9/s{on} }}\n",
            number % 4
        )
    });
    let rules = rules.collect::<Vec<_>>().concat();
    let text = format!("version: 1\nroutes: [{{ name: r, path: /r }}]\nrules:\n{rules}");
    assert_eq!(policy(&text).rules.len(), 16);
}

#[test]
fn memory_is_divided_by_what_the_rules_need() {
    let split = |rules: &[&str]| {
        let rules = rules
            .iter()
            .enumerate()
            .map(|(number, fields)| format!("  - {{ name: r{number}, {fields} }}\n"));
        let rules = rules.collect::<Vec<_>>().concat();
        let text = format!("version: 1\nstate: {{ memory: 160MiB }}\nrules:\n{rules}");
        let policy = policy(&text);
        let Division {
            small,
            wide,
            logs,
            leases,
        } = policy.state.divide(&policy.rules);
        assert!(leases == 0 && small + wide + logs <= policy.state.memory);
        [small, wide, logs].map(|bytes| bytes >> 20)
    };
    let bucket = "key: ip, limit: 1/s";
    let window = "key: ip, limit: 1/s, algorithm: sliding_window";
    let log = "key: ip, limit: 1/s, algorithm: sliding_log";
    let permits = "key: ip, limit: 1, algorithm: concurrency";
    let failures = "key: ip, limit: 1/s, count: failures";
    assert_eq!(split(&[bucket]), [155, 2, 2]);
    assert_eq!(split(&[bucket, permits]), [155, 2, 2]);
    assert_eq!(split(&[window]), [2, 155, 2]);
    assert_eq!(split(&[failures]), [2, 155, 2]);
    assert_eq!(split(&[bucket, window]), [78, 78, 2]);
    assert_eq!(split(&[log]), [2, 105, 52]);
    assert_eq!(split(&[bucket, log]), [64, 64, 32]);
    // One cell outside of the tables needs no room in them.
    assert_eq!(split(&["key: [], limit: 1/s, algorithm: fixed_window"]), [155, 2, 2]);
    // One rule that settles makes its bucket settle, and with it the other's cells.
    let shared = "key: ip, limit: 9/s, bucket: b, cost: { reserve: 1, settle: response.header.x-cost }, routes: a";
    let text = format!(
        "version: 1\nstate: {{ memory: 160MiB }}\nroutes: [{{ name: a, path: /a }}, {{ name: b, path: /b }}]\n\
         rules:\n  - {{ name: a, {shared} }}\n  - {{ name: b, key: ip, limit: 9/s, bucket: b, routes: b }}\n"
    );
    let both = policy(&text);
    assert_eq!(both.state.divide(&both.rules).wide >> 20, 155);
    let said = policy(
        "version: 1\nstate: { memory: 100MiB, split: { small: 20%, wide: 70%, logs: 10% } }\nrules:\n  - { name: a, key: ip, limit: 1/s }\n",
    );
    let Division { small, wide, logs, .. } = said.state.divide(&said.rules);
    assert_eq!([small, wide, logs].map(|bytes| (bytes + (1 << 19)) >> 20), [20, 70, 10]);
}

#[test]
fn what_is_left_out_has_its_documented_default() {
    let policy = policy("version: 1\nrules: [{ name: a, key: [], limit: 1/s }]\n");
    assert_eq!(policy.state.snapshot_every, None);
    assert_eq!(policy.rules[0].algorithm, Algorithm::TokenBucket);
    assert!(policy.gateway.is_none() && policy.routes.is_empty());
    assert_eq!(policy.admin.listen, Admin::default().listen);
    assert_eq!(policy.state.memory, State::default().memory);
    assert_eq!(policy.state.directory, None);
    assert_eq!(policy.identity.trusted_proxies, Identity::default().trusted_proxies);
}

#[test]
fn a_listener_speaks_tls_where_it_says_so_by_files_beside_the_policy() {
    let text = "version: 1\ngateway:\n  listen:\n    - 0.0.0.0:80\n    - { address: 0.0.0.0:443, tls: { certificate: c.pem, private_key: /k.pem } }\n    \
                - { address: 0.0.0.0:444, tls: { certificate: c, private_key: k, more: { certificate: d, private_key: l }, client_ca: a.pem, \
                client_auth: request, min_version: tls1.3 } }\n  upstreams: { api: { servers: a:1 } }\n";
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("policy.yaml");
    std::fs::write(&file, text).expect("a file");
    let (policy, _) = Policy::load(&file).expect("no faults");
    let [plain, tls, asking] = &policy.gateway.as_ref().expect("a gateway").listen[..] else {
        unreachable!("three listeners")
    };
    assert_eq!(plain.tls, None);
    let tls = tls.tls.as_ref().expect("TLS");
    assert_eq!(tls.certificates[0].certificate, folder.path().join("c.pem"));
    assert_eq!(tls.certificates[0].private_key, Path::new("/k.pem"));
    assert_eq!((&tls.clients, tls.min_version), (&None, TlsVersion::Tls12));
    let asking = asking.tls.as_ref().expect("TLS");
    assert_eq!((asking.certificates.len(), asking.min_version), (2, TlsVersion::Tls13));
    let clients = asking.clients.as_ref().expect("clients are asked");
    assert_eq!(
        (clients.authorities.clone(), clients.auth),
        (folder.path().join("a.pem"), ClientAuth::Request)
    );
}

#[test]
fn a_gateway_with_one_upstream_and_no_routes_passes_everything_to_it() {
    let text = "version: 1\ngateway: { listen: 0.0.0.0:80, upstreams: { api: { servers: a:1 } } }\n\
                rules: [{ name: a, key: ip, limit: 1/s, routes: all }]\n";
    let policy = policy(text);
    let [route] = policy.routes.as_slice() else {
        unreachable!("one route")
    };
    assert_eq!(
        (route.name.as_str(), route.path.as_str(), route.upstream),
        ("all", "/{*rest}", Some(0))
    );
    assert_eq!(policy.rules[0].routes, [0]);
}

#[test]
fn spellings_that_mean_the_same_are_read_the_same() {
    let text = "version: 1\nadmin: { listen: off }\nroutes:\n  - { name: a, path: /, hosts: [Example.COM., \"[2001:DB8::1]\"] }\n\
                rules:\n  - { name: a, key: &key [ip, header.X-Api-Key], limit: 1/s }\n  - { name: b, key: *key, limit: 1/s }\n";
    let policy = policy(text);
    assert_eq!(policy.admin.listen, None);
    assert_eq!(policy.routes[0].hosts, ["example.com", "[2001:db8::1]"]);
    assert_eq!(
        policy.rules[0].key,
        [KeyPart::Ip, KeyPart::Header(HeaderName::from_static("x-api-key"))]
    );
    assert_eq!(policy.rules[0].key, policy.rules[1].key);
}

#[test]
fn sixteen_rules_may_meet_and_routes_keep_the_others_apart() {
    let rules = |prefix: &str, more: &str| {
        let rule = |number| format!("  - {{ name: {prefix}{number}, key: ip, limit: 1/s{more} }}\n");
        (0..8).map(rule).collect::<Vec<_>>().concat()
    };
    let text = format!(
        "version: 1\nroutes: [{{ name: a, path: /a }}, {{ name: b, path: /b }}]\nrules:\n{}{}{}",
        rules("a", ", routes: a"),
        rules("b", ", routes: b"),
        rules("all", ""),
    );
    assert_eq!(policy(&text).rules.len(), 24);
    let text = format!("{text}  - {{ name: more, key: ip, limit: 1/s, routes: b }}\n");
    let faults = Policy::parse("policy.yaml", &text).expect_err("seventeen for b");
    assert!(
        faults.to_string().contains("requests of the route \"b\" meet 17 rules"),
        "{faults}"
    );
}

#[test]
fn routes_that_one_tells_apart_do_not_tie() {
    policy(
        "version: 1\nroutes:\n\
         - { name: a, path: \"/x/{id}\" }\n\
         - { name: b, path: \"/x/{id}\", methods: GET }\n\
         - { name: c, path: \"/x/{id}\", methods: HEAD }\n\
         - { name: d, path: \"/x/{id}\", hosts: a.example }\n\
         - { name: e, path: \"/x/{id}\", hosts: \"*.example\" }\n\
         - { name: f, path: \"/x/special\" }\n\
         - { name: g, path: \"/x/{id}/{*rest}\" }\n\
         - { name: h, path: \"/{*rest}\" }\n\
         - { name: i, path: / }\n",
    );
}
