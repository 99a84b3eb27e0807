//! Instructions and allocations, counted by valgrind's callgrind: unlike times, they are the same on a busy machine.
//!
//! A process under callgrind ([`callgrind`]) calls [`mark`] before and after what is to be counted: an [`operation`] that
//! it repeats, or calls that it answers. callgrind writes down what it has counted, and begins anew, at each mark. The
//! [`profile`] between the marks tells our own work from the cryptography and the C library, which choose their code by
//! the processor: only our own is compared with what was [`recorded`]. That is the [`guard`] of the gate.

pub mod callgrind;
pub mod guard;
pub mod operation;
pub mod profile;
pub mod recorded;

/// The name of [`mark`], as callgrind knows it.
const MARK: &str = "avouch_bench::counts::mark";

/// Begins or ends what is counted. Without callgrind it does nothing.
// It must stay a function with calls of its own, since callgrind looks for it by name.
#[inline(never)]
pub fn mark() {
    std::hint::black_box(());
}
