//! The TensorRT backend as the executor sees it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::fault::during;
use super::loaded::LoadedEngine;
use super::memory::{Given, contexts_of};
use super::recorder::Part;
use super::step::Step;
use super::{TensorrtBackend, Weights, no_step, weights};
use crate::backend::{
    Action, Backend, BackendError, BackendFacts, BackendLimits, Buffer, DeviceFacts, Interrupt,
    Port, RowWrite, Rows, StepId, StepSpec, View,
};

/// What the contexts of a step keep.
fn persistent_bytes(engines: &[LoadedEngine], step: &Step) -> u64 {
    contexts_of(&step.graph, engines.iter().map(|loaded| &loaded.entry)).1
}

impl Backend for TensorrtBackend {
    fn facts(&self) -> BackendFacts {
        BackendFacts {
            library: self.library.0.clone(),
            version: self.library.1.clone(),
            threads: None,
            device: Some(DeviceFacts {
                name: self.device.name.clone(),
                compute_capability: u32::try_from(self.device.compute_capability)
                    .unwrap_or_default(),
                total_bytes: self.device.total_bytes,
                peak_bytes: self.ledger.peak(),
                pci_bus_id: self.device.pci_bus_id.clone(),
                kernels: self.compiled.facts(),
            }),
        }
    }

    fn limits(&self) -> BackendLimits {
        self.limits
    }

    fn allocate(&mut self, bytes: usize) -> Result<Buffer, BackendError> {
        let doing = format!("allocating {bytes} bytes");
        let place = self.runtime.buffer(bytes as u64).map_err(during(&doing))?;
        self.stream.fill(&place, 0).map_err(during(&doing))?;
        self.ledger.take(place.bytes());
        Ok(self.keep(place, false))
    }

    fn map(&mut self, file: &Path) -> Result<Buffer, BackendError> {
        if self.options.weights == Weights::InPlace {
            let place = weights::map(file, &self.runtime)?;
            self.ledger.take(place.bytes());
            return Ok(self.keep(place, true));
        }
        let (runtime, stream, staging) = (&self.runtime, &self.stream, &mut self.staging);
        let place = weights::upload(file, runtime, stream, staging, &self.options.progress)?;
        self.ledger.take(place.bytes());
        Ok(self.keep(place, true))
    }

    fn release(&mut self, buffer: Buffer) {
        let Some(Given { place, .. }) = self.buffers.take(buffer) else { return };
        // What is on the stream may use it; where the device is lost, nothing does.
        drop(self.stream.synchronize());
        let addresses = place.address()..place.address() + place.bytes().max(1);
        for (index, step) in self.steps.iter_mut().enumerate() {
            // A recorded pass keeps its memory.
            if step.uses(&addresses) {
                self.recorder.forget(StepId(index));
            }
            step.let_go(buffer, &addresses);
        }
        self.recorder.forget_memory(buffer);
        self.ledger.give_back(place.bytes());
    }

    fn write(&mut self, buffer: Buffer, offset: usize, bytes: &[u8]) -> Result<(), BackendError> {
        let place = self.given(buffer)?.writable(offset, bytes.len())?;
        let written = self.staging.write(&self.stream, &place, bytes);
        written.map_err(during("copying to the device"))
    }

    fn read(&mut self, buffer: Buffer, offset: usize, bytes: usize) -> Result<&[u8], BackendError> {
        let place = self.given(buffer)?.piece(offset, bytes)?;
        let bytes = self.staging.read(&self.stream, &place);
        let bytes = bytes.map_err(during("waiting for the device"))?;
        self.is_busy = false;
        Ok(bytes)
    }

    fn copy(
        &mut self,
        from: (Buffer, usize),
        to: (Buffer, usize),
        bytes: usize,
    ) -> Result<(), BackendError> {
        let source = self.given(from.0)?.piece(from.1, bytes)?;
        let target = self.given(to.0)?.writable(to.1, bytes)?;
        let copied = match from.0 == to.0 && from.1.abs_diff(to.1) < bytes {
            true => self.copy_overlapping(&source, &target),
            false => self.stream.copy(&target, &source),
        };
        copied.map_err(during("copying on the device"))
    }

