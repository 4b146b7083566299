//! Power monitors of Jetson boards: INA3221 on Orin, INA238 on Thor, through Linux' `hwmon`.

use super::{PowerSensor, Read, Reading};
use crate::clock::Clock;
use crate::machine::Root;

/// Rails that carry all that the module, or the board, takes.
const TOTALS: [(&str, &str); 2] = [("VDD_IN", "the whole module"), ("VIN", "the whole board")];

/// The rails of AGX Orin, which has no total: their sum leaves out what its converters lose.
const AGX_ORIN: [&str; 4] = ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"];

/// One rail of a power monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rail {
    chip: &'static str,
    label: String,
    files: Files,
}

/// Where its numbers are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Files {
    /// Millivolts and milliamperes.
    VoltageAndCurrent(String, String),
    /// Microwatts.
    Power(String),
}

/// The sensor of the whole module or board.
///
/// # Errors
/// Why not, where there are monitors that could be one.
pub(super) fn find(root: Root) -> Result<PowerSensor, Option<String>> {
    let rails = rails(&root);
    for (label, scope) in TOTALS {
        if let Some(rail) = rails.iter().find(|rail| rail.label == label) {
            let name = format!("{} {label}", rail.chip);
            let rails = vec![rail.clone()];
            return Ok(PowerSensor {
                name,
                scope: scope.to_owned(),
                reading: reading(root, rails),
                clock: Clock::default(),
            });
        }
    }
    let of_agx: Vec<Rail> =
        rails.iter().filter(|rail| AGX_ORIN.contains(&rail.label.as_str())).cloned().collect();
    if of_agx.len() == AGX_ORIN.len() {
        return Ok(PowerSensor {
            name: format!("INA3221 {}", AGX_ORIN.join(" + ")),
            scope: "the module's four rails together, without what its converters lose".to_owned(),
            reading: reading(root, of_agx),
            clock: Clock::default(),
        });
    }
    let known: Vec<&str> = rails.iter().map(|rail| rail.label.as_str()).collect();
    Err((!known.is_empty()).then(|| {
        format!("there are power monitors, of {}, none of which is the whole", known.join(", "))
    }))
}

/// The power of rails together.
fn reading(root: Root, rails: Vec<Rail>) -> Reading {
    let read: Read = Box::new(move || rails.iter().map(|rail| rail.watts(&root)).sum());
    Reading::Power(read)
}

/// Every rail that has a label and files to read.
fn rails(root: &Root) -> Vec<Rail> {
    let mut rails = Vec::new();
    for device in root.entries("/sys/bus/i2c/devices", "") {
        let chip = match root.text(format!("{device}/name")).as_deref() {
            Some("ina3221") => "INA3221",
            Some("ina238") => "INA238",
            _ => continue,
        };
        for monitor in root.entries(&format!("{device}/hwmon"), "hwmon") {
            rails.extend(labelled(root, chip, &monitor));
        }
    }
    rails
}

fn labelled(root: &Root, chip: &'static str, monitor: &str) -> Vec<Rail> {
    let mut rails = Vec::new();
    let is_there = |file: &str| root.text(file).is_some();
    for channel in 1..=3 {
        let power = format!("{monitor}/power{channel}_input");
        let voltage = format!("{monitor}/in{channel}_input");
        let current = format!("{monitor}/curr{channel}_input");
        let label = ["power", "in", "curr"]
            .iter()
            .find_map(|kind| root.text(format!("{monitor}/{kind}{channel}_label")));
        let files = match (is_there(&power), is_there(&voltage) && is_there(&current)) {
            (true, _) => Files::Power(power),
            (false, true) => Files::VoltageAndCurrent(voltage, current),
            (false, false) => continue,
        };
        // INA238 has one channel, which the driver may leave without a label.
        let label = label.or_else(|| root.text(format!("{monitor}/label")));
        if let Some(label) = label {
            rails.push(Rail { chip, label, files });
        }
    }
    rails
}

