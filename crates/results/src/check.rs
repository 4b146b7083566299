//! Numbers that nothing can have measured: a result that has one is refused as a whole, so that no
//! table shows it.

use crate::schema::{BenchResult, Conditions, Energy, EnergySpan, MAX_ROWS, MAX_SAMPLES};

/// The longest time that is believed: 12 days, in nanoseconds.
const MAX_NS: u64 = 1_000_000_000_000_000;

/// The most bytes, tokens and hertz that are believed.
const MAX_COUNT: u64 = 1 << 53;

/// The most energy that is believed, in joules.
const MAX_JOULES: f64 = 1e12;

/// The most experts of all routers together: each is a field of a picture.
const MAX_EXPERTS: usize = 1 << 16;

/// The most bytes of a name or a sentence: some are in every row of a table.
const MAX_TEXT: usize = 4096;

/// The most problems that are kept.
pub(crate) const MAX_PROBLEMS: usize = 100;

/// What is wrong with the numbers of a result, a sentence each; nothing where all can be.
pub(crate) fn problems(result: &BenchResult) -> Vec<String> {
    let mut check = Check { problems: Vec::new() };
    lengths(result, &mut check);
    texts(result, &mut check);
    configuration(result, &mut check);
    samples(result, &mut check);
    environment(result, &mut check);
    if let Some(energy) = &result.energy {
        check_energy(energy, &mut check);
    }
    check.problems
}

/// Lists that a reader would refuse, and more samples than a file has room for.
fn lengths(result: &BenchResult, check: &mut Check) {
    let environment = &result.environment;
    let mut rows = |what: &str, count: usize| {
        check.that(count <= MAX_ROWS, || format!("{what} has {count} rows, over {MAX_ROWS}"));
    };
    rows("prefill", result.prefill.len());
    rows("generation", result.generation.len());
    rows("expert_load", result.expert_load.len());
    rows("notes", result.notes.len());
    rows("model.parts", result.model.parts.len());
    rows("configuration.images", result.configuration.images.len());
    rows("configuration.depths", result.configuration.depths.len());
    rows("environment.processor.features", environment.processor.features.len());
    for (moment, state) in environment.moments() {
        rows(&format!("environment.{moment}.temperatures"), state.temperatures.len());
        rows(&format!("environment.{moment}.clocks"), state.clocks.len());
        let throttling = state.throttling.as_ref().map_or(0, Vec::len);
        rows(&format!("environment.{moment}.throttling"), throttling);
    }
    let energy = result.energy.as_ref();
    let lists = [
        result.cold_starts.len(),
        energy.map_or(0, |energy| energy.images.len().saturating_add(energy.tokens.len())),
    ];
    let experts = result.expert_load.iter().map(|load| load.tokens_per_expert.len());
    let experts = experts.fold(0, usize::saturating_add);
    check.that(experts <= MAX_EXPERTS, || {
        format!("expert_load has {experts} numbers, over {MAX_EXPERTS}")
    });
    // An empty list is something, too.
    let lists =
        lists
            .into_iter()
            .chain(result.answers.iter().map(|answer| 1 + answer.inter_token_ns.len()))
            .chain(result.prefill.iter().map(|row| row.repetitions_ns.len()))
            .chain(result.generation.iter().flat_map(|row| {
                row.repetitions_inter_token_ns.iter().map(|times| times.len().max(1))
            }))
            .chain([experts]);
    let samples = lists.fold(0, usize::saturating_add);
    check.that(samples <= MAX_SAMPLES, || format!("{samples} samples, over {MAX_SAMPLES}"));
}

