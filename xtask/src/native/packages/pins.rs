//! Which packages fill which folder: versions, hashes, and the files that must be there.

use super::{Folder, Wheel};

/// This machine.
const HERE: &str = std::env::consts::ARCH;

const CUDA_RUNTIME: Wheel = Wheel {
    package: "nvidia-cuda-runtime",
    version: "13.0.96",
    sha256: &[
        ("x86_64", "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548"),
        ("aarch64", "ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55"),
    ],
};

/// The compiler of CUDA 13.0 and what its output is read with. Newer disassemblers read older code.
pub(super) const CUDA: Folder = Folder {
    name: "cuda",
    what: "CUDA compiler and headers",
    arch: HERE,
    wheels: &[
        Wheel {
            package: "nvidia-cuda-nvcc",
            version: "13.0.88",
            sha256: &[
                ("x86_64", "56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03"),
                ("aarch64", "c7ff28f86a24effdc6c034fa15230c549a273e4771b10a7fec14996f8cf3307f"),
            ],
        },
        Wheel {
            package: "nvidia-cuda-crt",
            version: "13.0.88",
            sha256: &[
                ("x86_64", "2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4"),
                ("aarch64", "ee2ea2a97073e02ee62bb27841f437332be2c248e3eac013df07997ada39c003"),
            ],
        },
        Wheel {
            package: "nvidia-nvvm",
            version: "13.0.88",
            sha256: &[
                ("x86_64", "c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0"),
                ("aarch64", "c4376a291d72d22a315d9d2f69bdae8f8cd83a627f75bad395cee49a0fe65dc1"),
            ],
        },
        CUDA_RUNTIME,
        Wheel {
            package: "nvidia-cuda-cccl",
            version: "13.0.85",
            sha256: &[
                ("x86_64", "e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649"),
                ("aarch64", "6f0203e29fed809ee2b7fe9b1344df66ecab990c37d6a2e0e189b26d6c97ed7c"),
            ],
        },
        Wheel {
            package: "nvidia-cuda-cuobjdump",
            version: "13.2.86",
            sha256: &[
                ("x86_64", "d332c2ffe78e703ca0a3894be927f83124244e2acf0d792b8c12b4362d44d837"),
                ("aarch64", "9a025b92d5faca837f69841317760df9b27f3871bfa089d80cc428399743fd56"),
            ],
        },
        Wheel {
            package: "nvidia-cuda-nvdisasm",
            version: "13.2.86",
            sha256: &[
                ("x86_64", "53606e719ecae07a2335f95902d5a1393a0cc1c317499ee7ffcf628a44385f2c"),
                ("aarch64", "d02c627f7aecfcac4dd5e923e94adeaa6607c5fdae8df750b01ad948d38941d3"),
            ],
        },
    ],
    only: None,
    links: &[],
    needed: &[
        "nvidia/cu13/bin/nvcc",
        "nvidia/cu13/bin/ptxas",
        "nvidia/cu13/bin/cuobjdump",
        "nvidia/cu13/bin/nvdisasm",
        "nvidia/cu13/nvvm/bin/cicc",
        "nvidia/cu13/include/cuda_fp16.h",
        "nvidia/cu13/include/crt/host_config.h",
        "nvidia/cu13/include/cccl/cuda/std/cstdint",
        "nvidia/cu13/lib/libcudart_static.a",
    ],
};

/// The runtime of [`CUDA`] for Arm machines: what a plugin for them is linked with. Headers do not differ
/// between machines.
pub(in super::super) const CUDA_RUNTIME_AARCH64: Folder = Folder {
    name: "cuda-runtime-aarch64",
    what: "CUDA runtime for aarch64",
    arch: "aarch64",
    wheels: &[CUDA_RUNTIME],
    only: Some("nvidia/cu13/lib"),
    links: &[],
    needed: &["libcudart_static.a"],
};

