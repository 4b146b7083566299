//! What engines are made of, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use cumo_bundle::{
    Binding, CacheUpdate, Dim, EngineEntry, Engines, Phase, WeightsFiles, compute_capability_name,
    names,
};
use serde::Serialize;

use crate::size;

/// What a folder of engines is made of.
#[derive(Serialize)]
pub(crate) struct Explanation {
    folder: String,
    tensorrt: String,
    devices: Vec<String>,
    plugin: Option<String>,
    limits: cumo_bundle::EngineLimits,
    steps: BTreeMap<&'static str, Vec<Steps>>,
    engines: Vec<EngineLine>,
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
    bytes: u64,
    layers: usize,
    layers_by_kind: BTreeMap<String, usize>,
    plugins: BTreeMap<String, usize>,
    products: BTreeMap<String, usize>,
    caches_in_place: usize,
    shapes: BTreeMap<String, String>,
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
    in_place: bool,
}

impl Explanation {
    /// Explains a folder.
    pub(crate) fn of(engines: &Engines) -> Explanation {
        let manifest = &engines.manifest;
        let facts = &manifest.tensorrt;
        let devices = facts.compute_capabilities.iter().copied().map(compute_capability_name);
        let plugin = manifest.plugin.as_ref();
        let products = |engine: &EngineEntry| -> Vec<String> {
            let layers = engine.contents.f32_products.iter();
            layers.map(|layer| format!("{}: {layer}", engine.file)).collect()
        };
        Explanation {
            folder: engines.path.display().to_string(),
            tensorrt: format!("{} {}", facts.flavour, facts.version),
            devices: devices.collect(),
            plugin: plugin.map(|it| {
                format!("{} version {}, layout {}", it.name, it.version, it.layout_version)
            }),
            limits: manifest.limits.clone(),
            steps: steps(engines),
            engines: manifest.engines.iter().map(|engine| line(engines, engine)).collect(),
            f32_products: manifest.engines.iter().flat_map(products).collect(),
            weights: weights(engines),
            cache: cache(engines),
        }
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

fn line(engines: &Engines, engine: &EngineEntry) -> EngineLine {
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
        bytes: engines.manifest.files.get(&engine.file).map_or(0, |file| file.bytes),
        layers: engine.contents.layers.values().sum(),
        layers_by_kind: engine.contents.layers.clone(),
        plugins: engine.contents.plugins.clone(),
        products: engine.contents.products.clone(),
        caches_in_place: engine.contents.caches_in_place,
        shapes: shapes.collect(),
    }
}

fn weights(engines: &Engines) -> Weights {
    let all = &engines.manifest.bundle.weights;
    Weights {
        place: engines.manifest.weights_files,
        tensors: all.len(),
        bytes: all.values().filter_map(cumo_bundle::WeightEntry::bytes).sum(),
    }
}

fn cache(engines: &Engines) -> Cache {
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
    }
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
        let devices = match self.devices.is_empty() {
            true => "all devices that it builds for at once".to_owned(),
            false => format!("compute capability {}", self.devices.join(", ")),
        };
        writeln!(f, "{}: {}, for {devices}", self.folder, self.tensorrt)?;
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
        let width = self.engines.iter().map(|engine| engine.file.len()).max().unwrap_or(0);
        writeln!(f, "\n{:width$}  {:>9}  layers  products, plugins", "engine", "size")?;
        for engine in &self.engines {
            let products = engine.products.iter().map(|(dtype, count)| format!("{count} {dtype}"));
            let plugins = engine.plugins.iter().map(|(name, count)| format!("{count} {name}"));
            let made: Vec<String> = products.chain(plugins).collect();
            let (file, bytes, layers) = (&engine.file, size::bytes(engine.bytes), engine.layers);
            writeln!(f, "{file:width$}  {bytes:>9}  {layers:>6}  {}", made.join(", "))?;
        }
        writeln!(f)?;
        let total: u64 = self.engines.iter().map(|engine| engine.bytes).sum();
        writeln!(f, "engines  {} in {} files", size::bytes(total), self.engines.len())?;
        let place = match self.weights.place {
            WeightsFiles::Link => "linked",
            WeightsFiles::Copy => "copied",
            WeightsFiles::Engines => "in the engines",
            WeightsFiles::Absent => "absent: built of shapes alone",
        };
        let (tensors, bytes) = (self.weights.tensors, size::bytes(self.weights.bytes));
        writeln!(f, "weights  {tensors} tensors, {bytes}, {place}")?;
        let update = if self.cache.in_place { "updated in place" } else { "not updated in place" };
        let (slots, bytes) = (self.cache.slots, size::bytes(self.cache.bytes));
        writeln!(f, "cache    {slots} slots, {bytes} at most, {update}")?;
        match self.f32_products.is_empty() {
            true => writeln!(f, "no matrix product in f32"),
            false => writeln!(f, "MATRIX PRODUCTS IN F32:\n  {}", self.f32_products.join("\n  ")),
        }
    }
}
