//! What is remembered across a restart, by files on a real disk.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;

use tempfile::TempDir;

use crate::process::{Running, Upstream, get, policy};

/// An upstream that answers at once, and a directory for what gateways before it remember.
struct World {
    upstream: Upstream,
    state: TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            upstream: Upstream::start(),
            state: TempDir::new().expect("a folder"),
        }
    }

    /// Starts a gateway that writes a snapshot so often.
    fn start(&self, every: &str) -> Running {
        Self::start_at(self.upstream.address, self.state.path(), every)
    }

    fn start_at(upstream: SocketAddr, state: &Path, every: &str) -> Running {
        let state = format!(
            "state: {{ memory: 1MiB, directory: \"{}\", snapshot_every: {every} }}",
            state.display()
        );
        let text = policy(upstream, "").replace("state: { memory: 1MiB }", &state);
        Running::logging(&text, "info")
    }

    /// Sends a request that the upstream answers if it gets there.
    fn status(&self, running: &Running) -> u16 {
        self.upstream.answer.send(()).expect("it waits");
        get(running.gateway, "/x").0
    }
}

/// What a metric without labels shows; `None` while it shows nothing.
fn metric(running: &Running, name: &str) -> Option<f64> {
    let text = get(running.admin, "/metrics").1;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|number| number.parse().expect("a number"))
}

