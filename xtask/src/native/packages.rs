//! NVIDIA's packages and build tools from PyPI, pinned, unpacked into `target/native`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{pinned, process, python};

/// A folder below `target/native` and the wheels that fill it.
pub(super) struct Folder {
    /// Its name.
    pub(super) name: &'static str,
    what: &'static str,
    /// The machine that the files are for.
    arch: &'static str,
    wheels: &'static [Wheel],
    /// Where set, only the files directly in folders of this name are taken, without the folder.
    only: Option<&'static str>,
    /// Links and what they point to.
    links: &'static [(&'static str, &'static str)],
    /// Files without which the folder is not whole.
    needed: &'static [&'static str],
}

/// A wheel that is the same for every version of Python.
struct Wheel {
    package: &'static str,
    version: &'static str,
    /// By machine: `std::env::consts::ARCH`, SHA-256.
    sha256: &'static [(&'static str, &'static str)],
}

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
const CUDA: Folder = Folder {
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
pub(super) const CUDA_RUNTIME_AARCH64: Folder = Folder {
    name: "cuda-runtime-aarch64",
    what: "CUDA runtime for aarch64",
    arch: "aarch64",
    wheels: &[CUDA_RUNTIME],
    only: Some("nvidia/cu13/lib"),
    links: &[],
    needed: &["libcudart_static.a"],
};

const TENSORRT_RTX: Folder = Folder {
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

const TENSORRT_LEAN_10: Folder = Folder {
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

const TENSORRT_LEAN_11: Folder = Folder {
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

const CMAKE: Folder = Folder {
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
pub(super) const CLANG_FORMAT: Folder = Folder {
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

/// The file that says from which wheels a folder was made.
const RECORD: &str = "wheels.sha256";

/// What this machine needs fetched: tools that are installed are not.
pub(super) fn for_this_machine() -> Vec<&'static Folder> {
    let mut folders = vec![&CUDA, &TENSORRT_RTX, &TENSORRT_LEAN_10, &TENSORRT_LEAN_11];
    if !super::build::tools_are_installed() {
        folders.push(&CMAKE);
    }
    folders
}

/// The folder's files, fetched unless they are there from the same wheels; whether they were fetched.
///
/// # Errors
/// pip cannot fetch a wheel, or it is not the pinned one, or lacks a file.
pub(super) fn ensure(workspace: &Workspace, folder: &Folder) -> Result<bool> {
    let path = workspace.native().join(folder.name);
    let wheels: Vec<_> = folder.wheels.iter().filter(|w| w.hash(folder.arch).is_some()).collect();
    if wheels.is_empty() {
        println!("{}: none for {}", folder.what, folder.arch);
        return Ok(false);
    }
    let record: String = wheels.iter().map(|wheel| wheel.line(folder.arch)).collect();
    let what = format!("{}: {}", folder.what, workspace.show(&path));
    let missing = folder.missing(&path);
    if missing.is_empty() && fs::read_to_string(path.join(RECORD)).is_ok_and(|it| it == record) {
        println!("{what} (fetched before)");
        return Ok(false);
    }
    let unpacked = python::temporary_folder(workspace)?;
    for wheel in wheels {
        let download = python::temporary_folder(workspace)?;
        let archive = wheel.fetch(workspace, folder.arch, download.path())?;
        unpack(&archive, unpacked.path(), folder.only)?;
    }
    for (link, file) in folder.links {
        symlink(file, unpacked.path().join(link)).with_context(|| format!("cannot link {link}"))?;
    }
    let missing = folder.missing(unpacked.path());
    if !missing.is_empty() {
        bail!("{}: the packages lack {}", folder.what, missing.join(", "));
    }
    fs::write(unpacked.path().join(RECORD), record)?;
    python::move_into_place(unpacked, &path)?;
    println!("{what} (fetched)");
    Ok(true)
}

impl Folder {
    /// What a folder with this one's files lacks.
    fn missing(&self, path: &Path) -> Vec<&'static str> {
        self.needed.iter().copied().filter(|file| !path.join(file).is_file()).collect()
    }
}

impl Wheel {
    /// The hash for a machine.
    fn hash(&self, arch: &str) -> Option<&'static str> {
        self.sha256.iter().find(|(of, _)| *of == arch).map(|(_, hash)| *hash)
    }

    fn line(&self, arch: &str) -> String {
        format!("{} {}=={}\n", self.hash(arch).unwrap_or_default(), self.package, self.version)
    }

    /// Downloads into an empty folder and checks.
    fn fetch(&self, workspace: &Workspace, arch: &str, folder: &Path) -> Result<PathBuf> {
        let mut pip = python::pip(workspace)?;
        pip.args(["download", "--quiet", "--no-deps", "--only-binary=:all:"]);
        for platform in ["2_12", "2_17", "2_28", "2_31", "2_35"] {
            pip.args(["--platform", &format!("manylinux_{platform}_{arch}")]);
        }
        for platform in ["2010", "2014"] {
            pip.args(["--platform", &format!("manylinux{platform}_{arch}")]);
        }
        pip.args(["--python-version", "3.12"]);
        pip.arg(format!("{}=={}", self.package, self.version)).arg("--dest").arg(folder);
        process::run(&mut pip).with_context(|| format!("cannot fetch {}", self.package))?;
        let mut files = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
        let Some(archive) = files.find(|path| path.extension().is_some_and(|e| e == "whl")) else {
            bail!("pip left no wheel of {} {}", self.package, self.version);
        };
        pinned::check(&archive, self.hash(arch).unwrap_or_default())?;
        Ok(archive)
    }
}

/// Unpacks a wheel with the permissions in it; licence texts are always kept. Of `data/scripts`
/// the files go to `bin`, where pip would put them.
fn unpack(archive: &Path, folder: &Path, only: Option<&str>) -> Result<()> {
    const SCRIPT: &str = "\
import os, re, shutil, sys, zipfile
archive, folder, only = sys.argv[1:]
with zipfile.ZipFile(archive) as wheel:
    for member in wheel.infolist():
        name = re.sub(r'^[^/]+\\.data/scripts/', 'bin/', member.filename)
        parent, base = os.path.split(name)
        if only:
            licence = '.dist-info' in parent and 'LICENSE' in base.upper()
            if not licence and (parent != only or base.endswith('.py')):
                continue
            name = base
        path = os.path.join(folder, name)
        if name.endswith('/') or '..' in name.split('/'):
            continue
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with wheel.open(member) as source, open(path, 'wb') as file:
            shutil.copyfileobj(source, file)
        os.chmod(path, 0o755 if (member.external_attr >> 16) & 0o111 else 0o644)
";
    let mut python = python::interpreter();
    python.args(["-c", SCRIPT]).arg(archive).arg(folder).arg(only.unwrap_or_default());
    process::read(&mut python).with_context(|| format!("cannot unpack {}", archive.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wheel_is_pinned_by_a_sha256() {
        let tools = [&CMAKE, &CLANG_FORMAT];
        let folders = [&CUDA, &TENSORRT_RTX, &TENSORRT_LEAN_10, &TENSORRT_LEAN_11];
        for folder in folders.into_iter().chain(tools) {
            for wheel in folder.wheels {
                for (arch, hash) in wheel.sha256 {
                    let digits = hash.bytes().filter(u8::is_ascii_hexdigit).count();
                    assert_eq!((digits, hash.len()), (64, 64), "{} {arch}", wheel.package);
                }
            }
        }
    }

    #[test]
    fn a_folder_that_lacks_a_file_is_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        let named = |name: &str| folder.path().join(name);
        assert_eq!(TENSORRT_LEAN_11.missing(folder.path()), TENSORRT_LEAN_11.needed);
        fs::write(named("LICENSE.txt"), "").unwrap();
        // A link that leads nowhere is no file.
        symlink("nowhere", named("libnvinfer_lean.so.11")).unwrap();
        assert_eq!(TENSORRT_LEAN_11.missing(folder.path()), ["libnvinfer_lean.so.11"]);
        fs::write(named("nowhere"), "").unwrap();
        assert!(TENSORRT_LEAN_11.missing(folder.path()).is_empty());
    }

    #[test]
    fn unpacks_one_folder_flat_and_keeps_programs_executable() {
        use std::os::unix::fs::PermissionsExt;
        const MAKE: &str = "\
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as wheel:
    for name, mode in [('libs/a.so', 0o644), ('libs/__init__.py', 0o644), ('other/b', 0o644),
                       ('x.dist-info/LICENSE.txt', 0o644), ('x.data/scripts/tool', 0o755),
                       ('../outside', 0o644)]:
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        wheel.writestr(member, name)
";
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("some.whl");
        process::read(python::interpreter().args(["-c", MAKE]).arg(&archive)).unwrap();

        let flat = folder.path().join("flat");
        unpack(&archive, &flat, Some("libs")).unwrap();
        let mut names: Vec<_> =
            fs::read_dir(&flat).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["LICENSE.txt", "a.so"]);

        let whole = folder.path().join("whole");
        unpack(&archive, &whole, None).unwrap();
        let mode = |name: &str| fs::metadata(whole.join(name)).unwrap().permissions().mode();
        assert_eq!(mode("bin/tool") & 0o777, 0o755);
        assert_eq!(mode("other/b") & 0o777, 0o644);
        assert!(!folder.path().join("outside").exists());
    }
}
