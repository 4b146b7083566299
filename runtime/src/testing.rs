//! What the unit tests share: a model that is known by heart, and a backend that needs no library.
//!
//! The model's vocabulary has 32 tokens, an image has 3 rows, an embedding is one number: the token,
//! or twice the image's first pixel plus the row. The language model keeps the numbers of all
//! positions in its cache, in two heads of opposite sign, and its best next token is
//! [`next_token`] of them. A cache that is swapped, moved or cut wrongly gives other tokens.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cumo_bundle::*;

use crate::backend::{Backend, BackendError, Buffer, Interrupt, Port, StepId, StepSpec, View};
use crate::executor::Executor;
use crate::generate::Generator;

pub(crate) const VOCAB: usize = 32;
pub(crate) const IMAGE_TOKENS: usize = 3;
pub(crate) const CONTEXT: usize = 64;

/// A token that makes the model answer with NaN.
pub(crate) const POISON: u32 = 31;

/// The model's best token behind positions of these numbers.
pub(crate) fn next_token(values: &[f32]) -> u32 {
    let sum: f32 = values.iter().zip(1..).map(|(value, place)| value * place as f32).sum();
    3 + (sum as u32 * 7) % 27
}

/// The greedy answer of `count` tokens behind a prompt.
pub(crate) fn greedy(prompt: &[f32], count: usize) -> Vec<u32> {
    let mut values = prompt.to_vec();
    for _ in 0..count {
        values.push(next_token(&values) as f32);
    }
    values[prompt.len()..].iter().map(|value| *value as u32).collect()
}

/// The numbers of an image's positions.
pub(crate) fn image_values(first_pixel: f32) -> [f32; IMAGE_TOKENS] {
    [0.0, 1.0, 2.0].map(|row| 2.0 * (first_pixel + row))
}

pub(crate) fn facts() -> ModelFacts {
    ModelFacts {
        name: "by-heart".to_owned(),
        model_type: "llava_mistral".to_owned(),
        image: ImageFacts {
            size: 2,
            aspect_ratio: AspectRatio::Pad,
            mean: [0.0; 3],
            std: [1.0; 3],
        },
        vision: VisionFacts {
            scales: vec![1, 2],
            image_tokens: IMAGE_TOKENS,
            hidden_size: 1,
            num_layers: 1,
            moe: None,
            connector_moe: None,
        },
        llm: LlmFacts {
            vocab_size: VOCAB,
            hidden_size: 1,
            num_layers: 1,
            num_attention_heads: 2,
            num_key_value_heads: 2,
            head_dim: 1,
            context_length: CONTEXT,
            sliding_window: None,
            moe: None,
            bos_token_id: 1,
            eos_token_ids: vec![2],
        },
        tokenizer: None,
        template: PromptTemplate::MistralInstruct,
    }
}

fn value(name: &str, dtype: Dtype, shape: &[&str]) -> Value {
    let dim = |text: &&str| match text.parse() {
        Ok(size) => Dim::Fixed(size),
        Err(_) => Dim::Symbol((*text).to_owned()),
    };
    Value { name: name.to_owned(), dtype, shape: shape.iter().map(dim).collect() }
}

fn step(graph: &str, inputs: &[Value], outputs: &[Value]) -> (String, Graph, Step) {
    let bind = |value: &Value| {
        let binding = match value.name.as_str() {
            "past" | "present" => Binding::Cache("past".to_owned()),
            name => Binding::Activation(name.to_owned()),
        };
        (value.name.clone(), binding)
    };
    let step = Step {
        graph: graph.to_owned(),
        inputs: inputs.iter().map(bind).collect(),
        outputs: outputs.iter().map(bind).collect(),
    };
    let file = format!("{graph}.onnx");
    (graph.to_owned(), Graph { file, twin: None, inputs: inputs.to_vec(), outputs: outputs.to_vec() }, step)
}

/// The manifest of the model, with a cache of one kind or the other.
pub(crate) fn bundle(update: CacheUpdate) -> Bundle {
    let f32 = Dtype::F32;
    let (past, present) = match update {
        CacheUpdate::Append => ("past_sequence", "total_sequence"),
        CacheUpdate::InPlace | CacheUpdate::Rows => ("max_sequence", "max_sequence"),
    };
    let features = value("image_features", f32, &["images", "3", "1"]);
    let embeds = value("image_embeds", f32, &["images", "3", "1"]);
    let inputs_embeds = value("inputs_embeds", f32, &["batch", "sequence", "1"]);
    let steps = [
        step(
            "vision",
            &[value("pixel_values", f32, &["images", "3", "2", "2"])],
            std::slice::from_ref(&features),
        ),
        step("connector", &[features], &[embeds]),
        step(
            "embed",
            &[value("input_ids", Dtype::I64, &["batch", "sequence"])],
            std::slice::from_ref(&inputs_embeds),
        ),
        step(
            "llm",
            &[
                inputs_embeds,
                value("attention_mask", Dtype::I64, &["batch", "total_sequence"]),
                value("position_ids", Dtype::I64, &["batch", "sequence"]),
                value("past", f32, &["batch", "2", past, "1"]),
            ],
            &[
                value("logits", f32, &["batch", "sequence", "32"]),
                value("present", f32, &["batch", "2", present, "1"]),
            ],
        ),
    ];
    let [vision, connector, embed, llm] = steps;
    let plan = Plan {
        cache: vec![CacheSlot {
            name: "past".to_owned(),
            dtype: f32,
            shape: llm.1.inputs[3].shape.clone(),
            update,
        }],
        encode_images: vec![vision.2, connector.2],
        embed_tokens: vec![embed.2],
        decode: vec![llm.2],
        attended: Vec::new(),
    };
    let graphs =
        [(vision.0, vision.1), (connector.0, connector.1), (embed.0, embed.1), (llm.0, llm.1)];
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        format_version: FORMAT_VERSION,
        producer: "test".to_owned(),
        target: Target::Onnx,
        precision: BTreeMap::new(),
        model: facts(),
        graphs: graphs.into(),
        plan,
        weights: BTreeMap::new(),
        files: BTreeMap::new(),
    };
    Bundle { path: PathBuf::from("nowhere"), manifest }
}

