//! Some of the pointers that a body is read for.

use std::ops::{BitAnd, BitOrAssign};

use super::pointer::Pointers;

/// A set of places in [`Pointers`], one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Set(u8);

const _: () = assert!(Pointers::MAX <= u8::BITS as usize, "one bit for each pointer");

impl Set {
    pub(super) const EMPTY: Self = Self(0);

    /// The places at which `is_in` holds; it is asked for those below `count`.
    pub(super) fn of(count: usize, is_in: impl Fn(usize) -> bool) -> Self {
        let bits = (0..count.min(Pointers::MAX)).filter(|place| is_in(*place));
        Self(bits.fold(0, |bits, place| bits | 1 << place))
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
        self.places()
            .filter(|place| keep(*place))
            .fold(Self::EMPTY, |set, place| Self(set.0 | 1 << place))
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
        let even = Set::of(8, |place| place % 2 == 0);
        let low = Set::of(3, |_| true);
        assert_eq!(places(even), [0, 2, 4, 6]);
        assert_eq!(places(even & low), [0, 2]);
        assert_eq!(places(even.without(low)), [4, 6]);
        assert_eq!(places(even.filter(|place| place > 2)), [4, 6]);
        assert!(Set::of(0, |_| true).is_empty() && places(Set::EMPTY).is_empty());
    }
}
