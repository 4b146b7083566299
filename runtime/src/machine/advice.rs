//! What to change on a Jetson so that models run, or run faster.

use serde::Serialize;

use super::Machine;
use super::jetson::Jetson;
use super::memory::SwapKind;

/// Memory up to which every gigabyte counts for a model of 7 billion parameters.
const LITTLE_MEMORY_BYTES: u64 = 17 << 30;

/// The oldest Jetson Linux whose TensorRT can run our engines: JetPack 6.1's.
const OLDEST_L4T: (u32, u32) = (36, 4);

/// Something to change, and the command that does it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// What was found, and why it matters.
    pub what: String,
    /// What to type.
    pub command: String,
}

impl Machine {
    /// What to change on a Jetson, most important first; nothing on other machines.
    pub fn advice(&self) -> Vec<Advice> {
        let Some(jetson) = self.jetson() else { return Vec::new() };
        let mut advice = Vec::new();
        advice.extend(software(&jetson));
        advice.extend(self.power_advice());
        advice.extend(self.throttling_advice());
        advice.extend(self.memory_advice(&jetson));
        advice
    }

    fn power_advice(&self) -> Vec<Advice> {
        let mut found = Vec::new();
        if let Some(mode) = self.power_mode()
            && let Some(fastest) = mode.fastest()
            && let Some(id) = mode.id
            && id != fastest.id
        {
            let name = mode.name.clone().unwrap_or_else(|| id.to_string());
            let what = format!("the power mode is {name}, {} is faster", fastest.name);
            found.push(Advice { what, command: format!("sudo nvpmodel -m {}", fastest.id) });
        }
        if self.jetson_clocks() == Some(false) {
            found.push(advice(
                "clocks follow the load, which makes the first tokens slow and times differ",
                "sudo jetson_clocks",
            ));
        }
        found
    }

    fn throttling_advice(&self) -> Vec<Advice> {
        let throttling = self.throttling();
        let mut found = Vec::new();
        let now = throttling.now.unwrap_or_default();
        if !now.is_empty() {
            let what = format!("clocks are held down now: {}", now.join(", "));
            found.push(Advice { what, command: "sudo jetson_clocks --fan".to_owned() });
        }
        let events: Vec<String> = throttling
            .events
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(cause, count)| format!("{cause} ({count} times)"))
            .collect();
        if !events.is_empty() {
            let events = events.join(", ");
            let what = format!("clocks were held down since the board was started: {events}");
            found.push(advice(&what, "a stronger power supply, or a power mode of fewer watts"));
        }
        found
    }

    fn memory_advice(&self, jetson: &Jetson) -> Vec<Advice> {
        if self.memory().is_none_or(|memory| memory.total_bytes > LITTLE_MEMORY_BYTES) {
            return Vec::new();
        }
        let mut found = Vec::new();
        if jetson.desktop {
            found.push(advice(
                "a desktop starts with the system and takes memory that models could have",
                "sudo systemctl set-default multi-user.target && sudo reboot",
            ));
        }
        let swaps = self.swaps();
        let on_disk = swaps.iter().any(|swap| swap.kind == SwapKind::Disk);
        let zram = swaps.iter().any(|swap| swap.kind == SwapKind::Zram);
        if zram && !on_disk {
            found.push(advice(
                "memory is swapped to compressed memory (zram), which takes from what models have",
                "sudo systemctl disable --now nvzramconfig",
            ));
        }
        if !on_disk {
            found.push(advice(
                "nothing is swapped to a disk, where what models do not need could go",
                "sudo fallocate -l 16G /var/swapfile && sudo chmod 600 /var/swapfile && sudo mkswap \
                 /var/swapfile && sudo swapon /var/swapfile && echo '/var/swapfile none swap sw 0 0' \
                 | sudo tee -a /etc/fstab",
            ));
        }
        found
    }
}

/// What JetPack lacks.
fn software(jetson: &Jetson) -> Option<Advice> {
    let mut numbers = jetson.l4t.as_deref().unwrap_or_default().split('.').map(str::parse::<u32>);
    if let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next())
        && (major, minor) < OLDEST_L4T
    {
        return Some(advice(
            "Jetson Linux is older than JetPack 6.1's, and its TensorRT too old for our engines",
            "flash JetPack 6.2 or 7.2: https://developer.nvidia.com/embedded/jetpack",
        ));
    }
    let missing = jetson.tensorrt.is_none();
    missing.then(|| {
        advice(
            "TensorRT is not installed: models run on the CPU only",
            "sudo apt update && sudo apt install nvidia-jetpack",
        )
    })
}

fn advice(what: &str, command: &str) -> Advice {
    Advice { what: what.to_owned(), command: command.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Board;

    fn commands(board: &Board) -> Vec<String> {
        board.machine().advice().into_iter().map(|advice| advice.command).collect()
    }

    #[test]
    fn a_fresh_orin_nano_is_told_its_commands() {
        let board = Board::orin_nano();
        let commands = commands(&board);
        let begins = |index: usize, with: &str| commands[index].starts_with(with);
        assert_eq!(commands.len(), 5, "{commands:?}");
        assert!(begins(0, "sudo nvpmodel -m 2") && begins(1, "sudo jetson_clocks"));
        assert!(begins(2, "sudo systemctl set-default multi-user.target"));
        assert!(begins(3, "sudo systemctl disable --now nvzramconfig"));
        assert!(begins(4, "sudo fallocate -l 16G /var/swapfile && sudo chmod"));
    }

    #[test]
    fn a_board_that_is_set_for_speed_is_told_nothing() {
        let board = Board::thor();
        assert_eq!(commands(&board), Vec::<String>::new());
    }

    #[test]
    fn throttling_and_missing_software_are_told() {
        let board = Board::agx_orin();
        let advice = board.machine().advice();
        let text = format!("{advice:?}");
        for part in [
            "TensorRT is not installed",
            "sudo apt update && sudo apt install nvidia-jetpack",
            "the power mode is MODE_30W, MAXN is faster",
            "held down now: gpu-throttle-alert",
            "current peak too high (37 times)",
        ] {
            assert!(text.contains(part), "{part} not in {text}");
        }
        assert!(!text.contains("zram"), "64 GB are enough: {text}");
    }

    #[test]
    fn jetpack_5_is_too_old() {
        let board = Board::orin_nano()
            .file("/etc/nv_tegra_release", "# R35 (release), REVISION: 6.1, GCID: 1\n");
        assert!(commands(&board)[0].starts_with("flash JetPack 6.2 or 7.2"));
    }

    #[test]
    fn a_pc_is_told_nothing() {
        assert!(commands(&Board::rtx_pc()).is_empty());
        assert!(commands(&Board::new()).is_empty());
    }
}
