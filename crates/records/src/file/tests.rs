//! The record file on real file systems: with a full disk, an absent directory and a removed file.

use std::sync::Arc;

use avouch_api::observe::v1::Record;

use super::*;
use crate::testing::{methods, refused};

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn log(&self, name: &str, rotate_bytes: u64, rotate_keep: u32) -> FileLog {
        log(self.path(name), rotate_bytes, rotate_keep)
    }

    /// The numbers of the refusals in a file, all of whose lines must be whole.
    fn numbers(&self, name: &str) -> Vec<usize> {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "{text}");
        text.lines().map(number).collect()
    }
}

fn log(path: PathBuf, rotate_bytes: u64, rotate_keep: u32) -> FileLog {
    FileLog::new(FileConfig { path, rotate_bytes, rotate_keep, allowed: true }, methods())
}

fn number(text: &str) -> usize {
    let record: Record = json_line::parse(text).unwrap().unwrap();
    record.decision.unwrap().detail.strip_prefix("number ").unwrap().parse().unwrap()
}

fn lines(numbers: std::ops::Range<usize>) -> Vec<Line> {
    numbers.map(|number| Line::Entry(Entry::Refused(Arc::new(refused(number))))).collect()
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn only_the_process_itself_can_read_the_file_even_if_others_could_before() {
    let bench = Bench::new();
    fs::write(bench.path("old"), "").unwrap();
    fs::set_permissions(bench.path("old"), Permissions::from_mode(0o666)).unwrap();
    for name in ["new", "old"] {
        let mut log = bench.log(name, 1_000_000, 1);
        log.append(&lines(0..3));
        log.flush(false);
        assert_eq!((mode(&bench.path(name)), log.problem()), (0o600, ""));
        assert_eq!(bench.numbers(name), [0, 1, 2]);
    }
}

#[test]
fn a_full_file_is_followed_by_another_and_only_so_many_are_kept() {
    let bench = Bench::new();
    let mut log = bench.log("records", 1_000, 2);
    for at in 0..100 {
        log.append(&lines(at..at + 1));
        log.flush(false);
    }
    assert_eq!((log.take_lost(), log.problem()), (0, ""));
    let all: Vec<_> =
        ["records.2", "records.1", "records"].into_iter().flat_map(|name| bench.numbers(name)).collect();
    assert_eq!(all, (100 - all.len()..100).collect::<Vec<_>>(), "the latest ones, in their order");
    assert!(all.len() > 8, "{all:?}");
    assert_eq!(fs::read_dir(bench.dir.path()).unwrap().count(), 3);
    for file in fs::read_dir(bench.dir.path()).unwrap() {
        let file = file.unwrap();
        assert!(file.metadata().unwrap().len() <= 1_000 && mode(&file.path()) == 0o600);
    }
}

#[test]
fn a_batch_larger_than_a_file_is_divided_between_lines_and_a_line_larger_than_a_file_is_one_file() {
    let bench = Bench::new();
    let mut log = bench.log("records", 1_000, 50);
    log.append(&lines(0..60));
    log.flush(false);
    let older = fs::read_dir(bench.dir.path()).unwrap().count() - 1;
    let mut all: Vec<_> =
        (1..=older).rev().flat_map(|older| bench.numbers(&format!("records.{older}"))).collect();
    all.extend(bench.numbers("records"));
    assert_eq!(all, (0..60).collect::<Vec<_>>());

    let mut log = bench.log("tiny", 10, 2);
    log.append(&lines(0..3));
    log.flush(false);
    assert_eq!(
        (bench.numbers("tiny.2"), bench.numbers("tiny.1"), bench.numbers("tiny")),
        (vec![0], vec![1], vec![2])
    );

    let mut log = bench.log("none", 10, 0);
    log.append(&lines(0..3));
    log.flush(false);
    assert_eq!(bench.numbers("none"), [2]);
    assert!(!bench.path("none.1").exists());
}

#[test]
fn what_cannot_be_written_waits_is_told_and_is_written_once_there_is_a_place() {
    let bench = Bench::new();
    let mut log = bench.log("absent/records", 1_000_000, 1);
    log.append(&lines(0..3));
    log.flush(false);
    assert!(log.problem().contains("absent/records: No such file"), "{}", log.problem());
    fs::create_dir(bench.path("absent")).unwrap();
    log.flush(false);
    assert!(!log.problem().is_empty(), "not at once: nothing is tried in circles");
    log.append(&lines(3..4));
    log.flush(true);
    assert_eq!((log.take_lost(), log.problem()), (0, ""));
    assert_eq!(bench.numbers("absent/records"), [0, 1, 2, 3]);
}

#[test]
fn a_disk_that_stays_full_costs_lines_which_are_counted_and_bounded_memory() {
    let bench = Bench::new();
    fs::write(bench.path("records"), "").unwrap();
    let mut log = bench.log("records", u64::MAX, 1);
    let found = fs::metadata(bench.path("records")).unwrap();
    // Every write to it fails as on a full disk.
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    log.open = Some(Open { file: full, size: 0, inode: (found.dev(), found.ino()) });
    let mut lost = 0;
    for at in 0..100 {
        log.append(&lines(at * 100..(at + 1) * 100));
        log.flush(true);
        assert!(log.problem().contains("No space left"), "{}", log.problem());
        assert!(log.buffer.len() < BUFFER + 1_000, "{}", log.buffer.len());
        lost += log.take_lost();
    }
    assert!(lost > 0 && lost < 10_000, "{lost}");
    // There is room again.
    log.open = None;
    log.flush(true);
    assert_eq!(log.problem(), "");
    let kept: Vec<_> = bench.numbers("records");
    assert_eq!(kept.len() as u64 + lost, 10_000);
    assert_eq!(kept, (0..kept.len()).collect::<Vec<_>>(), "the first ones: they tell how it began");
}

#[test]
fn a_file_that_was_moved_or_removed_is_begun_again() {
    let bench = Bench::new();
    let mut log = bench.log("records", 1_000_000, 1);
    for (at, take) in [(0, "moved"), (1, "")] {
        log.append(&lines(at..at + 1));
        log.flush(false);
        match take {
            "" => fs::remove_file(bench.path("records")).unwrap(),
            name => fs::rename(bench.path("records"), bench.path(name)).unwrap(),
        }
    }
    log.append(&lines(2..3));
    log.flush(false);
    assert_eq!((bench.numbers("moved"), bench.numbers("records")), (vec![0], vec![2]));
}

#[test]
fn a_line_that_broke_off_goes_on_where_it_was_and_nowhere_else() {
    let bench = Bench::new();
    let mut log = bench.log("records", 1_000_000, 1);
    log.append(&lines(0..2));
    log.flush(false);
    // As after a write that stopped in the middle of a line.
    log.append(&lines(2..4));
    let written = 20;
    let open = log.open.as_mut().unwrap();
    open.file.write_all(&log.buffer[..written]).unwrap();
    log.buffer.drain(..written);
    log.torn = true;
    log.flush(false);
    assert_eq!(bench.numbers("records"), [0, 1, 2, 3]);
    assert!(!log.torn);

    log.append(&lines(4..6));
    log.buffer.drain(..written);
    log.torn = true;
    fs::rename(bench.path("records"), bench.path("moved")).unwrap();
    log.flush(false);
    assert_eq!(bench.numbers("records"), [5], "half a line means nothing in another file");
    assert_eq!(log.take_lost(), 1);
}

#[test]
fn a_device_is_not_written_to() {
    let mut log = log("/dev/null".into(), 1_000, 1);
    log.append(&lines(0..1));
    log.flush(true);
    assert!(log.problem().contains("not a regular file"), "{}", log.problem());
    assert!(std::path::Path::new("/dev/null").exists());
}

#[test]
fn nothing_is_written_where_a_link_leads_nor_into_a_fifo_nor_into_a_file_of_somebody_else() {
    let bench = Bench::new();
    let (path, theirs) = (bench.path("records"), bench.path("theirs"));
    fs::write(&theirs, "").unwrap();
    for (plant, word) in [
        (&(|| std::os::unix::fs::symlink(&theirs, &path).unwrap()) as &dyn Fn(), "symbolic link"),
        (
            &|| {
                rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0)
                    .unwrap()
            },
            "FIFO",
        ),
    ] {
        plant();
        let mut log = bench.log("records", 1_000, 1);
        log.append(&lines(0..1));
        log.flush(true);
        assert!(log.problem().contains(word), "{}", log.problem());
        fs::remove_file(&path).unwrap();
        log.flush(true);
        assert_eq!((log.problem(), bench.numbers("records")), ("", vec![0]));
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(fs::read(&theirs).unwrap(), b"");
    // Only root can give files away; others have a file of root's.
    let foreign = if std::os::unix::fs::chown(&theirs, Some(65_534), None).is_ok() {
        theirs
    } else {
        "/etc/passwd".into()
    };
    let mut log = log(foreign, 1_000, 1);
    log.append(&lines(0..1));
    log.flush(true);
    assert!(!log.problem().is_empty());
}
