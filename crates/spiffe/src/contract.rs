//! Contracts: the rule of each RPC, as `avouch-build` writes it into the generated code. They are plain constants, so
//! that a contract costs nothing at start and cannot change while a process runs.

/// The rule of an RPC, as its `.proto` declares it: who may call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A peer that holds at least one of these roles.
    Roles(&'static [&'static str]),
    /// Any peer with a verified identity.
    AnyIdentity,
    /// Anybody, without an identity.
    Unauthenticated,
    /// The local administrator, over the admin socket only.
    LocalAdmin,
}

/// One RPC and its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodRule {
    /// The gRPC path, `/package.Service/Method`.
    pub path: &'static str,
    /// The rule: who may call it.
    pub rule: Rule,
    /// Whether the client sends a stream.
    pub client_streaming: bool,
    /// Whether the server sends a stream.
    pub server_streaming: bool,
}

/// All RPCs of one API with their rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contract {
    /// The contract's name, for messages.
    pub name: &'static str,
    /// One entry per RPC.
    pub methods: &'static [MethodRule],
}

impl Contract {
    /// The rule of the RPC at `path`, if the contract has it.
    pub fn rule(&self, path: &str) -> Option<&'static MethodRule> {
        self.methods.iter().find(|method| method.path == path)
    }
}
