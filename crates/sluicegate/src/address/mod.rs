//! Who is asking: the client's address, believed only from proxies that the policy trusts.
//!
//! ```text
//!  socket's peer ──trusted?──no──► the client
//!       │ yes
//!       ▼
//!  forwarded header, last element first ──trusted?──no──► the client
//!       └──────────── yes: the next one to the left ◄──┘
//! ```
//!
//! Each element was written by the hop to its right, so it is worth as much as that hop. The walk therefore goes from
//! right to left, stops at the first address that is not a trusted proxy's, and where an element cannot be read it
//! stays with the last hop that could: a coarser key, never a text that the client made up, never no key at all.
//!
//! Nothing here allocates: this runs for every request. `docs/identity.md` says the same for users.

mod forwarded;
mod list;
mod node;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::{FORWARDED, HeaderMap, HeaderName};

use crate::policy::checked::{ForwardedHeader, Identity};

use list::Element;

/// The client's address in its plain form, not yet cut to a prefix.
///
/// `peer` is the socket's other end; `None` (a Unix socket) gives `None`, since nobody vouches for what the headers
/// say. Costs one pass over the trusted networks for each hop that is walked.
///
/// ```
/// use http::HeaderMap;
/// use sluicegate::address::find;
/// use sluicegate::policy::checked::Identity;
///
/// let mut identity = Identity::default();
/// identity.trusted_proxies.push("10.0.0.0/8".parse()?);
/// let mut headers = HeaderMap::new();
/// headers.insert("x-forwarded-for", "198.51.100.7, 203.0.113.9, 10.0.0.2".parse()?);
///
/// let client = find(&identity, Some("10.0.0.1".parse()?), &headers);
/// assert_eq!(client, Some("203.0.113.9".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn find(identity: &Identity, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
    let mut vouched = plain(peer?);
    if !is_trusted(identity, vouched) {
        return Some(vouched);
    }
    let header = identity.forwarded_header;
    let name = match header {
        ForwardedHeader::XForwardedFor => X_FORWARDED_FOR,
        ForwardedHeader::Forwarded => FORWARDED,
    };
    // Several lines are one list in their order (RFC 9110, section 5.3): the last line holds the last elements.
    let mut bytes_left = FIELD_BYTES_MAX;
    let mut elements_left = ELEMENTS_MAX;
    for line in headers.get_all(name).iter().rev() {
        let mut elements = list::Backwards::new(line.as_bytes(), bytes_left);
        while let Some(element) = elements.next_element() {
            let address = match (element, header) {
                (Element::Whole(_), _) if elements_left == 0 => None,
                (Element::Whole(element), ForwardedHeader::XForwardedFor) => node::address(element),
                (Element::Whole(element), ForwardedHeader::Forwarded) => forwarded::address(element),
                (Element::Cut, _) => None,
            };
            let Some(address) = address.map(plain) else {
                return Some(vouched);
            };
            elements_left -= 1;
            vouched = address;
            if !is_trusted(identity, vouched) {
                return Some(vouched);
            }
        }
        bytes_left -= line.len().min(bytes_left);
    }
    Some(vouched)
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Elements that are looked at. A chain of more than a handful of own proxies is a mistake; each costs one pass over
/// the trusted networks, and whoever is trusted could make us walk as far as a head is long.
pub const ELEMENTS_MAX: usize = 32;

/// Bytes of the field that are looked at, over all its lines, from its end: what common proxies allow for a whole head.
pub const FIELD_BYTES_MAX: usize = 8 * 1024;

/// Whether what `address` forwards is believed: it lies in one of the policy's trusted networks. `address` is in its
/// [`plain`] form. Costs one pass over those networks.
pub fn is_trusted(identity: &Identity, address: IpAddr) -> bool {
    identity
        .trusted_proxies
        .iter()
        .any(|network| network.contains(&address))
}

/// An address in the one form that it is compared and counted in: IPv4 clothed as IPv6 is undressed, both
/// `::ffff:a.b.c.d` (RFC 4291, section 2.5.5.2) and `64:ff9b::a.b.c.d` (RFC 6052, section 2.1).
pub fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return IpAddr::V4(v4);
    }
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        _ => address,
    }
}

/// What one client's address is counted under: the address, cut to the policy's prefix.
///
/// Four bytes for IPv4 and sixteen for IPv6, so that the length tells the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressKey {
    bytes: [u8; 16],
    length: u8,
}

impl AddressKey {
    /// The bytes to hash, 4 or 16 of them.
    pub fn as_bytes(&self) -> &[u8] {
        // `length` is 4 or 16.
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

/// Cuts an address to the prefix that makes one client.
///
/// A loopback or link-local IPv6 address stays whole: all of a link's neighbours have the same first 64 bits.
pub fn cut(address: IpAddr, identity: &Identity) -> AddressKey {
    network(address, identity.v6_prefix, identity)
}

/// Cuts an IPv6 address to its first `v6_prefix` bits, and an IPv4 one as [`cut`] does: nothing wider than the policy's prefix has a
/// meaning of its own there, since IPv4 is not handed out by the network.
pub fn network(address: IpAddr, v6_prefix: u8, identity: &Identity) -> AddressKey {
    match plain(address) {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = (v4.to_bits() & mask_v4(identity.v4_prefix)).to_be_bytes();
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&[a, b, c, d]);
            AddressKey { bytes, length: 4 }
        }
        IpAddr::V6(v6) => {
            let mask = if stays_whole(v6) { u128::MAX } else { mask_v6(v6_prefix) };
            AddressKey {
                bytes: (v6.to_bits() & mask).to_be_bytes(),
                length: 16,
            }
        }
    }
}

fn stays_whole(v6: Ipv6Addr) -> bool {
    v6.is_loopback() || v6.is_unicast_link_local()
}

/// The first `bits` bits set; all of them from 32 on.
fn mask_v4(bits: u8) -> u32 {
    !u32::MAX.checked_shr(bits.into()).unwrap_or(0)
}

/// The first `bits` bits set; all of them from 128 on.
fn mask_v6(bits: u8) -> u128 {
    !u128::MAX.checked_shr(bits.into()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
