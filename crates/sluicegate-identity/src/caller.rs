//! Who is calling: what has been verified, in the order in which it counts.

use std::fmt;
use std::sync::Arc;

use crate::ja4::Ja4;

/// What kind of credential vouches for a caller. A name under one kind is never one under another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum VouchKind {
    /// An API key; its name is the key's id.
    Key,
    /// A token, or a login that a program has checked itself; its name is the user.
    User,
    /// A client certificate; its name is the subject that it was issued to.
    Certificate,
}

/// What one credential, once verified, says of whoever showed it. Made once, then shared by all requests that show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Vouched {
    kind: VouchKind,
    name: Box<str>,
    tenant: Option<Box<str>>,
    tier: Option<Box<str>>,
    /// Few, so that they are looked through.
    claims: Vec<(Box<str>, Box<str>)>,
}

impl Vouched {
    /// A caller that is known by `name`; an empty one is nobody's, and whoever has it is counted as if it had none.
    pub fn new(kind: VouchKind, name: impl Into<Box<str>>) -> Self {
        Self {
            kind,
            name: name.into(),
            tenant: None,
            tier: None,
            claims: Vec::new(),
        }
    }

    /// The tenant that the caller belongs to.
    #[must_use]
    pub fn with_tenant(mut self, tenant: impl Into<Box<str>>) -> Self {
        self.tenant = some(tenant.into());
        self
    }

    /// The tier whose limits apply to the caller.
    #[must_use]
    pub fn with_tier(mut self, tier: impl Into<Box<str>>) -> Self {
        self.tier = some(tier.into());
        self
    }

    /// Another thing that is known of the caller, by which rules may count: `claim.NAME`. Said twice, the first counts.
    #[must_use]
    pub fn with_claim(mut self, name: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Self {
        self.claims.push((name.into(), value.into()));
        self
    }

    /// What kind of credential it is.
    pub const fn kind(&self) -> VouchKind {
        self.kind
    }

    /// The caller's name under that kind.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tenant; `None` where the credential names none.
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// The tier; `None` where the credential names none.
    pub fn tier(&self) -> Option<&str> {
        self.tier.as_deref()
    }

    /// The claim of that name; `None` where it was not kept or is not there.
    pub fn claim(&self, name: &str) -> Option<&str> {
        let found = self.claims.iter().find(|(known, _)| **known == *name);
        found.map(|(_, value)| &**value).filter(|value| !value.is_empty())
    }
}

fn some(text: Box<str>) -> Option<Box<str>> {
    if text.is_empty() { None } else { Some(text) }
}

/// Without names: whoever prints a request must not print who sent it.
impl fmt::Debug for Vouched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vouched")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Who is calling: at most one verified credential of each kind. Cloning it allocates nothing.
///
/// ```
/// use sluicegate_identity::{Caller, VouchKind, Vouched};
///
/// let user = Vouched::new(VouchKind::User, "alice").with_tenant("acme").with_tier("premium");
/// let caller = Caller::from(user);
/// assert_eq!(caller.client(), Some((VouchKind::User, "alice")));
/// assert_eq!(caller.tier(), Some("premium"));
/// assert_eq!(Caller::default().client(), None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// In the order of [`VouchKind`], which is the one in which they count.
    vouched: [Option<Arc<Vouched>>; 3],
    /// Beside them, since it proves nothing.
    ja4: Option<Ja4>,
}

impl Caller {
    /// The same caller with one more credential, in the place of one of its kind.
    #[must_use]
    pub fn with(mut self, vouched: impl Into<Arc<Vouched>>) -> Self {
        self.add(vouched.into());
        self
    }

    /// Adds a credential, in the place of one of its kind.
    #[inline]
    pub fn add(&mut self, vouched: Arc<Vouched>) {
        let kind = vouched.kind as usize;
        if let Some(place) = self.vouched.get_mut(kind) {
            *place = Some(vouched);
        }
    }

