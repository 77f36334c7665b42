//! `docs/metrics.md` and the catalogue say the same.

use std::collections::BTreeMap;

use sluicegate_admin::catalogue::{FAMILIES, Kind, PREFIX};

/// Name to type and labels, from the table of the document.
fn documented() -> BTreeMap<String, (String, Vec<String>)> {
    let text = include_str!("../../../docs/metrics.md");
    let rows = text.lines().filter(|line| line.starts_with(&format!("| `{PREFIX}_")));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, meaning] = cells.try_into().expect("four cells");
        assert!(!meaning.is_empty(), "{name} has no meaning");
        let labels = labels.split(", ").filter(|label| !label.is_empty()).map(bare).collect();
        (bare(name), (kind.to_owned(), labels))
    })
    .collect()
}

fn bare(code: &str) -> String {
    code.trim_matches('`').to_owned()
}

#[test]
fn every_metric_is_documented_with_its_type_and_labels_and_nothing_else_is() {
    let known = FAMILIES.iter().map(|family| {
        let (kind, suffix) = match family.kind {
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
            Kind::Histogram => ("histogram", ""),
            Kind::Info => ("info", "_info"),
        };
        let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
        (format!("{PREFIX}_{}{suffix}", family.name), (kind.to_owned(), labels))
    });
    assert_eq!(documented(), known.collect());
}

#[test]
fn names_are_unique_and_in_the_characters_of_the_format() {
    for (at, family) in FAMILIES.iter().enumerate() {
        assert!(
            FAMILIES[..at].iter().all(|other| other.name != family.name),
            "{}",
            family.name
        );
        for word in family.labels.iter().chain([&family.name]) {
            assert!(
                word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
                "{word}"
            );
        }
    }
}
