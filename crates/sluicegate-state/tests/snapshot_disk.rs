//! The file of a snapshot on a real file system: links, other kinds of files, full disks, writers that are killed (T54, F12,
//! F13).
#![cfg(unix)]

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sluicegate_state::snapshot::{
    self, Bucket, Chunk, Damage, Durability, Fingerprint, Header, Identity, Parameters, ReadError, Storage, Tag,
    WriteError, Writer, Written,
};
use tempfile::TempDir;

const FINGERPRINT: Fingerprint = Fingerprint([0x5A; 16]);

/// More than any file here has.
const BYTES_MAX: u64 = 64 << 20;

/// By this a child process knows that it is one, and where to write.
const CHILD: &str = "SLUICEGATE_SNAPSHOT_CHILD";

/// A directory of its own, and the snapshot's path in it.
fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("snapshot");
    (directory, path)
}

/// A header that is told from others by its time, which all its records repeat.
fn header(generation: u64) -> Header {
    let bucket = Bucket {
        identity: Identity([1; 16]),
        storage: Storage::Word,
        parameters: Parameters::default(),
    };
    Header::new(FINGERPRINT, generation, "test", vec![bucket]).expect("a header")
}

fn fill(writer: &mut Writer<'_>, generation: u64, records: u64) -> Result<(), WriteError> {
    (0..records).try_for_each(|hash| writer.word(Tag::new(0, hash), generation))
}

fn write(path: &Path, generation: u64, records: u64) -> Result<Written, WriteError> {
    snapshot::write(path, &header(generation), Durability::Cached, |writer| {
        fill(writer, generation, records)
    })
}

fn open(path: &Path) -> Result<Option<snapshot::Snapshot<File>>, ReadError> {
    snapshot::open(path, FINGERPRINT, BYTES_MAX)
}

/// Which generation the snapshot at `path` is of, and how many records it has; all of it is seen to be of that one.
#[track_caller]
fn generation(path: &Path) -> (u64, u64) {
    let mut snapshot = open(path).expect("a whole file").expect("a file");
    let generation = snapshot.header().written_at_unix_ns();
    let mut records = 0;
    let count = |chunk: Chunk<'_>| {
        if let Chunk::Word(words) = chunk {
            assert!(words.iter().all(|[_, state]| *state == generation));
            records += words.len() as u64;
        }
    };
    snapshot.for_each_chunk(count).expect("a whole file");
    assert_eq!(records, snapshot.records());
    (generation, records)
}

/// The names in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into_string().expect("a name");
    let mut names: Vec<_> = entries.map(name).collect();
    names.sort();
    names
}

#[test]
fn a_snapshot_is_for_its_owner_alone_and_stands_alone_in_its_directory() {
    for durability in [Durability::Cached, Durability::Synced] {
        let (directory, path) = place();
        for generation in [1, 2] {
            let written = snapshot::write(&path, &header(generation), durability, |writer| {
                fill(writer, generation, 10)
            });
            let bytes = fs::metadata(&path).expect("a file").len();
            assert_eq!(written.expect("room"), Written { records: 10, bytes });
        }
        assert_eq!(generation(&path), (2, 10));
        assert_eq!(
            fs::metadata(&path).expect("a file").permissions().mode() & 0o7777,
            0o600
        );
        assert_eq!(names(directory.path()), ["snapshot"]);
    }
}

#[test]
fn where_no_snapshot_is_there_is_none_and_no_error() {
    let (_directory, path) = place();
    assert!(open(&path).expect("no error").is_none());
}

