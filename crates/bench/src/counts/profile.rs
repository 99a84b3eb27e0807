//! What callgrind writes: the instructions of each function, and its calls of others.
//!
//! The [format](https://valgrind.org/docs/manual/cl-format.html): a line `fn=` names a function, whose own costs follow,
//! one line each. A line `calls=` says how often it called another, named in `cfn=`; the line after that is the cost of
//! these calls, which is counted where the other function stands. A name is written out once, with a number in
//! parentheses, and is the number alone after that.

use std::collections::HashMap;

/// The functions of the C library that allocate.
const ALLOCATE: [&str; 5] = ["malloc", "calloc", "posix_memalign", "aligned_alloc", "memalign"];

/// The function of the C library that makes an allocation larger or smaller.
const REALLOCATE: &str = "realloc";

/// What a process did between two marks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Profile {
    /// Instructions of the program's functions in Rust.
    pub own: u64,
    /// Instructions of the program's functions in C and assembly: all of them are of the cryptography.
    pub cryptography: u64,
    /// Instructions outside of the program: the C library, which copies memory and allocates it.
    pub libraries: u64,
    /// Allocations.
    pub allocations: u64,
    /// Allocations that were made larger or smaller.
    pub reallocations: u64,
}

/// Why a text is no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The text does not begin as callgrind's files do.
    #[error("it does not begin with `# callgrind format`")]
    Format,
    /// A line cannot be read.
    #[error("line {line}: `{text}` is not understood")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// Its text.
        text: String,
    },
    /// A number stands for a name that was not written out before.
    #[error("line {line}: there is no name ({number})")]
    Name {
        /// The line's number, from 1.
        line: usize,
        /// The name's number.
        number: u64,
    },
    /// The costs do not add up to what callgrind says: the file was cut off.
    #[error("it ends early: {found} instructions of {total}")]
    Total {
        /// The sum of the costs.
        found: u64,
        /// The total of the file.
        total: u64,
    },
    /// There is no total at the end: the file was cut off.
    #[error("it ends early: there is no total")]
    NoTotal,
}

impl Profile {
    /// Reads a file of callgrind's that was written for `program`, the path of the program as it was started.
    ///
    /// # Errors
    /// When it is something else, or was cut off.
    pub fn parse(text: &str, program: &str) -> Result<Self, ProfileError> {
        if !text.starts_with("# callgrind format") {
            return Err(ProfileError::Format);
        }
        let mut reader = Reader::new(program);
        for (line, text) in (1..).zip(text.lines()) {
            reader.read(line, text)?;
        }
        let Reader { profile, total, .. } = reader;
        let total = total.ok_or(ProfileError::NoTotal)?;
        let found = profile.instructions();
        if found == total { Ok(profile) } else { Err(ProfileError::Total { found, total }) }
    }

    /// All instructions.
    #[must_use]
    pub fn instructions(&self) -> u64 {
        self.own + self.cryptography + self.libraries
    }
}

/// Whose instructions a function's are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Own,
    Cryptography,
    Libraries,
}

struct Reader<'a> {
    program: &'a str,
    objects: Names<'a>,
    functions: Names<'a>,
    in_program: bool,
    owner: Owner,
    called: &'a str,
    /// The next line is the cost of calls.
    of_calls: bool,
    total: Option<u64>,
    profile: Profile,
}

impl<'a> Reader<'a> {
    fn new(program: &'a str) -> Self {
        Self {
            program,
            objects: Names::default(),
            functions: Names::default(),
            in_program: false,
            owner: Owner::Libraries,
            called: "",
            of_calls: false,
            total: None,
            profile: Profile::default(),
        }
    }

    fn read(&mut self, line: usize, text: &'a str) -> Result<(), ProfileError> {
        let malformed = || ProfileError::Line { line, text: text.to_owned() };
        if text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '*')) {
            // The position, relative or not, and the cost, which is left out if it is nothing.
            let cost = match text.split_once(' ') {
                Some((_, cost)) => cost.trim().parse().map_err(|_| malformed())?,
                None => 0,
            };
            if !std::mem::take(&mut self.of_calls) {
                self.add(cost);
            }
            return Ok(());
        }
        if let Some(total) = text.strip_prefix("totals: ") {
            self.total = Some(total.trim().parse().map_err(|_| malformed())?);
            return Ok(());
        }
        let Some((key, value)) = text.split_once('=') else { return Ok(()) };
        match key {
            "ob" => self.in_program = self.objects.name(line, value)? == self.program,
            "cob" => drop(self.objects.name(line, value)?),
            "fn" => {
                let name = self.functions.name(line, value)?;
                self.owner = match (self.in_program, is_rust(name)) {
                    (true, true) => Owner::Own,
                    (true, false) => Owner::Cryptography,
                    (false, _) => Owner::Libraries,
                };
            }
            "cfn" => self.called = self.functions.name(line, value)?,
            "calls" => {
                let times = value.split(' ').next().and_then(|times| times.parse().ok());
                self.called(times.ok_or_else(malformed)?);
                self.of_calls = true;
            }
            // Files, jumps and remarks.
            _ => {}
        }
        Ok(())
    }

    fn add(&mut self, cost: u64) {
        let profile = &mut self.profile;
        *match self.owner {
            Owner::Own => &mut profile.own,
            Owner::Cryptography => &mut profile.cryptography,
            Owner::Libraries => &mut profile.libraries,
        } += cost;
    }

    fn called(&mut self, times: u64) {
        if ALLOCATE.contains(&self.called) {
            self.profile.allocations += times;
        } else if self.called == REALLOCATE {
            self.profile.reallocations += times;
        }
    }
}

