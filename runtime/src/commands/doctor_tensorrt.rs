//! `cumo doctor`: the TensorRTs of this machine and the devices that they see.

use std::path::PathBuf;

use serde::Serialize;

/// A flavour of TensorRT, as `--json` has it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct TensorrtReport {
    flavour: &'static str,
    version: Option<String>,
    path: Option<PathBuf>,
    plugin: Option<PathBuf>,
    devices: Vec<DeviceReport>,
    missing: Vec<String>,
}

impl TensorrtReport {
    fn runs_engines(&self) -> bool {
        self.path.is_some() && !self.devices.is_empty()
    }
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct DeviceReport {
    device: usize,
    name: String,
    compute_capability: i32,
    total_bytes: u64,
}

/// Kernels that TensorRT-RTX compiled and that are kept for later starts.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct KernelsReport {
    /// None: they are not kept.
    folder: Option<PathBuf>,
    files: usize,
    bytes: u64,
    /// Files that are being written, or that killed programs left.
    unfinished_files: usize,
    unfinished_bytes: u64,
}

impl KernelsReport {
    pub(super) fn for_people(&self) -> String {
        let kept = match (&self.folder, self.files) {
            (None, _) => "none are kept: CUMO_CACHE_DIR is empty, or HOME is not set".to_owned(),
            (Some(folder), _) if !folder.is_dir() && folder.symlink_metadata().is_ok() => {
                format!("none can be kept: {} is no folder", folder.display())
            }
            (Some(folder), 0) => format!("none yet ({})", folder.display()),
            (Some(folder), files) => {
                let (files, size) = (counted(files), size(self.bytes));
                format!("{files}, {size} ({})", folder.display())
            }
        };
        let unfinished = match self.unfinished_files {
            0 => String::new(),
            files => format!(
                "; {files} unfinished files, {}, are removed an hour after they were begun",
                size(self.unfinished_bytes)
            ),
        };
        format!("kept kernels  {kept}{unfinished}")
    }
}

fn counted(files: usize) -> String {
    match files {
        1 => "1 file".to_owned(),
        files => format!("{files} files"),
    }
}

/// Megabytes, or kilobytes of what is less than one.
fn size(bytes: u64) -> String {
    match bytes as f64 {
        few if few < 999_950.0 => format!("{:.1} kB", few * 1e-3),
        many => format!("{:.1} MB", many * 1e-6),
    }
}

/// Where kernels are kept, and what is there.
#[cfg(feature = "tensorrt")]
pub(super) fn kernels() -> Option<KernelsReport> {
    use cumo_runtime::backends::tensorrt::{kept_kernels, kernel_folder, unfinished_kernels};
    let folder = kernel_folder(|name| std::env::var_os(name));
    let (files, bytes) = folder.as_deref().map(kept_kernels).unwrap_or_default();
    let (unfinished_files, unfinished_bytes) =
        folder.as_deref().map(unfinished_kernels).unwrap_or_default();
    Some(KernelsReport { folder, files, bytes, unfinished_files, unfinished_bytes })
}

/// This program was built without TensorRT.
#[cfg(not(feature = "tensorrt"))]
pub(super) fn kernels() -> Option<KernelsReport> {
    None
}

/// Every flavour that this program looks for.
#[cfg(feature = "tensorrt")]
pub(super) fn find() -> Vec<TensorrtReport> {
    let report = |found: cumo_runtime::backends::tensorrt::TensorrtFound| {
        let (version, path) = found.library.unzip();
        let devices = found.devices.into_iter();
        TensorrtReport {
            flavour: found.flavour,
            version,
            path,
            plugin: found.plugin,
            devices: devices
                .map(|(device, name, compute_capability, total_bytes)| DeviceReport {
                    device,
                    name,
                    compute_capability,
                    total_bytes,
                })
                .collect(),
            missing: found.missing,
        }
    };
    cumo_runtime::backends::tensorrt::find_tensorrt().into_iter().map(report).collect()
}

/// This program was built without TensorRT.
#[cfg(not(feature = "tensorrt"))]
pub(super) fn find() -> Vec<TensorrtReport> {
    Vec::new()
}

