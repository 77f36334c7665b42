//! A bucket that nodes share: its limit, as it is shared.

use super::side::SharedLimit;
use crate::atomics::{AtomicU64, Ordering};
use crate::table::BucketIdentity;

/// What a shared bucket is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct SharedBucketSpec {
    /// By what its state is found again, here and in the store, under another policy and on other nodes.
    pub identity: BucketIdentity,
    /// The limit of each key.
    pub limit: SharedLimit,
    /// The limit that keys share for which this node has no room, of the same kind; `None` refuses them.
    pub overflow: Option<SharedLimit>,
}

/// What one or more rules draw from together with other nodes.
#[derive(Debug)]
pub struct SharedBucket {
    spec: SharedBucketSpec,
    salt: u64,
    /// Requests that drew from the overflow or met it closed.
    overflowed: AtomicU64,
    in_use: AtomicU64,
}

impl SharedBucket {
    /// The bucket of a spec. Its state is that of every other bucket of the same identity.
    pub fn new(spec: SharedBucketSpec) -> Self {
        let identity = spec.identity.0;
        #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
        let salt = (identity >> 64) as u64 ^ identity as u64;
        Self {
            spec,
            salt,
            overflowed: AtomicU64::new(0),
            in_use: AtomicU64::new(0),
        }
    }

    /// What it was made from.
    pub const fn spec(&self) -> &SharedBucketSpec {
        &self.spec
    }

    /// What makes it the same bucket elsewhere.
    pub const fn identity(&self) -> BucketIdentity {
        self.spec.identity
    }

    /// The limit of each key.
    pub const fn limit(&self) -> &SharedLimit {
        &self.spec.limit
    }

    /// Whether it gives permits.
    pub const fn gives_permits(&self) -> bool {
        matches!(self.spec.limit, SharedLimit::Permits(_))
    }

    /// Permits that requests on this node hold.
    pub fn in_use(&self) -> u64 {
        self.in_use.load(Ordering::Relaxed)
    }

    pub(super) fn take_permits(&self, count: u64) {
        self.in_use.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn release_permits(&self, count: u64) {
        self.in_use.fetch_sub(count, Ordering::Relaxed);
    }

    /// Requests that drew from the overflow or met it closed.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    pub(super) fn count_overflow(&self) {
        self.overflowed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) const fn salt(&self) -> u64 {
        self.salt
    }

    /// The limit of its keys, or of its overflow.
    pub(super) const fn limit_of(&self, overflow: bool) -> Option<&SharedLimit> {
        if overflow {
            self.spec.overflow.as_ref()
        } else {
            Some(&self.spec.limit)
        }
    }
}
