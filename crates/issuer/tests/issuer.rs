//! The issuer as workloads, attackers and its administrator meet it: real TLS, real socket, real files.

mod harness;

#[path = "issuer/administration.rs"]
mod administration;
#[path = "issuer/enrolment.rs"]
mod enrolment;
#[path = "issuer/hostile.rs"]
mod hostile;
#[path = "issuer/killed.rs"]
mod killed;
#[path = "issuer/recovery.rs"]
mod recovery;
#[path = "issuer/renewal.rs"]
mod renewal;
#[path = "issuer/restart.rs"]
mod restart;
#[path = "issuer/trust.rs"]
mod trust;
