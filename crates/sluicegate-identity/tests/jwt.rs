//! Tokens: what is believed, and every known way to be believed wrongly.
#![cfg(feature = "jwt")]

use std::sync::LazyLock;

use sluicegate_identity::jwt::{
    Algorithm, KEY_SET_KEYS_MAX, KeySet, KeySetFault, TOKEN_BYTES_MAX, Terms, TokenFault, Verifier,
};
use sluicegate_testkit::tokens::{Issuer, encode};

const NOW: u64 = 1_800_000_000;

static RSA: LazyLock<Issuer> = LazyLock::new(Issuer::rs256);
static EC: LazyLock<Issuer> = LazyLock::new(Issuer::es256);

fn terms() -> Terms {
    Terms {
        issuer: "https://id.example".to_owned(),
        audience: "api".to_owned(),
        algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
        user: "sub".to_owned(),
        tenant: Some("org".to_owned()),
        tier: Some("plan".to_owned()),
        claims: vec!["team".to_owned()],
    }
}

fn verifier() -> Verifier {
    let verifier = Verifier::new(terms(), [9; 32]);
    let keys = format!(r#"{{"keys":[{},{}]}}"#, RSA.jwk("rsa"), EC.jwk("ec"));
    verifier.replace_keys(KeySet::parse(keys.as_bytes(), &terms().algorithms).expect("two keys"));
    verifier
}

/// Claims that are good but for `changes`, which stand in the place of those of the same name.
fn claims(changes: &[(&str, &str)]) -> String {
    let end = (NOW + 300).to_string();
    let good = [
        ("iss", r#""https://id.example""#),
        ("aud", r#""api""#),
        ("exp", end.as_str()),
        ("sub", r#""alice""#),
        ("org", r#""acme""#),
        ("plan", r#""premium""#),
        ("team", "7"),
    ];
    let kept = good
        .iter()
        .filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    let members = kept.chain(changes).filter(|(_, value)| !value.is_empty());
    let members: Vec<_> = members.map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

#[track_caller]
fn refused(token: &str, why: TokenFault) {
    assert_eq!(verifier().verify(token.as_bytes(), NOW).err(), Some(why), "{token}");
}

#[test]
fn a_token_by_either_algorithm_vouches_for_its_user_and_what_is_kept_of_it() {
    let verifier = verifier();
    for (issuer, id) in [(&*RSA, "rsa"), (&*EC, "ec")] {
        let token = issuer.token(id, &claims(&[]));
        // The second time from the cache.
        for _ in 0..2 {
            let vouched = verifier.verify(token.as_bytes(), NOW).expect("a good token");
            assert_eq!(vouched.name(), "alice");
            assert_eq!((vouched.tenant(), vouched.tier()), (Some("acme"), Some("premium")));
            assert_eq!((vouched.claim("team"), vouched.claim("aud")), (Some("7"), None));
        }
    }
    let among = claims(&[("aud", r#"["web","api"]"#)]);
    assert!(verifier.verify(RSA.token("rsa", &among).as_bytes(), NOW).is_ok());
    let anonymous = claims(&[("sub", "")]);
    let vouched = verifier
        .verify(RSA.token("rsa", &anonymous).as_bytes(), NOW)
        .expect("a machine's");
    assert_eq!((vouched.name(), vouched.tenant()), ("", Some("acme")));
}

/// T12 of the threat list.
#[test]
fn no_token_chooses_its_algorithm_or_its_key() {
    let good = claims(&[]);
    // Without a signature, in all spellings.
    for name in ["none", "None", "NONE", ""] {
        let header = format!(r#"{{"alg":"{name}"}}"#);
        refused(
            &format!("{}.{}.", encode(header.as_bytes()), encode(good.as_bytes())),
            TokenFault::Algorithm,
        );
    }
    // A public key taken for a secret.
    let message = format!(
        "{}.{}",
        encode(br#"{"alg":"HS256","kid":"rsa"}"#),
        encode(good.as_bytes())
    );
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &RSA.public_bytes());
    let tag = aws_lc_rs::hmac::sign(&key, message.as_bytes());
    refused(&format!("{message}.{}", encode(tag.as_ref())), TokenFault::Algorithm);
    // One that is known and not listed.
    refused(
        &RSA.token_with(r#"{"alg":"RS512","kid":"rsa"}"#, &good),
        TokenFault::Algorithm,
    );
    // A key for another algorithm than the token's.
    refused(
        &RSA.token_with(r#"{"alg":"ES256","kid":"rsa"}"#, &good),
        TokenFault::UnknownKey,
    );
    // The attacker's own key, by every way in which a token could name it.
    let own = Issuer::es256();
    for way in [
        format!(r#"{{"alg":"ES256","kid":"ec","jwk":{}}}"#, own.jwk("ec")),
        r#"{"alg":"ES256","kid":"ec","jku":"https://evil.example/keys"}"#.to_owned(),
        r#"{"alg":"ES256","kid":"ec","x5u":"https://evil.example/cert","x5c":["AA=="]}"#.to_owned(),
        r#"{"alg":"ES256"}"#.to_owned(),
    ] {
        refused(&own.token_with(&way, &good), TokenFault::Signature);
    }
    for id in ["../../etc/passwd", "' OR '1'='1", "", "EC", "ec\\u0000"] {
        refused(
            &own.token_with(&format!(r#"{{"alg":"ES256","kid":"{id}"}}"#), &good),
            TokenFault::UnknownKey,
        );
    }
    refused(
        &EC.token_with(r#"{"alg":"ES256","kid":7}"#, &good),
        TokenFault::Malformed,
    );
    refused(
        &EC.token_with(r#"{"alg":"ES256","kid":"ec","crit":["b64"],"b64":false}"#, &good),
        TokenFault::Critical,
    );
    refused(
        &EC.token_with(r#"{"alg":"ES256","alg":"ES256","kid":"ec"}"#, &good),
        TokenFault::Malformed,
    );
    let mut changed = EC.token("ec", &good).into_bytes();
    let last = changed.len() - 5;
    changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
    refused(&String::from_utf8(changed).expect("ASCII"), TokenFault::Signature);
}

/// T12 of the threat list.
#[test]
fn a_token_of_another_time_issuer_or_audience_is_nobodys() {
    let after = (NOW + 31).to_string();
    let (over, exactly) = ((NOW - 31).to_string(), (NOW - 30).to_string());
    for (name, value, why) in [
        ("exp", over.as_str(), TokenFault::Ended),
        ("exp", &exactly, TokenFault::Ended),
        ("exp", "", TokenFault::Ended),
        ("exp", "\"9999999999\"", TokenFault::Ended),
        ("exp", "-1", TokenFault::Ended),
        ("exp", "null", TokenFault::Ended),
        ("nbf", &after, TokenFault::NotBegun),
        ("nbf", "\"0\"", TokenFault::Claim),
        ("iss", r#""https://id.example/""#, TokenFault::Issuer),
        ("iss", r#"["https://id.example"]"#, TokenFault::Issuer),
        ("iss", "", TokenFault::Issuer),
        ("aud", r#""web""#, TokenFault::Audience),
        ("aud", r#"[["api"]]"#, TokenFault::Audience),
        ("aud", "[]", TokenFault::Audience),
        ("aud", "", TokenFault::Audience),
    ] {
        refused(&EC.token("ec", &claims(&[(name, value)])), why);
    }
    for (name, value) in [
        ("exp", (NOW - 29).to_string()),
        ("nbf", (NOW + 30).to_string()),
        ("exp", "1e300".to_owned()),
    ] {
        let token = EC.token("ec", &claims(&[(name, &value)]));
        assert!(
            verifier().verify(token.as_bytes(), NOW).is_ok(),
            "{name}: {value} is within the leeway"
        );
    }
}

/// T13 of the threat list.
#[test]
fn a_claim_of_another_type_makes_the_token_nobodys() {
    let long = format!("\"{}\"", "x".repeat(257));
    for name in ["sub", "org", "plan"] {
        for value in ["7", "[\"alice\"]", "{\"a\":1}", "\"\"", "null", "true", &long] {
            refused(&EC.token("ec", &claims(&[(name, value)])), TokenFault::Claim);
        }
    }
    let twice = claims(&[]).replacen('{', r#"{"sub":"mallory","#, 1);
    refused(&EC.token("ec", &twice), TokenFault::Malformed);
    let spelled = claims(&[]).replacen('{', r#"{"s\u0075b":"mallory","#, 1);
    refused(&EC.token("ec", &spelled), TokenFault::Malformed);
    let megabyte = claims(&[("sub", &format!("\"{}\"", "x".repeat(1 << 20)))]);
    refused(&EC.token("ec", &megabyte), TokenFault::TooLong);
    // Compared as it is: one letter in two normal forms is two users.
    let user = |text: &str| {
        let token = EC.token("ec", &claims(&[("sub", &format!("\"{text}\""))]));
        verifier()
            .verify(token.as_bytes(), NOW)
            .expect("a good token")
            .name()
            .to_owned()
    };
    assert_ne!(user("\u{e9}"), user("e\u{301}"));
}

#[test]
fn what_is_not_three_parts_of_base64url_and_json_is_no_token() {
    for token in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "a.b.c.d",
        "é.é.é",
        "e30.e30.e30",
        "e30=.e30=.e30=",
        "bnVsbA.bnVsbA.AA",
    ] {
        let fault = verifier().verify(token.as_bytes(), NOW).expect_err("no token");
        assert!(
            matches!(fault, TokenFault::Malformed | TokenFault::Algorithm),
            "{token}: {fault}"
        );
    }
    refused(&"a".repeat(TOKEN_BYTES_MAX + 1), TokenFault::TooLong);
}

#[test]
fn a_token_that_was_remembered_ends_in_time_and_with_its_keys() {
    let verifier = verifier();
    let token = EC.token("ec", &claims(&[]));
    assert!(verifier.verify(token.as_bytes(), NOW).is_ok());
    assert!(verifier.verify(token.as_bytes(), NOW + 329).is_ok());
    assert_eq!(
        verifier.verify(token.as_bytes(), NOW + 330).err(),
        Some(TokenFault::Ended)
    );
    assert!(!verifier.take_unknown());
    // The issuer has taken the key back.
    verifier.replace_keys(KeySet::parse(RSA.key_set("rsa").as_bytes(), &terms().algorithms).expect("a key"));
    assert_eq!(
        verifier.verify(token.as_bytes(), NOW).err(),
        Some(TokenFault::UnknownKey)
    );
    assert!(verifier.take_unknown() && !verifier.take_unknown());
    assert_eq!(
        Verifier::new(terms(), [0; 32]).verify(token.as_bytes(), NOW).err(),
        Some(TokenFault::UnknownKey)
    );
}

#[test]
fn keys_that_are_of_no_use_are_left_out_and_a_set_of_none_is_refused() {
    let algorithms = terms().algorithms;
    let parse = |keys: &[String]| KeySet::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes(), &algorithms);
    let useless = [
        r#"{"kty":"oct","kid":"s","k":"c2VjcmV0"}"#.to_owned(),
        EC.jwk("e").replace(r#""kty""#, r#""use":"enc","kty""#),
        EC.jwk("o").replace(r#""kty""#, r#""key_ops":["sign"],"kty""#),
        EC.jwk("c").replace("P-256", "P-521"),
        EC.jwk("a").replace(r#""kty""#, r#""alg":"ES384","kty""#),
        r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#.to_owned(),
        r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#.to_owned(),
        "7".to_owned(),
    ];
    assert_eq!(parse(&useless).err(), Some(KeySetFault::NoneUsable));
    let mut mixed = useless.to_vec();
    mixed.push(RSA.jwk("rsa"));
    assert_eq!(parse(&mixed).expect("one is of use").unusable(), useless.len());
    let many: Vec<_> = (0..=KEY_SET_KEYS_MAX)
        .map(|number| EC.jwk(&number.to_string()))
        .collect();
    assert_eq!(parse(&many).err(), Some(KeySetFault::TooMany));
    for text in ["", "[]", "{}", r#"{"keys":7}"#, r#"{"keys":[],"keys":[]}"#] {
        assert_eq!(
            KeySet::parse(text.as_bytes(), &algorithms).err(),
            Some(KeySetFault::Malformed),
            "{text}"
        );
    }
}

/// T43 of the threat list.
#[test]
fn neither_tokens_nor_their_users_are_printed() {
    let verifier = verifier();
    let token = EC.token("ec", &claims(&[("sub", "\"canary\"")]));
    let vouched = verifier.verify(token.as_bytes(), NOW).expect("a good token");
    let fault = verifier.verify(b"canary", NOW).expect_err("none");
    let shown = format!("{verifier:?} {vouched:?} {fault} {fault:?}");
    assert!(!shown.contains("canary") && !shown.contains(&token[..20]), "{shown}");
}
