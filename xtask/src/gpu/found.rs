//! The device that things run on, by what the driver's tool, our kernels' test and `cumo doctor` say
//! of it. Not every machine has the tool, and a Jetson's says little.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use super::built::Built;
use super::card::{self, Card};
use super::programs;
use super::{kernels, process};

/// What is known of the device before the parts run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    /// Whether there is one.
    pub(super) is_there: bool,
    pub(super) card: Option<Card>,
    /// How the kernels' test describes it.
    pub(super) line: Option<String>,
    /// Why there is none for the kernels' test, where the driver's tool names one.
    pub(super) denied: Option<String>,
    /// The rate of its tensor cores in f16, in 10^12 operations a second.
    pub(super) tensor_tflops: Option<f64>,
    /// The rate of its memory, in GB/s.
    memory_gbs: Option<f64>,
}

impl Found {
    /// Asks what is built. `cards`: what the driver's tool said.
    pub(super) fn of(built: &Built, cards: &[Card]) -> Found {
        // It describes the device first, and ends where it is given no case.
        let described = built.device_test.is_file().then(|| {
            let mut test = Command::new(&built.device_test);
            process::capture(test.arg("/dev/null")).ok()
        });
        let described = described.flatten();
        let no_device =
            described.as_ref().and_then(|it| it.status?.code()) == Some(kernels::NO_DEVICE);
        let text = described.map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
        let text = text.unwrap_or_default();
        let doctor = || devices(built).into_iter().next();
        // CUDA's first, which need not be the tool's first, or be as large: of a card that is
        // divided it is a part.
        let described = card::of_description(&text);
        let denied = (no_device && !cards.is_empty()).then(|| text.trim().to_owned());
        let card = match &described {
            Some(described) => {
                let same = |card: &&Card| {
                    (&card.name, card.architecture) == (&described.name, described.architecture)
                };
                cards.iter().find(same).cloned().or(Some(described.clone()))
            }
            None => cards.first().cloned(),
        };
        let card = match card {
            Some(Card { memory_gb: None, name, text, architecture }) => {
                let memory_gb = doctor().and_then(|card| card.memory_gb);
                Some(Card { name, text, architecture, memory_gb })
            }
            Some(card) => Some(card),
            None => doctor(),
        };
        Found {
            is_there: card.is_some() && !no_device,
            card,
            line: kernels::description(&text).map(str::to_owned),
            denied,
            tensor_tflops: kernels::tensor_tflops(&text),
            memory_gbs: kernels::memory_gbs(&text),
        }
    }

    /// The device as the programs' steps need it; none where there is none.
    pub(super) fn for_programs(&self) -> Option<programs::Device> {
        let card = self.card.as_ref().filter(|_| self.is_there)?;
        let is_integrated = card::is_integrated();
        let host = || card::host_memory_gb().filter(|_| is_integrated);
        Some(programs::Device {
            name: card.name.clone(),
            architecture: card.architecture,
            memory_gb: card.memory_gb.or_else(host),
            rates: self.memory_gbs.zip(self.tensor_tflops),
            is_integrated,
            is_stand_in: false,
        })
    }
}

/// The devices that TensorRT's shims see.
fn devices(built: &Built) -> Vec<Card> {
    let program = built.folder.join("cumo");
    if !program.is_file() {
        return Vec::new();
    }
    let mut doctor = Command::new(program);
    doctor.args(["doctor", "--json"]);
    if Path::new(&built.shim).is_dir() {
        doctor.env("CUMO_TRT_SHIM", &built.shim);
    }
    // It ends with another status where it misses something, and says what it found all the same.
    let text = process::capture(&mut doctor).map(|it| it.stdout).unwrap_or_default();
    parse_devices(&String::from_utf8_lossy(&text))
}

