//! The model with known delays: a backend whose work takes known time and energy, by a clock that
//! only it moves.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::Clock;
use crate::backend::{
    Backend, BackendError, BackendFacts, BackendLimits, Buffer, DeviceFacts, Interrupt, Port,
    StepId, StepSpec, View,
};
use crate::executor::Executor;
use crate::model::Model;
use crate::power::PowerSensor;
use crate::testing::{self, Form, HostBackend, Seen};

// Each is a tenth of what it is in at least, so that whoever leaves one out is off by more than 2 %.
pub(super) const WRITE_PIXELS: Duration = Duration::from_millis(3);
const WRITE_IDS: Duration = Duration::from_micros(1);
pub(super) const COPY: Duration = Duration::from_millis(4);
pub(super) const READ: Duration = Duration::from_millis(4);
pub(super) const VISION: Duration = Duration::from_millis(5);
pub(super) const CONNECTOR: Duration = Duration::from_millis(4);
pub(super) const EMBED: Duration = Duration::from_millis(3);

/// What a pass of the language model takes behind so many positions of the past.
pub(super) fn llm(positions: usize, past: usize) -> Duration {
    let each = |micros, count: usize| Duration::from_micros(micros) * count as u32;
    Duration::from_millis(4) + each(100, positions) + each(500, past)
}

/// A token from its id to the choice of the next.
pub(super) fn token(past: usize) -> Duration {
    EMBED + llm(1, past) + READ
}

/// Watts at rest, and while the tower and the language model work.
pub(super) const IDLE: f64 = 10.0;
pub(super) const SEEING: f64 = 40.0;
pub(super) const TALKING: f64 = 25.0;

/// Watts above those of rest that work leaves behind, and how long half of them stays.
const WARMTH: f64 = 30.0;
const HALF_LIFE: f64 = 1.5;

/// Time and energy as a test has them.
#[derive(Clone, Default)]
pub(super) struct ByHand(Arc<Mutex<Passed>>);

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

    pub(super) fn clock(&self) -> Clock {
        let (clock, resting) = (self.clone(), self.clone());
        Clock::new(move || clock.0.lock().unwrap().now).sleeping(move |time| resting.rest(time))
    }

    pub(super) fn sensor(&self) -> PowerSensor {
        let clock = self.clone();
        let joules = move || Ok(clock.0.lock().unwrap().joules);
        PowerSensor::counter(Box::new(joules), self.clock())
    }
}

/// How a backend lets time pass.
#[derive(Clone)]
pub(super) enum Passing {
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
pub(super) fn model(passing: &Passing, behind: bool) -> Model {
    model_of(passing, behind, None)
}

/// The same, whose graphs were built for passes of so many positions.
pub(super) fn model_of(passing: &Passing, behind: bool, sequence: Option<usize>) -> Model {
    let limits = BackendLimits { sequence, ..BackendLimits::default() };
    waited_for(passing, behind, limits, Rc::default())
}

/// The same, which counts how often it is waited for.
pub(super) fn waited_for(
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

pub(super) fn turned_by_hand() -> Passing {
    Passing::Clock(ByHand::default())
}
