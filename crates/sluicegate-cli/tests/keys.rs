//! `sluicegate keys` as a user runs it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;

use assert_cmd::Command;
use serde_json::Value;
use sluicegate::policy::parse_keys;
use tempfile::TempDir;

/// Runs it in a folder: its exit code, and what it said on both ways.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::cargo_bin("sluicegate")
        .expect("built")
        .current_dir(folder)
        .arg("keys")
        .args(arguments)
        .output()
        .expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (
        output.status.code().unwrap_or(-1),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn a_key_is_shown_once_kept_as_a_hash_for_its_owner_alone_and_gone_when_it_is_revoked() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("keys.yaml");
    let (code, key, told) = run(
        folder.path(),
        &[
            "add",
            "--id",
            "ci",
            "--tenant",
            "acme",
            "--tier",
            "gold",
            "--not-after",
            "2099-12-31",
        ],
    );
    assert_eq!(code, 0, "{told}");
    let key = key.trim();
    assert!(
        key.starts_with("sg_") && key.len() >= 3 + 32,
        "at least 128 bits: {}",
        key.len()
    );
    let text = fs::read_to_string(&file).expect("the file");
    assert!(!text.contains(key) && !text.contains(&key[3..]), "{text}");
    assert_eq!(
        fs::metadata(&file).expect("the file").permissions().mode() & 0o777,
        0o600
    );
    let read = parse_keys("keys.yaml", &text).expect("sound");
    let found = read.directory.find(key.as_bytes(), || 0).expect("the key is known");
    assert_eq!(
        (found.name(), found.tenant(), found.tier()),
        ("ci", Some("acme"), Some("gold"))
    );

    let (_, second, _) = run(folder.path(), &["add", "--json"]);
    let second: Value = serde_json::from_str(&second).expect("JSON");
    assert_ne!(second["key"], key);
    let (code, listed, _) = run(folder.path(), &["list", "--json"]);
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(
        (code, &listed[0]["not_after"]),
        (0, &Value::from("2099-12-31T00:00:00Z"))
    );
    assert_eq!(listed[1]["id"], second["id"]);
    assert!(run(folder.path(), &["list"]).1.contains("acme"));

    assert_eq!(run(folder.path(), &["revoke", "ci"]).0, 0);
    let text = fs::read_to_string(&file).expect("the file");
    let read = parse_keys("keys.yaml", &text).expect("sound");
    assert!(read.directory.find(key.as_bytes(), || 0).is_none());
    assert_eq!(read.keys.len(), 1);
    let (code, _, told) = run(folder.path(), &["revoke", "ci"]);
    assert!(code == 3 && told.contains("no key \"ci\""), "{told}");
}

#[test]
fn keys_that_are_added_at_once_are_all_there() {
    let folder = TempDir::new().expect("a folder");
    thread::scope(|scope| {
        for number in 0..8 {
            let folder = folder.path();
            scope.spawn(move || assert_eq!(run(folder, &["add", "--id", &format!("k{number}")]).0, 0));
        }
    });
    let text = fs::read_to_string(folder.path().join("keys.yaml")).expect("the file");
    assert_eq!(parse_keys("keys.yaml", &text).expect("sound").keys.len(), 8);
}

#[test]
fn a_file_with_faults_and_words_that_make_no_key_are_told_and_nothing_is_written() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("keys.yaml");
    for (text, arguments, told) in [
        (
            "version: 1\nkeys: [{ id: a }]\n",
            &["add"][..],
            "the field `hash` is missing",
        ),
        ("version: 1\n", &["add", "--not-after", "soon"], "\"soon\" is not a day"),
        ("version: 1\n", &["add", "--id", ""], "is empty"),
    ] {
        fs::write(&file, text).expect("a file of ours");
        let (code, shown, said) = run(folder.path(), arguments);
        assert!(
            code == 1 && shown.is_empty() && said.contains(told),
            "{arguments:?}: {shown}{said}"
        );
        assert_eq!(fs::read_to_string(&file).expect("the file"), text);
    }
}
