//! A request's attributes: what keys, conditions and costs are made of.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sluicegate_identity::{Caller, Ja4, VouchKind};
use sluicegate_state::AnyClock;

use super::engine::{Engine, OnRoute};
use crate::address::{self, AddressKey};
use crate::body::{Pointer, Pointers, Value, Values};
use crate::claims::{self, Claim};
use crate::fingerprint::Fingerprint;
use crate::identity::Resolver;
use crate::policy::checked::Sensitivity;
use crate::request::Request;
use crate::route::PathPart;

/// One request's attributes, looked up when a rule first asks.
pub(super) struct Attributes<'a> {
    resolver: &'a Resolver,
    clock: &'a AnyClock,
    /// What a program has verified itself.
    given: &'a Caller,
    pub(super) method: &'a Method,
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    query: &'a str,
    headers: &'a HeaderMap,
    peer: Option<IpAddr>,
    pub(super) route: &'a RouteFacts,
    address: OnceCell<Option<IpAddr>>,
    cut: OnceCell<Option<AddressKey>>,
    caller: OnceCell<Caller>,
    ja4: OnceCell<Option<Ja4>>,
    fingerprint: OnceCell<Option<Fingerprint>>,
    /// `None` until the body is read.
    body: Option<(&'a Pointers, &'a Values)>,
}

/// What all requests of one route have in common.
#[derive(Debug)]
pub(super) struct RouteFacts {
    /// Its place in the policy; one behind the last for requests of no route.
    pub(super) place: usize,
    /// Empty where no route takes the request in: no route's name is.
    pub(super) name: Box<str>,
    pub(super) sensitivity: Sensitivity,
    pub(super) path_parts: Box<[PathPart]>,
}

impl<'a> Attributes<'a> {
    #[inline]
    pub(super) fn of(request: &Request<'a>, given: &'a Caller, engine: &'a Engine, on_route: &'a OnRoute) -> Self {
        Self {
            resolver: &engine.resolver,
            clock: &engine.shared.clock,
            given,
            method: request.method,
            host: request.host,
            path: request.path,
            query: request.query,
            headers: request.headers,
            peer: request.peer,
            route: &on_route.facts,
            address: OnceCell::new(),
            cut: OnceCell::new(),
            caller: OnceCell::new(),
            ja4: OnceCell::new(),
            fingerprint: OnceCell::new(),
            body: None,
        }
    }

    /// The client's address, with IPv6 cut to so many bits; `None` where there is none.
    pub(super) fn network(&self, v6_prefix: u8) -> Option<AddressKey> {
        let address = self.whole_address()?;
        Some(address::network(address, v6_prefix, &self.resolver.identity))
    }

    /// The client's address, cut to its prefix; `None` where there is none.
    #[inline]
    pub(super) fn address(&self) -> Option<AddressKey> {
        *self.cut.get_or_init(|| {
            let address = self.whole_address();
            address.map(|address| address::cut(address, &self.resolver.identity))
        })
    }

    /// The client's whole address.
    #[inline]
    pub(super) fn whole_address(&self) -> Option<IpAddr> {
        *self
            .address
            .get_or_init(|| address::find(&self.resolver.identity, self.peer, self.headers))
    }

    /// Who calls, as far as that can be verified.
    pub(super) fn caller(&self) -> &Caller {
        self.caller
            .get_or_init(|| self.resolver.resolve(self.given, self.headers, self.clock))
    }

    /// What the client's certificate says under that name; `None` where it has shown none, or it says nothing of that.
    pub(super) fn certificate(&self, claim: &str) -> Option<&str> {
        self.caller().vouched(VouchKind::Certificate)?.claim(claim)
    }

    /// What kind of program shook hands with us, or with the trusted proxy that says so.
    pub(super) fn ja4(&self) -> Option<Ja4> {
        *self
            .ja4
            .get_or_init(|| self.resolver.ja4(self.given, self.peer, self.headers))
    }

    /// The same with the order of the header lines; `None` without the former.
    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        *self
            .fingerprint
            .get_or_init(|| Some(Fingerprint::of(self.ja4()?, self.headers)))
    }

    /// A header's one value. Two lines are two claims, of which neither is believed.
    pub(super) fn header(&self, name: &HeaderName) -> Claim<&'a HeaderValue> {
        let mut lines = self.headers.get_all(name).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Claim::Absent,
            (Some(value), None) => Claim::One(value),
            (Some(_), Some(_)) => Claim::Several,
        }
    }

    /// A cookie's one value.
    pub(super) fn cookie(&self, name: &str) -> Claim<&'a [u8]> {
        claims::cookie(self.headers, name)
    }

    /// The one value of a parameter of the query, decoded.
    pub(super) fn parameter(&self, name: &str) -> Claim<Cow<'a, [u8]>> {
        claims::parameter(self.query, name)
    }

    /// What a parameter of the route's path stands for; `None` where the route has none of that name.
    pub(super) fn path_part(&self, name: &str) -> Option<&'a str> {
        let part = self.route.path_parts.iter().find(|part| &*part.name == name)?;
        part.of(self.path)
    }

    /// A member of the body; `None` where it has none of that name, or there is no body.
    pub(super) fn member(&self, pointer: &Pointer) -> Option<Value<'a>> {
        let (pointers, values) = self.body?;
        let place = pointers.iter().position(|other| other == pointer)?;
        values.get(place)
    }
}

/// What the second phase needs of a request whose head is gone by then.
#[derive(Debug)]
pub(super) struct Kept {
    method: Method,
    host: Box<str>,
    path: Box<str>,
    query: Box<str>,
    /// Those that the second phase's rules read.
    headers: HeaderMap,
    address: Option<IpAddr>,
    caller: Caller,
    ja4: Option<Ja4>,
    fingerprint: Option<Fingerprint>,
}

impl Kept {
    /// Keeps those of `headers` that are named.
    pub(super) fn new<'n>(attributes: &Attributes<'_>, headers: impl Iterator<Item = &'n HeaderName>) -> Self {
        let mut kept = HeaderMap::new();
        for name in headers {
            if !kept.contains_key(name) {
                for value in attributes.headers.get_all(name) {
                    kept.append(name.clone(), value.clone());
                }
            }
        }
        Self {
            method: attributes.method.clone(),
            host: attributes.host.into(),
            path: attributes.path.into(),
            query: attributes.query.into(),
            headers: kept,
            address: attributes.whole_address(),
            caller: attributes.caller().clone(),
            ja4: attributes.ja4(),
            fingerprint: attributes.fingerprint(),
        }
    }

    /// The attributes again, now with the body's members; `None` where the request had no body.
    pub(super) fn attributes<'a>(
        &'a self,
        engine: &'a Engine,
        on_route: &'a OnRoute,
        body: Option<(&'a Pointers, &'a Values)>,
    ) -> Attributes<'a> {
        Attributes {
            resolver: &engine.resolver,
            clock: &engine.shared.clock,
            given: &self.caller,
            method: &self.method,
            host: &self.host,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            peer: None,
            route: &on_route.facts,
            address: OnceCell::from(self.address),
            cut: OnceCell::new(),
            caller: OnceCell::from(self.caller.clone()),
            ja4: OnceCell::from(self.ja4),
            fingerprint: OnceCell::from(self.fingerprint),
            body,
        }
    }
}
