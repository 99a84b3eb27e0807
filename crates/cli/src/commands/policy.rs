//! `avouch policy`: what a policy file says before it is in force, and what the policies in force allow.
//!
//! Every answer is given by the functions that services decide with. A file is judged under an API: from protos, from
//! descriptors, or as a running service tells it; avouch's own methods, which every service has, join always.

mod api;
mod can_i;
mod check;
mod diff;
mod file;
mod matrix;
mod report;

pub(crate) use api::ApiSource;
pub(crate) use can_i::{NamedCaller, Question, run as can_i};
pub(crate) use check::{check, test};
pub(crate) use diff::run as diff;
pub(crate) use matrix::run as matrix;
