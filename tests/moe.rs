//! The custom operators' bodies in ONNX Runtime against plain loops in f64: every case for the sparse
//! and the dense body. The cases are those of the kernels and the plugin, `native/emulation/cases.txt`.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use cumo_bundle::{Dim, Dtype, Value};
use cumo_export::Activation;
use cumo_export::moe::{Body, MoeShape, moe_function, router_function};
use cumo_onnx::{Attribute, DType, Function, GraphBuilder, Opset, Shape, dims};
use cumo_runtime::backend::{Backend, Port, StepSpec, View};
use cumo_runtime::backends::ort::{OrtBackend, OrtOptions};
use cumo_tests::{Tolerances, onnxruntime_is_there};

/// A line of the list.
struct Case {
    name: String,
    rows: usize,
    shape: MoeShape,
    routing: Routing,
}

/// Which logits the router sees.
#[derive(Debug, Clone, Copy)]
enum Routing {
    Random,
    AllToOne,
    Equal,
    HalfEmpty,
}

/// The cases that every implementation of the operator is tested with. Bodies compute in f32 what
/// others compute in half precision.
fn cases() -> Vec<Case> {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("../native/emulation/cases.txt");
    let text = std::fs::read_to_string(list).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| case(&line.split_whitespace().collect::<Vec<_>>())).collect()
}

fn case(columns: &[&str]) -> Case {
    let [name, sizes @ .., activation, _dtype, routing] = columns else { panic!("{columns:?}") };
    let sizes: Vec<usize> = sizes.iter().map(|size| size.parse().unwrap()).collect();
    let [rows, inputs, hidden, outputs, num_experts, k, gated, biased] = sizes[..] else {
        panic!("{name}: {sizes:?}")
    };
    let known = [Activation::Gelu, Activation::QuickGelu, Activation::Silu];
    let shape = MoeShape {
        num_experts,
        num_experts_per_tok: k,
        inputs,
        hidden,
        outputs,
        gated: gated == 1,
        biased: biased == 1,
        transposed: false,
        activation: known.into_iter().find(|known| known.name() == *activation).unwrap(),
        dtype: DType::F32,
    };
    let routing = match *routing {
        "random" => Routing::Random,
        "all_to_one" => Routing::AllToOne,
        "equal" => Routing::Equal,
        "half_empty" => Routing::HalfEmpty,
        other => panic!("{name}: {other}"),
    };
    Case { name: (*name).to_owned(), rows, shape, routing }
}

impl Routing {
    fn logit(self, expert: usize, numbers: &mut Numbers) -> f64 {
        let drawn = 4.0 * f64::from(numbers.next());
        match self {
            Routing::AllToOne if expert == 1 => 20.0,
            Routing::HalfEmpty if expert % 2 == 1 => -30.0,
            Routing::Equal => 0.0,
            _ => drawn,
        }
    }
}

/// What a router gives for a row of logits: the k most probable experts, of equal ones the lower
/// first, and their probabilities over their sum.
fn route(logits: &[f64], k: usize) -> Vec<(usize, f64)> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|one, other| logits[*other].total_cmp(&logits[*one]));
    let best: Vec<_> =
        order[..k].iter().map(|e| (*e, (logits[*e] - logits[order[0]]).exp())).collect();
    let sum: f64 = best.iter().map(|(_, p)| p).sum();
    best.into_iter().map(|(expert, p)| (expert, p / sum)).collect()
}

/// Numbers between -1 and 1, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn list(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// An operand: its name in the function, its sizes and values.
#[derive(Clone)]
struct Operand {
    name: String,
    sizes: Vec<usize>,
    values: Values,
}

#[derive(Clone)]
enum Values {
    F32(Vec<f32>),
    I64(Vec<i64>),
}

fn floats(name: impl Into<String>, sizes: Vec<usize>, values: Vec<f32>) -> Operand {
    Operand { name: name.into(), sizes, values: Values::F32(values) }
}

