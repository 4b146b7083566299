//! The script with made-up tools: what it says, and what it leaves behind.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../native/build.sh");

/// What the script takes from every system.
const TOOLS: [&str; 18] = [
    "cat", "dirname", "grep", "head", "install", "mkdir", "mktemp", "mv", "paste", "readlink",
    "rm", "sed", "sh", "sort", "touch", "tr", "uname", "kill",
];

/// "Builds" both libraries of TensorRT 10.
const CMAKE: &str = r#"#!/bin/sh
[ "$1" = --build ] || exit 0
mkdir -p "$2/shim" "$2/plugin/10"
echo "shim $CONTENT" > "$2/shim/libcumo_trt_10.so"
echo "plugin $CONTENT" > "$2/plugin/10/libcumo_plugin.so"
"#;

const TENSORRT_10_3: &str =
    "#define NV_TENSORRT_MAJOR 10 //!< x\n#define NV_TENSORRT_MINOR 3 //!< x\n";

/// A machine of which the script sees `bin` alone; every folder's name holds a space.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    /// With what comes with every system, and nothing else.
    fn bare() -> Self {
        let machine = Machine { folder: tempfile::Builder::new().prefix("a b").tempdir().unwrap() };
        fs::create_dir(machine.path("bin")).unwrap();
        fs::create_dir(machine.path("tmp")).unwrap();
        for tool in TOOLS {
            let places = ["/usr/bin", "/bin"].map(|place| Path::new(place).join(tool));
            let place = places.iter().find(|place| place.exists());
            if let Some(place) = place {
                symlink(place, machine.path("bin").join(tool)).unwrap();
            }
        }
        machine
    }

    /// With all that the script needs.
    fn whole() -> Self {
        let machine = Machine::bare();
        machine.add("cuda/bin/nvcc", "#!/bin/sh\necho sm_80 sm_87\n");
        machine.add("bin/cmake", CMAKE);
        machine.add("bin/c++", "");
        machine.add("bin/make", "");
        for (header, text) in
            [("NvOnnxParser.h", ""), ("NvInfer.h", ""), ("NvInferVersion.h", TENSORRT_10_3)]
        {
            machine.add(&format!("headers/{header}"), text);
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn add(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Whether the script succeeds, and what it writes to standard error.
    fn run(&self, content: &str, arguments: &[&str]) -> (bool, String) {
        let mut script = Command::new(self.path("bin/sh"));
        script.arg(SCRIPT).args(arguments).current_dir(self.folder.path());
        script.env_clear().env("PATH", self.path("bin")).env("TMPDIR", self.path("tmp"));
        let output = script.env("CONTENT", content).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    }

    fn build(&self, content: &str, more: &[&str]) -> (bool, String) {
        let known = ["--cuda", "cuda", "--tensorrt", "headers", "--prefix", "pre fix"];
        self.run(content, &[&known, more].concat())
    }

    fn installed(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path("pre fix/lib/cumo-edge").join(name)).ok()
    }
}

/// Names in a folder; none where it is not there.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_wrong_is_said_before_anything_is_built() {
    let machine = Machine::bare();
    for (arguments, message) in [
        (&["--cuda"][..], "build.sh: --cuda needs a value\n"),
        (&["--fast"], "build.sh: no option --fast; --help lists them\n"),
        (&["--jobs", "many"], "build.sh: --jobs takes a number, not `many`\n"),
        (&["--cuda", "/nowhere"], "build.sh: /nowhere has no bin/nvcc: "),
    ] {
        let (success, stderr) = machine.run("", arguments);
        assert!(!success && stderr.starts_with(message), "{arguments:?}: {stderr}");
    }
    assert_eq!(machine.run("", &["--help"]), (true, String::new()));
}

#[test]
fn a_missing_tool_is_named_with_the_package_that_has_it() {
    let whole = || Machine::whole();
    for (tool, message) in [
        ("bin/cmake", "no cmake: sudo apt install cmake g++"),
        ("bin/c++", "no C++ compiler (c++): sudo apt install g++"),
        ("bin/make", "no make: sudo apt install make"),
        ("headers/NvOnnxParser.h", "no TensorRT headers (NvOnnxParser.h); on a Jetson: sudo apt"),
        ("headers/NvInfer.h", "has no NvInfer.h beside NvOnnxParser.h"),
        ("headers/NvInferVersion.h", "has no NvInferVersion.h beside NvOnnxParser.h"),
    ] {
        let machine = whole();
        fs::remove_file(machine.path(tool)).unwrap();
        let (success, stderr) = machine.build("", &[]);
        assert!(!success && stderr.contains(message), "{tool}: {stderr}");
        assert_eq!(names(&machine.path("pre fix")), [""; 0]);
    }
    let machine = whole();
    machine.add("cuda/bin/nvcc", "#!/bin/sh\nexit 1\n");
    let (success, stderr) = machine.build("", &[]);
    assert!(!success && stderr.ends_with("cuda/bin/nvcc does not run\n"), "{stderr}");
}

