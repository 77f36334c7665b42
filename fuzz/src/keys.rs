//! The file of keys: any text is one whose keys are all told apart, or has faults that can be read and show no key.

use std::str;

use sluicegate::policy::{FAULTS_MAX, parse_keys};

/// What files of keys are made of, and what breaks them.
pub const DICTIONARY: &[&str] = &[
    "version: 1\n",
    "keys:\n",
    "keys: []\n",
    "  - id: a\n",
    "    hash: \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\n",
    "    hash: sg_canary\n",
    "    key: canary\n",
    "    tenant: acme\n",
    "    tier: gold\n",
    "    not_after: 2027-12-31T23:00:00Z\n",
    "    not_after: 2027-02-29\n",
    "    description: nightly\n",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "&a ",
    "*a",
    "\u{feff}",
    "\u{0}",
    "T24:00:00+23:59",
];

/// # Panics
///
/// When keys are not told apart, or faults are none, too many, out of order, or show what stands where a hash should.
pub fn target(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match parse_keys("keys.yaml", text) {
        Ok(file) => {
            assert_eq!(file.keys.len(), file.directory.len());
            for (index, key) in file.keys.iter().enumerate() {
                assert!(!key.id.is_empty());
                let rest = &file.keys[index + 1..];
                assert!(rest.iter().all(|other| other.id != key.id && other.hash != key.hash));
            }
        }
        Err(faults) => {
            assert!((1..=FAULTS_MAX).contains(&faults.len()), "{} faults", faults.len());
            assert!(faults.iter().is_sorted_by_key(|fault| (fault.line, fault.column)));
            for fault in &faults {
                assert!(
                    !fault.problem.trim().is_empty() && !fault.remedy.trim().is_empty(),
                    "{fault}"
                );
            }
        }
    }
}
