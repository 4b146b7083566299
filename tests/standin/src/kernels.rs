//! Kernels that a device would have compiled: which there are, as bytes too.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// Of a runtime: none before its first context.
#[derive(Default)]
pub(crate) struct Kernels(Mutex<Option<BTreeSet<String>>>);

/// How they are kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    stand_in_kernels: BTreeSet<String>,
}

impl Kernels {
    fn all(&self) -> MutexGuard<'_, Option<BTreeSet<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A context was made.
    pub(crate) fn begin(&self) {
        self.all().get_or_insert_default();
    }

    /// Takes those of an earlier process.
    ///
    /// # Errors
    /// Whether they came too late, and why they are not taken.
    pub(crate) fn load(&self, bytes: &[u8]) -> Result<(), (bool, String)> {
        let mut all = self.all();
        if all.is_some() {
            return Err((true, "the runtime has kernels".to_owned()));
        }
        let kept: Kept =
            serde_json::from_slice(bytes).map_err(|error| (false, error.to_string()))?;
        *all = Some(kept.stand_in_kernels);
        Ok(())
    }

    /// Bytes to keep, where there are kernels.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        let stand_in_kernels = self.all().clone().filter(|all| !all.is_empty())?;
        serde_json::to_vec(&Kept { stand_in_kernels }).ok()
    }

    /// Whether one had to be compiled.
    pub(crate) fn compile(&self, name: String) -> bool {
        self.all().get_or_insert_default().insert(name)
    }
}
