//! One mixture of experts at CLIP-L's sizes in ONNX Runtime: the exporter's sparse body against its
//! dense one, which runs every expert on every row.
//!
//! `cargo xtask bench moe [REPETITIONS]`. Both forms have the same weights, inputs and routes and
//! run in turns; printed are the medians and their ratio, and the largest difference of the results.
//! Routing itself is not timed: it is the same in both.
#![allow(clippy::print_stdout, reason = "a command-line program")]

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use cumo_benches::{Random, Times};
use cumo_bundle::{Dim, Dtype, Value};
use cumo_export::Activation;
use cumo_export::moe::{Body, DOMAIN, MoeShape, moe_function};
use cumo_onnx::{Attribute, DType, Graph, GraphBuilder, Opset, Shape, dims};
use cumo_runtime::backend::{Backend, Buffer, Port, StepId, StepSpec, View};
use cumo_runtime::backends::ort::{OrtBackend, OrtOptions};

/// CLIP ViT-L's width and the width of its MLPs, CuMo's experts.
const SHAPE: MoeShape = MoeShape {
    num_experts: 4,
    num_experts_per_tok: 2,
    inputs: 1024,
    hidden: 4096,
    outputs: 1024,
    gated: false,
    biased: true,
    activation: Activation::QuickGelu,
    dtype: DType::F32,
};

/// Tokens of one crop at 336 pixels: the class token and 24 x 24 patches.
const TOKENS: usize = 577;

/// Crops in one call, and the ratio that is to hold: one image at scale 1, and at scales 1 and 3.
const CASES: [(usize, f64); 2] = [(1, 0.58), (10, 0.45)];

const DATA_FILE: &str = "weights.bin";

fn main() -> Result<()> {
    let mut repetitions = 9;
    for argument in std::env::args().skip(1).filter(|argument| argument != "--bench") {
        repetitions = argument.parse().with_context(|| format!("repetitions: `{argument}`"))?;
    }
    let folder = tempfile::tempdir()?;
    let mut bench = Bench::new(folder.path())?;
    println!(
        "{}; width {}, experts {} x {}, top-{}; {repetitions} repetitions",
        bench.backend.description(),
        SHAPE.inputs,
        SHAPE.num_experts,
        SHAPE.hidden,
        SHAPE.num_experts_per_tok
    );
    println!(
        "{:>6} {:>10} {:>10} {:>7} {:>7} {:>11}",
        "rows", "dense", "sparse", "ratio", "limit", "difference"
    );
    let mut over = 0;
    for (crops, limit) in CASES {
        let result = bench.case(crops, repetitions)?;
        let (dense, sparse) = (result.dense.median_ms(), result.sparse.median_ms());
        let ratio = sparse / dense;
        println!(
            "{:>6} {dense:>7.1} ms {sparse:>7.1} ms {ratio:>7.2} {limit:>7.2} {:>11.1e}",
            crops * TOKENS,
            result.difference
        );
        over += usize::from(ratio > limit);
    }
    if over > 0 {
        bail!("{over} ratios are over their limit");
    }
    Ok(())
}

struct Bench {
    backend: OrtBackend,
    sparse: StepId,
    dense: StepId,
}

struct Outcome {
    dense: Times,
    sparse: Times,
    /// Largest difference of the results over the largest result.
    difference: f32,
}

impl Bench {
    /// Both forms as ONNX files over one file of weights, loaded.
    fn new(folder: &Path) -> Result<Self> {
        let mut backend = OrtBackend::new(OrtOptions::default(), vec![DATA_FILE.to_owned()])?;
        let mut steps = Vec::new();
        for (name, body) in [("sparse", Body::Sparse), ("dense", Body::Dense)] {
            let graph = graph(body)?;
            if steps.is_empty() {
                write_weights(&folder.join(DATA_FILE), &graph)?;
            }
            let file = folder.join(format!("{name}.onnx"));
            std::fs::write(&file, graph.encode(name, DATA_FILE, ("cumo-benches", "0")))?;
            let (inputs, outputs) = (inputs(), output());
            steps.push(backend.prepare(&StepSpec {
                graph: name,
                file: &file,
                twin: None,
                inputs: &inputs.each_ref(),
                outputs: &[&outputs],
            })?);
        }
        Ok(Bench { backend, sparse: steps[0], dense: steps[1] })
    }

    fn case(&mut self, crops: usize, repetitions: usize) -> Result<Outcome> {
        let buffers = self.random_inputs(crops)?;
        let elements = crops * TOKENS * SHAPE.outputs;
        let results = [self.backend.allocate(4 * elements)?, self.backend.allocate(4 * elements)?];
        for (step, result) in [self.sparse, self.dense].into_iter().zip(results) {
            self.bind(step, crops, buffers, result)?;
            self.backend.run(step)?; // packs weights, sizes arenas
        }
        let (mut sparse, mut dense) = (Times::default(), Times::default());
        for _ in 0..repetitions {
            dense.measure(|| self.backend.run(self.dense))?;
            sparse.measure(|| self.backend.run(self.sparse))?;
        }
        let sparse_result = self.floats(results[0], elements)?;
        let dense_result = self.floats(results[1], elements)?;
        let largest = dense_result.iter().fold(0_f32, |largest, value| largest.max(value.abs()));
        let mut difference = 0_f32;
        for (a, b) in sparse_result.iter().zip(&dense_result) {
            let here = (a - b).abs() / largest;
            if here.is_nan() {
                bail!("a result is not a number");
            }
            difference = difference.max(here);
        }
        for buffer in buffers.into_iter().chain(results) {
            self.backend.release(buffer);
        }
        Ok(Outcome { dense, sparse, difference })
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

/// One call of `ai.cumo.MoE` with the given body, each expert's tensors constants of their own.
fn graph(body: Body) -> Result<Graph> {
    let mut g = GraphBuilder::new();
    let k = SHAPE.num_experts_per_tok;
    let mut operands = vec![
        g.input("x", SHAPE.dtype, dims!["batch", "tokens", SHAPE.inputs])?,
        g.input("weights", DType::F32, dims!["batch", "tokens", k])?,
        g.input("experts", DType::I64, dims!["batch", "tokens", k])?,
    ];
    for expert in 0..SHAPE.num_experts {
        let layers = [("fc1", SHAPE.inputs, SHAPE.hidden), ("fc2", SHAPE.hidden, SHAPE.outputs)];
        for (layer, rows, columns) in layers {
            let name = format!("experts.{expert}.{layer}");
            operands.push(g.initializer(
                &format!("{name}.weight"),
                SHAPE.dtype,
                &[rows, columns],
            )?);
            operands.push(g.initializer(&format!("{name}.bias"), SHAPE.dtype, &[columns])?);
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
    Ok(g.finish())
}

/// Random weights of a trained layer's size, where the graph's layout has them.
fn write_weights(path: &Path, graph: &Graph) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut random = Random::new(4011);
    for (offset, length) in graph.layout().ranges() {
        file.seek(SeekFrom::Start(offset))?;
        for _ in 0..length / 4 {
            file.write_all(&random.value(0.03).to_ne_bytes())?;
        }
    }
    Ok(file.flush()?)
}
