//! The program as it is shipped: built small, and checked for what it needs of a machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cross::Tools;
use super::target::Target;
use crate::process;
use crate::workspace::Workspace;

/// The newest glibc that the program may need. JetPack 6 has 2.35, JetPack 7 2.39.
pub(super) const GLIBC: (u32, u32) = (2, 34);

/// The most bytes that the program may have.
const MAX_BYTES: u64 = 10_000_000;

/// Libraries that the program may be linked with; `libc6` and `libgcc-s1` have them.
const LIBRARIES: [&str; 5] =
    ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-aarch64.so.1", "ld-linux-x86-64.so.2"];

/// A program, and the crate that has it.
pub(super) struct Program {
    name: &'static str,
    package: &'static str,
}

pub(super) const CUMO: Program = Program { name: "cumo", package: "cumo-runtime" };
pub(super) const EXPORT: Program = Program { name: "cumo-export", package: "cumo-export" };

/// Builds a program with the profile `shipped`. `features`: cargo features, in place of the default.
///
/// # Errors
/// The build fails.
pub(super) fn build(
    workspace: &Workspace,
    program: &Program,
    target: Target,
    tools: &Tools,
    features: Option<&str>,
) -> Result<PathBuf> {
    let triple = target.triple();
    let mut cargo = process::cargo();
    cargo.args(["build", "--locked", "--package", program.package, "--bin", program.name]);
    cargo.args(["--profile", "shipped", "--target", &triple]).current_dir(&workspace.root);
    if let Some(features) = features {
        cargo.args(["--no-default-features", "--features", features]);
    }
    if let Some(linker) = &tools.linker {
        let triple = triple.to_uppercase().replace('-', "_");
        cargo.env(format!("CARGO_TARGET_{triple}_LINKER"), linker);
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", rust_flags(workspace, tools).join("\u{1f}"));
    process::run(&mut cargo)?;
    Ok(workspace.target.join(triple).join("shipped").join(program.name))
}

/// Flags that leave this machine's folders out of the program, so that it is the same wherever it is
/// built.
fn rust_flags(workspace: &Workspace, tools: &Tools) -> Vec<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let folders = [(Some(workspace.root.clone()), "/cumo-edge"), (home, "/cargo")];
    let mut flags: Vec<String> = folders
        .into_iter()
        .filter_map(|(folder, name)| {
            Some(format!("--remap-path-prefix={}={name}", folder?.display()))
        })
        .collect();
    if let Some(sysroot) = &tools.sysroot {
        flags.push(format!("--sysroot={}", sysroot.display()));
    }
    flags
}

/// Checks size, machine, libraries and the newest glibc that the program needs; prints them.
///
/// # Errors
/// One of them is not as it must be, or `readelf` is missing.
pub(super) fn check(program: &Path, target: Target) -> Result<()> {
    let bytes = std::fs::metadata(program).with_context(|| program.display().to_string())?.len();
    let header = readelf(program, "-h")?;
    if !header.contains(target.elf_machine()) {
        bail!("{} is not for {}", program.display(), target.arch());
    }
    let dynamic = readelf(program, "-d")?;
    let libraries = needed_libraries(&dynamic);
    if let Some(other) = libraries.iter().find(|library| !LIBRARIES.contains(library)) {
        bail!("{} is linked with {other}, which the package does not ask for", program.display());
    }
    let versions = readelf(program, "-V")?;
    let glibc = newest_glibc(&versions).context("the program needs no glibc at all")?;
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    println!(
        "{name} for {}: {:.2} MB, needs glibc {}.{}, {}",
        target.triple(),
        bytes as f64 / 1e6,
        glibc.0,
        glibc.1,
        libraries.join(" ")
    );
    if glibc > GLIBC {
        bail!("needs glibc {}.{}, over {}.{}", glibc.0, glibc.1, GLIBC.0, GLIBC.1);
    }
    if bytes >= MAX_BYTES {
        bail!("{name} has {bytes} bytes, not under {MAX_BYTES}");
    }
    Ok(())
}

fn readelf(program: &Path, option: &str) -> Result<String> {
    let mut readelf = Command::new("readelf");
    process::read(readelf.env("LC_ALL", "C").args([option, "-W"]).arg(program))
        .context("readelf is needed (on Debian and Ubuntu: apt-get install binutils)")
}

/// Names in `(NEEDED) Shared library: [libc.so.6]`.
fn needed_libraries(dynamic: &str) -> Vec<&str> {
    let lines = dynamic.lines().filter(|line| line.contains("(NEEDED)"));
    lines.filter_map(|line| line.split_once('[')?.1.split_once(']')).map(|(name, _)| name).collect()
}

/// The highest of `Name: GLIBC_2.34`.
fn newest_glibc(versions: &str) -> Option<(u32, u32)> {
    let version = |rest: &str| {
        let text: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        let mut numbers = text.split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    versions.split("GLIBC_").skip(1).filter_map(version).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_is_found_by_number_and_not_by_text() {
        let text = "Name: GLIBC_2.9  Flags: none\n Name: GLIBC_2.34  Flags\n Name: GLIBC_2.17\n";
        assert_eq!(newest_glibc(text), Some((2, 34)));
        assert_eq!(newest_glibc("Name: GCC_3.0"), None);
        assert_eq!(newest_glibc("GLIBC_PRIVATE GLIBC_2.2.5"), Some((2, 2)));
    }

    #[test]
    fn libraries_are_those_in_brackets() {
        let text = " 0x1 (NEEDED) Shared library: [libgcc_s.so.1]\n 0x1 (SONAME) [x]\n \
                    0x1 (NEEDED) Shared library: [libc.so.6]\n";
        assert_eq!(needed_libraries(text), ["libgcc_s.so.1", "libc.so.6"]);
    }

    #[test]
    fn a_program_for_another_machine_is_refused() {
        let program = std::env::current_exe().unwrap();
        let other = match Target::Aarch64.is_this_machine() {
            true => Target::X86_64,
            false => Target::Aarch64,
        };
        let error = check(&program, other).unwrap_err().to_string();
        assert!(error.contains("is not for"), "{error}");
    }
}
