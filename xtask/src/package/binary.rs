//! The program as it is shipped: built small, and checked for what it needs of a machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cross::Tools;
use super::target::Target;
use crate::process;
use crate::workspace::Workspace;

/// The newest glibc that the program may need. JetPack 6 has 2.35, JetPack 7 2.39.
pub(super) const GLIBC: [u32; 2] = [2, 34];

/// The most bytes that the program may have.
const MAX_BYTES: u64 = 10_000_000;

/// Libraries that the program may be linked with; `libc6` and `libgcc-s1` have them.
pub(super) const LIBRARIES: [&str; 5] =
    ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-aarch64.so.1", "ld-linux-x86-64.so.2"];

/// A program, and the crate that has it.
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) package: &'static str,
    /// The example that writes its manual pages and completions.
    pub(super) manual: &'static str,
}

pub(super) const CUMO: Program =
    Program { name: "cumo", package: "cumo-runtime", manual: "manual" };
pub(super) const EXPORT: Program =
    Program { name: "cumo-export", package: "cumo-export", manual: "exporter_manual" };

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
    check_machine(program, target)?;
    let dynamic = readelf(program, "-d")?;
    let libraries = needed_libraries(&dynamic);
    if let Some(other) = libraries.iter().find(|library| !LIBRARIES.contains(library)) {
        bail!("{} is linked with {other}, which the package does not ask for", program.display());
    }
    let versions = readelf(program, "-V")?;
    let glibc = newest(&versions, "GLIBC_").context("the program needs no glibc at all")?;
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    println!(
        "{name} for {}: {:.2} MB, needs glibc {}, {}",
        target.triple(),
        bytes as f64 / 1e6,
        dotted(&glibc),
        libraries.join(" ")
    );
    if glibc[..] > GLIBC[..] {
        bail!("{name} needs glibc {}, over {}", dotted(&glibc), dotted(&GLIBC));
    }
    if bytes >= MAX_BYTES {
        bail!("{name} has {bytes} bytes, not under {MAX_BYTES}");
    }
    Ok(())
}

/// Checks what machine a file is for.
///
/// # Errors
/// It is for another one, or no program or library.
pub(super) fn check_machine(file: &Path, target: Target) -> Result<()> {
    if !readelf(file, "-h")?.contains(target.elf_machine()) {
        bail!("{} is not for {}", file.display(), target.arch());
    }
    Ok(())
}

/// What `readelf` says of a file.
///
/// # Errors
/// There is no `readelf`, or it cannot read the file.
pub(super) fn readelf(program: &Path, option: &str) -> Result<String> {
    let mut readelf = Command::new("readelf");
    process::read(readelf.env("LC_ALL", "C").args([option, "-W"]).arg(program))
        .context("readelf is needed (on Debian and Ubuntu: apt-get install binutils)")
}

/// Names in `(NEEDED) Shared library: [libc.so.6]`.
pub(super) fn needed_libraries(dynamic: &str) -> Vec<&str> {
    let lines = dynamic.lines().filter(|line| line.contains("(NEEDED)"));
    lines.filter_map(|line| line.split_once('[')?.1.split_once(']')).map(|(name, _)| name).collect()
}

/// The highest version after `name`, of `Name: GLIBC_2.34` and `Name: GLIBCXX_3.4.30`.
pub(super) fn newest(versions: &str, name: &str) -> Option<Vec<u32>> {
    let version = |rest: &str| -> Option<Vec<u32>> {
        let text: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        text.split('.').map(|number| number.parse().ok()).collect()
    };
    versions.split(name).skip(1).filter_map(version).max()
}

/// A version as it is written.
pub(super) fn dotted(version: &[u32]) -> String {
    version.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_is_found_by_number_and_not_by_text() {
        let text = "Name: GLIBC_2.9  Flags: none\n Name: GLIBC_2.34  Flags\n Name: GLIBC_2.17\n";
        assert_eq!(newest(text, "GLIBC_"), Some(vec![2, 34]));
        assert_eq!(newest("Name: GCC_3.0", "GLIBC_"), None);
        assert_eq!(newest("GLIBC_PRIVATE GLIBC_2.2.5", "GLIBC_"), Some(vec![2, 2, 5]));
        let cxx = "Name: GLIBCXX_3.4  Name: GLIBCXX_3.4.9  Name: GLIBCXX_3.4.30";
        assert_eq!(newest(cxx, "GLIBCXX_").map(|it| dotted(&it)).unwrap(), "3.4.30");
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
