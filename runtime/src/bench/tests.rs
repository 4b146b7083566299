//! The benchmark's honesty: a backend whose delays are known, by a clock that only they move.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use cumo_results::schema::Answer;

use super::*;
use crate::Clock;
use crate::backend::{
    Backend, BackendFacts, BackendLimits, Buffer, DeviceFacts, Interrupt, Port, StepId, StepSpec,
    View,
};
use crate::executor::Executor;
use crate::power::PowerSensor;
use crate::testing::{self, Form, HostBackend, IMAGE_TOKENS, Seen};

const WRITE_PIXELS: Duration = Duration::from_micros(200);
const WRITE_IDS: Duration = Duration::from_micros(1);
const COPY: Duration = Duration::from_micros(50);
const READ: Duration = Duration::from_micros(90);
const VISION: Duration = Duration::from_millis(7);
const CONNECTOR: Duration = Duration::from_millis(2);
const EMBED: Duration = Duration::from_micros(300);

/// What a pass of the language model takes.
fn llm(positions: usize) -> Duration {
    Duration::from_millis(4) + Duration::from_micros(100) * positions as u32
}

/// How a backend lets time pass.
#[derive(Clone)]
enum Passing {
    /// By moving this clock, in nanoseconds.
    Clock(Arc<AtomicU64>),
    /// By sleeping.
    Sleep,
}

impl Passing {
    fn pass(&self, delay: Duration) {
        match self {
            Passing::Clock(clock) => {
                clock.fetch_add(nanoseconds(delay), Ordering::SeqCst);
            }
            Passing::Sleep => thread::sleep(delay),
        }
    }

    fn clock(&self) -> Clock {
        match self {
            Passing::Clock(clock) => {
                let clock = clock.clone();
                Clock::new(move || Duration::from_nanos(clock.load(Ordering::SeqCst)))
            }
            Passing::Sleep => Clock::default(),
        }
    }
}

/// The model known by heart, with delays.
struct Delayed {
    host: HostBackend,
    /// Graphs by step, and the positions that each was bound to last.
    graphs: Vec<String>,
    positions: Vec<usize>,
    passing: Passing,
    /// Whether work is done behind the caller's back, who waits when reading or finishing.
    behind: bool,
    pending: Duration,
    /// The most positions of a pass.
    sequence: Option<usize>,
}

impl Delayed {
    fn work(&mut self, delay: Duration) {
        match self.behind {
            true => self.pending += delay,
            false => self.passing.pass(delay),
        }
    }

    fn wait(&mut self) {
        self.passing.pass(std::mem::take(&mut self.pending));
    }
}

impl Backend for Delayed {
    fn facts(&self) -> BackendFacts {
        let device = DeviceFacts {
            name: "a clock".to_owned(),
            compute_capability: 0,
            total_bytes: 1 << 30,
            peak_bytes: 12_345,
            pci_bus_id: None,
            kernels: None,
        };
        BackendFacts { device: self.behind.then_some(device), ..self.host.facts() }
    }

    fn limits(&self) -> BackendLimits {
        BackendLimits { sequence: self.sequence, ..BackendLimits::default() }
    }

    fn allocate(&mut self, bytes: usize) -> Result<Buffer, BackendError> {
        self.host.allocate(bytes)
    }

    fn map(&mut self, file: &Path) -> Result<Buffer, BackendError> {
        self.host.map(file)
    }

    fn release(&mut self, buffer: Buffer) {
        self.host.release(buffer);
    }

    fn write(&mut self, buffer: Buffer, offset: usize, bytes: &[u8]) -> Result<(), BackendError> {
        // An image has 12 numbers; ids are told apart by being fewer bytes or more of them.
        self.work(if bytes.len() == 48 { WRITE_PIXELS } else { WRITE_IDS });
        self.host.write(buffer, offset, bytes)
    }

    fn read(&mut self, buffer: Buffer, offset: usize, bytes: usize) -> Result<&[u8], BackendError> {
        self.work(READ);
        self.wait();
        self.host.read(buffer, offset, bytes)
    }

