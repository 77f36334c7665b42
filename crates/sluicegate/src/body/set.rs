//! Some of the pointers that a body is read for.

use std::ops::{BitAnd, BitOr, BitOrAssign};

use super::pointer::Pointers;

/// A set of places in [`Pointers`], one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Set(u8);

const _: () = assert!(Pointers::MAX <= u8::BITS as usize, "one bit for each pointer");

impl Set {
    pub(super) const EMPTY: Self = Self(0);

    /// The first `count` places.
    pub(super) fn first(count: usize) -> Self {
        (0..count).map(Self::one).fold(Self::EMPTY, BitOr::bitor)
    }

    /// One place, below [`Pointers::MAX`].
    pub(super) const fn one(place: usize) -> Self {
        Self(1 << place)
    }

    #[inline]
    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in this set and not in `other`.
    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What is in this set and lets `keep` hold.
    pub(super) fn filter(self, keep: impl Fn(usize) -> bool) -> Self {
        let kept = self.places().filter(|place| keep(*place));
        kept.map(Self::one).fold(Self::EMPTY, BitOr::bitor)
    }

    pub(super) fn places(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let place = left.trailing_zeros();
            // Takes the lowest bit away; no bit is left when there is none.
            left &= left.checked_sub(1)?;
            Some(place as usize)
        })
    }
}

impl BitAnd for Set {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Set {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Set {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_the_places_it_was_made_of() {
        let places = |set: Set| set.places().collect::<Vec<_>>();
        let even = Set::one(0) | Set::one(2) | Set::one(4) | Set::one(6);
        let low = Set::first(3);
        assert_eq!(places(even), [0, 2, 4, 6]);
        assert_eq!(places(low), [0, 1, 2]);
        assert_eq!(places(Set::first(Pointers::MAX)).len(), Pointers::MAX);
        assert_eq!(places(even & low), [0, 2]);
        assert_eq!(places(even.without(low)), [4, 6]);
        assert_eq!(places(even.filter(|place| place > 2)), [4, 6]);
        assert!(Set::first(0).is_empty() && places(Set::EMPTY).is_empty());
    }
}
