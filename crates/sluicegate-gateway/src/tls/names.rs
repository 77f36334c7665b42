//! Which certificate a client is shown.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

/// A listener's certificates, by the names that they are for.
#[derive(Debug)]
pub(super) struct Names {
    certificates: Vec<Arc<CertifiedKey>>,
    /// Places in `certificates`, by a host's name or `*.` and the name above it.
    places: HashMap<String, Vec<usize>>,
}

impl Names {
    /// Each certificate with the names that it is for; the first is for every other name too.
    pub(super) fn new(certificates: impl IntoIterator<Item = (Arc<CertifiedKey>, Vec<String>)>) -> Self {
        let mut places: HashMap<String, Vec<usize>> = HashMap::new();
        let certificates = certificates
            .into_iter()
            .enumerate()
            .map(|(place, (certificate, names))| {
                for name in names {
                    places.entry(name).or_default().push(place);
                }
                certificate
            });
        Self {
            certificates: certificates.collect(),
            places,
        }
    }

    /// Places of those for a name; by its whole before the label above it, and the first certificate's where there is none.
    fn places(&self, name: Option<&str>) -> &[usize] {
        let found = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            // A star stands for one label (RFC 9525, section 6.3).
            let above = || name.split_once('.').map(|(_, above)| format!("*.{above}"));
            let whole = self.places.get(&name);
            whole.or_else(|| self.places.get(&above()?))
        });
        found.map_or(&[0], Vec::as_slice)
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut candidates = self
            .places(hello.server_name())
            .iter()
            .filter_map(|place| self.certificates.get(*place));
        let first = candidates.clone().next();
        // Of two for one name, such as one of either kind of key, the first that the client can check.
        let known = candidates.find(|candidate| candidate.key.choose_scheme(hello.signature_schemes()).is_some());
        known.or(first).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_finds_its_certificate_then_the_one_for_all_beside_it_then_the_first() {
        let places = [("a.example", 1), ("*.a.example", 2), ("b.a.example", 3)];
        let names = Names {
            certificates: Vec::new(),
            places: places
                .into_iter()
                .map(|(name, place)| (name.to_owned(), vec![place]))
                .collect(),
        };
        for (name, place) in [
            (Some("a.example"), 1),
            (Some("A.Example"), 1),
            (Some("x.a.example"), 2),
            (Some("b.a.example"), 3),
            (Some("x.b.a.example"), 0),
            (Some("example"), 0),
            (Some(""), 0),
            (None, 0),
        ] {
            assert_eq!(names.places(name), [place], "{name:?}");
        }
    }
}
