//! A bundle's file of weights.

use std::io::Write;

use cumo_bundle::BundleWriter;
use cumo_onnx::external::Layout;

use super::{OddWeight, write_weights};
use crate::error::Error;
use crate::part::PartName;
use crate::progress::Progress;
use crate::weight::Weight;

/// A file to be written: a header, which may be empty, and weights at the places of a layout behind
/// it. Names and layout go with the weights.
pub(crate) struct DataFile<'a> {
    pub(crate) name: String,
    pub(crate) part: PartName,
    pub(crate) header: &'a [u8],
    pub(crate) names: Vec<&'a str>,
    pub(crate) weights: &'a [Weight],
    pub(crate) layout: &'a Layout,
}

impl DataFile<'_> {
    /// Writes the file; gives the weights with odd numbers.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Interrupted`].
    pub(crate) fn write(
        &self,
        writer: &mut BundleWriter,
        progress: &dyn Progress,
    ) -> Result<Vec<OddWeight>, Error> {
        let DataFile { name, part, header, names, weights, layout } = self;
        let path = writer.path(name);
        progress.begin(part.name(), layout.total_bytes());
        let mut odd = Vec::new();
        writer.write_file(name, |out| {
            let failed = |source| Error::Io { path: path.clone(), source };
            out.write_all(header).map_err(failed)?;
            odd = write_weights(names, weights, layout, out, progress, failed)?;
            Ok::<(), Error>(())
        })?;
        Ok(odd)
    }
}
