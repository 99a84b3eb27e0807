//! Join tokens (ADR 3) as one string: `avjt1.` and base64url of a small JSON object.
//!
//! The string holds everything a workload needs for first contact: the secret, the issuer's SPIFFE ID (and so the
//! trust domain) and the SHA-256 of each root certificate. There is no token without a pin, hence no trust on first use.
//! The secret never prints: `Debug` redacts it and there is no `Display`.

use std::fmt::{self, Debug};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::id::SpiffeId;
use crate::trust_domain::TrustDomain;

const PREFIX: &str = "avjt1.";
/// The most bytes of a token: sixteen pins and the longest SPIFFE ID fit.
const MAX_BYTES: usize = 8192;
/// The most roots that a token pins.
const MAX_PINS: usize = 16;
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=256;

/// A join token.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    secret: Zeroizing<String>,
    issuer: SpiffeId,
    root_pins: Vec<[u8; 32]>,
}

/// The error of a text that is not a join token. No variant carries text of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinTokenError {
    /// The text is longer than any token.
    #[error("the join token is too long")]
    TooLong,
    /// The text does not start with `avjt1.`.
    #[error("a join token starts with avjt1.")]
    Prefix,
    /// The rest is not base64url without padding.
    #[error("the join token is not base64url")]
    Encoding,
    /// The decoded object is not a token.
    #[error("the join token's content cannot be read")]
    Content,
    /// The secret is too short, too long or has characters outside base64url.
    #[error("the join token's secret must have 16 to 256 characters of base64url")]
    Secret,
    /// The issuer's SPIFFE ID has no path.
    #[error("the join token's issuer must be a SPIFFE ID with a path")]
    Issuer,
    /// The token has no pin, or too many.
    #[error("the join token must pin between one and 16 roots")]
    Pins,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    secret: String,
    issuer: SpiffeId,
    roots: Vec<String>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl JoinToken {
    /// Composes a token.
    ///
    /// # Errors
    ///
    /// [`JoinTokenError::Secret`], [`JoinTokenError::Issuer`] or [`JoinTokenError::Pins`].
    pub fn new(
        secret: impl Into<String>,
        issuer: SpiffeId,
        root_pins: Vec<[u8; 32]>,
    ) -> Result<Self, JoinTokenError> {
        let secret = Zeroizing::new(secret.into());
        let alphabet = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if !SECRET_BYTES.contains(&secret.len()) || !secret.chars().all(alphabet) {
            return Err(JoinTokenError::Secret);
        }
        if issuer.is_root() {
            return Err(JoinTokenError::Issuer);
        }
        if root_pins.is_empty() || root_pins.len() > MAX_PINS {
            return Err(JoinTokenError::Pins);
        }
        Ok(Self { secret, issuer, root_pins })
    }

    /// The token as one string: a secret, to be handed over as one.
    pub fn encode(&self) -> String {
        let wire = Wire {
            secret: self.secret.as_str().to_owned(),
            issuer: self.issuer.clone(),
            roots: self.root_pins.iter().map(|pin| URL_SAFE_NO_PAD.encode(pin)).collect(),
        };
        // Strings and lists of strings always serialize.
        let json = Zeroizing::new(serde_json::to_vec(&wire).unwrap_or_default());
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&*json))
    }

    /// The secret that proves the right to join.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The trust domain to join.
    pub fn trust_domain(&self) -> &TrustDomain {
        self.issuer.trust_domain()
    }

    /// The SPIFFE ID that the issuer must prove.
    pub fn issuer(&self) -> &SpiffeId {
        &self.issuer
    }

    /// SHA-256 of the DER of each root that may vouch for the issuer.
    pub fn root_pins(&self) -> &[[u8; 32]] {
        &self.root_pins
    }
}

impl FromStr for JoinToken {
    type Err = JoinTokenError;

