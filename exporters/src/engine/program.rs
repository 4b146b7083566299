//! What TensorRT-RTX compiled: the steps of an engine, which its file holds as text.
//!
//! The form is NVIDIA's and not documented. It was read in engines of TensorRT-RTX 1.7.1, and what
//! is found here is for people and tests; nothing that runs depends on it. A program has a `header`
//! with names of inputs and outputs, `descriptors` with the type of every tensor, and `main`, a
//! line a step. Fused products that are compiled on the device are programs of their own behind the
//! first.

use std::collections::{BTreeMap, BTreeSet};

use crate::ports;

/// The largest engine that is looked through; with weights as inputs they have some 2 MB.
const MOST: usize = 64 << 20;

const HEADER: &[u8] = b"header {\n  version = ";
const MAIN: &[u8] = b"\nmain {\n";
const END: &[u8] = b"\n}\n";

/// What the names of kernels that only move elements are made of, behind `__myl_`: a kernel's name
/// lists, shortened, what was fused into it.
const MOVEMENTS: [&str; 5] = ["Move", "Tran", "Resh", "Cast", "Copy"];

/// What the names of kernels that copy a cache are made of besides: a part of it, or all of it times a
/// number.
const COPIES: [&str; 3] = ["Slic", "Repl", "Mul"];

/// What names of inputs that are caches begin with; caches that are updated in place are known by that.
const CACHES: [&str; 2] = [ports::PAST_KEY, ports::PAST_VALUE];

/// Steps that launch nothing.
const WITHOUT_KERNEL: [&str; 3] = ["shape_call", "signal", "wait"];

/// What an engine's compiled program is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct CompiledProgram {
    /// Steps that launch kernels, plugins among them.
    pub kernels: usize,
    /// Plugin nodes.
    pub plugins: usize,
    /// Matrix products and attentions by the type of their operands. Those of one row are often
    /// part of a fused kernel, and not among them.
    pub products: BTreeMap<String, usize>,
    /// Outputs that are an input's memory: caches that are updated in place.
    pub in_place: usize,
    /// Matrices among the inputs that are copied whole in every run, in another order or type: weights
    /// that TensorRT has no product for as they lie.
    pub copied: BTreeSet<String>,
    /// Caches that are copied in every run, whole or in part, before they are looked at.
    pub copied_caches: BTreeSet<String>,
}

impl CompiledProgram {
    /// Reads it out of an engine; none where there is none, as in engines of other flavours, or
    /// with very large ones.
    pub fn read(engine: &[u8]) -> Option<CompiledProgram> {
        if engine.len() > MOST {
            return None;
        }
        let starts = positions(engine, HEADER);
        let ends = starts.iter().skip(1).copied().chain([engine.len()]);
        let mut found = CompiledProgram::default();
        let mut is_there = false;
        for (start, end) in starts.iter().zip(ends) {
            if let Some(text) = Text::of(engine.get(*start..end).unwrap_or_default()) {
                is_there = true;
                found.add(&text);
            }
        }
        is_there.then_some(found)
    }

    fn add(&mut self, text: &Text) {
        let tensors = text.tensors();
        let (inputs, outputs) = (text.names("  inputs={"), text.names("  outputs={"));
        // A fused product's own program runs where the main one has its step.
        if !text.is_fused() {
            self.in_place += inputs.intersection(&outputs).count();
        }
        let (caches, weights): (BTreeSet<&str>, BTreeSet<&str>) = inputs.iter().partition(|name| {
            outputs.contains(*name) || CACHES.iter().any(|cache| name.starts_with(cache))
        });
        for line in text.main.lines() {
            let Some((kind, step)) = line.trim_start().split_once("={ name=") else { continue };
            let is_step =
                line.starts_with("  ") && kind.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            if !is_step {
                continue;
            }
            if !text.is_fused() {
                self.kernels += usize::from(!WITHOUT_KERNEL.contains(&kind));
                self.plugins += usize::from(kind == "custom_layer");
                self.copied.extend(copied(step, &weights, &tensors));
                self.copied_caches.extend(copied_caches(step, &caches));
            }
            let operands = match kind {
                "fully_connected" => quoted(step, " input={"),
                "function" if step.split(' ').next().is_some_and(|it| it.contains("_mha_")) => {
                    quoted(step, " input_args={")
                }
                _ => continue,
            };
            let operands =
                operands.into_iter().take(2).map(|name| tensors.get(name).map(|it| it.dtype));
            let dtype = operands.max_by_key(|dtype| *dtype == Some("float"));
            *self.products.entry(type_name(dtype.flatten()).to_owned()).or_default() += 1;
        }
    }
}