pub(super) const TENSORRT_RTX: Folder = Folder {
    name: "tensorrt-rtx",
    what: "TensorRT-RTX 1.7",
    arch: HERE,
    wheels: &[Wheel {
        package: "tensorrt-rtx-cu13-libs",
        version: "1.7.1.116",
        sha256: &[
            ("x86_64", "e3fd45fed001240d63304e77a2d4006319b839994237cb294b6e7ad72acaabcd"),
            ("aarch64", "ec8b6cb95a8ea61e31d544dbc5039d35219b311999f92c518a3889aaae74359c"),
        ],
    }],
    only: Some("tensorrt_rtx_libs"),
    // Its ONNX parser asks for the registry of plugins by this name.
    links: &[("libtensorrt_rtx.so", "libtensorrt_rtx.so.1")],
    needed: &[
        "libtensorrt_rtx.so.1",
        "libtensorrt_rtx.so",
        "libtensorrt_onnxparser_rtx.so.1",
        "LICENSE.txt",
    ],
};

pub(super) const TENSORRT_LEAN_10: Folder = Folder {
    name: "tensorrt-lean-10",
    what: "TensorRT 10.16, lean",
    arch: HERE,
    wheels: &[Wheel {
        package: "tensorrt-lean-cu12-libs",
        version: "10.16.1.11",
        sha256: &[("x86_64", "b472f89c55752ea35406b951da629f033e598a522bcb4e472e741c0f1f91eb58")],
    }],
    only: Some("tensorrt_lean_libs"),
    links: &[],
    needed: &["libnvinfer_lean.so.10", "LICENSE.txt"],
};

pub(super) const TENSORRT_LEAN_11: Folder = Folder {
    name: "tensorrt-lean-11",
    what: "TensorRT 11.4, lean",
    arch: HERE,
    wheels: &[Wheel {
        package: "tensorrt-lean-cu13-libs",
        version: "11.4.0.106",
        sha256: &[
            ("x86_64", "e022b8d0e21f19258657aec6760e1de8b454ed176f76217e3f7ec2036c5a9410"),
            ("aarch64", "2b22174a7056f341efeffb2025aa759c870c438ebf45a8821e88f5d95d165d1f"),
        ],
    }],
    only: Some("tensorrt_lean_libs"),
    links: &[],
    needed: &["libnvinfer_lean.so.11", "LICENSE.txt"],
};

pub(super) const CMAKE: Folder = Folder {
    name: "cmake",
    what: "CMake and Ninja",
    arch: HERE,
    wheels: &[
        Wheel {
            package: "cmake",
            version: "4.4.5",
            sha256: &[
                ("x86_64", "85625a9b6d5e88ff99c7eb79123d85570844e77ac076366cf75c609cc0b1b579"),
                ("aarch64", "25fc8469e67857124ef10c002331c0ab416eb7b8d9e1d6e4c58e84e730013ece"),
            ],
        },
        Wheel {
            package: "ninja",
            version: "1.13.2",
            sha256: &[
                ("x86_64", "65a24341b5ac09fcadcc37082660be40a94174e51a937fabf6e2cae26225fa2c"),
                ("aarch64", "d775a5e43e9088f507a6250d57fcf5678eb31268c545feb5064ffeee33735622"),
            ],
        },
    ],
    only: None,
    links: &[("bin/cmake", "../cmake/data/bin/cmake"), ("bin/ctest", "../cmake/data/bin/ctest")],
    needed: &["bin/cmake", "bin/ctest", "bin/ninja"],
};

/// For `cargo xtask lint` and `format` only; another version may write files otherwise.
pub(in super::super) const CLANG_FORMAT: Folder = Folder {
    name: "clang-format",
    what: "clang-format",
    arch: HERE,
    wheels: &[Wheel {
        package: "clang-format",
        version: "20.1.8",
        sha256: &[
            ("x86_64", "7c6bcb7e01ba4f05a4c980fda147b330f7e4833c2aea8c92a0c2df9573ae7afe"),
            ("aarch64", "34de32fe53452a07497793d5faf3fd03f7cf8b960b915417471ae81227461a39"),
        ],
    }],
    only: None,
    links: &[],
    needed: &["clang_format/data/bin/clang-format"],
};
