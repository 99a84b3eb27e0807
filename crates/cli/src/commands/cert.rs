//! `avouch cert`: look into certificates, judge them, turn them into another form; list what was issued. All but the list
//! need no issuer.

mod convert;
mod file;
mod inspect;
mod lint;
pub(super) mod list;
mod renewal;

pub(crate) use convert::{Conversion, run as convert};
pub(crate) use inspect::run as inspect;
pub(crate) use lint::run as lint;
pub(crate) use list::run as list;
pub(crate) use renewal::{Within, run as needs_renewal};
