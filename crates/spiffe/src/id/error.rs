//! Why a text is not a SPIFFE ID, or not the name of a trust domain.

/// The error of a text that is not a SPIFFE ID or not a trust domain name: one variant per clause of the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpiffeIdError {
    /// The text is empty.
    #[error("a SPIFFE ID must not be empty")]
    Empty,
    /// The ID is longer than 2048 bytes.
    #[error("a SPIFFE ID must not be longer than 2048 bytes")]
    TooLong,
    /// The text does not start with `spiffe://`.
    #[error("a SPIFFE ID must start with spiffe://")]
    WrongScheme,
    /// The scheme is `spiffe`, but not in lower case.
    #[error("the scheme of a SPIFFE ID must be written in lower case")]
    SchemeNotLowerCase,
    /// The trust domain is empty.
    #[error("the trust domain must not be empty")]
    TrustDomainEmpty,
    /// The trust domain is longer than 255 bytes.
    #[error("a trust domain must not be longer than 255 bytes")]
    TrustDomainTooLong,
    /// The trust domain has an upper-case letter.
    #[error("a trust domain must be written in lower case")]
    TrustDomainNotLowerCase,
    /// The trust domain has a character outside its alphabet.
    #[error("the character {0:?} is not allowed in a trust domain: only a-z, 0-9, '.', '-' and '_' are")]
    TrustDomainCharacter(char),
    /// User info (`user@`) before the trust domain.
    #[error("a SPIFFE ID must not have user info")]
    UserInfo,
    /// A port after the trust domain.
    #[error("a SPIFFE ID must not have a port")]
    Port,
    /// Percent-encoding anywhere.
    #[error("a SPIFFE ID must not use percent-encoding")]
    PercentEncoding,
    /// A query component.
    #[error("a SPIFFE ID must not have a query")]
    Query,
    /// A fragment component.
    #[error("a SPIFFE ID must not have a fragment")]
    Fragment,
    /// A path given on its own does not start with a slash.
    #[error("a path must start with '/'")]
    PathNotAbsolute,
    /// An empty path segment.
    #[error("a path must not have an empty segment")]
    EmptySegment,
    /// A path segment `.` or `..`.
    #[error("a path must not have the segments '.' or '..'")]
    DotSegment,
    /// The path ends in a slash.
    #[error("a path must not end in '/'")]
    TrailingSlash,
    /// The path has a character outside its alphabet.
    #[error("the character {0:?} is not allowed in a path: only a-z, A-Z, 0-9, '.', '-' and '_' are")]
    PathCharacter(char),
}