/// Waits until a metric says so. A liveness poll: each turn is one exchange, and the test runner ends what never comes.
fn wait_for(running: &Running, name: &str, is_there: impl Fn(f64) -> bool) {
    while !metric(running, name).is_some_and(&is_there) {
        thread::yield_now();
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    names.sort();
    names
}

/// Ends a gateway as an operator does.
#[track_caller]
fn stop(running: Running) -> String {
    running.signal("TERM");
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
    log
}

#[test]
fn sigterm_forgets_nothing() {
    let world = World::new();
    // So seldom that only the last one is written.
    let first = world.start("1h");
    assert_eq!([(); 3].map(|()| world.status(&first)), [200, 200, 429]);
    stop(first);
    assert_eq!(names(world.state.path()), ["lock", "secret", "snapshot"]);
    for _ in 0..2 {
        let next = world.start("1h");
        assert_eq!(world.status(&next), 429);
        assert_eq!(metric(&next, "sluicegate_snapshot_keys_restored"), Some(1.0));
        let log = stop(next);
        assert!(log.is_empty() || !log.contains("set aside"), "{log}");
    }
}

#[test]
fn kill_9_forgets_at_most_what_came_after_the_last_snapshot() {
    let world = World::new();
    let first = world.start("1s");
    assert_eq!(world.status(&first), 200);
    wait_for(&first, "sluicegate_snapshot_keys", |keys| keys > 0.0);
    first.signal("KILL");
    first.end();
    let second = world.start("1h");
    assert_eq!([(); 2].map(|()| world.status(&second)), [200, 429]);
    second.signal("KILL");
    second.end();
    // What the second one counted is lost, and what the first one wrote is there.
    let third = world.start("1h");
    assert_eq!([(); 2].map(|()| world.status(&third)), [200, 429]);
}

#[test]
fn nothing_is_written_while_nothing_changes_nor_where_it_is_turned_off() {
    let world = World::new();
    let first = world.start("off");
    assert_eq!(world.status(&first), 200);
    stop(first);
    assert_eq!(names(world.state.path()), ["lock", "secret"]);
    let idle = world.start("1s");
    wait_for(&idle, "sluicegate_snapshot_writes_total", |writes| writes == 0.0);
    stop(idle);
    assert_eq!(names(world.state.path()), ["lock", "secret"]);
}

#[test]
fn a_file_that_cannot_be_used_is_set_aside_and_the_start_goes_on() {
    let world = World::new();
    let path = world.state.path().join("snapshot");
    let first = world.start("1h");
    assert_eq!(world.status(&first), 200);
    stop(first);
    let whole = fs::read(&path).expect("a snapshot");
    let flipped = {
        let mut bytes = whole.clone();
        bytes[100] ^= 1;
        bytes
    };
    let newer = {
        let mut bytes = whole.clone();
        bytes[8] = 2;
        bytes
    };
    for (content, told) in [
        (&whole[..whole.len() - 1], "ends too early"),
        (&flipped, "checksum"),
        (&newer, "version 2"),
        (b"nothing of ours", "not a snapshot"),
        (b"", "ends too early"),
    ] {
        fs::write(&path, content).expect("our own file");
        assert_starts_anew(&world, told);
        let aside = fs::read(world.state.path().join("snapshot.bad")).expect("the file");
        assert_eq!(aside, content);
    }
    fs::remove_file(&path).expect("our own file");
    symlink("/dev/zero", &path).expect("a link");
    assert_starts_anew(&world, "not a regular file");

    // Under another secret no key has the hash that it had.
    fs::write(&path, &whole).expect("our own file");
    fs::remove_file(world.state.path().join("secret")).expect("our own file");
    assert_starts_anew(&world, "another secret");
}

/// A gateway that starts empty, says why in one line, and leaves a snapshot of its own.
#[track_caller]
fn assert_starts_anew(world: &World, told: &str) {
    let running = world.start("1h");
    assert_eq!(metric(&running, "sluicegate_snapshot_load_failures_total"), Some(1.0));
    assert_eq!([(); 3].map(|()| world.status(&running)), [200, 200, 429], "{told}");
    let said = &running.said_first;
    assert_eq!(said.matches("set aside").count(), 1, "{said}");
    assert!(said.contains(told), "{said}");
    stop(running);
    assert_eq!(
        names(world.state.path()),
        ["lock", "secret", "snapshot", "snapshot.bad"]
    );
}

/// Something stands in the snapshot's place, so that no attempt succeeds until it is gone.
#[test]
fn a_snapshot_that_cannot_be_written_is_told_once_and_counted_and_written_when_it_can_be() {
    let world = World::new();
    let obstacle = world.state.path().join("snapshot");
    let running = world.start("1s");
    fs::create_dir(&obstacle).expect("a directory");
    assert_eq!(world.status(&running), 200);
    wait_for(&running, "sluicegate_snapshot_write_failures_total", |failures| {
        failures > 1.0
    });
    assert_eq!([(); 2].map(|()| world.status(&running)), [200, 429]);
    fs::remove_dir(&obstacle).expect("our own directory");
    wait_for(&running, "sluicegate_snapshot_writes_total", |writes| writes > 0.0);
    let log = stop(running);
    assert_eq!(log.matches("a restart would forget").count(), 1, "{log}");
    assert_eq!(log.matches("is written again").count(), 1, "{log}");
    let next = world.start("1h");
    assert_eq!(world.status(&next), 429);
}

/// On a file system of 64 KiB, where this process may mount one.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_costs_no_request_and_the_snapshot_that_was_there_stays() {
    let mut world = World::new();
    let Some(disk) = SmallDisk::mount() else { return };
    let own = std::mem::replace(&mut world.state, TempDir::new().expect("a folder"));
    drop(own);
    let start = |every| World::start_at(world.upstream.address, disk.0.path(), every);
    let running = start("1s");
    assert_eq!(world.status(&running), 200);
    wait_for(&running, "sluicegate_snapshot_keys", |keys| keys > 0.0);
    let path = disk.0.path().join("snapshot");
    let kept = fs::read(&path).expect("a snapshot");
    let filler = disk.0.path().join("filler");
    // Up to its last byte.
    assert!(fs::write(&filler, vec![0; 1 << 20]).is_err());
    assert_eq!(world.status(&running), 200);
    wait_for(&running, "sluicegate_snapshot_write_failures_total", |failures| {
        failures > 1.0
    });
    assert_eq!(world.status(&running), 429);
    assert_eq!(fs::read(&path).expect("a snapshot"), kept);
    assert_eq!(names(disk.0.path()), ["filler", "lock", "secret", "snapshot"]);
    let before = metric(&running, "sluicegate_snapshot_writes_total").expect("a count");
    fs::remove_file(&filler).expect("our own file");
    wait_for(&running, "sluicegate_snapshot_writes_total", |writes| writes > before);
    let log = stop(running);
    assert_eq!(log.matches("a restart would forget").count(), 1, "{log}");
    let next = start("1h");
    assert_eq!(world.status(&next), 429);
}

/// A file system of 64 KiB, for as long as it lives.
#[cfg(target_os = "linux")]
struct SmallDisk(TempDir);

#[cfg(target_os = "linux")]
impl SmallDisk {
    /// `None` where this process may mount nothing.
    fn mount() -> Option<Self> {
        let directory = TempDir::new().expect("a folder");
        let flags = rustix::mount::MountFlags::empty();
        let mounted = rustix::mount::mount("sluicegate-test", directory.path(), "tmpfs", flags, Some(c"size=64k"));
        if matches!(mounted, Err(rustix::io::Errno::PERM | rustix::io::Errno::ACCESS)) {
            return None;
        }
        mounted.expect("a small disk");
        Some(Self(directory))
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}
