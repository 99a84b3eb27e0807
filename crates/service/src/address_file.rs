//! The file with the addresses that a process listens on, for launchers that let the system choose ports.
//!
//! It is written atomically, and only once the addresses are bound.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use avouch_files::write_public;
use serde::{Deserialize, Serialize};

/// The file has some hundred octets.
const LIMIT: u64 = 16 * 1024;

/// The content of the file.
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
        Ok(serde_json::from_slice(&avouch_files::read(path, LIMIT)?)?)
    }

    /// Writes the file, replacing what an earlier process left.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        write_public(path, &text)
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
    fn a_link_in_the_files_place_is_replaced_and_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, theirs) = (directory.path().join("orders.json"), directory.path().join("theirs"));
        std::fs::write(&theirs, "precious").unwrap();
        std::os::unix::fs::symlink(&theirs, &path).unwrap();
        addresses().write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "precious");
        assert_eq!(Addresses::read(&path).unwrap().pid, 7);
    }

    #[test]
    fn a_file_that_is_no_address_file_is_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("orders.json");
        std::fs::write(&path, vec![b' '; 20_000]).unwrap();
        assert!(Addresses::read(&path).is_err());
        assert!(Addresses::read(directory.path()).is_err());
        assert!(Addresses::read(Path::new("/dev/zero")).is_err());
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