    fn copy(
        &mut self,
        from: (Buffer, usize),
        to: (Buffer, usize),
        bytes: usize,
    ) -> Result<(), BackendError> {
        self.work(COPY);
        self.host.copy(from, to, bytes)
    }

    fn prepare(&mut self, spec: &StepSpec<'_>) -> Result<StepId, BackendError> {
        self.graphs.push(spec.graph.to_owned());
        self.positions.push(0);
        self.host.prepare(spec)
    }

    fn forget_from(&mut self, first: StepId) {
        self.graphs.truncate(first.0);
        self.positions.truncate(first.0);
        self.host.forget_from(first);
    }

    fn bind(&mut self, step: StepId, port: Port, view: View<'_>) -> Result<(), BackendError> {
        if port == Port::Input(0) {
            self.positions[step.0] = view.shape.get(1).copied().unwrap_or(0);
        }
        self.host.bind(step, port, view)
    }

    fn run(&mut self, step: StepId) -> Result<(), BackendError> {
        self.host.run(step)?;
        let delay = match self.graphs[step.0].as_str() {
            "vision" => VISION,
            "connector" => CONNECTOR,
            "embed" => EMBED,
            _ => llm(self.positions[step.0]),
        };
        self.work(delay);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), BackendError> {
        self.wait();
        Ok(())
    }

    fn interrupt(&self) -> Option<Interrupt> {
        self.host.interrupt()
    }
}

/// The model with known delays.
fn model(passing: &Passing, behind: bool) -> Model {
    model_of(passing, behind, None)
}

/// The same, whose graphs were built for passes of so many positions.
fn model_of(passing: &Passing, behind: bool, sequence: Option<usize>) -> Model {
    let host = HostBackend::new(Rc::new(RefCell::new(Seen::default())));
    let passing_of_backend = passing.clone();
    let backend = Delayed {
        host,
        graphs: Vec::new(),
        positions: Vec::new(),
        passing: passing_of_backend,
        behind,
        pending: Duration::ZERO,
        sequence,
    };
    let mut bundle = testing::bundle(Form::Append);
    // Without the token that makes the model answer with NaN.
    bundle.manifest.model.llm.vocab_size = testing::POISON as usize;
    let mut executor = Executor::new(&bundle, Box::new(backend)).unwrap();
    executor.set_clock(passing.clock());
    Model::on(executor)
}

fn turned_by_hand() -> Passing {
    Passing::Clock(Arc::new(AtomicU64::new(0)))
}

/// With 8 bytes an id, no prompt has the bytes of an image.
const PROMPT: usize = 7;

fn options(images: &[&Path], depths: &[usize]) -> BenchOptions {
    BenchOptions {
        images: images.iter().map(|path| (*path).to_owned()).collect(),
        prompt_tokens: PROMPT,
        generate_tokens: 5,
        repetitions: 3,
        warmup: 1,
        depths: depths.to_vec(),
        seed: 1,
    }
}

fn measured(model: &mut Model, options: &BenchOptions) -> BenchResult {
    let cancel = CancelToken::new();
    let mut result = BenchResult::default();
    Bench::new(model, options, &cancel, &mut ()).run(&mut result).unwrap();
    result
}

/// Within 2 % of what is known.
fn assert_near(what: &str, got: u64, known: Duration) {
    let (got, known) = (got as f64, known.as_nanos() as f64);
    assert!((got - known).abs() <= 0.02 * known, "{what}: {got} ns, it is {known} ns");
}

fn assert_first_token(answer: &Answer) {
    let parts = answer.first_token;
    assert_near("copy", parts.copy_ns.unwrap(), WRITE_PIXELS + COPY);
    assert_near("vision", parts.vision_ns.unwrap(), VISION);
    assert_near("connector", parts.connector_ns.unwrap(), CONNECTOR);
    assert_near("splice", parts.splice_ns.unwrap(), EMBED + COPY);
    assert_near("prefill", parts.prefill_ns.unwrap(), llm(PROMPT + IMAGE_TOKENS));
    assert_near("first sample", parts.first_sample_ns.unwrap(), READ);
    let residual = parts.residual_ns();
    let total = parts.total_ns as f64;
    assert!((0.0..0.02 * total).contains(&residual), "{residual} of {total}");
}

