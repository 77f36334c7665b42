//! The gateway: that its listeners do not collide, and the defaults of what is not said.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::HeaderName;

use super::super::checked::{
    Admin, Caps, ClientAuth, ClientAuthorities, Deadlines, Gateway, Listen, ListenTls, Server, ServerCertificate,
    TlsVersion, Upstream,
};
use super::super::findings::{Findings, Located};
use super::super::raw::{
    CapsFields, DeadlinesFields, GatewayFields, ListenFields, ServerFields, TlsFields, UpstreamFields,
};
use super::super::scalar::{FilePath, Span};
use super::super::shape::Field;

/// The names of the upstreams, in file order; `None` where the file has no gateway, or one whose upstreams are faulty.
pub(super) fn names(raw: Option<&Located<GatewayFields>>) -> Option<Vec<String>> {
    let upstreams = raw?.value.upstreams.as_ref()?;
    Some(upstreams.value.0.iter().map(|(name, _)| name.clone()).collect())
}

/// `None` once a fault is noted.
pub(super) fn check(raw: GatewayFields, admin: &Admin, trust: Trust, findings: &mut Findings<'_>) -> Option<Gateway> {
    let listen = raw
        .listen
        .value()
        .map(|list| check_listen(list.0, admin, trust, findings));
    let listening: Vec<SocketAddr> = listen.iter().flatten().map(|listen| listen.address).collect();
    let upstreams = raw.upstreams.value().map(|named| {
        let check = |(name, fields): (String, Field<UpstreamFields>)| {
            let servers = fields.value().and_then(|fields| fields.servers.value());
            Upstream {
                name,
                servers: servers
                    .map(|list| check_servers(list.0, &listening, findings))
                    .unwrap_or_default(),
            }
        };
        named.0.into_iter().map(check).collect()
    });
    Some(Gateway {
        // Whole<1, 1024> fits in a word of any size.
        threads: raw.threads.value().and_then(|threads| usize::try_from(threads.0).ok()),
        deadlines: raw.deadlines.value().map_or_else(Deadlines::default, check_deadlines),
        caps: raw.caps.value().map_or_else(Caps::default, check_caps),
        shadow_header: check_shadow_header(raw.shadow_header, findings),
        method_override: raw.method_override.value().unwrap_or_default(),
        listen: listen?,
        upstreams: upstreams?,
    })
}

/// Whether the policy trusts any proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    Somebody,
    Nobody,
}

fn check_listen(
    list: Vec<Located<ListenFields>>,
    admin: &Admin,
    trust: Trust,
    findings: &mut Findings<'_>,
) -> Vec<Listen> {
    let mut taken: HashSet<SocketAddr> = HashSet::new();
    let mut listen = Vec::new();
    for Located { value, spot } in list {
        let Some(address) = value.address.value() else { continue };
        // Port 0 is another port each time.
        let is_free = address.port() == 0 || taken.insert(address);
        if !is_free {
            findings.fault(spot, format!("\"{address}\" is listed twice"), "remove one of the two");
        } else if address.port() != 0 && admin.listen == Some(address) {
            findings.fault(
                spot,
                format!("\"{address}\" is where metrics and health are served"),
                "choose another port here, or another `admin.listen`",
            );
        }
        // A fault in it keeps the file from being a policy, whatever stands here.
        let tls = value.tls.value().and_then(|tls| check_tls(tls, findings));
        let proxy_protocol = value.proxy_protocol.given();
        if let Some(field) = &proxy_protocol
            && field.value.0
            && trust == Trust::Nobody
        {
            findings.fault(
                field.spot,
                "lets nobody in: the header is read from trusted proxies alone, and none is trusted",
                "name the proxies' networks in `identity.trusted_proxies`",
            );
        }
        listen.push(Listen {
            address,
            tls,
            proxy_protocol: proxy_protocol.is_some_and(|field| field.value.0),
            http2: value.http2.value().is_none_or(|truth| truth.0),
        });
    }
    listen
}

