//! The operating system.

use serde::Serialize;

use super::Machine;

/// The operating system and how busy it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct System {
    /// Its name and version, for example `Ubuntu 22.04.5 LTS`.
    pub name: Option<String>,
    /// The kernel's release, for example `5.15.148-tegra`.
    pub kernel: Option<String>,
    /// Runnable processes, the mean of the last minute.
    pub load_average: Option<f64>,
}

impl Machine {
    /// The operating system, from `/etc/os-release` and `/proc`.
    pub fn system(&self) -> System {
        let release = self.root.text("/etc/os-release").unwrap_or_default();
        let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        let load = self.root.text("/proc/loadavg").unwrap_or_default();
        System {
            name: name.map(|name| name.trim_matches(['"', '\'']).to_owned()),
            kernel: self.root.text("/proc/sys/kernel/osrelease"),
            load_average: load.split_whitespace().next().and_then(|load| load.parse().ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Board;
    use super::*;

    #[test]
    fn name_kernel_and_load_are_told_where_they_are_known() {
        let board = Board::new()
            .file("/etc/os-release", "NAME=\"Ubuntu\"\nPRETTY_NAME=\"Ubuntu 22.04.5 LTS\"\n")
            .file("/proc/sys/kernel/osrelease", "5.15.148-tegra\n")
            .file("/proc/loadavg", "0.52 0.58 0.59 1/389 12345\n");
        let expected = System {
            name: Some("Ubuntu 22.04.5 LTS".to_owned()),
            kernel: Some("5.15.148-tegra".to_owned()),
            load_average: Some(0.52),
        };
        assert_eq!(board.machine().system(), expected);
        let unknown = System { name: None, kernel: None, load_average: None };
        assert_eq!(Board::new().machine().system(), unknown);
    }
}