    fn copy_rows(
        &mut self,
        from: Rows,
        to: Rows,
        bytes: usize,
        rows: usize,
    ) -> Result<(), BackendError> {
        if rows == 0 || bytes == 0 {
            return Ok(());
        }
        let span = |side: Rows| (rows - 1).saturating_mul(side.pitch).saturating_add(bytes);
        let source = self.given(from.buffer)?.piece(from.offset, span(from))?;
        let target = self.given(to.buffer)?.writable(to.offset, span(to))?;
        let place = |buffer, pitch: usize| cumo_tensorrt::Rows { buffer, pitch: pitch as u64 };
        let (source, target) = (place(&source, from.pitch), place(&target, to.pitch));
        let copied = self.stream.copy_rows(target, source, bytes, rows);
        copied.map_err(during("copying on the device"))
    }

    fn prepare(&mut self, spec: &StepSpec<'_>) -> Result<StepId, BackendError> {
        let step = Step::new(spec, &self.engines, &self.activations)?;
        self.ledger.take(persistent_bytes(&self.engines, &step));
        self.compiled.change();
        self.steps.push(step);
        Ok(StepId(self.steps.len() - 1))
    }

    fn forget_from(&mut self, first: StepId) {
        // What is on the stream may be of these steps; where the device is lost, nothing is.
        drop(self.stream.synchronize());
        for index in first.0..self.steps.len() {
            self.recorder.forget(StepId(index));
        }
        for step in self.steps.drain(first.0.min(self.steps.len())..) {
            self.ledger.give_back(persistent_bytes(&self.engines, &step));
        }
    }

    fn bind(&mut self, step: StepId, port: Port, view: View<'_>) -> Result<(), BackendError> {
        let elements = view.shape.iter().fold(1, |all: usize, size| all.saturating_mul(*size));
        let bytes = elements.saturating_mul(view.dtype.size());
        let given = self.given(view.buffer)?;
        let place = match port {
            Port::Input(_) => given.piece(view.offset, bytes)?,
            Port::Output(_) => given.writable(view.offset, bytes)?,
        };
        let step = self.steps.get_mut(step.0).ok_or_else(no_step)?;
        step.bind(port, view.buffer, place, view.shape);
        Ok(())
    }

    fn run(&mut self, step: StepId) -> Result<(), BackendError> {
        self.run_all(&[Action::Run(step)], false)
    }

    fn write_rows(&mut self, write: &RowWrite) -> Result<(), BackendError> {
        self.run_all(&[Action::WriteRows(*write)], false)
    }

    fn run_all(&mut self, actions: &[Action], repeats: bool) -> Result<(), BackendError> {
        self.check_stop()?;
        self.parts.clear();
        for action in actions {
            let part = match action {
                Action::Run(step) => Part::Run(self.make_ready(*step)?),
                Action::WriteRows(write) => {
                    self.check_rows(write)?;
                    Part::of_write(write)
                }
            };
            // It may have waited for the device.
            self.check_stop()?;
            self.parts.push(part);
        }
        match repeats {
            true => self.run_repeated(actions),
            false => self.enqueue(actions),
        }
    }

    fn finish(&mut self) -> Result<(), BackendError> {
        self.is_busy = true;
        self.wait()
    }

    fn keep_compiled(&mut self) {
        // Most are there after the first answer. Those of other shapes are kept at the end.
        if self.compiled.was_kept() {
            return;
        }
        // Contexts that have work left may compile for it.
        let kept = self.finish().map(|()| self.compiled.keep(&self.runtime));
        self.notes.extend(kept.ok().and_then(Result::err));
    }

    fn interrupt(&self) -> Option<Interrupt> {
        let stop = self.stop.clone();
        Some(Arc::new(move |value| stop.store(value, Ordering::SeqCst)))
    }

    fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}