/// Whether a function of the program was written in Rust, by its name: `some::path`, `<Some as Trait>::method`, or
/// mangled if valgrind cannot take it apart.
fn is_rust(name: &str) -> bool {
    name.contains("::") || name.starts_with('<') || name.starts_with("_R") || name.contains("rust_")
}

/// Names by their numbers.
#[derive(Default)]
struct Names<'a>(HashMap<u64, &'a str>);

impl<'a> Names<'a> {
    /// The name in `(number) name`, `(number)` or `name`.
    fn name(&mut self, line: usize, text: &'a str) -> Result<&'a str, ProfileError> {
        let numbered = text.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        let Some((number, name)) = numbered.and_then(|(number, name)| Some((number.parse().ok()?, name)))
        else {
            return Ok(text);
        };
        match name.trim() {
            "" => self.0.get(&number).copied().ok_or(ProfileError::Name { line, number }),
            name => {
                self.0.insert(number, name);
                Ok(name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = "/build/avouch-bench";

    const SOME: &str = "# callgrind format
version: 1
creator: callgrind-3.19.0
pid: 1
cmd:  /build/avouch-bench role operate {}
part: 1


desc: I1 cache: 
desc: Trigger: Program termination

positions: line
events: Ir
summary: 162


ob=(1) /build/avouch-bench
fl=(1) src/decide.rs
fn=(1) avouch_authz::decide::decide
10 40
+2 2
fi=(2) src/map.rs
-3 8
fe=(1)
cob=(2) /usr/lib/libc.so.6
cfi=(3) ???
cfn=(2) malloc
calls=3 0 
* 60
cfn=(3) aws_lc_0_40_0_ECDSA_verify
calls=1 500 
12 52

fl=(3)
fn=(3)
500 45
cob=(2)
cfi=(3)
cfn=(4) realloc
calls=2 0 
500 7

fn=(5) <avouch_spiffe::id::SpiffeId as core::fmt::Display>::fmt
0

ob=(2)
fl=(3)
fn=(2)
0 60

fn=(4)
0 7

totals: 162
";

    #[test]
    fn the_instructions_are_told_apart_by_who_wrote_the_function() {
        let expected = Profile { own: 50, cryptography: 45, libraries: 67, allocations: 3, reallocations: 2 };
        assert_eq!(Profile::parse(SOME, PROGRAM), Ok(expected));
        let elsewhere = Profile::parse(SOME, "/build/another").unwrap();
        assert_eq!((elsewhere.own, elsewhere.libraries), (0, 162));
    }

    #[test]
    fn a_text_that_is_something_else_is_no_profile() {
        assert_eq!(Profile::parse("", PROGRAM), Err(ProfileError::Format));
        let with = |from: &str, to: &str| Profile::parse(&SOME.replacen(from, to, 1), PROGRAM).unwrap_err();
        let line = |line, text: &str| ProfileError::Line { line, text: text.to_owned() };
        assert_eq!(with("10 40", "10 forty"), line(20, "10 forty"));
        assert_eq!(with("calls=3 0", "calls=three 0"), line(28, "calls=three 0 "));
        assert_eq!(with("totals: 162", "totals: ?"), line(54, "totals: ?"));
        assert_eq!(with("fn=(3)\n", "fn=(9)\n"), ProfileError::Name { line: 35, number: 9 });
    }

    #[test]
    fn a_file_that_was_cut_off_is_no_profile() {
        let (cut, _) = SOME.split_once("totals").unwrap();
        assert_eq!(Profile::parse(cut, PROGRAM), Err(ProfileError::NoTotal));
        let lost = SOME.replacen("0 60\n", "", 1);
        assert_eq!(Profile::parse(&lost, PROGRAM), Err(ProfileError::Total { found: 102, total: 162 }));
    }

    #[test]
    fn names_of_rust_are_known_whether_or_not_they_were_taken_apart() {
        let rust = [
            "alloc::vec::Vec<T,A>::push",
            "<str as core::fmt::Display>::fmt",
            "_RNvCs1_12avouch_bench4main",
            "__rust_alloc",
        ];
        assert!(rust.into_iter().all(is_rust));
        assert!(!["p256_point_add", "aws_lc_0_40_0_SHA256", "0x00000000000102b0"].into_iter().any(is_rust));
    }
}
