//! The workspace as cargo sees it: its packages, their dependencies, features and roots.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What `cargo metadata` says, read once.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
    /// Every package of the graph, in cargo's order; ours are those whose `manifest` lies under `root`.
    packages: Vec<Package>,
}

impl Workspace {
    /// Asks the cargo that built this crate, without the network.
    ///
    /// # Errors
    ///
    /// [`WorkspaceError`] if cargo cannot be started, fails, or answers in another shape than its format version 1.
    pub fn read() -> Result<Self, WorkspaceError> {
        let answer = cargo(&["metadata", "--format-version", "1", "--offline", "--all-features"])?;
        let answer: Value = serde_json::from_str(&answer)?;
        let root = PathBuf::from(text(&answer, "workspace_root")?);
        let packages = list(&answer, "packages")?
            .iter()
            .map(Package::read)
            .collect::<Result<_, _>>()?;
        Ok(Self { root, packages })
    }

    /// The folder of the root manifest.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The packages written here, as opposed to those that come from a registry.
    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.is_local)
    }

    /// The package of this name, ours or not; with more than one version in the graph, the one asked for.
    pub fn package(&self, name: &str, version: &str) -> Option<&Package> {
        self.packages
            .iter()
            .find(|package| package.name == name && package.version == version)
    }

    /// What `package` is built from when it is built alone: itself and all its normal dependencies with the features that
    /// are then on. Procedural macros and build scripts are left out, since nothing of them stays in the result.
    ///
    /// # Errors
    ///
    /// [`WorkspaceError`] as for [`Workspace::read`].
    pub fn built_into(&self, package: &str) -> Result<Vec<Part>, WorkspaceError> {
        let tree = cargo(&[
            "tree",
            "--offline",
            "--package",
            package,
            "--edges",
            "normal,no-proc-macro",
            "--no-dedupe",
            "--prefix",
            "none",
            "--format",
            "{p}|{f}",
        ])?;
        let mut parts = tree
            .lines()
            .filter(|line| !line.is_empty())
            .map(|line| {
                Part::read(line).ok_or_else(|| WorkspaceError::Shape {
                    expected: line.to_owned(),
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        parts.sort();
        parts.dedup();
        Ok(parts)
    }
}

/// One package: a crate of ours or one from the registry.
#[derive(Debug)]
pub struct Package {
    /// Its name, as written in its manifest.
    pub name: String,
    /// Its version in full.
    pub version: String,
    /// Its manifest's path.
    pub manifest: PathBuf,
    /// Whether it is written here.
    pub is_local: bool,
    /// What it asks for, in all three kinds.
    pub dependencies: Vec<Dependency>,
    /// Its features' names, without `default`.
    pub features: Vec<String>,
    /// The roots of what is built from it: libraries, binaries, tests, benches, examples, build script.
    pub roots: Vec<Root>,
}

impl Package {
    /// The root of its library; `None` for a package of binaries only.
    pub fn library(&self) -> Option<&Path> {
        self.roots
            .iter()
            .find(|root| root.kind == "lib")
            .map(|root| root.path.as_path())
    }

    /// The folder its manifest is in.
    pub fn folder(&self) -> &Path {
        self.manifest.parent().unwrap_or(&self.manifest)
    }

    fn read(value: &Value) -> Result<Self, WorkspaceError> {
        let features = value["features"]
            .as_object()
            .ok_or_else(|| shape("packages[].features"))?;
        Ok(Self {
            name: text(value, "name")?.to_owned(),
            version: text(value, "version")?.to_owned(),
            manifest: PathBuf::from(text(value, "manifest_path")?),
            is_local: value["source"].is_null(),
            dependencies: list(value, "dependencies")?
                .iter()
                .map(Dependency::read)
                .collect::<Result<_, _>>()?,
            features: features.keys().filter(|name| *name != "default").cloned().collect(),
            roots: list(value, "targets")?
                .iter()
                .map(Root::read)
                .collect::<Result<_, _>>()?,
        })
    }
}

/// One line of a manifest's dependencies.
#[derive(Debug)]
pub struct Dependency {
    /// The package asked for.
    pub name: String,
    /// What for.
    pub kind: Kind,
}

impl Dependency {
    fn read(value: &Value) -> Result<Self, WorkspaceError> {
        let kind = match value["kind"].as_str() {
            None => Kind::Normal,
            Some("dev") => Kind::Development,
            Some("build") => Kind::Build,
            Some(_) => return Err(shape("packages[].dependencies[].kind")),
        };
        Ok(Self {
            name: text(value, "name")?.to_owned(),
            kind,
        })
    }
}

/// What a dependency is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Linked into the crate.
    Normal,
    /// Linked into its tests, benches and examples.
    Development,
    /// Linked into its build script.
    Build,
}

/// The source file that one target of a package starts from.
#[derive(Debug)]
pub struct Root {
    /// `lib`, `bin`, `test`, `bench`, `example`, `custom-build` or `proc-macro`. Other forms of library count as `lib`.
    pub kind: String,
    /// Where the file is.
    pub path: PathBuf,
}

impl Root {
    fn read(value: &Value) -> Result<Self, WorkspaceError> {
        let kind = list(value, "kind")?
            .first()
            .and_then(Value::as_str)
            .ok_or_else(|| shape("packages[].targets[].kind"))?;
        let kind = if kind.ends_with("lib") { "lib" } else { kind };
        Ok(Self {
            kind: kind.to_owned(),
            path: PathBuf::from(text(value, "src_path")?),
        })
    }
}

/// One package inside another's build, with the features that are on there.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its version in full.
    pub version: String,
    /// The features that are on.
    pub features: Vec<String>,
}

impl Part {
    /// Reads `name v1.2.3 (place)|feature,feature`; the place is only there for a package of ours.
    fn read(line: &str) -> Option<Self> {
        let (package, features) = line.split_once('|')?;
        let mut words = package.split(' ');
        let name = words.next()?.to_owned();
        let version = words.next()?.strip_prefix('v')?.to_owned();
        let features = features
            .split(',')
            .filter(|feature| !feature.is_empty())
            .map(str::to_owned)
            .collect();
        Some(Self {
            name,
            version,
            features,
        })
    }
}

/// Why the workspace could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkspaceError {
    /// Cargo is not there, or may not be started.
    #[error("cargo could not be started")]
    Start(#[from] io::Error),
    /// Cargo started and failed.
    #[error("cargo {subcommand} failed: {stderr}")]
    Failed {
        /// The subcommand that failed.
        subcommand: String,
        /// What it wrote to standard error.
        stderr: String,
    },
    /// Cargo's answer is not JSON.
    #[error("the answer of cargo metadata is not JSON")]
    Json(#[from] serde_json::Error),
    /// Cargo's answer lacks something, or has it in another form.
    #[error("the answer of cargo is not of the expected form at {expected}")]
    Shape {
        /// The field that was looked for.
        expected: String,
    },
}

/// Runs the cargo that built this crate and gives back what it wrote to standard output.
fn cargo(arguments: &[&str]) -> Result<String, WorkspaceError> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let (subcommand, rest) = arguments.split_first().ok_or_else(|| shape("a subcommand"))?;
    let output = Command::new(env!("CARGO"))
        .arg(subcommand)
        .arg("--manifest-path")
        .arg(manifest)
        .args(rest)
        .output()?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(WorkspaceError::Failed {
            subcommand: (*subcommand).to_owned(),
            stderr,
        })
    }
}

fn text<'v>(value: &'v Value, field: &str) -> Result<&'v str, WorkspaceError> {
    value[field].as_str().ok_or_else(|| shape(field))
}

fn list<'v>(value: &'v Value, field: &str) -> Result<&'v [Value], WorkspaceError> {
    value[field].as_array().map(Vec::as_slice).ok_or_else(|| shape(field))
}

fn shape(expected: &str) -> WorkspaceError {
    WorkspaceError::Shape {
        expected: expected.to_owned(),
    }
}
