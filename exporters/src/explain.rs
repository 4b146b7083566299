//! What engines are made of, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use cumo_bundle::{
    Binding, CacheUpdate, Dim, EngineContents, EngineEntry, EngineFigures, Engines, Pass, Phase,
    WeightsFiles, names,
};
use cumo_export::engine::{CompiledProgram, LoadedEngine, Loader};
use serde::Serialize;

use crate::size;

/// What a folder of engines is made of.
#[derive(Serialize)]
pub(crate) struct Explanation {
    folder: String,
    tensorrt: String,
    devices: String,
    plugin: Option<String>,
    limits: cumo_bundle::EngineLimits,
    steps: BTreeMap<&'static str, Vec<Steps>>,
    engines: Vec<EngineLine>,
    /// Why no engine was loaded; none where they were.
    not_loaded: Option<String>,
    f32_products: Vec<String>,
    weights: Weights,
    cache: Cache,
}

/// Steps of one graph in a phase.
#[derive(Serialize)]
struct Steps {
    graph: String,
    count: usize,
}

/// An engine.
#[derive(Serialize)]
struct EngineLine {
    file: String,
    pass: Pass,
    bytes: u64,
    shapes: BTreeMap<String, String>,
    /// The network as TensorRT parsed it, before its layers were fused.
    parsed: EngineContents,
    /// What became of it, as far as its file tells.
    compiled: Option<CompiledProgram>,
    /// What the builder said.
    builder: EngineFigures,
    /// What it says where it is loaded.
    loaded: Option<LoadedEngine>,
}

impl EngineLine {
    /// Device memory for activations, in bytes: of the loaded engine, else by the builder.
    fn activation_bytes(&self) -> Option<u64> {
        let loaded = self.loaded.as_ref().map(|loaded| loaded.activation_bytes);
        loaded.or(self.builder.activation_bytes)
    }
}

/// The weights.
#[derive(Serialize)]
struct Weights {
    place: WeightsFiles,
    tensors: usize,
    bytes: u64,
}

/// The key/value cache of all layers, for the largest batch and context.
#[derive(Serialize)]
struct Cache {
    slots: usize,
    bytes: u64,
    /// By the plan and the networks as parsed.
    in_place: bool,
    /// By the compiled engines; none where these do not tell.
    compiled_in_place: Option<bool>,
}

impl Explanation {
    /// Explains a folder; reads every engine and, where there is a device for them, loads it.
    ///
    /// # Errors
    /// What [`Engines::read`] gives of engines that were cut or altered.
    pub(crate) fn of(
        engines: &Engines,
        plugin_file: Option<&Path>,
    ) -> Result<Explanation, cumo_bundle::Error> {
        let manifest = &engines.manifest;
        let facts = &manifest.tensorrt;
        let loader = Loader::open(manifest, plugin_file);
        let mut not_loaded = loader.as_ref().err().map(ToString::to_string);
        let mut lines = Vec::new();
        for engine in &manifest.engines {
            let bytes = engines.read(engine)?;
            let loaded = loader.as_ref().ok().map(|loader| loader.ask(&bytes));
            let loaded = loaded
                .and_then(|asked| asked.map_err(|error| not_loaded = Some(error.to_string())).ok());
            lines.push(line(engine, &bytes, loaded));
        }
        let plugin = manifest.plugin.as_ref();
        let products = |engine: &EngineEntry| -> Vec<String> {
            let layers = engine.contents.f32_products.iter();
            layers.map(|layer| format!("{}: {layer}", engine.file)).collect()
        };
        Ok(Explanation {
            folder: engines.path.display().to_string(),
            tensorrt: format!("{} {}", facts.flavour, facts.version),
            devices: facts.devices(),
            plugin: plugin.map(|it| {
                format!("{} version {}, layout {}", it.name, it.version, it.layout_version)
            }),
            limits: manifest.limits.clone(),
            steps: steps(engines),
            cache: cache(engines, &lines),
            engines: lines,
            not_loaded,
            f32_products: manifest.engines.iter().flat_map(products).collect(),
            weights: weights(engines),
        })
    }
}

fn steps(engines: &Engines) -> BTreeMap<&'static str, Vec<Steps>> {
    let phases = [
        ("1 images", Phase::EncodeImages),
        ("2 tokens", Phase::EmbedTokens),
        ("3 decode", Phase::Decode),
    ];
    let of = |phase| {
        let mut steps: Vec<Steps> = Vec::new();
        for step in engines.manifest.bundle.plan.steps(phase) {
            match steps.last_mut().filter(|last| last.graph == step.graph) {
                Some(last) => last.count += 1,
                None => steps.push(Steps { graph: step.graph.clone(), count: 1 }),
            }
        }
        steps
    };
    phases.into_iter().map(|(name, phase)| (name, of(phase))).collect()
}