/// `None` once a fault is noted.
fn check_tls(raw: TlsFields, findings: &mut Findings<'_>) -> Option<ListenTls> {
    if let (Some(auth), true) = (raw.client_auth.as_ref(), raw.client_ca.is_absent()) {
        findings.fault_in_name(
            auth.spot,
            "nobody says by whom a client's certificate is judged",
            "add `client_ca` with a file of authorities, or remove the field",
        );
    }
    let pair = |certificate: Field<FilePath>, private_key: Field<FilePath>| {
        Some(ServerCertificate {
            certificate: certificate.value()?.0,
            private_key: private_key.value()?.0,
        })
    };
    let mut seen: HashSet<_> = raw
        .certificate
        .as_ref()
        .map(|file| file.value.0.clone())
        .into_iter()
        .collect();
    let more = raw.more.value().map_or_else(Vec::new, |list| list.0);
    for file in more.iter().filter_map(|fields| fields.value.certificate.as_ref()) {
        if !seen.insert(file.value.0.clone()) {
            findings.fault(file.spot, "is listed twice", "remove one of the two");
        }
    }
    let more = more
        .into_iter()
        .map(|fields| pair(fields.value.certificate, fields.value.private_key));
    let auth = raw.client_auth.value().unwrap_or(ClientAuth::Require);
    Some(ListenTls {
        certificates: std::iter::once(pair(raw.certificate, raw.private_key))
            .chain(more)
            .collect::<Option<_>>()?,
        clients: raw.client_ca.value().map(|file| ClientAuthorities {
            authorities: file.0,
            auth,
        }),
        min_version: raw.min_version.value().unwrap_or(TlsVersion::Tls12),
    })
}

fn check_servers(
    list: Vec<Located<ServerFields>>,
    listening: &[SocketAddr],
    findings: &mut Findings<'_>,
) -> Vec<Server> {
    let mut seen = HashSet::new();
    let mut servers = Vec::new();
    for Located { value, spot } in list {
        let Some(authority) = value.address.value() else {
            continue;
        };
        if !seen.insert(authority.clone()) {
            let remedy = "remove one of the two; to give it a larger share write {address: …, weight: 2}";
            findings.fault(spot, format!("the server {authority} is listed twice"), remedy);
        }
        if listening.iter().any(|listen| is_reached_by(*listen, &authority)) {
            findings.fault(
                spot,
                format!("{authority} is this gateway itself: every request would go round for ever"),
                "name the server that answers the requests",
            );
        }
        // Whole<1, 1000> fits in 16 bits.
        let weight = value
            .weight
            .value()
            .and_then(|weight| u16::try_from(weight.0).ok())
            .unwrap_or(1);
        servers.push(Server { authority, weight });
    }
    servers
}

/// Whether a connection to `authority` from this machine would surely arrive at `listen`.
fn is_reached_by(listen: SocketAddr, authority: &http::uri::Authority) -> bool {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let host = if host.eq_ignore_ascii_case("localhost") {
        "127.0.0.1"
    } else {
        host
    };
    let Ok(address) = host.parse::<IpAddr>() else {
        return false;
    };
    let same_host = listen.ip() == address || (listen.ip().is_unspecified() && address.is_loopback());
    same_host && authority.port_u16() == Some(listen.port())
}

fn check_deadlines(raw: DeadlinesFields) -> Deadlines {
    let default = Deadlines::default();
    Deadlines {
        request_head: or(raw.request_head, default.request_head),
        request_body_idle: or(raw.request_body_idle, default.request_body_idle),
        connect: or(raw.connect, default.connect),
        response_head: or(raw.response_head, default.response_head),
        response_body_idle: or(raw.response_body_idle, default.response_body_idle),
        write_stall: or(raw.write_stall, default.write_stall),
        keep_alive: or(raw.keep_alive, default.keep_alive),
        upgraded_idle: or(raw.upgraded_idle, default.upgraded_idle),
        upstream_idle: or(raw.upstream_idle, default.upstream_idle),
        drain: or(raw.drain, default.drain),
    }
}

fn or<const MIN: u64, const MAX: u64>(field: Field<Span<MIN, MAX>>, default: Duration) -> Duration {
    field.value().map_or(default, |span| span.0)
}

/// A header of ours must not be one that means something to others.
fn check_shadow_header(raw: Field<HeaderName>, findings: &mut Findings<'_>) -> Option<HeaderName> {
    let Located { value, spot } = raw.given()?;
    if !value.as_str().starts_with("x-") {
        findings.fault(
            spot,
            format!("\"{value}\" may mean something to others"),
            "write a header of your own that begins with x-, such as x-sluicegate-shadow",
        );
    }
    Some(value)
}

fn check_caps(raw: CapsFields) -> Caps {
    let default = Caps::default();
    // The shapes' own bounds are below 2^32, so that no cast here loses anything.
    let word = |number: Option<u64>, default| {
        number
            .and_then(|number| usize::try_from(number).ok())
            .unwrap_or(default)
    };
    Caps {
        head_bytes: word(raw.head_bytes.value().map(|size| size.0), default.head_bytes),
        headers: word(raw.headers.value().map(|count| count.0), default.headers),
        body_bytes: raw.body_bytes.value().map_or(default.body_bytes, |size| size.0),
        connections: word(raw.connections.value().map(|count| count.0), default.connections),
        idle_per_server: word(
            raw.idle_per_server.value().map(|count| count.0),
            default.idle_per_server,
        ),
    }
}