#[test]
fn parts_of_the_first_token_are_what_they_are_known_to_be_and_sum_up() {
    for behind in [false, true] {
        let image = SyntheticImage::new().unwrap();
        let mut model = model(&turned_by_hand(), behind);
        let result = measured(&mut model, &options(&[image.path()], &[]));
        assert_eq!(result.answers.len(), 3);
        for answer in &result.answers {
            assert_first_token(answer);
            let known = WRITE_PIXELS
                + COPY
                + VISION
                + CONNECTOR
                + EMBED
                + COPY
                + llm(PROMPT + IMAGE_TOKENS)
                + READ;
            assert_near("the whole", answer.first_token.total_ns, known);
            assert_eq!(answer.inter_token_ns.len(), 4);
            for gap in &answer.inter_token_ns {
                assert_near("a token", *gap, EMBED + llm(1) + READ);
            }
        }
        assert_eq!(result.memory.peak_device_bytes, behind.then_some(12_345));
        assert!(result.memory.cache_bytes.unwrap() > 0);
    }
}

#[test]
fn without_images_their_parts_are_absent_and_not_zero() {
    let mut model = model(&turned_by_hand(), true);
    let result = measured(&mut model, &options(&[], &[]));
    let parts = result.answers[0].first_token;
    assert_eq!(
        (parts.decode_image_ns, parts.vision_ns, parts.connector_ns, parts.copy_ns),
        (None, None, None, None)
    );
    assert_near("the whole", parts.total_ns, EMBED + llm(PROMPT) + READ);
}

#[test]
fn prompts_and_tokens_at_depths_take_what_they_are_known_to_take() {
    for behind in [false, true] {
        let mut model = model(&turned_by_hand(), behind);
        let result = measured(&mut model, &options(&[], &[0, 8, 4096]));
        let depths: Vec<u64> = result.prefill.iter().map(|prefill| prefill.depth_tokens).collect();
        assert_eq!(depths, [0, 8]);
        for prefill in &result.prefill {
            assert_eq!((prefill.tokens, prefill.repetitions_ns.len()), (PROMPT as u64, 3));
            for time in &prefill.repetitions_ns {
                assert_near("a prompt", *time, EMBED + llm(PROMPT) + READ);
            }
        }
        for generation in &result.generation {
            assert_eq!((generation.tokens, generation.repetitions_inter_token_ns.len()), (5, 3));
            for times in &generation.repetitions_inter_token_ns {
                assert_eq!(times.len(), 5);
                for time in times {
                    assert_near("a token", *time, EMBED + llm(1) + READ);
                }
            }
        }
        assert_eq!(
            result.notes,
            [
                "depth 4096 was skipped: with 7 new tokens it needs 4103 positions, the model's context has 64"
            ]
        );
    }
}

#[test]
fn prompts_go_through_the_model_in_the_pieces_that_graphs_were_built_for() {
    let pieces = |positions: &[usize]| -> Duration {
        positions.iter().map(|positions| EMBED + llm(*positions)).sum()
    };
    for (sequence, known) in [(3, pieces(&[3, 3, 1])), (16, pieces(&[PROMPT]))] {
        let mut model = model_of(&turned_by_hand(), true, Some(sequence));
        let result = measured(&mut model, &options(&[], &[8]));
        for time in &result.prefill[0].repetitions_ns {
            assert_near("a prompt", *time, known + READ);
        }
        for answer in &result.answers {
            assert_near("the same in an answer", answer.first_token.total_ns, known + READ);
        }
    }
}

#[test]
fn an_answer_that_fills_the_context_says_how_long_it_is() {
    let mut model = model(&turned_by_hand(), false);
    let options = BenchOptions { prompt_tokens: 60, ..options(&[], &[]) };
    let result = measured(&mut model, &options);
    assert_eq!(result.notes, ["answers have 4 tokens instead of 5: the model's context is full"]);
}

