//! Changing the file's text and nothing else of it: comments, and whatever else people have written there, stay.
//!
//! What comes of a change is read again before it is written: it has to say what was meant, and nothing more.

use std::fmt::Write as _;
use std::path::Path;

use sluicegate::policy::{Faults, IssuedKey, parse_keys};

use super::Hash;

/// The keys that a text has.
pub(super) fn read(path: &Path, text: &str) -> Result<Vec<IssuedKey>, Faults> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    Ok(parse_keys(&path.display().to_string(), text)?.keys)
}

/// A key to be added, each of its texts as it was given.
pub(super) struct Entry<'a> {
    pub(super) id: &'a str,
    pub(super) hash: Hash,
    pub(super) tenant: Option<&'a str>,
    pub(super) tier: Option<&'a str>,
    pub(super) not_after: Option<&'a str>,
    pub(super) description: Option<&'a str>,
}

/// Why a key was not added.
pub(super) enum NotAdded {
    /// What was given is wrong.
    Faulty(Faults),
    /// The text has no place for it that is known here.
    Unwritable,
}

/// The text with one key more.
pub(super) fn with(path: &Path, text: &str, before: &[IssuedKey], entry: &Entry<'_>) -> Result<String, NotAdded> {
    let text = text.trim_end();
    let begun = match text {
        "" => "version: 1\nkeys:".to_owned(),
        text => text.replace("\nkeys: []", "\nkeys:"),
    };
    let mut faults = None;
    // Lists stand below the name or further in; a file may have no list yet.
    let has_list = begun.lines().any(|line| line.starts_with("keys:"));
    let places: &[(&str, &str)] = if has_list {
        &[("", "  "), ("", "")]
    } else {
        &[("\nkeys:", "  ")]
    };
    for (head, indent) in places {
        let changed = format!("{begun}{head}\n{}", entry.lines(indent));
        match read(path, &changed) {
            Ok(after) if is_one_more(before, &after, entry) => return Ok(changed),
            // Of a text that is no YAML it says nothing but that this was the wrong place.
            Err(found) if found.iter().any(|fault| fault.place.starts_with("keys[")) => faults = Some(found),
            Ok(_) | Err(_) => {}
        }
    }
    Err(faults.map_or(NotAdded::Unwritable, NotAdded::Faulty))
}

/// The text without the key of that id; `None` where it has no such entry that could be taken out by its lines.
pub(super) fn without(path: &Path, text: &str, before: &[IssuedKey], id: &str) -> Option<String> {
    let place = before.iter().position(|key| key.id == id)?;
    let lines: Vec<&str> = text.lines().collect();
    let start = before.get(place)?.line as usize - 1;
    let mut end = before.get(place + 1).map_or(lines.len(), |next| next.line as usize - 1);
    if place + 1 < before.len() {
        // What stands right above an entry is about that entry.
        while end > start + 1 && lines.get(end - 1).is_some_and(|line| is_remark(line)) {
            end -= 1;
        }
    }
    let kept: Vec<&str> = lines
        .iter()
        .take(start)
        .chain(lines.iter().skip(end))
        .copied()
        .collect();
    let mut changed = kept.join("\n") + "\n";
    if before.len() == 1 {
        changed = changed.replacen("\nkeys:\n", "\nkeys: []\n", 1);
    }
    let after = read(path, &changed).ok()?;
    let same = |(one, other): (&IssuedKey, &IssuedKey)| is_same(one, other);
    let rest = before.iter().filter(|key| key.id != id);
    let is_meant = after.len() + 1 == before.len() && rest.zip(&after).all(same);
    is_meant.then_some(changed)
}

/// Unix seconds as people read them, in UTC.
pub(super) fn moment(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years from March, so that a leap year's day is its last; 400 of them have 146 097 days. 719 468 days lie before 1970.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

impl Entry<'_> {
    /// The entry as it stands in a list, each text in quotes.
    fn lines(&self, indent: &str) -> String {
        let fields = [
            ("tenant", self.tenant),
            ("tier", self.tier),
            ("not_after", self.not_after),
            ("description", self.description),
        ];
        // A string of JSON is one of YAML.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut lines = format!("{indent}- id: {}\n{indent}  hash: \"{}\"\n", quoted(self.id), self.hash);
        for (name, value) in fields {
            if let Some(value) = value {
                // Writing to a string does not fail.
                let _ = writeln!(lines, "{indent}  {name}: {}", quoted(value));
            }
        }
        lines
    }
}