/// Names and sentences that are too long.
fn texts(result: &BenchResult, check: &mut Check) {
    let (environment, model) = (&result.environment, &result.model);
    let mut text = |what: &str, text: &str| {
        check.that(text.len() <= MAX_TEXT, || {
            format!("{what} has {} bytes, over {MAX_TEXT}", text.len())
        });
    };
    let board = environment.board.as_ref();
    let device = environment.device.as_ref();
    let optional = [
        ("environment.build.commit", environment.build.commit.as_deref()),
        ("environment.os.name", environment.os.name.as_deref()),
        ("environment.os.kernel", environment.os.kernel.as_deref()),
        ("environment.processor.name", environment.processor.name.as_deref()),
        ("environment.board.name", board.map(|board| board.name.as_str())),
        ("environment.device.name", device.map(|device| device.name.as_str())),
        ("environment.device.driver", device.and_then(|device| device.driver.as_deref())),
        ("environment.device.cuda", device.and_then(|device| device.cuda.as_deref())),
        ("environment.power_mode", environment.power_mode.as_deref()),
        ("energy.sensor", result.energy.as_ref().map(|energy| energy.sensor.as_str())),
        ("energy.scope", result.energy.as_ref().map(|energy| energy.scope.as_str())),
    ];
    optional.into_iter().for_each(|(what, value)| text(what, value.unwrap_or_default()));
    text("environment.time", &environment.time);
    text("environment.build.version", &environment.build.version);
    text("environment.build.profile", &environment.build.profile);
    text("environment.processor.architecture", &environment.processor.architecture);
    text("environment.library.name", &environment.library.name);
    text("environment.library.version", &environment.library.version);
    text("model.name", &model.name);
    text("model.target", &model.target);
    text("model.bundle_sha256", &model.bundle_sha256);
    for (name, part) in &model.parts {
        text("a name of model.parts", name);
        text("model.parts.weights", &part.weights);
    }
    for image in &result.configuration.images {
        text("configuration.images.name", &image.name);
        text("configuration.images.sha256", &image.sha256);
    }
    for (moment, state) in environment.moments() {
        let sensors = state.temperatures.iter().map(|temperature| &temperature.sensor);
        let clocks = state.clocks.iter().map(|clock| &clock.name);
        let reasons = state.throttling.iter().flatten();
        let what = format!("a name of environment.{moment}");
        sensors.chain(clocks).chain(reasons).for_each(|name| text(&what, name));
    }
    result.expert_load.iter().for_each(|load| text("expert_load.part", &load.part));
    result.notes.iter().for_each(|note| text("a note", note));
}

struct Check {
    problems: Vec<String>,
}

impl Check {
    fn that(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds && self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem());
        }
    }

    fn count(&mut self, what: &str, value: impl Into<Option<u64>>) {
        if let Some(value) = value.into() {
            self.that(value <= MAX_COUNT, || format!("{what} is {value}"));
        }
    }

    fn ns(&mut self, what: impl Fn() -> String, value: u64) {
        self.that(value <= MAX_NS, || {
            format!("{} is {value} ns, over {} days", what(), MAX_NS / 86_400_000_000_000)
        });
    }
}

fn configuration(result: &BenchResult, check: &mut Check) {
    let asked = &result.configuration;
    check.count("configuration.prompt_tokens", asked.prompt_tokens);
    check.count("configuration.generate_tokens", asked.generate_tokens);
    check.count("configuration.repetitions", asked.repetitions);
    check.count("configuration.warmup", asked.warmup);
    for depth in &asked.depths {
        check.count("configuration.depths", *depth);
    }
    for image in &asked.images {
        for value in [image.file_bytes, image.width, image.height] {
            check.count("configuration.images", value);
        }
    }
    let model = &result.model;
    for value in [model.files_bytes, model.context_length, model.image_tokens, model.image_crops] {
        check.count("model", value);
    }
    for (name, part) in &model.parts {
        for value in [part.num_layers, part.hidden_size, part.num_experts, part.weights_bytes] {
            check.count(&format!("model.parts.{}", short(name)), value);
        }
    }
    let memory = &result.memory;
    for value in [
        memory.weights_bytes,
        memory.cache_bytes,
        memory.peak_process_bytes,
        memory.peak_device_bytes,
        memory.device_process_bytes,
    ] {
        check.count("memory", value);
    }
}

