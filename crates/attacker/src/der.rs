//! DER, written without any checks, and read just far enough to find a certificate's subject.

/// An element: tag, length, content.
#[must_use]
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len().to_be_bytes();
    let significant = length.iter().skip_while(|octet| **octet == 0);
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            out.push(0x80 | u8::try_from(significant.clone().count()).unwrap_or(0x7f));
            out.extend(significant);
        }
    }
    out.extend_from_slice(content);
    out
}

/// A SEQUENCE of encoded elements.
#[must_use]
pub fn sequence<P: AsRef<[u8]>>(parts: &[P]) -> Vec<u8> {
    tlv(0x30, &joined(parts))
}

/// The concatenation of `parts`.
#[must_use]
pub fn joined<P: AsRef<[u8]>>(parts: &[P]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.as_ref().iter().copied()).collect()
}

/// An OBJECT IDENTIFIER from its encoded arcs.
#[must_use]
pub fn oid(arcs: &[u8]) -> Vec<u8> {
    tlv(0x06, arcs)
}

/// A BIT STRING of whole octets.
#[must_use]
pub fn bits(content: &[u8]) -> Vec<u8> {
    tlv(0x03, &joined(&[&[0], content]))
}

/// A point in time, in seconds since 1970: UTCTime until 2049, GeneralizedTime after it (RFC 5280 §4.1.2.5).
#[must_use]
pub fn time(unix: i64) -> Vec<u8> {
    let (days, second) = (unix.div_euclid(86_400), unix.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let rest = format!("{month:02}{day:02}{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60);
    if (1950..2050).contains(&year) {
        tlv(0x17, format!("{:02}{rest}", year % 100).as_bytes())
    } else {
        tlv(0x18, format!("{year:04}{rest}").as_bytes())
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar. The workspace has this elsewhere, but
/// the attacker shares no code with what it attacks.
fn civil(days: i64) -> (i64, i64, i64) {
    // Counted from 0000-03-01, so that a leap day is the last of its year; 146,097 days make 400 years.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let of_era_year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * of_era_year + of_era_year / 4 - of_era_year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = of_era_year + era * 400 + i64::from(month <= 2);
    (year, month, of_year - (153 * shifted + 2) / 5 + 1)
}

/// A name of one common name; the empty text makes the empty name.
#[must_use]
pub fn name(common_name: &str) -> Vec<u8> {
    if common_name.is_empty() {
        return tlv(0x30, &[]);
    }
    let attribute = sequence(&[oid(&[0x55, 4, 3]), tlv(0x0c, common_name.as_bytes())]);
    tlv(0x30, &tlv(0x31, &attribute))
}

/// The first value of `input`, whole, its content, and what follows it.
fn split(input: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let first = usize::from(*input.get(1)?);
    let (header, length) = if first < 0x80 {
        (2, first)
    } else {
        let octets = input.get(2..2 + (first & 0x7f))?;
        (2 + octets.len(), octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)))
    };
    let end = header.checked_add(length)?;
    Some((input.get(..end)?, input.get(header..end)?, input.get(end..)?))
}

/// The DER of a certificate's subject.
#[must_use]
pub fn subject(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, content, _) = split(certificate)?;
    let (_, tbs, _) = split(content)?;
    // version, serial, algorithm, issuer, validity, subject
    let mut rest = tbs;
    for _ in 0..5 {
        rest = split(rest)?.2;
    }
    Some(split(rest)?.0.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lengths_have_as_many_octets_as_they_need() {
        assert_eq!(tlv(4, &[7; 0x7f])[..2], [4, 0x7f]);
        assert_eq!(tlv(4, &[7; 0x80])[..3], [4, 0x81, 0x80]);
        assert_eq!(tlv(4, &[7; 0x1234])[..4], [4, 0x82, 0x12, 0x34]);
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(time(0), tlv(0x17, b"700101000000Z"));
        assert_eq!(time(951_868_799), tlv(0x17, b"000229235959Z"));
        assert_eq!(time(1_800_000_000), tlv(0x17, b"270115080000Z"));
        assert_eq!(time(2_524_608_000), tlv(0x18, b"20500101000000Z"));
    }

    #[test]
    fn what_is_no_certificate_has_no_subject() {
        for nonsense in [&[][..], &[0x30], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 2, 0x30, 0]] {
            assert_eq!(subject(nonsense), None);
        }
    }
}
