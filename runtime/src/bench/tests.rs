//! The benchmark's honesty: a backend whose delays are known, by a clock that only they move.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use cumo_results::schema::{Answer, Energy};

use super::*;
use crate::Clock;
use crate::backend::{
    Backend, BackendFacts, BackendLimits, Buffer, DeviceFacts, Interrupt, Port, StepId, StepSpec,
    View,
};
use crate::executor::Executor;
use crate::power::{PowerError, PowerSensor};
use crate::testing::{self, Form, HostBackend, IMAGE_TOKENS, Seen};

// Each is a tenth of what it is in at least, so that whoever leaves one out is off by more than 2 %.
const WRITE_PIXELS: Duration = Duration::from_millis(3);
const WRITE_IDS: Duration = Duration::from_micros(1);
const COPY: Duration = Duration::from_millis(4);
const READ: Duration = Duration::from_millis(4);
const VISION: Duration = Duration::from_millis(5);
const CONNECTOR: Duration = Duration::from_millis(4);
const EMBED: Duration = Duration::from_millis(3);

/// What a pass of the language model takes behind so many positions of the past.
fn llm(positions: usize, past: usize) -> Duration {
    let each = |micros, count: usize| Duration::from_micros(micros) * count as u32;
    Duration::from_millis(4) + each(100, positions) + each(500, past)
}

/// A token from its id to the choice of the next.
fn token(past: usize) -> Duration {
    EMBED + llm(1, past) + READ
}

/// Watts at rest, and while the tower and the language model work.
const IDLE: f64 = 10.0;
const SEEING: f64 = 40.0;
const TALKING: f64 = 25.0;

/// Watts above those of rest that work leaves behind, and how long half of them stays.
const WARMTH: f64 = 30.0;
const HALF_LIFE: f64 = 1.5;

/// Time and energy as a test has them.
#[derive(Clone, Default)]
struct ByHand(Arc<Mutex<Passed>>);

#[derive(Clone, Copy, Default)]
struct Passed {
    now: Duration,
    joules: f64,
    /// When work ended.
    worked: Option<Duration>,
}

impl ByHand {
    fn work(&self, delay: Duration, watts: f64) {
        let mut passed = self.0.lock().unwrap();
        passed.now += delay;
        passed.joules += watts * delay.as_secs_f64();
        passed.worked = Some(passed.now);
    }

    /// The warmth of the last work goes meanwhile.
    fn rest(&self, time: Duration) {
        let mut passed = self.0.lock().unwrap();
        let warmth = |now: Duration| {
            let worked = passed.worked?;
            let since = now.saturating_sub(worked).as_secs_f64();
            Some(WARMTH * HALF_LIFE / std::f64::consts::LN_2 * (-since / HALF_LIFE).exp2())
        };
        let lost = warmth(passed.now).unwrap_or(0.0) - warmth(passed.now + time).unwrap_or(0.0);
        passed.now += time;
        passed.joules += IDLE * time.as_secs_f64() + lost;
    }

    fn clock(&self) -> Clock {
        let (clock, resting) = (self.clone(), self.clone());
        Clock::new(move || clock.0.lock().unwrap().now).sleeping(move |time| resting.rest(time))
    }

    fn sensor(&self) -> PowerSensor {
        let clock = self.clone();
        let joules = move || Ok(clock.0.lock().unwrap().joules);
        PowerSensor::counter(Box::new(joules), self.clock())
    }
}

/// How a backend lets time pass.
#[derive(Clone)]
enum Passing {
    /// By moving this clock.
    Clock(ByHand),
    /// By sleeping.
    Sleep,
}

impl Passing {
    fn pass(&self, delay: Duration, watts: f64) {
        match self {
            Passing::Clock(clock) => clock.work(delay, watts),
            Passing::Sleep => thread::sleep(delay),
        }
    }

    fn clock(&self) -> Clock {
        match self {
            Passing::Clock(clock) => clock.clock(),
            Passing::Sleep => Clock::default(),
        }
    }
}

/// The model known by heart, with delays.
struct Delayed {
    host: HostBackend,
    steps: Vec<DelayedStep>,
    passing: Passing,
    /// Whether work is done behind the caller's back, who waits when reading or finishing.
    behind: bool,
    pending: Vec<(Duration, f64)>,
    /// How often the caller waited for work without reading.
    waits: Rc<Cell<usize>>,
    limits: BackendLimits,
}

