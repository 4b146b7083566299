//! What a plugin's library says of itself.

use std::path::Path;

use super::chain;
use crate::error::Error;

/// The layout version of the engines that a plugin's library makes and reads.
pub(crate) fn layout_version(path: &Path) -> Result<u32, Error> {
    let refused = |error: &libloading::Error| Error::Plugin {
        reason: format!("{} is not this project's plugin: {}", path.display(), chain(error)),
    };
    // SAFETY: what loading the file does is its maker's promise, as `Library` says to who names it;
    // TensorRT has loaded it before, or loads it next.
    let library = unsafe { libloading::Library::new(path) }.map_err(|error| refused(&error))?;
    // SAFETY: the function has this type in every plugin of this project that has it.
    let version = unsafe {
        library
            .get::<unsafe extern "C" fn() -> i32>(c"cumo_plugin_layout_version".to_bytes_with_nul())
    };
    // SAFETY: nothing is passed, the library is still loaded, and the function gives a constant.
    let version = version.map(|version| unsafe { version() }).map_err(|error| refused(&error))?;
    u32::try_from(version).map_err(|_| Error::Plugin {
        reason: format!("{} has layout version {version}", path.display()),
    })
}