#[test]
fn a_writer_that_fails_or_panics_leaves_the_snapshot_that_was_there_and_nothing_else() {
    let (directory, path) = place();
    write(&path, 1, 10).expect("room");
    let refused = snapshot::write(&path, &header(2), Durability::Cached, |writer| {
        fill(writer, 2, 100_000)?;
        writer.word(Tag::new(1, 0), 0)
    });
    assert!(matches!(refused, Err(WriteError::NoSuchBucket { bucket: 1, .. })));
    let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
        snapshot::write(&path, &header(2), Durability::Cached, |writer| {
            fill(writer, 2, 100_000)?;
            panic::resume_unwind(Box::new("a defect of the caller"))
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(generation(&path), (1, 10));
    assert_eq!(names(directory.path()), ["snapshot"]);
}

#[test]
fn a_link_is_replaced_when_written_and_refused_when_read() {
    let (directory, path) = place();
    let target = directory.path().join("target");
    write(&target, 1, 10).expect("room");
    symlink(&target, &path).expect("a link");
    assert!(matches!(open(&path), Err(ReadError::NotRegular)));
    write(&path, 2, 20).expect("room");
    assert!(!fs::symlink_metadata(&path).expect("a file").is_symlink());
    assert_eq!(generation(&path), (2, 20));
    assert_eq!(generation(&target), (1, 10));

    // One that leads nowhere is as little a reason to make what it names.
    let (directory, path) = place();
    symlink(directory.path().join("nowhere"), &path).expect("a link");
    assert!(matches!(open(&path), Err(ReadError::NotRegular)));
    write(&path, 3, 30).expect("room");
    assert_eq!(names(directory.path()), ["snapshot"]);
}

/// A pipe that nobody writes to would else hold up the start for ever.
#[test]
fn a_directory_a_pipe_or_a_device_in_the_files_place_is_refused_without_waiting() {
    let (directory, path) = place();
    fs::create_dir(&path).expect("a directory");
    assert!(matches!(open(&path), Err(ReadError::NotRegular)));
    assert!(matches!(write(&path, 1, 10), Err(WriteError::Io(_))));
    assert_eq!(names(directory.path()), ["snapshot"]);
    let aside = snapshot::set_aside(&path).expect("our own directory");
    assert!(aside.is_dir());
    write(&path, 1, 10).expect("room");
    assert_eq!(generation(&path), (1, 10));

    let (_directory, path) = place();
    let made = Command::new("mkfifo")
        .arg(&path)
        .status()
        .expect("mkfifo is everywhere");
    assert!(made.success());
    assert!(matches!(open(&path), Err(ReadError::NotRegular)));
    write(&path, 1, 10).expect("room");
    assert_eq!(generation(&path), (1, 10));

    assert!(matches!(open(Path::new("/dev/zero")), Err(ReadError::NotRegular)));
}

#[test]
fn a_path_that_names_no_file_is_refused() {
    for path in ["/", "..", ""] {
        let refused = write(Path::new(path), 1, 1).expect_err("no name");
        assert!(matches!(&refused, WriteError::Io(error) if error.kind() == io::ErrorKind::InvalidInput));
        assert!(snapshot::set_aside(Path::new(path)).is_err());
        assert!(snapshot::remove_leftovers(Path::new(path)).is_err());
    }
}

#[test]
fn a_file_that_others_may_write_is_refused() {
    let (_directory, path) = place();
    write(&path, 1, 10).expect("room");
    for (mode, is_refused) in [
        (0o620, true),
        (0o602, true),
        (0o666, true),
        (0o644, false),
        (0o400, false),
    ] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("our own file");
        match open(&path) {
            Err(ReadError::Exposed) => assert!(is_refused, "{mode:o}"),
            other => assert!(!is_refused && matches!(other, Ok(Some(_))), "{mode:o}: {other:?}"),
        }
    }
}

/// By a user whom the file's mode concerns: it does not concern root.
#[test]
fn a_file_that_cannot_be_read_is_an_error_and_not_an_empty_start() {
    let (directory, path) = place();
    write(&path, 1, 10).expect("room");
    fs::set_permissions(&path, Permissions::from_mode(0o000)).expect("our own file");
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("our own directory");
    let opened = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            become_somebody();
            open(&path)
        });
        reader.join().expect("no panic")
    });
    let is_denied = matches!(&opened, Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::PermissionDenied);
    assert!(is_denied, "{opened:?}");
}

/// Makes this thread, if root runs it, one of a plain user.
#[cfg(target_os = "linux")]
fn become_somebody() {
    if rustix::process::geteuid().is_root() {
        let nobody = rustix::process::Uid::from_raw(65_534);
        rustix::thread::set_thread_uid(nobody).expect("root may be anybody");
    }
}

