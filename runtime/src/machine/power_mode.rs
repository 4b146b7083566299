//! The power mode of a Jetson: which is set, and which there are.

use std::time::Duration;

use serde::Serialize;

use super::Machine;
use super::program;
use super::root::Root;

/// How long `nvpmodel` may take.
const LIMIT: Duration = Duration::from_secs(2);

/// The most modes that are read; boards have up to nine.
const MAX_MODES: usize = 64;

/// The mode that is set, and those that can be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PowerMode {
    /// The mode that is set, where the system tells.
    pub id: Option<u32>,
    /// Its name, for example `25W`.
    pub name: Option<String>,
    /// The mode after flashing.
    pub default_id: Option<u32>,
    /// All modes of this board, in the order of its file.
    pub modes: Vec<Mode>,
}

/// A mode of `/etc/nvpmodel.conf`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mode {
    /// The number that `nvpmodel -m` takes.
    pub id: u32,
    /// Its name: `15W`, `MODE_30W`, `MAXN`.
    pub name: String,
    /// The highest clock that the GPU may have in it, in Hz. None where it is not limited.
    pub gpu_max_hz: Option<u64>,
}

impl PowerMode {
    /// The mode with the fastest GPU: one named `MAXN...`, or else with the highest limit. The
    /// numbers are in no order, and neither are the watts: a mode for more watts may give them to
    /// the processor.
    pub fn fastest(&self) -> Option<&Mode> {
        let rank = |mode: &&Mode| {
            (mode.name.starts_with("MAXN"), mode.gpu_max_hz.unwrap_or(u64::MAX), mode.watts())
        };
        self.modes.iter().max_by_key(rank)
    }
}

impl Mode {
    /// The watts in its name: 30 of `MODE_30W`, none of `MAXN`.
    pub fn watts(&self) -> Option<u32> {
        let words = self.name.split(|c: char| !c.is_ascii_alphanumeric());
        words.filter_map(|word| word.strip_suffix('W')).find_map(|digits| digits.parse().ok())
    }
}

impl Machine {
    /// The power mode, where this machine has modes: from `/var/lib/nvpmodel/status`, or where that
    /// does not tell from `nvpmodel -q`, which is given two seconds.
    pub fn power_mode(&self) -> Option<PowerMode> {
        let text = self.root.text("/etc/nvpmodel.conf");
        let (modes, default_id) = text.as_deref().map(parse_modes).unwrap_or_default();
        let (id, mut name) = match status(&self.root) {
            Some(id) => (Some(id), None),
            None if self.runs_programs => query(&self.root),
            None => (None, None),
        };
        if name.is_none() {
            name = modes.iter().find(|mode| Some(mode.id) == id).map(|mode| mode.name.clone());
        }
        let known = id.is_some() || name.is_some() || !modes.is_empty();
        known.then_some(PowerMode { id, name, default_id, modes })
    }
}

/// `pmode:0002`, as nvpmodel leaves it.
fn status(root: &Root) -> Option<u32> {
    let text = root.text("/var/lib/nvpmodel/status")?;
    let digits = text.split_whitespace().find_map(|word| word.strip_prefix("pmode:"))?;
    digits.parse().ok()
}

/// What `nvpmodel -q` prints: `NV Power Mode: MAXN_SUPER`, and the number on a line of its own.
fn query(root: &Root) -> (Option<u32>, Option<String>) {
    let text = program::output(&root.path("/usr/sbin/nvpmodel"), "-q", LIMIT).unwrap_or_default();
    let name = text.lines().find_map(|line| line.split_once("Power Mode:"));
    let name = name.map(|(_, name)| name.trim().to_owned()).filter(|name| !name.is_empty());
    (text.lines().find_map(|line| line.trim().parse().ok()), name)
}

