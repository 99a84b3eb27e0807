//! Randomness as a value that is passed in, and serial numbers made of it.
//!
//! A serial number has 128 bits: a zero bit, so that it is positive in 16 octets; 47 bits of Unix time in milliseconds; 80
//! random bits, where unpredictability asks for 64. A later millisecond gives a greater serial number, so a store keyed by
//! it is in the order of issuance.

use std::fmt::Debug;
use std::time::SystemTime;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};

const SERIAL_OCTETS: usize = 16;
const TIME_OCTETS: usize = 6;

/// The random generator failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the source of randomness failed")]
pub struct EntropyError;

/// A source of unpredictable bytes.
pub trait Entropy: Send + Sync + Debug {
    /// Fills `out` entirely.
    ///
    /// # Errors
    ///
    /// [`EntropyError`]; then nothing may be issued.
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError>;
}

/// The cryptographic library's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        SystemRandom::new().fill(out).map_err(|_| EntropyError)
    }
}

/// Makes a serial number.
pub(crate) fn serial(now: SystemTime, entropy: &dyn Entropy) -> Result<Vec<u8>, EntropyError> {
    let millis = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut random = [0; SERIAL_OCTETS - TIME_OCTETS];
    entropy.fill(&mut random)?;
    // The low 47 bits of the time: enough until the year 6429, and never negative.
    let time = (millis & 0x7fff_ffff_ffff).to_be_bytes();
    Ok(time.into_iter().skip(16 - TIME_OCTETS).chain(random).collect())
}

/// The time in a serial number, to the millisecond; `None`: it is not 32 hexadecimal digits. A value proves nothing about
/// who made the certificate: the serial numbers of others parse too.
///
/// A restored issuer uses it to tell whether the certificate may be one that its store has lost (ADR 5).
#[must_use]
pub fn made_at(serial: &str) -> Option<SystemTime> {
    let time = serial.get(..2 * TIME_OCTETS).filter(|_| serial.len() == 2 * SERIAL_OCTETS)?;
    let millis = u64::from_str_radix(time, 16).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(std::time::Duration::from_millis(millis))
}

#[cfg(test)]
pub(crate) mod fake {
    //! A predictable source, for tests only.

    use super::{Entropy, EntropyError};

    /// Always the same octet, or a failure.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Fixed(pub(crate) Option<u8>);

    impl Entropy for Fixed {
        fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
            out.fill(self.0.ok_or(EntropyError)?);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::fake::Fixed;
    use super::*;

    #[test]
    fn a_serial_is_the_time_and_then_randomness() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(0x0123_4567_89ab);
        let serial = serial(now, &Fixed(Some(0xff))).unwrap();
        assert_eq!(serial, [&[0x01, 0x23, 0x45, 0x67, 0x89, 0xab][..], &[0xff; 10]].concat());
    }

    #[test]
    fn a_serial_of_ours_tells_when_it_was_made_and_another_does_not() {
        assert_eq!(
            made_at("0123456789abffffffffffffffffffff"),
            Some(SystemTime::UNIX_EPOCH + Duration::from_millis(0x0123_4567_89ab))
        );
        for other in [
            "",
            "01",
            "0123456789ab",
            "0123456789abffffffffffffffffffffff",
            "zz23456789abffffffffffffffffffff",
            "é123456789abfffffffffffffffffff",
        ] {
            assert_eq!(made_at(other), None, "{other}");
        }
    }

    #[test]
    fn serials_are_positive_even_when_the_clock_is_absurd() {
        let far = SystemTime::UNIX_EPOCH + Duration::from_millis(0xffff_ffff_ffff);
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        for now in [far, before] {
            let serial = serial(now, &Fixed(Some(0xff))).unwrap();
            assert_eq!(serial.len(), 16);
            assert!(serial[0] & 0x80 == 0);
        }
    }

    #[test]
    fn serials_of_one_instant_differ_and_those_of_later_instants_are_greater() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let same: BTreeSet<_> = (0..1000).map(|_| serial(now, &SystemEntropy).unwrap()).collect();
        assert_eq!(same.len(), 1000);
        let later = serial(now + Duration::from_millis(1), &SystemEntropy).unwrap();
        assert!(same.iter().all(|serial| *serial < later));
    }

    #[test]
    fn without_randomness_there_is_no_serial() {
        assert_eq!(serial(SystemTime::UNIX_EPOCH, &Fixed(None)), Err(EntropyError));
    }
}