/// Inputs that a step which only moves elements gives as they are, by their names in the network.
fn copied<'t>(
    step: &'t str,
    weights: &BTreeSet<&str>,
    tensors: &BTreeMap<&str, Descriptor<'_>>,
) -> impl Iterator<Item = String> + use<'t> {
    let mut taken = Vec::new();
    if is_made_of(step, &MOVEMENTS) {
        let size = |name: &&str| tensors.get(name).and_then(|tensor| tensor.elements);
        let given: BTreeSet<usize> =
            quoted(step, " output_args={").iter().filter_map(size).collect();
        let matrix = |name: &&str| size(name).filter(|_| tensors[name].is_matrix);
        taken = quoted(step, " input_args={");
        taken.retain(|name| {
            weights.contains(name) && matrix(name).is_some_and(|size| given.contains(&size))
        });
    }
    taken.into_iter().map(network_name)
}

/// Caches of which a step makes another tensor, element by element, by their names in the network.
fn copied_caches<'t>(
    step: &'t str,
    caches: &BTreeSet<&str>,
) -> impl Iterator<Item = String> + use<'t> {
    let mut taken = Vec::new();
    if is_made_of(step, &[&MOVEMENTS[..], &COPIES].concat()) {
        taken = quoted(step, " input_args={");
        taken.retain(|name| caches.contains(name));
    }
    taken.into_iter().map(network_name)
}

/// A tensor's name in the network: TensorRT numbers them.
fn network_name(name: &str) -> String {
    name.strip_suffix(".1").unwrap_or(name).to_owned()
}

/// Whether the name of a step's kernel is made of these words.
fn is_made_of(step: &str, words: &[&str]) -> bool {
    let kernel = step.split(' ').next().and_then(|name| name.strip_prefix("__myl_"));
    let Some(mut kernel) = kernel else { return false };
    while let Some(rest) = words.iter().find_map(|word| kernel.strip_prefix(word)) {
        kernel = rest;
    }
    kernel.is_empty()
}

/// A tensor of a program.
#[derive(Debug, Clone, Copy)]
struct Descriptor<'t> {
    /// Its type, as NVIDIA calls it.
    dtype: &'t str,
    /// Its elements, where its sizes are numbers.
    elements: Option<usize>,
    /// Whether it is of floats with two dimensions, each of more than one element.
    is_matrix: bool,
}

/// One program.
struct Text {
    /// Its header and descriptors.
    head: String,
    /// Its steps.
    main: String,
}

impl Text {
    fn of(bytes: &[u8]) -> Option<Text> {
        let main = *positions(bytes, MAIN).first()?;
        let (head, rest) = bytes.split_at_checked(main)?;
        let rest = rest.get(MAIN.len()..)?;
        let end = positions(rest, END).first().copied().unwrap_or(rest.len());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(Text { head: text(head), main: text(rest.get(..end)?) })
    }

    /// Whether it is that of a fused product, for any device.
    fn is_fused(&self) -> bool {
        self.head.lines().any(|line| line == "  accelerators={*}")
    }

    /// Names in a list of the header.
    fn names(&self, list: &str) -> BTreeSet<&str> {
        let line = self.head.lines().find(|line| line.starts_with(list));
        line.map(|line| quoted(line, list)).unwrap_or_default().into_iter().collect()
    }

    /// Every tensor by its name.
    fn tensors(&self) -> BTreeMap<&str, Descriptor<'_>> {
        let tensors = self
            .head
            .lines()
            .filter(|line| line.starts_with("  tensor={") || line.starts_with("  sub_tensor={"));
        tensors.filter_map(descriptor).collect()
    }
}

