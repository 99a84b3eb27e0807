//! The file that tells where a process listens: for starters that let the system choose ports.
//!
//! It appears whole or not at all, and only once the addresses are bound.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What the file says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Addresses {
    /// The mutual-TLS listener.
    pub(crate) grpc: SocketAddr,
    /// The plain health port.
    pub(crate) health: SocketAddr,
    /// The process.
    pub(crate) pid: u32,
}

impl Addresses {
    /// Reads what a process has written.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }

    /// Writes the file, replacing what an earlier process left.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
        let mut temporary = name.to_owned();
        temporary.push(format!(".{}.tmp", self.pid));
        let temporary = path.with_file_name(temporary);
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        let written = std::fs::File::create(&temporary).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&temporary, path)
        });
        if written.is_err() {
            // Nothing more can be done about a leftover.
            let _ = std::fs::remove_file(&temporary);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        Addresses {
            grpc: "127.0.0.1:1234".parse().unwrap(),
            health: "127.0.0.1:1235".parse().unwrap(),
            pid: 7,
        }
    }

    #[test]
    fn the_file_is_replaced_whole_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("orders.json");
        std::fs::write(&path, "old").unwrap();
        addresses().write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"grpc\":\"127.0.0.1:1234\",\"health\":\"127.0.0.1:1235\",\"pid\":7}\n");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_path_that_cannot_be_written_is_an_error_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert!(addresses().write(&directory.path().join("absent/orders.json")).is_err());
        let occupied = directory.path().join("directory");
        std::fs::create_dir(&occupied).unwrap();
        assert!(addresses().write(&occupied).is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(addresses().write(Path::new("/")).is_err());
    }
}
