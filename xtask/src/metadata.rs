//! `cargo metadata`: the packages of the lock file and what depends on what.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process;
use crate::workspace::Workspace;

/// What `cargo metadata` says, as far as it is used here. All platforms and features of the lock
/// file are in it.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

/// A package of the lock file.
#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// An SPDX expression.
    pub(crate) license: Option<String>,
    pub(crate) license_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) manifest_path: PathBuf,
    /// What its manifest asks for.
    #[serde(default)]
    pub(crate) dependencies: Vec<Declared>,
    /// Its features, and what each turns on.
    #[serde(default)]
    pub(crate) features: BTreeMap<String, Vec<String>>,
}

/// A dependency as a manifest asks for it.
#[derive(Deserialize)]
pub(crate) struct Declared {
    pub(crate) name: String,
    /// None for a normal dependency, or `build`, or `dev`.
    pub(crate) kind: Option<String>,
    pub(crate) features: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// None for a normal dependency, or `build`, or `dev`.
    kind: Option<String>,
}

impl Metadata {
    /// Reads the workspace's metadata from the lock file as it is.
    ///
    /// # Errors
    /// The lock file is missing or stale, or cargo fails.
    pub(crate) fn read(workspace: &Workspace) -> Result<Self> {
        let mut cargo = process::cargo();
        cargo.args(["metadata", "--locked", "--format-version", "1"]).current_dir(&workspace.root);
        let text = process::read(&mut cargo)?;
        serde_json::from_str(&text).context("output of `cargo metadata`")
    }

    /// Whether a package is one of ours.
    pub(crate) fn is_member(&self, package: &Package) -> bool {
        self.workspace_members.contains(&package.id)
    }

    /// Our packages.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.is_member(package))
    }

    /// Packages that a package needs to be built and run, directly; not those of its tests.
    pub(crate) fn dependencies(&self, package: &Package) -> Vec<&Package> {
        let by_id = self.by_id();
        self.edges().get(package.id.as_str()).map_or_else(Vec::new, |ids| {
            ids.iter().filter_map(|id| by_id.get(id).copied()).collect()
        })
    }

    /// Packages that a package needs to be built and run, directly or not, without itself.
    pub(crate) fn closure(&self, package: &Package) -> Vec<&Package> {
        let edges = self.edges();
        let mut seen = BTreeSet::from([package.id.as_str()]);
        let mut open = vec![package.id.as_str()];
        while let Some(id) = open.pop() {
            for dependency in edges.get(id).into_iter().flatten() {
                if seen.insert(dependency) {
                    open.push(dependency);
                }
            }
        }
        seen.remove(package.id.as_str());
        let by_id = self.by_id();
        seen.iter().filter_map(|id| by_id.get(id).copied()).collect()
    }

    fn by_id(&self) -> HashMap<&str, &Package> {
        self.packages.iter().map(|package| (package.id.as_str(), package)).collect()
    }

    fn edges(&self) -> HashMap<&str, Vec<&str>> {
        let needed = |dependency: &&Dependency| {
            dependency.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev"))
        };
        self.resolve
            .nodes
            .iter()
            .map(|node| {
                let ids = node.deps.iter().filter(needed).map(|d| d.pkg.as_str()).collect();
                (node.id.as_str(), ids)
            })
            .collect()
    }
}
