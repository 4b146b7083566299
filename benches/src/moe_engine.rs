//! One mixture of experts as a TensorRT engine, with the plugin and without: built on any machine,
//! run and timed where there is a GPU.

mod figures;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cumo_export::moe::{Body, DOMAIN, MoeShape, PLUGIN, moe_function};
use cumo_onnx::{Attribute, DType, GraphBuilder, Opset, Shape, dims};
use cumo_tensorrt::{
    BuildOptions, Builder, Context as ExecutionContext, DeviceBuffer, Engine, Library, Profile,
    Runtime, Stream,
};
use half::f16;

use crate::{Random, Times};

pub use figures::{Aims, Arguments, Figures};

/// How the mixture is held by the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As a node of our plugin: `--moe plugin`.
    Plugin,
    /// Every expert on every row, in standard operators: `--moe function`.
    Function,
}

/// Both, in the order of [`Comparison`]'s arrays.
pub const FORMS: [Form; 2] = [Form::Plugin, Form::Function];

impl Form {
    /// What it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Form::Plugin => "plugin",
            Form::Function => "function",
        }
    }
}

/// The inputs of every engine here: `x` `[1, rows, in]` f16, `weights` `[1, rows, k]` f32, `experts`
/// `[1, rows, k]` i32, and each expert's tensors, f16, as `experts.0.fc1.weight` `[in, hidden]`.
fn tensors(shape: &MoeShape) -> Vec<(String, Vec<usize>)> {
    let MoeShape { inputs, hidden, outputs, .. } = *shape;
    let mut tensors = Vec::new();
    for expert in 0..shape.num_experts {
        let mut layer = |name: &str, sizes: [usize; 2]| {
            tensors.push((format!("experts.{expert}.{name}.weight"), sizes.to_vec()));
            if shape.biased {
                tensors.push((format!("experts.{expert}.{name}.bias"), vec![sizes[1]]));
            }
        };
        layer("fc1", [inputs, hidden]);
        if shape.gated {
            layer("up", [inputs, hidden]);
        }
        layer("fc2", [hidden, outputs]);
    }
    tensors
}

/// The network as an ONNX model. Weights are inputs, as in the engines of a bundle.
fn model(form: Form, shape: &MoeShape) -> Result<Vec<u8>> {
    let k = shape.num_experts_per_tok;
    let mut g = GraphBuilder::with_opset(Opset::V24);
    let x = g.input("x", shape.dtype, dims![1, "rows", shape.inputs])?;
    let weights = g.input("weights", DType::F32, dims![1, "rows", k])?;
    let mut chosen = g.input("experts", DType::I32, dims![1, "rows", k])?;
    if form == Form::Function {
        chosen = g.cast(&chosen, DType::I64);
    }
    let mut operands = vec![x, weights, chosen];
    for (name, sizes) in tensors(shape) {
        operands.push(g.input(&name, shape.dtype, Shape::from(&sizes[..]))?);
    }
    let operands: Vec<_> = operands.iter().collect();
    let mut attributes = vec![
        ("activation", Attribute::Text(shape.activation.name())),
        ("gated", Attribute::Int(i64::from(shape.gated))),
    ];
    let result = (shape.dtype, Shape::from(dims![1, "rows", shape.outputs]));
    let y = match form {
        Form::Plugin => {
            attributes.extend([
                ("biased", Attribute::Int(i64::from(shape.biased))),
                ("num_experts", Attribute::Int(shape.num_experts as i64)),
                ("num_experts_per_tok", Attribute::Int(k as i64)),
                ("plugin_version", Attribute::Text("1")),
                ("plugin_namespace", Attribute::Text("")),
            ]);
            g.plugin((DOMAIN, PLUGIN), &operands, attributes, result.clone())
        }
        Form::Function => {
            let function = moe_function(Opset::V24, shape, Body::Dense)?;
            let results = g.call(&function, &operands, attributes, vec![result.clone()])?;
            results.first().context("the function gives nothing")?.clone()
        }
    };
    g.output("y", &y, result.0, result.1)?;
    Ok(g.finish().encode("moe", "", ("cumo-benches", "0")))
}

