//! From a token to whom it vouches for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::cache::Cache;
use super::json::Json;
use super::keys::KeySet;
use super::terms::Terms;
use super::token::{Token, TokenFault};
use crate::caller::{VouchKind, Vouched};

/// How far our clock and an issuer's may differ before a token counts as over or to come. Clocks that are kept differ by less than a
/// second; a longer leeway is time for which a token that ended is believed.
pub const LEEWAY: Duration = Duration::from_secs(30);

/// Most bytes of a user's, tenant's or tier's name and of any other claim that is kept. Longer ones are no names.
pub const NAME_BYTES_MAX: usize = 256;

/// Verifies tokens, and remembers those that it has.
pub struct Verifier {
    terms: Terms,
    /// `None` until there are some; then no token is anybody's.
    keys: ArcSwapOption<KeySet>,
    /// Counts changes of the keys, so that what others verified is verified again.
    generation: AtomicU64,
    /// Whether a token has named a key that is not known since somebody asked.
    unknown: AtomicBool,
    cache: Cache,
}

impl Verifier {
    /// A verifier without keys. `cache_key` is random, and this process's alone: tokens are remembered by a hash under it.
    pub fn new(terms: Terms, cache_key: [u8; 32]) -> Self {
        Self {
            terms,
            keys: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            unknown: AtomicBool::new(false),
            cache: Cache::new(cache_key),
        }
    }

    /// What tokens have to say.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Takes other keys in the place of those that were known. Tokens that were remembered are verified again.
    pub fn replace_keys(&self, keys: impl Into<Arc<KeySet>>) {
        self.keys.store(Some(keys.into()));
        // Release pairs with the acquire in `verify`: who reads this number finds these keys, or later ones.
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Whether there are keys.
    pub fn has_keys(&self) -> bool {
        self.keys.load().is_some()
    }

    /// Whether a token has named a key that is not known since this was last asked: for [`Refresh`](super::Refresh).
    pub fn take_unknown(&self) -> bool {
        self.unknown.swap(false, Ordering::Relaxed)
    }

    /// Whom a token vouches for; `now` is in Unix seconds.
    ///
    /// A token that was verified before costs a hash of it, one to two microseconds for one of half a kilobyte, and no allocation;
    /// any other its signature, some tens of microseconds to a hundred.
    ///
    /// # Errors
    ///
    /// Why it is nobody's.
    pub fn verify(&self, token: &[u8], now: u64) -> Result<Arc<Vouched>, TokenFault> {
        if token.len() > super::TOKEN_BYTES_MAX {
            return Err(TokenFault::TooLong);
        }
        let name = self.cache.name(token);
        // Before the keys are read: a token that older keys verified is never remembered under a newer number.
        let generation = self.generation.load(Ordering::Acquire);
        if let Some(vouched) = self.cache.find(&name, generation, now) {
            return Ok(vouched);
        }
        let (vouched, ends_at) = self.verify_anew(token, now)?;
        self.cache.insert(&name, generation, ends_at, &vouched, now);
        Ok(vouched)
    }

    #[cold]
    fn verify_anew(&self, token: &[u8], now: u64) -> Result<(Arc<Vouched>, u64), TokenFault> {
        let token = Token::parse(token)?;
        if !self.terms.algorithms.contains(&token.algorithm) {
            return Err(TokenFault::Algorithm);
        }
        let keys = self.keys.load();
        let verified = keys
            .as_ref()
            .map_or(Err(TokenFault::UnknownKey), |keys| keys.verify(&token));
        if verified == Err(TokenFault::UnknownKey) {
            self.unknown.store(true, Ordering::Relaxed);
        }
        verified?;
        self.judge(&token.claims()?, now)
    }

    /// Whom claims vouch for that were signed, and until when.
    fn judge(&self, claims: &Json, now: u64) -> Result<(Arc<Vouched>, u64), TokenFault> {
        if claims.get("iss").and_then(Json::as_text) != Some(&self.terms.issuer) {
            return Err(TokenFault::Issuer);
        }
        let is_meant = match claims.get("aud") {
            Some(Json::Text(one)) => *one == self.terms.audience,
            Some(Json::List(several)) => several.contains(&Json::Text(self.terms.audience.clone())),
            _ => false,
        };
        if !is_meant {
            return Err(TokenFault::Audience);
        }
        let ends_at = claims.get("exp").and_then(seconds).ok_or(TokenFault::Ended)?;
        let ends_at = ends_at.saturating_add(LEEWAY.as_secs());
        if now >= ends_at {
            return Err(TokenFault::Ended);
        }
        if let Some(begin) = claims.get("nbf") {
            let begins_at = seconds(begin).ok_or(TokenFault::Claim)?;
            if now.saturating_add(LEEWAY.as_secs()) < begins_at {
                return Err(TokenFault::NotBegun);
            }
        }
        let user = text(claims, &self.terms.user)?.unwrap_or_default();
        let mut vouched = Vouched::new(VouchKind::User, user);
        if let Some(name) = &self.terms.tenant {
            vouched = vouched.with_tenant(text(claims, name)?.unwrap_or_default());
        }
        if let Some(name) = &self.terms.tier {
            vouched = vouched.with_tier(text(claims, name)?.unwrap_or_default());
        }
        for name in &self.terms.claims {
            if let Some(value) = claims.get(name).and_then(plain) {
                vouched = vouched.with_claim(name.as_str(), value);
            }
        }
        Ok((Arc::new(vouched), ends_at))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("has_keys", &self.has_keys())
            .finish_non_exhaustive()
    }
}

/// A claim that names somebody: a text that is neither empty nor too long. `Ok(None)` where there is none.
fn text<'c>(claims: &'c Json, name: &str) -> Result<Option<&'c str>, TokenFault> {
    match claims.get(name) {
        None => Ok(None),
        Some(Json::Text(text)) if !text.is_empty() && text.len() <= NAME_BYTES_MAX => Ok(Some(text)),
        Some(_) => Err(TokenFault::Claim),
    }
}

/// A claim that rules count by: a text, a whole number or a truth value. Any other counts as absent.
fn plain(value: &Json) -> Option<String> {
    match value {
        Json::Text(text) if text.len() <= NAME_BYTES_MAX => Some(text.clone()),
        Json::Whole(number) => Some(number.to_string()),
        Json::Truth(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// A numeric date (RFC 7519, section 2), cut to whole seconds; `None` for what is none, or before 1970.
fn seconds(value: &Json) -> Option<u64> {
    match value {
        Json::Whole(seconds) => Some(*seconds),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and cut on purpose; what is too large becomes the largest"
        )]
        Json::Number(seconds) if *seconds >= 0.0 => Some(*seconds as u64),
        _ => None,
    }
}
