//! `sluicegate draw` as a user runs it, and the documentation's pictures.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

struct Answer {
    code: i32,
    out: String,
    err: String,
}

fn draw(arguments: &[&str]) -> Answer {
    let output = Command::cargo_bin("sluicegate")
        .expect("built")
        .arg("draw")
        .args(arguments)
        .output()
        .expect("runs");
    Answer {
        code: output.status.code().expect("no signal"),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

/// What one algorithm says to the documentation's requests, or to others.
fn verdicts(algorithm: &str, more: &[&str]) -> Value {
    let mut arguments = vec!["--json", "--algorithm", algorithm];
    arguments.extend(more);
    let answer = draw(&arguments);
    assert_eq!((answer.code, answer.err.as_str()), (0, ""));
    let report: Value = serde_json::from_str(&answer.out).expect("JSON");
    report["algorithms"][0].clone()
}

fn nanos(verdict: &Value, field: &str) -> Option<u64> {
    verdict[field].as_u64()
}

/// The pictures in a folder, by their file names.
fn pictures(folder: &Path) -> BTreeMap<String, String> {
    let files = fs::read_dir(folder)
        .expect("a folder")
        .map(|file| file.expect("a file"));
    files
        .map(|file| {
            let name = file.file_name().into_string().expect("a plain name");
            (name, fs::read_to_string(file.path()).expect("text"))
        })
        .collect()
}

fn documented() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/algorithms")
}

#[test]
fn the_documentations_pictures_are_what_the_engine_says_today() {
    let folder = TempDir::new().expect("a folder");
    let into = folder.path().join("new/folder");
    let answer = draw(&["--into", into.to_str().expect("a plain path")]);
    assert_eq!((answer.code, answer.out.as_str(), answer.err.as_str()), (0, "", ""));
    let (drawn, documented) = (pictures(&into), pictures(&documented()));
    let names = |pictures: &BTreeMap<String, String>| pictures.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&drawn), names(&documented), "{RENEW}");
    let stale: Vec<_> = drawn
        .iter()
        .filter(|(name, text)| documented[*name] != **text)
        .collect();
    let stale: Vec<_> = stale.iter().map(|(name, _)| name).collect();
    assert!(stale.is_empty(), "{stale:?} are out of date; {RENEW}");
}

const RENEW: &str = "run `sluicegate draw --into docs/algorithms` to renew them, and look at them";

#[test]
fn every_picture_is_in_the_documentation_beside_a_text_that_stands_for_it() {
    let page = fs::read_to_string(documented().with_extension("md")).expect("docs/algorithms.md");
    for name in pictures(&documented()).keys() {
        let at = page.find(&format!("](algorithms/{name})")).expect(name);
        let alternative = page[..at].rsplit_once("![").expect(name).1;
        assert!(alternative.len() > 40, "{name}: {alternative:?}");
    }
}

#[test]
fn a_picture_needs_nothing_from_outside_and_no_colours_to_be_read() {
    for (name, text) in pictures(&documented()) {
        for foreign in ["href", "url(", "<script", "<image", "@import", "<foreignObject"] {
            assert!(!text.contains(foreign), "{name} has {foreign}");
        }
        assert!(
            text.contains("<title id=\"t\">") && text.contains("<desc id=\"d\">"),
            "{name}"
        );
        assert!(text.contains("prefers-color-scheme:dark"), "{name}");
        let sizes = text.split("font-size:").skip(1).map(|rest| rest.split("px").next());
        for size in sizes.map(|size| size.and_then(|size| size.parse::<u32>().ok()).expect("a size")) {
            assert!(size >= 12, "{name} has letters of {size} px");
        }
        // What passed, what waits and what was refused differ in shape: a circle, a diamond, a cross.
        assert!(text.matches("<circle class=\"pass\"").count() > 1, "{name}");
        assert!(!text.contains("<circle class=\"refuse\""), "{name}");
        assert!(text.len() < 64 << 10, "{name} has {} bytes", text.len());
    }
}

#[test]
fn one_algorithm_is_drawn_in_full_and_several_above_each_other() {
    let one = draw(&["--algorithm", "token_bucket"]);
    assert_eq!((one.code, one.err.as_str()), (0, ""));
    assert!(one.out.starts_with("<svg ") && one.out.ends_with("</svg>\n"));
    assert!(one.out.contains("token_bucket, 6/s<") && one.out.contains("units left"));
    let two = draw(&["--algorithm", "sliding_log", "--algorithm", "token_bucket"]);
    let at = |name: &str| two.out.find(&format!(">{name}<")).expect(name);
    assert!(at("sliding_log") < at("token_bucket") && !two.out.contains("units left"));
    assert!(!two.out.contains("leaky_bucket"), "{}", two.out);
}

/// Units and period are the documentation's: 6/s.
#[test]
fn the_same_burst_is_told_apart_by_every_algorithm() {
    for (algorithm, passed, most) in [
        ("token_bucket", 20, 8),
        ("leaky_bucket", 20, 6),
        ("fixed_window", 20, 11),
        ("fixed_window_first_hit", 21, 11),
        ("sliding_window", 14, 5),
        ("sliding_log", 16, 6),
        ("concurrency", 24, 13),
        ("settled_cost", 13, 5),
        ("lock", 16, 8),
    ] {
        let said = verdicts(algorithm, &[]);
        assert_eq!(
            (&said["passed"], &said["refused"], &said["most_in_a_period"]),
            (&passed.into(), &(30 - passed).into(), &most.into()),
            "{algorithm}"
        );
    }
}

