//! Scenarios over containers, one module each. They need a container engine; without one they say so and pass, and
//! with `AVOUCH_REQUIRE_DOCKER=1` they fail.

#![expect(clippy::indexing_slicing, reason = "of JSON values only: what is absent is null")]

mod harness;

mod attack_list;
mod backup;
mod books;
mod capture;
mod clock_skew;
mod compose;
mod deny_matrix;
mod engine_and_images;
mod explain;
mod foreign_domain;
mod full_disk;
mod half_open;
mod happy_path;
mod images;
mod issuer_away;
mod killed_mid_order;
mod market;
mod operations;
#[path = "../operations/pages.rs"]
mod pages;
mod partition;
mod raced_token;
mod records;
mod renewal;
mod revocation;
mod rolling_restart;
mod rotation;
mod slow_network;
mod trace;
