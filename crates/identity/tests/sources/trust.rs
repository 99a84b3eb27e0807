//! The trust states that come from an issuer.

mod issuer;
mod states;
