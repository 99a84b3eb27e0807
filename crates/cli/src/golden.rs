//! Whole outputs, reviewed as files under `tests/golden`. After a change run with `UPDATE_GOLDEN=1` and read the diff.

use std::path::Path;

/// Compares `text` with the file `name`.
pub(crate) fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, golden, "{} is not what is printed now", path.display());
}