#[cfg(not(target_os = "linux"))]
fn become_somebody() {
    assert!(!rustix::process::geteuid().is_root(), "run the tests as a plain user");
}

#[test]
fn a_file_set_aside_replaces_the_one_set_aside_before() {
    let (directory, path) = place();
    for content in ["first", "second"] {
        fs::write(&path, content).expect("room");
        assert!(matches!(open(&path), Err(ReadError::NotOurs)));
        let aside = snapshot::set_aside(&path).expect("our own file");
        assert_eq!(aside, directory.path().join("snapshot.bad"));
        assert_eq!(fs::read_to_string(aside).expect("the file"), content);
    }
    assert_eq!(names(directory.path()), ["snapshot.bad"]);
    assert!(snapshot::set_aside(&path).is_err());
}

#[test]
fn what_a_killed_writer_left_is_removed_and_what_a_living_one_makes_is_spared() {
    let (directory, path) = place();
    let file = |name: &str| File::create(directory.path().join(name)).expect("room");
    for name in [
        ".snapshot.1.0.draft",
        ".snapshot.1.1.draft",
        "snapshot.1.draft",
        ".snapshot.bad",
        ".other.1.0.draft",
    ] {
        file(name);
    }
    let living = file(".snapshot.2.0.draft");
    living.lock().expect("a lock");
    let spared = [
        ".other.1.0.draft",
        ".snapshot.2.0.draft",
        ".snapshot.bad",
        "snapshot.1.draft",
    ];
    assert_eq!(snapshot::remove_leftovers(&path).expect("a directory"), 2);
    assert_eq!(names(directory.path()), spared);
    drop(living);
    write(&path, 1, 10).expect("room");
    assert!(!names(directory.path()).contains(&".snapshot.2.0.draft".to_owned()));

    // Two that write at once do not remove each other's.
    let outer = snapshot::write(&path, &header(3), Durability::Cached, |writer| {
        assert_eq!(snapshot::remove_leftovers(&path).expect("a directory"), 0);
        write(&path, 2, 20)?;
        assert_eq!(generation(&path), (2, 20));
        fill(writer, 3, 30)
    });
    assert_eq!(outer.expect("room").records, 30);
    assert_eq!(generation(&path), (3, 30));
}

