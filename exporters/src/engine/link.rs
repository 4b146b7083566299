//! Layer graphs joined to one graph a phase, with weights as constants: the classical way to build
//! an engine, for comparison.
//!
//! A step's values get the step's number in front; what one step leaves in an activation is what the
//! next one reads. Weights become constants in files beside the graph: the bundle's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use cumo_bundle::{Binding, CacheSlot, Graph, Manifest, Phase, Step, Value, WeightEntry, names};
use cumo_onnx::proto::{
    FunctionProto, GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto,
    ValueInfoProto, tensor_proto::DataLocation,
};
use prost::Message;

use super::error::Error;
use super::source::{Source, entry};

/// Where constants lie: the bundle, or, where there are shapes alone, files of almost nothing but
/// holes, which take no place on the disk.
pub(super) enum Data {
    /// The bundle's folder.
    Bundle(PathBuf),
    /// Files of zeros, but for the first bytes of each tensor.
    Holes(tempfile::TempDir),
}

impl Data {
    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        match self {
            Data::Bundle(path) => path,
            Data::Holes(folder) => folder.path(),
        }
    }
}

/// What a phase gives, beside the cache.
const RESULTS: [&str; 4] =
    [names::IMAGE_FEATURES, names::IMAGE_EMBEDS, names::INPUTS_EMBEDS, names::LOGITS];

/// The source with one graph a phase, of the first `layers` steps of each graph.
///
/// # Errors
/// [`Error::Link`] where graphs hold what cannot be joined; [`Error::Io`].
pub(super) fn constants(source: Source, layers: Option<usize>) -> Result<Source, Error> {
    let data = match &source.bundle {
        Some(path) => Data::Bundle(path.clone()),
        None => Data::Holes(holes(&source.manifest)?),
    };
    let mut manifest = source.manifest.clone();
    let mut graphs = BTreeMap::new();
    let has_plugin = source.needs_plugin();
    let twin = source.manifest.graphs.values().find_map(|graph| graph.twin.clone());
    manifest.graphs.clear();
    let mut cached = BTreeSet::new();
    for (phase, name) in
        [(Phase::EncodeImages, "images"), (Phase::EmbedTokens, "embed"), (Phase::Decode, "llm")]
    {
        let mut joined = Joined::new(&source.manifest);
        let mut runs: BTreeMap<&str, usize> = BTreeMap::new();
        for step in source.manifest.plan.steps(phase) {
            let run = runs.entry(&step.graph).or_default();
            *run += 1;
            if layers.is_some_and(|layers| *run > layers) {
                joined.skip(step);
                continue;
            }
            joined.add(step, &decode(&source, &step.graph)?)?;
        }
        cached.extend(joined.slots.iter().cloned());
        let file = format!("{name}.constants.onnx");
        let (model, mut graph, step) = joined.finish(name, &file);
        graph.twin = twin.clone().filter(|_| has_plugin);
        manifest.files.insert(file, entry(&model));
        manifest.graphs.insert(name.to_owned(), graph);
        graphs.insert(name.to_owned(), model);
        let steps = match phase {
            Phase::EncodeImages => &mut manifest.plan.encode_images,
            Phase::EmbedTokens => &mut manifest.plan.embed_tokens,
            Phase::Decode => &mut manifest.plan.decode,
        };
        *steps = vec![step];
    }
    manifest.plan.cache.retain(|slot: &CacheSlot| cached.contains(&slot.name));
    manifest.weights.clear();
    Ok(Source { manifest, graphs, bundle: source.bundle, data: Some(data) })
}

/// The bundle's weight files, of zeros. Each tensor begins with a number of its own: TensorRT keeps
/// equal constants once, which would say little of what real ones need.
fn holes(manifest: &Manifest) -> Result<tempfile::TempDir, Error> {
    let temporary = std::env::temp_dir();
    let folder = tempfile::tempdir().map_err(|source| Error::Io { path: temporary, source })?;
    let mut files: BTreeMap<&String, Vec<&WeightEntry>> = BTreeMap::new();
    for weight in manifest.weights.values() {
        files.entry(&weight.file).or_default().push(weight);
    }
    for (name, weights) in files {
        let path = folder.path().join(name);
        let bytes = manifest.files.get(name).map_or(0, |file| file.bytes);
        let write = || {
            let mut file = File::create(&path)?;
            file.set_len(bytes)?;
            for (number, weight) in weights.iter().enumerate() {
                // Two numbers of f16 between 0 and 1, as long as there are less than 14 million.
                let halves = [number % 0x3c00, number / 0x3c00].map(|half| half as u16);
                file.seek(SeekFrom::Start(weight.offset))?;
                file.write_all(&[halves[0].to_le_bytes(), halves[1].to_le_bytes()].concat())?;
            }
            Ok(())
        };
        write().map_err(|source: std::io::Error| Error::Io { path: path.clone(), source })?;
    }
    Ok(folder)
}

