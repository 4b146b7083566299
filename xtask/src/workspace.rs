//! Where things are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The checkout and its build folder.
pub(crate) struct Workspace {
    /// The repository's root.
    pub(crate) root: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// The folder below `target` of the programs that run on a GPU, this one among them where they
    /// were packed.
    pub(crate) const GPU_PROGRAMS: &str = "gpu-programs";

    /// The workspace that this program was built in, or that it was packed with.
    ///
    /// # Errors
    /// The crate's folder has no parent.
    pub(crate) fn find() -> Result<Self> {
        let program = std::env::current_exe().unwrap_or_default();
        if let Some(root) = packed_root(&program) {
            let root = root.to_owned();
            return Ok(Workspace { target: root.join("target"), root });
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask's folder has no parent")?
            .to_owned();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => std::path::absolute(dir).context("CARGO_TARGET_DIR")?,
            None => root.join("target"),
        };
        Ok(Workspace { root, target })
    }

    /// What is fetched and not built: libraries, Python packages.
    pub(crate) fn native(&self) -> PathBuf {
        self.target.join("native")
    }

    /// A path as it is shown: relative to the root where it lies below it.
    pub(crate) fn show(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}

/// The folder that `gpu --pack` made, of a program in it.
fn packed_root(program: &Path) -> Option<&Path> {
    let target = program.parent().filter(|it| it.ends_with(Workspace::GPU_PROGRAMS))?.parent()?;
    target.parent().filter(|_| target.ends_with("target"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_program_has_its_workspace_around_it() {
        let root = |program: &str| packed_root(Path::new(program)).map(Path::to_owned);
        assert_eq!(root("/x/cumo-gpu/target/gpu-programs/xtask"), Some("/x/cumo-gpu".into()));
        assert_eq!(root("/x/target/debug/xtask"), None);
        assert_eq!(root("xtask"), None);
    }
}
