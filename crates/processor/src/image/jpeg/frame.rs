//! The frame header and the planes of samples.

use super::idct;
use super::{damaged, unsupported};
use crate::error::Result;
use crate::image::decode::ImageLimits;

/// Coefficients or samples of a block.
pub(super) const BLOCK: usize = 64;

/// The image's size and its components.
pub(super) struct Frame {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) progressive: bool,
    pub(super) components: Vec<Component>,
    pub(super) max_h: usize,
    pub(super) max_v: usize,
}

/// One channel.
pub(super) struct Component {
    pub(super) id: u8,
    /// Blocks of an MCU, horizontally.
    pub(super) h: usize,
    /// Blocks of an MCU, vertically.
    pub(super) v: usize,
    /// Which quantization table.
    pub(super) table: usize,
    /// Samples that belong to the image, horizontally.
    pub(super) width: usize,
    /// Samples that belong to the image, vertically.
    pub(super) height: usize,
    /// Blocks in memory, horizontally: whole MCUs.
    pub(super) blocks_w: usize,
    /// Blocks in memory, vertically.
    pub(super) blocks_h: usize,
    /// Coefficients of every block, in rows, filled scan by scan; progressive only.
    pub(super) coefficients: Vec<i16>,
    /// The samples, `blocks_w * 8` in a row.
    pub(super) samples: Vec<u8>,
    /// The quantization table at the component's first scan.
    pub(super) quantization: Option<[u16; BLOCK]>,
}

impl Frame {
    pub(super) fn new(data: &[u8], progressive: bool, limits: &ImageLimits) -> Result<Self> {
        let Some((&[precision, h1, h0, w1, w0, count], list)) = data.split_first_chunk::<6>()
        else {
            return Err(damaged("a short frame header"));
        };
        let height = usize::from(u16::from_be_bytes([h1, h0]));
        let width = usize::from(u16::from_be_bytes([w1, w0]));
        if precision != 8 {
            return Err(unsupported(format!("{precision} bits a sample")));
        }
        if width == 0 || height == 0 {
            return Err(damaged(format!("{width} x {height} pixels")));
        }
        if !matches!(count, 1 | 3 | 4) || list.len() != usize::from(count) * 3 {
            return Err(unsupported(format!("{count} components")));
        }
        limits.check_pixels(width as u64, height as u64)?;
        let mut frame =
            Frame { width, height, progressive, components: Vec::new(), max_h: 1, max_v: 1 };
        for &[id, sampling, table] in list.as_chunks::<3>().0 {
            let (h, v) = (usize::from(sampling >> 4), usize::from(sampling & 15));
            if !(1..=4).contains(&h) || !(1..=4).contains(&v) || table > 3 {
                return Err(damaged(format!("sampling {h} x {v}, table {table}")));
            }
            frame.max_h = frame.max_h.max(h);
            frame.max_v = frame.max_v.max(v);
            frame.components.push(Component::new(id, h, v, usize::from(table)));
        }
        frame.allocate()?;
        Ok(frame)
    }

    fn allocate(&mut self) -> Result<()> {
        let (max_h, max_v) = (self.max_h, self.max_v);
        let (mcus_w, mcus_h) = self.mcus();
        for component in &mut self.components {
            let (h, v) = (component.h, component.v);
            if !max_h.is_multiple_of(h) || !max_v.is_multiple_of(v) {
                return Err(unsupported(format!("sampling {h} x {v} in {max_h} x {max_v}")));
            }
            component.width = (self.width * h).div_ceil(max_h);
            component.height = (self.height * v).div_ceil(max_v);
            component.blocks_w = mcus_w * h;
            component.blocks_h = mcus_h * v;
            let len = component.blocks_w * component.blocks_h * BLOCK;
            if self.progressive {
                component.coefficients = vec![0; len];
            } else {
                component.samples = vec![0; len];
            }
        }
        Ok(())
    }

    /// MCUs of the image, horizontally and vertically.
    pub(super) fn mcus(&self) -> (usize, usize) {
        (self.width.div_ceil(8 * self.max_h), self.height.div_ceil(8 * self.max_v))
    }

    /// The components with all of their samples.
    pub(super) fn finish(mut self) -> Result<Vec<Component>> {
        for component in &mut self.components {
            let Some(quantization) = component.quantization else {
                return Err(damaged(format!("no scan of component {}", component.id)));
            };
            if self.progressive {
                component.transform_all(&quantization);
            }
        }
        Ok(self.components)
    }
}

impl Component {
    fn new(id: u8, h: usize, v: usize, table: usize) -> Self {
        Component {
            id,
            h,
            v,
            table,
            width: 0,
            height: 0,
            blocks_w: 0,
            blocks_h: 0,
            coefficients: Vec::new(),
            samples: Vec::new(),
            quantization: None,
        }
    }

    /// The samples of row `y` that belong to the image; the last row where there are fewer.
    pub(super) fn row(&self, y: usize) -> &[u8] {
        let start = y.min(self.height - 1) * self.blocks_w * 8;
        &self.samples[start..start + self.width]
    }

    /// Turns one block's coefficients into samples.
    pub(super) fn transform(&mut self, x: usize, y: usize, coefficients: &[i16; BLOCK]) {
        let quantization = self.quantization.as_ref().unwrap_or(&[1; BLOCK]);
        let stride = self.blocks_w * 8;
        let block = idct::samples(coefficients, quantization);
        for (line, row) in block.as_chunks::<8>().0.iter().enumerate() {
            let start = (y * 8 + line) * stride + x * 8;
            self.samples[start..start + 8].copy_from_slice(row);
        }
    }

    fn transform_all(&mut self, quantization: &[u16; BLOCK]) {
        self.quantization = Some(*quantization);
        let coefficients = std::mem::take(&mut self.coefficients);
        self.samples = vec![0; coefficients.len()];
        for (index, block) in coefficients.as_chunks::<BLOCK>().0.iter().enumerate() {
            self.transform(index % self.blocks_w, index / self.blocks_w, block);
        }
    }
}
