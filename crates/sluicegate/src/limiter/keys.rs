//! From a request's attributes to the key of a rule's cell.

use http::{HeaderName, Method};
use sluicegate_core::{KeyBuilder, KeyHasher, PartKind};
use sluicegate_identity::VouchKind;
use sluicegate_identity::claims::{SAN, SPIFFE_ID, SUBJECT};
use sluicegate_state::Key;

use super::attributes::Attributes;
use crate::body::{KeyBuffer, Normal, Pointer, key_of};
use crate::claims::{COOKIE, Claim};
use crate::policy::checked::{self, KeyPart, OnMissingKey};

/// The parts of one rule's key.
#[derive(Debug)]
pub(super) struct RuleKey {
    parts: Box<[KeyPart]>,
    on_missing: OnMissingKey,
}

/// Why a rule has no key for a request.
pub(super) enum NoKey {
    /// A part is absent, and the rule does not apply to such requests.
    Skip,
    /// A part is absent, and the rule refuses such requests.
    Refuse,
    /// A part is there and cannot be a key.
    Bad,
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
    pub(super) fn of(&self, hasher: &KeyHasher, attributes: &Attributes<'_>) -> Result<Key, NoKey> {
        if self.parts.is_empty() {
            return Ok(Key::Whole);
        }
        let mut key = hasher.key();
        for part in &self.parts {
            key = match add(key, part, attributes)? {
                Some(key) => key,
                None => self.stand_in(key, attributes)?,
            };
        }
        Ok(Key::Hash(key.finish()))
    }

    /// The headers that the key reads.
    pub(super) fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.parts.iter().filter_map(|part| match part {
            KeyPart::Header(name) => Some(name),
            KeyPart::Cookie(_) => Some(&COOKIE),
            _ => None,
        })
    }

    /// Replaces one absent part and no other. What stands in carries its own kind, so that no value of the absent
    /// attribute can be made to read like it.
    #[cold]
    fn stand_in<'k>(&self, key: KeyBuilder<'k>, attributes: &Attributes<'_>) -> Result<KeyBuilder<'k>, NoKey> {
        match self.on_missing {
            OnMissingKey::Ip => Ok(match attributes.address() {
                Some(address) => key.part(PartKind::Ip, address.as_bytes()),
                None => key.part(PartKind::Absent, &[]),
            }),
            OnMissingKey::Shared => Ok(key.part(PartKind::Absent, &[])),
            OnMissingKey::Refuse => Err(NoKey::Refuse),
            OnMissingKey::Skip => Err(NoKey::Skip),
        }
    }
}

/// Adds a part; `None` if the request does not have it.
#[inline]
fn add<'k>(key: KeyBuilder<'k>, part: &KeyPart, attributes: &Attributes<'_>) -> Result<Option<KeyBuilder<'k>>, NoKey> {
    let some = |kind, value: &str| {
        if value.is_empty() {
            None
        } else {
            Some(key.part(kind, value.as_bytes()))
        }
    };
    let verified = |kind, value: Option<&str>| value.map(|value| key.part(kind, value.as_bytes()));
    Ok(match part {
        KeyPart::Client => match attributes.caller().client() {
            Some((kind, name)) => verified(kind_of(kind), Some(name)),
            None => attributes
                .address()
                .map(|address| key.part(PartKind::Ip, address.as_bytes())),
        },
        KeyPart::Tenant => verified(PartKind::Tenant, attributes.caller().tenant()),
        KeyPart::Tier => verified(PartKind::Tier, attributes.caller().tier()),
        KeyPart::User => verified(PartKind::User, attributes.caller().user()),
        KeyPart::Claim(name) => verified(PartKind::Claim, attributes.caller().claim(name.as_str())),
        KeyPart::CertificateSubject => verified(PartKind::CertificateSubject, attributes.certificate(SUBJECT)),
        KeyPart::CertificateName => verified(PartKind::CertificateName, attributes.certificate(SAN)),
        KeyPart::Spiffe => verified(PartKind::Spiffe, attributes.certificate(SPIFFE_ID)),
        KeyPart::Ja4 => attributes
            .ja4()
            .map(|ja4| key.part(PartKind::Ja4, ja4.as_str().as_bytes())),
        KeyPart::Fingerprint => attributes
            .fingerprint()
            .map(|print| key.part(PartKind::Fingerprint, print.as_bytes())),
        KeyPart::Ip => attributes
            .address()
            .map(|address| key.part(PartKind::Ip, address.as_bytes())),
        KeyPart::IpNetwork(bits) => attributes
            .network(*bits)
            .map(|network| key.part(PartKind::Ip, network.as_bytes())),
        KeyPart::Route => some(PartKind::Route, &attributes.route.name),
        KeyPart::Sensitivity => some(PartKind::Sensitivity, attributes.route.sensitivity.as_str()),
        KeyPart::Method => Some(key.part(PartKind::Method, method(attributes.method).as_bytes())),
        KeyPart::Host => some(PartKind::Host, attributes.host),
        KeyPart::Path => some(PartKind::Path, attributes.path),
        KeyPart::PathPart(name) => attributes
            .path_part(name)
            .map(|part| key.part(PartKind::PathPart, part.as_bytes())),
        KeyPart::Cookie(name) => attributes
            .cookie(name)
            .one()
            .map(|value| key.part(PartKind::Cookie, value)),
        KeyPart::Query(name) => {
            let value = attributes.parameter(name).one();
            value.map(|value| key.part(PartKind::Query, &value))
        }
        // No request meets such a rule.
        KeyPart::Program => None,
        KeyPart::Header(name) => match attributes.header(name) {
            Claim::One(value) => Some(key.part(PartKind::Header, value.as_bytes().trim_ascii())),
            Claim::Absent | Claim::Several => None,
        },
        KeyPart::Body {
            pointer,
            trim,
            lowercase,
        } => {
            let normal = Normal {
                trim: *trim,
                lowercase: *lowercase,
            };
            return add_member(key, pointer, normal, attributes);
        }
    })
}

/// Adds a member of the body.
#[cold]
fn add_member<'k>(
    key: KeyBuilder<'k>,
    pointer: &Pointer,
    normal: Normal,
    attributes: &Attributes<'_>,
) -> Result<Option<KeyBuilder<'k>>, NoKey> {
    let Some(value) = attributes.member(pointer) else {
        return Ok(None);
    };
    let Some(text) = key_of(value).map_err(|_| NoKey::Bad)? else {
        return Ok(None);
    };
    let mut buffer = KeyBuffer::default();
    let text = normal.apply(text, &mut buffer).map_err(|_| NoKey::Bad)?;
    Ok(Some(key.part(PartKind::Body, text.as_bytes())))
}

/// What a caller's name is hashed as, so that nobody's key reads like another's user or address.
const fn kind_of(kind: VouchKind) -> PartKind {
    match kind {
        VouchKind::Key => PartKind::Key,
        VouchKind::Certificate => PartKind::Certificate,
        // A kind that is not known here is a name that a program vouches for.
        _ => PartKind::User,
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