#[test]
fn the_nvcc_on_the_path_is_used_where_no_other_is_known() {
    if Path::new("/usr/local/cuda/bin/nvcc").exists() {
        println!("skipped: this machine has a CUDA where the script looks first");
        return;
    }
    let machine = Machine::whole();
    assert!(
        machine.run("", &["--tensorrt", "headers"]).1.contains("no CUDA compiler; on a Jetson")
    );
    symlink("../cuda/bin/nvcc", machine.path("bin/nvcc")).unwrap();
    let (success, stderr) = machine.run("x", &["--tensorrt", "headers", "--prefix", "pre fix"]);
    assert!(success, "{stderr}");
}

#[test]
fn a_tensorrt_that_is_too_old_or_unknown_is_refused() {
    let old = "and 10.3 is the oldest that will do; on a Jetson: JetPack 6.1 or later";
    for (major, minor, message) in [
        (8, 6, format!("is of TensorRT 8.6, {old}")),
        (10, 2, format!("is of TensorRT 10.2, {old}")),
        (12, 0, "is of TensorRT `12`; 10.3 and later, 11 and RTX are known".to_owned()),
    ] {
        let machine = Machine::whole();
        let text = TENSORRT_10_3.replace("MAJOR 10", &format!("MAJOR {major}"));
        let text = text.replace("MINOR 3", &format!("MINOR {minor}"));
        machine.add("headers/NvInferVersion.h", &text);
        let (success, stderr) = machine.build("", &[]);
        assert!(!success && stderr.contains(&message), "{major}.{minor}: {stderr}");
    }
}

#[test]
fn it_installs_both_libraries_and_again_over_them() {
    let machine = Machine::whole();
    for content in ["first", "second"] {
        let (success, stderr) = machine.build(content, &[]);
        assert!(success, "{stderr}");
        let shim = machine.installed("libcumo_trt_10.so").unwrap();
        let plugin = machine.installed("10/libcumo_plugin.so").unwrap();
        assert_eq!((shim, plugin), (format!("shim {content}\n"), format!("plugin {content}\n")));
        assert_eq!(names(&machine.path("pre fix/lib/cumo-edge")), ["10", "libcumo_trt_10.so"]);
        assert_eq!(names(&machine.path("tmp")), [""; 0]);
    }
    let mode = fs::metadata(machine.path("pre fix/lib/cumo-edge/libcumo_trt_10.so"));
    assert_eq!(mode.unwrap().permissions().mode() & 0o777, 0o644);
}

#[test]
fn a_build_that_ends_early_leaves_what_was_installed_and_nothing_else() {
    let machine = Machine::whole();
    assert!(machine.build("first", &[]).0);
    let half = CMAKE.lines().filter(|line| !line.starts_with("echo \"plugin")).collect::<Vec<_>>();
    for (cmake, what) in [
        ("#!/bin/sh\nexit 1\n".to_owned(), "the configuration fails"),
        (format!("{CMAKE}kill -INT $PPID\n"), "interrupted"),
        (format!("{CMAKE}kill -TERM $PPID\n"), "ended"),
        (half.join("\n"), "a library is missing"),
    ] {
        machine.add("bin/cmake", &cmake);
        let (success, _) = machine.build("second", &[]);
        assert!(!success, "{what}");
        assert_eq!(machine.installed("libcumo_trt_10.so").unwrap(), "shim first\n", "{what}");
        assert_eq!(machine.installed("10/libcumo_plugin.so").unwrap(), "plugin first\n", "{what}");
        let left = names(&machine.path("pre fix/lib/cumo-edge"));
        assert_eq!(left, ["10", "libcumo_trt_10.so"], "{what}");
        assert_eq!(names(&machine.path("tmp")), [""; 0], "{what}");
    }
}

#[test]
fn a_place_that_cannot_be_written_to_is_found_before_the_build() {
    let machine = Machine::whole();
    machine.add("bin/cmake", "#!/bin/sh\ntouch built\n");
    machine.add("pre fix/lib", "a file");
    let (success, stderr) = machine.build("", &[]);
    assert!(!success && stderr.contains("pre fix/lib is no folder, so that nothing"), "{stderr}");
    fs::remove_file(machine.path("pre fix/lib")).unwrap();
    let prefix = machine.path("pre fix");
    fs::set_permissions(&prefix, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(prefix.join("x"), "").is_ok() {
        println!("skipped in part: an administrator may write everywhere");
    } else {
        let (success, stderr) = machine.build("", &[]);
        assert!(!success && stderr.contains("pre fix cannot be written to: run this with sudo"));
        // What would be done can be asked by everybody.
        assert!(machine.build("", &["--dry-run"]).0);
    }
    fs::set_permissions(&prefix, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(!machine.path("built").exists());
}

#[test]
fn a_build_folder_of_other_sources_or_tools_is_not_built_on() {
    let machine = Machine::whole();
    for (cache, message) in [
        ("CMAKE_HOME_DIRECTORY:INTERNAL=/old\n", "build was made from /old: remove it"),
        (
            "CMAKE_GENERATOR:INTERNAL=Ninja\nCMAKE_HOME_DIRECTORY:INTERNAL=SOURCE\n",
            "made with Ninja",
        ),
    ] {
        let source = fs::canonicalize(SCRIPT).unwrap();
        let source = source.parent().unwrap().to_str().unwrap();
        machine.add("build/CMakeCache.txt", &cache.replace("SOURCE", source));
        let (success, stderr) = machine.build("", &["--build", "build"]);
        assert!(!success && stderr.contains(message), "{stderr}");
    }
}
