//! A request's attributes: what keys and costs are made of.

use std::cell::OnceCell;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::address::{self, AddressKey};
use crate::body::{Pointer, Pointers, Value, Values};
use crate::policy::checked::Identity;
use crate::request::Request;

/// One request's attributes, looked up when a rule first asks.
pub(super) struct Attributes<'a> {
    identity: &'a Identity,
    pub(super) method: &'a Method,
    pub(super) host: &'a str,
    headers: &'a HeaderMap,
    peer: Option<IpAddr>,
    /// Empty where no route takes the request in: no route's name is.
    pub(super) route: &'a str,
    address: OnceCell<Option<AddressKey>>,
    /// `None` until the body is read.
    body: Option<(&'a Pointers, &'a Values)>,
}

impl<'a> Attributes<'a> {
    pub(super) const fn of(request: &Request<'a>, identity: &'a Identity, route: &'a str) -> Self {
        Self {
            identity,
            method: request.method,
            host: request.host,
            headers: request.headers,
            peer: request.peer,
            route,
            address: OnceCell::new(),
            body: None,
        }
    }

    /// The client's address, cut to its prefix; `None` where there is none.
    pub(super) fn address(&self) -> Option<AddressKey> {
        *self.address.get_or_init(|| {
            address::find(self.identity, self.peer, self.headers).map(|address| address::cut(address, self.identity))
        })
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
        }
    }

    /// The attributes again, now with the body's members; `None` where the request had no body.
    pub(super) fn attributes<'a>(
        &'a self,
        identity: &'a Identity,
        route: &'a str,
        body: Option<(&'a Pointers, &'a Values)>,
    ) -> Attributes<'a> {
        Attributes {
            identity,
            method: &self.method,
            host: &self.host,
            headers: &self.headers,
            peer: None,
            route,
            address: OnceCell::from(self.address),
            body,
        }
    }
}