fn parse_devices(text: &str) -> Vec<Card> {
    #[derive(Deserialize)]
    struct Report {
        #[serde(default)]
        tensorrt: Vec<Flavour>,
    }
    #[derive(Deserialize)]
    struct Flavour {
        #[serde(default)]
        devices: Vec<Device>,
    }
    #[derive(Deserialize)]
    struct Device {
        name: String,
        compute_capability: u32,
        total_bytes: u64,
    }
    let report = serde_json::from_str::<Report>(text).unwrap_or(Report { tensorrt: Vec::new() });
    let card = |device: Device| Card {
        text: device.name.clone(),
        name: device.name,
        architecture: device.compute_capability,
        memory_gb: Some(device.total_bytes as f64 / f64::from(1 << 30)),
    };
    report.tensorrt.into_iter().flat_map(|flavour| flavour.devices).map(card).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const ORIN: &str =
        "Orin, compute capability 8.7, 8 multiprocessors, at most 17 TFLOP/s, 0 GB/s";

    /// Programs that say this, and end with this status.
    fn built(folder: &Path, test: (&str, u8), doctor: &str) -> Built {
        let write = |name: &str, text: &str, status: u8| {
            let file = folder.join(name);
            fs::write(&file, format!("#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {status}\n"))
                .unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
            file
        };
        write("cumo", doctor, 1);
        Built {
            folder: folder.to_owned(),
            device_test: write("device_test", test.0, test.1),
            shim: folder.to_owned(),
        }
    }

    #[test]
    fn a_device_is_found_where_the_drivers_tool_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let doctor = r#"{"version": "1", "tensorrt": [{"flavour": "10", "devices": [
            {"device": 0, "name": "Orin", "compute_capability": 87, "total_bytes": 8589934592}]}]}"#;
        let found = Found::of(&built(folder.path(), (ORIN, 1), doctor), &[]);
        let card = found.card.as_ref().unwrap();
        assert!(found.is_there);
        assert_eq!((card.name.as_str(), card.architecture), ("Orin", 87));
        assert_eq!(card.memory_gb, Some(8.0));
        assert_eq!(found.tensor_tflops, Some(17.0));
        assert_eq!(found.line.as_deref(), Some(ORIN));
        let device = found.for_programs().unwrap();
        assert_eq!(device.rates, None);
        // Without native's programs too.
        let mut built = built(folder.path(), (ORIN, 1), doctor);
        built.device_test = folder.path().join("none");
        assert_eq!(Found::of(&built, &[]).card.unwrap().architecture, 87);
    }

    fn card(name: &str, architecture: u32) -> Card {
        Card {
            name: name.to_owned(),
            text: format!("{name}, driver 1"),
            architecture,
            memory_gb: Some(12.0),
        }
    }

    #[test]
    fn of_several_cards_it_is_the_one_that_cuda_has_first() {
        let folder = tempfile::tempdir().unwrap();
        let line =
            "Card B, compute capability 9.0, 132 multiprocessors, at most 989 TFLOP/s, 4800 GB/s";
        let cards = [card("Card A", 75), card("Card B", 90)];
        let found = Found::of(&built(folder.path(), (line, 1), "{}"), &cards);
        assert_eq!(found.card.as_ref(), Some(&cards[1]));
        assert_eq!(found.for_programs().unwrap().rates, Some((4800.0, 989.0)));
        // A part of a card that is divided has another name, and memory of its own.
        let part = line.replace("Card B", "Card B MIG 1g.18gb");
        let found = Found::of(&built(folder.path(), (&part, 1), "{}"), &cards).card.unwrap();
        assert_eq!((found.name.as_str(), found.memory_gb), ("Card B MIG 1g.18gb", None));
    }

    #[test]
    fn what_the_kernels_test_denies_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let none = ("skipped: no device (driver too old)", 77);
        let found = Found::of(&built(folder.path(), none, "{}"), &[card("Some Card", 86)]);
        assert!(!found.is_there);
        assert_eq!(found.for_programs(), None);
        assert_eq!(found.denied.as_deref(), Some("skipped: no device (driver too old)"));
        let found = Found::of(&built(folder.path(), none, "no json"), &[]);
        assert_eq!((found.is_there, found.card, found.denied), (false, None, None));
    }
}
