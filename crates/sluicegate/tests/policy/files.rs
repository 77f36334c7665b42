//! Texts and files as they come: from other systems, from nowhere, and from people who type fast.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use sluicegate::policy::{FILE_BYTES_MAX, Policy, PolicyError};

use crate::{POLICY_DOC, examples, policy};

#[test]
fn a_byte_order_mark_and_line_ends_of_other_systems_change_nothing() {
    let text = "\u{feff}version: 1\r\nrules:\r\n  - name: a\r\n    key: ip\r\n    limit: 1_000\r\n";
    let faults = Policy::parse("policy.yaml", text).expect_err("1_000 is no limit");
    assert_eq!(
        faults
            .iter()
            .map(|fault| (fault.line, fault.column))
            .collect::<Vec<_>>(),
        [(5, 12)]
    );
    policy(&text.replace("1_000", "1/s"));
}

#[test]
fn a_folder_in_a_file_starts_at_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("policy.yaml");
    let load = |directory: &str| {
        fs::write(&file, format!("version: 1\nstate: {{ directory: {directory} }}\n")).expect("written");
        Policy::load(&file).expect("sound").0.state.directory.expect("given")
    };
    assert_eq!(load("state"), folder.path().join("state"));
    assert_eq!(load("/var/lib/sluicegate"), Path::new("/var/lib/sluicegate"));
}

#[test]
fn a_file_that_cannot_be_read_is_told_from_one_with_faults() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("policy.yaml");
    for path in [&file, &folder.path().to_path_buf()] {
        let error = Policy::load(path).expect_err("nothing to read");
        assert!(matches!(error, PolicyError::Unreadable { .. }), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
    fs::write(&file, b"version: 1\n# caf\xe9\n").expect("written");
    let Err(PolicyError::Faulty(faults)) = Policy::load(&file) else {
        unreachable!("not UTF-8")
    };
    let places: Vec<_> = faults
        .iter()
        .map(|fault| (fault.line, fault.column, fault.source_line.as_str()))
        .collect();
    assert_eq!(places, [(2, 6, "# caf")]);
    // Cut in the midst of a character, which must not hide that the file is too long.
    fs::write(&file, "é".repeat(FILE_BYTES_MAX)).expect("written");
    let Err(PolicyError::Faulty(faults)) = Policy::load(&file) else {
        unreachable!("too long")
    };
    assert!(faults.to_string().contains("more than 1048576 bytes"), "{faults}");
}

proptest! {
    #[test]
    fn no_change_to_a_policy_makes_the_reader_panic_or_point_outside_of_it(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_usize..12), 1..6),
    ) {
        const PARTS: [&str; 16] =
            ["", "\n", "  ", "- ", ":", "{", "]", "\"", "&a ", "*a", "0", "-1", "é", "\t", "null", "{*rest}"];
        let mut text = examples(POLICY_DOC)[1].to_owned();
        for (at, part, length) in changes {
            let start = text.char_indices().map(|(at, _)| at).nth(at.index(text.chars().count())).unwrap_or_default();
            let end = text[start..].char_indices().map(|(at, _)| start + at).nth(length).unwrap_or(text.len());
            text.replace_range(start..end, part.get::<&str>(&PARTS));
        }
        if let Err(faults) = Policy::parse("policy.yaml", &text) {
            prop_assert!(faults.len() > 0);
            for fault in &faults {
                // One line more than the file has, where something is missing at its end.
                prop_assert!(fault.line as usize <= text.lines().count() + 1, "{fault}");
                prop_assert!(!fault.problem.is_empty() && !fault.remedy.is_empty(), "{fault}");
            }
        }
    }
}