/// A generator of the model, and what its backend has been asked for.
pub(crate) fn generator(update: CacheUpdate) -> (Generator, Rc<RefCell<Seen>>) {
    let seen = Rc::new(RefCell::new(Seen::default()));
    let backend = HostBackend { seen: seen.clone(), ..HostBackend::default() };
    let bundle = bundle(update);
    let executor = Executor::new(&bundle, Box::new(backend)).unwrap();
    (Generator::new(executor, bundle.manifest.model), seen)
}

/// What a [`HostBackend`] has been asked for.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) allocations: usize,
    pub(crate) releases: usize,
    /// Names of graphs that ran, in order, with the positions or images of the pass.
    pub(crate) runs: Vec<(String, usize)>,
    /// The run of this index fails.
    pub(crate) fail_at: Option<usize>,
}

/// Runs the model's graphs on memory of its own.
#[derive(Default)]
struct HostBackend {
    seen: Rc<RefCell<Seen>>,
    buffers: Vec<Option<Vec<u8>>>,
    steps: Vec<HostStep>,
    stop: Arc<AtomicBool>,
}

struct HostStep {
    graph: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
    bound: BTreeMap<String, (Buffer, Vec<usize>)>,
}

impl HostBackend {
    fn bytes(&mut self, buffer: Buffer) -> &mut Vec<u8> {
        self.buffers[buffer.0 as usize].as_mut().expect("memory that was not given back")
    }

    /// The start of the memory that a name is bound to, as numbers of its shape.
    fn values(&mut self, step: usize, name: &str) -> (Vec<f32>, Vec<usize>) {
        let (buffer, shape) = self.steps[step].bound[name].clone();
        let count = shape.iter().product();
        let values = self.bytes(buffer).as_chunks::<4>().0[..count].to_vec();
        (values.into_iter().map(f32::from_ne_bytes).collect(), shape)
    }

    fn integers(&mut self, step: usize, name: &str) -> Vec<i64> {
        let (buffer, shape) = self.steps[step].bound[name].clone();
        let count = shape.iter().product();
        let values = self.bytes(buffer).as_chunks::<8>().0[..count].to_vec();
        values.into_iter().map(i64::from_ne_bytes).collect()
    }

    fn put(&mut self, step: usize, name: &str, values: &[f32]) {
        let (buffer, shape) = self.steps[step].bound[name].clone();
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
}

impl Backend for HostBackend {
    fn description(&self) -> String {
        "by heart".to_owned()
    }

    fn allocate(&mut self, bytes: usize) -> Result<Buffer, BackendError> {
        self.seen.borrow_mut().allocations += 1;
        self.buffers.push(Some(vec![0; bytes]));
        Ok(Buffer(self.buffers.len() as u64 - 1))
    }

    fn release(&mut self, buffer: Buffer) {
        self.seen.borrow_mut().releases += 1;
        assert!(self.buffers[buffer.0 as usize].take().is_some(), "given back twice");
    }

    fn write(&mut self, buffer: Buffer, offset: usize, bytes: &[u8]) -> Result<(), BackendError> {
        self.bytes(buffer)[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, buffer: Buffer, offset: usize, bytes: usize) -> Result<&[u8], BackendError> {
        Ok(&self.bytes(buffer)[offset..offset + bytes])
    }

    fn copy(
        &mut self,
        from: (Buffer, usize),
        to: (Buffer, usize),
        bytes: usize,
    ) -> Result<(), BackendError> {
        let piece = self.bytes(from.0)[from.1..from.1 + bytes].to_vec();
        self.write(to.0, to.1, &piece)
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

    fn bind(&mut self, step: StepId, port: Port, view: View<'_>) -> Result<(), BackendError> {
        let bytes = view.shape.iter().product::<usize>() * view.dtype.size();
        assert!(bytes <= self.bytes(view.buffer).len(), "a tensor behind the end of its memory");
        let step = &mut self.steps[step.0];
        let name = match port {
            Port::Input(index) => step.inputs[index].clone(),
            Port::Output(index) => step.outputs[index].clone(),
        };
        step.bound.insert(name, (view.buffer, view.shape.to_vec()));
        Ok(())
    }

    fn run(&mut self, step: StepId) -> Result<(), BackendError> {
        let step = step.0;
        let graph = self.steps[step].graph.clone();
        if self.stop.load(Ordering::SeqCst) {
            return Err(BackendError::Interrupted);
        }
        let first = self.steps[step].inputs[0].clone();
        let (_, shape) = self.steps[step].bound[&first].clone();
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
            _ => self.llm(step),
        }
        Ok(())
    }

    fn interrupt(&self) -> Option<Interrupt> {
        let stop = self.stop.clone();
        Some(Arc::new(move |value| stop.store(value, Ordering::SeqCst)))
    }
}