/// Builds the engine for up to `rows` rows. The plugin must be loaded.
///
/// # Errors
/// TensorRT refuses it, or has made something else of the mixture than `form` says.
pub fn build(library: &Library, form: Form, shape: &MoeShape, rows: usize) -> Result<Vec<u8>> {
    let mut network = Builder::new(library).parse(&model(form, shape)?, None)?;
    let plugins = network.layers()?.iter().filter(|layer| layer.plugin.is_some()).count();
    let wanted = usize::from(form == Form::Plugin);
    ensure!(plugins == wanted, "{} has {plugins} plugin layers, not {wanted}", form.name());
    let k = shape.num_experts_per_tok;
    let channels = [("x", shape.inputs), ("weights", k), ("experts", k)];
    let profile = channels.iter().fold(Profile::new(), |profile, (name, channels)| {
        let [least, most] = [1, rows].map(|rows| [1, rows as i64, *channels as i64]);
        profile.range(name, &least, &most, &most)
    });
    let built = network.build(&BuildOptions::new().profile(profile))?;
    Ok(built.engine.as_slice().to_vec())
}

/// What running both forms on the same numbers gave.
#[derive(Debug)]
pub struct Comparison {
    /// Of [`FORMS`].
    pub times: [Times; 2],
    /// The largest difference of the two results over the largest value of the dense one.
    pub difference: f32,
}

/// An engine with its tensors on the device.
struct Bound {
    context: ExecutionContext,
    y: DeviceBuffer,
}

/// Runs both engines on the same random numbers, first warm, then `runs` times in turns, each timed
/// by CUDA events.
///
/// # Errors
/// TensorRT's or CUDA's, or a result that is not a number.
pub fn compare(
    runtime: &Runtime,
    engines: &[Vec<u8>; 2],
    shape: &MoeShape,
    rows: usize,
    runs: usize,
) -> Result<Comparison> {
    const WARM_UP: usize = 5;
    let stream = runtime.stream()?;
    let inputs = upload(runtime, &stream, shape, rows)?;
    let mut bound = Vec::new();
    for engine in engines {
        let engine = runtime.load(engine)?;
        bound.push(bind(runtime, &engine, &inputs, shape, rows)?);
    }
    let mut times: [Times; 2] = Default::default();
    let (start, end) = (runtime.event()?, runtime.event()?);
    for run in 0..WARM_UP + runs {
        for (bound, times) in bound.iter_mut().zip(&mut times) {
            start.record(&stream)?;
            bound.context.enqueue(&stream)?;
            end.record(&stream)?;
            stream.synchronize()?;
            let milliseconds = start.milliseconds_until(&end)?;
            if run >= WARM_UP {
                times.push(Duration::from_secs_f64(f64::from(milliseconds) / 1e3));
            }
        }
    }
    let mut results = Vec::new();
    for bound in &bound {
        let mut bytes = vec![0; 2 * rows * shape.outputs];
        stream.read(&mut bytes, &bound.y)?;
        let value = |bytes: &[u8; 2]| f16::from_ne_bytes(*bytes).to_f32();
        results.push(bytes.as_chunks().0.iter().map(value).collect::<Vec<f32>>());
    }
    Ok(Comparison { times, difference: difference(&results[0], &results[1])? })
}

/// The largest difference over the largest value of `reference`.
fn difference(values: &[f32], reference: &[f32]) -> Result<f32> {
    let largest = reference.iter().fold(0_f32, |largest, value| largest.max(value.abs()));
    let mut worst = 0_f32;
    for (value, wanted) in values.iter().zip(reference) {
        let here = (value - wanted).abs() / largest;
        // Written so that NaN fails, and so do results of nothing but zeros.
        if !here.is_finite() {
            bail!("{value} where the dense form has {wanted}, of at most {largest}");
        }
        worst = worst.max(here);
    }
    Ok(worst)
}

/// Random numbers of a trained layer's sizes for every input, with its name, on the device.
fn upload(
    runtime: &Runtime,
    stream: &Stream,
    shape: &MoeShape,
    rows: usize,
) -> Result<Vec<(String, Vec<i64>, DeviceBuffer)>> {
    let mut inputs = Vec::new();
    let mut add = |name: &str, sizes: &[usize], bytes: Vec<u8>| -> Result<()> {
        let buffer = runtime.buffer(bytes.len() as u64)?;
        stream.write(&buffer, &bytes)?;
        let sizes = sizes.iter().map(|size| *size as i64).collect();
        inputs.push((name.to_owned(), sizes, buffer));
        Ok(())
    };
    let k = shape.num_experts_per_tok;
    let (weights, chosen) = routes(shape, rows);
    add("x", &[1, rows, shape.inputs], halves(1, rows * shape.inputs, 1.0))?;
    add("weights", &[1, rows, k], weights.iter().flat_map(|it| it.to_ne_bytes()).collect())?;
    add("experts", &[1, rows, k], chosen.iter().flat_map(|it| it.to_ne_bytes()).collect())?;
    for (index, (name, sizes)) in tensors(shape).into_iter().enumerate() {
        let bytes = halves(100 + index as u64, sizes.iter().product(), 0.03);
        add(&name, &sizes, bytes)?;
    }
    Ok(inputs)
}

