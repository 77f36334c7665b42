//! What a listener's certificate says of itself.

use std::time::Duration;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// For whom a certificate is, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaf {
    /// Names of hosts, in lower case; the first label may be `*`.
    pub(super) names: Vec<String>,
    /// The last moment at which it holds, since 1970.
    pub(super) not_after: Duration,
}

impl Leaf {
    /// `None` for what is no certificate.
    ///
    /// Only alternative names count (RFC 9525, section 6.3): clients do not look for a host in the subject any more.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let alternative = certificate.subject_alternative_name().ok().flatten();
        let names = alternative.iter().flat_map(|extension| &extension.value.general_names);
        let names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        let not_after = certificate.validity().not_after.timestamp();
        Some(Self {
            names: names.collect(),
            // One that ended before 1970 has ended.
            not_after: Duration::from_secs(u64::try_from(not_after).unwrap_or(0)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_lower_case_and_the_end_is_the_certificates_own() {
        let mut parameters = rcgen::CertificateParams::new(vec![
            "A.Example".to_owned(),
            "*.b.example".to_owned(),
            "192.0.2.1".to_owned(),
        ])
        .expect("they are names");
        parameters.not_after = rcgen::date_time_ymd(2031, 2, 3);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        let leaf = Leaf::read(certificate.der()).expect("it is a certificate");
        assert_eq!(leaf.names, ["a.example", "*.b.example"]);
        // 2031-02-03, counted by hand: 61 years with 15 leap days, and 33 days.
        assert_eq!(leaf.not_after, Duration::from_hours((61 * 365 + 15 + 33) * 24));
        assert_eq!(Leaf::read(b"none"), None);
    }
}
