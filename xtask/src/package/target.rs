//! Machines that packages are made for.

use anyhow::{Result, bail};

/// A machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Jetson, and other 64-bit Arm machines.
    Aarch64,
    /// PCs and servers.
    X86_64,
}

impl Target {
    /// The target that `--target` names.
    ///
    /// # Errors
    /// There is no package for it.
    pub(crate) fn from_name(name: &str) -> Result<Self> {
        match name {
            "aarch64" => Ok(Target::Aarch64),
            "x86_64" => Ok(Target::X86_64),
            other => bail!("no package is made for `{other}`, only for `aarch64` and `x86_64`"),
        }
    }

    /// Its name, as in `std::env::consts::ARCH`.
    pub(crate) fn arch(self) -> &'static str {
        match self {
            Target::Aarch64 => "aarch64",
            Target::X86_64 => "x86_64",
        }
    }

    /// Rust's name of it.
    pub(crate) fn triple(self) -> String {
        format!("{}-unknown-linux-gnu", self.arch())
    }

    /// Debian's name of it.
    pub(crate) fn debian(self) -> &'static str {
        match self {
            Target::Aarch64 => "arm64",
            Target::X86_64 => "amd64",
        }
    }

    /// What `readelf` calls its programs.
    pub(crate) fn elf_machine(self) -> &'static str {
        match self {
            Target::Aarch64 => "AArch64",
            Target::X86_64 => "Advanced Micro Devices X86-64",
        }
    }

    /// Whether this machine is one.
    pub(crate) fn is_this_machine(self) -> bool {
        self.arch() == std::env::consts::ARCH
    }
}
