//! Recorded calls on TensorRT engines: which engine takes a call, and how far its outputs are off.

use std::collections::BTreeMap;

use cumo_bundle::{Dtype, EngineEntry, Engines, Pass, ShapeRange, names};
use cumo_runtime::HostTensor;
use cumo_tensorrt::{Context, DeviceBuffer, Error, Runtime, Stream};
use cumo_tests::Comparison;

use crate::recorder::{Call, Recorded};

/// How many runs a time is the median of, and how many come before them.
const RUNS: usize = 20;
const WARM_UP: usize = 3;

/// The engine that takes a call: of its graph, for its number of positions, its shapes in range.
pub(crate) fn engine_of<'a>(engines: &'a Engines, call: &Call) -> Option<&'a EngineEntry> {
    let of_graph = engines.manifest.engines.iter().filter(|engine| engine.graph == call.graph);
    let takes = |engine: &&EngineEntry| {
        engine.profile.iter().all(|(name, range)| {
            call.input(name).is_some_and(|input| is_within(&input.shape, range))
        })
    };
    // A pass of one position also fits into a prefill's range; the engine for it comes first.
    of_graph.filter(takes).max_by_key(|engine| engine.pass == Pass::Decode)
}

fn is_within(shape: &[usize], range: &ShapeRange) -> bool {
    let ranges = range.min.iter().zip(&range.max);
    shape.len() == range.min.len()
        && shape.iter().zip(ranges).all(|(size, (min, max))| (min..=max).contains(&size))
}

/// What the calls of one engine gave.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) calls: usize,
    /// The largest error, as a part of the reference's largest value.
    pub(crate) error: f64,
    /// What is beyond the limit, for people.
    pub(crate) faults: Vec<String>,
    /// The median time of the last call.
    pub(crate) milliseconds: f32,
    /// Device memory that the loaded engine says its activations need.
    pub(crate) activation_bytes: u64,
}

impl Outcome {
    /// Compares the input whose memory an output is to share with the one that the engine says.
    fn check_alias(&mut self, output: &str, want: Option<&str>, got: Option<&str>) {
        if want != got {
            let name = |input: Option<&str>| input.unwrap_or("no input").to_owned();
            let (want, got) = (name(want), name(got));
            self.faults.push(format!("`{output}` shares the memory of {got}, not of {want}"));
        }
    }

    /// Compares what a call gave with what ONNX Runtime gave.
    pub(crate) fn add(&mut self, call: &Call, outputs: &[Recorded], limit: f64) {
        self.calls += 1;
        for (got, want) in outputs.iter().zip(&call.outputs) {
            let Comparison { ratio, index, got, want: value } = compare(got, want);
            self.error = self.error.max(if ratio.is_nan() { f64::INFINITY } else { ratio });
            // Written so that NaN fails.
            if ratio <= limit {
                continue;
            }
            let name = &want.name;
            self.faults.push(format!("`{name}` at {index} is {got}, not {value} ({ratio:.2e})"));
        }
    }
}

/// Compares two tensors. Integers, which are choices of experts, must be equal but for their order
/// in a row, as f16 products turn near equals around. What is masked is as far below everything as
/// its type goes, and no measure of the rest.
fn compare(got: &Recorded, want: &Recorded) -> Comparison {
    let are_choices = matches!(want.dtype, Dtype::I64 | Dtype::I32);
    let is_mask = want.name == names::ATTENTION_MASK;
    let tensor = |tensor: &Recorded| {
        let mut tensor = tensor.host();
        if is_mask {
            tensor.values.iter_mut().for_each(|value| *value = f32::from(*value > -1e4));
        }
        if are_choices {
            let row = tensor.shape.last().copied().unwrap_or(1).max(1);
            tensor.values.chunks_mut(row).for_each(|row| row.sort_by(f32::total_cmp));
        }
        tensor
    };
    let (got, want) = (tensor(got), tensor(want));
    let mut found = Comparison::of(&got, &want);
    if got == want {
        // Also where all is zero.
        found.ratio = 0.0;
    } else if are_choices {
        found.ratio = f64::INFINITY;
    }
    found
}

impl Recorded {
    fn host(&self) -> HostTensor {
        let values = match self.dtype {
            Dtype::F32 => self.bytes.as_chunks().0.iter().map(|b| f32::from_ne_bytes(*b)).collect(),
            Dtype::F16 => {
                let value = |bytes: &[u8; 2]| half::f16::from_ne_bytes(*bytes).to_f32();
                self.bytes.as_chunks().0.iter().map(value).collect()
            }
            Dtype::I64 => {
                self.bytes.as_chunks().0.iter().map(|b| i64::from_ne_bytes(*b) as f32).collect()
            }
            Dtype::I32 => {
                self.bytes.as_chunks().0.iter().map(|b| i32::from_ne_bytes(*b) as f32).collect()
            }
        };
        HostTensor { shape: self.shape.clone(), values }
    }
}

