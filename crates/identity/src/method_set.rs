//! A set of methods by their paths, looked up once per call: sorted, so that a look-up costs a few comparisons and
//! neither memory nor a lock.

/// Server reflection, which has no contract here: both sides stream.
pub(crate) const REFLECTION: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Paths of methods.
#[derive(Clone, Debug, Default)]
pub(crate) struct MethodSet(Vec<&'static str>);

impl MethodSet {
    /// Adds these paths.
    pub(crate) fn add(&mut self, paths: impl IntoIterator<Item = &'static str>) {
        self.0.extend(paths);
        self.0.sort_unstable();
        self.0.dedup();
    }

    pub(crate) fn contains(&self, path: &str) -> bool {
        self.0.binary_search(&path).is_ok()
    }
}
