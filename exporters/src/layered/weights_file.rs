//! A part's weights in one file, in the safetensors format.
//!
//! Every tensor's data begins at a multiple of 4 KiB of the file, so that it can be mapped and bound
//! where it lies. The format allows no holes between tensors: what lies between them are tensors too,
//! called `__padding__.N`.

use cumo_bundle::{BundleWriter, WEIGHT_ALIGNMENT, WeightEntry};
use cumo_onnx::DType;
use cumo_onnx::external::Layout;
use serde_json::{Value, json};

use crate::builder::NamedWeight;
use crate::convert::{DataFile, OddWeight};
use crate::error::Error;
use crate::part::PartName;
use crate::progress::Progress;
use crate::signature;
use crate::weight::Weight;

/// A file to be written.
pub(crate) struct WeightsFile {
    part: PartName,
    names: Vec<String>,
    weights: Vec<Weight>,
    /// Places behind the header.
    layout: Layout,
    /// The format's length and header, padded to the alignment.
    header: Vec<u8>,
}

impl WeightsFile {
    /// The file of a part's weights.
    pub(crate) fn new(part: PartName, weights: Vec<NamedWeight>) -> WeightsFile {
        let (names, weights): (Vec<String>, Vec<Weight>) =
            weights.into_iter().map(|named| (named.name, named.weight)).unzip();
        let bytes = |weight: &Weight| {
            weight.shape().iter().product::<usize>() as u64 * weight.dtype.size() as u64
        };
        let layout = Layout::new(weights.iter().map(bytes));
        let header = header(&names, &weights, &layout);
        WeightsFile { part, names, weights, layout, header }
    }

    /// The file's name in the bundle.
    pub(crate) fn name(&self) -> String {
        format!("{}.safetensors", self.part.name())
    }

    /// The file's size.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.header.len() as u64 + self.layout.total_bytes()
    }

    /// The manifest's entries.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (String, WeightEntry)> {
        let places = self.layout.ranges().map(|(offset, _)| self.header.len() as u64 + offset);
        self.names.iter().zip(&self.weights).zip(places).map(|((name, weight), offset)| {
            let (file, dtype) = (self.name(), signature::dtype(weight.dtype));
            (name.clone(), WeightEntry { file, offset, dtype, shape: weight.shape() })
        })
    }

    /// Writes the file; gives the weights with odd numbers.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Interrupted`].
    pub(crate) fn write(
        &self,
        writer: &mut BundleWriter,
        progress: &dyn Progress,
    ) -> Result<Vec<OddWeight>, Error> {
        let file = DataFile {
            name: self.name(),
            part: self.part,
            header: &self.header,
            names: self.names.iter().map(String::as_str).collect(),
            weights: &self.weights,
            layout: &self.layout,
        };
        file.write(writer, progress)
    }
}

fn header(names: &[String], weights: &[Weight], layout: &Layout) -> Vec<u8> {
    // An entry a line of its own would be nice to read; the format's readers want none.
    let mut entries = Vec::new();
    let mut entry = |name: &str, dtype: &str, shape: Value, (start, end): (u64, u64)| {
        let content = json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] });
        entries.push(format!("{}:{content}", Value::from(name)));
    };
    let (mut end, mut holes) = (0, 0);
    for ((name, weight), (offset, length)) in names.iter().zip(weights).zip(layout.ranges()) {
        if offset > end {
            entry(&format!("__padding__.{holes}"), "U8", json!([offset - end]), (end, offset));
            holes += 1;
        }
        end = offset + length;
        entry(name, format_name(weight.dtype), json!(weight.shape()), (offset, end));
    }
    let mut text = format!("{{{}}}", entries.join(",")).into_bytes();
    let whole = (8 + text.len()).next_multiple_of(WEIGHT_ALIGNMENT as usize);
    text.resize(whole - 8, b' ');
    let mut header = (text.len() as u64).to_le_bytes().to_vec();
    header.append(&mut text);
    header
}

fn format_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "F32",
        DType::F16 => "F16",
        DType::I64 => "I64",
        DType::I32 => "I32",
        DType::Bool => "BOOL",
    }
}