/// Whether engines of some flavour can run.
pub(super) fn runs_engines(found: &[TensorrtReport]) -> bool {
    found.iter().any(TensorrtReport::runs_engines)
}

/// Which engines can run; otherwise what is missing for it.
pub(super) fn verdict(found: &[TensorrtReport]) -> String {
    let names = |is_meant: fn(&TensorrtReport) -> bool| {
        let meant = found.iter().filter(|it| is_meant(it));
        meant.map(|it| it.flavour).collect::<Vec<_>>().join(", ")
    };
    let (running, libraries) = (names(TensorrtReport::runs_engines), names(|it| it.path.is_some()));
    let without_plugin = names(|it| it.runs_engines() && it.plugin.is_none());
    match (running.as_str(), libraries.as_str(), without_plugin.as_str()) {
        ("", _, _) if cfg!(not(feature = "tensorrt")) => {
            "Engines cannot run: this program was built without TensorRT.".to_owned()
        }
        ("", "", _) => "Engines cannot run: TensorRT or its shim is missing.".to_owned(),
        ("", libraries, _) => format!("Engines cannot run: TensorRT {libraries} has no device."),
        (running, _, "") => format!("Engines of TensorRT {running} can run."),
        (running, _, without) => format!(
            "Engines of TensorRT {running} can run; of {without} only those without nodes of \
             CumoMoE's plugin, which is missing."
        ),
    }
}

/// A line a flavour that is there, and one a device.
pub(super) fn for_people(found: &[TensorrtReport]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut told: Vec<&str> = Vec::new();
    for TensorrtReport { flavour, version, path, plugin, devices, missing } in found {
        let (Some(version), Some(path)) = (version, path) else { continue };
        let plugin = if plugin.is_some() { "" } else { ", without CumoMoE's plugin" };
        lines.push(format!("TensorRT {flavour:<4} {version} ({}){plugin}", path.display()));
        for device in devices {
            let (number, name, capability) =
                (device.device, &device.name, device.compute_capability);
            let gib = device.total_bytes as f64 / (1_u64 << 30) as f64;
            let (major, minor) = (capability / 10, capability % 10);
            lines.push(format!("  device {number}    {name} ({major}.{minor}), {gib:.1} GiB"));
        }
        // The first line says what; the rest is where it was looked for. One driver is missing for
        // all flavours.
        for reason in missing.iter().filter_map(|reason| reason.lines().next()) {
            if !told.contains(&reason) {
                lines.push(format!("  missing     {reason}"));
                told.push(reason);
            }
        }
    }
    if lines.is_empty() {
        lines.push("TensorRT      none".to_owned());
        lines.extend(why_none(found));
    }
    lines
}

