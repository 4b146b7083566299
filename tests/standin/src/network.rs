//! ONNX models as networks: their tensors, layers and profiles, and the engine that is built.

use std::collections::BTreeMap;
use std::path::Path;

use cumo_bundle::Bundle;
use cumo_onnx::proto::tensor_proto::DataLocation;
use cumo_onnx::proto::tensor_shape_proto::dimension::Value as Dimension;
use cumo_onnx::proto::{GraphProto, ModelProto, NodeProto, ValueInfoProto, type_proto};
use prost::Message;

use crate::engine::{Derived, Dtype, Header, Port, Profile, Size};
use crate::fault::{Fault, RefusedNode, Result};
use crate::session::Session;
use crate::sys::{MAX_RANK, code};

/// A parsed model.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
    pub(crate) layers: Vec<Layer>,
    graph: String,
    needs_plugin: bool,
    aliases: BTreeMap<String, String>,
    /// The model to run; the error of a build where there is none.
    model: Result<Vec<u8>>,
}

/// A node.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) plugin: String,
    pub(crate) inputs: Vec<LayerTensor>,
    pub(crate) outputs: Vec<LayerTensor>,
}

/// A tensor that a layer reads or writes: its shape where it is known.
#[derive(Debug, Clone)]
pub(crate) struct LayerTensor {
    pub(crate) name: String,
    /// The header's number; -1 where it is not known.
    pub(crate) dtype: i32,
    pub(crate) shape: Option<Vec<i64>>,
}

/// Parses a model. Where it has nodes of a plugin, `has_plugin` says that one was loaded, and the
/// model that runs is the twin that the manifest beside `path` names.
///
/// # Errors
/// Not a model, or one with nodes that nobody implements.
pub(crate) fn parse(bytes: &[u8], path: Option<&Path>, has_plugin: bool) -> Result<Network> {
    let refused = |text: String| Fault::new(code::PARSE, text);
    let model = ModelProto::decode(bytes).map_err(|error| refused(format!("not ONNX: {error}")))?;
    let graph = model.graph.as_ref().ok_or_else(|| refused("not ONNX: no graph".to_owned()))?;
    let plugin_nodes = plugin_nodes(&model, graph);
    if !plugin_nodes.is_empty() && !has_plugin {
        let text = format!("{} nodes are of no operator that is known", plugin_nodes.len());
        return Err(Fault { nodes: plugin_nodes, ..refused(text) });
    }
    let needs_plugin = !plugin_nodes.is_empty();
    let run = match needs_plugin {
        true => twin(&model, path),
        false => with_constants(model.clone(), path),
    };
    Ok(Network {
        inputs: ports(&graph.input)?,
        outputs: ports(&graph.output)?,
        layers: layers(&model, graph),
        graph: graph.name().to_owned(),
        needs_plugin,
        aliases: aliases(graph),
        model: run.map(|model| model.encode_to_vec()),
    })
}

impl Network {
    /// Builds an engine.
    ///
    /// # Errors
    /// A profile does not fit, or there is no model to run.
    pub(crate) fn build(
        &self,
        version: &str,
        profiles: &[Profile],
        compute_capabilities: &[i32],
    ) -> Result<Vec<u8>> {
        let fault = |text: String| Fault::new(code::PROFILE, text);
        let mut profiles = profiles.to_vec();
        if profiles.is_empty() {
            profiles.push(Profile::new());
        }
        for (index, profile) in profiles.iter().enumerate() {
            if let Some(name) = profile.keys().find(|name| self.input(name).is_none()) {
                return Err(fault(format!("profile {index}: there is no input `{name}`")));
            }
            for input in &self.inputs {
                check_range(input, profile.get(&input.name)).map_err(|why| {
                    fault(format!("profile {index}, input `{}`: {why}", input.name))
                })?;
            }
        }
        let model = self.model.clone()?;
        let derived = self.derived(&profiles[0], &model)?;
        let header = Header {
            version: version.to_owned(),
            graph: self.graph.clone(),
            needs_plugin: self.needs_plugin,
            compute_capabilities: compute_capabilities.to_vec(),
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
            profiles,
            aliases: self.aliases.clone(),
            derived,
        };
        Ok(header.encode(&model))
    }

