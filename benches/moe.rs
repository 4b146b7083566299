//! One mixture of experts at CLIP-L's sizes in ONNX Runtime: the exporter's sparse body against two
//! dense forms, which run every expert on every row.
//!
//! - batched: one tensor `[experts, in, hidden]` a matrix, one product over all experts, weights that
//!   are zero where an expert was not chosen, and a sum over the experts: as exporters usually write
//!   it. The limits hold against this one.
//! - summing: the exporter's own dense body, expert by expert, added up as it goes.
//!
//! `cargo xtask bench moe [REPETITIONS]`. All forms have the same weights, inputs and routes and run
//! in turns; printed are the medians and their ratios, and the largest difference of the results.
//! Routing itself is not timed: it is the same in all.
#![allow(clippy::print_stdout, reason = "a command-line program")]

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use cumo_benches::{Random, Times};
use cumo_bundle::{Dim, Dtype, Value};
use cumo_export::moe::{Body, DOMAIN, MoeShape, moe_function};
use cumo_onnx::{Attribute, DType, Dim as GraphDim, Graph, GraphBuilder, Opset, Shape, To, dims};
use cumo_runtime::backend::{Backend, Buffer, Port, StepId, StepSpec, View};
use cumo_runtime::backends::ort::{OrtBackend, OrtOptions};

/// CLIP ViT-L's width and the width of its MLPs, CuMo's experts.
const SHAPE: MoeShape = cumo_benches::clip_l(DType::F32);

/// Tokens of one crop at 336 pixels: the class token and 24 x 24 patches.
const TOKENS: usize = 577;

/// Crops in one call, and the ratio to the batched form that is to hold: one image at scale 1, and at scales 1 and 3.
const CASES: [(usize, f64); 2] = [(1, 0.58), (10, 0.45)];

/// A way to compute the mixture.
#[derive(Clone, Copy)]
enum Form {
    Sparse,
    Summing,
    Batched,
}

/// In the order of [`Bench::steps`].
const FORMS: [Form; 3] = [Form::Sparse, Form::Summing, Form::Batched];

impl Form {
    fn name(self) -> &'static str {
        match self {
            Form::Sparse => "sparse",
            Form::Summing => "summing",
            Form::Batched => "batched",
        }
    }

    /// The file of weights; forms with the same tensors share one.
    fn data_file(self) -> &'static str {
        match self {
            Form::Sparse | Form::Summing => "experts.bin",
            Form::Batched => "stacked.bin",
        }
    }

    fn graph(self) -> Result<(Graph, Seeds)> {
        match self {
            Form::Sparse => graph(Body::Sparse),
            Form::Summing => graph(Body::Dense),
            Form::Batched => batched_graph(),
        }
    }
}

/// Results may differ by this much of the largest: sums are rounded in another order.
const MAX_DIFFERENCE: f32 = 1e-5;

fn main() -> Result<()> {
    let mut repetitions = 9;
    for argument in std::env::args().skip(1).filter(|argument| argument != "--bench") {
        repetitions = argument.parse().with_context(|| format!("repetitions: `{argument}`"))?;
    }
    let folder = tempfile::tempdir()?;
    let mut bench = Bench::new(folder.path())?;
    println!(
        "{}; width {}, experts {} x {}, top-{}; {repetitions} repetitions",
        bench.backend.facts(),
        SHAPE.inputs,
        SHAPE.num_experts,
        SHAPE.hidden,
        SHAPE.num_experts_per_tok
    );
    println!(
        "{:>6} {:>10} {:>10} {:>10} {:>10} {:>6} {:>10} {:>6} {:>11}",
        "rows",
        "batched",
        "summing",
        "sparse",
        "to batched",
        "limit",
        "to summing",
        "floor",
        "difference"
    );
    let floor = SHAPE.num_experts_per_tok as f64 / SHAPE.num_experts as f64;
    let mut over = 0;
    for (crops, limit) in CASES {
        let Outcome { times, difference } = bench.case(crops, repetitions)?;
        let [sparse, summing, batched] = times.map(|times| times.median_ms());
        println!(
            "{:>6} {batched:>7.1} ms {summing:>7.1} ms {sparse:>7.1} ms {:>10.2} {limit:>6.2} \
             {:>10.2} {floor:>6.2} {difference:>11.1e}",
            crops * TOKENS,
            sparse / batched,
            sparse / summing,
        );
        over += usize::from(sparse / batched > limit || difference > MAX_DIFFERENCE);
    }
    println!(
        "The summing form does its products as fast as the sparse one, so that no ratio to it can be \
         under top-k / experts; the batched one also writes and reads every expert's results."
    );
    if over > 0 {
        bail!("{over} cases are over a limit");
    }
    Ok(())
}

