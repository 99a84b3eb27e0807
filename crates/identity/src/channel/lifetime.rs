//! The lifetime of a connection: how long it is used, and when it ends at the latest, by the dates of its certificates.
//!
//! The dates are by the wall clock, timers run on the monotonic one. So the answer is computed when the connection opens
//! and again whenever the two clocks have parted; it never grows, whatever a clock is set to.

use std::time::Duration;

use avouch_spiffe::{PeerIdentity, SpiffeId};
use avouch_time::clock::SharedClock;
use tokio::time::Instant;

use crate::deadline::LONGEST;
use crate::jitter;
use crate::svid::Svid;
use crate::time_text::apart;
use crate::validity::Validity;

/// The retirement margins before the end of a certificate at which a client replaces a connection: one and a half times
/// the server's, so that clients leave before the server retires the connection.
const CLIENT_MARGIN: f64 = 1.5;

/// The certificates that a connection was made with.
#[derive(Debug)]
pub(crate) struct Lifetime {
    clock: SharedClock,
    server: Certificate,
    /// The own certificate; none on a connection for first contact or recovery.
    own: Option<Certificate>,
}

#[derive(Debug)]
struct Certificate {
    id: SpiffeId,
    validity: Validity,
}

/// Moments by the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    /// The time at which the connection that replaces this one is opened.
    pub(crate) replace_at: Instant,
    /// The end of the certificate that ends first: no call continues beyond it.
    pub(crate) end_at: Instant,
}

impl Term {
    /// The earlier moments of two terms.
    fn no_longer_than(self, other: Self) -> Self {
        Self { replace_at: self.replace_at.min(other.replace_at), end_at: self.end_at.min(other.end_at) }
    }
}

impl Lifetime {
    pub(crate) fn new(clock: SharedClock, server: &PeerIdentity, own: Option<&Svid>) -> Self {
        let server = Certificate {
            id: server.spiffe_id().clone(),
            validity: Validity { not_before: server.not_before(), not_after: server.not_after() },
        };
        let own = own.map(|svid| Certificate {
            id: svid.spiffe_id().clone(),
            validity: Validity { not_before: svid.leaf().not_before(), not_after: svid.not_after() },
        });
        Self { clock, server, own }
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// The term by what both clocks show now.
    pub(crate) fn term(&self) -> Term {
        let (wall, now) = (self.clock.now(), Instant::now());
        // `Instant` would overflow for a certificate that ends in thousands of years.
        let after = |time: Duration| now.checked_add(time).unwrap_or_else(|| now + LONGEST);
        let of = |certificate: &Certificate| {
            let use_for = certificate.validity.use_for(wall, CLIENT_MARGIN);
            // Up to a twentieth earlier, so that connections opened together are not replaced together.
            let replace_in = jitter::around(use_for, 0.05).min(use_for);
            Term { replace_at: after(replace_in), end_at: after(certificate.validity.left(wall)) }
        };
        let server = of(&self.server);
        self.own.as_ref().map_or(server, |own| of(own).no_longer_than(server))
    }

    /// The term of [`Lifetime::term`], never later than `term`: a clock that is put back lengthens nothing.
    pub(crate) fn again(&self, term: Term) -> Term {
        self.term().no_longer_than(term)
    }

    /// Whether a certificate has ended by the wall clock.
    pub(crate) fn is_over(&self) -> bool {
        self.first_to_end().0.validity.not_after <= self.clock.now()
    }

    /// The certificate that ends the connection, in a sentence for the calls that end with it.
    pub(crate) fn over(&self) -> String {
        let (certificate, whose) = self.first_to_end();
        let (id, ago) = (&certificate.id, apart(certificate.validity.not_after, self.clock.now()));
        format!(
            "{whose} certificate with which the connection was made, of {id}, ended {ago} ago by our clock, and no call \
             goes on beyond that"
        )
    }

    fn first_to_end(&self) -> (&Certificate, &'static str) {
        match &self.own {
            Some(own) if own.validity.not_after < self.server.validity.not_after => (own, "our own"),
            _ => (&self.server, "the server's"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use avouch_time::clock::ManualClock;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn start() -> SystemTime {
        SystemTime::UNIX_EPOCH + 1000 * HOUR
    }

    fn certificate(id: &str, left: Duration) -> Certificate {
        let id = format!("spiffe://market.example/{id}").parse().expect("a SPIFFE ID");
        Certificate { id, validity: Validity { not_before: start(), not_after: start() + left } }
    }

    /// The server's certificate lasts for two hours, ours for one.
    fn lifetime() -> (Lifetime, ManualClock) {
        let clock = ManualClock::new(start());
        let own = Some(certificate("client", HOUR));
        (Lifetime { clock: clock.shared(), server: certificate("server", 2 * HOUR), own }, clock)
    }

    #[tokio::test(start_paused = true)]
    async fn the_certificate_that_ends_first_decides_and_use_stops_before_it() {
        let (lifetime, clock) = lifetime();
        let (term, now) = (lifetime.term(), Instant::now());
        assert_eq!(term.end_at, now + HOUR);
        assert!(
            term.replace_at < now + HOUR && term.replace_at > now + HOUR / 2,
            "{:?}",
            term.replace_at - now
        );
        assert!(!lifetime.is_over());
        clock.set(start() + HOUR);
        assert!(lifetime.is_over() && lifetime.over().contains("our own certificate"), "{}", lifetime.over());
        let server = Lifetime { own: None, ..lifetime };
        assert!(!server.is_over());
        clock.set(start() + 2 * HOUR);
        assert!(server.is_over() && server.over().contains("the server's certificate"), "{}", server.over());
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_put_forward_shortens_a_connections_life_and_one_put_back_lengthens_nothing() {
        let (lifetime, clock) = lifetime();
        let (first, now) = (lifetime.term(), Instant::now());
        clock.set(start() + HOUR / 2);
        let shorter = lifetime.again(first);
        assert_eq!(shorter.end_at, now + HOUR / 2);
        assert!(shorter.replace_at < first.replace_at);
        for shown in [start(), start() - 900 * HOUR, SystemTime::UNIX_EPOCH] {
            clock.set(shown);
            assert_eq!(lifetime.again(shorter), shorter);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_certificate_without_end_and_one_that_has_ended_overflow_nothing() {
        let clock = ManualClock::new(start());
        let far = Duration::from_secs(7900 * 365 * 24 * 3600);
        let endless = Lifetime { clock: clock.shared(), server: certificate("server", far), own: None };
        assert!(endless.term().end_at > Instant::now() + HOUR);
        clock.set(start() + far + HOUR);
        let term = endless.term();
        assert_eq!((term.end_at, term.replace_at), (Instant::now(), Instant::now()));
    }
}
