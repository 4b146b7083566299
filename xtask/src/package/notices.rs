//! Licences: the package's own, and those of everything that is linked into the program.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result};

use crate::metadata::Metadata;

/// The file `copyright`, in Debian's format.
pub(super) fn copyright(with_native: bool) -> String {
    let mut text = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: CuMo Edge

Files: *
Copyright: the authors of CuMo Edge
License: Apache-2.0
 On Debian systems, the text of the licence is in
 /usr/share/common-licenses/Apache-2.0.
Comment:
 The program holds libraries by other authors; their names, licences and
 licence texts are in third-party.gz beside this file.
"
    .to_owned();
    if with_native {
        text.push_str(
            " .\n The files /usr/lib/cumo-edge/*/libcumo_plugin.so hold NVIDIA's CUDA runtime\n \
             (libcudart_static), under the terms of the CUDA Toolkit's licence for\n \
             redistributable software.\n",
        );
    }
    text
}

/// Names, versions, licences and licence texts of all packages that programs may bring in, on any
/// platform and with any feature; each text once. `programs`: their crates.
///
/// # Errors
/// The workspace has no such crate, or a package's folder cannot be read.
pub(super) fn third_party(metadata: &Metadata, programs: &[&str]) -> Result<String> {
    let mut packages = Vec::new();
    for program in programs {
        let found = metadata.members().find(|package| package.name == *program);
        packages.extend(metadata.closure(found.with_context(|| format!("no package {program}"))?));
    }
    packages.retain(|package| !metadata.is_member(package));
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    packages.dedup_by(|a, b| (&a.name, &a.version) == (&b.name, &b.version));
    let mut list =
        String::from("Libraries in the programs of this package, and their licences.\n\n");
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages {
        let name = format!("{} {}", package.name, package.version);
        writeln!(list, "{name}: {}", package.license.as_deref().unwrap_or("see its text"))?;
        let folder = package.manifest_path.parent().context("a manifest has no folder")?;
        // What is not fetched for this platform is not in the program.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let file = entry.file_name().to_string_lossy().to_uppercase();
            let is_licence = ["LICEN", "COPYING", "NOTICE", "UNLICENSE", "COPYRIGHT"];
            if is_licence.iter().any(|start| file.starts_with(start)) && entry.path().is_file() {
                let text = String::from_utf8_lossy(&fs::read(entry.path())?).replace('\r', "");
                texts.entry(text.trim().to_owned()).or_default().push(name.clone());
            }
        }
    }
    let mut texts: Vec<(Vec<String>, String)> =
        texts.into_iter().map(|(text, names)| (names, text)).collect();
    texts.sort();
    for (mut names, text) in texts {
        names.dedup();
        let line = "-".repeat(80);
        write!(list, "\n{line}\n{}\n{line}\n\n{text}\n", names.join(", "))?;
    }
    Ok(list)
}