    /// What follows of the sizes of outputs that no input has, at the largest of a profile.
    fn derived(&self, profile: &Profile, model: &[u8]) -> Result<BTreeMap<String, Derived>> {
        let mut largest = BTreeMap::new();
        let mut varying = None;
        for input in &self.inputs {
            let Some([min, _, max]) = profile.get(&input.name) else { continue };
            for ((size, min), max) in input.shape.iter().zip(min).zip(max) {
                if let Size::Symbol(symbol) = size {
                    largest.insert(symbol.as_str(), *max);
                    if min != max {
                        varying = Some((symbol, *max));
                    }
                }
            }
        }
        let open = |port: &Port| {
            let unknown = |size: &Size| matches!(size, Size::Symbol(symbol) if !largest.contains_key(symbol.as_str()));
            port.shape.iter().any(unknown)
        };
        let Some((from, size)) = varying.filter(|_| self.outputs.iter().any(open)) else {
            return Ok(BTreeMap::new());
        };
        let shapes = Session::output_shapes(model, &largest)
            .map_err(|why| Fault::new(code::BUILD, format!("shapes of `{}`: {why}", self.graph)))?;
        let mut derived = BTreeMap::new();
        for output in &self.outputs {
            let Some(shape) = shapes.get(&output.name) else { continue };
            for (own, found) in output.shape.iter().zip(shape) {
                if let Size::Symbol(symbol) = own
                    && !largest.contains_key(symbol.as_str())
                    && *found > 0
                {
                    let sizes = [size, *found];
                    derived.insert(symbol.clone(), Derived { from: from.clone(), sizes });
                }
            }
        }
        Ok(derived)
    }

    fn input(&self, name: &str) -> Option<&Port> {
        self.inputs.iter().find(|input| input.name == name)
    }
}

/// Whether a range of shapes fits an input.
fn check_range(input: &Port, range: Option<&[Vec<i64>; 3]>) -> std::result::Result<(), String> {
    let open = input.open_shape();
    let Some([min, opt, max]) = range else {
        return match open.contains(&-1) {
            true => Err(format!("its shape {open:?} is not fixed, and the profile has none")),
            false => Ok(()),
        };
    };
    let fits = |(fixed, ((min, opt), max)): (&i64, ((&i64, &i64), &i64))| {
        *min >= 0 && min <= opt && opt <= max && (*fixed == -1 || (fixed == min && fixed == max))
    };
    let same_rank = [min, opt, max].iter().all(|shape| shape.len() == open.len());
    match same_rank && open.iter().zip(min.iter().zip(opt).zip(max)).all(fits) {
        true => Ok(()),
        false => Err(format!("{min:?}, {opt:?}, {max:?} does not fit {open:?}")),
    }
}

/// Nodes that neither ONNX nor a function of the model defines.
fn plugin_nodes(model: &ModelProto, graph: &GraphProto) -> Vec<RefusedNode> {
    let nodes = graph.node.iter().enumerate().filter(|(_, node)| is_plugin(model, node));
    nodes
        .map(|(index, node)| RefusedNode {
            text: format!("no plugin `{}` is loaded", node.op_type()),
            name: node.name().to_owned(),
            operator: node.op_type().to_owned(),
            index: i64::try_from(index).unwrap_or(-1),
        })
        .collect()
}

fn is_plugin(model: &ModelProto, node: &NodeProto) -> bool {
    !["", "ai.onnx"].contains(&node.domain()) && body(model, node).is_none()
}

/// The nodes of the function that a node calls.
fn body<'a>(model: &'a ModelProto, node: &NodeProto) -> Option<&'a [NodeProto]> {
    let function = model
        .functions
        .iter()
        .find(|function| function.name() == node.op_type() && function.domain() == node.domain())?;
    Some(&function.node)
}

