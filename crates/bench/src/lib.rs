//! The benchmarks: avouch beside its peers on the same machine, in the same seconds.
//!
//! Single times say little: the same work takes a third longer in a busy hour. So every figure is a ratio from one run.
//! The variants of a table take turns ([`rounds`]), each in processes of its own ([`child`]) that are pinned to a core
//! where that matters, and each round gives one ratio. A [`table`] holds the median and the extremes of all rounds, and
//! says when they are too far apart to conclude anything. No time ever fails a test: the gate only counts instructions.
//!
//! A group ([`groups`]) is a set of tables about one question. The processes it measures are roles of this program
//! ([`roles`]), the shipped programs, or peers that are installed on the machine; a peer that is absent is reported as
//! skipped. An older build of this program can take part with its own roles ([`bench::Build`]).

pub mod against;
pub mod args;
pub mod bench;
pub mod child;
pub mod clock;
pub mod counts;
pub mod echo;
pub mod error;
pub mod fit;
pub mod groups;
pub mod issuer;
pub mod machine;
pub mod peers;
pub mod pki;
pub mod program;
pub mod report;
pub mod roles;
pub mod rounds;
pub mod run;
pub mod series;
pub mod store;
pub mod table;

pub use error::Error;