fn decode(source: &Source, graph: &str) -> Result<ModelProto, Error> {
    let bytes = source.graphs.get(graph).map(Vec::as_slice).unwrap_or_default();
    ModelProto::decode(bytes).map_err(|error| Error::Link(format!("graph `{graph}`: {error}")))
}

/// A graph that grows by a step at a time.
struct Joined<'a> {
    manifest: &'a Manifest,
    model: ModelProto,
    graph: GraphProto,
    steps: usize,
    /// The value that each activation holds.
    activations: BTreeMap<String, String>,
    constants: BTreeSet<String>,
    /// Cache slots that are used.
    slots: BTreeSet<String>,
    inputs: Vec<(Value, Binding)>,
    outputs: Vec<(Value, Binding)>,
}

impl<'a> Joined<'a> {
    fn new(manifest: &'a Manifest) -> Joined<'a> {
        Joined {
            manifest,
            model: ModelProto::default(),
            graph: GraphProto::default(),
            steps: 0,
            activations: BTreeMap::new(),
            constants: BTreeSet::new(),
            slots: BTreeSet::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Leaves a step out: what it would have made is what it would have read.
    fn skip(&mut self, step: &Step) {
        let activation = |binding: &Binding| match binding {
            Binding::Activation(name) if name.starts_with("hidden_states") => Some(name.clone()),
            _ => None,
        };
        let read = step.inputs.values().find_map(activation);
        let made = step.outputs.values().find_map(activation);
        if let (Some(read), Some(made)) = (read, made)
            && let Some(value) = self.activations.get(&read).cloned()
        {
            self.activations.insert(made, value);
        }
    }

    /// Adds a step's graph.
    fn add(&mut self, step: &Step, model: &ModelProto) -> Result<(), Error> {
        let prefix = format!("step{}/", self.steps);
        self.steps += 1;
        let empty = GraphProto::default();
        let graph = model.graph.as_ref().unwrap_or(&empty);
        let signature = self
            .manifest
            .graphs
            .get(&step.graph)
            .ok_or_else(|| Error::Link(format!("there is no graph `{}`", step.graph)))?;
        let mut renamed: BTreeMap<String, String> = BTreeMap::new();
        for value in &signature.inputs {
            if let Some(binding) = step.inputs.get(&value.name) {
                let name = self.read(binding, value, graph)?;
                renamed.insert(value.name.clone(), name);
            }
        }
        let mut made = Vec::new();
        for value in &signature.outputs {
            if let Some(binding) = step.outputs.get(&value.name) {
                let name = self.make(binding, value, graph, &prefix, &mut made);
                renamed.insert(value.name.clone(), name);
            }
        }
        let operators = self.take_operators(model)?;
        let rename = |name: &String| match renamed.get(name) {
            _ if name.is_empty() => String::new(),
            Some(renamed) => renamed.clone(),
            None => format!("{prefix}{name}"),
        };
        for node in &graph.node {
            if node.attribute.iter().any(|attribute| attribute.g.is_some()) {
                let text = format!("node `{}` of `{}` holds a graph", node.name(), step.graph);
                return Err(Error::Link(text));
            }
            let called = (node.domain().to_owned(), node.op_type().to_owned());
            self.graph.node.push(NodeProto {
                input: node.input.iter().map(rename).collect(),
                output: node.output.iter().map(rename).collect(),
                name: Some(format!("{prefix}{}", node.name())),
                op_type: operators.get(&called).cloned().or_else(|| node.op_type.clone()),
                ..node.clone()
            });
        }
        for constant in &graph.initializer {
            let name = Some(rename(&constant.name().to_owned()));
            self.graph.initializer.push(TensorProto { name, ..constant.clone() });
        }
        self.activations.extend(made);
        Ok(())
    }

    /// Takes the operator sets and functions of a step's graph. Gives, by domain and name, the
    /// names that functions have here: where another graph has one of the same name and another
    /// body, a new one.
    fn take_operators(
        &mut self,
        model: &ModelProto,
    ) -> Result<BTreeMap<(String, String), String>, Error> {
        self.model.ir_version = self.model.ir_version.max(model.ir_version);
        for opset in &model.opset_import {
            if !self.model.opset_import.contains(opset) {
                self.model.opset_import.push(opset.clone());
            }
        }
        let mut names = BTreeMap::new();
        for function in &model.functions {
            let is_called = |node: &NodeProto| {
                model.functions.iter().any(|other| is_named(other, node.domain(), node.op_type()))
            };
            if function.node.iter().any(is_called) {
                let text = format!("function `{}` calls another", function.name());
                return Err(Error::Link(text));
            }
            let name = self.take_function(function);
            names.insert((function.domain().to_owned(), function.name().to_owned()), name);
        }
        Ok(names)
    }

    /// Takes a function, unless it is there; gives the name that it has here.
    fn take_function(&mut self, function: &FunctionProto) -> String {
        let (domain, name) = (function.domain(), function.name());
        let mut number = 1;
        loop {
            let own = if number == 1 { name.to_owned() } else { format!("{name}_{number}") };
            let function = FunctionProto { name: Some(own.clone()), ..function.clone() };
            let there = self.model.functions.iter().find(|other| is_named(other, domain, &own));
            match there {
                None => {
                    self.model.functions.push(function);
                    return own;
                }
                Some(there) if *there == function => return own,
                Some(_) => number += 1,
            }
        }
    }

    /// The value that an input of a step reads.
    fn read(
        &mut self,
        binding: &Binding,
        value: &Value,
        graph: &GraphProto,
    ) -> Result<String, Error> {
        match binding {
            Binding::Weight(name) => {
                let weight = self.manifest.weights.get(name);
                let weight =
                    weight.ok_or_else(|| Error::Link(format!("there is no weight `{name}`")))?;
                if self.constants.insert(name.clone()) {
                    let dtype = info(graph, &value.name).and_then(element_type);
                    self.graph.initializer.push(constant(name, weight, dtype));
                }
                Ok(name.clone())
            }
            Binding::Activation(name) => {
                if let Some(held) = self.activations.get(name) {
                    return Ok(held.clone());
                }
                self.input(name, binding, value, graph);
                self.activations.insert(name.clone(), name.clone());
                Ok(name.clone())
            }
            Binding::Cache(name) => {
                self.slots.insert(name.clone());
                self.input(name, binding, value, graph);
                Ok(name.clone())
            }
        }
    }

    fn input(&mut self, name: &str, binding: &Binding, value: &Value, graph: &GraphProto) {
        self.inputs.push((Value { name: name.to_owned(), ..value.clone() }, binding.clone()));
        if let Some(info) = info(graph, &value.name) {
            let name = Some(name.to_owned());
            self.graph.input.push(ValueInfoProto { name, ..info.clone() });
        }
    }

    /// The name of a value that a step makes; what it leaves in activations goes to `made`.
    fn make(
        &mut self,
        binding: &Binding,
        value: &Value,
        graph: &GraphProto,
        prefix: &str,
        made: &mut Vec<(String, String)>,
    ) -> String {
        let (name, is_output) = match binding {
            Binding::Activation(name) if RESULTS.contains(&name.as_str()) => (name.clone(), true),
            Binding::Activation(_) => (format!("{prefix}{}", value.name), false),
            Binding::Cache(slot) | Binding::Weight(slot) => (format!("present.{slot}"), true),
        };
        if let Binding::Activation(activation) = binding {
            made.push((activation.clone(), name.clone()));
        }
        if is_output {
            self.outputs.push((Value { name: name.clone(), ..value.clone() }, binding.clone()));
            let of_graph = graph.output.iter().find(|info| info.name() == value.name);
            let name = Some(name.clone());
            self.graph.output.extend(of_graph.map(|info| ValueInfoProto { name, ..info.clone() }));
        }
        name
    }

    /// The model's bytes, its signature, and the step that runs it.
    fn finish(mut self, name: &str, file: &str) -> (Vec<u8>, Graph, Step) {
        self.graph.name = Some(name.to_owned());
        self.model.graph = Some(self.graph);
        let bindings = |values: &[(Value, Binding)]| -> BTreeMap<String, Binding> {
            values.iter().map(|(value, binding)| (value.name.clone(), binding.clone())).collect()
        };
        let step = Step {
            graph: name.to_owned(),
            inputs: bindings(&self.inputs),
            outputs: bindings(&self.outputs),
        };
        let values = |values: Vec<(Value, Binding)>| -> Vec<Value> {
            values.into_iter().map(|(value, _)| value).collect()
        };
        let graph = Graph {
            file: file.to_owned(),
            twin: None,
            inputs: values(self.inputs),
            outputs: values(self.outputs),
        };
        (self.model.encode_to_vec(), graph, step)
    }
}

fn is_named(function: &FunctionProto, domain: &str, name: &str) -> bool {
    function.domain() == domain && function.name() == name
}

/// What a graph says of one of its inputs.
fn info<'g>(graph: &'g GraphProto, input: &str) -> Option<&'g ValueInfoProto> {
    graph.input.iter().find(|info| info.name() == input)
}

fn element_type(info: &ValueInfoProto) -> Option<i32> {
    use cumo_onnx::proto::type_proto::Value;
    match info.r#type.as_ref()?.value.as_ref()? {
        Value::TensorType(tensor) => tensor.elem_type,
    }
}

/// A constant whose bytes lie in a file beside the graph.
fn constant(name: &str, weight: &WeightEntry, data_type: Option<i32>) -> TensorProto {
    let pair = |key: &str, value: String| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value),
    };
    TensorProto {
        dims: weight.shape.iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect(),
        data_type,
        name: Some(name.to_owned()),
        external_data: vec![
            pair("location", weight.file.clone()),
            pair("offset", weight.offset.to_string()),
            pair("length", weight.bytes().unwrap_or_default().to_string()),
        ],
        data_location: Some(DataLocation::External as i32),
        ..TensorProto::default()
    }
}
