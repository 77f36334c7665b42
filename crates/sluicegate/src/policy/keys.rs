//! The file of API keys: their hashes, and whose they are.
//!
//! Read by the means that the policy file is read by, so that its faults are told alike: all at once, each with its line and its remedy.

use std::collections::HashMap;

use serde_json::json;
use sluicegate_identity::{DigestFault, Directory, KEY_PREFIX, KEYS_MAX, KeyDigest, KeyEntry};

use super::fault::{Faults, quoted};
use super::findings::{At, Findings, Located, Spot};
use super::scalar::{Moment, Name, Prose, Scalar, Version, Wrong, wrong};
use super::shape::{List, Shape as _, shape};
use super::yaml;

/// Most bytes of a file of keys: [`KEYS_MAX`] of them with a description each.
pub const KEYS_FILE_BYTES_MAX: usize = 24 << 20;

/// Values in one file of keys: the map and its seven fields with their names, for each of them.
const KEYS_NODES_MAX: usize = 16 * KEYS_MAX;

shape! {
    /// API keys of Sluicegate, by their hashes.
    KeysFields {
        /// The version of this format; there is one.
        required version: Version,
        /// The keys that were issued.
        optional keys: List<KeyFields, 0, KEYS_MAX>,
    }
}

shape! {
    /// One key.
    KeyFields {
        /// By what the key is known, in metrics and to whoever revokes it; its caller is counted by it.
        required id: Name,
        /// The SHA-256 of the key, 64 hexadecimal digits.
        required hash: Hash,
        /// The tenant that it was issued to.
        optional tenant: Name,
        /// The tier whose limits apply to it.
        optional tier: Name,
        /// From when on it is no key any more; it has no end unless said.
        optional not_after: Moment,
        /// What a reader should know.
        optional description: Prose,
        /// Never: the key itself is its owner's alone. Whatever stands here is a fault.
        optional key: Misplaced,
    }
}

/// A key where its hash belongs.
#[derive(Debug)]
pub(in crate::policy) struct Misplaced;

impl Scalar for Misplaced {
    const EXPECTED: &'static str = "nothing: the key itself is its owner's alone";
    const IS_SECRET: bool = true;

    fn parse(_: &str) -> Result<Self, Wrong> {
        wrong(
            "may be a key, which is its owner's alone",
            "write its SHA-256 in `hash`; revoke it if it is one, and issue another by `sluicegate keys add`",
        )
    }
}

/// What `hash` says.
#[derive(Debug, Clone, Copy)]
pub(in crate::policy) struct Hash(KeyDigest);

impl Scalar for Hash {
    const EXPECTED: &'static str = "the SHA-256 of a key, 64 hexadecimal digits";
    // It may be the key itself, by mistake.
    const IS_SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, Wrong> {
        match KeyDigest::from_hex(text) {
            Ok(digest) => Ok(Self(digest)),
            Err(DigestFault) if text.starts_with(KEY_PREFIX) => wrong(
                "is a key and not its hash",
                "revoke it, since whoever has seen this file knows it now, and issue another by `sluicegate keys add`",
            ),
            Err(DigestFault) => wrong(
                "is no SHA-256",
                "write the 64 hexadecimal digits that `sluicegate keys add` has written, in quotes if they are all decimal",
            ),
        }
    }

    fn grammar() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^[0-9A-Fa-f]{64}$" })
    }
}

/// One key, as the file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IssuedKey {
    /// By what it is known: printable ASCII, at most 64 bytes.
    pub id: String,
    /// Its SHA-256.
    pub hash: KeyDigest,
    /// The tenant that it was issued to.
    pub tenant: Option<String>,
    /// The tier whose limits apply to it.
    pub tier: Option<String>,
    /// Unix seconds from which on it is no key any more; `None` for one that does not end.
    pub not_after: Option<u64>,
    /// What a reader should know.
    pub description: Option<String>,
    /// The line of the file in which the entry begins, from 1.
    pub line: u32,
}