/// The model without nodes of a plugin, with the sizes that `model` fixes.
fn twin(model: &ModelProto, path: Option<&Path>) -> Result<ModelProto> {
    let fault = |text: String| Fault::new(code::BUILD, text);
    let path = path.ok_or_else(|| fault("plugin nodes, and no file with a twin".to_owned()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let manifest = Bundle::read_manifest(folder).map_err(|error| fault(error.to_string()))?;
    let named = manifest.graphs.values().find(|graph| graph.file == file);
    let twin = named.and_then(|graph| graph.twin.as_ref()).ok_or_else(|| {
        fault(format!("the manifest names no twin of `{file}`, which has plugin nodes"))
    })?;
    let path = folder.join(twin);
    let bytes =
        std::fs::read(&path).map_err(|error| fault(format!("{}: {error}", path.display())))?;
    let mut twin = ModelProto::decode(bytes.as_slice())
        .map_err(|error| fault(format!("{}: {error}", path.display())))?;
    if let (Some(to), Some(from)) = (&mut twin.graph, &model.graph) {
        let given = from.input.iter().chain(&from.output);
        let given: BTreeMap<&str, &ValueInfoProto> =
            given.map(|value| (value.name(), value)).collect();
        for value in to.input.iter_mut().chain(&mut to.output) {
            let Some(same) = given.get(value.name()) else {
                return Err(fault(format!("`{file}` has no `{}`, its twin has", value.name())));
            };
            value.r#type = same.r#type.clone();
        }
        // They name symbols where the inputs now have numbers.
        to.value_info.clear();
    }
    with_constants(twin, Some(&path))
}

/// The model with its constants in it.
fn with_constants(mut model: ModelProto, path: Option<&Path>) -> Result<ModelProto> {
    let external = DataLocation::External as i32;
    let constants = model.graph.iter_mut().flat_map(|graph| &mut graph.initializer);
    for tensor in constants.filter(|tensor| tensor.data_location == Some(external)) {
        let name = tensor.name().to_owned();
        let fault = |why: String| Fault::new(code::BUILD, format!("constant `{name}`: {why}"));
        let value = |key: &str| {
            tensor.external_data.iter().find(|entry| entry.key() == key).map(|entry| entry.value())
        };
        let number = |key: &str| value(key).and_then(|text| text.parse::<usize>().ok());
        let (Some(folder), Some(location)) = (path.and_then(Path::parent), value("location"))
        else {
            return Err(fault("no file".to_owned()));
        };
        let file = folder.join(location);
        let bytes =
            std::fs::read(&file).map_err(|error| fault(format!("{}: {error}", file.display())))?;
        let start = number("offset").unwrap_or(0);
        let end = number("length").map_or(Some(bytes.len()), |length| start.checked_add(length));
        let data = end.and_then(|end| bytes.get(start..end));
        let data = data.ok_or_else(|| fault(format!("{} is too short", file.display())))?;
        tensor.raw_data = Some(data.to_vec());
        tensor.data_location = None;
        tensor.external_data.clear();
    }
    Ok(model)
}

fn ports(values: &[ValueInfoProto]) -> Result<Vec<Port>> {
    values
        .iter()
        .map(|value| {
            let fault = |what: &str| Fault::new(code::PARSE, format!("`{}` {what}", value.name()));
            let (dtype, shape) = tensor_type(value).ok_or_else(|| fault("is no tensor"))?;
            let dtype =
                Dtype::from_onnx(dtype).ok_or_else(|| fault("is of a type that is unknown"))?;
            if shape.len() > MAX_RANK {
                return Err(fault("has too many dimensions"));
            }
            Ok(Port { name: value.name().to_owned(), dtype, shape })
        })
        .collect()
}

/// The ONNX type and the shape of a value.
fn tensor_type(value: &ValueInfoProto) -> Option<(i32, Vec<Size>)> {
    let type_proto::Value::TensorType(tensor) = value.r#type.as_ref()?.value.as_ref()?;
    let sizes = tensor.shape.iter().flat_map(|shape| &shape.dim).enumerate();
    let sizes = sizes.map(|(index, dim)| match &dim.value {
        Some(Dimension::DimValue(size)) => Size::Fixed(*size),
        Some(Dimension::DimParam(symbol)) => Size::Symbol(symbol.clone()),
        None => Size::Symbol(format!("{}.{index}", value.name())),
    });
    Some((tensor.elem_type(), sizes.collect()))
}

/// Outputs that a cache's update gives, with the input that it updates.
fn aliases(graph: &GraphProto) -> BTreeMap<String, String> {
    let updates = graph.node.iter().filter(|node| node.op_type() == "TensorScatter");
    let pairs = updates.filter_map(|node| Some((node.output.first()?, node.input.first()?)));
    let is_port =
        |ports: &[ValueInfoProto], name: &str| ports.iter().any(|port| port.name() == name);
    let pairs = pairs
        .filter(|(output, input)| is_port(&graph.output, output) && is_port(&graph.input, input));
    pairs.map(|(output, input)| (output.clone(), input.clone())).collect()
}

fn layers(model: &ModelProto, graph: &GraphProto) -> Vec<Layer> {
    let values = graph.input.iter().chain(&graph.output).chain(&graph.value_info);
    let mut known: BTreeMap<&str, LayerTensor> = values
        .filter_map(|value| {
            let (dtype, shape) = tensor_type(value)?;
            let name = value.name().to_owned();
            let port = Port { name: name.clone(), dtype: Dtype::from_onnx(dtype)?, shape };
            let (dtype, shape) = (port.dtype.number(), Some(port.open_shape()));
            Some((value.name(), LayerTensor { name, dtype, shape }))
        })
        .collect();
    for tensor in &graph.initializer {
        let dtype = Dtype::from_onnx(tensor.data_type()).map_or(-1, Dtype::number);
        let name = tensor.name().to_owned();
        known.insert(tensor.name(), LayerTensor { name, dtype, shape: Some(tensor.dims.clone()) });
    }
    let mut layers = Vec::new();
    for node in &graph.node {
        add_layers(model, node, &known, None, &mut layers);
    }
    layers
}

/// Adds the layers of a node, or of the function that it calls: there, what is not known has the
/// type of the call's first input.
fn add_layers(
    model: &ModelProto,
    node: &NodeProto,
    known: &BTreeMap<&str, LayerTensor>,
    default: Option<i32>,
    layers: &mut Vec<Layer>,
) {
    // Calls nest no deeper than functions are: none calls itself.
    if let (Some(nodes), None) = (body(model, node), default) {
        let first = node.input.first().and_then(|name| known.get(name.as_str()));
        let dtype = first.map_or(-1, |tensor| tensor.dtype);
        nodes
            .iter()
            .for_each(|node| add_layers(model, node, &BTreeMap::new(), Some(dtype), layers));
        return;
    }
    let tensors = |names: &[String]| -> Vec<LayerTensor> {
        let tensor = |name: &String| {
            let dtype = default.unwrap_or(-1);
            let unknown = LayerTensor { name: name.clone(), dtype, shape: None };
            known.get(name.as_str()).cloned().unwrap_or(unknown)
        };
        names.iter().map(tensor).collect()
    };
    let is_plugin = is_plugin(model, node);
    layers.push(Layer {
        name: node.name().to_owned(),
        kind: if is_plugin { "plugin_v3".to_owned() } else { kind(node.op_type()) },
        plugin: if is_plugin { node.op_type().to_owned() } else { String::new() },
        inputs: tensors(&node.input),
        outputs: tensors(&node.output),
    });
}

/// TensorRT's layer of an operator, or the operator's name in that spelling.
fn kind(operator: &str) -> String {
    match operator {
        "MatMul" | "Gemm" => "matrix_multiply".to_owned(),
        "Conv" => "convolution".to_owned(),
        "Attention" => "attention_input".to_owned(),
        "TensorScatter" => "kv_cache_update".to_owned(),
        other => {
            let mut kind = String::new();
            for letter in other.chars() {
                if letter.is_uppercase() && !kind.is_empty() {
                    kind.push('_');
                }
                kind.extend(letter.to_lowercase());
            }
            kind
        }
    }
}
