//! Tokens: any bytes are one that was signed and says what it has to, or nobody's; and any bytes are a set of keys, or none.

use std::str;
use std::sync::LazyLock;

use sluicegate::jwt::{Algorithm, KeySet, NAME_BYTES_MAX, Terms, Verifier};
use sluicegate_testkit::tokens::Issuer;

/// What tokens, their claims and their keys are made of.
pub const DICTIONARY: &[&str] = &[
    "{\"iss\":\"issuer\",\"aud\":\"api\",\"exp\":1800000300,\"sub\":\"alice\"}",
    "\"iss\":\"issuer\",",
    "\"aud\":[\"api\"],",
    "\"exp\":1800000300,",
    "\"exp\":1e300,",
    "\"nbf\":-1,",
    "\"sub\":\"victim\",",
    "\"s\\u0075b\":\"victim\",",
    "\"org\":null,",
    "\"team\":7,",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\u0000",
    "\\ud800",
    ".",
    "=",
    "eyJhbGciOiJub25lIn0",
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ",
    "\"kty\":\"EC\",\"crv\":\"P-256\",",
    "\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\",",
    "\"keys\":[",
];

/// Unix seconds at which everything is judged.
const NOW: u64 = 1_800_000_000;

static ISSUER: LazyLock<Issuer> = LazyLock::new(Issuer::es256);

fn terms() -> Terms {
    Terms {
        issuer: "issuer".to_owned(),
        audience: "api".to_owned(),
        algorithms: vec![Algorithm::Es256, Algorithm::Rs256],
        user: "sub".to_owned(),
        tenant: Some("org".to_owned()),
        tier: None,
        claims: vec!["team".to_owned()],
    }
}

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let verifier = Verifier::new(terms(), [3; 32]);
    let keys = KeySet::parse(ISSUER.key_set("k").as_bytes(), &terms().algorithms);
    verifier.replace_keys(keys.expect("a key of ours"));
    verifier
});

/// # Panics
///
/// When bytes that nobody signed are believed, a token is believed that does not say what it has to, or anything breaks.
pub fn target(data: &[u8]) {
    assert!(VERIFIER.verify(data, NOW).is_err(), "nobody has signed this");
    let _ = KeySet::parse(data, &Algorithm::ALL);
    let Ok(claims) = str::from_utf8(data) else { return };
    let Ok(vouched) = VERIFIER.verify(ISSUER.token("k", claims).as_bytes(), NOW) else {
        return;
    };
    let read: serde_json::Value = serde_json::from_str(claims).expect("what is believed can be read");
    assert_eq!(read["iss"], "issuer");
    assert!(
        read["aud"] == "api"
            || read["aud"]
                .as_array()
                .is_some_and(|list| list.iter().any(|one| one == "api"))
    );
    assert!(read["exp"].as_f64().is_some_and(|end| end > 1_799_999_000.0));
    assert_eq!(vouched.name(), read["sub"].as_str().unwrap_or_default());
    assert_eq!(vouched.tenant(), read["org"].as_str());
    assert!(vouched.name().len() <= NAME_BYTES_MAX);
}
