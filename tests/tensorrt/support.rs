//! What these tests share: a golden's engines, opened on a stand-in.

use std::path::Path;
use std::sync::Arc;

use cumo_export::MoeKind;
use cumo_export::engine::Sizes;
use cumo_runtime::backends::BackendOptions;
use cumo_runtime::backends::tensorrt::TensorrtOptions;
use cumo_runtime::{
    Answer, CancelToken, Error, GenerateOptions, ImageEmbeds, Model, ModelOptions, SamplingOptions,
};
use cumo_standin::{Settings, StandIn, SummaryOfRun};
use cumo_tensorrt::LibraryPlaces;
use cumo_tests::{EngineFolder, Golden, Prompt, onnxruntime_is_there, stand_in};

/// Positions of the cache: three rungs.
pub(crate) const CONTEXT: usize = 256;

/// Positions of one prefill call: fewer than some prompts have.
pub(crate) const MAX_PROMPT: usize = 24;

/// Images of one vision call: fewer than a conversation may have.
pub(crate) const MAX_IMAGES: usize = 2;

/// A golden's engines, and a stand-in to run them.
pub(crate) struct Setup {
    pub(crate) engines: Arc<EngineFolder>,
    pub(crate) stand_in: StandIn,
    places: LibraryPlaces,
    _folder: tempfile::TempDir,
}

impl Setup {
    pub(crate) fn new(golden: &Golden, moe: MoeKind) -> Setup {
        Setup::with(golden, moe, &Settings::default())
    }

    pub(crate) fn with(golden: &Golden, moe: MoeKind, settings: &Settings) -> Setup {
        Setup::with_context(golden, moe, settings, CONTEXT)
    }

    /// With another number of positions of the cache.
    pub(crate) fn with_context(
        golden: &Golden,
        moe: MoeKind,
        settings: &Settings,
        context: usize,
    ) -> Setup {
        onnxruntime_is_there();
        let sizes = Sizes {
            max_images: Some(MAX_IMAGES),
            batch: Some(1),
            max_prompt: Some(MAX_PROMPT),
            max_context: Some(context),
        };
        let engines = EngineFolder::of(golden, moe, sizes);
        let (stand_in, places, folder) = stand_in(settings);
        Setup { engines, stand_in, places, _folder: folder }
    }

    pub(crate) fn options(&self) -> ModelOptions {
        let tensorrt = TensorrtOptions {
            libraries: self.places.clone(),
            plugin: Some(self.stand_in.plugin()),
            ..TensorrtOptions::default()
        };
        let backend = BackendOptions { tensorrt, ..BackendOptions::default() };
        ModelOptions { backend, ..ModelOptions::default() }
    }

    pub(crate) fn open(&self) -> Result<Model, Error> {
        self.open_at(&self.engines.path())
    }

    /// A model whose kernels are kept in a folder.
    pub(crate) fn open_keeping(&self, kernels: &Path) -> Result<Model, Error> {
        let mut options = self.options();
        options.backend.tensorrt.kernels = Some(kernels.to_owned());
        Model::open(&self.engines.path(), &options)
    }

    pub(crate) fn open_at(&self, folder: &Path) -> Result<Model, Error> {
        Model::open(folder, &self.options())
    }

    /// What the stand-in counted. The model that used it is dropped; it did nothing that a device
    /// would not have forgiven.
    pub(crate) fn finish(&self, model: Model) -> SummaryOfRun {
        drop(model);
        self.nothing_is_wrong();
        self.stand_in.summary().unwrap()
    }

    pub(crate) fn nothing_is_wrong(&self) {
        let violations = self.stand_in.violations();
        assert!(violations.is_empty(), "{}", violations.join("\n"));
    }
}

/// The golden of this name.
pub(crate) fn golden(name: &str) -> Golden {
    Golden::all().into_iter().find(|golden| golden.name == name).unwrap()
}

/// Takes the best token always, and goes on behind EOS.
pub(crate) fn greedy(tokens: usize) -> GenerateOptions {
    GenerateOptions {
        max_new_tokens: tokens,
        sampling: SamplingOptions { temperature: 0.0, ..SamplingOptions::default() },
        ignore_eos: true,
        ..GenerateOptions::default()
    }
}

/// The original's embeddings of a prompt's images.
pub(crate) fn golden_images(
    golden: &Golden,
    model: &mut Model,
    prompt: &Prompt,
) -> Vec<ImageEmbeds> {
    let put = |image: &String| {
        let values = &golden.tensor(&format!("image_embeds.{image}")).values;
        model.executor().put_image(values).unwrap()
    };
    prompt.images.iter().map(put).collect()
}

/// A greedy answer.
pub(crate) fn answer(
    model: &mut Model,
    ids: &[i64],
    images: &[ImageEmbeds],
    tokens: usize,
) -> Result<Answer, Error> {
    model.generate(ids, images, &greedy(tokens), &CancelToken::new(), &mut |_| ())
}

/// Every prompt of a golden is answered with the original's tokens.
pub(crate) fn assert_answers(golden: &Golden, model: &mut Model) {
    for (name, prompt) in &golden.prompts {
        let images = golden_images(golden, model, prompt);
        let count = prompt.greedy_tokens.len();
        let answer = answer(model, &prompt.input_ids, &images, count).unwrap();
        assert_eq!(answer.tokens, prompt.greedy_tokens, "{} {name}", golden.name);
        model.release_images(images);
    }
}