    fn from_str(text: &str) -> Result<Self, JoinTokenError> {
        if text.len() > MAX_BYTES {
            return Err(JoinTokenError::TooLong);
        }
        let encoded = text.trim_ascii().strip_prefix(PREFIX).ok_or(JoinTokenError::Prefix)?;
        let json = Zeroizing::new(URL_SAFE_NO_PAD.decode(encoded).map_err(|_| JoinTokenError::Encoding)?);
        let wire: Wire = serde_json::from_slice(&json).map_err(|_| JoinTokenError::Content)?;
        let pins = wire.roots.iter().map(|pin| {
            let bytes = URL_SAFE_NO_PAD.decode(pin).map_err(|_| JoinTokenError::Content)?;
            <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| JoinTokenError::Content)
        });
        Self::new(wire.secret.as_str(), wire.issuer.clone(), pins.collect::<Result<_, _>>()?)
    }
}

impl Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("secret", &"[redacted]")
            .field("issuer", &self.issuer)
            .field("root_pins", &self.root_pins.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "q9VmyT0Yw3mS7pXb-_kLzA";

    fn token() -> JoinToken {
        let issuer = "spiffe://market.example/avouch/issuer".parse().unwrap();
        JoinToken::new(SECRET, issuer, vec![[7; 32], [8; 32]]).unwrap()
    }

    fn encoded(json: &str) -> String {
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json))
    }

    #[test]
    fn a_token_survives_its_string_form_and_surrounding_white_space() {
        let text = token().encode();
        assert!(text.starts_with("avjt1."));
        assert_eq!(text.parse::<JoinToken>().unwrap(), token());
        assert_eq!(format!("{text}\n").parse::<JoinToken>().unwrap(), token());
        assert_eq!(token().trust_domain().as_str(), "market.example");
        assert_eq!(token().root_pins(), &[[7; 32], [8; 32]]);
    }

    #[test]
    fn debug_never_shows_the_secret() {
        let shown = format!("{:?}", token());
        assert!(!shown.contains(SECRET) && shown.contains("[redacted]"), "{shown}");
    }

    #[test]
    fn what_is_no_token_is_refused_with_its_reason() {
        let pin = URL_SAFE_NO_PAD.encode([7; 32]);
        let id = "spiffe://market.example/avouch/issuer";
        for (text, expected) in [
            (String::new(), JoinTokenError::Prefix),
            ("avjt2.e30".to_owned(), JoinTokenError::Prefix),
            ("avjt1.***".to_owned(), JoinTokenError::Encoding),
            (encoded("{}"), JoinTokenError::Content),
            (encoded("[]"), JoinTokenError::Content),
            ("a".repeat(MAX_BYTES + 1), JoinTokenError::TooLong),
            (
                encoded(&format!(r#"{{"secret":"{SECRET}","issuer":"{id}","roots":[]}}"#)),
                JoinTokenError::Pins,
            ),
            (
                encoded(&format!(r#"{{"secret":"{SECRET}","issuer":"{id}","roots":["AAAA"]}}"#)),
                JoinTokenError::Content,
            ),
            (
                encoded(&format!(r#"{{"secret":"short","issuer":"{id}","roots":["{pin}"]}}"#)),
                JoinTokenError::Secret,
            ),
            (
                encoded(&format!(r#"{{"secret":"{SECRET}\n","issuer":"{id}","roots":["{pin}"]}}"#)),
                JoinTokenError::Secret,
            ),
            (
                encoded(&format!(
                    r#"{{"secret":"{SECRET}","issuer":"spiffe://market.example","roots":["{pin}"]}}"#
                )),
                JoinTokenError::Issuer,
            ),
            (
                encoded(&format!(r#"{{"secret":"{SECRET}","issuer":"{id}","roots":["{pin}"],"x":1}}"#)),
                JoinTokenError::Content,
            ),
        ] {
            assert_eq!(text.parse::<JoinToken>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn too_many_pins_are_refused() {
        let issuer = "spiffe://market.example/avouch/issuer".parse().unwrap();
        assert_eq!(JoinToken::new(SECRET, issuer, vec![[7; 32]; 17]), Err(JoinTokenError::Pins));
    }
}
