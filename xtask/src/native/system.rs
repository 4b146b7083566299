//! TensorRT and CUDA where they are installed: JetPack, or NVIDIA's packages of a distribution.

use std::fs;
use std::path::{Path, PathBuf};

/// An installed TensorRT that programs can be compiled against.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TensorRt {
    /// `10.3`: major and minor.
    pub(super) version: String,
    /// The major version: the shim's flavour.
    pub(super) major: u32,
    /// The minor version.
    minor: u32,
    /// The folder of `NvInfer.h`.
    pub(super) include: PathBuf,
}

impl TensorRt {
    /// Whether shim and plugin can be built for it.
    pub(super) fn is_known(&self) -> bool {
        (10, 3) <= (self.major, self.minor) && self.major < 12
    }
}

/// What is installed.
pub(super) fn tensorrt() -> Vec<TensorRt> {
    let arch = std::env::consts::ARCH;
    let folders = [format!("/usr/include/{arch}-linux-gnu"), "/usr/include".to_owned()];
    folders.iter().filter_map(|folder| tensorrt_in(Path::new(folder))).collect()
}

/// The TensorRT whose headers are in a folder, its ONNX parser's among them.
pub(super) fn tensorrt_in(include: &Path) -> Option<TensorRt> {
    if !include.join("NvOnnxParser.h").is_file() {
        return None;
    }
    let text = fs::read_to_string(include.join("NvInferVersion.h")).ok()?;
    // `#define NV_TENSORRT_MAJOR 10`, later `#define TRT_MAJOR_ENTERPRISE 11`.
    let number = |names: [&str; 2]| {
        let mut words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        words.find_map(|line| match line.as_slice() {
            ["#define", name, value, ..] if names.contains(name) => value.parse::<u32>().ok(),
            _ => None,
        })
    };
    let major = number(["TRT_MAJOR_ENTERPRISE", "NV_TENSORRT_MAJOR"])?;
    let minor = number(["TRT_MINOR_ENTERPRISE", "NV_TENSORRT_MINOR"])?;
    Some(TensorRt {
        version: format!("{major}.{minor}"),
        major,
        minor,
        include: include.to_owned(),
    })
}

/// The folder of an installed CUDA with its compiler.
pub(super) fn cuda() -> Option<PathBuf> {
    let named = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os);
    let folders = named.map(PathBuf::from).chain([PathBuf::from("/usr/local/cuda")]);
    folders.into_iter().find(|folder| folder.join("bin/nvcc").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(version: &str) -> Option<TensorRt> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("NvOnnxParser.h"), "").unwrap();
        fs::write(folder.path().join("NvInferVersion.h"), version).unwrap();
        tensorrt_in(folder.path())
    }

    #[test]
    fn reads_the_version_of_jetpack_6_and_of_tensorrt_11() {
        let jetpack = "#define NV_TENSORRT_MAJOR 10 //!< major\n#define NV_TENSORRT_MINOR 3 //!<\n";
        assert_eq!(installed(jetpack).unwrap().version, "10.3");
        assert!(installed(jetpack).unwrap().is_known());
        assert!(!installed(&jetpack.replace("MINOR 3", "MINOR 2")).unwrap().is_known());
        let eleven = "#define TRT_MAJOR_ENTERPRISE 11\n#define TRT_MINOR_ENTERPRISE 4\n\
            #define NV_TENSORRT_MAJOR TRT_MAJOR_ENTERPRISE\n";
        let eleven = installed(eleven).unwrap();
        assert_eq!((eleven.version.as_str(), eleven.major), ("11.4", 11));
    }

    #[test]
    fn headers_without_a_version_are_none() {
        assert_eq!(installed("#define NV_TENSORRT_MAJOR x\n"), None);
        assert_eq!(tensorrt_in(Path::new("/nonexistent")), None);
    }
}
