//! The programs as a user starts them: on the machine's GPU, or on the stand-in.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use cumo_bundle::{Engines, TensorrtFacts};

use super::built::Built;
use super::effort::Effort;
use crate::workspace::Workspace;
use crate::{export, onnxruntime, process, time_limit};

/// `cumo` and `cumo-export`, and what leads them to a TensorRT and its device.
pub(super) struct Programs {
    /// The folder that they are in.
    folder: PathBuf,
    /// Bundles and engines go below it.
    pub(super) work: PathBuf,
    /// Results of `cumo bench` go into it.
    pub(super) results: PathBuf,
    variables: Vec<(&'static str, PathBuf)>,
    /// `--flavour` of `cumo-export engine`.
    flavour: &'static str,
    pub(super) device: Option<Device>,
    pub(super) effort: Effort,
    /// What [`Programs::obstacle`] said of engines on a device that is there: it is the same of all.
    seen: OnceCell<Option<String>>,
}

/// The device that engines run on, as far as steps ask.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Device {
    /// The driver's name for it.
    pub(super) name: String,
    /// `86` for 8.6.
    pub(super) architecture: u32,
    /// Its memory in GiB.
    pub(super) memory_gb: Option<f64>,
    /// Its memory's rate in GB/s, and f16 products in TFLOPS, for bounds of a device that the table
    /// of `cumo plan` lacks.
    pub(super) rates: Option<(f64, f64)>,
    /// Whether it shares the host's memory.
    pub(super) is_integrated: bool,
    /// Whether it is the stand-in: little is asked, and its times mean nothing.
    pub(super) is_stand_in: bool,
}

impl Programs {
    /// As they are shipped, on what was built for the machine's GPU. `results`: the folder of what
    /// `cumo bench` finds.
    pub(super) fn on_device(
        workspace: &Workspace,
        built: &Built,
        device: Option<Device>,
        effort: Effort,
        results: PathBuf,
    ) -> Programs {
        let shim = built.shim.clone();
        Programs {
            folder: built.folder.clone(),
            work: workspace.target.join("gpu"),
            results,
            variables: shim.is_dir().then_some(("CUMO_TRT_SHIM", shim)).into_iter().collect(),
            flavour: "auto",
            device,
            effort,
            seen: OnceCell::new(),
        }
    }

    /// As tests build them, in `folder`, on a stand-in with these variables.
    pub(super) fn on_stand_in(
        folder: &Path,
        work: &Path,
        library: &Path,
        stand_in: Vec<(&'static str, PathBuf)>,
    ) -> Programs {
        let library = (onnxruntime::DYLIB_PATH, library.to_owned());
        Programs {
            folder: folder.to_owned(),
            work: work.to_owned(),
            results: work.join("results"),
            variables: stand_in.into_iter().chain([library]).collect(),
            flavour: "rtx",
            effort: Effort::Rehearsal,
            seen: OnceCell::new(),
            device: Some(Device {
                name: "Stand-in".to_owned(),
                architecture: 89,
                memory_gb: Some(8.0),
                // Of no device: shares are computed, and mean nothing.
                rates: Some((100.0, 10.0)),
                is_integrated: true,
                is_stand_in: true,
            }),
        }
    }

    pub(super) fn is_stand_in(&self) -> bool {
        self.device.as_ref().is_some_and(|device| device.is_stand_in)
    }

    /// `cumo` with a command and a model.
    pub(super) fn cumo(&self, command: &str, model: &Path) -> Command {
        let mut cumo = self.program("cumo");
        cumo.arg(command).arg("--model").arg(model);
        cumo
    }

    /// `cumo` with its own arguments.
    pub(super) fn program(&self, name: &str) -> Command {
        let mut program = Command::new(self.folder.join(name));
        program.envs(self.variables.iter().map(|(name, value)| (name, value)));
        // Kernels that are kept stay out of the user's folder.
        program.env("CUMO_CACHE_DIR", self.work.join("kernels"));
        program.stdin(Stdio::null());
        program
    }

    /// Exports a checkpoint for TensorRT and gives the bundle. `moe`: `plugin` or `function`.
    ///
    /// # Errors
    /// The export fails.
    pub(super) fn bundle(&self, checkpoint: &Path, name: &str, moe: &str) -> Result<PathBuf> {
        let bundle = self.work.join(format!("{name}.bundle"));
        let mut export = export::onnx(self.program("cumo-export"), checkpoint, &bundle, "tensorrt");
        // The name that results carry.
        output(export.args(["--dtype", "f16", "--moe", moe, "--name", name]))?;
        Ok(bundle)
    }

    /// Builds a bundle's engines and gives their folder.
    ///
    /// # Errors
    /// The build fails.
    pub(super) fn engines(&self, bundle: &Path, name: &str, options: &[&str]) -> Result<PathBuf> {
        let engines = self.work.join(format!("{}.engines", slug(name)));
        let mut export = self.program("cumo-export");
        export.arg("engine").arg(bundle).arg("-o").arg(&engines);
        output(export.args(["--flavour", self.flavour, "--force"]).args(options))?;
        Ok(engines)
    }

    /// Why engines cannot run here, where they cannot: there is no device, or it is not one that
    /// they were built for.
    ///
    /// # Errors
    /// The engines' manifest cannot be read.
    pub(super) fn obstacle(&self, engines: &Path) -> Result<Option<String>> {
        let Some(device) = &self.device else { return Ok(Some("no device".to_owned())) };
        let obstacle = obstacle(&Engines::read_manifest(engines)?.tensorrt, device);
        Ok(self.seen.get_or_init(|| obstacle).clone())
    }

    /// What [`Programs::obstacle`] said before; where it was not asked yet, it is asked of the
    /// engines that `build` builds. So nothing large is made for a device that will not run it.
    ///
    /// # Errors
    /// They cannot be built.
    pub(super) fn obstacle_ahead(
        &self,
        build: impl FnOnce() -> Result<PathBuf>,
    ) -> Result<Option<String>> {
        match self.seen.get() {
            Some(seen) => Ok(seen.clone()),
            None => self.obstacle(&build()?),
        }
    }

    /// What is known to keep engines from running on the device that is there.
    pub(super) fn known_obstacle(&self) -> Option<String> {
        self.seen.get().cloned().flatten()
    }
}

fn obstacle(engines: &TensorrtFacts, device: &Device) -> Option<String> {
    let (capability, name) = (device.architecture, &device.name);
    if device.is_stand_in || engines.is_for(capability) {
        return None;
    }
    let (major, minor) = (capability / 10, capability % 10);
    Some(format!("engines are for {}, {name} has {major}.{minor}", engines.devices()))
}

/// A name as one of files: lower case, words between hyphens.
pub(super) fn slug(name: &str) -> String {
    let words = name.split(|character: char| !character.is_ascii_alphanumeric());
    let words: Vec<_> =
        words.filter(|word| !word.is_empty()).map(str::to_ascii_lowercase).collect();
    words.join("-")
}

/// Runs a program, prints its command line, and gives its standard output.
///
/// # Errors
/// It fails: the error has the last line of its standard error.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let line = process::line(command);
    println!("$ {line}");
    let output = process::capture(command)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = || errors.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
    match output.status {
        Some(status) if status.success() => {}
        Some(status) => {
            eprint!("{errors}");
            bail!("`{line}` failed ({status}): {}", last());
        }
        None => {
            eprint!("{errors}");
            bail!("`{line}` was stopped, {}: {}", time_limit::OVER, last());
        }
    }
    String::from_utf8(output.stdout).with_context(|| format!("output of `{line}`"))
}

