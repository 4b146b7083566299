//! Where it is measured: program, machine, library, device, and the machine's state.

use std::time::{SystemTime, UNIX_EPOCH};

use cumo_results::schema::{
    Board, Build, Clock, Conditions, Device, Environment, Library, OperatingSystem, Processor,
    Temperature,
};

use crate::backend::BackendFacts;
use crate::machine::{Machine, Throttling};
use crate::power::nvml::Card;

/// The commit that this program was built from, where it was a release build of a git checkout.
pub fn build_commit() -> Option<&'static str> {
    option_env!("CUMO_COMMIT").filter(|commit| !commit.is_empty())
}

/// What can make two results differ besides the code, but for the machine's state.
pub fn environment(machine: &Machine, backend: &BackendFacts) -> Environment {
    let (system, processor) = (machine.system(), machine.processor());
    let card = card_of(backend);
    let limit = card.as_ref().and_then(Card::power_limit);
    let mode = machine
        .power_mode()
        .and_then(|mode| mode.name.clone().or_else(|| mode.id.map(|id| format!("mode {id}"))));
    Environment {
        time: rfc3339(SystemTime::now()),
        build: Build {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: build_commit().map(str::to_owned),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
        },
        os: OperatingSystem { name: system.name, kernel: system.kernel },
        processor: Processor {
            name: processor.model,
            architecture: processor.architecture.to_owned(),
            physical_cores: Some(processor.physical_cores as u64),
            logical_cores: Some(processor.logical_cores as u64),
            features: processor.features.into_iter().map(str::to_owned).collect(),
        },
        main_memory_bytes: machine.memory().map(|memory| memory.total_bytes),
        board: machine.jetson().map(|jetson| Board {
            name: jetson.board,
            jetpack: jetson.jetpack.map(|jetpack| jetpack.version),
            jetson_linux: jetson.l4t,
        }),
        library: Library { name: backend.library.clone(), version: backend.version.clone() },
        threads: backend.threads.map(|threads| threads as u64),
        device: backend.device.as_ref().map(|device| Device {
            name: device.name.clone(),
            compute_capability: Some(device.compute_capability),
            memory_bytes: Some(device.total_bytes),
            driver: card.as_ref().and_then(Card::driver).or(machine.nvidia().driver),
            cuda: card.as_ref().and_then(Card::cuda),
        }),
        power_mode: mode.or_else(|| limit.map(|watts| format!("{watts:.0} W"))),
        before: Conditions::default(),
        during: Conditions::default(),
        after: Conditions::default(),
    }
}

/// The machine's state now. What has throttled is told since `earlier`, where that is given.
pub fn conditions(
    machine: &Machine,
    backend: &BackendFacts,
    earlier: Option<&Throttling>,
) -> (Conditions, Throttling) {
    let throttling = machine.state().throttling;
    let mut conditions = look(machine, card_of(backend).as_ref(), false);
    if let Some(earlier) = earlier {
        let met = throttling.since(earlier);
        if conditions.throttling.is_some() || !met.is_empty() {
            let all = conditions.throttling.get_or_insert_default();
            all.extend(met);
            all.sort();
            all.dedup();
        }
    }
    conditions.load_average = machine.system().load_average;
    (conditions, throttling)
}

/// NVML's card of the device that works.
pub(super) fn card_of(backend: &BackendFacts) -> Option<Card> {
    let device = backend.device.as_ref()?;
    Card::find(&device.name, device.pci_bus_id.as_deref()).ok()
}

/// What temperatures, clocks and throttling are now. A card that rests has nothing to be held down
/// by: that it tells nothing counts only while it works.
pub(super) fn look(machine: &Machine, card: Option<&Card>, works: bool) -> Conditions {
    let state = machine.state();
    let mut temperatures: Vec<Temperature> = state
        .temperatures
        .into_iter()
        .map(|zone| Temperature { sensor: zone.name, celsius: zone.celsius })
        .collect();
    let clocks = state.gpu_clocks.into_iter().chain(state.cpu_clocks).filter_map(|clock| {
        Some(Clock { name: clock.name, hz: clock.current_hz?, max_hz: Some(clock.max_hz) })
    });
    let mut clocks: Vec<Clock> = clocks.collect();
    let mut throttling = state.throttling.now;
    if let Some(card) = card {
        let celsius = card.celsius();
        temperatures
            .extend(celsius.map(|celsius| Temperature { sensor: "card".to_owned(), celsius }));
        clocks.extend(card.clocks().into_iter().map(|clock| Clock {
            name: format!("card {}", clock.name),
            hz: clock.hz,
            max_hz: clock.max_hz,
        }));
        if let Some(reasons) = card.throttling().filter(|reasons| works || !reasons.is_empty()) {
            throttling.get_or_insert_default().extend(reasons);
        }
    }
    Conditions { temperatures, clocks, throttling, load_average: None }
}

/// A moment as `2026-11-24T21:03:07Z`.
fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

/// The date so many days after 1 January 1970: of years that begin with March, in which a leap day
/// is the last (Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::machine::testing::Board;

    fn on_the_processor() -> BackendFacts {
        let (library, version) = ("ONNX Runtime".to_owned(), "1.32.0".to_owned());
        BackendFacts { library, version, threads: Some(2), device: None }
    }

    #[test]
    fn a_boards_state_is_told_and_what_no_file_tells_is_absent() {
        let zone = "/sys/class/thermal/thermal_zone0";
        let alert = "/sys/class/thermal/cooling_device3";
        let board = Board::new()
            .files(zone, &[("type", "gpu-thermal"), ("temp", "51500")])
            .files(alert, &[("type", "gpu-throttle-alert"), ("cur_state", "0")])
            .file("/proc/loadavg", "0.25 0.10 0.05 1/100 4011\n");
        let facts = on_the_processor();
        let (before, throttling) = conditions(&board.machine(), &facts, None);
        let zone = Temperature { sensor: "gpu-thermal".to_owned(), celsius: 51.5 };
        assert_eq!(before.temperatures, [zone]);
        assert_eq!((before.throttling, before.load_average), (Some(Vec::new()), Some(0.25)));
        let board = board.files(alert, &[("cur_state", "1")]);
        let (after, _) = conditions(&board.machine(), &facts, Some(&throttling));
        assert_eq!(after.throttling, Some(vec!["gpu-throttle-alert".to_owned()]));

        let (nothing, _) = conditions(&Board::new().machine(), &facts, None);
        assert_eq!(nothing, Conditions::default());
    }

    #[test]
    fn the_environment_names_library_threads_and_build() {
        let environment = environment(&Board::new().machine(), &on_the_processor());
        assert_eq!(environment.library.name, "ONNX Runtime");
        assert_eq!((environment.threads, environment.device), (Some(2), None));
        assert_eq!(environment.build.version, env!("CARGO_PKG_VERSION"));
        assert_eq!((environment.board, environment.power_mode), (None, None));
    }

    #[test]
    fn moments_are_written_as_rfc_3339_has_them() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_795_554_187, "2026-11-24T21:03:07Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }
}
