//! From an image file to `pixel_values`.

mod bmp;
mod decode;
mod file;
mod gif;
mod jpeg;
mod pixels;
mod png;
mod process;
mod resample;
mod webp;

pub use decode::{ImageLimits, RgbImage, decode_image, decode_named_image, load_image};
pub(crate) use file::read as read_file;
pub use process::ImageProcessor;