/// The name and the rest of a line of the descriptors.
fn descriptor(line: &str) -> Option<(&str, Descriptor<'_>)> {
    let (_, behind_name) = line.split_once(" name=\"")?;
    let (name, _) = behind_name.split_once('"')?;
    let (_, dtype) = line.rsplit_once(" type=")?;
    let dims = line.split_once(" dims={").and_then(|(_, dims)| dims.split_once('}'));
    let sizes: Option<Vec<usize>> =
        dims.and_then(|(dims, _)| dims.split_whitespace().map(|size| size.parse().ok()).collect());
    let elements = sizes.as_ref().and_then(|sizes| {
        sizes.iter().try_fold(1usize, |product, size| product.checked_mul(*size))
    });
    let dtype = dtype.split(' ').next()?;
    let is_matrix = ["half", "float", "bfloat16"].contains(&dtype)
        && sizes.is_some_and(|sizes| sizes.len() == 2 && sizes.iter().all(|it| *it > 1));
    Some((name, Descriptor { dtype, elements, is_matrix }))
}

/// The quoted names between `list`, which ends with a brace, and its closing brace; names may hold
/// braces themselves.
fn quoted<'t>(text: &'t str, list: &str) -> Vec<&'t str> {
    let Some((_, mut rest)) = text.split_once(list) else { return Vec::new() };
    let mut names = Vec::new();
    while let Some(name) = rest.trim_start().strip_prefix('"') {
        let Some((name, after)) = name.split_once('"') else { break };
        names.push(name);
        rest = after;
    }
    names
}

/// A type's name as ours.
fn type_name(dtype: Option<&str>) -> &str {
    match dtype {
        Some("half") => "f16",
        Some("float") => "f32",
        Some("bfloat16") => "bf16",
        Some(other) => other,
        None => "unknown",
    }
}

