//! What builds programs for another machine: a linker with C libraries, and Rust's own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::debian::{self, Folder, Package};
use super::target::Target;
use crate::native::Compilers;
use crate::workspace::Workspace;
use crate::{process, python};

/// GCC for aarch64, which is the linker too, and the C and C++ libraries that programs are linked with
/// and can run with. Debian 12's have the symbols of glibc 2.34 that JetPack 6 has too.
const GCC: Folder = Folder {
    name: "gcc-aarch64",
    what: "GCC for aarch64",
    suite: "bookworm",
    packages: &[
        Package {
            name: "gcc-12-aarch64-linux-gnu",
            version: "12.2.0-14cross1",
            sha256: "43747bbcd46a4062e66e855090b8ed9c2e06a93ae5a69fb304beebbc8c36d11f",
        },
        Package {
            name: "g++-12-aarch64-linux-gnu",
            version: "12.2.0-14cross1",
            sha256: "3693e31fe2b42fcbdd92fef3e5578e91dd86af30e3d2c5fff3f9821e34a1cb91",
        },
        Package {
            name: "cpp-12-aarch64-linux-gnu",
            version: "12.2.0-14cross1",
            sha256: "5921df4ad56e34e6257a1caf862474845aab6548ba7ae7852e8cdd7cb622394e",
        },
        Package {
            name: "binutils-aarch64-linux-gnu",
            version: "2.40-2",
            sha256: "3d6f64a7a4ed6d73719f8fa2e85fd896f58ff7f211a6683942ba93de690aaa66",
        },
        Package {
            name: "libbinutils",
            version: "2.40-2",
            sha256: "fcf55b99e5f8a78f3c8ce9b6957f1024f394cf20c196b100d308a57e43547710",
        },
        Package {
            name: "libctf0",
            version: "2.40-2",
            sha256: "3fb7b6f326be3fae4a87a3d33b9269bd06c1e4346a24bd737f265067e3b7427f",
        },
        Package {
            name: "libctf-nobfd0",
            version: "2.40-2",
            sha256: "ef1dfcf22de41ea90ebd3d505447ccccd999e96b85aa777a1d7d981dc3b347aa",
        },
        Package {
            name: "libjansson4",
            version: "2.14-2",
            sha256: "3fc9742f9f1a37bcb9931df6074b4d1483419ef832ad5349f47323e75fc27864",
        },
        Package {
            name: "libisl23",
            version: "0.25-1.1",
            sha256: "ebff0b2f8b220c74224197523019366e97ee4770d464bebc48e4865114e4da0e",
        },
        Package {
            name: "libmpc3",
            version: "1.3.1-1",
            sha256: "d7f79544790e44f9b0c8cb9034a18c58d37f8702a15f32539050718679e52f80",
        },
        Package {
            name: "libmpfr6",
            version: "4.2.0-1",
            sha256: "37b7a2b4e78890b6a074777f27b96c84f58e81558ba08410c2b6c0ca4a4ad77b",
        },
        Package {
            name: "libgmp10",
            version: "2:6.2.1+dfsg1-1.1",
            sha256: "187aedef2ed763f425c1e523753b9719677633c7eede660401739e9c893482bd",
        },
        Package {
            name: "libc6-dev-arm64-cross",
            version: "2.36-8cross1",
            sha256: "5e4cf6abf0e89e89c4b3006bb8b7dc47aa831df25d94df9134929b8b968cacb4",
        },
        Package {
            name: "libc6-arm64-cross",
            version: "2.36-8cross1",
            sha256: "91936cbbee75771c360ed16513f6e734a25ca5517fe7c3e13dfd7835d7553186",
        },
        Package {
            name: "libgcc-12-dev-arm64-cross",
            version: "12.2.0-14cross1",
            sha256: "ff1324e262bae2c3aad685c2ed52bd531ab0a2a337a0fe35c3b720947d55b2ba",
        },
        Package {
            name: "libgcc-s1-arm64-cross",
            version: "12.2.0-14cross1",
            sha256: "af1e686fc6a416228222e7bfb68317dd2fa2685236301ae29141fc6108a66cac",
        },
        Package {
            name: "libstdc++6-arm64-cross",
            version: "12.2.0-14cross1",
            sha256: "9cba984b64d0cf11698978fc5e0fe93c7441d29b9f42f70f1c6c734cc9e2ea41",
        },
        Package {
            name: "libstdc++-12-dev-arm64-cross",
            version: "12.2.0-14cross1",
            sha256: "942b5710c6b9792578dfa64f7a4633bc0d3cb205b56ded11297e240ff824f5da",
        },
        Package {
            name: "linux-libc-dev-arm64-cross",
            version: "6.1.4-1cross1",
            sha256: "66457f015d16b7d372db6591cff38db0da928362ff2ea1fa75491e28f6904d81",
        },
    ],
    needed: &[
        "usr/bin/aarch64-linux-gnu-gcc-12",
        "usr/bin/aarch64-linux-gnu-g++-12",
        "usr/bin/aarch64-linux-gnu-ld",
        "usr/aarch64-linux-gnu/lib/crt1.o",
        "usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1",
        "usr/aarch64-linux-gnu/lib/libstdc++.so.6",
    ],
};

