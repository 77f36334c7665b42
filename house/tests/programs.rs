//! A test that starts another program says so in its file's name: that is how `./x test` knows what to install, and what to leave
//! out where it cannot.

use std::error::Error;
use std::path::Path;

use sluicegate_house::sources::Source;
use sluicegate_house::workspace::Workspace;

/// Tools of the project, which start what they need and say what they lack.
const TOOLS: &[&str] = &["sluicegate-bench", "sluicegate-house"];

#[test]
fn a_test_that_starts_a_redis_server_has_redis_in_its_files_name() -> Result<(), Box<dyn Error>> {
    let workspace = Workspace::read()?;
    let mut faults = Vec::new();
    for package in workspace
        .members()
        .filter(|package| !TOOLS.contains(&package.name.as_str()))
    {
        for source in Source::under(package.folder())? {
            let path = source.path.strip_prefix(package.folder())?;
            let is_rig = package.name == "sluicegate-testkit" && path.starts_with("src");
            if starts_redis(&source.text) && !is_rig && !is_named(path) {
                faults.push(format!(
                    "{} starts a redis-server: tests/*redis*.rs",
                    source.path.display()
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    Ok(())
}

/// Whether it names the part of the testkit that starts servers.
fn starts_redis(text: &str) -> bool {
    text.lines()
        .any(|line| line.contains("sluicegate_testkit::redis") && !line.trim_start().starts_with("//"))
}

/// Whether it is `tests/…redis….rs`, or a part of such a test in a folder of its name.
fn is_named(path: &Path) -> bool {
    let mut parts = path.iter().map(|part| part.to_string_lossy());
    parts.next().is_some_and(|folder| folder == "tests") && parts.next().is_some_and(|name| name.contains("redis"))
}

#[test]
fn only_what_lies_below_tests_under_that_name_counts_as_named() {
    for named in ["tests/redis_cluster.rs", "tests/store_redis.rs", "tests/redis/ring.rs"] {
        assert!(is_named(Path::new(named)), "{named}");
    }
    for other in ["tests/cluster.rs", "src/redis.rs", "tests/support/redis.rs"] {
        assert!(!is_named(Path::new(other)), "{other}");
    }
    assert!(starts_redis("use sluicegate_testkit::redis::RedisServer;"));
    assert!(!starts_redis("//! As sluicegate_testkit::redis does."));
}