/// Why there is no TensorRT, a line a flavour: the first one says what is missing. What to do, and
/// where it was looked for, is often the same for all of them, and told once.
fn why_none(found: &[TensorrtReport]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest: Vec<&str> = Vec::new();
    for TensorrtReport { flavour, missing, .. } in found {
        let mut reasons = missing.first().map(|reason| reason.lines()).into_iter().flatten();
        lines.extend(reasons.next().map(|reason| format!("  {flavour:<11} {reason}")));
        for line in reasons {
            if !rest.contains(&line) {
                rest.push(line);
            }
        }
    }
    lines.extend(rest.into_iter().map(|line| format!("  {line}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_listed_with_its_devices_and_what_it_lacks() {
        let report = |version: Option<&str>| TensorrtReport {
            flavour: "rtx",
            version: version.map(str::to_owned),
            path: version.map(|_| "/lib/x.so".into()),
            plugin: None,
            devices: vec![DeviceReport {
                device: 0,
                name: "Orin".to_owned(),
                compute_capability: 87,
                total_bytes: 8 << 30,
            }],
            missing: vec!["no plugin\nlooked at".to_owned()],
        };
        assert_eq!(
            for_people(&[report(None), report(Some("1.7"))]),
            [
                "TensorRT rtx  1.7 (/lib/x.so), without CumoMoE's plugin",
                "  device 0    Orin (8.7), 8.0 GiB",
                "  missing     no plugin",
            ]
        );
        let none = ["TensorRT      none", "  rtx         no plugin", "  looked at"];
        assert_eq!(for_people(&[report(None)]), none);
        assert_eq!(for_people(&[]), ["TensorRT      none"]);
        let twice = for_people(&[report(Some("1.7")), report(Some("1.8"))]);
        let missing = twice.iter().filter(|line| line.contains("missing"));
        assert_eq!((twice.len(), missing.count()), (5, 1), "{twice:?}");
    }

    #[test]
    fn what_to_do_about_missing_tensorrts_is_told_once() {
        let report = |flavour: &'static str| TensorrtReport {
            flavour,
            version: None,
            path: None,
            plugin: None,
            devices: Vec::new(),
            missing: vec![format!("shim {flavour} was not found\nbuild it\nlooked in: /lib")],
        };
        assert_eq!(
            for_people(&[report("rtx"), report("11"), report("10")]),
            [
                "TensorRT      none",
                "  rtx         shim rtx was not found",
                "  11          shim 11 was not found",
                "  10          shim 10 was not found",
                "  build it",
                "  looked in: /lib",
            ]
        );
    }

    #[cfg(feature = "tensorrt")]
    #[test]
    fn engines_run_where_a_tensorrt_has_a_device() {
        let report = |flavour, is_there: bool, has_plugin: bool, has_device: bool| {
            let device = || DeviceReport {
                device: 0,
                name: "Orin".to_owned(),
                compute_capability: 87,
                total_bytes: 8 << 30,
            };
            TensorrtReport {
                flavour,
                version: is_there.then(|| "1.7".to_owned()),
                path: is_there.then(|| "/lib/x.so".into()),
                plugin: has_plugin.then(|| "/lib/plugin.so".into()),
                devices: has_device.then(device).into_iter().collect(),
                missing: Vec::new(),
            }
        };
        let cases: [(&[TensorrtReport], bool, &str); 5] = [
            (&[], false, "Engines cannot run: TensorRT or its shim is missing."),
            (
                &[report("rtx", false, false, false)],
                false,
                "Engines cannot run: TensorRT or its shim is missing.",
            ),
            (
                &[report("rtx", true, true, false), report("10", false, false, false)],
                false,
                "Engines cannot run: TensorRT rtx has no device.",
            ),
            (
                &[report("rtx", false, false, false), report("10", true, true, true)],
                true,
                "Engines of TensorRT 10 can run.",
            ),
            (
                &[report("rtx", true, false, true), report("10", true, true, true)],
                true,
                "Engines of TensorRT rtx, 10 can run; of rtx only those without nodes of CumoMoE's \
                 plugin, which is missing.",
            ),
        ];
        for (found, runs, says) in cases {
            assert_eq!((runs_engines(found), verdict(found).as_str()), (runs, says));
        }
    }

    #[test]
    fn kept_kernels_are_told_with_their_place_and_size() {
        let whole = |folder: Option<&str>, files, bytes, unfinished_files| KernelsReport {
            folder: folder.map(PathBuf::from),
            files,
            bytes,
            unfinished_files,
            unfinished_bytes: 1_000_000,
        };
        let report = |folder, files, bytes| whole(folder, files, bytes, 0).for_people();
        let left = whole(Some("/c"), 0, 0, 3).for_people();
        assert!(
            left.starts_with("kept kernels  none yet (/c); 3 unfinished files, 1.0 MB"),
            "{left}"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(report(file.path().to_str(), 0, 0).ends_with("is no folder"));
        assert_eq!(report(Some("/c"), 2, 12_340_000), "kept kernels  2 files, 12.3 MB (/c)");
        assert_eq!(report(Some("/c"), 5, 1_570), "kept kernels  5 files, 1.6 kB (/c)");
        assert_eq!(report(Some("/c"), 1, 999_960), "kept kernels  1 file, 1.0 MB (/c)");
        assert_eq!(report(Some("/c"), 0, 0), "kept kernels  none yet (/c)");
        assert!(report(None, 0, 0).contains("none are kept"));
    }
}