/// Bytes of f16 numbers up to `scale`.
fn halves(seed: u64, count: usize, scale: f32) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..count).flat_map(|_| f16::from_f32(random.value(scale)).to_ne_bytes()).collect()
}

/// Weights, which are a row's sum to 1, and different experts for each row, all as often.
fn routes(shape: &MoeShape, rows: usize) -> (Vec<f32>, Vec<i32>) {
    let k = shape.num_experts_per_tok;
    let mut random = Random::new(2);
    let (mut weights, mut chosen) = (Vec::new(), Vec::new());
    for _ in 0..rows {
        let first = random.below(shape.num_experts);
        let shares: Vec<f32> = (0..k).map(|_| random.value(0.5) + 1.0).collect();
        let sum: f32 = shares.iter().sum();
        weights.extend(shares.iter().map(|share| share / sum));
        chosen.extend((0..k).map(|j| ((first + j) % shape.num_experts) as i32));
    }
    (weights, chosen)
}

fn bind(
    runtime: &Runtime,
    engine: &Engine,
    inputs: &[(String, Vec<i64>, DeviceBuffer)],
    shape: &MoeShape,
    rows: usize,
) -> Result<Bound> {
    let mut context = engine.context()?;
    for (name, sizes, buffer) in inputs {
        context.set_shape(name, sizes)?;
        context.set_tensor(name, buffer)?;
    }
    let y = runtime.buffer((2 * rows * shape.outputs) as u64)?;
    context.set_tensor("y", &y)?;
    Ok(Bound { context, y })
}

/// Floating-point operations of the chosen experts' products.
pub fn flops(shape: &MoeShape, rows: usize) -> f64 {
    let channels = shape.inputs * if shape.gated { 2 } else { 1 } + shape.outputs;
    2.0 * (rows * shape.num_experts_per_tok) as f64 * (shape.hidden * channels) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use cumo_tensorrt::{Error, Flavour};

    const SHAPE: MoeShape = crate::clip_l(DType::F16);

    #[test]
    #[allow(clippy::explicit_write, reason = "the harness keeps what passing tests print")]
    fn tensorrt_builds_both_forms_without_a_device() {
        let library = match Library::open(Flavour::Rtx) {
            Ok(library) => library,
            Err(error @ (Error::MissingShim { .. } | Error::MissingLibrary { .. })) => {
                let message =
                    "skipped: run `cargo xtask setup --tensorrt` and `cargo xtask native`";
                assert!(std::env::var_os("CUMO_REQUIRE_TENSORRT").is_none(), "{message}: {error}");
                use std::io::Write;
                writeln!(std::io::stderr(), "{message}: {error}").unwrap();
                return;
            }
            Err(error) => panic!("{error}"),
        };
        library.load_own_plugins(None).unwrap();
        let gated = MoeShape { gated: true, biased: false, ..SHAPE };
        for shape in [SHAPE, gated] {
            for form in FORMS {
                let engine = build(&library, form, &shape, 5770).unwrap();
                library.check_engine(&engine).unwrap();
                // Weights are inputs.
                assert!(engine.len() < 8 << 20, "{}: {} bytes", form.name(), engine.len());
            }
        }
    }

    #[test]
    fn routes_are_different_experts_whose_weights_are_one() {
        let (weights, chosen) = routes(&SHAPE, 1000);
        let mut counts = [0; 4];
        for (weights, chosen) in weights.chunks(2).zip(chosen.chunks(2)) {
            assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            assert_ne!(chosen[0], chosen[1]);
            chosen.iter().for_each(|expert| counts[*expert as usize] += 1);
        }
        assert!(counts.iter().all(|count| (400..600).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_difference_is_of_the_largest_value_and_nan_is_none() {
        assert_eq!(difference(&[1.0, 3.0], &[1.0, 4.0]).unwrap(), 0.25);
        difference(&[f32::NAN, 4.0], &[1.0, 4.0]).unwrap_err();
        difference(&[1.0], &[f32::INFINITY]).unwrap_err();
        difference(&[0.0], &[0.0]).unwrap_err();
    }

    #[test]
    fn operations_are_those_of_the_chosen_experts() {
        assert_eq!(flops(&SHAPE, 5770), 2.0 * 5770.0 * 2.0 * 4096.0 * 2048.0);
        let gated = MoeShape { gated: true, ..SHAPE };
        assert_eq!(flops(&gated, 1), 2.0 * 2.0 * 4096.0 * 3072.0);
    }
}