#[test]
fn programs_get_every_verdict_with_what_is_left_and_when_to_come_back() {
    let said = verdicts(
        "token_bucket",
        &["--limit", "4/s burst 2", "--arrivals", "3@1s 1@1250ms"],
    );
    let verdicts = said["verdicts"].as_array().expect("a list");
    let words: Vec<_> = verdicts.iter().map(|verdict| verdict["verdict"].as_str()).collect();
    assert_eq!(words, [Some("pass"), Some("pass"), Some("refuse"), Some("pass")]);
    let refused = &verdicts[2];
    assert_eq!(nanos(refused, "at_ns"), Some(1_000_000_000));
    assert_eq!(nanos(refused, "retry_after_ns"), Some(250_000_000));
    assert_eq!(nanos(refused, "reset_after_ns"), Some(500_000_000));
    assert!(refused["delay_ns"].is_null() && verdicts[0]["retry_after_ns"].is_null());
    assert_eq!(nanos(&verdicts[0], "remaining"), Some(1));
}

#[test]
fn what_leaves_a_leaky_bucket_is_spaced_and_waits_no_longer_than_a_second() {
    let said = verdicts(
        "leaky_bucket",
        &["--limit", "5/s burst 9", "--arrivals", "20@100ms 20@900ms+30ms"],
    );
    let passed = said["verdicts"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|verdict| {
            let delay = nanos(verdict, "delay_ns")?;
            assert!(delay <= 1_000_000_000, "{verdict}");
            Some(nanos(verdict, "at_ns")? + delay)
        });
    let departures: Vec<u64> = passed.collect();
    assert!(departures.len() > 9, "{departures:?}");
    let spaced = departures.windows(2).all(|pair| pair[1] >= pair[0] + 200_000_000);
    assert!(spaced, "{departures:?}");
}

#[test]
fn permits_come_back_when_requests_end() {
    let passed = |hold| {
        verdicts(
            "concurrency",
            &["--limit", "2/s", "--arrivals", "3@1s 2@2s", "--hold", hold],
        )["passed"]
            .clone()
    };
    assert_eq!(
        (passed("999ms"), passed("1s"), passed("1001ms")),
        (4.into(), 4.into(), 2.into())
    );
}

#[test]
fn what_cannot_be_drawn_is_told_with_its_place_and_remedy_and_ends_with_2() {
    for (arguments, told) in [
        (
            &["--limit", "6"][..],
            &["--limit", "the period is missing", "100/min"][..],
        ),
        (&["--limit", "0/s"], &["--limit", "\"0\"", "least count is 1"]),
        (
            &["--arrivals", "6@1s x@2s"],
            &["--arrivals", "\"x@2s\"", "4@200ms+400ms"],
        ),
        (&["--arrivals", ""], &["--arrivals", "no request arrives"]),
        (
            &["--arrivals", "201@1s"],
            &["--arrivals", "more than 200", "draw fewer"],
        ),
        (&["--hold=-1s"], &["--hold", "-1s"]),
        (&["--hold", "1h"], &["--hold", "\"h\"", "400ms"]),
        (&["--algorithm", "gcra"], &["gcra", "token_bucket"]),
        (
            &["--algorithm", "sliding_log", "--limit", "2k/s"],
            &["sliding_log", "2000/s", "1000", "lower the count"],
        ),
        (
            &["--algorithm", "settled_cost", "--limit", "1/s"],
            &["settled_cost", "1/s", "raise the burst"],
        ),
        (&["--json", "--into", "x"], &["--json", "--into"]),
    ] {
        let answer = draw(arguments);
        assert_eq!((answer.code, answer.out.as_str()), (2, ""), "{arguments:?}");
        for part in told {
            assert!(answer.err.contains(part), "no {part:?} in:\n{}", answer.err);
        }
    }
}

#[test]
fn limits_of_any_size_are_drawn() {
    for limit in [
        "1000000000/s burst 18446744073709551615",
        "1 per 3660d burst 9",
        "1000/ms",
        "7 per 7ms",
    ] {
        for arrivals in ["200@0ms", "200@0s+432s", "1@24min 199@0ms+1ms"] {
            for subject in [
                "token_bucket",
                "leaky_bucket",
                "fixed_window",
                "fixed_window_first_hit",
                "sliding_window",
                "concurrency",
                "lock",
            ] {
                let answer = draw(&["--algorithm", subject, "--limit", limit, "--arrivals", arrivals]);
                assert_eq!(
                    (answer.code, answer.err.as_str()),
                    (0, ""),
                    "{subject} {limit} {arrivals}"
                );
            }
        }
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named_and_ends_with_3() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("a-file");
    fs::write(&file, "").expect("a file of ours");
    let answer = draw(&["--into", file.join("below").to_str().expect("a plain path")]);
    assert_eq!(answer.code, 3);
    assert!(answer.err.contains("a-file/below"), "{}", answer.err);
}
