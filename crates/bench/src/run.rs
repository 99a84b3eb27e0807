//! A run: its groups one after the other, each reported as soon as it is measured.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use crate::against;
use crate::args::Options;
use crate::bench::{Bench, Build, Extent};
use crate::error::Error;
use crate::groups::{GROUPS, Group};
use crate::machine::Watch;
use crate::report::{Report, Section};

/// Measures what `options` ask for. A group that fails is reported, and the others are measured all the same.
///
/// # Errors
/// What keeps the run from beginning, or the groups that failed, once what was measured has been printed and written.
pub fn run(options: &Options) -> Result<(), Error> {
    if options.list {
        return GROUPS.iter().try_for_each(|group| print(&format!("{:<12} {}\n", group.name, group.about)));
    }
    let groups = choose(&options.groups)?;
    let root = root()?;
    let program = std::env::current_exe().map_err(Error::system("find this program"))?;
    let dir = program.parent().map(Path::to_owned).unwrap_or_default();
    let mut builds = vec![Build { suffix: String::new(), dir }];
    if let Some(against) = &options.against {
        builds.push(against::find(&root, against)?);
    }
    let extent = if options.quick { Extent::Quick } else { Extent::Whole };
    let _alone = alone(&root.join("target/bench"))?;
    let bench = Bench::prepare(&root, root.join("target/bench/run"), extent, builds)?;
    let (mut sections, mut failed) = (Vec::new(), Vec::new());
    for group in groups {
        let (began, watch) = (Instant::now(), Watch::start());
        let tables = match (group.measure)(&bench) {
            Ok(tables) => tables,
            Err(error) => {
                complain(&error);
                failed.push(group.name);
                continue;
            }
        };
        let seconds = began.elapsed().as_secs_f64();
        let section =
            Section { group: group.name, about: group.about, seconds, disturbed: watch.disturbed(), tables };
        print(&section.to_markdown())?;
        sections.push(section);
    }
    if let Some(path) = &options.json {
        write(path, sections)?;
    }
    if failed.is_empty() { Ok(()) } else { Err(Error::other(format!("not measured: {}", failed.join(", ")))) }
}

fn write(path: &Path, sections: Vec<Section>) -> Result<(), Error> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let arguments = std::env::args().skip(1).collect();
    let report = Report { version: env!("CARGO_PKG_VERSION"), arguments, cores, sections };
    let json = serde_json::to_vec_pretty(&report).map_err(|error| Error::other(error.to_string()))?;
    std::fs::write(path, json).map_err(Error::system(format!("write {}", path.display())))
}

/// Keeps other runs in this tree away until the file is dropped: two at once would share the cores and the directory.
fn alone(dir: &Path) -> Result<File, Error> {
    std::fs::create_dir_all(dir).map_err(Error::system(format!("make {}", dir.display())))?;
    let path = dir.join("lock");
    let lock = File::create(&path).map_err(Error::system(format!("write {}", path.display())))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            Err(Error::other(format!("another run is under way here: it holds {}", path.display())))
        }
        Err(TryLockError::Error(source)) => Err(Error::system(format!("lock {}", path.display()))(source)),
    }
}

fn choose(names: &[String]) -> Result<Vec<&'static Group>, Error> {
    if names.is_empty() {
        return Ok(GROUPS.iter().collect());
    }
    let known = || GROUPS.iter().map(|group| group.name);
    let find = |name: &String| {
        GROUPS.iter().find(|group| group.name == name).ok_or_else(|| {
            let meant = avouch_text::suggest(name, known()).map(|it| format!(" (did you mean `{it}`?)"));
            let known: Vec<_> = known().collect();
            Error::other(format!(
                "unknown group `{name}`{}; there are {}",
                meant.unwrap_or_default(),
                known.join(", ")
            ))
        })
    };
    names.iter().map(find).collect()
}

/// The repository: the directory above that has the benchmarks.
pub(crate) fn root() -> Result<std::path::PathBuf, Error> {
    let here = std::env::current_dir().map_err(Error::system("find the current directory"))?;
    let found = here.ancestors().find(|dir| dir.join("crates/bench/Cargo.toml").is_file());
    found.map(Path::to_owned).ok_or_else(|| Error::other("not in avouch's repository"))
}

/// Tells the person what is being measured.
pub fn progress(what: &str) {
    // A terminal that has gone away is no reason to stop.
    let _ = writeln!(std::io::stderr(), "… {what}");
}

/// Tells the person what is left out of the run, and why.
pub fn warn(what: &str) {
    let _ = writeln!(std::io::stderr(), "!! {what}");
}

/// Tells the person what failed.
pub fn complain(error: &Error) {
    let _ = writeln!(std::io::stderr(), "avouch-bench: {}", avouch_text::with_causes(error));
}

/// Writes to standard output.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Error::system("print"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_at_the_same_time_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = alone(dir.path()).unwrap();
        let refused = alone(dir.path()).unwrap_err().to_string();
        assert!(refused.starts_with("another run is under way here"), "{refused}");
        drop(first);
        assert!(alone(dir.path()).is_ok());
    }

    #[test]
    fn a_misspelt_group_is_told_with_those_there_are() {
        let told = choose(&["issuence".to_owned()]).unwrap_err().to_string();
        assert!(
            told.starts_with("unknown group `issuence` (did you mean `issuance`?); there are calls"),
            "{told}"
        );
    }
}
