//! Recorded passes, by the seam that the executor uses: what is bound anew or released is not
//! played as it was.

use std::time::Duration;

use cumo_bundle::{Binding, Dim, Engines, Value};
use cumo_export::MoeKind;
use cumo_runtime::backend::{Action, Backend, BackendError, Buffer, Port, StepId, StepSpec, View};
use cumo_runtime::backends::tensorrt::TensorrtBackend;
use cumo_standin::Settings;

use crate::support::{Setup, golden};

/// Two steps that look up an embedding each.
struct Lookups {
    backend: TensorrtBackend,
    steps: [StepId; 2],
    ids: Value,
    row_bytes: usize,
    results: [Buffer; 2],
}

impl Lookups {
    fn new(setup: &Setup) -> Lookups {
        let engines = Engines::open(&setup.engines.path()).unwrap();
        let mut backend = TensorrtBackend::new(&engines, setup.options().backend.tensorrt).unwrap();
        let bundle = &engines.manifest.bundle;
        let step = &bundle.plan.embed_tokens[0];
        let graph = &bundle.graphs[&step.graph];
        let inputs: Vec<&Value> = graph.inputs.iter().collect();
        let outputs: Vec<&Value> = graph.outputs.iter().collect();
        let [row] = outputs.as_slice() else { panic!("one output") };
        let row_bytes = shape(row).iter().product::<usize>() * row.dtype.size();
        let file = engines.path.join(&graph.file);
        let spec = StepSpec {
            graph: &step.graph,
            file: &file,
            twin: None,
            inputs: &inputs,
            outputs: &outputs,
        };
        let steps = [0, 1].map(|_| backend.prepare(&spec).unwrap());
        let results = [0, 1].map(|_| backend.allocate(row_bytes).unwrap());
        let mut ids = None;
        for (index, input) in inputs.iter().enumerate() {
            let Some(Binding::Weight(name)) = step.inputs.get(&input.name) else {
                ids = Some((*input).clone());
                continue;
            };
            let weight = &bundle.weights[name];
            let buffer = backend.map(&engines.path.join(&weight.file)).unwrap();
            let offset = usize::try_from(weight.offset).unwrap();
            let view = View { buffer, offset, dtype: input.dtype, shape: &weight.shape };
            for step in steps {
                backend.bind(step, Port::Input(index), view).unwrap();
            }
        }
        for (step, buffer) in steps.into_iter().zip(results) {
            let view = View { buffer, offset: 0, dtype: row.dtype, shape: &shape(row) };
            backend.bind(step, Port::Output(0), view).unwrap();
        }
        let ids = ids.unwrap();
        assert_eq!(inputs[0].name, ids.name, "the ids come first");
        Lookups { backend, steps, ids, row_bytes, results }
    }

    /// A buffer with an id.
    fn id(&mut self, id: i64) -> Buffer {
        let buffer = self.backend.allocate(8).unwrap();
        self.backend.write(buffer, 0, &id.to_ne_bytes()).unwrap();
        buffer
    }

    /// Binds a step to a buffer with an id.
    fn bind(&mut self, step: usize, buffer: Buffer) {
        let shape = shape(&self.ids);
        let view = View { buffer, offset: 0, dtype: self.ids.dtype, shape: &shape };
        self.backend.bind(self.steps[step], Port::Input(0), view).unwrap();
    }

    /// Runs both steps, as what comes again.
    fn run_all(&mut self) -> Result<(), BackendError> {
        self.backend.run_all(&self.steps.map(Action::Run), true)
    }

    /// Runs both steps and gives their rows.
    fn run(&mut self) -> [Vec<u8>; 2] {
        self.run_all().unwrap();
        let bytes = self.row_bytes;
        self.results.map(|buffer| self.backend.read(buffer, 0, bytes).unwrap().to_vec())
    }
}