/// What a file of keys says.
#[derive(Debug)]
pub struct KeyFile {
    /// The keys in the file's order.
    pub keys: Vec<IssuedKey>,
    /// The same, to be found by what a client shows.
    pub directory: Directory,
}

/// Reads a file of keys. `name` stands for the file in messages.
///
/// ```
/// let text = "version: 1\nkeys:\n  - {id: ci, hash: abc}\n";
/// let faults = sluicegate::policy::parse_keys("keys.yaml", text).expect_err("that is no hash");
/// assert!(faults.to_string().starts_with("keys.yaml:3:20: keys[0].hash: what stands here is no SHA-256; write"));
/// ```
///
/// # Errors
///
/// Everything that is wrong with it, up to [`FAULTS_MAX`](super::FAULTS_MAX). What stands where a hash should is never shown.
pub fn parse_keys(name: &str, text: &str) -> Result<KeyFile, Faults> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut findings = Findings::new(name, text);
    let file = read(text, &mut findings);
    findings.finish(file).map(|(file, _warnings)| file)
}

fn read(text: &str, findings: &mut Findings<'_>) -> Option<KeyFile> {
    if text.len() > KEYS_FILE_BYTES_MAX {
        let problem = format!("the file has more than {KEYS_FILE_BYTES_MAX} bytes");
        findings.fault_at(
            At::START,
            problem,
            "is it a file of keys? Issue tokens to so many callers",
        );
        return None;
    }
    let root = yaml::read(text, KEYS_NODES_MAX, findings)?;
    let raw = KeysFields::read(root, findings)?;
    let keys = raw.keys.value().map(|list| list.0).unwrap_or_default();
    check_distinct(&keys, findings);
    let issued = |key: Located<KeyFields>| issued(key, findings);
    let keys = keys.into_iter().map(issued).collect::<Option<Vec<_>>>()?;
    raw.version.value()?;
    match Directory::new(keys.iter().map(entry).collect()) {
        Ok(directory) => Some(KeyFile { keys, directory }),
        // Named above, each with its line.
        Err(_) if findings.has_faults() => None,
        Err(error) => {
            findings.fault_at(At::START, error.to_string(), "keep one of them");
            None
        }
    }
}

/// Names every id and every hash that stands there twice.
fn check_distinct(keys: &[Located<KeyFields>], findings: &mut Findings<'_>) {
    let mut ids: HashMap<&str, Spot> = HashMap::new();
    let mut hashes: HashMap<KeyDigest, Spot> = HashMap::new();
    for key in keys {
        if let Some(id) = key.value.id.as_ref() {
            if let Some(first) = ids.get(id.value.0.as_str()) {
                let problem = format!("{} is also the id of {}", quoted(&id.value.0), findings.place(*first));
                findings.fault(id.spot, problem, "give each key an id of its own; it is revoked by it");
            } else {
                ids.insert(&id.value.0, key.spot);
            }
        }
        if let Some(hash) = key.value.hash.as_ref() {
            if let Some(first) = hashes.get(&hash.value.0) {
                let problem = format!("{} has the same hash, and so is the same key", findings.place(*first));
                findings.fault(hash.spot, problem, "remove one of the two");
            } else {
                hashes.insert(hash.value.0, key.spot);
            }
        }
    }
}

/// `None` where it has no id or no hash, or the key itself. A faulty field is noted, so that what stands in for it is handed to nobody.
fn issued(key: Located<KeyFields>, findings: &Findings<'_>) -> Option<IssuedKey> {
    let line = findings.line(key.spot);
    let key = key.value;
    if !key.key.is_absent() {
        return None;
    }
    Some(IssuedKey {
        id: key.id.value()?.0,
        hash: key.hash.value()?.0,
        tenant: key.tenant.value().map(|name| name.0),
        tier: key.tier.value().map(|name| name.0),
        not_after: key.not_after.value().map(|moment| moment.0),
        description: key.description.value().map(|text| text.0),
        line,
    })
}