impl Rail {
    fn watts(&self, root: &Root) -> Result<f64, String> {
        let number = |file: &str| {
            let number = root.number::<i64>(file).map(|number| number as f64);
            number.ok_or_else(|| format!("{file} has no number any more"))
        };
        match &self.files {
            Files::VoltageAndCurrent(voltage, current) => {
                Ok(number(voltage)? * number(current)? * 1e-6)
            }
            Files::Power(power) => Ok(number(power)? * 1e-6),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::machine::testing::Board;

    const CHIP: &str = "/sys/bus/i2c/devices/1-0040";

    /// An Orin Nano that takes 10 W, 3 W of them in CPU and GPU.
    pub(in super::super) fn orin_nano() -> Board {
        Board::new()
            .file(&format!("{CHIP}/name"), "ina3221\n")
            .file("/sys/bus/i2c/devices/0-0050/name", "24c02\n")
            .files(
                &format!("{CHIP}/hwmon/hwmon3"),
                &[
                    ("in1_label", "VDD_IN"),
                    ("in1_input", "5000"),
                    ("curr1_input", "2000"),
                    ("in2_label", "VDD_CPU_GPU_CV"),
                    ("in2_input", "5000"),
                    ("curr2_input", "600"),
                    ("in3_label", "VDD_SOC"),
                    ("in3_input", "5000"),
                    ("curr3_input", "300"),
                ],
            )
    }

    fn watts(board: &Board) -> (String, String, Result<f64, String>) {
        let sensor = find(board.root()).unwrap();
        let Reading::Power(mut read) = sensor.reading else { panic!("a monitor tells power") };
        (sensor.name, sensor.scope, read())
    }

    #[test]
    fn vdd_in_is_the_module_whatever_number_the_monitor_has() {
        let (name, scope, watts) = watts(&orin_nano());
        assert_eq!((name.as_str(), scope.as_str()), ("INA3221 VDD_IN", "the whole module"));
        assert_eq!(watts, Ok(10.0));
    }

    #[test]
    fn agx_orin_is_the_sum_of_two_monitors_rails() {
        let (first, second) = (
            "/sys/bus/i2c/devices/1-0040/hwmon/hwmon2",
            "/sys/bus/i2c/devices/1-0041/hwmon/hwmon9",
        );
        let channel = |board: Board, monitor: &str, number: u32, label: &str, current: &str| {
            let in_input = (format!("in{number}_input"), "1000".to_owned());
            let label = (format!("in{number}_label"), label.to_owned());
            let current = (format!("curr{number}_input"), current.to_owned());
            [in_input, label, current]
                .iter()
                .fold(board, |board, (name, text)| board.files(monitor, &[(name, text)]))
        };
        let mut board = Board::new()
            .file("/sys/bus/i2c/devices/1-0040/name", "ina3221")
            .file("/sys/bus/i2c/devices/1-0041/name", "ina3221");
        board = channel(board, first, 1, "VDD_GPU_SOC", "4000");
        board = channel(board, first, 2, "VDD_CPU_CV", "2000");
        board = channel(board, first, 3, "VIN_SYS_5V0", "1000");
        let error = find(board.root()).err().unwrap().unwrap();
        assert!(error.contains("VDD_GPU_SOC, VDD_CPU_CV, VIN_SYS_5V0"), "{error}");
        board = channel(board, second, 2, "VDDQ_VDD2_1V8AO", "500");
        let (_, scope, watts) = watts(&board);
        assert_eq!(watts, Ok(7.5));
        assert!(scope.contains("four rails together"), "{scope}");
    }

    #[test]
    fn thor_tells_microwatts_of_the_board() {
        let board = Board::new().file(&format!("{CHIP}/name"), "ina238").files(
            &format!("{CHIP}/hwmon/hwmon0"),
            &[("power1_input", "42500000"), ("power1_label", "VIN")],
        );
        assert_eq!(watts(&board), ("INA238 VIN".into(), "the whole board".into(), Ok(42.5)));
    }

    #[test]
    fn numbers_that_are_none_are_errors_that_name_the_file() {
        let board = orin_nano().files(&format!("{CHIP}/hwmon/hwmon3"), &[("in1_input", "much")]);
        let (_, _, watts) = watts(&board);
        assert!(watts.unwrap_err().contains("in1_input"));
    }

    #[test]
    fn other_chips_and_rails_without_labels_are_left_alone() {
        let board = Board::new()
            .file(&format!("{CHIP}/name"), "ina3221")
            .files(&format!("{CHIP}/hwmon/hwmon0"), &[("in1_input", "1"), ("curr1_input", "1")]);
        assert_eq!(find(board.root()).err(), Some(None));
    }
}
