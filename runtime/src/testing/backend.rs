//! A backend that runs the model's graphs without a library.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cumo_bundle::{Value, WEIGHT_ALIGNMENT};

use super::{LADDER, POISON, VOCAB, next_token, token_of_sum};
use crate::backend::{
    Backend, BackendError, BackendFacts, Buffer, DeviceFacts, Interrupt, Port, RowWrite, Rows,
    StepId, StepSpec, View,
};

/// What a [`HostBackend`] has been asked for.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) allocations: usize,
    /// Bytes that were allocated and not released.
    pub(crate) live_bytes: usize,
    pub(crate) releases: usize,
    /// Files that were mapped.
    pub(crate) maps: Vec<PathBuf>,
    /// How often an input or output was bound.
    pub(crate) binds: usize,
    /// Names of graphs that ran, in order, with the positions or images of the pass.
    pub(crate) runs: Vec<(String, usize)>,
    /// Bytes that were read.
    pub(crate) read_bytes: usize,
    /// Whether the memory is said to be a device's.
    pub(crate) is_device: bool,
    /// The run of this index fails.
    pub(crate) fail_at: Option<usize>,
    /// How many graphs had run, each time that all was waited for.
    pub(crate) waits: Vec<usize>,
    /// Copies that were asked for.
    pub(crate) copies: usize,
    /// The copy of this index fails.
    pub(crate) fail_copy: Option<usize>,
}

/// Runs the model's graphs on memory of its own.
#[derive(Default)]
pub(crate) struct HostBackend {
    seen: Rc<RefCell<Seen>>,
    buffers: Vec<Option<Vec<u8>>>,
    mapped: Vec<Buffer>,
    steps: Vec<HostStep>,
    stop: Arc<AtomicBool>,
}

struct HostStep {
    graph: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
    /// Memory, bytes from its start, and shape.
    bound: BTreeMap<String, (Buffer, usize, Vec<usize>)>,
}

impl HostBackend {
    pub(crate) fn new(seen: Rc<RefCell<Seen>>) -> Self {
        HostBackend { seen, ..HostBackend::default() }
    }

    fn bytes(&mut self, buffer: Buffer) -> &mut Vec<u8> {
        self.buffers[buffer.0 as usize].as_mut().expect("memory that was not given back")
    }

    /// The start of the memory that a name is bound to, as numbers of its shape.
    fn values(&mut self, step: usize, name: &str) -> (Vec<f32>, Vec<usize>) {
        let (buffer, offset, shape) = self.steps[step].bound[name].clone();
        let count = shape.iter().product();
        let values = self.bytes(buffer)[offset..].as_chunks::<4>().0[..count].to_vec();
        (values.into_iter().map(f32::from_ne_bytes).collect(), shape)
    }

    fn memory(&self, step: usize, name: &str) -> Buffer {
        self.steps[step].bound[name].0
    }

    fn integers(&mut self, step: usize, name: &str) -> Vec<i64> {
        let (buffer, _, shape) = self.steps[step].bound[name].clone();
        let count = shape.iter().product();
        let values = self.bytes(buffer).as_chunks::<8>().0[..count].to_vec();
        values.into_iter().map(i64::from_ne_bytes).collect()
    }

