//! The options of every command that opens a model.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use cumo_bundle::Bundle;
use cumo_runtime::ModelOptions;
use cumo_runtime::machine::max_threads;

use super::super::backend_options::backend_options;
use super::numbers::whole;

#[derive(Debug, Clone, Args)]
pub(crate) struct ModelArgs {
    /// The bundle or the engines, a folder that `cumo-export` wrote
    #[arg(short, long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// The NVIDIA device that runs engines, counted from 0
    #[arg(
        long,
        value_name = "N",
        value_parser = whole::<usize>,
        allow_negative_numbers = true,
        default_value_t = 0
    )]
    pub(crate) device: usize,
    /// Have the device read engines' weights from their files where these are mapped, without a
    /// copy: for devices that share the host's memory, as Jetson's do
    #[arg(long)]
    pub(crate) weights_in_place: bool,
    /// Compile the device's kernels anew and keep none: otherwise those of TensorRT-RTX are kept in
    /// $CUMO_CACHE_DIR, $XDG_CACHE_HOME/cumo-edge or ~/.cache/cumo-edge for later starts
    #[arg(long)]
    pub(crate) no_kernel_cache: bool,
    /// Threads that share the work on a CPU [default: the physical cores]
    #[arg(
        short,
        long,
        value_name = "N",
        value_parser = threads,
        allow_negative_numbers = true
    )]
    pub(crate) threads: Option<NonZeroUsize>,
}

impl ModelArgs {
    /// The options for opening the model; says so where one of them has no effect on it.
    pub(crate) fn options(&self) -> ModelOptions {
        if self.device != 0 && Bundle::read_manifest(&self.model).is_ok() {
            // A closed standard error is no reason to stop.
            _ = writeln!(
                io::stderr(),
                "--device {} has no effect: {} is a bundle, which runs on the CPU; devices run engines",
                self.device,
                self.model.display()
            );
        }
        ModelOptions { backend: backend_options(self), ..ModelOptions::default() }
    }
}

fn threads(text: &str) -> Result<NonZeroUsize, String> {
    let most = max_threads();
    match whole(text).map(NonZeroUsize::new) {
        Ok(Some(threads)) if threads.get() <= most => Ok(threads),
        _ => Err(format!("it must be between 1 and {most} on this machine")),
    }
}
