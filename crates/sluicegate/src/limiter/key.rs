//! What a program counts by: text, bytes, numbers, addresses, and tuples of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sluicegate_core::{KeyBuilder, KeyHasher, PartKind};
use sluicegate_state::Key as CellKey;

use crate::address;
use crate::policy::checked::Identity;

/// What one asker is counted by: text, bytes, whole numbers, addresses, or a tuple of up to four of them.
///
/// Every part is hashed on its own, with its length and its kind: `("a:b", "c")` and `("a", "b:c")` are two keys, as are
/// `"7"` and `7`; `7u8` and `7i64` are one. An address is cut to the policy's prefix first (IPv6 to /64 unless said) and is then
/// the key that requests from there have in a rule by `ip`. `()` is what all share: the rule's one cell that is never
/// given away. Tuples within tuples count part by part.
///
/// Implemented for a type of a program's own by naming its parts:
///
/// ```
/// use sluicegate::{Key, KeyParts};
///
/// struct Account { tenant: u32, name: String }
///
/// impl Key for Account {
///     fn add_to(&self, parts: &mut KeyParts<'_>) {
///         (self.tenant, &self.name).add_to(parts);
///     }
/// }
/// ```
pub trait Key {
    /// Adds this key's parts, always as many and in the same order.
    fn add_to(&self, parts: &mut KeyParts<'_>);
}

/// A key in the making. Nothing of what is added is kept but its hash.
#[derive(Debug)]
pub struct KeyParts<'e> {
    key: KeyBuilder<'e>,
    identity: &'e Identity,
    is_empty: bool,
}

impl KeyParts<'_> {
    /// Adds text or other bytes of any length.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.part(PartKind::Value, bytes);
    }

    /// Adds a whole number.
    #[inline]
    pub fn number(&mut self, number: i128) {
        self.part(PartKind::Number, &number.to_le_bytes());
    }

    /// Adds an address, cut to the policy's prefix.
    #[inline]
    pub fn address(&mut self, address: IpAddr) {
        let cut = address::cut(address, self.identity);
        self.part(PartKind::Ip, cut.as_bytes());
    }

    #[inline]
    fn part(&mut self, kind: PartKind, value: &[u8]) {
        self.key = self.key.part(kind, value);
        self.is_empty = false;
    }
}

/// The cell that a key names; a key without parts names the one that all share.
#[inline]
pub(super) fn cell_of<K: Key + ?Sized>(key: &K, hasher: &KeyHasher, identity: &Identity) -> CellKey {
    let mut parts = KeyParts {
        key: hasher.key(),
        identity,
        is_empty: true,
    };
    key.add_to(&mut parts);
    if parts.is_empty {
        CellKey::Whole
    } else {
        CellKey::Hash(parts.key.finish())
    }
}

impl<K: Key + ?Sized> Key for &K {
    #[inline]
    fn add_to(&self, parts: &mut KeyParts<'_>) {
        (**self).add_to(parts);
    }
}

impl Key for () {
    #[inline]
    fn add_to(&self, _: &mut KeyParts<'_>) {}
}

macro_rules! bytes_like {
    ($($type:ty),+) => { $(
        impl Key for $type {
            #[inline]
            fn add_to(&self, parts: &mut KeyParts<'_>) {
                parts.bytes(self.as_ref());
            }
        }
    )+ };
}
bytes_like!(str, String, [u8], Vec<u8>);

impl<const N: usize> Key for [u8; N] {
    #[inline]
    fn add_to(&self, parts: &mut KeyParts<'_>) {
        parts.bytes(self);
    }
}

macro_rules! numbers {
    ($($type:ty),+) => { $(
        impl Key for $type {
            #[inline]
            fn add_to(&self, parts: &mut KeyParts<'_>) {
                parts.number(i128::from(*self));
            }
        }
    )+ };
}
numbers!(u8, u16, u32, u64, i8, i16, i32, i64);

impl Key for usize {
    #[inline]
    fn add_to(&self, parts: &mut KeyParts<'_>) {
        // No word of any machine has more than 64 bits.
        (*self as u64).add_to(parts);
    }
}

macro_rules! addresses {
    ($($type:ty),+) => { $(
        impl Key for $type {
            #[inline]
            fn add_to(&self, parts: &mut KeyParts<'_>) {
                parts.address(IpAddr::from(*self));
            }
        }
    )+ };
}
addresses!(IpAddr, Ipv4Addr, Ipv6Addr);

macro_rules! tuples {
    ($(($($name:ident $index:tt),+)),+) => { $(
        impl<$($name: Key),+> Key for ($($name,)+) {
            #[inline]
            fn add_to(&self, parts: &mut KeyParts<'_>) {
                $(self.$index.add_to(parts);)+
            }
        }
    )+ };
}
tuples!((A 0), (A 0, B 1), (A 0, B 1, C 2), (A 0, B 1, C 2, D 3));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    fn cell(key: &dyn Key) -> CellKey {
        cell_of(key, &KeyHasher::new(&Secret::from_bytes([3; 32])), &Identity::default())
    }

    #[test]
    fn no_two_keys_of_a_program_read_alike() {
        let keys: [&dyn Key; 12] = [
            &(),
            &"",
            &"7",
            &7u8,
            &-7i64,
            &("a:b", "c"),
            &("a", "b:c"),
            &("a:bc",),
            &("a", "b", "c"),
            &("", "a"),
            &("a", ""),
            &Ipv4Addr::new(192, 0, 2, 1),
        ];
        for (index, one) in keys.iter().enumerate() {
            for other in &keys[index + 1..] {
                assert_ne!(cell(*one), cell(*other));
            }
        }
        assert_eq!(cell(&("a", (), "b")), cell(&("a", "b")));
    }

    #[test]
    fn one_value_is_one_key_however_it_is_held() {
        assert_eq!(cell(&"alice"), cell(&String::from("alice")));
        assert_eq!(cell(&"alice"), cell(b"alice"));
        assert_eq!(cell(&"alice"), cell(&b"alice".to_vec()));
        assert_eq!(cell(&7u8), cell(&7i64));
        assert_eq!(cell(&7usize), cell(&&7u32));
        assert_eq!(cell(&("a", ("b", "c"))), cell(&("a", "b", "c")));
    }

    #[test]
    fn addresses_of_one_network_are_one_key() {
        let address = |text: &str| -> IpAddr { text.parse().expect("an address") };
        assert_eq!(cell(&address("2001:db8::1")), cell(&address("2001:db8::2")));
        assert_ne!(cell(&address("2001:db8::1")), cell(&address("2001:db8:0:1::1")));
        assert_eq!(cell(&address("::ffff:192.0.2.1")), cell(&address("192.0.2.1")));
    }
}
