//! Imports between the files of a crate run one way: no file uses one that uses it, by whatever way round. A file and
//! the files of the modules below it may use each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::modules::{Modules, Ties};
use crate::{metadata, root};

/// Packages whose circles are still to be cut. One that has none has to leave this list.
const NOT_YET: &[&str] = &[];

/// The first files of a package's library and programs.
fn targets(package: &serde_json::Value) -> Vec<PathBuf> {
    let targets = package["targets"].as_array().unwrap().iter();
    let ours = targets.filter(|target| {
        target["kind"].as_array().unwrap().iter().any(|kind| kind == "lib" || kind == "bin")
    });
    ours.map(|target| PathBuf::from(target["src_path"].as_str().unwrap())).collect()
}

type Uses<'a> = BTreeMap<&'a Path, BTreeSet<&'a Path>>;

fn reached<'a>(uses: &Uses<'a>, from: &'a Path) -> BTreeSet<&'a Path> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(file) = open.pop() {
        open.extend(uses.get(file).into_iter().flatten().copied().filter(|next| reached.insert(*next)));
    }
    reached
}

/// The groups of files each of which leads to every other one of its group.
fn circles(ties: &Ties) -> BTreeSet<BTreeSet<&Path>> {
    let mut uses = Uses::new();
    for (from, to) in ties.keys() {
        uses.entry(from).or_default().insert(to);
    }
    let all: Uses<'_> = uses.keys().map(|file| (*file, reached(&uses, file))).collect();
    let leads = |from: &Path, to: &Path| all.get(from).is_some_and(|reached| reached.contains(to));
    let tied = all.keys().filter(|file| leads(file, file));
    tied.map(|file| all.keys().copied().filter(|other| leads(file, other) && leads(other, file)).collect())
        .collect()
}

/// Each circle with the names that tie it, file for file.
fn report(ties: &Ties, source: &Path) -> String {
    let name = |file: &Path| file.strip_prefix(source).unwrap_or(file).display().to_string();
    let mut text = String::new();
    for circle in circles(ties) {
        writeln!(text, "  {} files use one another:", circle.len()).unwrap();
        for ((from, to), names) in ties {
            if circle.contains(from.as_path()) && circle.contains(to.as_path()) {
                let names = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                writeln!(text, "    {} → {}: {names}", name(from), name(to)).unwrap();
            }
        }
    }
    text
}

#[test]
fn imports_between_the_files_of_a_crate_run_one_way() {
    let metadata = metadata();
    let (mut wrong, mut known) = (String::new(), BTreeSet::new());
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let found: String = targets(package)
            .iter()
            .map(|target| report(&Modules::read(target).ties(), target.parent().unwrap()))
            .collect();
        match (found.is_empty(), NOT_YET.contains(&name)) {
            (true, true) => writeln!(wrong, "{name} has no circle: take it out of NOT_YET").unwrap(),
            (false, false) => write!(wrong, "{name}\n{found}").unwrap(),
            (false, true) => print!("{name}, known\n{found}"),
            (true, false) => {}
        }
        known.insert(name);
    }
    assert!(wrong.is_empty(), "in {}:\n{wrong}", root().display());
    assert!(NOT_YET.iter().all(|name| known.contains(name)), "NOT_YET names what is no package");
}

/// The circles of a crate of these files.
fn circles_of(files: &[(&str, &str)]) -> String {
    let source = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = source.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    report(&Modules::read(&source.path().join("lib.rs")).ties(), source.path())
}

#[test]
fn a_circle_of_siblings_is_found_and_the_names_that_tie_it() {
    let found = circles_of(&[
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::{b::{self, One}, c}; fn f() { b::two(); }"),
        ("b.rs", "pub struct One; pub fn two() { trace!(\"{}\", super::c::three()); }"),
        ("c.rs", "pub fn three() { crate::a::f(); }"),
    ]);
    assert!(found.contains("3 files") && found.contains("a.rs → b.rs: One, b, two\n"), "{found}");
    assert!(found.contains("b.rs → c.rs: three\n") && found.contains("c.rs → a.rs: f\n"), "{found}");
}

#[test]
fn a_name_handed_on_by_another_module_ties_to_the_file_that_defines_it() {
    let found = circles_of(&[
        ("lib.rs", "mod a; mod b; pub use a::deep::Deep as Known;"),
        ("a.rs", "pub mod deep;"),
        ("a/deep.rs", "pub struct Deep; use crate::b::Other;"),
        ("b.rs", "pub struct Other(crate::Known);"),
    ]);
    assert!(
        found.contains("a/deep.rs → b.rs: Other") && found.contains("b.rs → a/deep.rs: Known"),
        "{found}"
    );
    let found = circles_of(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "mod deep; pub(crate) use deep::*;"),
        ("a/deep.rs", "#[serde(default = \"crate::b::other\")] pub struct Deep;"),
        ("b.rs", "use super::a; pub fn other() -> a::Deep {}"),
    ]);
    assert!(found.contains("a/deep.rs → b.rs: other") && found.contains("b.rs → a/deep.rs: Deep"), "{found}");
}

#[test]
fn a_module_and_those_below_it_may_use_each_other_and_tests_are_left_out() {
    let found = circles_of(&[
        ("lib.rs", "mod a; mod b; pub struct Root; pub use a::Above;"),
        ("a.rs", "mod below; pub struct Above(below::Below, crate::Root);"),
        ("a/below.rs", "pub struct Below; impl Below { fn f() -> super::Above {} }"),
        (
            "b.rs",
            "use crate::a::Above; use std::a; pub struct B; #[cfg(test)] mod tests { use super::*; mod none; }
            #[cfg(test)] fn g() -> crate::c::Nothing {}",
        ),
        ("c.rs", "not read"),
    ]);
    assert_eq!(found, "");
}
