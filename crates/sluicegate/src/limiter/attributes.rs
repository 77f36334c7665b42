//! A request's attributes: what keys and costs are made of.

use std::cell::OnceCell;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sluicegate_identity::{Caller, Ja4, VouchKind};
use sluicegate_state::AnyClock;

use super::engine::Engine;
use crate::address::{self, AddressKey};
use crate::body::{Pointer, Pointers, Value, Values};
use crate::fingerprint::Fingerprint;
use crate::identity::Resolver;
use crate::request::Request;

/// One request's attributes, looked up when a rule first asks.
pub(super) struct Attributes<'a> {
    resolver: &'a Resolver,
    clock: &'a AnyClock,
    /// What a program has verified itself.
    given: &'a Caller,
    pub(super) method: &'a Method,
    pub(super) host: &'a str,
    headers: &'a HeaderMap,
    peer: Option<IpAddr>,
    /// Empty where no route takes the request in: no route's name is.
    pub(super) route: &'a str,
    address: OnceCell<Option<AddressKey>>,
    caller: OnceCell<Caller>,
    ja4: OnceCell<Option<Ja4>>,
    fingerprint: OnceCell<Option<Fingerprint>>,
    /// `None` until the body is read.
    body: Option<(&'a Pointers, &'a Values)>,
}

impl<'a> Attributes<'a> {
    pub(super) fn of(request: &Request<'a>, given: &'a Caller, engine: &'a Engine, route: &'a str) -> Self {
        Self {
            resolver: &engine.resolver,
            clock: &engine.shared.clock,
            given,
            method: request.method,
            host: request.host,
            headers: request.headers,
            peer: request.peer,
            route,
            address: OnceCell::new(),
            caller: OnceCell::new(),
            ja4: OnceCell::new(),
            fingerprint: OnceCell::new(),
            body: None,
        }
    }

    /// The client's address, cut to its prefix; `None` where there is none.
    pub(super) fn address(&self) -> Option<AddressKey> {
        *self.address.get_or_init(|| {
            let identity = &self.resolver.identity;
            address::find(identity, self.peer, self.headers).map(|address| address::cut(address, identity))
        })
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

    /// A member of the body; `None` where it has none of that name, or there is no body.
    pub(super) fn member(&self, pointer: &Pointer) -> Option<Value<'a>> {
        let (pointers, values) = self.body?;
        let place = pointers.iter().position(|other| other == pointer)?;
        values.get(place)
    }
}

/// What a request says in a header that should stand there once.
pub(super) enum Claim<T> {
    Absent,
    One(T),
    Several,
}

/// What the second phase needs of a request whose head is gone by then.
#[derive(Debug)]
pub(super) struct Kept {
    method: Method,
    host: Box<str>,
    /// Those that the second phase's rules read.
    headers: HeaderMap,
    address: Option<AddressKey>,
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
            headers: kept,
            address: attributes.address(),
            caller: attributes.caller().clone(),
            ja4: attributes.ja4(),
            fingerprint: attributes.fingerprint(),
        }
    }

    /// The attributes again, now with the body's members; `None` where the request had no body.
    pub(super) fn attributes<'a>(
        &'a self,
        engine: &'a Engine,
        route: &'a str,
        body: Option<(&'a Pointers, &'a Values)>,
    ) -> Attributes<'a> {
        Attributes {
            resolver: &engine.resolver,
            clock: &engine.shared.clock,
            given: &self.caller,
            method: &self.method,
            host: &self.host,
            headers: &self.headers,
            peer: None,
            route,
            address: OnceCell::from(self.address),
            caller: OnceCell::from(self.caller.clone()),
            ja4: OnceCell::from(self.ja4),
            fingerprint: OnceCell::from(self.fingerprint),
            body,
        }
    }
}
