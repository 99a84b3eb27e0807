//! Power cuts lose what was not synced, and nothing else: shown on a process of our own, killed with SIGKILL.
//!
//! This test starts itself again with the library preloaded; the copy does what its one argument says, reports that on
//! its standard output, and waits to be killed.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use avouch_integration_tests::soak::powercut::{Fate, PowerCut};
use avouch_integration_tests::soak::preload;
use avouch_sqlite::rusqlite::Connection;

const DEED: &str = "POWERCUT_TEST_DEED";
const ROOT: &str = "POWERCUT_ROOT";

/// A directory, and what a cut leaves of it.
struct Place {
    temp: tempfile::TempDir,
    cut: PowerCut,
}

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("root");
        fs::create_dir(&root).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("preload/powercut.c");
        let library = preload::build(&source, temp.path()).unwrap();
        let cut = PowerCut::new(library, root, temp.path().join("shadow")).unwrap();
        Self { temp, cut }
    }

    fn root(&self) -> PathBuf {
        self.temp.path().join("root")
    }

    /// Has a process do something, and kills it when it says that it has.
    fn after(&self, deed: &str) -> &Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "powercut::the_process_that_is_killed", "--nocapture", "--test-threads=1"])
            .envs(self.cut.env())
            .env(DEED, deed)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let done = lines.any(|line| line.is_ok_and(|line| line.ends_with("done")));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(done, "{deed} was not done");
        self
    }

    fn pull(&self, fate: Fate) -> usize {
        self.cut.pull(&["spared"], || fate).unwrap()
    }

    fn left(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.root().join(name)).ok()
    }
}

