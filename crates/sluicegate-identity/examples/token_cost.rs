//! What verifying costs: a token that is seen for the first time, one that was seen before, and a key of the directory.
//!
//! `cargo run --profile quick -p sluicegate-identity --features jwt --example token_cost`; each line is the median of [`ROUNDS`] rounds.
#![forbid(unsafe_code)]

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use sluicegate_identity::jwt::{Algorithm, KeySet, Terms, Verifier};
use sluicegate_identity::{Directory, KeyDigest, KeyEntry};
use sluicegate_testkit::tokens::Issuer;

/// Rounds of which the median is told.
const ROUNDS: usize = 21;

const NOW: u64 = 1_800_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let terms = Terms {
        issuer: "https://id.example".to_owned(),
        audience: "api".to_owned(),
        algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
        user: "sub".to_owned(),
        tenant: Some("org".to_owned()),
        tier: Some("plan".to_owned()),
        claims: Vec::new(),
    };
    for issuer in [Issuer::rs256(), Issuer::es256()] {
        let keys = Arc::new(KeySet::parse(issuer.key_set("one").as_bytes(), &terms.algorithms)?);
        let end = NOW + 300;
        let claims = format!(
            r#"{{"iss":"https://id.example","aud":"api","exp":{end},"iat":{NOW},"sub":"auth0|5f7c8ec7c33c6c004bbafe82","org":"acme","plan":"premium","scope":"read:items write:items"}}"#
        );
        let token = issuer.token("one", &claims);
        let verifier = Verifier::new(terms.clone(), [7; 32]);
        let name = issuer.algorithm();
        let first = median(100, || {
            // Other keys, even the same ones again, have every token verified anew.
            verifier.replace_keys(Arc::clone(&keys));
            black_box(verifier.verify(token.as_bytes(), NOW)).is_ok()
        });
        let again = median(10_000, || black_box(verifier.verify(token.as_bytes(), NOW)).is_ok());
        println!(
            "{name}, {} bytes: first {first:.0} ns, again {again:.0} ns",
            token.len()
        );
    }
    let entry = |number: usize| KeyEntry::new(number.to_string(), KeyDigest::of(&number.to_le_bytes()));
    let directory = Directory::new((0..10_000).map(entry).collect())?;
    let known = 77usize.to_le_bytes();
    let found = median(10_000, || directory.find(black_box(&known), || NOW).is_some());
    let missed = median(10_000, || directory.find(black_box(b"made up."), || NOW).is_none());
    println!("a key among 10 000: known {found:.0} ns, unknown {missed:.0} ns");
    Ok(())
}

/// The median time of one of `count` calls, in nanoseconds.
#[allow(clippy::disallowed_methods, reason = "it measures")]
#[allow(clippy::cast_precision_loss, reason = "far below 2⁵² ns")]
fn median(count: u32, mut call: impl FnMut() -> bool) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..count {
                assert!(call());
            }
            start.elapsed().as_nanos() as f64 / f64::from(count)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}
