//! Manifests for Kubernetes.
