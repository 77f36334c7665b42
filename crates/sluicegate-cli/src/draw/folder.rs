//! Pictures written into a folder, where somebody asked for that.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// Writes each of `pictures`, a name and a text, as `NAME.svg`; what is there by that name is replaced.
///
/// # Errors
///
/// Which file or folder the system refused.
pub(super) fn write(folder: &Path, pictures: &[(&str, String)]) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    for (name, text) in pictures {
        let path = folder.join(name).with_extension("svg");
        fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}
