//! What the backends of this program are told.

use cumo_runtime::backends::BackendOptions;

use super::cli::ModelArgs;

/// The backends' settings: threads for ONNX Runtime; for TensorRT the device, whether it reads
/// weights where they are mapped, with a bar on a terminal while they are copied, and where its
/// kernels are kept.
pub(crate) fn backend_options(args: &ModelArgs) -> BackendOptions {
    // A program with one backend has no use for the other's.
    let _ = args;
    BackendOptions {
        #[cfg(feature = "ort")]
        ort: cumo_runtime::backends::ort::OrtOptions { threads: args.threads },
        #[cfg(feature = "tensorrt")]
        tensorrt: cumo_runtime::backends::tensorrt::TensorrtOptions {
            device: args.device,
            weights: match args.weights_in_place {
                true => cumo_runtime::backends::tensorrt::Weights::InPlace,
                false => cumo_runtime::backends::tensorrt::Weights::Copied,
            },
            progress: bar::progress(),
            kernels: match args.no_kernel_cache {
                true => None,
                false => {
                    cumo_runtime::backends::tensorrt::kernel_folder(|name| std::env::var_os(name))
                }
            },
            ..Default::default()
        },
    }
}

#[cfg(feature = "tensorrt")]
mod bar {
    use std::sync::Arc;

    use cumo_runtime::backends::tensorrt::Progress;
    use indicatif::{ProgressBar, ProgressStyle};

    /// A bar that shows the weights of a part of the model, and goes when they are there.
    pub(super) fn progress() -> Progress {
        let template = "weights {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}";
        let Ok(style) = ProgressStyle::with_template(template) else { return Progress::default() };
        let bar = ProgressBar::new(0).with_style(style);
        Progress(Some(Arc::new(move |done, of| {
            if bar.length() != Some(of) || bar.is_finished() {
                bar.reset();
                bar.set_length(of);
            }
            bar.set_position(done);
            if done == of {
                bar.finish_and_clear();
            }
        })))
    }
}