struct Bench {
    backend: OrtBackend,
    /// Of [`FORMS`].
    steps: Vec<StepId>,
}

struct Outcome {
    /// Of [`FORMS`].
    times: [Times; FORMS.len()],
    /// Largest difference of any two results over the largest value.
    difference: f32,
}

impl Bench {
    /// All forms as ONNX files, loaded.
    fn new(folder: &Path) -> Result<Self> {
        let files = FORMS.map(|form| form.data_file().to_owned()).to_vec();
        let mut backend = OrtBackend::new(OrtOptions::default(), files)?;
        let mut steps = Vec::new();
        for form in FORMS {
            let (name, data) = (form.name(), form.data_file());
            let (graph, seeds) = form.graph()?;
            if !folder.join(data).exists() {
                write_weights(&folder.join(data), &graph, &seeds)?;
            }
            let file = folder.join(format!("{name}.onnx"));
            std::fs::write(&file, graph.encode(name, data, ("cumo-benches", "0")))?;
            let (inputs, outputs) = (inputs(), output());
            steps.push(backend.prepare(&StepSpec {
                graph: name,
                file: &file,
                twin: None,
                inputs: &inputs.each_ref(),
                outputs: &[&outputs],
            })?);
        }
        Ok(Bench { backend, steps })
    }

    fn case(&mut self, crops: usize, repetitions: usize) -> Result<Outcome> {
        let buffers = self.random_inputs(crops)?;
        let elements = crops * TOKENS * SHAPE.outputs;
        let mut results = Vec::new();
        for step in self.steps.clone() {
            let result = self.backend.allocate(4 * elements)?;
            self.bind(step, crops, buffers, result)?;
            self.backend.run(step)?; // packs weights, sizes arenas
            results.push(result);
        }
        let mut times: [Times; FORMS.len()] = Default::default();
        for _ in 0..repetitions {
            for (step, times) in self.steps.iter().zip(&mut times) {
                times.measure(|| self.backend.run(*step))?;
            }
        }
        let reference = self.floats(results[0], elements)?;
        let largest = reference.iter().fold(0_f32, |largest, value| largest.max(value.abs()));
        let mut difference = 0_f32;
        for result in &results[1..] {
            for (a, b) in self.floats(*result, elements)?.iter().zip(&reference) {
                let here = (a - b).abs() / largest;
                if here.is_nan() {
                    bail!("a result is not a number");
                }
                difference = difference.max(here);
            }
        }
        for buffer in buffers.into_iter().chain(results) {
            self.backend.release(buffer);
        }
        Ok(Outcome { times, difference })
    }

    /// Memory of x, weights and experts: two different experts a row, each as likely.
    fn random_inputs(&mut self, crops: usize) -> Result<[Buffer; 3]> {
        let mut random = Random::new(crops as u64);
        let rows = crops * TOKENS;
        let x = (0..rows * SHAPE.inputs).flat_map(|_| random.value(1.0).to_ne_bytes()).collect();
        let (mut weights, mut experts) = (Vec::new(), Vec::new());
        for _ in 0..rows {
            let first = random.below(SHAPE.num_experts);
            let second = (first + 1 + random.below(SHAPE.num_experts - 1)) % SHAPE.num_experts;
            let weight = 0.5 + random.value(0.5).abs();
            weights.extend([weight, 1.0 - weight].iter().flat_map(|weight| weight.to_ne_bytes()));
            experts.extend([first, second].iter().flat_map(|e| (*e as i64).to_ne_bytes()));
        }
        let mut fill = |bytes: Vec<u8>| -> Result<Buffer> {
            let buffer = self.backend.allocate(bytes.len())?;
            self.backend.write(buffer, 0, &bytes)?;
            Ok(buffer)
        };
        Ok([fill(x)?, fill(weights)?, fill(experts)?])
    }

