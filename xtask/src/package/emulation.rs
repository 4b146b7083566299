//! The packaged program on this machine, under emulation where it is for another one: that it
//! answers, with the tokens that the program for this machine answers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::cross::Tools;
use super::debian::{self, Folder, Package};
use super::libraries::NativeLibrary;
use super::target::Target;
use crate::workspace::Workspace;
use crate::{demo, export, onnxruntime, process};

/// How many questions are asked, each about another image and of another category.
const QUESTIONS: usize = 5;

/// Debian 12's own, 7.2, tells programs of this machine's processor, and ONNX Runtime crashes.
const QEMU: Folder = Folder {
    name: "qemu",
    what: "QEMU 10",
    suite: "bookworm-backports",
    packages: &[Package {
        name: "qemu-user",
        version: "1:10.0.2+ds-2+deb13u1~bpo12+1",
        sha256: "10a2dec99f2b2d0b1097ff0375aea35b89322d6631fc96700511b02e05bf6fef",
    }],
    needed: &["usr/bin/qemu-aarch64"],
};

/// The oldest QEMU that ONNX Runtime runs under.
const OLDEST_QEMU: (u32, u32) = (8, 1);

/// The processor that is emulated: Orin's cores are the next ones of its line. With all that QEMU
/// has, a question takes seven times as long (23 s to 3.2 s of processor time), for ONNX Runtime then
/// takes instructions whose vectors have no fixed length.
const PROCESSOR: &str = "cortex-a76";

/// What `cumo run --json` prints, as far as it is compared.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Answer {
    text: String,
    tokens: Vec<u32>,
}

/// What `cumo doctor --json` says of TensorRT.
#[derive(Debug, Deserialize)]
struct Doctor {
    tensorrt: Vec<Flavour>,
}

#[derive(Debug, Deserialize)]
struct Flavour {
    flavour: String,
    version: Option<String>,
    plugin: Option<PathBuf>,
    missing: Vec<String>,
}

