//! The lifetime of a connection: when the peer is asked to go, and when it is closed at the latest, by its age and by the
//! certificates it was made with.

use std::time::SystemTime;

use avouch_spiffe::Reason;
use tokio::time::Instant;

use super::handshake::Established;
use super::options::ServerOptions;
use super::shared::Shared;
use crate::connection_shutdown::Cause;
use crate::validity::Validity;

/// A server asks its peers to go one retirement margin before a certificate ends; clients go half a margin earlier.
const MARGIN: f64 = 1.0;

/// The lifetime of one connection, in moments of the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetime {
    own: Validity,
    peer: Option<Validity>,
    /// The time at which the peer is asked to go: the age limit ± 10 %, or a margin before either certificate ends.
    pub(super) retire_at: Instant,
    /// The end of the certificate that ends first.
    pub(super) end_at: Instant,
}

impl Lifetime {
    pub(super) fn of(shared: &Shared, established: &Established) -> Self {
        let own = Validity { not_before: established.own_not_before, not_after: established.own_not_after };
        let peer = established.peer.as_deref();
        let peer = peer.map(|peer| Validity { not_before: peer.not_before(), not_after: peer.not_after() });
        Self::from_now(&shared.options, own, peer, shared.identity.clock().now())
    }

    fn from_now(options: &ServerOptions, own: Validity, peer: Option<Validity>, wall: SystemTime) -> Self {
        let now = Instant::now();
        let mut retire_in =
            crate::jitter::around(options.max_connection_age, 0.1).min(own.use_for(wall, MARGIN));
        let mut end_in = own.left(wall);
        if let Some(peer) = peer {
            retire_in = retire_in.min(peer.use_for(wall, MARGIN));
            end_in = end_in.min(peer.left(wall));
        } else {
            let age = options.unauthenticated_connection_age;
            retire_in = retire_in.min(age / 2);
            end_in = end_in.min(age);
        }
        Self { own, peer, retire_at: now + retire_in, end_at: now + end_in }
    }

    /// Judges the certificates again after the wall clock has jumped: why the connection ends, if one of them has.
    ///
    /// What is left is counted anew, and never longer than before: a clock that was put back makes no certificate last
    /// longer than it was thought to when it was verified. A certificate that such a clock takes for one of the future
    /// ends nothing, for it was valid when the peer proved that it has its key.
    pub(super) fn after_jump(&mut self, wall: SystemTime) -> Result<(), Cause> {
        let ended = |validity: Validity| validity.not_after < wall;
        if self.peer.is_some_and(ended) {
            let detail = "the peer's certificate has ended by this server's clock, which has jumped";
            return Err(Cause { reason: Reason::CertExpired, detail: detail.to_owned() });
        }
        if ended(self.own) {
            // The peer did nothing wrong, and finds a new certificate on its next connection.
            let detail =
                "the certificate this server showed has ended by its clock, which has jumped; connect again";
            return Err(Cause { reason: Reason::ConnectionRetiring, detail: detail.to_owned() });
        }
        let now = Instant::now();
        for validity in self.peer.into_iter().chain([self.own]) {
            self.retire_at = self.retire_at.min(now + validity.use_for(wall, MARGIN));
            self.end_at = self.end_at.min(now + validity.left(wall));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn lifetime(wall: u64) -> Lifetime {
        let validity = |from, to| Validity { not_before: at(from), not_after: at(to) };
        let peer = Some(validity(1_000, 2_000));
        Lifetime::from_now(&ServerOptions::default(), validity(1_000, 3_000), peer, at(wall))
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_retires_a_margin_before_the_first_certificate_ends() {
        let now = Instant::now();
        let lifetime = lifetime(1_000);
        assert_eq!(lifetime.end_at - now, Duration::from_secs(1_000));
        assert_eq!(lifetime.retire_at - now, Duration::from_secs(970));
    }

    #[tokio::test(start_paused = true)]
    async fn a_jump_past_the_end_of_either_certificate_ends_the_connection_for_its_own_reason() {
        for (wall, reason) in [(2_001, Reason::CertExpired), (9_000, Reason::CertExpired)] {
            assert_eq!(lifetime(1_000).after_jump(at(wall)).unwrap_err().reason, reason);
        }
        let mut own_first = lifetime(1_000);
        own_first.own.not_after = at(1_500);
        assert_eq!(own_first.after_jump(at(1_600)).unwrap_err().reason, Reason::ConnectionRetiring);
    }

    #[tokio::test(start_paused = true)]
    async fn a_jump_shortens_what_is_left_and_never_lengthens_it() {
        let now = Instant::now();
        let mut forward = lifetime(1_000);
        forward.after_jump(at(1_900)).unwrap();
        assert_eq!(forward.end_at - now, Duration::from_secs(100));
        assert_eq!(forward.retire_at - now, Duration::from_secs(70));
        forward.after_jump(at(1_000)).unwrap();
        assert_eq!(forward.end_at - now, Duration::from_secs(100));
        // The last second of a certificate is still its own.
        let mut last = lifetime(1_000);
        last.after_jump(at(2_000)).unwrap();
        assert_eq!(last.end_at, now);
    }
}
