//! A client's certificate, once the TLS library has verified it: whom it was issued to.

use std::fmt::Write as _;

use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::X509Name;

use crate::caller::{VouchKind, Vouched};
use crate::claims::{SAN, SPIFFE_ID, SUBJECT};

/// What a verified certificate says of its holder: [`VouchKind::Certificate`], by the SPIFFE id where there is one, else by the subject,
/// else by the first alternative name. Its claims are `subject`, `san` and `spiffe`, each if it is there.
///
/// The subject is written as in `CN=alice,O=acme`, from its first part on, and so that two subjects never read alike: what separates
/// is escaped within a value. `san` is the first alternative name that is a host, an address of mail or a URI. `spiffe` is the one
/// URI that begins with `spiffe://`; a certificate with two has none.
///
/// `None` for what is no certificate, or one that names nobody. Verifies nothing.
///
/// Source: RFC 5280, section 4.1.2.6 and 4.2.1.6; RFC 4514, section 2.4; SPIFFE X.509-SVID, section 2.
pub fn read_certificate(der: &[u8]) -> Option<Vouched> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = subject(certificate.subject());
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let names = alternative.iter().flat_map(|extension| &extension.value.general_names);
    let names: Vec<&str> = names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => Some(*name),
            _ => None,
        })
        .collect();
    let mut ids = names.iter().copied().filter(|name| name.starts_with(SPIFFE));
    let spiffe = match (ids.next(), ids.next()) {
        (Some(id), None) => Some(id),
        _ => None,
    };
    let san = names.first().copied();
    let subject = (!subject.is_empty()).then_some(subject.as_str());
    let mut vouched = Vouched::new(VouchKind::Certificate, spiffe.or(subject).or(san)?);
    for (claim, value) in [(SUBJECT, subject), (SAN, san), (SPIFFE_ID, spiffe)] {
        if let Some(value) = value {
            vouched = vouched.with_claim(claim, value);
        }
    }
    Some(vouched)
}

const SPIFFE: &str = "spiffe://";

fn subject(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    for (place, relative) in name.iter().enumerate() {
        for (part, attribute) in relative.iter().enumerate() {
            if place + part > 0 {
                text.push(if part == 0 { ',' } else { '+' });
            }
            let kind = attribute.attr_type();
            if let Ok(short) = oid2abbrev(kind, oid_registry()) {
                text.push_str(short);
            } else {
                text.push_str(&kind.to_id_string());
            }
            text.push('=');
            if let Ok(value) = attribute.as_str() {
                escape(value, &mut text);
                continue;
            }
            // A text of another kind, in hexadecimal digits behind a sign that no escaped text begins with.
            text.push('#');
            for byte in attribute.as_slice() {
                let _ = write!(text, "{byte:02x}");
            }
        }
    }
    text
}

fn escape(value: &str, text: &mut String) {
    for (place, character) in value.char_indices() {
        match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' => text.extend(['\\', character]),
            '#' if place == 0 => text.extend(['\\', character]),
            _ if character.is_control() => {
                let _ = write!(text, "\\{:02x}", u32::from(character));
            }
            _ => text.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn read(subject: &[(DnType, &str)], names: Vec<SanType>) -> Option<Vouched> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        for (kind, value) in subject {
            parameters.distinguished_name.push(kind.clone(), *value);
        }
        parameters.subject_alt_names = names;
        let certificate = parameters
            .self_signed(&KeyPair::generate().expect("a key"))
            .expect("a certificate");
        read_certificate(certificate.der())
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().expect("ASCII"))
    }

    #[test]
    fn a_certificate_is_known_by_its_spiffe_id_else_its_subject_else_its_first_name() {
        let alice = (DnType::CommonName, "alice");
        let id = "spiffe://acme.test/billing";
        let all = read(
            std::slice::from_ref(&alice),
            vec![SanType::DnsName("a.test".try_into().expect("ASCII")), uri(id)],
        )
        .expect("somebody");
        assert_eq!((all.name(), all.kind()), (id, VouchKind::Certificate));
        assert_eq!(all.claim(SUBJECT), Some("CN=alice"));
        assert_eq!((all.claim(SAN), all.claim(SPIFFE_ID)), (Some("a.test"), Some(id)));
        let two = read(
            std::slice::from_ref(&alice),
            vec![uri(id), uri("spiffe://acme.test/other")],
        )
        .expect("somebody");
        assert_eq!((two.name(), two.claim(SPIFFE_ID)), ("CN=alice", None));
        assert_eq!(read(&[], vec![uri("urn:x")]).expect("somebody").name(), "urn:x");
        assert!(read(&[], Vec::new()).is_none());
        assert!(read_certificate(b"none").is_none());
    }

    #[test]
    fn two_subjects_never_read_alike() {
        let text = |subject: &[(DnType, &str)]| read(subject, Vec::new()).expect("somebody").name().to_owned();
        let split = text(&[(DnType::CommonName, "a"), (DnType::OrganizationName, "b")]);
        let joined = text(&[(DnType::CommonName, "a,O=b")]);
        assert_eq!((split.as_str(), joined.as_str()), ("CN=a,O=b", "CN=a\\,O\\=b"));
        assert_eq!(text(&[(DnType::CommonName, "#a\n\\")]), "CN=\\#a\\0a\\\\");
    }
}
