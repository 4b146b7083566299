//! Executions of engines: what they are checked for, and the run.
#![allow(unsafe_code, reason = "runs graphs over places that were checked")]

use std::collections::BTreeMap;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::device::{Device, State};
use crate::engine::{Header, Port};
use crate::fault::{Fault, Result};
use crate::memory::POISON;
use crate::queue::{length, overlap};
use crate::session::{Bound, Session};
use crate::sys::code;

/// An execution of an engine as it was put on a stream.
pub(crate) struct Execution {
    pub(crate) header: Arc<Header>,
    pub(crate) session: Arc<Session>,
    /// The context's number, and how often what it runs had been changed.
    pub(crate) context: (usize, u64),
    pub(crate) shapes: BTreeMap<String, Vec<i64>>,
    pub(crate) addresses: BTreeMap<String, u64>,
    /// Activation memory that the context does not own: address and bytes.
    pub(crate) activations: Option<(u64, u64)>,
}

impl Device {
    /// Runs an execution, after its checks.
    ///
    /// # Errors
    /// A violation; the device is lost; what ONNX Runtime says.
    pub(crate) fn execute(&self, state: &mut State, execution: &Execution) -> Result<()> {
        let executions = {
            let mut count = self.journal.count();
            count.executions += 1;
            count.executions
        };
        if self.settings.lose_device_at_execution == Some(executions) {
            let text = format!("the device was lost at execution {executions}");
            return Err(Fault::new(code::CUDA, text));
        }
        let start = Instant::now();
        self.check_context(state, execution)?;
        let header = &execution.header;
        let name = &header.graph;
        let bad = |why: String| self.journal.violation(format!("execution of `{name}`: {why}"));
        check_overlaps(execution).map_err(bad)?;
        let inputs = bind(execution, &header.inputs, |address, bytes| {
            state.memory.written_place_of(address, bytes)
        });
        let inputs = inputs.map_err(bad)?;
        let outputs = bind(execution, &header.outputs, |address, bytes| {
            state.memory.place_of(address, bytes)
        });
        let outputs = outputs.map_err(bad)?;
        if let Some((address, bytes)) = execution.activations {
            let place = state.memory.place_of(address, bytes);
            let place = place.map_err(|why| bad(format!("activation memory: {why}")))?;
            // SAFETY: the place has so many bytes, apart from those of the tensors.
            unsafe { place.write_bytes(POISON, length(bytes)) };
            state.memory.mark_unwritten(address, bytes);
        }
        // SAFETY: every place was just found to have the bytes of its tensor; inputs were written.
        // The state is locked, and tensors overlap only where an output is its input.
        let ran = unsafe { execution.session.run(&inputs, &outputs) };
        ran.map_err(|why| Fault::new(code::CUDA, format!("execution of `{name}`: {why}")))?;
        let written: Vec<_> = header.outputs.iter().zip(&outputs).collect();
        for (port, tensor) in written {
            if let Some(address) = execution.addresses.get(&port.name) {
                state.memory.mark_written(*address, tensor.bytes);
            }
        }
        let least = Duration::try_from_secs_f64(self.settings.execution_milliseconds / 1e3);
        std::thread::sleep(least.unwrap_or_default().saturating_sub(start.elapsed()));
        Ok(())
    }
}

/// Tensors of an execution with their places.
fn bind<'a>(
    execution: &'a Execution,
    ports: &'a [Port],
    mut place: impl FnMut(u64, u64) -> std::result::Result<ptr::NonNull<u8>, String>,
) -> std::result::Result<Vec<Bound<'a>>, String> {
    let bind = |port: &'a Port| {
        let Some((address, shape, bytes)) = tensor(execution, port) else {
            return Err(format!("`{}` has no address or shape", port.name));
        };
        let place = place(address, bytes).map_err(|why| format!("`{}`: {why}", port.name))?;
        Ok(Bound { name: &port.name, dtype: port.dtype, shape, bytes, place })
    };
    ports.iter().map(bind).collect()
}

/// A tensor's address, shape and bytes.
fn tensor<'a>(execution: &'a Execution, port: &Port) -> Option<(u64, &'a [i64], u64)> {
    let shape = execution.shapes.get(&port.name)?;
    Some((*execution.addresses.get(&port.name)?, shape, port.bytes(shape)?))
}

/// Refuses outputs over other tensors or over activation memory, and caches that are not in place.
fn check_overlaps(execution: &Execution) -> std::result::Result<(), String> {
    let header = &execution.header;
    let of = |port: &Port| tensor(execution, port).map(|(address, _, bytes)| (address, bytes));
    let ports: Vec<(&str, (u64, u64))> = header
        .inputs
        .iter()
        .chain(&header.outputs)
        .filter_map(|port| Some((port.name.as_str(), of(port)?)))
        .collect();
    if let Some(activations) = execution.activations
        && let Some((name, _)) = ports.iter().find(|(_, range)| overlap(*range, activations))
    {
        return Err(format!("`{name}` lies in the activation memory"));
    }
    for output in &header.outputs {
        let Some(range) = of(output) else { continue };
        let alias = header.aliases.get(&output.name);
        let others = ports.iter().filter(|(name, _)| *name != output.name);
        for (name, other) in others {
            let is_alias = alias.is_some_and(|input| input == name);
            if is_alias && *other != range {
                return Err(format!("`{}` does not lie where `{name}` does", output.name));
            }
            if !is_alias && overlap(range, *other) {
                return Err(format!("`{}` lies over `{name}`", output.name));
            }
        }
    }
    Ok(())
}