    /// The same caller with what its TLS handshake shows of its program. It vouches for nothing, and is no part of who it is.
    #[must_use]
    pub fn with_ja4(mut self, ja4: Ja4) -> Self {
        self.ja4 = Some(ja4);
        self
    }

    /// What kind of program shook hands; `None` where there was no TLS, or nobody looked.
    pub fn ja4(&self) -> Option<Ja4> {
        self.ja4
    }

    /// The credential of a kind; `None` where none was verified.
    pub fn vouched(&self, kind: VouchKind) -> Option<&Arc<Vouched>> {
        self.vouched.get(kind as usize)?.as_ref()
    }

    /// Whether nothing at all was verified.
    pub fn is_nobody(&self) -> bool {
        self.all().next().is_none()
    }

    /// By what the caller is known: its key, else its user, else its certificate. `None` where nothing was verified; it is then
    /// known by its address alone.
    #[inline]
    pub fn client(&self) -> Option<(VouchKind, &str)> {
        let mut named = self.all().filter(|vouched| !vouched.name.is_empty());
        named.next().map(|vouched| (vouched.kind, &*vouched.name))
    }

    /// The user; `None` where no token was verified.
    pub fn user(&self) -> Option<&str> {
        let user = self.vouched(VouchKind::User).map(|vouched| vouched.name());
        user.filter(|name| !name.is_empty())
    }

    /// The tenant, by the first credential that names one.
    pub fn tenant(&self) -> Option<&str> {
        self.all().find_map(Vouched::tenant)
    }

    /// The tier, by the first credential that names one.
    #[inline]
    pub fn tier(&self) -> Option<&str> {
        self.all().find_map(Vouched::tier)
    }

    /// A claim, by the first credential that has it.
    pub fn claim(&self, name: &str) -> Option<&str> {
        self.all().find_map(|vouched| vouched.claim(name))
    }

    fn all(&self) -> impl Iterator<Item = &Vouched> {
        self.vouched.iter().flatten().map(|vouched| &**vouched)
    }
}

impl From<Vouched> for Caller {
    fn from(vouched: Vouched) -> Self {
        Self::default().with(vouched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vouched(kind: VouchKind, name: &str) -> Vouched {
        Vouched::new(kind, name)
    }

    #[test]
    fn a_key_goes_before_a_user_and_a_user_before_a_certificate() {
        use VouchKind::{Certificate, Key, User};
        let all = [Certificate, User, Key];
        let mut caller = Caller::default();
        for kind in all {
            caller.add(vouched(kind, "x").into());
            assert_eq!(caller.client(), Some((kind, "x")));
        }
        assert_eq!(caller.user(), Some("x"));
    }

    #[test]
    fn what_one_credential_leaves_open_the_next_one_says() {
        let caller = Caller::from(vouched(VouchKind::Key, "ci").with_tenant("acme"))
            .with(vouched(VouchKind::User, "alice").with_tenant("other").with_tier("gold"));
        assert_eq!((caller.tenant(), caller.tier()), (Some("acme"), Some("gold")));
    }

    #[test]
    fn an_empty_name_is_nobody() {
        let caller = Caller::from(
            vouched(VouchKind::User, "")
                .with_tenant("")
                .with_tier("")
                .with_claim("a", ""),
        );
        assert_eq!((caller.client(), caller.user()), (None, None));
        assert_eq!((caller.tenant(), caller.tier(), caller.claim("a")), (None, None, None));
    }

    /// T43 of the threat list.
    #[test]
    fn a_caller_is_never_printed_by_name() {
        let caller = Caller::from(
            vouched(VouchKind::User, "alice")
                .with_tenant("acme")
                .with_claim("mail", "a@b"),
        );
        let shown = format!("{caller:?}");
        assert!(
            ["alice", "acme", "a@b"].iter().all(|name| !shown.contains(name)),
            "{shown}"
        );
    }
}
