//! `pixel_values` equal, bit for bit, what the original code computed for the golden images.

use std::fs;
use std::path::{Path, PathBuf};

use cumo_bundle::{AspectRatio, ImageFacts};
use cumo_processor::{ImageLimits, ImageProcessor, load_image};
use safetensors::SafeTensors;

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/goldens")
}

fn facts(folder: &Path, aspect_ratio: AspectRatio) -> ImageFacts {
    let path = folder.join("checkpoint/clip/preprocessor_config.json");
    let json: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let numbers = |key: &str| -> [f32; 3] {
        let list: Vec<f32> = serde_json::from_value(json[key].clone()).unwrap();
        list.try_into().unwrap()
    };
    ImageFacts {
        size: json["crop_size"]["height"].as_u64().unwrap() as usize,
        aspect_ratio,
        mean: numbers("image_mean"),
        std: numbers("image_std"),
    }
}

#[test]
fn every_golden_image_is_equal() {
    let mut compared = 0;
    for name in ["mistral-moe", "mistral-dense", "mixtral-moe"] {
        let folder = goldens().join(name);
        let bytes = fs::read(folder.join("goldens.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        for (mode, aspect_ratio) in [("pad", AspectRatio::Pad), ("crop", AspectRatio::Crop)] {
            let processor = ImageProcessor::new(&facts(&folder, aspect_ratio));
            for image in ["wide", "tall_rgba", "gray"] {
                let path = folder.join("images").join(format!("{image}.png"));
                let got = processor.process(&load_image(&path, &ImageLimits::default()).unwrap());
                let want = tensors.tensor(&format!("pixel_values.{mode}.{image}")).unwrap();
                assert_eq!(want.shape(), [1, 3, processor.size(), processor.size()]);
                let want = want.data().chunks_exact(4);
                assert_eq!(got.len(), want.len());
                for (index, (got, want)) in got.iter().zip(want).enumerate() {
                    let want = f32::from_le_bytes(want.try_into().unwrap());
                    assert!(
                        got.to_bits() == want.to_bits(),
                        "{name} {mode} {image} [{index}]: {got} instead of {want}"
                    );
                }
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 18);
}
