//! The libraries that are preloaded into the processes of a soak do what they say, and nothing else.
#![cfg(target_os = "linux")]

mod clockjump;
mod powercut;
