//! The file of an engine: what it takes and gives, its profiles, and the graph.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Result};
use crate::sys::{MAX_RANK, code};

/// How an engine's file begins.
const MAGIC: &[u8] = b"cumo stand-in engine 1\n";

/// What a context takes of the device as long as it is there, besides activations.
pub(crate) const PERSISTENT_BYTES: u64 = 16 << 10;

/// The header of an engine's file. Behind it is the ONNX model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    /// The version of the stand-in that built it.
    pub(crate) version: String,
    /// The graph's name.
    pub(crate) graph: String,
    /// Whether the graph had nodes of a plugin.
    pub(crate) needs_plugin: bool,
    /// Devices that it is for, as `86`; none: all.
    pub(crate) compute_capabilities: Vec<i32>,
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
    pub(crate) profiles: Vec<Profile>,
    /// Outputs that are an input's memory.
    pub(crate) aliases: BTreeMap<String, String>,
    /// Symbols of outputs that no input has.
    #[serde(default)]
    pub(crate) derived: BTreeMap<String, Derived>,
}

/// A size that follows from another: crops from images, as many for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Derived {
    /// The symbol of an input.
    pub(crate) from: String,
    /// Sizes of it and of this one that go together.
    pub(crate) sizes: [i64; 2],
}

/// Shapes of inputs: smallest, most frequent, largest.
pub(crate) type Profile = BTreeMap<String, [Vec<i64>; 3]>;

/// An input or output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<Size>,
}

/// A dimension.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Size {
    Fixed(i64),
    Symbol(String),
}

/// An element's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Dtype {
    F32,
    F16,
    I8,
    I32,
    Bool,
    U8,
    Bf16,
    I64,
}

/// With the numbers of ONNX and of the header, and bytes of an element.
const DTYPES: [(Dtype, i32, i32, u64); 8] = [
    (Dtype::F32, 1, 0, 4),
    (Dtype::F16, 10, 1, 2),
    (Dtype::I8, 3, 2, 1),
    (Dtype::I32, 6, 3, 4),
    (Dtype::Bool, 9, 4, 1),
    (Dtype::U8, 2, 5, 1),
    (Dtype::Bf16, 16, 7, 2),
    (Dtype::I64, 7, 8, 8),
];

impl Dtype {
    pub(crate) fn from_onnx(number: i32) -> Option<Dtype> {
        DTYPES.iter().find(|entry| entry.1 == number).map(|entry| entry.0)
    }

    fn entry(self) -> (Dtype, i32, i32, u64) {
        DTYPES.into_iter().find(|entry| entry.0 == self).unwrap_or(DTYPES[0])
    }

    /// Its number in the header of the shim.
    pub(crate) fn number(self) -> i32 {
        self.entry().2
    }

    pub(crate) fn bytes(self) -> u64 {
        self.entry().3
    }
}

impl Port {
    /// The shape with -1 where it is not fixed.
    pub(crate) fn open_shape(&self) -> Vec<i64> {
        self.shape
            .iter()
            .map(|size| if let Size::Fixed(size) = size { *size } else { -1 })
            .collect()
    }

    /// Bytes of this tensor in a shape whose sizes are all known.
    pub(crate) fn bytes(&self, shape: &[i64]) -> Option<u64> {
        shape.iter().try_fold(self.dtype.bytes(), |bytes, size| {
            bytes.checked_mul(u64::try_from(*size).ok()?)
        })
    }
}