/// Calls a function in a graph whose inputs are the operands; gives each result's bytes.
fn call(
    function: &Function,
    attributes: Vec<(&str, Attribute)>,
    operands: &[Operand],
    results: &[(DType, Vec<usize>)],
) -> Vec<Vec<u8>> {
    onnxruntime_is_there();
    let mut g = GraphBuilder::new();
    let types = |values: &Values| match values {
        Values::F32(_) => (DType::F32, Dtype::F32),
        Values::I64(_) => (DType::I64, Dtype::I64),
    };
    // Activations are `[batch, tokens, channels]`; matrices and biases have fewer dimensions.
    let dims = |sizes: &[usize]| match sizes {
        [_, _, channels] => Shape::from(dims!["batch", "tokens", *channels]),
        sizes => Shape::from(sizes),
    };
    let inputs: Vec<_> = operands
        .iter()
        .map(|o| g.input(&o.name, types(&o.values).0, dims(&o.sizes)).unwrap())
        .collect();
    let declared = results.iter().map(|(dtype, sizes)| (*dtype, dims(sizes))).collect();
    let outputs =
        g.call(function, &inputs.iter().collect::<Vec<_>>(), attributes, declared).unwrap();
    for (index, value) in outputs.iter().enumerate() {
        g.output(&format!("result_{index}"), value, value.dtype(), value.shape().clone()).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("call.onnx");
    std::fs::write(&file, g.finish().encode("call", "none", ("test", "0"))).unwrap();
    run(&file, operands, results, types)
}

fn run(
    file: &std::path::Path,
    operands: &[Operand],
    results: &[(DType, Vec<usize>)],
    types: impl Fn(&Values) -> (DType, Dtype),
) -> Vec<Vec<u8>> {
    let value = |name: String, dtype, sizes: &[usize]| {
        let symbolic = |(axis, size): (usize, &usize)| match (sizes.len(), axis) {
            (3, 0) => Dim::Symbol("batch".to_owned()),
            (3, 1) => Dim::Symbol("tokens".to_owned()),
            _ => Dim::Fixed(*size),
        };
        Value { name, dtype, shape: sizes.iter().enumerate().map(symbolic).collect() }
    };
    let inputs: Vec<Value> =
        operands.iter().map(|o| value(o.name.clone(), types(&o.values).1, &o.sizes)).collect();
    let bundle_type = |dtype: DType| if dtype == DType::I64 { Dtype::I64 } else { Dtype::F32 };
    let outputs: Vec<Value> = results
        .iter()
        .enumerate()
        .map(|(i, (dtype, sizes))| value(format!("result_{i}"), bundle_type(*dtype), sizes))
        .collect();
    let mut backend = OrtBackend::new(OrtOptions::default(), vec![]).unwrap();
    let (input_refs, output_refs): (Vec<&Value>, Vec<&Value>) =
        (inputs.iter().collect(), outputs.iter().collect());
    let spec =
        StepSpec { graph: "call", file, twin: None, inputs: &input_refs, outputs: &output_refs };
    let step = backend.prepare(&spec).unwrap();
    for (index, operand) in operands.iter().enumerate() {
        let bytes: Vec<u8> = match &operand.values {
            Values::F32(values) => values.iter().flat_map(|v| v.to_ne_bytes()).collect(),
            Values::I64(values) => values.iter().flat_map(|v| v.to_ne_bytes()).collect(),
        };
        let buffer = backend.allocate(bytes.len()).unwrap();
        backend.write(buffer, 0, &bytes).unwrap();
        let view = View { buffer, offset: 0, dtype: inputs[index].dtype, shape: &operand.sizes };
        backend.bind(step, Port::Input(index), view).unwrap();
    }
    let mut buffers = Vec::new();
    for (index, (_, sizes)) in results.iter().enumerate() {
        let dtype = outputs[index].dtype;
        let bytes = sizes.iter().product::<usize>() * dtype.size();
        let buffer = backend.allocate(bytes).unwrap();
        backend
            .bind(step, Port::Output(index), View { buffer, offset: 0, dtype, shape: sizes })
            .unwrap();
        buffers.push((buffer, bytes));
    }
    backend.run(step).unwrap();
    buffers
        .into_iter()
        .map(|(buffer, bytes)| backend.read(buffer, 0, bytes).unwrap().to_vec())
        .collect()
}

fn activate(how: Activation, x: f64) -> f64 {
    match how {
        Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Gelu => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
    }
}

/// The error function by its series, exact to f64 for the small arguments of these tests.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..60 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

/// The operands of a case, in the operator's order.
fn operands(case: &Case, numbers: &mut Numbers) -> Vec<Operand> {
    let MoeShape { num_experts, num_experts_per_tok: k, inputs, hidden, outputs, .. } = case.shape;
    let rows = case.rows;
    let (mut weights, mut experts) = (Vec::new(), Vec::new());
    for _ in 0..rows {
        let logits: Vec<f64> =
            (0..num_experts).map(|expert| case.routing.logit(expert, numbers)).collect();
        for (expert, weight) in route(&logits, k) {
            experts.push(expert as i64);
            weights.push(weight as f32);
        }
    }
    let mut all = vec![
        floats("x", vec![1, rows, inputs], numbers.list(rows * inputs)),
        floats("weights", vec![1, rows, k], weights),
        Operand {
            name: "experts".to_owned(),
            sizes: vec![1, rows, k],
            values: Values::I64(experts),
        },
    ];
    let layers: &[(&str, usize, usize)] = match case.shape.gated {
        true => &[("fc1", inputs, hidden), ("up", inputs, hidden), ("fc2", hidden, outputs)],
        false => &[("fc1", inputs, hidden), ("fc2", hidden, outputs)],
    };
    for expert in 0..num_experts {
        for (layer, from, to) in layers {
            let name = format!("expert_{expert}_{layer}");
            let scale = (*from as f32).sqrt().recip();
            let matrix = numbers.list(from * to).into_iter().map(|value| value * scale).collect();
            all.push(floats(&name, vec![*from, *to], matrix));
            if case.shape.biased {
                all.push(floats(format!("{name}_bias"), vec![*to], numbers.list(*to)));
            }
        }
    }
    all
}

/// The operands with every expert's matrices the other way round, `[out, in]`.
fn transposed(operands: &[Operand]) -> Vec<Operand> {
    let turn = |operand: &Operand| match (&operand.values, operand.sizes.as_slice()) {
        (Values::F32(values), [rows, columns]) => {
            let turned =
                (0..*columns).flat_map(|c| (0..*rows).map(move |r| values[r * columns + c]));
            floats(&operand.name, vec![*columns, *rows], turned.collect())
        }
        _ => operand.clone(),
    };
    operands.iter().map(turn).collect()
}

/// The operator's definition as loops.
fn reference(case: &Case, operands: &[Operand]) -> Vec<f64> {
    let MoeShape { num_experts_per_tok: k, inputs, hidden, outputs, activation, .. } = case.shape;
    let find = |name: &str| operands.iter().find(|operand| operand.name == name);
    let list = |name: &str| match &find(name)?.values {
        Values::F32(values) => Some(values),
        Values::I64(_) => None,
    };
    let Values::I64(experts) = &find("experts").unwrap().values else { panic!() };
    let (x, weights) = (list("x").unwrap(), list("weights").unwrap());
    let layer = |name: &str, x: &[f64], to: usize| -> Vec<f64> {
        let (matrix, bias) = (list(name).unwrap(), list(&format!("{name}_bias")));
        (0..to)
            .map(|column| {
                let product =
                    x.iter().enumerate().map(|(i, x)| x * f64::from(matrix[i * to + column]));
                product.sum::<f64>() + bias.map_or(0.0, |bias| f64::from(bias[column]))
            })
            .collect()
    };
    let mut y = vec![0.0; case.rows * outputs];
    for row in 0..case.rows {
        let x: Vec<f64> = x[row * inputs..][..inputs].iter().map(|v| f64::from(*v)).collect();
        for nth in 0..k {
            let expert = format!("expert_{}", experts[row * k + nth]);
            let mut inner = layer(&format!("{expert}_fc1"), &x, hidden);
            inner.iter_mut().for_each(|v| *v = activate(activation, *v));
            if case.shape.gated {
                let up = layer(&format!("{expert}_up"), &x, hidden);
                inner.iter_mut().zip(up).for_each(|(v, up)| *v *= up);
            }
            let result = layer(&format!("{expert}_fc2"), &inner, outputs);
            for (column, value) in result.into_iter().enumerate() {
                y[row * outputs + column] += f64::from(weights[row * k + nth]) * value;
            }
        }
    }
    y
}

#[test]
fn both_bodies_of_moe_compute_what_its_definition_says() {
    let limit = Tolerances::read().f32;
    let cases = cases();
    assert!(cases.len() > 30, "{}", cases.len());
    for (number, case) in cases.iter().enumerate() {
        let operands = operands(case, &mut Numbers(number as u64));
        let want = reference(case, &operands);
        let largest = want.iter().fold(0.0, |largest: f64, v| largest.max(v.abs()));
        let other_way = transposed(&operands);
        let forms = [
            (Body::Sparse, false),
            (Body::Sparse, true),
            (Body::Dense, false),
            (Body::Dense, true),
        ];
        for (body, transposed) in forms {
            let shape = MoeShape { transposed, ..case.shape };
            let function = moe_function(Opset::default(), &shape, body).unwrap();
            let mut attributes = vec![
                ("activation", Attribute::Text(case.shape.activation.name())),
                ("gated", Attribute::Int(i64::from(case.shape.gated))),
            ];
            if transposed {
                attributes.push(("transposed", Attribute::Int(1)));
            }
            let operands = if transposed { &other_way } else { &operands };
            let results = [(DType::F32, vec![1, case.rows, case.shape.outputs])];
            let bytes = call(&function, attributes, operands, &results).remove(0);
            let (got, _) = bytes.as_chunks::<4>();
            assert_eq!(got.len(), want.len());
            for (index, (got, want)) in got.iter().zip(&want).enumerate() {
                let got = f64::from(f32::from_ne_bytes(*got));
                let close = (got - want).abs() <= limit * largest;
                assert!(close, "{} {body:?} {transposed} at {index}: {got}, not {want}", case.name);
            }
        }
    }
}

#[test]
fn the_router_takes_the_lower_index_of_equals_and_its_weights_sum_to_one() {
    let logits = [[0.0; 4], [1.0, 3.0, 3.0, 0.0], [-80.0, 80.0, 0.0, 80.0]];
    let operand = floats("logits", vec![1, 3, 4], logits.concat());
    let function = router_function(Opset::default(), 4, 2).unwrap();
    let results = [(DType::F32, vec![1, 3, 2]), (DType::I64, vec![1, 3, 2])];
    let both = call(&function, vec![("k", Attribute::Int(2))], &[operand], &results);
    let (experts, _) = both[1].as_chunks::<8>();
    let experts: Vec<i64> = experts.iter().map(|bytes| i64::from_ne_bytes(*bytes)).collect();
    assert_eq!(experts, [0, 1, 1, 2, 1, 3]);
    let (weights, _) = both[0].as_chunks::<4>();
    assert!(weights.iter().all(|bytes| (f32::from_ne_bytes(*bytes) - 0.5).abs() < 1e-6));
}
