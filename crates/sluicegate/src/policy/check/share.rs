//! What nodes share limits by: that it is one store, that its servers fit together, and that one secret is given.

use std::collections::HashSet;
use std::num::NonZeroU32;

use super::super::checked::{ClientCertificate, Credentials, SecretSource, Share, StoreAddress, StoreTls, StoreUrl};
use super::super::findings::{Findings, Located, Spot};
use super::super::raw::{SentinelFields, ShareFields};
use super::super::scalar::{FilePath, Username, Variable, Whole};
use super::super::shape::{Field, OneOrMany};

/// `None` once a fault is noted.
pub(super) fn check(raw: Located<ShareFields>, findings: &mut Findings<'_>) -> Option<Share> {
    let Located { value: raw, spot } = raw;
    let credentials = check_credentials(raw.username, raw.password, raw.password_file, findings);
    let store = check_store(raw.redis, raw.redis_cluster, raw.sentinel, spot, findings);
    let tls = check_tls(raw.ca_file, raw.client_cert, raw.client_key, store.as_ref(), findings);
    let (mut store, spots) = store?;
    give(&credentials?, &mut store, &spots, findings);
    about_plain_passwords(&store, &spots, findings);
    Some(Share {
        store,
        tls: tls?,
        fanout: raw.fanout.given().and_then(|fanout| nodes(fanout.value)),
    })
}

/// A number of nodes, which fits and is not 0 by its shape.
pub(super) fn nodes<const MIN: u64, const MAX: u64>(count: Whole<MIN, MAX>) -> Option<NonZeroU32> {
    u32::try_from(count.0).ok().and_then(NonZeroU32::new)
}

/// Where a secret is that may stand in a variable or in a file.
pub(super) fn check_secret(
    variable: Field<Variable>,
    file: Field<FilePath>,
    findings: &mut Findings<'_>,
) -> Field<SecretSource> {
    match (variable, file) {
        (Field::Faulty, _) | (_, Field::Faulty) => Field::Faulty,
        (Field::Given(_), Field::Given(file)) => {
            findings.fault_in_name(file.spot, "it is in the environment already", "remove one of the two");
            Field::Faulty
        }
        (Field::Given(Located { value, spot }), Field::Absent) => Field::Given(Located {
            value: SecretSource::Variable(value.0),
            spot,
        }),
        (Field::Absent, Field::Given(Located { value, spot })) => Field::Given(Located {
            value: SecretSource::File(value.0),
            spot,
        }),
        (Field::Absent, Field::Absent) => Field::Absent,
    }
}

/// `None` once a fault is noted.
fn check_credentials(
    username: Field<Username>,
    password: Field<Variable>,
    password_file: Field<FilePath>,
    findings: &mut Findings<'_>,
) -> Option<Credentials> {
    let password = check_secret(password, password_file, findings);
    match (username, password) {
        (Field::Faulty, _) | (_, Field::Faulty) => None,
        (Field::Given(username), Field::Absent) => {
            findings.fault(
                username.spot,
                "has no password beside it",
                "add `password_file`, or remove the field",
            );
            None
        }
        (username, password) => Some(Credentials {
            username: username.value().map(|name| name.0),
            password: password.value(),
        }),
    }
}

/// The store with a spot for each server that it names.
type Found = (StoreAddress, Vec<Spot>);

fn check_store<const MOST: usize>(
    redis: Field<OneOrMany<StoreUrl, 1, MOST>>,
    redis_cluster: Field<OneOrMany<StoreUrl, 1, MOST>>,
    sentinel: Field<SentinelFields>,
    spot: Spot,
    findings: &mut Findings<'_>,
) -> Option<Found> {
    let given = [
        (redis.as_ref().map(|field| field.spot), "redis"),
        (redis_cluster.as_ref().map(|field| field.spot), "redis_cluster"),
        (sentinel.as_ref().map(|field| field.spot), "sentinel"),
    ];
    let mut given = given.into_iter().filter_map(|(spot, name)| Some((spot?, name)));
    if let (Some((_, first)), Some((second, _))) = (given.next(), given.next()) {
        findings.fault_in_name(
            second,
            format!("there is a store already, `{first}`"),
            "remove one of the two; several independent servers are a list in `redis`",
        );
        return None;
    }
    if redis.is_absent() && redis_cluster.is_absent() && sentinel.is_absent() {
        findings.fault(
            spot,
            "no store is named",
            "add `redis: redis://HOST:PORT`, `redis_cluster` or `sentinel`",
        );
    }
    if let Some(servers) = redis.value() {
        let (servers, spots) = check_servers(servers, findings);
        return Some((StoreAddress::Ring(servers), spots));
    }
    if let Some(servers) = redis_cluster.value() {
        let (servers, spots) = check_servers(servers, findings);
        check_as_one(&servers, &spots, "a cluster", findings);
        return Some((StoreAddress::Cluster(servers), spots));
    }
    let sentinel = sentinel.value()?;
    let (servers, spots) = check_servers(sentinel.servers.value()?, findings);
    check_as_one(&servers, &spots, "a sentinel", findings);
    let address = StoreAddress::Sentinel {
        servers,
        master: sentinel.master.value()?.0,
        credentials: Credentials::default(),
    };
    Some((address, spots))
}