fn line(engine: &EngineEntry, bytes: &[u8], loaded: Option<LoadedEngine>) -> EngineLine {
    let shape =
        |sizes: &[usize]| sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
    let shapes = engine.profile.iter().map(|(input, range)| {
        let text = match range.min == range.max {
            true => shape(&range.min),
            false => format!("{} to {}", shape(&range.min), shape(&range.max)),
        };
        (input.clone(), text)
    });
    EngineLine {
        file: engine.file.clone(),
        pass: engine.pass,
        bytes: bytes.len() as u64,
        shapes: shapes.collect(),
        parsed: engine.contents.clone(),
        compiled: CompiledProgram::read(bytes),
        builder: engine.figures,
        loaded,
    }
}

fn weights(engines: &Engines) -> Weights {
    let all = &engines.manifest.bundle.weights;
    Weights {
        place: engines.manifest.weights_files,
        tensors: all.len(),
        bytes: all
            .values()
            .filter_map(cumo_bundle::WeightEntry::bytes)
            .fold(0, u64::saturating_add),
    }
}

fn cache(engines: &Engines, lines: &[EngineLine]) -> Cache {
    let (plan, limits) = (&engines.manifest.bundle.plan, &engines.manifest.limits);
    let size = |dim: &Dim| match dim {
        Dim::Fixed(size) => *size as u64,
        Dim::Symbol(name) if name == names::BATCH => limits.batch as u64,
        Dim::Symbol(_) => limits.max_context as u64,
    };
    let bytes = plan.cache.iter().map(|slot| {
        let elements = slot.shape.iter().map(size).fold(1u64, u64::saturating_mul);
        elements.saturating_mul(slot.dtype.size() as u64)
    });
    Cache {
        slots: plan.cache.len(),
        bytes: bytes.fold(0, u64::saturating_add),
        in_place: is_in_place(engines),
        compiled_in_place: is_compiled_in_place(lines),
    }
}

/// Whether the compiled engines update every cache in place that their networks do; the loaded
/// engine's word counts more than its file's.
fn is_compiled_in_place(lines: &[EngineLine]) -> Option<bool> {
    let mut all = true;
    for line in lines {
        let loaded = line.loaded.as_ref().map(|loaded| loaded.in_place);
        let found = loaded.or(line.compiled.as_ref().map(|compiled| compiled.in_place))?;
        all &= found == line.parsed.caches_in_place;
    }
    Some(all)
}

/// Whether every slot is updated where it lies: the plan says so, and the engines that write slots
/// have as many updates of that kind.
fn is_in_place(engines: &Engines) -> bool {
    let plan = &engines.manifest.bundle.plan;
    let writes = |engine: &EngineEntry| {
        let step = plan.decode.iter().find(|step| step.graph == engine.graph);
        let outputs = step.into_iter().flat_map(|step| step.outputs.values());
        outputs.filter(|binding| matches!(binding, Binding::Cache(_))).count()
    };
    !plan.cache.is_empty()
        && plan.cache.iter().all(|slot| slot.update == CacheUpdate::InPlace)
        && engines
            .manifest
            .engines
            .iter()
            .all(|engine| engine.contents.caches_in_place == writes(engine))
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}, for {}", self.folder, self.tensorrt, self.devices)?;
        writeln!(f, "plugin   {}", self.plugin.as_deref().unwrap_or("none"))?;
        let limits = &self.limits;
        writeln!(
            f,
            "takes    {} images, {} sequences, prompts of {}, contexts of {} positions",
            limits.max_images, limits.batch, limits.max_prompt, limits.max_context
        )?;
        for (phase, steps) in &self.steps {
            let steps: Vec<String> = steps
                .iter()
                .map(|step| match step.count {
                    1 => step.graph.clone(),
                    count => format!("{count} x {}", step.graph),
                })
                .collect();
            writeln!(f, "{phase} {}", steps.join(", "))?;
        }
        self.table(f)?;
        self.totals(f)
    }
}