/// Runs calls on one engine and compares them.
///
/// # Errors
/// [`Error`] of TensorRT's or CUDA's.
pub(crate) fn replay(
    runtime: &Runtime,
    engine: &[u8],
    calls: &[&Call],
    limit: f64,
) -> Result<Outcome, Error> {
    let engine = runtime.load(engine)?;
    let stream = runtime.stream()?;
    let mut context = engine.context()?;
    let activation_bytes = engine.activation_bytes(0)?;
    let mut outcome = Outcome { activation_bytes, ..Outcome::default() };
    for call in calls.iter().take(1) {
        for (output, in_place) in call.outputs.iter().zip(&call.in_place) {
            let input = in_place.map(|input| call.inputs[input].name.clone());
            let alias = engine.aliased_input(&output.name)?;
            outcome.check_alias(&output.name, input.as_deref(), alias.as_deref());
        }
    }
    for call in calls {
        let buffers = bind(runtime, &stream, &mut context, call)?;
        context.enqueue(&stream)?;
        let mut outputs = Vec::new();
        for output in &call.outputs {
            let mut bytes = vec![0; output.bytes.len()];
            stream.read(&mut bytes, &buffers[&output.name])?;
            outputs.push(Recorded { bytes, ..output.clone() });
        }
        outcome.add(call, &outputs, limit);
    }
    outcome.milliseconds = median_time(runtime, &stream, &mut context)?;
    Ok(outcome)
}

/// Gives a call's tensors to a context; outputs by name. An output in an input's memory is there on
/// the device too.
fn bind(
    runtime: &Runtime,
    stream: &Stream,
    context: &mut Context,
    call: &Call,
) -> Result<BTreeMap<String, DeviceBuffer>, Error> {
    let mut inputs = Vec::new();
    for input in &call.inputs {
        let shape: Vec<i64> = input.shape.iter().map(|size| *size as i64).collect();
        let buffer = runtime.buffer(input.bytes.len().max(1) as u64)?;
        stream.write(&buffer, &input.bytes)?;
        context.set_shape(&input.name, &shape)?;
        context.set_tensor(&input.name, &buffer)?;
        inputs.push(buffer);
    }
    let mut outputs = BTreeMap::new();
    for (output, in_place) in call.outputs.iter().zip(&call.in_place) {
        let buffer = match in_place {
            Some(input) => inputs[*input].clone(),
            None => runtime.buffer(output.bytes.len().max(1) as u64)?,
        };
        context.set_tensor(&output.name, &buffer)?;
        outputs.insert(output.name.clone(), buffer);
    }
    Ok(outputs)
}

/// Milliseconds of a run of what is bound: CUDA events, warm, the median.
fn median_time(runtime: &Runtime, stream: &Stream, context: &mut Context) -> Result<f32, Error> {
    let (start, end) = (runtime.event()?, runtime.event()?);
    let mut times = Vec::new();
    for run in 0..WARM_UP + RUNS {
        start.record(stream)?;
        context.enqueue(stream)?;
        end.record(stream)?;
        end.synchronize()?;
        if run >= WARM_UP {
            times.push(start.milliseconds_until(&end)?);
        }
    }
    times.sort_by(f32::total_cmp);
    Ok(times[RUNS / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(name: &str, values: &[f32]) -> Recorded {
        let bytes = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
        Recorded { name: name.to_owned(), dtype: Dtype::F32, shape: vec![values.len()], bytes }
    }

    fn outcome(name: &str, got: &[f32], want: &[f32]) -> Outcome {
        let outputs = vec![recorded(name, want)];
        let call = Call { graph: String::new(), inputs: Vec::new(), outputs, in_place: vec![None] };
        let mut outcome = Outcome::default();
        outcome.add(&call, &[recorded(name, got)], 0.02);
        outcome
    }

    #[test]
    fn what_is_beyond_the_limit_is_named() {
        assert_eq!(outcome("y", &[0.0, 0.0], &[0.0, 0.0]).faults, Vec::<String>::new());
        assert_eq!(outcome("y", &[4.0, 1.01], &[4.0, 1.0]).faults, Vec::<String>::new());
        let found = outcome("y", &[4.0, 1.5], &[4.0, 1.0]);
        assert_eq!(found.faults, ["`y` at 1 is 1.5, not 1 (1.25e-1)"]);
        assert_eq!(outcome("y", &[f32::NAN], &[1.0]).faults.len(), 1);
    }

    #[test]
    fn a_cache_that_is_not_updated_in_place_is_named() {
        let mut outcome = Outcome::default();
        outcome.check_alias("present_key", Some("past_key"), Some("past_key"));
        outcome.check_alias("logits", None, None);
        assert_eq!(outcome.faults, [""; 0]);
        outcome.check_alias("present_key", Some("past_key"), None);
        assert_eq!(
            outcome.faults,
            ["`present_key` shares the memory of no input, not of past_key"]
        );
    }

    #[test]
    fn choices_are_equal_in_any_order() {
        let choices = |values: &[i64]| Recorded {
            dtype: Dtype::I64,
            shape: vec![values.len() / 2, 2],
            bytes: values.iter().flat_map(|value| value.to_ne_bytes()).collect(),
            ..recorded("experts", &[])
        };
        let ratio = |got: &[i64], want: &[i64]| compare(&choices(got), &choices(want)).ratio;
        assert_eq!(ratio(&[63, 1, 2, 0], &[1, 63, 0, 2]), 0.0);
        assert_eq!(ratio(&[62, 1, 2, 0], &[1, 63, 0, 2]), f64::INFINITY);
    }

    #[test]
    fn a_mask_is_compared_by_what_it_lets_through() {
        let mask = names::ATTENTION_MASK;
        assert_eq!(outcome(mask, &[0.0, -65504.0], &[0.0, f32::NEG_INFINITY]).faults.len(), 0);
        assert_eq!(outcome(mask, &[0.0, 0.0], &[0.0, -65504.0]).faults.len(), 1);
    }
}