/// Bytes that are free on a folder's disk, where `df` says.
pub(super) fn free_bytes(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|folder| folder.is_dir())?;
    let text = process::read(Command::new("df").args(["-Pk"]).arg(existing)).ok()?;
    parse_free(&text)
}

fn parse_free(text: &str) -> Option<u64> {
    let kilobytes: u64 = text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portable_engines_are_not_for_hopper() {
        let facts = TensorrtFacts {
            flavour: cumo_bundle::TensorrtFlavour::Rtx,
            version: "1.7".to_owned(),
            compute_capabilities: Vec::new(),
        };
        let device = |architecture, is_stand_in| Device {
            name: "NVIDIA H200".to_owned(),
            architecture,
            memory_gb: None,
            rates: None,
            is_integrated: false,
            is_stand_in,
        };
        let why = obstacle(&facts, &device(90, false)).unwrap();
        assert!(why.ends_with("12.0 and later, NVIDIA H200 has 9.0"), "{why}");
        assert_eq!(obstacle(&facts, &device(89, false)), None);
        assert_eq!(obstacle(&facts, &device(90, true)), None);
    }

    #[test]
    fn kernels_are_kept_beside_what_the_programs_make() {
        let programs =
            Programs::on_stand_in(Path::new("bin"), Path::new("work"), Path::new("lib"), vec![]);
        let cumo = programs.cumo("run", Path::new("engines"));
        let folder = cumo.get_envs().find(|(name, _)| *name == "CUMO_CACHE_DIR");
        assert_eq!(folder.unwrap().1.unwrap(), Path::new("work").join("kernels").as_os_str());
    }

    #[test]
    fn files_are_named_by_words() {
        assert_eq!(slug("NVIDIA H100 80GB HBM3"), "nvidia-h100-80gb-hbm3");
        assert_eq!(slug("two layers, constants"), "two-layers-constants");
        assert_eq!(slug(" Orin (nvgpu)"), "orin-nvgpu");
    }

    #[test]
    fn free_space_is_the_fourth_column() {
        let text = "Filesystem 1024-blocks Used Available Capacity Mounted on\n\
                    /dev/sda1 1000 400 600 40% /\n";
        assert_eq!(parse_free(text), Some(600 * 1024));
        assert_eq!(parse_free("nothing\n"), None);
        assert_eq!(parse_free("a b c d\nx 1 2 -\n"), None);
        assert!(free_bytes(Path::new("/nonexistent/folder")).is_some());
    }

    #[test]
    fn an_error_has_the_programs_last_words() {
        let mut fails = Command::new("sh");
        fails.args(["-c", "echo first >&2; echo error: no device >&2; exit 3"]);
        let error = output(&mut fails).unwrap_err().to_string();
        assert!(error.ends_with("failed (exit status: 3): error: no device"), "{error}");
    }
}
