//! What slows a machine down, and how often it has since the machine was started.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Machine;
use super::root::Root;

/// Throttling of processor and integrated GPU. A card's is told by its driver only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Throttling {
    /// Alerts in force now, by their names: `gpu-throttle-alert`. None where the machine has no
    /// alerts that could be in force.
    pub now: Option<Vec<String>>,
    /// How often each cause has been met since the machine was started.
    pub events: BTreeMap<String, u64>,
}

impl Throttling {
    /// What has throttled between `earlier` and this one: alerts in force at either, and causes that
    /// were met in between, with how often.
    pub fn since(&self, earlier: &Throttling) -> Vec<String> {
        let alerts = earlier.now.iter().chain(&self.now).flatten();
        let mut found: Vec<String> = alerts.cloned().collect();
        found.sort();
        found.dedup();
        for (cause, count) in &self.events {
            let new = count.saturating_sub(earlier.events.get(cause).copied().unwrap_or(0));
            if new > 0 {
                found.push(format!("{cause} ({new} times)"));
            }
        }
        found
    }
}

impl Machine {
    /// What slows processor and integrated GPU down: thermal alerts and over-current events of a
    /// Jetson, and the throttling counters of x86 processors.
    pub fn throttling(&self) -> Throttling {
        let mut events = over_current(&self.root);
        if let Some(count) = processor_events(&self.root) {
            events.insert("processor too hot".to_owned(), count);
        }
        Throttling { now: alerts(&self.root), events }
    }
}

/// Cooling devices named `...-alert` that are switched on. Others are fans, and limits of clocks
/// that a power mode sets too.
fn alerts(root: &Root) -> Option<Vec<String>> {
    let alert = |device: String| {
        let name = root.text(format!("{device}/type")).filter(|name| name.ends_with("-alert"))?;
        Some((name, root.number::<u64>(format!("{device}/cur_state"))?))
    };
    let devices = root.entries("/sys/class/thermal", "cooling_device");
    let alerts: BTreeMap<String, u64> = devices.into_iter().filter_map(alert).collect();
    let in_force = alerts.iter().filter(|(_, state)| **state > 0).map(|(name, _)| name.clone());
    (!alerts.is_empty()).then(|| in_force.collect())
}

/// Counters of the monitor `soctherm_oc` of Orin and Thor.
fn over_current(root: &Root) -> BTreeMap<String, u64> {
    const CAUSES: [(&str, &str); 3] = [
        ("oc1_event_cnt", "supply voltage too low"),
        ("oc2_event_cnt", "average current too high"),
        ("oc3_event_cnt", "current peak too high"),
    ];
    let monitors = root.entries("/sys/class/hwmon", "hwmon");
    let is_monitor = |monitor: &&String| {
        root.text(format!("{monitor}/name")).is_some_and(|name| name == "soctherm_oc")
    };
    let Some(monitor) = monitors.iter().find(is_monitor) else { return BTreeMap::new() };
    let count = |&(file, cause): &(&str, &str)| {
        Some((cause.to_owned(), root.number::<u64>(format!("{monitor}/{file}"))?))
    };
    CAUSES.iter().filter_map(count).collect()
}

/// The largest counter of any core or package, since those that share a package count the same.
fn processor_events(root: &Root) -> Option<u64> {
    let cpus = root.entries("/sys/devices/system/cpu", "cpu");
    let counts = cpus.iter().flat_map(|cpu| {
        ["core", "package"]
            .map(|what| root.number::<u64>(format!("{cpu}/thermal_throttle/{what}_throttle_count")))
    });
    counts.flatten().max()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Board;
    use super::*;

    const THERMAL: &str = "/sys/class/thermal";

    #[test]
    fn alerts_in_force_are_named_and_fans_are_none() {
        let board = Board::new()
            .files(
                &format!("{THERMAL}/cooling_device0"),
                &[("type", "pwm-fan"), ("cur_state", "3")],
            )
            .files(
                &format!("{THERMAL}/cooling_device1"),
                &[("type", "gpu-throttle-alert"), ("cur_state", "1")],
            )
            .files(
                &format!("{THERMAL}/cooling_device2"),
                &[("type", "cpu-throttle-alert"), ("cur_state", "0")],
            );
        let now = board.machine().throttling().now;
        assert_eq!(now, Some(vec!["gpu-throttle-alert".to_owned()]));
        assert_eq!(Board::new().machine().throttling(), Throttling::default());
    }

    #[test]
    fn events_are_counted_and_told_where_they_are_new() {
        let folder = "/sys/class/hwmon/hwmon3";
        let board = Board::new().files("/sys/class/hwmon/hwmon1", &[("name", "ina3221")]).files(
            folder,
            &[("name", "soctherm_oc"), ("oc1_event_cnt", "0"), ("oc3_event_cnt", "37")],
        );
        let before = board.machine().throttling();
        assert_eq!(before.events.get("current peak too high"), Some(&37));
        let board = board.files(folder, &[("oc3_event_cnt", "39"), ("oc2_event_cnt", "x")]);
        let after = board.machine().throttling();
        assert_eq!(after.since(&before), ["current peak too high (2 times)"]);
        assert!(after.since(&after).is_empty());
    }

    #[test]
    fn an_x86_processor_has_a_counter() {
        let board = Board::new().files(
            "/sys/devices/system/cpu/cpu0/thermal_throttle",
            &[("core_throttle_count", "2"), ("package_throttle_count", "5")],
        );
        let throttling = board.machine().throttling();
        assert_eq!(throttling.events.get("processor too hot"), Some(&5));
    }

    #[test]
    fn alerts_at_either_end_count_once() {
        let hot =
            Throttling { now: Some(vec!["hot-surface-alert".to_owned()]), ..Throttling::default() };
        assert_eq!(hot.since(&hot), ["hot-surface-alert"]);
        assert_eq!(Throttling::default().since(&hot), ["hot-surface-alert"]);
    }
}