/// Modes and the default of a configuration: `< POWER_MODEL ID=0 NAME=15W >`, lines of limits under
/// each (`GPU MAX_FREQ 612000000`, -1 for none), and `< PM_CONFIG DEFAULT=1 >`.
fn parse_modes(text: &str) -> (Vec<Mode>, Option<u32>) {
    let (mut modes, mut default_id) = (Vec::new(), None);
    let mut in_mode = false;
    for line in text.lines().map(str::trim) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let value = |key: &str| words.iter().find_map(|word| word.strip_prefix(key));
        match words.as_slice() {
            ["<", "POWER_MODEL", ..] => {
                let id = value("ID=").and_then(|id| id.parse().ok());
                in_mode = id.is_some() && modes.len() < MAX_MODES;
                if let (true, Some(id), Some(name)) = (in_mode, id, value("NAME=")) {
                    modes.push(Mode { id, name: name.to_owned(), gpu_max_hz: None });
                }
            }
            ["<", kind, ..] => {
                in_mode = false;
                if *kind == "PM_CONFIG" {
                    default_id = value("DEFAULT=").and_then(|id| id.parse().ok());
                }
            }
            ["GPU", "MAX_FREQ", hz, ..] if in_mode => {
                if let Some(mode) = modes.last_mut() {
                    mode.gpu_max_hz = hz.parse().ok();
                }
            }
            _ => {}
        }
    }
    (modes, default_id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::Board;
    use super::*;

    const ORIN_NX: &str = "\
# comment
< PARAM TYPE=CLOCK NAME=GPU >
MAX_FREQ /sys/devices/gpu/devfreq/max_freq
< POWER_MODEL ID=3 NAME=25W >
CPU_ONLINE CORE_0 1
GPU MIN_FREQ 0
GPU MAX_FREQ 408000000
< POWER_MODEL ID=1 NAME=10W >
GPU MAX_FREQ 612000000
< POWER_MODEL ID=0 NAME=MAXN >
GPU MAX_FREQ -1
< FAN_CONFIG DEFAULT=quiet >
< PM_CONFIG DEFAULT=3 >
";

    #[test]
    fn modes_have_numbers_names_and_limits() {
        let (modes, default_id) = parse_modes(ORIN_NX);
        let found: Vec<_> = modes.iter().map(|m| (m.id, m.name.as_str(), m.gpu_max_hz)).collect();
        let expected =
            [(3, "25W", Some(408_000_000)), (1, "10W", Some(612_000_000)), (0, "MAXN", None)];
        assert_eq!(found, expected);
        assert_eq!(default_id, Some(3));
    }

    #[test]
    fn the_fastest_mode_is_the_one_with_the_fastest_gpu() {
        let (modes, _) = parse_modes(ORIN_NX);
        let mut mode = PowerMode { id: Some(3), name: None, default_id: None, modes };
        assert_eq!(mode.fastest().unwrap().name, "MAXN");
        mode.modes.pop();
        assert_eq!(mode.fastest().unwrap().name, "10W");
        mode.modes.clear();
        assert_eq!(mode.fastest(), None);
    }

    #[test]
    fn watts_are_in_the_name() {
        let watts = |name: &str| Mode { id: 0, name: name.to_owned(), gpu_max_hz: None }.watts();
        assert_eq!(watts("MODE_30W"), Some(30));
        assert_eq!(watts("15W_2CORE"), Some(15));
        assert_eq!(watts("MAXN_SUPER"), None);
    }

    #[test]
    fn the_file_tells_before_the_program_is_asked() {
        let board = Board::new()
            .file("/etc/nvpmodel.conf", ORIN_NX)
            .file("/var/lib/nvpmodel/status", "pmode:0001 fmode:quiet\n")
            .program("/usr/sbin/nvpmodel", "echo 'NV Power Mode: 25W'; echo 3");
        let mode = board.running_machine().power_mode().unwrap();
        assert_eq!((mode.id, mode.name.as_deref()), (Some(1), Some("10W")));
        let board = board.file("/var/lib/nvpmodel/status", "nonsense");
        let mode = board.running_machine().power_mode().unwrap();
        assert_eq!((mode.id, mode.name.as_deref()), (Some(3), Some("25W")));
        // Of a machine that is only looked at, no program is run.
        assert_eq!(board.machine().power_mode().unwrap().id, None);
    }

    #[test]
    fn a_machine_without_modes_has_none() {
        assert_eq!(Board::new().machine().power_mode(), None);
    }

    proptest! {
        #[test]
        fn any_configuration_is_read(text in "([<> \\n=0-9A-Z_-]|POWER_MODEL|ID=|NAME=|GPU MAX_FREQ ){0,60}") {
            let (modes, _) = parse_modes(&text);
            prop_assert!(modes.len() <= MAX_MODES);
        }
    }
}