/// A graph, which of its inputs is the mask over past and new positions, and how many there are of
/// new ones and of all.
struct DelayedStep {
    graph: String,
    mask: Option<usize>,
    positions: usize,
    all: usize,
}

impl Delayed {
    fn work(&mut self, delay: Duration, watts: f64) {
        match self.behind {
            true => self.pending.push((delay, watts)),
            false => self.passing.pass(delay, watts),
        }
    }

    fn wait(&mut self) {
        for (delay, watts) in std::mem::take(&mut self.pending) {
            self.passing.pass(delay, watts);
        }
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
        self.limits
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
        match bytes.len() == 48 {
            true => self.work(WRITE_PIXELS, SEEING),
            false => self.work(WRITE_IDS, TALKING),
        }
        self.host.write(buffer, offset, bytes)
    }

    fn read(&mut self, buffer: Buffer, offset: usize, bytes: usize) -> Result<&[u8], BackendError> {
        self.work(READ, TALKING);
        self.wait();
        self.host.read(buffer, offset, bytes)
    }

    fn copy(
        &mut self,
        from: (Buffer, usize),
        to: (Buffer, usize),
        bytes: usize,
    ) -> Result<(), BackendError> {
        // Nothing is moved when a cache is emptied.
        if bytes > 0 {
            self.work(COPY, SEEING);
        }
        self.host.copy(from, to, bytes)
    }

    fn prepare(&mut self, spec: &StepSpec<'_>) -> Result<StepId, BackendError> {
        let mask = spec.inputs.iter().position(|input| input.name == "attention_mask");
        let graph = spec.graph.to_owned();
        self.steps.push(DelayedStep { graph, mask, positions: 0, all: 0 });
        self.host.prepare(spec)
    }

    fn forget_from(&mut self, first: StepId) {
        self.steps.truncate(first.0);
        self.host.forget_from(first);
    }

    fn bind(&mut self, step: StepId, port: Port, view: View<'_>) -> Result<(), BackendError> {
        let delayed = &mut self.steps[step.0];
        let positions = view.shape.get(1).copied().unwrap_or(0);
        match port {
            Port::Input(0) => delayed.positions = positions,
            Port::Input(index) if delayed.mask == Some(index) => delayed.all = positions,
            _ => {}
        }
        self.host.bind(step, port, view)
    }

    fn run(&mut self, step: StepId) -> Result<(), BackendError> {
        self.host.run(step)?;
        let ran = &self.steps[step.0];
        let (delay, watts) = match ran.graph.as_str() {
            "vision" => (VISION, SEEING),
            "connector" => (CONNECTOR, SEEING),
            "embed" => (EMBED, TALKING),
            _ => (llm(ran.positions, ran.all - ran.positions), TALKING),
        };
        self.work(delay, watts);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), BackendError> {
        self.waits.set(self.waits.get() + 1);
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
    let limits = BackendLimits { sequence, ..BackendLimits::default() };
    waited_for(passing, behind, limits, Rc::default())
}

/// The same, which counts how often it is waited for.
fn waited_for(
    passing: &Passing,
    behind: bool,
    limits: BackendLimits,
    waits: Rc<Cell<usize>>,
) -> Model {
    let host = HostBackend::new(Rc::new(RefCell::new(Seen::default())));
    let passing_of_backend = passing.clone();
    let backend = Delayed {
        host,
        steps: Vec::new(),
        passing: passing_of_backend,
        behind,
        pending: Vec::new(),
        waits,
        limits,
    };
    let mut bundle = testing::bundle(Form::Append);
    // Without the token that makes the model answer with NaN.
    bundle.manifest.model.llm.vocab_size = testing::POISON as usize;
    let mut executor = Executor::new(&bundle, Box::new(backend)).unwrap();
    executor.set_clock(passing.clock());
    Model::on(executor)
}

fn turned_by_hand() -> Passing {
    Passing::Clock(ByHand::default())
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
    assert_near("prefill", parts.prefill_ns.unwrap(), llm(PROMPT + IMAGE_TOKENS, 0));
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
                + llm(PROMPT + IMAGE_TOKENS, 0)
                + READ;
            assert_near("the whole", answer.first_token.total_ns, known);
            assert_eq!(answer.inter_token_ns.len(), 4);
            for (index, gap) in answer.inter_token_ns.iter().enumerate() {
                assert_near("a token", *gap, token(PROMPT + IMAGE_TOKENS + index));
            }
        }
        assert_eq!(result.memory.peak_device_bytes, behind.then_some(12_345));
        assert_eq!(result.memory.cache_bytes, Some(model.executor().cache_bytes() as u64));
        // Two heads of one number of 4 bytes for each position.
        let positions = (PROMPT + IMAGE_TOKENS + 4) as u64;
        assert!(result.memory.cache_bytes.unwrap() >= 8 * positions, "{:?}", result.memory);
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
    assert_near("the whole", parts.total_ns, EMBED + llm(PROMPT, 0) + READ);
}

