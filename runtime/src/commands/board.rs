//! What `cumo doctor` says about the board: a Jetson's names, power mode, clocks, temperatures.

use cumo_runtime::machine::{Advice, Clock, Jetson, Machine, PowerMode, State, Swap, SwapKind};
use serde::Serialize;

/// What `--json` prints of it.
#[derive(Debug, Serialize)]
pub(super) struct BoardReport {
    /// The Jetson, where it is one.
    jetson: Option<Jetson>,
    power_mode: Option<PowerMode>,
    /// Whether every clock is at its highest; none where no GPU's clock is known.
    jetson_clocks: Option<bool>,
    state: State,
    swaps: Vec<Swap>,
    /// What to change for speed.
    advice: Vec<Advice>,
}

impl BoardReport {
    pub(super) fn of(machine: &Machine) -> Self {
        BoardReport {
            jetson: machine.jetson(),
            power_mode: machine.power_mode(),
            jetson_clocks: machine.jetson_clocks(),
            state: machine.state(),
            swaps: machine.swaps(),
            advice: machine.advice(),
        }
    }

    /// The lines about the board, a name of up to 13 characters before each; none about what is not
    /// known.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = |name: &str, text: String| lines.push(format!("{name:13} {text}"));
        if let Some(jetson) = &self.jetson {
            line("board", board(jetson));
            line("JetPack", jetpack(jetson));
            line("TensorRT", jetson.tensorrt.clone().unwrap_or_else(|| "not installed".to_owned()));
        }
        if let Some(mode) = &self.power_mode {
            line("power mode", power_mode(mode));
        }
        for gpu in &self.state.gpu_clocks {
            line("GPU clock", clock(gpu));
        }
        if let Some(on) = self.jetson_clocks {
            for cpu in &self.state.cpu_clocks {
                line("CPU clock", clock(cpu));
            }
            line("jetson_clocks", if on { "on" } else { "off" }.to_owned());
        }
        if !self.state.temperatures.is_empty() {
            line("temperatures", temperatures(&self.state));
        }
        if self.jetson.is_some() {
            line("throttling", throttling(&self.state));
        }
        if !self.swaps.is_empty() {
            line("swap", swaps(&self.swaps));
        }
        lines
    }

    /// What to change, a paragraph each.
    pub(super) fn advice(&self) -> Vec<String> {
        let text = |advice: &Advice| format!("for speed: {}\n  {}", advice.what, advice.command);
        self.advice.iter().map(text).collect()
    }
}

fn board(jetson: &Jetson) -> String {
    let chip = jetson.chip.as_deref().unwrap_or("unknown chip");
    match jetson.compute_capability {
        Some(capability) => {
            let (major, minor) = (capability / 10, capability % 10);
            format!("{} ({chip}, compute capability {major}.{minor})", jetson.board)
        }
        None => format!("{} ({chip})", jetson.board),
    }
}

fn jetpack(jetson: &Jetson) -> String {
    let l4t = jetson.l4t.as_deref().unwrap_or("unknown");
    match &jetson.jetpack {
        Some(jetpack) if jetpack.installed => format!("{} (Jetson Linux {l4t})", jetpack.version),
        Some(jetpack) => {
            format!("{} by Jetson Linux {l4t}; its packages are not installed", jetpack.version)
        }
        None => format!("unknown (Jetson Linux {l4t})"),
    }
}

fn power_mode(mode: &PowerMode) -> String {
    let name = mode.name.as_deref().unwrap_or("unknown");
    let id = mode.id.map_or_else(|| "?".to_owned(), |id| id.to_string());
    let modes: Vec<String> =
        mode.modes.iter().map(|mode| format!("{} {}", mode.id, mode.name)).collect();
    match modes.is_empty() {
        true => format!("{name} ({id})"),
        false => format!("{name} ({id}) of {}", modes.join(", ")),
    }
}

fn clock(clock: &Clock) -> String {
    let mut text = match clock.current_hz {
        Some(hz) => format!("{} now, ", mhz(hz)),
        None => String::new(),
    };
    text += &format!("{} to {}", mhz(clock.min_hz), mhz(clock.max_hz));
    if let Some(hz) = clock.hardware_max_hz.filter(|hz| *hz > clock.max_hz) {
        text += &format!(" of {}", mhz(hz));
    }
    if let Some(governor) = &clock.governor {
        text += &format!(", {governor}");
    }
    format!("{text} ({})", clock.name)
}

fn mhz(hz: u64) -> String {
    format!("{} MHz", hz / 1_000_000)
}

fn temperatures(state: &State) -> String {
    let zone = |zone: &cumo_runtime::machine::Temperature| {
        format!("{} {:.1}", zone.name.trim_end_matches("-thermal"), zone.celsius)
    };
    format!("{} C", state.temperatures.iter().map(zone).collect::<Vec<_>>().join(", "))
}

fn throttling(state: &State) -> String {
    let now = match &state.throttling.now {
        None => "unknown now".to_owned(),
        Some(alerts) if alerts.is_empty() => "none now".to_owned(),
        Some(alerts) => format!("now: {}", alerts.join(", ")),
    };
    let events = state.throttling.events.iter().filter(|(_, count)| **count > 0);
    let events: Vec<String> =
        events.map(|(cause, count)| format!("{cause} {count} times")).collect();
    match events.is_empty() {
        true => now,
        false => format!("{now}; since it was started: {}", events.join(", ")),
    }
}

fn swaps(swaps: &[Swap]) -> String {
    let of = |kind: SwapKind, name: &str| {
        let bytes = swaps.iter().filter(|swap| swap.kind == kind).map(|swap| swap.total_bytes);
        let gib = bytes.fold(0, u64::saturating_add) as f64 / (1_u64 << 30) as f64;
        (gib > 0.0).then(|| format!("{gib:.1} GiB {name}"))
    };
    let parts = [of(SwapKind::Zram, "in compressed memory (zram)"), of(SwapKind::Disk, "on disk")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