#[test]
fn a_pass_that_was_interrupted_before_it_ran_is_recorded_only_when_it_has_run() {
    let settings = Settings { execution_milliseconds: 300.0, ..Settings::default() };
    let setup = Setup::with(&golden("mistral-dense"), MoeKind::Plugin, &settings);
    let mut lookups = Lookups::new(&setup);
    for step in [0, 1] {
        let id = lookups.id(3);
        lookups.bind(step, id);
    }
    // The second step waits for the first to be done before its context is changed.
    lookups.backend.run(lookups.steps[0]).unwrap();
    let interrupt = lookups.backend.interrupt().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            interrupt(true);
        });
        let stopped = lookups.run_all();
        assert!(matches!(stopped, Err(BackendError::Interrupted)), "{stopped:?}");
    });
    interrupt(false);
    for _ in 0..3 {
        let [a, b] = lookups.run();
        assert_eq!(a, b);
    }
    assert_eq!(lookups.backend.take_notes(), [""; 0]);
    drop(lookups);
    setup.nothing_is_wrong();
    assert_eq!(setup.stand_in.summary().unwrap().captures, 1);
}

#[test]
fn memory_that_is_released_is_the_devices_again_though_a_recorded_pass_had_it() {
    let settings = Settings { is_traced: true, ..Settings::default() };
    let setup = Setup::with(&golden("mistral-dense"), MoeKind::Plugin, &settings);
    let mut lookups = Lookups::new(&setup);
    let [three, four] = [3, 4].map(|id| lookups.id(id));
    lookups.bind(0, three);
    lookups.bind(1, four);
    for _ in 0..3 {
        lookups.run();
    }
    let before = setup.stand_in.trace();
    assert!(before.iter().any(|line| line.contains("launch a graph")), "{before:#?}");
    lookups.backend.release(four);
    let after = setup.stand_in.trace();
    let freed = after[before.len()..].iter().filter(|line| line.starts_with("free 0x")).count();
    assert_eq!(freed, 1, "{:#?}", &after[before.len()..]);
    drop(lookups);
    setup.nothing_is_wrong();
}

/// A shape for one sequence of one position.
fn shape(value: &Value) -> Vec<usize> {
    let size = |dim: &Dim| if let Dim::Fixed(size) = dim { *size } else { 1 };
    value.shape.iter().map(size).collect()
}

#[test]
fn a_step_that_is_bound_anew_is_not_played_as_it_was() {
    let setup = Setup::new(&golden("mistral-dense"), MoeKind::Plugin);
    let mut lookups = Lookups::new(&setup);
    let [three, four, five] = [3, 4, 5].map(|id| lookups.id(id));
    lookups.bind(0, three);
    lookups.bind(1, four);
    let [row_3, row_4] = lookups.run();
    assert_ne!(row_3, row_4);
    for _ in 0..3 {
        assert_eq!(lookups.run(), [row_3.clone(), row_4.clone()]);
    }
    // Other memory, which is there beside the old one.
    lookups.bind(1, five);
    let [_, row_5] = lookups.run();
    assert!(row_5 != row_3 && row_5 != row_4);
    for _ in 0..3 {
        assert_eq!(lookups.run(), [row_3.clone(), row_5.clone()]);
    }
    // What lies in the same memory may change.
    lookups.backend.write(five, 0, &4_i64.to_ne_bytes()).unwrap();
    assert_eq!(lookups.run(), [row_3.clone(), row_4.clone()]);
    // Memory that is gone.
    lookups.backend.release(five);
    assert!(lookups.run_all().is_err(), "nothing is bound");
    let other = lookups.id(5);
    lookups.bind(1, other);
    for _ in 0..3 {
        assert_eq!(lookups.run(), [row_3.clone(), row_5.clone()]);
    }
    drop(lookups);
    setup.nothing_is_wrong();
    let summary = setup.stand_in.summary().unwrap();
    assert_eq!(summary.captures, 3, "{summary:?}");
}