#[test]
fn prompts_and_tokens_at_depths_take_what_they_are_known_to_take() {
    for behind in [false, true] {
        let mut model = model(&turned_by_hand(), behind);
        let result = measured(&mut model, &options(&[], &[0, 8, 4096]));
        let depths: Vec<u64> = result.prefill.iter().map(|prefill| prefill.depth_tokens).collect();
        assert_eq!(depths, [0, 8]);
        for prefill in &result.prefill {
            let past = prefill.depth_tokens as usize;
            assert_eq!((prefill.tokens, prefill.repetitions_ns.len()), (PROMPT as u64, 3));
            for time in &prefill.repetitions_ns {
                assert_near("a prompt", *time, EMBED + llm(PROMPT, past) + READ);
            }
        }
        for generation in &result.generation {
            let past = generation.depth_tokens as usize;
            assert_eq!((generation.tokens, generation.repetitions_inter_token_ns.len()), (5, 3));
            for times in &generation.repetitions_inter_token_ns {
                assert_eq!(times.len(), 5);
                for (index, time) in times.iter().enumerate() {
                    assert_near("a token", *time, token(past + index));
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
fn a_depth_that_engines_have_no_room_for_names_their_option() {
    let limits = BackendLimits { cache: Some(testing::CONTEXT), ..BackendLimits::default() };
    let mut model = waited_for(&turned_by_hand(), true, limits, Rc::default());
    let (options, cancel, mut nobody) = (options(&[], &[]), CancelToken::new(), ());
    let mut bench = Bench::new(&mut model, &options, &cancel, &mut nobody);
    assert_eq!(bench.depth_problem(64 - PROMPT), None);
    assert_eq!(
        bench.depth_problem(64).unwrap(),
        "with 7 new tokens it needs 71 positions, the engines were built for 64 (cumo-export engine --max-context 71, where the model has room)"
    );
}

#[test]
fn prompts_go_through_the_model_in_the_pieces_that_graphs_were_built_for() {
    let pieces = |positions: &[usize], depth: usize| -> Duration {
        let mut past = depth;
        let piece = |positions: &usize| {
            past += positions;
            EMBED + llm(*positions, past - positions)
        };
        positions.iter().map(piece).sum()
    };
    for (sequence, of_prompt) in [(3, &[3, 3, 1][..]), (16, &[PROMPT])] {
        let mut model = model_of(&turned_by_hand(), true, Some(sequence));
        let result = measured(&mut model, &options(&[], &[8]));
        for time in &result.prefill[0].repetitions_ns {
            assert_near("a prompt", *time, pieces(of_prompt, 8) + READ);
        }
        for answer in &result.answers {
            let known = pieces(of_prompt, 0) + READ;
            assert_near("the same in an answer", answer.first_token.total_ns, known);
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
fn behind_the_first_token_nothing_is_waited_for_but_what_is_read() {
    let waits_of = |tokens: usize| {
        let waits = Rc::new(Cell::new(0));
        let mut model =
            waited_for(&turned_by_hand(), true, BackendLimits::default(), waits.clone());
        let image = SyntheticImage::new().unwrap();
        let options =
            BenchOptions { generate_tokens: tokens, warmup: 0, ..options(&[image.path()], &[]) };
        let result = measured(&mut model, &options);
        assert_eq!(result.answers[0].inter_token_ns.len(), tokens - 1);
        waits.get()
    };
    assert_eq!(waits_of(1), waits_of(9));
    assert!(waits_of(1) >= 3 * 4, "every stage is waited for: {}", waits_of(1));
}

/// A bench of a model behind its caller's back whose images and tokens take known energy.
fn energy_of(images: &[&Path], span: Duration) -> (ByHand, Result<(Energy, Rest), PowerError>) {
    let clock = ByHand::default();
    let passing = Passing::Clock(clock.clone());
    let (mut model, cancel) = (model(&passing, true), CancelToken::new());
    let (options, mut nobody) = (options(images, &[]), ());
    let mut bench = Bench::new(&mut model, &options, &cancel, &mut nobody);
    let energy = bench.energy(&mut clock.sensor(), span).unwrap();
    (clock, energy)
}

/// Within 2 % of what is known.
fn assert_joules(what: &str, got: f64, known: f64) {
    assert!((got - known).abs() <= 0.02 * known, "{what}: {got}, it is {known}");
}

#[test]
fn energy_is_that_of_the_work_that_is_counted() {
    let image = SyntheticImage::new().unwrap();
    let span = Duration::from_secs(2);
    let (_, energy) = energy_of(&[image.path()], span);
    let (energy, _) = energy.unwrap();
    let an_image = WRITE_PIXELS + VISION + CONNECTOR + COPY;
    assert_eq!((energy.images.len(), energy.tokens.len()), (3, 3));
    for images in &energy.images {
        assert!(images.duration_ns >= nanoseconds(span) && images.count > 50, "{images:?}");
        assert_joules("an image", images.joules_each().unwrap(), SEEING * an_image.as_secs_f64());
        assert_joules("its watts", images.watts().unwrap(), SEEING);
    }
    for tokens in &energy.tokens {
        // Five tokens, each behind the others; then again from an empty context.
        let known: Duration = (0..tokens.count as usize).map(|index| token(index % 5)).sum();
        assert!(tokens.count > 100, "{tokens:?}");
        assert_joules("tokens", tokens.joules, TALKING * known.as_secs_f64());
        assert_joules("their watts", tokens.watts().unwrap(), TALKING);
    }
}

#[test]
fn the_machine_rests_until_its_power_has_stopped_falling() {
    let (_, energy) = energy_of(&[], Duration::from_secs(2));
    let (energy, rest) = energy.unwrap();
    assert_eq!((energy.idle, energy.idle_after), (None, Some(rest.span)));
    assert!(rest.is_settled && rest.span.count == 0, "{rest:?}");
    // Right behind the work it was up to four times as much.
    assert_joules("idle", rest.span.watts().unwrap(), IDLE);

    // Spans in which it falls by much less than it has to fall.
    let (_, energy) = energy_of(&[], Duration::from_millis(100));
    let (_, rest) = energy.unwrap();
    assert!(!rest.is_settled && rest.span.watts().unwrap() > 1.2 * IDLE, "{rest:?}");
}

#[test]
fn a_machine_that_has_not_worked_is_idle_at_once() {
    let clock = ByHand::default();
    let (mut model, cancel) = (model(&Passing::Clock(clock.clone()), true), CancelToken::new());
    let (options, mut nobody) = (options(&[], &[]), ());
    let mut bench = Bench::new(&mut model, &options, &cancel, &mut nobody);
    let before = clock.clock().now();
    let rest = bench.rest(&mut clock.sensor(), Duration::from_secs(2)).unwrap().unwrap();
    assert_joules("idle", rest.span.watts().unwrap(), IDLE);
    assert!(clock.clock().since(before) < Duration::from_secs(7));
    // It can be cancelled.
    cancel.cancel();
    let mut bench = Bench::new(&mut model, &options, &cancel, &mut nobody);
    let error = bench.rest(&mut clock.sensor(), Duration::from_secs(2)).unwrap_err();
    assert!(matches!(error, Error::Backend(BackendError::Interrupted)), "{error}");
}

#[test]
fn energy_is_not_known_where_the_sensor_vanishes() {
    let image = SyntheticImage::new().unwrap();
    let (mut model, cancel) = (model(&turned_by_hand(), false), CancelToken::new());
    let options = options(&[image.path(), image.path()], &[]);
    let mut nobody = ();
    let mut bench = Bench::new(&mut model, &options, &cancel, &mut nobody);
    let (energy, _) =
        bench.energy(&mut PowerSensor::test(usize::MAX), Duration::ZERO).unwrap().unwrap();
    assert_eq!(energy.images.iter().map(|span| span.count).collect::<Vec<_>>(), [2, 2, 2]);
    assert_eq!(energy.tokens.iter().map(|span| span.count).collect::<Vec<_>>(), [1, 1, 1]);
    // In an image, in tokens, and at rest.
    for readings in [1, 3, 13] {
        let mut sensor = PowerSensor::test(readings);
        let error = bench.energy(&mut sensor, Duration::ZERO).unwrap().unwrap_err();
        assert_eq!(error.to_string(), "the sensor test vanished: as asked");
    }
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
    assert!(parts.prefill_ns.unwrap() >= nanoseconds(llm(PROMPT + IMAGE_TOKENS, 0)));
    assert!(parts.residual_ns() >= 0.0);
}
