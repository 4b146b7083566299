//! Main memory and swap.

use serde::Serialize;

use super::Machine;
use super::root::Root;

/// Main memory and swap, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Main memory; on a Jetson it is the GPU's too.
    pub total_bytes: u64,
    /// Main memory that programs can have without swapping.
    pub available_bytes: u64,
    /// Swap.
    pub swap_total_bytes: u64,
    /// Swap not in use.
    pub swap_free_bytes: u64,
}

/// A place that memory is swapped to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Swap {
    /// The device or file.
    pub name: String,
    /// What it is.
    pub kind: SwapKind,
    /// Its size in bytes.
    pub total_bytes: u64,
    /// Bytes in use.
    pub used_bytes: u64,
}

/// What memory is swapped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SwapKind {
    /// Main memory, compressed: it takes from what it gives.
    Zram,
    /// A file or partition.
    Disk,
}

impl Machine {
    /// Memory, where `/proc/meminfo` tells.
    pub fn memory(&self) -> Option<Memory> {
        parse_meminfo(&self.root.text("/proc/meminfo")?)
    }

    /// Places that memory is swapped to, as `/proc/swaps` lists them.
    pub fn swaps(&self) -> Vec<Swap> {
        let text = self.root.text("/proc/swaps").unwrap_or_default();
        text.lines().skip(1).filter_map(parse_swap).collect()
    }
}

/// The largest amount of memory that this process has had, in bytes.
pub fn peak_memory_bytes() -> Option<u64> {
    let status = Root::new("/".into()).text("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn parse_meminfo(text: &str) -> Option<Memory> {
    let bytes = |key: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(Memory {
        total_bytes: bytes("MemTotal")?,
        available_bytes: bytes("MemAvailable")?,
        swap_total_bytes: bytes("SwapTotal").unwrap_or(0),
        swap_free_bytes: bytes("SwapFree").unwrap_or(0),
    })
}

/// A line of `/proc/swaps`: name (a space in it is `\040`), type, size, used, priority; KiB.
fn parse_swap(line: &str) -> Option<Swap> {
    let mut words = line.split_whitespace();
    let name = words.next()?.replace("\\040", " ");
    let mut bytes = words.skip(1).map(|word| word.parse::<u64>().ok()?.checked_mul(1024));
    let kind = match name.starts_with("/dev/zram") {
        true => SwapKind::Zram,
        false => SwapKind::Disk,
    };
    Some(Swap { name, kind, total_bytes: bytes.next()??, used_bytes: bytes.next()?? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::Board;
    use super::*;

    #[test]
    fn meminfo_is_read_in_bytes() {
        let text = "MemTotal:       24000 kB\nMemFree: 1 kB\nMemAvailable:   20000 kB\nSwapTotal: 8 kB\nSwapFree: 4 kB\n";
        let memory = parse_meminfo(text).unwrap();
        assert_eq!(memory.total_bytes, 24_576_000);
        assert_eq!(memory.available_bytes, 20_480_000);
        assert_eq!((memory.swap_total_bytes, memory.swap_free_bytes), (8192, 4096));
        assert_eq!(parse_meminfo("MemTotal: many kB"), None);
    }

    #[test]
    fn swap_is_zram_or_a_disk() {
        let board = Board::new().file(
            "/proc/swaps",
            "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
             /dev/zram0                              partition\t635712\t\t12\t\t5\n\
             /mnt/my\\040swap file\t8388604\t0\t-2\nbroken\n",
        );
        let swaps = board.machine().swaps();
        let zram = Swap {
            name: "/dev/zram0".to_owned(),
            kind: SwapKind::Zram,
            total_bytes: 635_712 * 1024,
            used_bytes: 12 * 1024,
        };
        assert_eq!(swaps.first(), Some(&zram));
        let file = swaps.get(1).unwrap();
        assert_eq!((file.name.as_str(), file.kind), ("/mnt/my swap", SwapKind::Disk));
        assert_eq!(swaps.len(), 2);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(.|\n|\t){0,200}", kb in any::<u64>()) {
            parse_swap(&text);
            parse_meminfo(&text);
            parse_meminfo(&format!("MemTotal: {kb} kB\nMemAvailable: {kb} kB"));
            parse_swap(&format!("/dev/zram0 partition {kb} {kb} 5"));
        }
    }
}