/// Another process may write into the file that was opened, or the disk give another byte the second time.
#[test]
fn a_file_that_changes_after_it_was_checked_is_found_out() {
    let (_directory, path) = place();
    write(&path, 1, 100_000).expect("room");
    let mut snapshot = open(&path).expect("a whole file").expect("a file");
    let mut bytes = fs::read(&path).expect("the file");
    let last = bytes.len() - 50;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).expect("our own file");
    let mut chunks = 0;
    let error = snapshot.for_each_chunk(|_| chunks += 1).expect_err("a changed file");
    assert!(
        matches!(
            error,
            ReadError::Damaged {
                damage: Damage::Checksum,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(chunks > 1);
    File::create(&path).expect("our own file");
    let error = snapshot.for_each_chunk(|_| {}).expect_err("a changed file");
    assert!(
        matches!(
            error,
            ReadError::Damaged {
                damage: Damage::CutShort,
                ..
            }
        ),
        "{error:?}"
    );
}

/// On a file system of 64 KiB where this process may mount one; where it may not, and there too, under a limit of the size
/// that files may have.
#[test]
fn a_full_disk_leaves_the_snapshot_that_was_there_and_the_next_one_is_written_when_there_is_room() {
    if let Some(directory) = as_child() {
        check_full(&directory);
        return;
    }
    if let Some(disk) = SmallDisk::mount() {
        check_full(disk.0.path());
    }
    // In units of 512 bytes, or of 1024 in some shells. The signal that would end the process is ignored across `exec`.
    let shell = "trap '' XFSZ; ulimit -f 64 && exec \"$@\"";
    let (directory, _) = place();
    let mut command = Command::new("sh");
    command
        .args(["-c", shell, "sh"])
        .arg(std::env::current_exe().expect("this program"));
    let test = "a_full_disk_leaves_the_snapshot_that_was_there_and_the_next_one_is_written_when_there_is_room";
    command.args(["--exact", test]).env(CHILD, directory.path());
    let output = command.output().expect("a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    // The child has written there, so it ran this test and not none.
    assert_eq!(generation(&directory.path().join("snapshot")), (3, 20));
}

/// In a directory whose file system takes less than a megabyte.
fn check_full(directory: &Path) {
    let path = directory.join("snapshot");
    write(&path, 1, 10).expect("a small file fits");
    // As long as the disk is full, each attempt ends alike.
    for _ in 0..3 {
        let refused = write(&path, 2, 1_000_000).expect_err("a large file does not fit");
        let kind = match &refused {
            WriteError::Io(error) => Some(error.kind()),
            _ => None,
        };
        let is_full = matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge));
        assert!(is_full, "{refused:?}");
        assert_eq!(generation(&path), (1, 10));
        assert_eq!(names(directory), ["snapshot"]);
    }
    write(&path, 3, 20).expect("a small file fits");
    assert_eq!(generation(&path), (3, 20));
}

/// A file system of 64 KiB, for as long as it lives.
struct SmallDisk(TempDir);

#[cfg(target_os = "linux")]
impl SmallDisk {
    /// `None` where this process may mount nothing.
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
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

#[cfg(not(target_os = "linux"))]
impl SmallDisk {
    fn mount() -> Option<Self> {
        None
    }
}

/// Fifty times, each after a number of records that a seed gives, wherever the writer has come by then.
#[test]
fn a_writer_killed_at_any_moment_leaves_a_whole_snapshot_and_a_leftover_that_goes() {
    const RECORDS: u64 = 50_000;
    if let Some(directory) = as_child() {
        write_until_nobody_reads(&directory.join("snapshot"), RECORDS);
        return;
    }
    let (directory, path) = place();
    write(&path, 0, RECORDS).expect("room");
    let test = "a_writer_killed_at_any_moment_leaves_a_whole_snapshot_and_a_leftover_that_goes";
    let (mut newest, mut leftovers, mut random) = (0, 0, 1u64);
    for round in 0..50 {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command
            .args(["--exact", test, "--nocapture"])
            .env(CHILD, directory.path());
        let mut child = Killed(command.stdout(Stdio::piped()).spawn().expect("this program"));
        // Knuth's multiplier; its high bits are the good ones.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut marks = vec![0; 200 + usize::try_from(random >> 56).expect("a byte")];
        let mut told = child.0.stdout.take().expect("a pipe");
        told.read_exact(&mut marks)
            .expect("the child writes until it is killed");
        drop(child);
        let (found, records) = generation(&path);
        assert_eq!(records, RECORDS, "round {round}");
        assert!(found >= newest, "round {round}: {found} after {newest}");
        newest = found;
        leftovers += snapshot::remove_leftovers(&path).expect("a directory");
        assert_eq!(names(directory.path()), ["snapshot"], "round {round}");
    }
    assert!(newest > 0, "no child has finished a snapshot");
    assert!(leftovers > 0, "no child was killed while it wrote");
}

/// Writes one snapshot after the other, each of the next generation, and a mark for every thousand records of them.
fn write_until_nobody_reads(path: &Path, records: u64) {
    let (mut next, _) = generation(path);
    let mut marks = io::stdout();
    loop {
        next += 1;
        let written = snapshot::write(path, &header(next), Durability::Cached, |writer| {
            for hash in 0..records {
                writer.word(Tag::new(0, hash), next)?;
                if hash % 1000 == 0 {
                    marks.write_all(b".")?;
                    marks.flush()?;
                }
            }
            Ok(())
        });
        if written.is_err() {
            return;
        }
    }
}

/// A child process, killed and gone when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where to write, if this process is a child of one of these tests.
#[expect(
    clippy::disallowed_methods,
    reason = "the arguments of a child of this program are its test harness's"
)]
fn as_child() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}