fn write(path: &Path, text: &str) -> File {
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn sync_dir(dir: &Path) {
    File::open(dir).unwrap().sync_all().unwrap();
}

/// Not a test of its own: what the copies do.
#[test]
fn the_process_that_is_killed() {
    let (Ok(deed), Some(root)) = (std::env::var(DEED), std::env::var_os(ROOT).map(PathBuf::from)) else {
        return;
    };
    let path = root.join("file");
    match deed.as_str() {
        "write" => drop(write(&path, "new")),
        "write and sync" => {
            write(&path, "synced").sync_all().unwrap();
            sync_dir(&root);
        }
        "write and sync without its name" => write(&path, "synced").sync_data().unwrap(),
        "overwrite the middle" => {
            let mut file = OpenOptions::new().write(true).open(&path).unwrap();
            file.seek(SeekFrom::Start(2)).unwrap();
            file.write_all(b"##").unwrap();
        }
        "overwrite the middle and sync" => {
            let mut file = OpenOptions::new().write(true).open(&path).unwrap();
            file.seek(SeekFrom::Start(2)).unwrap();
            file.write_all(b"##").unwrap();
            file.sync_data().unwrap();
        }
        "shrink and grow and sync" => {
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(1).unwrap();
            file.set_len(3).unwrap();
            file.sync_all().unwrap();
        }
        "replace without syncing the contents" => {
            write(&root.join("file.new"), "replaced");
            fs::rename(root.join("file.new"), &path).unwrap();
            sync_dir(&root);
        }
        "replace without syncing the names" => {
            write(&root.join("file.new"), "replaced").sync_all().unwrap();
            fs::rename(root.join("file.new"), &path).unwrap();
        }
        "remove" => fs::remove_file(&path).unwrap(),
        "insert" | "insert without syncing" => insert(&root, deed == "insert"),
        other => panic!("nobody knows how to {other}"),
    }
    println!("done");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    panic!("nobody killed this process");
}

const SCHEMA: &[&str] = &["CREATE TABLE item (n INTEGER NOT NULL) STRICT"];

/// Inserts a row into a store that answers after its commit is durable, or is told not to care.
fn insert(root: &Path, durable: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = avouch_sqlite::Store::open(&root.join("store.db"), SCHEMA).unwrap();
    runtime.block_on(async {
        if !durable {
            let off = store.call::<_, avouch_sqlite::StoreError, _>(|c| {
                // Not inside the transaction that every job has.
                c.execute_batch("COMMIT; PRAGMA synchronous = OFF; BEGIN; SAVEPOINT job")?;
                Ok(())
            });
            off.await.unwrap();
        }
        for n in 0..50 {
            let row = store.call::<_, avouch_sqlite::StoreError, _>(move |c| {
                c.execute("INSERT INTO item (n) VALUES (?1)", [n])?;
                Ok(())
            });
            row.await.unwrap();
        }
    });
    // The process is killed with the store open.
    std::mem::forget(store);
}

fn rows(place: &Place) -> i64 {
    let store = Connection::open(place.root().join("store.db")).unwrap();
    store.query_row("SELECT count(*) FROM item", [], |row| row.get(0)).unwrap()
}

#[test]
fn what_was_not_synced_is_lost_and_what_was_is_kept() {
    let place = Place::new();
    assert_eq!(place.after("write").pull(Fate::Lost), 1);
    assert_eq!(place.left("file"), None);
    assert_eq!(place.after("write and sync").pull(Fate::Lost), 0);
    assert_eq!(place.left("file").unwrap(), "synced");
    assert_eq!(place.after("write").pull(Fate::Lost), 1);
    assert_eq!(place.left("file").unwrap(), "synced");
}

#[test]
fn what_was_not_synced_may_be_kept_as_well() {
    let place = Place::new();
    assert_eq!(place.after("write").pull(Fate::Kept), 0);
    assert_eq!(place.left("file").unwrap(), "new");
}

#[test]
fn a_file_whose_directory_was_not_synced_has_no_name() {
    let place = Place::new();
    place.after("write and sync without its name").pull(Fate::Lost);
    assert_eq!(place.left("file"), None);
}

#[test]
fn exactly_the_bytes_that_were_synced_are_kept() {
    let place = Place::new();
    place.after("write and sync").pull(Fate::Lost);
    place.after("overwrite the middle").pull(Fate::Lost);
    assert_eq!(place.left("file").unwrap(), "synced");
    place.after("overwrite the middle and sync").pull(Fate::Lost);
    assert_eq!(place.left("file").unwrap(), "sy##ed");
    place.after("shrink and grow and sync").pull(Fate::Lost);
    assert_eq!(place.left("file").unwrap(), "s\0\0");
}

#[test]
fn a_file_that_was_replaced_without_a_sync_of_its_contents_is_empty() {
    let place = Place::new();
    place.after("write and sync").pull(Fate::Lost);
    place.after("replace without syncing the contents").pull(Fate::Lost);
    assert_eq!(place.left("file").unwrap(), "");
}

#[test]
fn a_replacement_or_removal_that_did_not_reach_the_directory_has_not_happened() {
    let place = Place::new();
    place.after("write and sync").pull(Fate::Lost);
    place.after("replace without syncing the names").pull(Fate::Lost);
    assert_eq!((place.left("file").unwrap().as_str(), place.left("file.new")), ("synced", None));
    place.after("remove").pull(Fate::Lost);
    assert_eq!(place.left("file").unwrap(), "synced");
}

#[test]
fn what_is_spared_is_left_alone() {
    let place = Place::new();
    fs::write(place.root().join("spared"), "mine").unwrap();
    place.after("write and sync").pull(Fate::Lost);
    assert_eq!(place.left("spared").unwrap(), "mine");
}

#[test]
fn a_stores_answer_outlives_the_power() {
    let place = Place::new();
    place.after("insert").pull(Fate::Lost);
    assert_eq!(rows(&place), 50);
}

#[test]
fn a_store_that_does_not_sync_loses_what_it_has_answered() {
    let place = Place::new();
    assert!(place.after("insert without syncing").pull(Fate::Lost) > 0);
    assert_eq!(rows(&place), 0);
}

#[test]
fn a_library_that_does_not_build_says_why() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("bad.c"), "int main(void) { return nonsense; }\n").unwrap();
    let error = preload::build(&temp.path().join("bad.c"), temp.path()).unwrap_err();
    assert!(error.to_string().contains("nonsense"), "{error}");
}
