//! Loading TensorRT.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Error;
use crate::flavour::{self, Flavour};
use crate::handle::{self, LibraryHandle, Shim};

/// A loaded TensorRT. Cheap to clone; builders and runtimes keep it alive.
#[derive(Clone)]
pub struct Library {
    pub(crate) handle: Arc<LibraryHandle>,
    flavour: Flavour,
}

/// Where the libraries are. All that is not set is looked for.
#[derive(Debug, Clone, Default)]
pub struct LibraryPlaces {
    /// The folder of the shim. By default `$CUMO_TRT_SHIM`, then beside the program, `../lib` and
    /// `../native-build/shim` from there, then where the system's loader looks.
    pub shim: Option<PathBuf>,
    /// The folder of TensorRT's libraries. By default `$CUMO_TRT_LIBRARY`, then where the system's
    /// loader looks, then what `cargo xtask setup --tensorrt` fetched.
    pub tensorrt: Option<PathBuf>,
}

impl Library {
    /// Loads a flavour of TensorRT from the usual places. See [`LibraryPlaces`].
    ///
    /// # Errors
    /// [`Error::MissingShim`], [`Error::WrongShim`], [`Error::MissingLibrary`],
    /// [`Error::WrongLibrary`].
    pub fn open(flavour: Flavour) -> Result<Self, Error> {
        Self::open_at(flavour, &LibraryPlaces::default())
    }

    /// Loads a flavour of TensorRT.
    ///
    /// # Errors
    /// As [`Library::open`].
    pub fn open_at(flavour: Flavour, places: &LibraryPlaces) -> Result<Self, Error> {
        let shim = Shim::load(flavour, &flavour::shims(flavour, places.shim.as_deref()))?;
        let mut missing = Vec::new();
        for folder in flavour::libraries(flavour, places.tensorrt.as_deref()) {
            if let Some(fault) = damaged(flavour, folder.as_deref()) {
                missing.push(fault);
                continue;
            }
            match LibraryHandle::open(shim.clone(), folder.as_deref()) {
                Ok(handle) => return Ok(Library { handle, flavour }),
                Err(Error::MissingLibrary { reason }) => missing.push(reason),
                Err(error) => return Err(error),
            }
        }
        let what_to_do = "`cargo xtask setup --tensorrt` fetches what can be fetched; \
                          or name the folder in CUMO_TRT_LIBRARY";
        missing.push(what_to_do.to_owned());
        Err(Error::MissingLibrary { reason: missing.join("\n") })
    }

    /// The flavour that was asked for.
    #[must_use]
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// The version of the library, for example `10.16.1.11`.
    #[must_use]
    pub fn version(&self) -> String {
        self.handle.version()
    }

    /// The library's file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.handle.path()
    }

    /// Whether it builds engines; the lean runtime does not.
    #[must_use]
    pub fn can_build(&self) -> bool {
        self.handle.can_build()
    }

    /// Loads this project's plugins and gives their file; see [`Library::own_plugins`].
    ///
    /// # Errors
    /// [`Error::Plugin`] where there are none, or TensorRT refuses them.
    pub fn load_own_plugins(&self, named: Option<&Path>) -> Result<PathBuf, Error> {
        let file = self.own_plugins(named)?;
        self.load_plugins(&file)?;
        Ok(file)
    }

    /// The file of this project's plugins, which also has its kernels: `named`, or
    /// `$CUMO_TRT_PLUGIN`, or `libcumo_plugin.so` in a folder of the flavour's name: in `../plugin`
    /// beside the shim that `$CUMO_TRT_SHIM` names, in `../lib/cumo-edge` beside the program, or
    /// where `cargo xtask native` builds.
    ///
    /// # Errors
    /// [`Error::Plugin`] where there is none.
    pub fn own_plugins(&self, named: Option<&Path>) -> Result<PathBuf, Error> {
        let candidates = flavour::plugins(self.flavour, named);
        // The loader would look for a bare name elsewhere.
        let candidates: Vec<PathBuf> =
            candidates.into_iter().map(|file| std::path::absolute(&file).unwrap_or(file)).collect();
        let Some(file) = candidates.iter().find(|file| file.is_file()) else {
            let looked = candidates.iter().map(|file| file.display().to_string());
            let reason = format!(
                "libcumo_plugin.so for TensorRT {} was not found\n\
                 build it with `cargo xtask native`, or where cumo is installed with `sudo sh \
                 /usr/share/cumo-edge/native/build.sh`, or name it in CUMO_TRT_PLUGIN\n\
                 looked for: {}",
                self.flavour,
                looked.collect::<Vec<_>>().join(", ")
            );
            return Err(Error::Plugin { reason });
        };
        Ok(file.clone())
    }

    /// Loads the plugins of a shared object, for every builder and runtime of this process. A
    /// second time there is nothing to do.
    ///
    /// # Errors
    /// [`Error::Plugin`].
    pub fn load_plugins(&self, path: &Path) -> Result<(), Error> {
        check_plugin(path)?;
        self.handle.load_plugins(path)
    }

    /// The layout version of the engines that this project's plugins in a shared object make and
    /// read.
    ///
    /// # Errors
    /// [`Error::Plugin`] where it does not say.
    pub fn plugin_layout(&self, path: &Path) -> Result<u32, Error> {
        check_plugin(path)?;
        handle::layout_version(path)
    }

    /// Judges the bytes of an engine by their header, on a machine without a device: whether they
    /// are an engine of this version, not whether a device can run it.
    ///
    /// # Errors
    /// [`Error::WrongEngine`]; [`Error::Unsupported`] but for [`Flavour::Rtx`].
    pub fn check_engine(&self, engine: &[u8]) -> Result<(), Error> {
        self.handle.check_engine(engine)
    }
}

/// What is wrong with one of TensorRT's files in a folder; none where nothing is, or none is there:
/// that, the shim tells.
fn damaged(flavour: Flavour, folder: Option<&Path>) -> Option<String> {
    let names = flavour.library_names().iter().map(Path::new);
    let files = names.map(|name| folder.map_or_else(|| name.to_owned(), |it| it.join(name)));
    let mut there = files.filter(|file| folder.is_none() || file.exists());
    there.find_map(|file| {
        let fault = cumo_shared_object::check(&file).err()?;
        Some(format!("cannot load TensorRT: {} {fault}", file.display()))
    })
}

/// Keeps the loader from a file that would end the process.
pub(crate) fn check_plugin(path: &Path) -> Result<(), Error> {
    cumo_shared_object::check(path)
        .map_err(|fault| Error::Plugin { reason: format!("the plugin {} {fault}", path.display()) })
}