/// The source of Rust's standard library, for where rustup cannot fetch it built.
const RUST_SOURCE: Folder = Folder {
    name: "rust-src",
    what: "source of Rust's standard library",
    suite: "trixie-backports",
    packages: &[Package {
        name: "rust-src",
        version: "1.95.0+dfsg1-2~bpo13+1",
        sha256: "7b76db5b880a77f9e52975d2baa6209d2f76d2c9c2789515c3088cb960e2c83b",
    }],
    needed: &["usr/src/rustc-1.95.0/library/std/Cargo.toml"],
};

/// The compiler that [`RUST_SOURCE`] belongs to.
const RUST_SOURCE_OF: &str = "1.95.0";

/// What a build for another machine is given.
pub(super) struct Tools {
    /// The linker; none: the machine's own.
    pub(super) linker: Option<PathBuf>,
    /// What compiles the native libraries, whose C compiler is the linker too. None: the machine's own,
    /// or no C++ compiler for another machine.
    pub(super) compilers: Option<Compilers>,
    /// Where Rust's standard library was built; none: where the compiler has it.
    pub(super) sysroot: Option<PathBuf>,
    /// The root of the other machine's libraries, for running its programs.
    pub(super) libraries: PathBuf,
}

/// Tools for a target: installed ones, or fetched ones.
///
/// # Errors
/// There are none here and none can be fetched; see [`debian::NotInArchive`].
pub(super) fn ensure(workspace: &Workspace, target: Target) -> Result<Tools> {
    let sysroot = match has_std(target)? || add_target(target)? {
        true => None,
        false => Some(build_std(workspace, target)?),
    };
    if target.is_this_machine() {
        return Ok(Tools { linker: None, compilers: None, sysroot, libraries: "/".into() });
    }
    if target != Target::Aarch64 {
        bail!("a package for {} can only be made on such a machine", target.arch());
    }
    let linker = PathBuf::from("aarch64-linux-gnu-gcc");
    if process::succeeds(Command::new(&linker).arg("--version")) {
        let libraries = "/usr/aarch64-linux-gnu".into();
        return Ok(Tools { linker: Some(linker), compilers: installed(), sysroot, libraries });
    }
    let folder = debian::ensure(workspace, &GCC).context(
        "no compiler for aarch64; on Debian and Ubuntu: apt-get install g++-aarch64-linux-gnu",
    )?;
    let compilers = write_compilers(&folder)?;
    let libraries = folder.join("usr/aarch64-linux-gnu");
    Ok(Tools { linker: Some(compilers.c.clone()), compilers: Some(compilers), sysroot, libraries })
}

/// Compilers that are installed, as far as they are.
fn installed() -> Option<Compilers> {
    let [c, cxx, ar, ranlib] = ["gcc", "g++", "gcc-ar", "gcc-ranlib"].map(|name| {
        let program = PathBuf::from(format!("aarch64-linux-gnu-{name}"));
        process::succeeds(Command::new(&program).arg("--version")).then_some(program)
    });
    Some(Compilers { c: c?, cxx: cxx?, ar: ar?, ranlib: ranlib? })
}

/// Scripts that run the unpacked GCC with the unpacked libraries.
fn write_compilers(folder: &Path) -> Result<Compilers> {
    let compiler = "--sysroot=\"$here\" -B\"$here/usr/bin/aarch64-linux-gnu-\" ";
    Ok(Compilers {
        c: write_script(folder, "gcc", "gcc-12", compiler)?,
        cxx: write_script(folder, "g++", "g++-12", compiler)?,
        ar: write_script(folder, "ar", "ar", "")?,
        ranlib: write_script(folder, "ranlib", "ranlib", "")?,
    })
}