fn entry(key: &IssuedKey) -> KeyEntry {
    let mut entry = KeyEntry::new(key.id.as_str(), key.hash);
    if let Some(tenant) = &key.tenant {
        entry = entry.tenant(tenant.as_str());
    }
    if let Some(tier) = &key.tier {
        entry = entry.tier(tier.as_str());
    }
    if let Some(end) = key.not_after {
        entry = entry.not_after(end);
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"";

    fn file(entries: &[&str]) -> String {
        let lines = entries.iter().map(|entry| format!("  - {{ {entry} }}\n"));
        format!("version: 1\nkeys:\n{}", lines.collect::<String>())
    }

    #[test]
    fn a_file_of_keys_says_whose_each_is() {
        let text = file(&[&format!(
            "id: ci, hash: {HASH}, tenant: acme, tier: gold, not_after: 1970-01-02, description: nightly"
        )]);
        let file = parse_keys("keys.yaml", &text).expect("no faults");
        let [key] = file.keys.as_slice() else {
            unreachable!("one key")
        };
        assert_eq!((key.id.as_str(), key.line, key.not_after), ("ci", 3, Some(86_400)));
        assert_eq!(
            (key.tenant.as_deref(), key.tier.as_deref()),
            (Some("acme"), Some("gold"))
        );
        let found = file.directory.find(b"abc", || 0).expect("the hash is that of abc");
        assert_eq!(
            (found.name(), found.tenant(), found.tier()),
            ("ci", Some("acme"), Some("gold"))
        );
        assert!(
            parse_keys("keys.yaml", "version: 1\n")
                .expect("no keys are no fault")
                .directory
                .is_empty()
        );
    }

    #[test]
    fn everything_that_is_wrong_with_a_file_of_keys_is_told_with_its_line_and_remedy() {
        let good = format!("id: a, hash: {HASH}");
        let text = file(&[
            &good,
            &format!("id: a, hash: {HASH}, colour: red"),
            "hash: abc, not_after: tomorrow",
            "id: \"\", tier: [gold]",
        ]);
        let faults = parse_keys("keys.yaml", &text).expect_err("faults");
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        for (line, place, problem) in [
            (4, "keys[1].id", "\"a\" is also the id of keys[0]"),
            (4, "keys[1].hash", "keys[0] has the same hash"),
            (4, "keys[1].colour", "there is no field"),
            (5, "keys[2]", "the field `id` is missing"),
            (5, "keys[2].hash", "is no SHA-256"),
            (5, "keys[2].not_after", "\"tomorrow\" is not a day"),
            (6, "keys[3].id", "is empty"),
            (6, "keys[3]", "the field `hash` is missing"),
            (6, "keys[3].tier", "a list stands here"),
        ] {
            let is_it = |fault: &&String| {
                fault.starts_with(&format!("keys.yaml:{line}:")) && fault.contains(place) && fault.contains(problem)
            };
            let fault = told.iter().find(is_it);
            assert!(
                fault.is_some_and(|fault| fault.contains("; ")),
                "{place}: {problem} in {told:#?}"
            );
        }
        assert_eq!(told.len(), 9, "{told:#?}");
    }

    /// T43 of the threat list.
    #[test]
    fn a_key_in_the_place_of_its_hash_is_never_shown() {
        for entry in [
            "id: a, hash: sg_canary, tenant: b",
            "id: a, hash: canary",
            "id: a, key: canary, hash: abc",
            "id: a, hash: [canary]",
        ] {
            let faults = parse_keys("keys.yaml", &file(&[entry])).expect_err("no hash");
            let shown: Vec<_> = faults
                .iter()
                .map(|fault| (fault.to_string(), fault.excerpt()))
                .collect();
            let shown = format!("{shown:?}");
            assert!(!shown.contains("canary"), "{shown}");
        }
    }
}
