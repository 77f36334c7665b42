//! Who is calling: what a request shows, verified, once a request.
//!
//! Nothing that is shown and cannot be verified counts: whoever made it up is counted by the address, as if it had shown nothing. So a
//! failed guess is charged to whoever guessed, never to whose name it bears.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
#[cfg(feature = "jwt")]
use sluicegate_identity::jwt::Verifier;
use sluicegate_identity::{Caller, Ja4, VouchKind, Vouched};
use sluicegate_state::{AnyClock, Clock as _};

use crate::address::{is_trusted, plain};
use crate::policy::checked::{ApiKeys, Identity};

/// A policy's `identity`, made ready.
#[derive(Debug)]
pub(crate) struct Resolver {
    pub(crate) identity: Identity,
    /// The headers in which callers show who they are, each once.
    headers: Box<[HeaderName]>,
    /// `None` where no tokens are read.
    #[cfg(feature = "jwt")]
    verifier: Option<Arc<Verifier>>,
}

impl Resolver {
    /// Makes `identity` ready. A verifier of the same tokens goes on from `former`, with what it remembers and, where the policy's file
    /// has none, its keys. `token_key` is what tokens are remembered under.
    #[cfg_attr(
        not(feature = "jwt"),
        expect(unused_variables, reason = "only tokens are remembered")
    )]
    pub(crate) fn new(identity: &Identity, former: Option<&Self>, token_key: [u8; 32]) -> Self {
        let keys = identity.api_keys.iter().map(|keys| &keys.header);
        let tokens = identity.jwt.iter().map(|jwt| &jwt.header);
        let mut headers: Vec<HeaderName> = keys.chain(tokens).cloned().collect();
        headers.dedup();
        Self {
            headers: headers.into(),
            #[cfg(feature = "jwt")]
            verifier: verifier(identity, former, token_key),
            identity: identity.clone(),
        }
    }

    /// Who verifies tokens; `None` where none are read.
    #[cfg(feature = "jwt")]
    pub(crate) const fn verifier(&self) -> Option<&Arc<Verifier>> {
        self.verifier.as_ref()
    }

    /// Whether a header that says who calls stands there twice and says two things.
    #[inline]
    pub(crate) fn is_ambiguous(&self, headers: &HeaderMap) -> bool {
        self.headers.iter().any(|name| {
            let mut lines = headers.get_all(name).iter();
            let Some(first) = lines.next() else { return false };
            lines.any(|line| line.as_bytes().trim_ascii() != first.as_bytes().trim_ascii())
        })
    }

    /// Who calls: what the program has `given`, and what the headers show beside it. No allocation for a key, and for a token that was
    /// verified before.
    pub(crate) fn resolve(&self, given: &Caller, headers: &HeaderMap, clock: &AnyClock) -> Caller {
        let mut caller = given.clone();
        if let Some(keys) = &self.identity.api_keys
            && caller.vouched(VouchKind::Key).is_none()
            && let Some(vouched) = find_key(keys, headers, clock)
        {
            caller.add(Arc::clone(vouched));
        }
        #[cfg(feature = "jwt")]
        if let (Some(jwt), Some(verifier)) = (&self.identity.jwt, &self.verifier)
            && caller.vouched(VouchKind::User).is_none()
            && let Some(token) = shown(headers, &jwt.header)
            && let Ok(vouched) = verifier.verify(token, unix_seconds(clock))
        {
            caller.add(vouched);
        }
        caller
    }
}

#[cfg(feature = "jwt")]
fn verifier(identity: &Identity, former: Option<&Resolver>, token_key: [u8; 32]) -> Option<Arc<Verifier>> {
    let jwt = identity.jwt.as_ref()?;
    let is_same = |former: &&Resolver| {
        let before = former.identity.jwt.as_ref();
        before.is_some_and(|before| before.terms == jwt.terms && before.keys_from == jwt.keys_from)
    };
    let former = former.filter(is_same).and_then(|former| former.verifier.clone());
    let verifier = former.unwrap_or_else(|| Arc::new(Verifier::new(jwt.terms.clone(), token_key)));
    if let Some(keys) = &jwt.keys {
        verifier.replace_keys(Arc::clone(keys));
    }
    Some(verifier)
}

fn unix_seconds(clock: &AnyClock) -> u64 {
    Duration::from_nanos(clock.unix_now()).as_secs()
}

impl Resolver {
    /// What kind of program the client is: by what `given` shows of its handshake, or, where that was a trusted proxy's, by what the
    /// proxy says in the header that the policy names.
    pub(crate) fn ja4(&self, given: &Caller, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<Ja4> {
        if !peer.is_some_and(|peer| is_trusted(&self.identity, plain(peer))) {
            return given.ja4();
        }
        let mut lines = headers.get_all(self.identity.ja4_header.as_ref()?).iter();
        match (lines.next(), lines.next()) {
            (Some(line), None) => Ja4::parse(line.to_str().ok()?.trim_ascii()),
            _ => None,
        }
    }
}

fn find_key<'k>(keys: &'k ApiKeys, headers: &HeaderMap, clock: &AnyClock) -> Option<&'k Arc<Vouched>> {
    let shown = shown(headers, &keys.header)?;
    keys.directory.find(shown, || unix_seconds(clock))
}

/// What stands in a header, without the blanks around it; of `authorization` what stands behind the word `Bearer` (RFC 6750, section
/// 2.1). `None` where there is nothing, or another scheme.
fn shown<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let value = headers.get(name)?.as_bytes().trim_ascii();
    if *name != AUTHORIZATION {
        return (!value.is_empty()).then_some(value);
    }
    let (scheme, token) = value.split_at_checked(BEARER.len())?;
    (scheme.eq_ignore_ascii_case(BEARER) && !token.is_empty()).then(|| token.trim_ascii_start())
}

const BEARER: &[u8] = b"bearer ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_what_stands_behind_the_word_and_other_schemes_are_none() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer   abc ", Some("abc")),
            ("BEARER abc", Some("abc")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Basic abc", None),
            ("abc", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().expect(value));
            assert_eq!(shown(&headers, &AUTHORIZATION), token.map(str::as_bytes), "{value:?}");
        }
    }
}
