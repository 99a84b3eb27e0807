//! The market in one Compose file.