/// Has the program of an unpacked package load its native libraries, asks it some of the sample's
/// questions, and this machine's program the same.
///
/// # Errors
/// What is needed cannot be fetched, a program fails, a library is not found, or an answer differs.
pub(super) fn run(
    workspace: &Workspace,
    target: Target,
    tools: &Tools,
    unpacked: &Path,
    libraries: &[NativeLibrary],
) -> Result<()> {
    let packaged = unpacked.join("usr/bin/cumo");
    let here = onnxruntime::ensure(workspace)?;
    let there = onnxruntime::ensure_for(workspace, target.arch())?;
    let prefix = prefix(workspace, target, tools)?;
    let programs = build_programs(workspace)?;
    let sample = workspace.root.join("samples/shapes");
    let bundle = workspace.target.join("test/package/shapes");
    let exporter = Command::new(programs.join("cumo-export"));
    let checkpoint = sample.join("checkpoint");
    process::run(&mut export::onnx(exporter, &checkpoint, &bundle, "ort-cpu"))?;
    let packaged_program = || {
        let mut words = prefix.iter().map(PathBuf::as_path).chain([packaged.as_path()]);
        let mut command = Command::new(words.next().unwrap_or(&packaged));
        command.args(words).env(onnxruntime::DYLIB_PATH, &there);
        command
    };
    process::run(packaged_program().arg("doctor"))?;
    let mut doctor = packaged_program();
    let tensorrt = workspace.native().join("tensorrt-rtx");
    if target.is_this_machine() && tensorrt.is_dir() {
        doctor.env("CUMO_TRT_LIBRARY", tensorrt);
    }
    let doctor: Doctor = serde_json::from_str(&process::read(doctor.args(["doctor", "--json"]))?)?;
    for library in libraries {
        println!("{}", loaded(&doctor, library, unpacked)?);
    }
    process::run(packaged_program().arg("verify").arg("--model").arg(&bundle))?;
    let start = Instant::now();
    for question in demo::choose(&sample, QUESTIONS)? {
        let image = sample.join("images").join(&question.image);
        let ask = |mut cumo: Command| -> Result<Answer> {
            cumo.arg("run").arg("--model").arg(&bundle).arg("--image").arg(&image);
            cumo.args(["--prompt", &question.text, "--temperature", "0", "--json"]);
            let output = process::read(&mut cumo)?;
            serde_json::from_str(&output).with_context(|| format!("printed {output}"))
        };
        let mut native = Command::new(programs.join("cumo"));
        native.env(onnxruntime::DYLIB_PATH, &here);
        let (ours, theirs) = (ask(native)?, ask(packaged_program())?);
        if ours != theirs {
            bail!("{}: {theirs:?} for {}, {ours:?} here", question.text, target.arch());
        }
        println!("{} | {} | {:?}", question.text, theirs.text.trim(), theirs.tokens);
    }
    println!(
        "{QUESTIONS} answers for {} have this machine's tokens ({:.0} s)",
        target.arch(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// That a shim of an unpacked package was loaded and, where TensorRT is here, the plugin too; a line
/// about it.
///
/// # Errors
/// They were not, or others were.
fn loaded(doctor: &Doctor, library: &NativeLibrary, unpacked: &Path) -> Result<String> {
    let of = |it: &&Flavour| library.place == format!("libcumo_trt_{}.so", it.flavour);
    let Some(found) = doctor.tensorrt.iter().find(of) else {
        let of = |it: &&Flavour| library.place == format!("{}/libcumo_plugin.so", it.flavour);
        let found = doctor.tensorrt.iter().find(of).context("cumo doctor does not know it")?;
        return match (&found.version, &found.plugin) {
            (None, _) => Ok(format!("{}: TensorRT is not here to load it", library.place)),
            (Some(_), Some(plugin)) if plugin.starts_with(unpacked) => {
                Ok(format!("{}: loaded", library.place))
            }
            _ => bail!("{} was not loaded: {found:?}", library.place),
        };
    };
    let reason = found.missing.first().map(String::as_str).unwrap_or_default();
    if found.version.is_none() && reason.contains(&library.place) {
        bail!("{} was not loaded: {reason}", library.place);
    }
    Ok(match &found.version {
        Some(version) => format!("{}: loaded, TensorRT {version}", library.place),
        None => format!("{}: loaded; {}", library.place, reason.lines().next().unwrap_or_default()),
    })
}

/// What a program for the target is started with: nothing on such a machine.
fn prefix(workspace: &Workspace, target: Target, tools: &Tools) -> Result<Vec<PathBuf>> {
    if target.is_this_machine() {
        return Ok(Vec::new());
    }
    let installed = Command::new("qemu-aarch64").arg("--version").output();
    let version = installed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let qemu = match version.ok().as_deref().and_then(qemu_version) {
        Some(version) if version >= OLDEST_QEMU => PathBuf::from("qemu-aarch64"),
        _ => debian::ensure(workspace, &QEMU)
            .context("no emulator for aarch64; on Debian and Ubuntu: apt-get install qemu-user")?
            .join("usr/bin/qemu-aarch64"),
    };
    Ok(vec![qemu, "-cpu".into(), PROCESSOR.into(), "-L".into(), tools.libraries.clone()])
}

/// Major and minor of `qemu-aarch64 version 10.0.2 (...)`.
fn qemu_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split_once("version ")?.1.split(['.', ' ']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Builds the programs for this machine as the tests do; gives their folder.
fn build_programs(workspace: &Workspace) -> Result<PathBuf> {
    let mut cargo = process::cargo();
    cargo.args(["build", "--locked", "--workspace", "--bins"]).current_dir(&workspace.root);
    process::run(&mut cargo)?;
    Ok(workspace.target.join("debug"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_emulators_version_is_read() {
        let text = "qemu-aarch64 version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright";
        assert_eq!(qemu_version(text), Some((10, 0)));
        assert!(qemu_version("qemu-aarch64 version 7.2.17 (x)").unwrap() < OLDEST_QEMU);
        assert_eq!(qemu_version("no"), None);
    }
}
