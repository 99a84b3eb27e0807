//! Where everything of a demo is: paths only, nothing is opened here.

use std::path::{Path, PathBuf};

/// The services, each after those it calls.
pub const SERVICES: [&str; 6] = ["ledger", "inventory", "payments", "orders", "reports", "storefront"];

/// The trust domain of the demo.
pub const TRUST_DOMAIN: &str = "market.example";

/// The prefix of a runtime directory's name, which a demo's process ID follows. `avouch` looks for it.
pub const RUNTIME_PREFIX: &str = "avouch-demo-";

/// The services that a service calls.
#[must_use]
pub fn upstreams(service: &str) -> &'static [&'static str] {
    match service {
        "payments" | "reports" => &["ledger"],
        "orders" => &["inventory", "payments"],
        "storefront" => &["orders"],
        _ => &[],
    }
}

/// `spiffe://market.example/NAME`.
#[must_use]
pub fn id(name: &str) -> String {
    match name {
        "issuer" => format!("spiffe://{TRUST_DOMAIN}/avouch/issuer"),
        name => format!("spiffe://{TRUST_DOMAIN}/{name}"),
    }
}

/// A checked-out revision and its programs.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The repository's files.
    pub root: PathBuf,
    /// Where the binaries are.
    pub bin: PathBuf,
}

/// The directories of one demo.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The repository.
    pub root: PathBuf,
    /// What the demo writes: `target/demo`, unless it was told another.
    pub dir: PathBuf,
    /// `certs/dev`.
    pub certs: PathBuf,
    /// Where the binaries are.
    pub bin: PathBuf,
    /// A short directory for the administration socket, whose path may not be long.
    pub runtime: PathBuf,
    /// Where the issuer and its configuration come from, if not from `root` and `bin`.
    pub issuer: Option<Tree>,
}

impl Paths {
    /// The demo of the repository that `start` is in, else of the one this binary was built in; with the binaries
    /// beside this one.
    ///
    /// # Errors
    /// When neither is in the repository, or the system does not say where this binary is.
    pub fn of(start: &Path) -> std::io::Result<Self> {
        let (start, binary) = (start.canonicalize()?, std::env::current_exe()?);
        let is_root = |dir: &&Path| dir.join("deploy/demo/policy.toml").is_file();
        let root = start.ancestors().find(is_root).or_else(|| binary.ancestors().find(is_root));
        let missing =
            || std::io::Error::other("this is not avouch's repository: there is no deploy/demo/policy.toml");
        let root = root.ok_or_else(missing)?.to_path_buf();
        let bin = binary.parent().map(Path::to_path_buf).unwrap_or_default();
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir());
        let runtime = runtime
            .unwrap_or_else(std::env::temp_dir)
            .join(format!("{RUNTIME_PREFIX}{}", std::process::id()));
        Ok(Self {
            dir: root.join("target/demo"),
            certs: root.join("certs/dev"),
            bin,
            runtime,
            root,
            issuer: None,
        })
    }

    /// The same repository, with everything that a run writes below `dir`: it can run beside another.
    #[must_use]
    pub fn within(self, dir: PathBuf) -> Self {
        Self { certs: dir.join("certs"), dir, ..self }
    }

    /// Whether the paths are the default ones.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.dir == self.root.join("target/demo")
    }

    /// The directory of one process.
    #[must_use]
    pub fn of_process(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The log of one process.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.of_process(name).join("log.jsonl")
    }

    /// The file a process writes its addresses to.
    #[must_use]
    pub fn address_file(&self, name: &str) -> PathBuf {
        self.of_process(name).join("address.json")
    }

    /// Where a process keeps its identity.
    #[must_use]
    pub fn state(&self, name: &str) -> PathBuf {
        self.of_process(name).join("identity")
    }

    /// The file with a process's join token.
    #[must_use]
    pub fn token(&self, name: &str) -> PathBuf {
        self.of_process(name).join("join-token")
    }

    /// The administration socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.runtime.join("admin.sock")
    }

    /// The configuration files of a process; of two that set a key the later wins.
    #[must_use]
    pub fn configs(&self, name: &str) -> Vec<PathBuf> {
        let file = format!("{name}.toml");
        match self.own_service(name) {
            Some(dir) => vec![dir.join(file)],
            None => {
                let place = if name == "issuer" { "issuer.toml" } else { "services.toml" };
                let deploy = self.root_of(name).join("deploy");
                let files = [deploy.join("config").join(file), deploy.join("demo").join(place)];
                // Revisions from before there were two have one file for everything.
                files.into_iter().filter(|file| file.is_file()).collect()
            }
        }
    }

    /// The repository that a process comes from.
    #[must_use]
    pub fn root_of(&self, name: &str) -> &Path {
        let own = self.issuer.as_ref().filter(|_| name == "issuer");
        own.map_or(&self.root, |tree| &tree.root)
    }

    /// The binary of a process.
    #[must_use]
    pub fn binary(&self, name: &str) -> PathBuf {
        let own = self.issuer.as_ref().filter(|_| name == "issuer");
        own.map_or(&self.bin, |tree| &tree.bin).join(match name {
            "issuer" => "avouch-issuer".to_owned(),
            name if self.own_service(name).is_some() => name.to_owned(),
            name => format!("market-{name}"),
        })
    }

    /// The policy of a process.
    #[must_use]
    pub fn policy(&self, name: &str) -> PathBuf {
        self.own_service(name).map_or_else(|| self.shipped("policy.toml"), |dir| dir.join("policy.toml"))
    }

    /// The services under `services/`, which `./just new` makes; by name.
    #[must_use]
    pub fn own_services(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.root.join("services")).into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<_> = names.filter(|name| self.own_service(name).is_some()).collect();
        names.sort();
        names
    }

    fn own_service(&self, name: &str) -> Option<PathBuf> {
        let dir = self.root.join("services").join(name);
        dir.join(format!("{name}.toml")).is_file().then_some(dir)
    }

    /// A file that ships with the demo.
    #[must_use]
    pub fn shipped(&self, name: &str) -> PathBuf {
        self.root.join("deploy/demo").join(name)
    }
}