impl Header {
    /// The input or output of this name.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn port(&self, name: &str) -> Result<&Port> {
        let mut ports = self.inputs.iter().chain(&self.outputs);
        ports.find(|port| port.name == name).ok_or_else(|| {
            Fault::new(
                code::RUN,
                format!("engine of `{}`: there is no tensor `{name}`", self.graph),
            )
        })
    }

    /// Shapes of all tensors as they follow from those of the inputs; -1 where they do not.
    ///
    /// # Errors
    /// Two inputs give a symbol different sizes.
    pub(crate) fn shapes(
        &self,
        given: &BTreeMap<String, Vec<i64>>,
    ) -> Result<BTreeMap<String, Vec<i64>>> {
        let mut symbols: BTreeMap<&str, (i64, &str)> = BTreeMap::new();
        for input in &self.inputs {
            let Some(shape) = given.get(&input.name) else { continue };
            for (size, given) in input.shape.iter().zip(shape) {
                let Size::Symbol(symbol) = size else { continue };
                let (known, by) = *symbols.entry(symbol).or_insert((*given, &input.name));
                if known != *given {
                    let text =
                        format!("`{symbol}` is {known} in `{by}` and {given} in `{}`", input.name);
                    return Err(Fault::new(code::RUN, text));
                }
            }
        }
        let derive = |symbol: &str| {
            let Derived { from, sizes: [size, own] } = self.derived.get(symbol)?;
            symbols.get(from.as_str())?.0.checked_mul(*own)?.checked_div(*size)
        };
        let resolve = |symbol: &str| match symbols.get(symbol) {
            Some((size, _)) => *size,
            None => derive(symbol).unwrap_or(-1),
        };
        let shape = |port: &Port| {
            let sizes = port.shape.iter().map(|size| match size {
                Size::Fixed(size) => *size,
                Size::Symbol(symbol) => resolve(symbol),
            });
            (port.name.clone(), sizes.collect())
        };
        Ok(self.inputs.iter().chain(&self.outputs).map(shape).collect())
    }

    /// Activation memory for these shapes: as much as the outputs take that are no caches, twice,
    /// and 256 bytes at least.
    pub(crate) fn activation_bytes(&self, shapes: &BTreeMap<String, Vec<i64>>) -> u64 {
        let own = self.outputs.iter().filter(|output| !self.aliases.contains_key(&output.name));
        let bytes = own.filter_map(|output| output.bytes(shapes.get(&output.name)?));
        (bytes.sum::<u64>() * 2).next_multiple_of(256).max(256)
    }

    /// Activation memory for the largest shapes of a profile.
    ///
    /// # Errors
    /// Two inputs give a symbol different sizes.
    pub(crate) fn most_activation_bytes(&self, profile: usize) -> Result<u64> {
        let largest = self.inputs.iter().map(|input| {
            let [_, _, max] = self.range(profile, input);
            (input.name.clone(), max)
        });
        Ok(self.activation_bytes(&self.shapes(&largest.collect())?))
    }

    /// Whether an input may have this shape.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_shape(&self, profile: usize, input: &str, shape: &[i64]) -> Result<()> {
        let refused = |text: String| Err(Fault::new(code::RUN, text));
        let Some(port) = self.inputs.iter().find(|port| port.name == input) else {
            return refused(format!("there is no input `{input}`"));
        };
        let [min, _, max] = self.range(profile, port);
        let fits = shape.len() == min.len()
            && shape
                .iter()
                .zip(min.iter().zip(&max))
                .all(|(size, (min, max))| (min..=max).contains(&size));
        match fits {
            true => Ok(()),
            false => refused(format!(
                "input `{input}`: {shape:?} is not within {min:?} to {max:?} of profile {profile}"
            )),
        }
    }

    /// The shapes of an input in a profile.
    pub(crate) fn range(&self, profile: usize, port: &Port) -> [Vec<i64>; 3] {
        let range = self.profiles.get(profile).and_then(|profile| profile.get(&port.name)).cloned();
        range.unwrap_or_else(|| std::array::from_fn(|_| port.open_shape()))
    }

    /// The file.
    pub(crate) fn encode(&self, model: &[u8]) -> Vec<u8> {
        let header = serde_json::to_vec(self).unwrap_or_default();
        let length = (header.len() as u64).to_le_bytes();
        [MAGIC, &length, &header, model].concat()
    }

    /// Reads a file: the header, and the model.
    ///
    /// # Errors
    /// It is none, or of another version than `version`.
    pub(crate) fn decode<'a>(file: &'a [u8], version: &str) -> Result<(Header, &'a [u8])> {
        let wrong = |text: String| Fault::new(code::WRONG_ENGINE, text);
        let header = || -> Option<(Header, &[u8])> {
            let (length, rest) = file.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
            let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
            let (header, model) = rest.split_at_checked(length)?;
            Some((serde_json::from_slice(header).ok()?, model))
        };
        let (header, model) =
            header().ok_or_else(|| wrong("not an engine of the stand-in".to_owned()))?;
        let ports = header.inputs.iter().chain(&header.outputs);
        if header.version != version {
            let text = format!("an engine of version {}, not of {version}", header.version);
            return Err(wrong(text));
        }
        match ports.clone().any(|port| port.shape.len() > MAX_RANK || port.name.contains('\0')) {
            true => Err(wrong("not an engine of the stand-in".to_owned())),
            false => Ok((header, model)),
        }
    }
}
