//! Files and standard input, up to a limit: far more than any chain or bundle, far less than a disk image.

use crate::error::CliError;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

const LIMIT: u64 = 4 * 1024 * 1024;

/// Reads a file whole.
pub(crate) fn file(path: &Path) -> Result<Vec<u8>, CliError> {
    File::open(path).and_then(limited).map_err(|source| CliError::Read { path: path.to_owned(), source })
}

/// Reads a file whole, or standard input for `-`.
pub(crate) fn file_or_stdin(path: &Path) -> Result<Vec<u8>, CliError> {
    if path.as_os_str() != "-" {
        return file(path);
    }
    limited(io::stdin().lock()).map_err(|source| CliError::Read { path: path.to_owned(), source })
}

/// A part would be read as a whole that says something else.
fn limited(from: impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    from.take(LIMIT + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LIMIT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 4 MiB"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_is_refused_and_not_cut() {
        let whole = io::repeat(7).take(LIMIT);
        assert_eq!(limited(whole).unwrap().len() as u64, LIMIT);
        assert_eq!(limited(io::repeat(7)).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
