//! What a package holds, laid out below a folder as it is installed below `/`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::binary::Program;
use super::libraries::NativeLibrary;
use super::notices;
use crate::metadata::Metadata;
use crate::process;
use crate::workspace::Workspace;

/// The package's name, and that of its folders.
pub(super) const NAME: &str = "cumo-edge";

/// Where people put bundles.
const BUNDLES: &str = "var/lib/cumo-edge/bundles";

/// A package's files being laid out.
pub(super) struct Contents<'a> {
    workspace: &'a Workspace,
    root: &'a Path,
}

impl<'a> Contents<'a> {
    pub(super) fn new(workspace: &'a Workspace, root: &'a Path) -> Self {
        Contents { workspace, root }
    }

    /// Lays out everything. `programs`: what goes to `/usr/bin`, as it was built.
    ///
    /// # Errors
    /// Something is missing, or cannot be made or written.
    pub(super) fn lay_out(
        &self,
        programs: &[(&Program, PathBuf)],
        libraries: &[NativeLibrary],
    ) -> Result<()> {
        for (program, built) in programs {
            self.copy(built, &format!("usr/bin/{}", program.name), 0o755)?;
            self.manual(program)?;
        }
        let crates: Vec<&str> = programs.iter().map(|(program, _)| program.package).collect();
        self.documents(&crates, !libraries.is_empty())?;
        self.native_sources()?;
        for library in libraries {
            self.copy(&library.file, &format!("usr/lib/{NAME}/{}", library.place), 0o644)?;
        }
        self.folder(BUNDLES)
    }

    /// Manual pages and completions, which an example of the program's crate writes.
    fn manual(&self, program: &Program) -> Result<()> {
        let made = tempfile::tempdir()?;
        let mut cargo = process::cargo();
        cargo.args(["run", "--locked", "--quiet", "--package", program.package]);
        cargo.args(["--example", program.manual, "--"]).arg(made.path());
        process::run(cargo.current_dir(&self.workspace.root))?;
        for page in files(made.path(), "1")? {
            let name = page.file_name().unwrap_or_default().to_string_lossy();
            self.compressed(&page, &format!("usr/share/man/man1/{name}.gz"))?;
        }
        let name = program.name;
        let completions = [
            (format!("{name}.bash"), format!("usr/share/bash-completion/completions/{name}")),
            (format!("_{name}"), format!("usr/share/zsh/vendor-completions/_{name}")),
            (format!("{name}.fish"), format!("usr/share/fish/vendor_completions.d/{name}.fish")),
        ];
        for (made_as, path) in completions {
            self.copy(&made.path().join(made_as), &path, 0o644)?;
        }
        Ok(())
    }

    fn documents(&self, crates: &[&str], with_native: bool) -> Result<()> {
        let folder = format!("usr/share/doc/{NAME}");
        let root = &self.workspace.root;
        self.text(&format!("{folder}/copyright"), &notices::copyright(with_native))?;
        self.compressed(&root.join("CHANGELOG.md"), &format!("{folder}/changelog.gz"))?;
        self.copy(&root.join("README.md"), &format!("{folder}/README.md"), 0o644)?;
        // Where the README's links find them.
        for page in ["jetson", "pc", "bench", "plan"] {
            let page = format!("docs/{page}.md");
            self.copy(&root.join(&page), &format!("{folder}/{page}"), 0o644)?;
        }
        let made = tempfile::NamedTempFile::new()?;
        fs::write(made.path(), notices::third_party(&Metadata::read(self.workspace)?, crates)?)?;
        self.compressed(made.path(), &format!("{folder}/third-party.gz"))
    }

    /// The CMake project, with which libraries are built where they are to run.
    fn native_sources(&self) -> Result<()> {
        let mut git = Command::new("git");
        git.args(["ls-files", "-z", "native"]).current_dir(&self.workspace.root);
        for file in process::read(&mut git)?.split_terminator('\0') {
            let mode = if file.ends_with(".sh") { 0o755 } else { 0o644 };
            let source = self.workspace.root.join(file);
            self.copy(&source, &format!("usr/share/{NAME}/{file}"), mode)?;
        }
        Ok(())
    }

    fn folder(&self, path: &str) -> Result<()> {
        let path = self.root.join(path);
        fs::create_dir_all(&path).with_context(|| path.display().to_string())
    }

    fn place(&self, path: &str) -> Result<PathBuf> {
        let parent = Path::new(path).parent().and_then(Path::to_str).unwrap_or_default();
        self.folder(parent)?;
        Ok(self.root.join(path))
    }

    fn copy(&self, source: &Path, path: &str, mode: u32) -> Result<()> {
        let place = self.place(path)?;
        fs::copy(source, &place).with_context(|| source.display().to_string())?;
        set_mode(&place, mode)
    }

    fn text(&self, path: &str, text: &str) -> Result<()> {
        let place = self.place(path)?;
        fs::write(&place, text).with_context(|| place.display().to_string())?;
        set_mode(&place, 0o644)
    }

    /// A file as `gzip` makes it, without name and time.
    fn compressed(&self, source: &Path, path: &str) -> Result<()> {
        let place = self.place(path)?;
        let output = fs::File::create(&place).with_context(|| place.display().to_string())?;
        let mut gzip = Command::new("gzip");
        gzip.args(["-9", "-n", "-c"]).arg(source).stdout(output);
        process::run(&mut gzip)?;
        set_mode(&place, 0o644)
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| path.display().to_string())
}

/// Files of a folder with an extension, by name.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files.sort();
    Ok(files)
}