fn write_script(folder: &Path, name: &str, program: &str, options: &str) -> Result<PathBuf> {
    let text = format!(
        "#!/bin/sh\nhere=$(cd \"$(dirname \"$0\")\" && pwd) || exit 1\n\
         LD_LIBRARY_PATH=$here/usr/lib/x86_64-linux-gnu exec \\\n    \
         \"$here/usr/bin/aarch64-linux-gnu-{program}\" {options}\"$@\"\n"
    );
    let script = folder.join(name);
    if fs::read_to_string(&script).is_ok_and(|found| found == text) {
        return Ok(script);
    }
    fs::write(&script, text).with_context(|| script.display().to_string())?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

fn rustc(arguments: &[&str]) -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    Ok(process::read(Command::new(rustc).args(arguments))?.trim().to_owned())
}

/// Whether the compiler has the standard library for a target.
fn has_std(target: Target) -> Result<bool> {
    let sysroot = rustc(&["--print", "sysroot"])?;
    let folder = Path::new(&sysroot).join("lib/rustlib").join(target.triple()).join("lib");
    Ok(folder.is_dir())
}

/// Asks rustup, where it is, for the standard library; whether it is there then.
fn add_target(target: Target) -> Result<bool> {
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", &target.triple()]);
    Ok(process::succeeds(&mut rustup) && has_std(target)?)
}

/// Builds the standard library from Debian's source of it, once for a compiler; gives a sysroot.
fn build_std(workspace: &Workspace, target: Target) -> Result<PathBuf> {
    let version = rustc(&["--version"])?.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let folder = workspace.native().join(format!("rust-std-{}-{version}", target.arch()));
    if folder.is_dir() {
        println!("Rust's standard library: {} (built before)", workspace.show(&folder));
        return Ok(folder);
    }
    let help = format!("rustup target add {}", target.triple());
    if version != RUST_SOURCE_OF {
        bail!(
            "no standard library for {}; its source is pinned for Rust {RUST_SOURCE_OF}, this is \
             {version}: {help}",
            target.triple()
        );
    }
    let source = debian::ensure(workspace, &RUST_SOURCE)
        .with_context(|| format!("no standard library for {}: {help}", target.triple()))?;
    let work = python::temporary_folder(workspace)?;
    let library = work.path().join("library");
    let source = source.join(format!("usr/src/rustc-{version}/library"));
    process::run(Command::new("cp").arg("-r").arg(&source).arg(&library))?;
    // As a shared object it would want a linker for the target.
    let manifest = library.join("std/Cargo.toml");
    let text = fs::read_to_string(&manifest).with_context(|| manifest.display().to_string())?;
    fs::write(&manifest, text.replace("[\"dylib\", \"rlib\"]", "[\"rlib\"]"))?;
    let mut cargo = process::cargo();
    cargo.args(["build", "--quiet", "--locked", "--profile", "dist", "--target", &target.triple()]);
    cargo.args(["--no-default-features", "--features", "backtrace panic-unwind"]);
    cargo.arg("--manifest-path").arg(library.join("sysroot/Cargo.toml")).current_dir(&library);
    // As Rust's own build does: the library uses what is not stable, and says that it is the library.
    cargo.env("RUSTC_BOOTSTRAP", "1").env("__CARGO_DEFAULT_LIB_METADATA", "std");
    cargo.env("CARGO_TARGET_DIR", work.path().join("target"));
    let remap = format!("--remap-path-prefix={}=/rustc/library", library.display());
    cargo.env("CARGO_ENCODED_RUSTFLAGS", format!("-Zforce-unstable-if-unmarked\u{1f}{remap}"));
    process::run(&mut cargo).context("cannot build Rust's standard library")?;
    let built = python::temporary_folder(workspace)?;
    let place = built.path().join("lib/rustlib").join(target.triple()).join("lib");
    fs::create_dir_all(&place)?;
    let made = work.path().join("target").join(target.triple()).join("dist/deps");
    for entry in fs::read_dir(&made).with_context(|| made.display().to_string())?.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "rlib") {
            fs::copy(entry.path(), place.join(entry.file_name()))?;
        }
    }
    python::move_into_place(built, &folder)?;
    println!("Rust's standard library: {} (built)", workspace.show(&folder));
    Ok(folder)
}
