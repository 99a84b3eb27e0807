//! The images: built by `deploy/docker/build-images.sh`, once per test process, named by the digest of their content.
//!
//! `AVOUCH_IMAGES=prebuilt` takes those of the last build as they are; the `just` recipes set it, having built them.

use std::path::{Path, PathBuf};

use tokio::process::Command;
use tokio::sync::OnceCell;

use super::{Failure, Outcome};

static BUILT: OnceCell<()> = OnceCell::const_new();

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Where cargo puts what it builds.
pub(super) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Brings the images up to date.
pub(super) async fn ready() -> Outcome {
    BUILT.get_or_try_init(build).await.copied()
}

async fn build() -> Outcome {
    if std::env::var("AVOUCH_IMAGES").is_ok_and(|value| value == "prebuilt") {
        return Ok(());
    }
    let script = root().join("deploy/docker/build-images.sh");
    let status = Command::new(script).arg("--all").status().await?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("building the images: {status}"))) }
}

/// The newest build of an image, as `avouch/<name>:<tag>`.
pub(crate) fn image(name: &str) -> Outcome<String> {
    Ok(format!("avouch/{name}:{}", tag(name)?))
}

/// The tag of an image's newest build.
pub(super) fn tag(name: &str) -> Outcome<String> {
    let file = target().join("images").join(format!("{name}.tag"));
    match std::fs::read_to_string(&file) {
        Ok(tag) => Ok(tag.trim().to_owned()),
        Err(error) => Err(Failure::new(format!("no image '{name}' was built ({}: {error})", file.display()))),
    }
}
