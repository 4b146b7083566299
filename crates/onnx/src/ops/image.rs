//! Convolution over patches and cubic resizing.

use crate::attribute::Attribute;
use crate::{DType, Dim, Error, GraphBuilder, Value};

/// How an image is enlarged by a whole factor, as `torch.nn.functional.interpolate(mode="bicubic")`
/// does: half-pixel centres, no antialiasing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResizeCubic {
    /// By how much height and width grow.
    pub factor: usize,
    /// The cubic's coefficient; PyTorch's is -0.75.
    pub coefficient: f32,
}

impl GraphBuilder {
    /// Convolution of square, non-overlapping patches: `x` `[n, in, size, size]`, `weight`
    /// `[out, in, patch, patch]`, result `[n, out, size / patch, size / patch]`. Rows and columns
    /// that fill no patch are dropped.
    ///
    /// # Errors
    /// [`Error::Node`] where channels or types differ, or the image has not one patch.
    pub fn patch_conv(&mut self, x: &Value, weight: &Value) -> Result<Value, Error> {
        let fault = |problem: String| Err(Error::Node { place: self.place(), op: "Conv", problem });
        let (
            [n, channels, Dim::Fixed(height), Dim::Fixed(width)],
            [out, weight_channels, Dim::Fixed(patch), Dim::Fixed(patch_width)],
        ) = (x.shape().dims(), weight.shape().dims())
        else {
            return fault(format!("x is {}, weight is {}", x.describe(), weight.describe()));
        };
        let fits = patch == patch_width && *patch > 0 && patch <= height && patch <= width;
        if channels != weight_channels || x.dtype() != weight.dtype() || !fits {
            return fault(format!("x is {}, weight is {}", x.describe(), weight.describe()));
        }
        let dims =
            vec![n.clone(), out.clone(), Dim::Fixed(height / patch), Dim::Fixed(width / patch)];
        let sides = Attribute::Ints(vec![*patch as i64; 2]);
        let attributes = vec![("kernel_shape", sides.clone()), ("strides", sides)];
        Ok(self.add("Conv", &[x, weight], x.dtype(), dims, attributes))
    }

    /// Enlarges images `[n, channels, height, width]` f32.
    ///
    /// # Errors
    /// [`Error::Node`] where `x` is not of that form with known height and width.
    pub fn resize_cubic(&mut self, x: &Value, how: ResizeCubic) -> Result<Value, Error> {
        let (n, channels, height, width) = match x.shape().dims() {
            [n, channels, Dim::Fixed(height), Dim::Fixed(width)] if x.dtype() == DType::F32 => {
                (n.clone(), channels.clone(), *height, *width)
            }
            _ => return Err(self.fault("Resize", format!("x is {}", x.describe()))),
        };
        let factor = how.factor as f32;
        let factor = self.floats(&[1.0, 1.0, factor, factor]);
        let attributes = vec![
            ("mode", Attribute::Text("cubic")),
            ("coordinate_transformation_mode", Attribute::Text("half_pixel")),
            ("cubic_coeff_a", Attribute::Float(how.coefficient)),
        ];
        let dims =
            vec![n, channels, Dim::Fixed(height * how.factor), Dim::Fixed(width * how.factor)];
        let names = [x.name(), "", factor.name()];
        let results = vec![(DType::F32, dims.into())];
        Ok(self.add_node("Resize", "", &names, results, attributes).remove(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dims;

    fn patches(size: usize, patch: usize) -> Result<Value, Error> {
        let mut g = GraphBuilder::new();
        let x = g.input("x", DType::F32, dims!["n", 3, size, size])?;
        let weight = g.initializer("weight", DType::F32, &[20, 3, patch, patch])?;
        g.patch_conv(&x, &weight)
    }

    #[test]
    fn what_fills_no_patch_is_dropped() {
        assert_eq!(patches(50, 14).unwrap().shape().dims(), dims!["n", 20, 3, 3]);
    }

    #[test]
    fn an_image_smaller_than_a_patch_is_refused_with_both_shapes() {
        let message = patches(13, 14).unwrap_err().to_string();
        assert!(message.contains("[n, 3, 13, 13]") && message.contains("[20, 3, 14, 14]"));
    }
}
