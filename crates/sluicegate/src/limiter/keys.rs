//! From a request's attributes to the key of a rule's cell.

use std::cell::OnceCell;

use http::{HeaderName, Method};
use sluicegate_core::{KeyBuilder, KeyHasher, PartKind};
use sluicegate_state::Key;

use crate::address::{self, AddressKey};
use crate::policy::checked::{self, Identity, KeyPart, OnMissingKey};
use crate::request::Request;

/// The parts of one rule's key.
#[derive(Debug)]
pub(super) struct RuleKey {
    parts: Box<[KeyPart]>,
    on_missing: OnMissingKey,
}

/// A part that the request does not have, and that nothing stands in for.
pub(super) enum Missing {
    /// The rule does not apply.
    Skip,
    /// The request is refused.
    Refuse,
}

impl RuleKey {
    pub(super) fn new(rule: &checked::Rule) -> Self {
        Self {
            parts: rule.key.clone().into(),
            on_missing: rule.on_missing_key,
        }
    }

    /// The request's key. No allocation.
    #[inline]
    pub(super) fn of(&self, keys: &Keys<'_>) -> Result<Key, Missing> {
        if self.parts.is_empty() {
            return Ok(Key::Whole);
        }
        let mut key = keys.hasher.key();
        for part in &self.parts {
            key = match keys.add(key, part) {
                Some(key) => key,
                None => self.stand_in(key, keys)?,
            };
        }
        Ok(Key::Hash(key.finish()))
    }

    /// Replaces one absent part and no other. What stands in carries its own kind, so that no value of the absent
    /// attribute can be made to read like it.
    #[cold]
    fn stand_in<'a>(&self, key: KeyBuilder<'a>, keys: &Keys<'a>) -> Result<KeyBuilder<'a>, Missing> {
        match self.on_missing {
            OnMissingKey::Ip => Ok(keys
                .add(key, &KeyPart::Ip)
                .unwrap_or_else(|| key.part(PartKind::Absent, &[]))),
            OnMissingKey::Shared => Ok(key.part(PartKind::Absent, &[])),
            OnMissingKey::Refuse => Err(Missing::Refuse),
            OnMissingKey::Skip => Err(Missing::Skip),
        }
    }
}

/// One request's attributes, looked up when a rule first asks.
pub(super) struct Keys<'a> {
    hasher: &'a KeyHasher,
    identity: &'a Identity,
    request: &'a Request<'a>,
    /// Empty where no route takes the request in: no route's name is.
    route: &'a str,
    address: OnceCell<Option<AddressKey>>,
}

impl<'a> Keys<'a> {
    pub(super) const fn new(
        hasher: &'a KeyHasher,
        identity: &'a Identity,
        request: &'a Request<'a>,
        route: &'a str,
    ) -> Self {
        Self {
            hasher,
            identity,
            request,
            route,
            address: OnceCell::new(),
        }
    }

    /// Adds a part; `None` if the request does not have it.
    #[inline]
    fn add<'k>(&self, key: KeyBuilder<'k>, part: &KeyPart) -> Option<KeyBuilder<'k>> {
        let some = |kind, value: &str| {
            if value.is_empty() {
                None
            } else {
                Some(key.part(kind, value.as_bytes()))
            }
        };
        match part {
            KeyPart::Ip => self.address().map(|address| key.part(PartKind::Ip, address.as_bytes())),
            KeyPart::Route => some(PartKind::Route, self.route),
            KeyPart::Method => Some(key.part(PartKind::Method, method(self.request.method).as_bytes())),
            KeyPart::Host => some(PartKind::Host, self.request.host),
            // Bodies are not read yet.
            KeyPart::Body { .. } => None,
            KeyPart::Header(name) => self.header(name).map(|value| key.part(PartKind::Header, value)),
        }
    }

    fn address(&self) -> Option<AddressKey> {
        let (identity, request) = (self.identity, self.request);
        *self.address.get_or_init(|| {
            address::find(identity, request.peer, request.headers).map(|address| address::cut(address, identity))
        })
    }

    /// A header's one value, without blanks around it. Two lines are two claims, of which neither is believed.
    fn header(&self, name: &HeaderName) -> Option<&'a [u8]> {
        let mut lines = self.request.headers.get_all(name).iter();
        match (lines.next(), lines.next()) {
            (Some(value), None) => Some(value.as_bytes().trim_ascii()),
            _ => None,
        }
    }
}

/// The method as a key: a client that makes up methods gets one cell for all of them, and HEAD draws from GET's.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET | Method::HEAD => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => "",
    }
}
