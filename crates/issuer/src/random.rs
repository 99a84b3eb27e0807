//! Random bytes nobody can guess, from the one cryptographic provider.

use aws_lc_rs::error::Unspecified;

/// `N` random bytes.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], Unspecified> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(bytes)
}