fn check_servers<const MOST: usize>(
    list: OneOrMany<StoreUrl, 1, MOST>,
    findings: &mut Findings<'_>,
) -> (Vec<StoreUrl>, Vec<Spot>) {
    let mut seen = HashSet::new();
    for Located { value, spot } in &list.0 {
        if !seen.insert((&value.host, value.port, value.database)) {
            findings.fault(
                *spot,
                format!("the server {value} is listed twice"),
                "remove one of the two",
            );
        }
    }
    list.0.into_iter().map(|server| (server.value, server.spot)).unzip()
}

/// That servers which know each other are asked alike.
fn check_as_one(servers: &[StoreUrl], spots: &[Spot], what: &str, findings: &mut Findings<'_>) {
    let tls = servers.first().is_some_and(|first| first.tls);
    for (server, spot) in servers.iter().zip(spots) {
        if server.database != 0 {
            findings.fault(
                *spot,
                format!("{what} has no database {}, only 0", server.database),
                "leave the number out",
            );
        }
        if server.tls != tls {
            findings.fault(
                *spot,
                format!("\"{server}\" is asked in another way than the first"),
                "write rediss:// for all of them, or redis:// for all",
            );
        }
    }
}

/// Gives what is said for all servers to each, or to those that sentinels name.
fn give(credentials: &Credentials, store: &mut StoreAddress, spots: &[Spot], findings: &mut Findings<'_>) {
    if let StoreAddress::Sentinel { credentials: own, .. } = store {
        *own = credentials.clone();
        return;
    }
    if credentials.password.is_none() {
        return;
    }
    for (server, server_spot) in store.servers_mut().iter_mut().zip(spots) {
        if server.credentials.password.is_some() {
            findings.fault(
                *server_spot,
                "has a password of its own beside the one for all servers",
                "remove one of the two",
            );
            return;
        }
        server.credentials = credentials.clone();
    }
}

fn check_tls(
    ca_file: Field<FilePath>,
    client_cert: Field<FilePath>,
    client_key: Field<FilePath>,
    store: Option<&Found>,
    findings: &mut Findings<'_>,
) -> Option<StoreTls> {
    let is_used = store.is_none_or(|(store, _)| store.servers().iter().any(|server| server.tls));
    for field in [&ca_file, &client_cert, &client_key] {
        if let (Some(file), false) = (field.as_ref(), is_used) {
            findings.fault_in_name(
                file.spot,
                "no server is spoken to over TLS",
                "write rediss:// in the servers' URLs, or remove the field",
            );
        }
    }
    for (one, other, name) in [
        (&client_cert, &client_key, "client_key"),
        (&client_key, &client_cert, "client_cert"),
    ] {
        if let (Some(file), true) = (one.as_ref(), other.is_absent()) {
            findings.fault(
                file.spot,
                "is of no use without the other half",
                format!("add `{name}`"),
            );
        }
    }
    if matches!(ca_file, Field::Faulty) {
        return None;
    }
    let client = match (client_cert, client_key) {
        (Field::Given(certificate), Field::Given(key)) => Some(ClientCertificate {
            certificate: certificate.value.0,
            private_key: key.value.0,
        }),
        (Field::Absent, Field::Absent) => None,
        _ => return None,
    };
    Some(StoreTls {
        ca_file: ca_file.value().map(|file| file.0),
        client,
    })
}

fn about_plain_passwords(store: &StoreAddress, spots: &[Spot], findings: &mut Findings<'_>) {
    let asks_behind = matches!(store, StoreAddress::Sentinel { credentials, .. } if credentials.password.is_some());
    for (server, spot) in store.servers().iter().zip(spots) {
        let asks = asks_behind || server.credentials.password.is_some();
        if asks && !server.tls && !is_this_machine(&server.host) {
            findings.warning(
                *spot,
                "the password crosses the network for everybody to read",
                "write rediss://, or let the network itself be encrypted",
            );
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}