    fn put(&mut self, step: usize, name: &str, values: &[f32]) {
        let (buffer, _, shape) = self.steps[step].bound[name].clone();
        assert!(!self.mapped.contains(&buffer), "`{name}` lies in a file of weights");
        assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}");
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
        self.bytes(buffer)[..bytes.len()].copy_from_slice(&bytes);
    }

    fn llm(&mut self, step: usize) {
        let (new, _) = self.values(step, "inputs_embeds");
        let positions = self.integers(step, "position_ids");
        let mask = self.integers(step, "attention_mask");
        assert!(mask.iter().all(|one| *one == 1));
        let past = mask.len() - new.len();
        let expected: Vec<i64> = (past..mask.len()).map(|position| position as i64).collect();
        assert_eq!(positions, expected);

        let (old, shape) = self.values(step, "past");
        let (_, out_shape) = self.values(step, "present");
        let (old_stride, stride) = (shape[2], out_shape[2]);
        let mut cache = vec![f32::NAN; 2 * stride];
        for (head, sign) in [(0, 1.0), (1, -1.0)] {
            for position in 0..past {
                cache[head * stride + position] = old[head * old_stride + position];
            }
            for (index, value) in new.iter().enumerate() {
                cache[head * stride + past + index] = sign * value;
            }
        }
        self.put(step, "present", &cache);
        let mut logits = Vec::new();
        for last in past..mask.len() {
            let first: Vec<f32> = cache[..=last].to_vec();
            let second: Vec<f32> = cache[stride..=stride + last].iter().map(|v| -v).collect();
            assert_eq!(first, second, "the heads of the cache do not belong together");
            let best = next_token(&first) as usize;
            let poisoned = first.last() == Some(&(POISON as f32));
            let mut row = vec![if poisoned { f32::NAN } else { 0.0 }; VOCAB];
            row[best] = 5.0;
            row[(best + 1) % VOCAB] = 4.0;
            logits.extend(row);
        }
        self.put(step, "logits", &logits);
    }

    /// A mask over the cache, zero for what a position sees.
    fn decoder_inputs(&mut self, step: usize) {
        let positions = self.integers(step, "position_ids");
        let cached = self.integers(step, "cache_positions");
        let expected: Vec<i64> = (0..cached.len() as i64).collect();
        assert_eq!(cached, expected);
        let total = positions.last().map_or(0, |last| *last as usize + 1);
        let rung = LADDER.into_iter().find(|rung| *rung >= total);
        assert_eq!(rung, Some(cached.len()), "not the rung of {total} positions");
        let mut mask = Vec::new();
        for position in positions {
            mask.extend(cached.iter().map(|c| if *c > position { f32::MIN } else { 0.0 }));
        }
        self.put(step, "mask", &mask);
    }

    /// Puts its input into the cache; gives it on, or the sums of all that each position sees.
    fn layer(&mut self, step: usize) {
        let (hidden, _) = self.values(step, "hidden");
        let (mask, mask_shape) = self.values(step, "mask");
        let (sums, _) = self.values(step, "sums");
        let past = self.integers(step, "write_indices")[0] as usize;
        let (mut cache, shape) = self.values(step, "past");
        let (stride, attended) = (shape[2], mask_shape[3]);
        let mut rows = Vec::new();
        for (head, sign) in [(0, 1.0), (1, -1.0)] {
            for (index, value) in hidden.iter().enumerate() {
                cache[head * stride + past + index] = sign * value;
                rows.push(sign * value);
            }
        }
        let (past_memory, present) = (self.memory(step, "past"), self.memory(step, "present"));
        match past_memory == present {
            true => self.put(step, "present", &cache),
            false => self.put(step, "present", &rows),
        }
        let mut next = Vec::new();
        for (hidden, mask) in hidden.iter().zip(mask.chunks(attended)) {
            let seen = mask.iter().take_while(|value| **value == 0.0).count();
            let first = &cache[..seen];
            let second = cache[stride..stride + seen].iter().map(|value| -value);
            assert!(first.iter().copied().eq(second), "the heads of the cache part");
            let sum: f32 = first.iter().zip(1..).map(|(value, place)| value * place as f32).sum();
            let sum = if *hidden == POISON as f32 { f32::NAN } else { sum };
            next.push(if sums[0] == 1.0 { sum } else { *hidden });
        }
        self.put(step, "next_hidden", &next);
    }

    /// The logits of the last position.
    fn head(&mut self, step: usize) {
        let (sums, _) = self.values(step, "hidden");
        let sum = *sums.last().expect("a position");
        let mut row = vec![if sum.is_nan() { f32::NAN } else { 0.0 }; VOCAB];
        let best = token_of_sum(sum) as usize;
        row[best] = 5.0;
        row[(best + 1) % VOCAB] = 4.0;
        self.put(step, "logits", &row);
        let sign = if sum.is_nan() { f32::NAN } else { 1.0 };
        let ids = [best, (best + 1) % VOCAB].map(|id| id as f32);
        self.put(step, "candidates", &[5.0 * sign, 4.0 * sign, ids[0], ids[1]]);
    }
}

/// What the backend finds in the file of weights.
fn weights_file() -> Vec<u8> {
    let mut bytes = vec![0; WEIGHT_ALIGNMENT as usize];
    bytes.extend(1.0_f32.to_ne_bytes());
    bytes
}

impl Backend for HostBackend {
    fn facts(&self) -> BackendFacts {
        let device = self.seen.borrow().is_device.then(|| DeviceFacts {
            name: "memory".to_owned(),
            compute_capability: 0,
            total_bytes: 0,
            peak_bytes: 0,
            pci_bus_id: None,
            kernels: None,
        });
        let library = "by heart".to_owned();
        BackendFacts { library, version: "1".to_owned(), threads: None, device }
    }

    fn allocate(&mut self, bytes: usize) -> Result<Buffer, BackendError> {
        self.seen.borrow_mut().allocations += 1;
        self.seen.borrow_mut().live_bytes += bytes;
        self.buffers.push(Some(vec![0; bytes]));
        Ok(Buffer(self.buffers.len() as u64 - 1))
    }

    fn map(&mut self, file: &Path) -> Result<Buffer, BackendError> {
        self.seen.borrow_mut().maps.push(file.to_owned());
        self.buffers.push(Some(weights_file()));
        let buffer = Buffer(self.buffers.len() as u64 - 1);
        self.mapped.push(buffer);
        Ok(buffer)
    }

    fn release(&mut self, buffer: Buffer) {
        let memory = self.buffers[buffer.0 as usize].take().expect("given back twice");
        let mut seen = self.seen.borrow_mut();
        seen.releases += 1;
        if !self.mapped.contains(&buffer) {
            seen.live_bytes -= memory.len();
        }
    }