impl Explanation {
    /// A line an engine: its network as parsed, and what became of it.
    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.engines.iter().map(|engine| engine.file.len()).max().unwrap_or(0);
        writeln!(f, "\n{:width$}             parsed                        compiled", "")?;
        let (engine, head) = ("engine", "size  layers  products, plugins     kernels     memory");
        writeln!(f, "{engine:width$}       {head}")?;
        for engine in &self.engines {
            let parsed = &engine.parsed;
            let products = parsed.products.iter().map(|(dtype, count)| format!("{count} {dtype}"));
            let plugins = parsed.plugins.iter().map(|(name, count)| format!("{count} {name}"));
            let made = products.chain(plugins).collect::<Vec<_>>().join(", ");
            let layers =
                parsed.layers.values().fold(0, |sum: usize, count| sum.saturating_add(*count));
            let loaded = engine.loaded.as_ref().map(|loaded| loaded.layers.len());
            let kernels = loaded.or(engine.compiled.as_ref().map(|compiled| compiled.kernels));
            let kernels = kernels.map_or_else(|| "?".to_owned(), |count| count.to_string());
            let memory = engine.activation_bytes().map_or_else(|| "?".to_owned(), size::bytes);
            let (file, bytes) = (&engine.file, size::bytes(engine.bytes));
            writeln!(
                f,
                "{file:width$}  {bytes:>9}  {layers:>6}  {made:<20}  {kernels:>7}  {memory:>9}"
            )?;
        }
        writeln!(
            f,
            "parsed: the network before TensorRT fused its layers; compiled: read from the engine's \
             file; memory: activations at the largest shapes, by the builder"
        )?;
        match &self.not_loaded {
            None => writeln!(f, "the engines were loaded: layers and memory are what they say\n"),
            Some(why) => {
                let why = why.lines().next().unwrap_or_default();
                writeln!(f, "not loaded, so not asked themselves: {why}\n")
            }
        }
    }

    /// Sums over all engines.
    fn totals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.engines.iter().map(|engine| engine.bytes).fold(0, u64::saturating_add);
        writeln!(f, "engines  {} in {} files", size::bytes(total), self.engines.len())?;
        let place = match self.weights.place {
            WeightsFiles::Link => "linked",
            WeightsFiles::Copy => "copied",
            WeightsFiles::Engines => "in the engines",
            WeightsFiles::Absent => "absent: built of shapes alone",
        };
        let (tensors, bytes) = (self.weights.tensors, size::bytes(self.weights.bytes));
        writeln!(f, "weights  {tensors} tensors, {bytes}, {place}")?;
        let compiled = match self.cache.compiled_in_place {
            Some(true) => ", in the compiled engines too",
            Some(false) => ", BUT NOT IN ALL COMPILED ENGINES",
            None => "; the compiled engines do not tell",
        };
        let update = match self.cache.in_place {
            true => format!("updated in place by plan and networks{compiled}"),
            false => "not updated in place".to_owned(),
        };
        let (slots, bytes) = (self.cache.slots, size::bytes(self.cache.bytes));
        writeln!(f, "cache    {slots} slots, {bytes} at most, {update}")?;
        let most = self.engines.iter().filter_map(EngineLine::activation_bytes).max();
        if let Some(most) = most {
            let most = size::bytes(most);
            writeln!(
                f,
                "memory   {most} of activations at most; contexts in one stream share them"
            )?;
        }
        let compiled = self.engines.iter().filter_map(|engine| engine.compiled.as_ref());
        let in_f32: usize = compiled.filter_map(|compiled| compiled.products.get("f32")).sum();
        self.copied_weights(f)?;
        self.copied_caches(f)?;
        match self.f32_products.is_empty() && in_f32 == 0 {
            true => writeln!(f, "no matrix product in f32, as parsed or as compiled"),
            false => writeln!(
                f,
                "MATRIX PRODUCTS IN F32: {in_f32} compiled; as parsed:\n  {}",
                self.f32_products.join("\n  ")
            ),
        }
    }

    /// Weights that runs copy, as far as the engines' files tell.
    fn copied_weights(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut copied = Vec::new();
        for engine in &self.engines {
            let Some(compiled) = &engine.compiled else { return Ok(()) };
            copied.extend(compiled.copied.iter().map(|it| format!("{}: {it}", engine.file)));
        }
        match copied.is_empty() {
            true => writeln!(f, "no run copies a weight, as compiled"),
            false => writeln!(f, "WEIGHTS THAT EVERY RUN COPIES:\n  {}", copied.join("\n  ")),
        }
    }

    /// Caches that are copied for a token, as far as the engines' files tell. For prompts, keys and
    /// values are brought into another order.
    fn copied_caches(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut copied = Vec::new();
        for engine in self.engines.iter().filter(|engine| engine.pass == Pass::Decode) {
            let Some(compiled) = &engine.compiled else { return Ok(()) };
            copied.extend(compiled.copied_caches.iter().map(|it| format!("{}: {it}", engine.file)));
        }
        match copied.is_empty() {
            true => writeln!(f, "no token copies a cache, as compiled"),
            false => writeln!(f, "CACHES THAT EVERY TOKEN COPIES:\n  {}", copied.join("\n  ")),
        }
    }
}