    fn bind(
        &mut self,
        step: StepId,
        crops: usize,
        buffers: [Buffer; 3],
        result: Buffer,
    ) -> Result<()> {
        let sized = |value: &Value| -> Vec<usize> {
            let fixed = |dim: &Dim| if let Dim::Fixed(size) = dim { *size } else { 0 };
            vec![crops, TOKENS, value.shape.last().map_or(0, fixed)]
        };
        for (index, (value, buffer)) in inputs().iter().zip(buffers).enumerate() {
            let view = View { buffer, offset: 0, dtype: value.dtype, shape: &sized(value) };
            self.backend.bind(step, Port::Input(index), view)?;
        }
        let value = output();
        let view = View { buffer: result, offset: 0, dtype: value.dtype, shape: &sized(&value) };
        Ok(self.backend.bind(step, Port::Output(0), view)?)
    }

    fn floats(&mut self, buffer: Buffer, elements: usize) -> Result<Vec<f32>> {
        let bytes = self.backend.read(buffer, 0, 4 * elements)?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_ne_bytes(*chunk)).collect())
    }
}

fn value(name: &str, dtype: Dtype, channels: usize) -> Value {
    let symbol = |name: &str| Dim::Symbol(name.to_owned());
    let shape = vec![symbol("batch"), symbol("tokens"), Dim::Fixed(channels)];
    Value { name: name.to_owned(), dtype, shape }
}

fn inputs() -> [Value; 3] {
    let k = SHAPE.num_experts_per_tok;
    [
        value("x", Dtype::F32, SHAPE.inputs),
        value("weights", Dtype::F32, k),
        value("experts", Dtype::I64, k),
    ]
}

fn output() -> Value {
    value("y", Dtype::F32, SHAPE.outputs)
}

/// What the values of a tensor are drawn from: a generator's seed for each of its parts.
type Seeds = Vec<Vec<u64>>;

