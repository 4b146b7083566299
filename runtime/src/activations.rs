//! Memory of the tensors that steps hand to each other, by name.

use std::collections::BTreeMap;

use cumo_bundle::Dtype;

use crate::backend::{Backend, Buffer};
use crate::error::Error;

/// Every activation of the phases that were loaded. One of a name is one tensor, whichever phase
/// makes or reads it.
#[derive(Debug, Default)]
pub(crate) struct Activations {
    names: BTreeMap<String, usize>,
    all: Vec<Activation>,
}

#[derive(Debug)]
struct Activation {
    name: String,
    dtype: Dtype,
    buffer: Option<Buffer>,
    bytes: usize,
    /// Its memory was made since [`Activations::grown`] was last asked.
    grown: bool,
    /// The shape it was last bound with.
    shape: Vec<usize>,
}

/// An activation that has memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    pub(crate) dtype: Dtype,
    pub(crate) buffer: Buffer,
    pub(crate) bytes: usize,
}

impl Activations {
    /// The index of an activation, which is new or of this type already.
    ///
    /// # Errors
    /// [`Error::ActivationTypes`].
    pub(crate) fn add(&mut self, name: &str, dtype: Dtype) -> Result<usize, Error> {
        if let Some(index) = self.names.get(name).copied() {
            let first = self.all[index].dtype;
            return match first == dtype {
                true => Ok(index),
                false => {
                    Err(Error::ActivationTypes { name: name.to_owned(), first, second: dtype })
                }
            };
        }
        let index = self.all.len();
        self.names.insert(name.to_owned(), index);
        self.all.push(Activation {
            name: name.to_owned(),
            dtype,
            buffer: None,
            bytes: 0,
            grown: false,
            shape: Vec::new(),
        });
        Ok(index)
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Sees to it that an activation has memory for `elements`.
    pub(crate) fn make_room(
        &mut self,
        backend: &mut dyn Backend,
        index: usize,
        elements: usize,
    ) -> Result<(), Error> {
        let activation = &mut self.all[index];
        let bytes = elements.saturating_mul(activation.dtype.size());
        if activation.buffer.is_some() && bytes <= activation.bytes {
            return Ok(());
        }
        if let Some(smaller) = activation.buffer.take() {
            backend.release(smaller);
        }
        activation.buffer = Some(backend.allocate(bytes)?);
        (activation.bytes, activation.grown) = (bytes, true);
        Ok(())
    }

    /// The memory of an activation, if it was made anew since the last time this was asked.
    pub(crate) fn grown(&mut self, name: &str) -> Option<Placed> {
        let activation = &mut self.all[*self.names.get(name)?];
        std::mem::take(&mut activation.grown).then_some(())?;
        activation.placed()
    }

    /// An activation's memory.
    ///
    /// # Errors
    /// [`Error::NoActivation`].
    pub(crate) fn require(&self, name: &str) -> Result<Placed, Error> {
        let found = self.names.get(name).and_then(|index| self.all[*index].placed());
        found.ok_or_else(|| Error::NoActivation(name.to_owned()))
    }

    /// An activation's type.
    ///
    /// # Errors
    /// [`Error::NoActivation`] where the phases that were loaded have none of this name.
    pub(crate) fn dtype(&self, name: &str) -> Result<Dtype, Error> {
        let found = self.find(name).map(|index| self.all[index].dtype);
        found.ok_or_else(|| Error::NoActivation(name.to_owned()))
    }

    /// The memory of the activation of this index.
    ///
    /// # Errors
    /// [`Error::NoActivation`] where none was made.
    pub(crate) fn buffer(&self, index: usize) -> Result<Buffer, Error> {
        let activation = &self.all[index];
        activation.buffer.ok_or_else(|| Error::NoActivation(activation.name.clone()))
    }

    /// The shape that an activation was last bound with; empty where it never was.
    pub(crate) fn shape(&self, name: &str) -> &[usize] {
        self.names.get(name).map_or(&[], |index| &self.all[*index].shape)
    }

    /// Notes the shape that an activation is bound with.
    pub(crate) fn set_shape(&mut self, index: usize, shape: &[usize]) {
        let own = &mut self.all[index].shape;
        own.clear();
        own.extend_from_slice(shape);
    }
}

impl Activation {
    fn placed(&self) -> Option<Placed> {
        let (dtype, bytes) = (self.dtype, self.bytes);
        self.buffer.map(|buffer| Placed { dtype, buffer, bytes })
    }
}
