//! The IDs of the market. A value of one of these types satisfies its grammar; there is no other way to get one.

use std::fmt;
use std::str::FromStr;

/// The reason why a text is not a valid ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The text is empty.
    #[error("{what} is empty")]
    Empty {
        /// The kind of ID.
        what: &'static str,
    },
    /// The text is too long.
    #[error("{what} is longer than {max} characters")]
    TooLong {
        /// The kind of ID.
        what: &'static str,
        /// The most characters.
        max: usize,
    },
    /// The first character is '-'.
    #[error("{what} begins with '-'")]
    BadStart {
        /// The kind of ID.
        what: &'static str,
    },
    /// A character other than letters of the right case, digits and '-'.
    #[error("{what} has a character other than {allowed}")]
    BadCharacter {
        /// The kind of ID.
        what: &'static str,
        /// The allowed characters, in words.
        allowed: &'static str,
    },
}

fn check(
    text: &str,
    what: &'static str,
    max: usize,
    letter: fn(&u8) -> bool,
    allowed: &'static str,
) -> Result<(), IdError> {
    let Some(first) = text.as_bytes().first() else {
        return Err(IdError::Empty { what });
    };
    if text.len() > max {
        return Err(IdError::TooLong { what, max });
    }
    if *first == b'-' {
        return Err(IdError::BadStart { what });
    }
    if !text.bytes().all(|byte| letter(&byte) || byte.is_ascii_digit() || byte == b'-') {
        return Err(IdError::BadCharacter { what, allowed });
    }
    Ok(())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $letter:path, $allowed:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The ID as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                check(text, $what, $max, $letter, $allowed)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// A client's ID of an order, which is also the idempotency key of the requests about it.
    OrderId, "the order ID", 64, u8::is_ascii_lowercase, "a-z, 0-9 and '-'"
}
id! {
    /// A customer's ID.
    CustomerId, "the customer ID", 64, u8::is_ascii_lowercase, "a-z, 0-9 and '-'"
}
id! {
    /// An article's ID.
    Sku, "the SKU", 32, u8::is_ascii_uppercase, "A-Z, 0-9 and '-'"
}
id! {
    /// A posting's ID in the ledger.
    PostingId, "the posting ID", 80, u8::is_ascii_lowercase, "a-z, 0-9 and '-'"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_grammar_are_taken_as_they_are() {
        for text in ["a", "0", "ord-000001", "a-", &"x".repeat(64)] {
            assert_eq!(text.parse::<OrderId>().unwrap().as_str(), text);
        }
        assert_eq!("BOOK-0007".parse::<Sku>().unwrap().to_string(), "BOOK-0007");
    }

    #[test]
    fn ids_outside_the_grammar_are_refused_by_clause() {
        let refused = |text: &str| text.parse::<OrderId>().unwrap_err();
        assert!(matches!(refused(""), IdError::Empty { .. }));
        assert!(matches!(refused(&"x".repeat(65)), IdError::TooLong { max: 64, .. }));
        assert!(matches!(refused("-a"), IdError::BadStart { .. }));
        for text in ["A", "a b", "a_b", "a/b", "ä", "a\0", "a\n", "'; DROP TABLE orders"] {
            assert!(matches!(refused(text), IdError::BadCharacter { .. }), "{text:?}");
        }
    }

    #[test]
    fn a_sku_has_upper_case_letters_and_is_shorter() {
        assert!(matches!("book".parse::<Sku>(), Err(IdError::BadCharacter { .. })));
        assert!(matches!("X".repeat(33).parse::<Sku>(), Err(IdError::TooLong { max: 32, .. })));
    }

    #[test]
    fn an_error_names_the_kind_of_id_and_not_its_text() {
        let error = "secret stuff".parse::<CustomerId>().unwrap_err().to_string();
        assert!(error.starts_with("the customer ID"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}