/// The tensors of one expert, with sizes: `[in, out]` and its bias.
fn expert_tensors() -> [(&'static str, Vec<usize>); 4] {
    let MoeShape { inputs, hidden, outputs, .. } = SHAPE;
    [
        ("fc1.weight", vec![inputs, hidden]),
        ("fc1.bias", vec![hidden]),
        ("fc2.weight", vec![hidden, outputs]),
        ("fc2.bias", vec![outputs]),
    ]
}

/// The seed of one tensor of an expert.
fn seed(tensor: usize, expert: usize) -> u64 {
    (1000 * tensor + expert) as u64
}

/// `x`, `weights` and `experts`.
fn graph_inputs(g: &mut GraphBuilder) -> Result<[cumo_onnx::Value; 3]> {
    let k = SHAPE.num_experts_per_tok;
    Ok([
        g.input("x", SHAPE.dtype, dims!["batch", "tokens", SHAPE.inputs])?,
        g.input("weights", DType::F32, dims!["batch", "tokens", k])?,
        g.input("experts", DType::I64, dims!["batch", "tokens", k])?,
    ])
}

/// One call of `ai.cumo.MoE` with the given body, each expert's tensors constants of their own.
fn graph(body: Body) -> Result<(Graph, Seeds)> {
    let mut g = GraphBuilder::new();
    let mut operands = graph_inputs(&mut g)?.to_vec();
    let mut seeds = Seeds::new();
    for expert in 0..SHAPE.num_experts {
        for (index, (tensor, sizes)) in expert_tensors().into_iter().enumerate() {
            let name = format!("experts.{expert}.{tensor}");
            operands.push(g.initializer(&name, SHAPE.dtype, &sizes)?);
            seeds.push(vec![seed(index, expert)]);
        }
    }
    let attributes = vec![
        ("activation", Attribute::Text(SHAPE.activation.name())),
        ("gated", Attribute::Int(i64::from(SHAPE.gated))),
    ];
    let shape = Shape::from(dims!["batch", "tokens", SHAPE.outputs]);
    let operands: Vec<_> = operands.iter().collect();
    let function = moe_function(Opset::default(), &SHAPE, body)?;
    let results = g.call(&function, &operands, attributes, vec![(SHAPE.dtype, shape.clone())])?;
    let y = results.first().with_context(|| format!("{DOMAIN}.MoE gives nothing"))?;
    g.output("y", y, SHAPE.dtype, shape)?;
    Ok((g.finish(), seeds))
}

/// The same with each kind of tensor stacked over the experts.
fn batched_graph() -> Result<(Graph, Seeds)> {
    let (experts, k) = (SHAPE.num_experts, SHAPE.num_experts_per_tok);
    let mut g = GraphBuilder::new();
    let [x, weights, chosen] = graph_inputs(&mut g)?;
    let (mut stacked, mut seeds) = (Vec::new(), Seeds::new());
    for (index, (tensor, sizes)) in expert_tensors().into_iter().enumerate() {
        // A bias is `[experts, 1, out]`, to be added to each row.
        let row = if sizes.len() == 1 { vec![1] } else { vec![] };
        let sizes = [vec![experts], row, sizes].concat();
        stacked.push(g.initializer(&format!("experts.{tensor}"), SHAPE.dtype, &sizes)?);
        seeds.push((0..experts).map(|expert| seed(index, expert)).collect());
    }
    let sizes = g.shape_of(&x);
    let x = g.reshape(&x, &[To::Rest("rows".into()), To::Size(SHAPE.inputs)])?;
    let hidden = g.matmul(&x, &stacked[0])?;
    let hidden = g.add_values(&hidden, &stacked[1])?;
    let hidden = SHAPE.activation.apply(&mut g, &hidden)?;
    let result = g.matmul(&hidden, &stacked[2])?;
    let result = g.add_values(&result, &stacked[3])?;

    // [rows, k, 1] against [experts]: each route's weight in its expert's column, summed over k.
    let column = |g: &mut GraphBuilder, value: &cumo_onnx::Value| -> Result<cumo_onnx::Value> {
        let rows = g.reshape(value, &[To::Rest("rows".into()), To::Size(k)])?;
        Ok(g.unsqueeze(&rows, &[2])?)
    };
    let (weights, chosen) = (column(&mut g, &weights)?, column(&mut g, &chosen)?);
    let all: Vec<i64> = (0..experts as i64).collect();
    let all = g.ints(&all);
    let mine = g.equal(&chosen, &all)?;
    let nothing = g.scalar(DType::F32, 0.0);
    let masked = g.select(&mine, &weights, &nothing)?;
    let masked = g.reduce_sum(&masked, &[1], false)?;
    let masked = g.transpose(&masked, &[1, 0])?;
    let masked = g.unsqueeze(&masked, &[2])?;
    let weighted = g.mul(&result, &masked)?;
    let y = g.reduce_sum(&weighted, &[0], false)?;

    let shape = dims!["batch", "tokens", SHAPE.outputs];
    let leading = g.slice(&sizes, 0, (0, Some(2)), GraphDim::Fixed(2))?;
    let channels = g.ints(&[SHAPE.outputs as i64]);
    let sizes = g.concat(&[&leading, &channels], 0, GraphDim::Fixed(3))?;
    let y = g.reshape_to(&y, &sizes, shape.clone())?;
    g.output("y", &y, SHAPE.dtype, shape)?;
    Ok((g.finish(), seeds))
}

/// Random weights of a trained layer's size, where the graph's layout has them: the same for a tensor
/// of an expert in every form.
fn write_weights(path: &Path, graph: &Graph, seeds: &[Vec<u64>]) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for ((offset, length), seeds) in graph.layout().ranges().zip(seeds) {
        file.seek(SeekFrom::Start(offset))?;
        for seed in seeds {
            let mut random = Random::new(*seed);
            for _ in 0..length / 4 / seeds.len() as u64 {
                file.write_all(&random.value(0.03).to_ne_bytes())?;
            }
        }
    }
    Ok(file.flush()?)
}