#[test]
fn the_same_seed_asks_the_same_question() {
    let (mut model, cancel) = (model(&turned_by_hand(), false), CancelToken::new());
    let mut question = |seed| {
        let options = BenchOptions { seed, ..options(&[], &[]) };
        Bench::new(&mut model, &options, &cancel, &mut ()).question()
    };
    assert_eq!(question(1), question(1));
    assert_ne!(question(1), question(2));
    assert_eq!(question(1).len(), PROMPT);
}

#[test]
fn a_cancelled_benchmark_ends_wherever_it_is() {
    struct CancelAt<'a>(&'static str, &'a CancelToken);
    impl BenchProgress for CancelAt<'_> {
        fn begin(&mut self, what: &str, _: usize) {
            if what == self.0 {
                self.1.cancel();
            }
        }
        fn step(&mut self) {}
    }
    for at in ["question", "depth 0", "depth 8"] {
        let (mut model, cancel) = (model(&turned_by_hand(), true), CancelToken::new());
        let (options, mut progress) = (options(&[], &[0, 8]), CancelAt(at, &cancel));
        let mut bench = Bench::new(&mut model, &options, &cancel, &mut progress);
        let error = bench.run(&mut BenchResult::default()).unwrap_err();
        assert!(matches!(error, Error::Backend(BackendError::Interrupted)), "{at}: {error}");
    }
}

#[test]
fn after_a_benchmark_the_model_answers_as_before() {
    let (mut fresh, mut used) = (model(&turned_by_hand(), false), model(&turned_by_hand(), false));
    measured(&mut used, &options(&[], &[0, 8]));
    let ask = |model: &mut Model| {
        let options = crate::GenerateOptions {
            max_new_tokens: 6,
            sampling: crate::SamplingOptions::greedy(),
            ..Default::default()
        };
        let cancel = CancelToken::new();
        model.generate(&[1, 5, 9], &[], &options, &cancel, &mut |_| ()).unwrap().tokens
    };
    assert_eq!(ask(&mut used), ask(&mut fresh));
}

#[test]
fn energy_counts_images_and_tokens_and_is_not_known_where_the_sensor_vanishes() {
    let image = SyntheticImage::new().unwrap();
    let (mut model, cancel) = (model(&turned_by_hand(), false), CancelToken::new());
    let options = options(&[image.path(), image.path()], &[]);
    let mut nobody = ();
    let mut bench = Bench::new(&mut model, &options, &cancel, &mut nobody);
    let energy = bench.energy(&mut PowerSensor::test(usize::MAX), Duration::ZERO).unwrap().unwrap();
    assert_eq!(energy.idle.unwrap().count, 0);
    assert_eq!(energy.images.iter().map(|span| span.count).collect::<Vec<_>>(), [2, 2, 2]);
    assert_eq!(energy.tokens.iter().map(|span| span.count).collect::<Vec<_>>(), [1, 1, 1]);

    let error = bench.energy(&mut PowerSensor::test(5), Duration::ZERO).unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the sensor test vanished: as asked");
}

/// With the system's own clock, on a machine that may have other things to do: nothing is measured
/// as shorter than it is.
#[test]
fn real_delays_are_in_the_real_times() {
    let image = SyntheticImage::new().unwrap();
    let mut model = model(&Passing::Sleep, true);
    let options = BenchOptions { repetitions: 1, warmup: 0, ..options(&[image.path()], &[]) };
    let result = measured(&mut model, &options);
    let parts = result.answers[0].first_token;
    assert!(parts.decode_image_ns.unwrap() > 0 && parts.preprocess_ns.unwrap() > 0);
    assert!(parts.vision_ns.unwrap() >= nanoseconds(VISION));
    assert!(parts.connector_ns.unwrap() >= nanoseconds(CONNECTOR));
    assert!(parts.prefill_ns.unwrap() >= nanoseconds(llm(PROMPT + IMAGE_TOKENS)));
    assert!(parts.residual_ns() >= 0.0);
}
