//! Units for one host.