fn samples(result: &BenchResult, check: &mut Check) {
    for start in &result.cold_starts {
        for ns in [Some(start.ready_ns), start.first_token_ns, start.first_answer_ns] {
            check.ns(|| "cold_starts".to_owned(), ns.unwrap_or(0));
        }
    }
    for (index, answer) in result.answers.iter().enumerate() {
        let first = &answer.first_token;
        check.that(first.total_ns > 0, || format!("answers[{index}]: no time to first token"));
        check.ns(|| format!("answers[{index}].first_token.total_ns"), first.total_ns);
        for (part, ns) in first.parts() {
            check.ns(|| format!("answers[{index}].first_token: {part}"), ns.unwrap_or(0));
        }
        for ns in &answer.inter_token_ns {
            check.ns(|| format!("answers[{index}].inter_token_ns"), *ns);
        }
    }
    for (index, row) in result.prefill.iter().enumerate() {
        let what = || format!("prefill[{index}]");
        check.that(row.tokens > 0, || format!("{}: no tokens", what()));
        check.that(!row.repetitions_ns.is_empty(), || format!("{}: no repetitions", what()));
        check.count("prefill.tokens", row.tokens);
        check.count("prefill.depth_tokens", row.depth_tokens);
        for ns in &row.repetitions_ns {
            check.that(*ns > 0, || format!("{}: a repetition that took no time", what()));
            check.ns(what, *ns);
        }
    }
    for (index, row) in result.generation.iter().enumerate() {
        generation(index, row, check);
    }
    for (index, load) in result.expert_load.iter().enumerate() {
        check.that(!load.tokens_per_expert.is_empty(), || {
            format!("expert_load[{index}]: no experts")
        });
        for tokens in &load.tokens_per_expert {
            check.count("expert_load.tokens_per_expert", *tokens);
        }
    }
}

fn generation(index: usize, row: &crate::schema::Generation, check: &mut Check) {
    let what = || format!("generation[{index}]");
    check.count("generation.tokens", row.tokens);
    check.count("generation.depth_tokens", row.depth_tokens);
    check
        .that(!row.repetitions_inter_token_ns.is_empty(), || format!("{}: no repetitions", what()));
    for times in &row.repetitions_inter_token_ns {
        check.that(times.len() as u64 == row.tokens, || {
            format!("{}: {} times of {} tokens", what(), times.len(), row.tokens)
        });
        check.that(times.iter().any(|ns| *ns > 0), || {
            format!("{}: a repetition that took no time", what())
        });
        for ns in times {
            check.ns(what, *ns);
        }
    }
}

fn environment(result: &BenchResult, check: &mut Check) {
    let environment = &result.environment;
    check.count("environment.main_memory_bytes", environment.main_memory_bytes);
    check.count("environment.threads", environment.threads);
    let device = environment.device.as_ref();
    check.count("environment.device", device.and_then(|device| device.memory_bytes));
    for (moment, state) in environment.moments() {
        conditions(moment, state, check);
    }
}

fn conditions(moment: &str, state: &Conditions, check: &mut Check) {
    for temperature in &state.temperatures {
        let celsius = temperature.celsius;
        check.that((-273.15..=1000.0).contains(&celsius), || {
            format!("environment.{moment}: `{}` is {celsius:e} degrees", short(&temperature.sensor))
        });
    }
    for clock in &state.clocks {
        check.count("environment.clocks", clock.hz);
        check.count("environment.clocks", clock.max_hz);
    }
    let load = state.load_average.unwrap_or(0.0);
    check.that((0.0..=1e6).contains(&load), || {
        format!("environment.{moment}: a load average of {load:e}")
    });
}

fn check_energy(energy: &Energy, check: &mut Check) {
    let mut span = |what: &str, span: &EnergySpan, counted: bool| {
        let joules = span.joules;
        check.that((0.0..=MAX_JOULES).contains(&joules), || {
            format!("energy.{what}: {joules:e} joules")
        });
        check.ns(|| format!("energy.{what}"), span.duration_ns);
        check.that(span.duration_ns > 0, || format!("energy.{what}: a span that took no time"));
        check.that(!counted || span.count > 0, || format!("energy.{what}: a count of 0"));
        check.count("energy.count", span.count);
    };
    for (what, idle) in [("idle", &energy.idle), ("idle_after", &energy.idle_after)] {
        if let Some(idle) = idle {
            span(what, idle, false);
        }
    }
    for image in &energy.images {
        span("images", image, true);
    }
    for token in &energy.tokens {
        span("tokens", token, true);
    }
}

/// A name from outside, shortened for a message.
fn short(name: &str) -> String {
    name.chars().take(40).collect()
}
