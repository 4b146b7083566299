//! Temperatures of the thermal zones.

use serde::Serialize;

use super::Machine;
use super::root::Root;

/// The most trip points of a zone that are looked at; Linux allows 12.
const MAX_TRIPS: usize = 16;

/// A thermal zone, in degrees Celsius.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Temperature {
    /// The zone's name, for example `gpu-thermal`.
    pub name: String,
    /// How warm it is.
    pub celsius: f64,
    /// Where clocks begin to be lowered, where the zone says.
    pub throttles_at_celsius: Option<f64>,
    /// Where the machine is switched off, where the zone says.
    pub ends_at_celsius: Option<f64>,
}

impl Machine {
    /// The thermal zones that can be read: those of parts that are switched off cannot.
    pub fn temperatures(&self) -> Vec<Temperature> {
        let zones = self.root.entries("/sys/class/thermal", "thermal_zone");
        zones.iter().filter_map(|zone| temperature(&self.root, zone)).collect()
    }
}

fn temperature(root: &Root, zone: &str) -> Option<Temperature> {
    let celsius = |file: &str| Some(f64::from(root.number::<i32>(format!("{zone}/{file}"))?) / 1e3);
    let trip = |kind: &str| {
        let of_kind = |index: &usize| {
            root.text(format!("{zone}/trip_point_{index}_type")).is_some_and(|text| text == kind)
        };
        let temperatures = (0..MAX_TRIPS)
            .filter(of_kind)
            .filter_map(|index| celsius(&format!("trip_point_{index}_temp")))
            // Where a trip point is switched off, it is far below zero.
            .filter(|celsius| *celsius > 0.0);
        temperatures.min_by(f64::total_cmp)
    };
    Some(Temperature {
        name: root.text(format!("{zone}/type"))?,
        celsius: celsius("temp")?,
        throttles_at_celsius: trip("passive"),
        ends_at_celsius: trip("critical"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::Board;
    use super::*;

    #[test]
    fn zones_have_names_degrees_and_limits() {
        let board = Board::new()
            .files(
                "/sys/class/thermal/thermal_zone1",
                &[
                    ("type", "gpu-thermal"),
                    ("temp", "47250"),
                    ("trip_point_0_type", "active"),
                    ("trip_point_0_temp", "30000"),
                    ("trip_point_1_type", "passive"),
                    ("trip_point_1_temp", "99000"),
                    ("trip_point_2_type", "passive"),
                    ("trip_point_2_temp", "-274000"),
                    ("trip_point_3_type", "critical"),
                    ("trip_point_3_temp", "104500"),
                ],
            )
            .files("/sys/class/thermal/thermal_zone0", &[("type", "cpu-thermal"), ("temp", "-256")])
            .files("/sys/class/thermal/thermal_zone2", &[("type", "cv0-thermal"), ("temp", "")])
            .files("/sys/class/thermal/thermal_zone3", &[("temp", "1")]);
        let zones = board.machine().temperatures();
        assert_eq!(zones.len(), 2);
        assert_eq!((zones[0].name.as_str(), zones[0].celsius), ("cpu-thermal", -0.256));
        let gpu = Temperature {
            name: "gpu-thermal".to_owned(),
            celsius: 47.25,
            throttles_at_celsius: Some(99.0),
            ends_at_celsius: Some(104.5),
        };
        assert_eq!(zones[1], gpu);
    }
}
