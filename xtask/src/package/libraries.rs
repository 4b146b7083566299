//! The native libraries of a package: shim and plugin, built or given, and checked for what they need
//! of a machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::binary::{self, GLIBC};
use super::cross::Tools;
use super::target::Target;
use super::{Native, Options};
use crate::native::Shipped;
use crate::workspace::Workspace;

/// The newest symbols of libstdc++ that a library may need, and the version of the package
/// `libstdc++6` that has them: Ubuntu 22.04's, and so JetPack 6's, and Debian 12's.
const GLIBCXX: [u32; 3] = [3, 4, 30];
pub(super) const LIBSTDCXX: u32 = 12;

/// A library and its place below `/usr/lib/cumo-edge`.
pub(super) struct NativeLibrary {
    pub(super) file: PathBuf,
    pub(super) place: String,
}

/// Libraries to ship, built where that was asked for and can be done here; none is said.
///
/// # Errors
/// A build fails, headers or a folder that were named are not what they must be, or a library is not.
pub(super) fn ensure(
    workspace: &Workspace,
    options: &Options,
    tools: &Tools,
) -> Result<Vec<NativeLibrary>> {
    let folder = match &options.native {
        Native::None => return Ok(Vec::new()),
        Native::Folder(folder) => folder.clone(),
        Native::Build { tensorrt } => {
            let shipped = Shipped {
                arch: options.target.arch(),
                compilers: tools.compilers.as_ref(),
                tensorrt: tensorrt.as_deref(),
            };
            match shipped.build(workspace)? {
                Ok(folder) => folder,
                Err(missing) if tensorrt.is_some() => bail!("native libraries: {missing}"),
                Err(missing) => {
                    println!(
                        "native libraries: none ({missing}). The package has their sources, and \
                         native/build.sh, which builds them where it is installed"
                    );
                    return Ok(Vec::new());
                }
            }
        }
    };
    let libraries = find(&folder)?;
    for library in &libraries {
        check(library, options.target)?;
    }
    Ok(libraries)
}

/// Shims and plugins of a build folder of `native/`.
fn find(build: &Path) -> Result<Vec<NativeLibrary>> {
    let shims = build.join("shim");
    let mut libraries = Vec::new();
    let entries = fs::read_dir(&shims).with_context(|| shims.display().to_string())?;
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    for name in names.iter().filter_map(|name| name.to_str()) {
        let flavour = name.strip_prefix("libcumo_trt_").and_then(|rest| rest.strip_suffix(".so"));
        let Some(flavour) = flavour else { continue };
        let plugin = build.join("plugin").join(flavour).join("libcumo_plugin.so");
        if !plugin.is_file() {
            bail!("{} has no plugin beside it: {}", shims.join(name).display(), plugin.display());
        }
        let place = format!("{flavour}/libcumo_plugin.so");
        libraries.push(NativeLibrary { file: shims.join(name), place: name.to_owned() });
        libraries.push(NativeLibrary { file: plugin, place });
    }
    if libraries.is_empty() {
        bail!("{} holds no shim/libcumo_trt_*.so", build.display());
    }
    Ok(libraries)
}

/// Checks machine, libraries, newest symbols and that no folder of this machine is searched; prints
/// them.
fn check(library: &NativeLibrary, target: Target) -> Result<()> {
    let file = &library.file;
    binary::check_machine(file, target)?;
    let dynamic = binary::readelf(file, "-d")?;
    if let Some(line) = dynamic.lines().find(|line| line.contains("PATH)")) {
        bail!("{} looks for libraries in folders of its own: {}", file.display(), line.trim());
    }
    let needed = binary::needed_libraries(&dynamic);
    let known = |name: &&str| binary::LIBRARIES.contains(name) || *name == "libstdc++.so.6";
    if let Some(other) = needed.iter().find(|name| !known(name)) {
        bail!("{} is linked with {other}, which the package does not ask for", file.display());
    }
    let versions = binary::readelf(file, "-V")?;
    let newest = |name, limit: &[u32]| {
        let newest = binary::newest(&versions, name).unwrap_or_default();
        if newest[..] > *limit {
            bail!(
                "{} needs {name}{}, over {}: build it on the oldest system that it is for",
                file.display(),
                binary::dotted(&newest),
                binary::dotted(limit)
            );
        }
        Ok(binary::dotted(&newest))
    };
    let (glibc, glibcxx) = (newest("GLIBC_", &GLIBC)?, newest("GLIBCXX_", &GLIBCXX)?);
    println!(
        "{}: {:.2} MB, needs glibc {glibc}, GLIBCXX {glibcxx}, {}",
        library.place,
        fs::metadata(file)?.len() as f64 / 1e6,
        needed.join(" ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shims_go_with_the_plugins_of_their_flavour() {
        let build = tempfile::tempdir().unwrap();
        let write = |path: &str| {
            let path = build.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        write("shim/libcumo_trt.txt");
        let error = |build: &Path| find(build).err().unwrap().to_string();
        assert!(error(build.path()).ends_with("holds no shim/libcumo_trt_*.so"));
        write("shim/libcumo_trt_rtx.so");
        write("shim/libcumo_trt_10.so");
        write("plugin/10/libcumo_plugin.so");
        assert!(error(build.path()).contains("libcumo_trt_rtx.so has no plugin beside it"));
        write("plugin/rtx/libcumo_plugin.so");
        let found = find(build.path()).unwrap();
        let places: Vec<_> = found.iter().map(|library| library.place.as_str()).collect();
        let of =
            |flavour| [format!("libcumo_trt_{flavour}.so"), format!("{flavour}/libcumo_plugin.so")];
        assert_eq!(places, [of("10"), of("rtx")].concat());
    }

    #[test]
    fn a_library_that_the_package_does_not_ask_for_is_refused() {
        // This program needs no libstdc++, and is for this machine.
        let file = std::env::current_exe().unwrap();
        let library = NativeLibrary { file, place: "x".to_owned() };
        let (here, there) = match Target::Aarch64.is_this_machine() {
            true => (Target::Aarch64, Target::X86_64),
            false => (Target::X86_64, Target::Aarch64),
        };
        assert!(check(&library, here).is_ok());
        assert!(check(&library, there).unwrap_err().to_string().contains("is not for"));
    }
}
