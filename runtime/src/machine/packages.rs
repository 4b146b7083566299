//! Versions of installed Debian packages.

use std::collections::BTreeMap;
use std::io::BufRead;

use super::root::Root;

/// The largest list of packages that is read; 4,000 packages take 5 MB.
const MAX_BYTES: u64 = 32 << 20;

/// Names and versions of installed packages whose names `wanted` accepts, from dpkg's list.
pub(super) fn installed(root: &Root, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let Some(mut reader) = root.reader("/var/lib/dpkg/status", MAX_BYTES) else { return found };
    let (mut package, mut version, mut installed) = (String::new(), String::new(), false);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).unwrap_or(0);
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if text.is_empty() {
            if installed && wanted(&package) && !version.is_empty() {
                found.insert(package, version);
            }
            (package, version, installed) = (String::new(), String::new(), false);
        } else if let Some(name) = text.strip_prefix("Package: ") {
            name.trim().clone_into(&mut package);
        } else if let Some(number) = text.strip_prefix("Version: ") {
            number.trim().clone_into(&mut version);
        } else if let Some(status) = text.strip_prefix("Status: ") {
            installed = status.ends_with(" installed");
        }
        if read == 0 {
            return found;
        }
    }
}

/// The version of what a package holds: `10.3.0.30` of `10.3.0.30-1+cuda12.5`.
pub(super) fn upstream(version: &str) -> Option<String> {
    let is_epoch = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let after_epoch = version.split_once(':').filter(|(epoch, _)| is_epoch(epoch));
    leading_number(after_epoch.map_or(version, |(_, rest)| rest))
}

/// The digits and dots that a text begins with, where it begins with a digit.
pub(super) fn leading_number(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text.get(..end)?.trim_end_matches('.');
    number.starts_with(|c: char| c.is_ascii_digit()).then(|| number.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::Board;
    use super::*;

    #[test]
    fn only_installed_packages_count_and_the_last_needs_no_empty_line() {
        let board = Board::new().file(
            "/var/lib/dpkg/status",
            "Package: a\nStatus: deinstall ok config-files\nVersion: 1\n\n\
             Package: b\nStatus: install ok installed\nVersion: 2:3.4-5\nDescription: x\n Version: 9\n\n\
             Package: c\nStatus: install ok installed\nVersion: 7",
        );
        let found = installed(&board.root(), |name| name != "x");
        let found: Vec<(&str, &str)> =
            found.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(found, [("b", "2:3.4-5"), ("c", "7")]);
        assert!(installed(&Board::new().root(), |_| true).is_empty());
    }

    #[test]
    fn an_upstream_version_ends_where_the_distributions_begins() {
        assert_eq!(upstream("10.3.0.30-1+cuda12.5").as_deref(), Some("10.3.0.30"));
        assert_eq!(upstream("6.2.1+b38").as_deref(), Some("6.2.1"));
        assert_eq!(upstream("1:7.2-b1").as_deref(), Some("7.2"));
        assert_eq!(upstream("unknown"), None);
    }

    proptest! {
        #[test]
        fn any_list_is_read_to_its_end(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let board = Board::new().bytes("/var/lib/dpkg/status", &bytes);
            installed(&board.root(), |_| true);
            upstream(&String::from_utf8_lossy(&bytes));
        }
    }
}