fn is_remark(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

fn is_one_more(before: &[IssuedKey], after: &[IssuedKey], entry: &Entry<'_>) -> bool {
    let Some((last, rest)) = after.split_last() else {
        return false;
    };
    let same = |(one, other): (&IssuedKey, &IssuedKey)| is_same(one, other);
    rest.len() == before.len() && rest.iter().zip(before).all(same) && last.id == entry.id && last.hash == entry.hash
}

/// Whether two are one key, wherever they stand.
fn is_same(one: &IssuedKey, other: &IssuedKey) -> bool {
    let placed = |key: &IssuedKey| {
        let mut key = key.clone();
        key.line = 0;
        key
    };
    placed(one) == placed(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str) -> Entry<'_> {
        Entry {
            id,
            hash: Hash::of(id.as_bytes()),
            tenant: Some("ac\"me"),
            tier: None,
            not_after: None,
            description: Some("a: b # c"),
        }
    }

    fn add(text: &str, id: &str) -> String {
        let path = Path::new("keys.yaml");
        let before = read(path, text).expect("a sound file");
        with(path, text, &before, &entry(id)).ok().expect("there is a place")
    }

    fn revoke(text: &str, id: &str) -> Option<String> {
        let path = Path::new("keys.yaml");
        without(path, text, &read(path, text).expect("a sound file"), id)
    }

    #[test]
    fn keys_that_were_added_are_there_and_what_stood_there_stays() {
        for text in [
            "",
            "version: 1\n",
            "version: 1\nkeys: []\n",
            "# ours\nversion: 1 # one\nkeys:\n# by hand\n",
            "version: 1\nkeys:\n- { id: old, hash: \"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\" }",
        ] {
            // A list that says nothing yet is no sound file, so that it is not begun here.
            if read(Path::new("keys.yaml"), text).is_err() {
                continue;
            }
            let added = add(&add(text, "one"), "two");
            let keys = read(Path::new("keys.yaml"), &added).expect("sound");
            let ids: Vec<_> = keys.iter().map(|key| key.id.as_str()).collect();
            assert!(ids.ends_with(&["one", "two"]), "{added}");
            assert_eq!(keys.last().and_then(|key| key.tenant.as_deref()), Some("ac\"me"));
            for line in text.lines().filter(|line| *line != "keys: []") {
                assert!(added.contains(line), "{line} in {added}");
            }
        }
    }

    #[test]
    fn a_key_that_was_revoked_is_gone_and_nothing_else() {
        let text =
            add(&add(&add("", "one"), "two"), "three").replace("  - id: \"three\"", "  # the third\n  - id: \"three\"");
        let changed = revoke(&text, "two").expect("its lines are its own");
        let keys = read(Path::new("keys.yaml"), &changed).expect("sound");
        assert_eq!(
            keys.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(),
            ["one", "three"]
        );
        assert!(changed.contains("# the third"), "{changed}");
        let changed = revoke(&changed, "three")
            .and_then(|text| revoke(&text, "one"))
            .expect("to the last");
        assert!(
            read(Path::new("keys.yaml"), &changed).expect("sound").is_empty(),
            "{changed}"
        );
        assert!(add(&changed, "again").contains("again"));
        let flow = "version: 1\nkeys: [{ id: a, hash: \"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\" }, { id: b, hash: \"10112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\" }]\n";
        assert_eq!(revoke(flow, "a"), None, "both stand on one line");
    }

    #[test]
    fn a_moment_is_told_as_it_was_written() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2000-02-29T23:59:59Z",
            "2026-11-20T19:45:07Z",
            "2100-03-01T00:00:00Z",
        ] {
            let file = format!(
                "version: 1\nkeys:\n  - id: a\n    hash: \"{}\"\n    not_after: {text}\n",
                Hash::of(b"a")
            );
            let keys = read(Path::new("keys.yaml"), &file).expect("sound");
            assert_eq!(keys[0].not_after.map(moment).as_deref(), Some(text));
        }
    }
}
