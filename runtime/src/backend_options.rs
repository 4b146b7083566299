//! What the backends of this program are told.

use std::num::NonZeroUsize;

use cumo_runtime::backends::BackendOptions;

/// The backends' settings: threads for ONNX Runtime; for TensorRT the device and whether it reads
/// weights where they are mapped, with a bar on a terminal while they are copied.
pub(crate) fn backend_options(
    threads: Option<NonZeroUsize>,
    device: usize,
    weights_in_place: bool,
) -> BackendOptions {
    // A program with one backend has no use for the other's.
    let _ = (threads, device, weights_in_place);
    BackendOptions {
        #[cfg(feature = "ort")]
        ort: cumo_runtime::backends::ort::OrtOptions { threads },
        #[cfg(feature = "tensorrt")]
        tensorrt: cumo_runtime::backends::tensorrt::TensorrtOptions {
            device,
            weights: match weights_in_place {
                true => cumo_runtime::backends::tensorrt::Weights::InPlace,
                false => cumo_runtime::backends::tensorrt::Weights::Copied,
            },
            progress: bar::progress(),
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