/// Where `pattern` is in `bytes`.
fn positions(bytes: &[u8], pattern: &[u8]) -> Vec<usize> {
    let places = bytes.windows(pattern.len()).enumerate();
    places.filter(|(_, window)| *window == pattern).map(|(place, _)| place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINE: &str = "ftrt\u{0}header {
  version = 5
  accelerators={sm80 }
  inputs={ \"x.1\" \"present_key.1\" \"{ForeignNode[a...b]}_shapeInput.1\" }
  outputs={ \"present_key.1\" \"y.1\" }
}
descriptors {
  tensor={ alignment=2 dims={ 1 \"n\" } name=\"x.1\" offset=0 strides={ 1 } type=half }
  tensor={ alignment=2 dims={ 1 } name=\"wide\" offset=0 strides={ 1 } type=float }
  sub_tensor={ base=\"w\" name=\"w^deref\" offset=0 type=half }
}
main {
 label bb1: 
  shape_call={ name=\"shapes\" stream=0 }
  function={ name=_gemm_mha_v2 fqn=_gemm args={ \"x.1\" } input_args={ \"x.1\" \"x.1\" } stream=0 }
  function={ name=__myl_Cast args={ \"wide\" } input_args={ \"wide\" } stream=0 layers=\"[ONNX Layer: a]
[ONNX Layer: b]\" swap_ab=false }
  fully_connected={ name=\"o\" output={\"y\" } input={\"x.1\" \"w^deref\" \"alpha\" } stream=0 }
  fully_connected={ name=\"p\" output={\"y\" } input={\"x.1\" \"wide\" } stream=0 }
  runtime_fusion={ name=__myl_Fc input_args={ \"x.1\" \"w^deref\" } stream=0 }
  custom_layer={ name=\"moe\" output={\"y\" } input={\"x.1\" } }
}
shape_main {
  mul={ name=\"m\" output={\"y\" } input={\"x.1\" } }
}
\u{1}header {
  version = 4
  accelerators={*}
  inputs={ \"x\" }
  outputs={ \"x\" }
}
descriptors {
  tensor={ name=\"x\" type=half }
}
main {
  fully_connected={ name=\"q\" output={\"y\" } input={\"x\" \"x\" } stream=0 }
}
";

    #[test]
    fn kernels_plugins_products_and_caches_are_counted() {
        let program = CompiledProgram::read(ENGINE.as_bytes()).unwrap();
        assert_eq!((program.kernels, program.plugins, program.in_place), (6, 1, 1));
        assert_eq!(program.products, [("f16".to_owned(), 3), ("f32".to_owned(), 1)].into());
        assert!(program.copied.is_empty(), "{:?}", program.copied);
        assert_eq!(CompiledProgram::read(b"an engine of another flavour"), None);
    }

    /// The step is behind those of [`ENGINE`]; `w` has 2 x 3 elements and is an input.
    fn with_step(step: &str) -> CompiledProgram {
        let tensors = [
            ("w.1", "2 3", "half"),
            ("ids.1", "2 3", "int64"),
            ("present_key.1", "2 3", "half"),
            ("long.1", "1 6", "half"),
            ("moved", "3 2", "half"),
            ("part", "1 3", "half"),
        ];
        let tensors: String = tensors
            .iter()
            .map(|(name, dims, dtype)| {
                format!("  tensor={{ dims={{ {dims} }} name=\"{name}\" type={dtype} }}\n")
            })
            .collect();
        let engine = ENGINE
            .replacen(
                "inputs={ \"x.1\"",
                "inputs={ \"w.1\" \"ids.1\" \"long.1\" \"past_value.1\" \"x.1\"",
                1,
            )
            .replacen("descriptors {\n", &format!("descriptors {{\n{tensors}"), 1)
            .replacen("  custom_layer", &format!("  {step}\n  custom_layer"), 1);
        CompiledProgram::read(engine.as_bytes()).unwrap()
    }

    /// A step that runs a kernel of this name.
    fn kernel(kernel: &str, input: &str, output: &str) -> String {
        format!(
            "function={{ name={kernel} args={{ \"{input}\" }} input_args={{ \"{input}\" }} \
             output_args={{ \"{output}\" }} stream=0 }}"
        )
    }

    #[test]
    fn caches_that_are_copied_in_every_run_are_named() {
        let copied = |name: &str, input: &str| {
            let program = with_step(&kernel(name, input, "moved"));
            program.copied_caches.into_iter().collect::<Vec<_>>()
        };
        // As seen in engines that took a part of a longer cache, and scaled it.
        for name in ["__myl_Slic", "__myl_SlicMul", "__myl_TranSlicMul", "__myl_Mul", "__myl_Move"]
        {
            assert_eq!(copied(name, "present_key.1"), ["present_key"], "{name}");
        }
        assert_eq!(copied("__myl_Slic", "past_value.1"), ["past_value"], "the runtime writes it");
        for name in ["_gemv_mha_v1", "__myl_CastConcScatSlicResh", "__myl_SlicSum"] {
            assert_eq!(copied(name, "present_key.1"), [""; 0], "{name}");
        }
        assert_eq!(copied("__myl_Slic", "w.1"), [""; 0], "it is no cache");
    }

    #[test]
    fn weights_that_are_moved_in_every_run_are_named() {
        let step = |kernel: &str, input: &str, output: &str| {
            let program = with_step(&self::kernel(&format!("__myl_{kernel}"), input, output));
            program.copied.into_iter().collect::<Vec<_>>()
        };
        for kernel in ["Move", "Tran", "Cast", "CastReshTran"] {
            assert_eq!(step(kernel, "w.1", "moved"), ["w"], "{kernel}");
        }
        let nothing = Vec::<String>::new();
        assert_eq!(step("MoveMul", "w.1", "moved"), nothing, "it computes");
        assert_eq!(step("Move", "w.1", "part"), nothing, "it reads a part");
        for other in ["ids.1", "present_key.1", "long.1", "moved"] {
            assert_eq!(step("Move", other, "moved"), nothing, "{other} is no weight");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_changed_engine_is_read_or_not(place in 0..ENGINE.len(), byte: u8, cut in 0..ENGINE.len()) {
            let mut bytes = ENGINE.as_bytes().to_vec();
            bytes[place] = byte;
            let _ = CompiledProgram::read(&bytes);
            let _ = CompiledProgram::read(&bytes[cut..]);
            let _ = CompiledProgram::read(&bytes[..cut]);
        }
    }
}