    fn write(&mut self, buffer: Buffer, offset: usize, bytes: &[u8]) -> Result<(), BackendError> {
        self.bytes(buffer)[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, buffer: Buffer, offset: usize, bytes: usize) -> Result<&[u8], BackendError> {
        self.seen.borrow_mut().read_bytes += bytes;
        Ok(&self.bytes(buffer)[offset..offset + bytes])
    }

    fn copy(
        &mut self,
        from: (Buffer, usize),
        to: (Buffer, usize),
        bytes: usize,
    ) -> Result<(), BackendError> {
        let copy = self.seen.borrow().copies;
        self.seen.borrow_mut().copies += 1;
        if self.seen.borrow().fail_copy == Some(copy) {
            let reason = "as asked".to_owned();
            return Err(BackendError::Run { graph: "a copy".to_owned(), reason });
        }
        let piece = self.bytes(from.0)[from.1..from.1 + bytes].to_vec();
        self.write(to.0, to.1, &piece)
    }

    fn write_rows(&mut self, write: &RowWrite) -> Result<(), BackendError> {
        let index = *self.bytes(write.index).first_chunk().expect("an index");
        assert_eq!(i64::from_ne_bytes(index), write.position as i64, "what a device would read");
        write.copy(self)
    }

    fn copy_rows(
        &mut self,
        from: Rows,
        to: Rows,
        bytes: usize,
        rows: usize,
    ) -> Result<(), BackendError> {
        let start = |side: Rows, row: usize| side.offset + row * side.pitch;
        for row in (0..rows).filter(|_| from.buffer == to.buffer) {
            let overlaps = |other: usize| start(from, other).abs_diff(start(to, row)) < bytes;
            assert!(!(0..rows).any(overlaps), "row {row} goes to where one is");
        }
        (0..rows).try_for_each(|row| {
            let (from, to) = ((from.buffer, start(from, row)), (to.buffer, start(to, row)));
            self.copy(from, to, bytes)
        })
    }

    fn prepare(&mut self, spec: &StepSpec<'_>) -> Result<StepId, BackendError> {
        let names = |values: &[&Value]| values.iter().map(|value| value.name.clone()).collect();
        self.steps.push(HostStep {
            graph: spec.graph.to_owned(),
            inputs: names(spec.inputs),
            outputs: names(spec.outputs),
            bound: BTreeMap::new(),
        });
        Ok(StepId(self.steps.len() - 1))
    }

    fn forget_from(&mut self, first: StepId) {
        self.steps.truncate(first.0);
    }

    fn bind(&mut self, step: StepId, port: Port, view: View<'_>) -> Result<(), BackendError> {
        let bytes = view.shape.iter().product::<usize>() * view.dtype.size();
        let end = view.offset + bytes;
        assert!(end <= self.bytes(view.buffer).len(), "a tensor behind the end of its memory");
        self.seen.borrow_mut().binds += 1;
        let step = &mut self.steps[step.0];
        let name = match port {
            Port::Input(index) => step.inputs[index].clone(),
            Port::Output(index) => step.outputs[index].clone(),
        };
        let bound = (view.buffer, view.offset, view.shape.to_vec());
        step.bound.insert(name, bound);
        Ok(())
    }

    fn run(&mut self, step: StepId) -> Result<(), BackendError> {
        let step = step.0;
        let graph = self.steps[step].graph.clone();
        if self.stop.load(Ordering::SeqCst) {
            return Err(BackendError::Interrupted);
        }
        let first = self.steps[step].inputs[0].clone();
        let (_, _, shape) = self.steps[step].bound[&first].clone();
        let size = if graph == "vision" || graph == "connector" { shape[0] } else { shape[1] };
        {
            let mut seen = self.seen.borrow_mut();
            seen.runs.push((graph.clone(), size));
            if seen.fail_at == Some(seen.runs.len() - 1) {
                return Err(BackendError::Run { graph, reason: "as asked".to_owned() });
            }
        }
        match graph.as_str() {
            "vision" => {
                let (pixels, _) = self.values(step, "pixel_values");
                let rows =
                    pixels.chunks(12).flat_map(|image| [0.0, 1.0, 2.0].map(|r| image[0] + r));
                self.put(step, "image_features", &rows.collect::<Vec<f32>>());
            }
            "connector" => {
                let (features, _) = self.values(step, "image_features");
                let embeds: Vec<f32> = features.iter().map(|value| 2.0 * value).collect();
                self.put(step, "image_embeds", &embeds);
            }
            "embed" => {
                let ids = self.integers(step, "input_ids");
                let embeds: Vec<f32> = ids.iter().map(|id| *id as f32).collect();
                self.put(step, "inputs_embeds", &embeds);
            }
            "decoder_inputs" => self.decoder_inputs(step),
            "layer" => self.layer(step),
            "head" => self.head(step),
            _ => self.llm(step),
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), BackendError> {
        let mut seen = self.seen.borrow_mut();
        let runs = seen.runs.len();
        seen.waits.push(runs);
        Ok(())
    }

    fn interrupt(&self) -> Option<Interrupt> {
        let stop = self.stop.clone();
        Some(Arc::new(move |value| stop.store(value, Ordering::SeqCst)))
    }
}
