//! What is refused and with which words, and what a build that fails or is stopped leaves.

use super::*;

#[test]
fn sizes_that_do_not_fit_say_what_does() {
    if !tensorrt() {
        return;
    }
    let shapes = shapes("cumo-mistral-7b");
    let message = |arguments: &[&str]| refused(&shapes, &[&["--shapes-only"], arguments].concat());
    let prompt = message(&["--max-prompt", "5000"]);
    assert!(
        prompt.contains(
            "--max-prompt 5000: a prompt must fit into the cache, which has 4096 positions"
        ),
        "{prompt}"
    );
    let context = message(&["--max-context", "40000"]);
    assert!(
        context.contains("--max-context 40000: it must be 1 to 32768, the positions"),
        "{context}"
    );
    let none = message(&["--max-context", "0"]);
    assert!(none.contains("--max-context 0: it must be 1 to 32768, the positions"), "{none}");
    let images = message(&["--max-images", "0"]);
    assert!(images.contains("--max-images 0: it must be 1 to 65535"), "{images}");
    let layers = message(&["--layers", "2"]);
    assert!(layers.contains("--layers is for --weights const"), "{layers}");
    for mebibytes in ["0", "18446744073709551615"] {
        let folder = tempfile::tempdir().unwrap();
        let arguments = ["--shapes-only", "--workspace", mebibytes];
        let output = engine(&shapes, &folder.path().join("engines"), &arguments);
        assert_eq!(output.status.code(), Some(2));
        let message = stderr(&output);
        assert!(message.contains(&format!("{mebibytes} is not in 1..=16777216")), "{message}");
    }
}

#[test]
fn a_folder_for_engines_that_is_none_is_told_before_anything_is_built() {
    if !tensorrt() {
        return;
    }
    let shapes = shapes("cumo-mistral-7b");
    for (cache, cause) in [("/dev/null", "not a folder"), ("/sys/kernel/engines", "")] {
        let message = refused(&shapes, &["--shapes-only", "--cache", cache]);
        assert!(message.contains(&format!("--cache {cache}: ")), "{message}");
        assert!(message.contains(cause) && !message.contains("built before"), "{message}");
        assert!(!message.contains(" s\n"), "{message}");
    }
}

#[test]
fn bundles_of_other_targets_and_forms_are_refused() {
    if !tensorrt() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let portable = folder.path().join("portable");
    assert!(export(&golden("mistral-moe"), &portable, &[]).status.success());
    let message = refused(&portable, &[]);
    assert!(message.contains("a bundle of target onnx"), "{message}");
    assert!(message.contains("--target tensorrt"), "{message}");

    let bundle = bundle("mistral-moe", folder.path(), &[]);
    let message = refused(&bundle, &["--moe", "function"]);
    assert!(message.contains("hold experts as plugin, and --moe function"), "{message}");
    let message = refused(&bundle, &["--plugin", "/nonexistent/libcumo_plugin.so"]);
    assert!(message.contains("/nonexistent/libcumo_plugin.so: No such file"), "{message}");
    let message = refused(&bundle, &["--device", "8.6,8.7"]);
    assert!(message.contains(": --device: TensorRT-RTX cannot build for"), "{message}");
    assert!(message.contains("compute capability 8.7 ahead of time; it can for 7.5"), "{message}");
    let message = refused(&bundle, &["--workspace", "1"]);
    assert!(message.contains("The limit is that of --workspace"), "{message}");
    let message = refused(&bundle, &["--device", "8.6,7.5"]);
    let says = "CumoMoE nodes, whose kernels need compute capability 8.0 or later, not 7.5";
    assert!(message.contains(says) && message.contains("--moe function"), "{message}");
    assert!(!message.contains("built before") && !message.contains(" s\n"), "{message}");
    let output = engine(&bundle, &folder.path().join("engines"), &["--device", "8.6.1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("such as 8.6"), "{}", stderr(&output));
}

#[test]
fn what_is_wrong_with_the_input_is_told_before_tensorrt_is_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let message = |input: &Path, arguments: &[&str]| {
        let mut command = cumo_export();
        command.arg("engine").arg(input).arg("-o").arg(folder.path().join("engines"));
        let output = command.args(arguments).env("CUMO_TRT_SHIM", "/nonexistent").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        stderr(&output)
    };
    let portable = folder.path().join("portable");
    assert!(export(&golden("mistral-moe"), &portable, &[]).status.success());
    let says = message(&portable, &[]);
    assert!(says.contains("a bundle of target onnx") && !says.contains("libcumo_trt"), "{says}");
    let says = message(&folder.path().join("nothing"), &[]);
    assert!(says.contains("nothing") && !says.contains("libcumo_trt"), "{says}");
    for arguments in [&["--shapes-only"][..], &[]] {
        let sizes = [arguments, &["--max-context", "40000"]].concat();
        let says = message(&golden("mistral-moe"), &sizes);
        assert!(says.contains("--max-context 40000: it must be 1 to"), "{says}");
    }
    let says = message(&golden("mistral-moe"), &[]);
    assert!(says.contains("libcumo_trt_rtx.so was not found"), "{says}");
    assert_eq!(names(folder.path()), ["portable"]);
}

/// Puts bytes in the place of one of a bundle's graphs, hash and all.
fn replace_graph(bundle: &Path, file: &str, bytes: &[u8]) {
    fs::write(bundle.join(file), bytes).unwrap();
    let mut manifest = cumo_bundle::Bundle::read_manifest(bundle).unwrap();
    let sha256 = cumo_bundle::hash_reader(bytes, |_| ()).unwrap();
    let bytes = bytes.len() as u64;
    manifest.files.insert(file.to_owned(), cumo_bundle::FileEntry { bytes, sha256 });
    let text = serde_json::to_vec(&manifest).unwrap();
    fs::write(bundle.join("manifest.json"), text).unwrap();
}

#[test]
fn an_unsupported_operator_is_named_with_its_node_and_part() {
    if !tensorrt() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let bundle = bundle("mistral-dense", folder.path(), &[]);
    let model = fs::read(bundle.join("head.onnx")).unwrap();
    // An operator that there is not, of a name as long as the real one's.
    let mut other = model.clone();
    let places = (0..model.len() - 4).filter(|at| &model[*at..*at + 4] == b"Gemm");
    places.for_each(|at| other[at..at + 4].copy_from_slice(b"Gemn"));
    assert!(other != model, "there is no Gemm");
    replace_graph(&bundle, "head.onnx", &other);
    let message = refused(&bundle, &["--max-context", "64"]);
    for part in ["graph `head` of part `llm`", "operator Gemn, node `Gemn:node`"] {
        assert!(message.contains(part), "{part} not in {message}");
    }

    fs::write(bundle.join("head.onnx"), &model[..model.len() - 1]).unwrap();
    let message = refused(&bundle, &[]);
    assert!(
        message.contains("`head.onnx` has") && message.contains("the manifest says"),
        "{message}"
    );
    replace_graph(&bundle, "head.onnx", b"no model");
    let message = refused(&bundle, &["--max-context", "64"]);
    assert!(message.contains("not an ONNX model"), "{message}");
}

#[test]
fn missing_libraries_drivers_and_plugins_say_how_to_get_them() {
    if !tensorrt() {
        return;
    }
    let shapes = shapes("cumo-mistral-7b");
    let missing = |variable: &str, value: &Path, arguments: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = cumo_export();
        command.arg("engine").arg(&shapes).arg("--shapes-only").arg("-o");
        command.arg(folder.path().join("engines")).args(arguments);
        let output = command.env(variable, value).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(names(folder.path()).is_empty());
        stderr(&output)
    };
    let library = missing("CUMO_TRT_LIBRARY", Path::new("/nonexistent"), &[]);
    for part in ["/nonexistent/libtensorrt_rtx.so.1", "cargo xtask setup --tensorrt"] {
        assert!(library.contains(part), "{part} not in {library}");
    }
    let shim = missing("CUMO_TRT_SHIM", Path::new("/nonexistent"), &[]);
    assert!(shim.contains("cargo xtask native"), "{shim}");
    // No plugin beside a copy of the program, nor beside a copy of the shim.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("cumo-export");
    fs::copy(env!("CARGO_BIN_EXE_cumo-export"), &program).unwrap();
    let library = Library::open(Flavour::Rtx).unwrap();
    let built = Path::new(env!("CARGO_BIN_EXE_cumo-export")).with_file_name("../native-build/shim");
    let shim = folder.path().join("native/shim");
    fs::create_dir_all(&shim).unwrap();
    let name = "libcumo_trt_rtx.so";
    fs::copy(built.join(name), shim.join(name)).unwrap();
    let mut command = std::process::Command::new(&program);
    command
        .arg("engine")
        .arg(&shapes)
        .arg("--shapes-only")
        .arg("-o")
        .arg(folder.path().join("out"));
    command.env("CUMO_TRT_SHIM", shim).env("CUMO_TRT_LIBRARY", library.path().parent().unwrap());
    let message = stderr(&command.output().unwrap());
    let beside_shim = "native/shim/../plugin/rtx/libcumo_plugin.so";
    for part in ["the plugin was not found", "--plugin", "--moe function", beside_shim] {
        assert!(message.contains(part), "{part} not in {message}");
    }
    // TensorRT 11 needs the device that it builds for; here is its lean runtime at most.
    if library.devices().is_err() {
        let lean = library.path().parent().unwrap().with_file_name("tensorrt-lean-11");
        let message = missing("CUMO_TRT_LIBRARY", &lean, &["--flavour", "11"]);
        assert!(message.contains("TensorRT"), "{message}");
        let says = ["driver", "device", "libcumo_trt_11.so", "libnvinfer"];
        assert!(says.iter().any(|part| message.contains(part)), "{message}");
    }
}

#[test]
fn folders_that_exist_are_kept_unless_they_hold_engines_and_force_is_given() {
    if !tensorrt() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("engines");
    fs::create_dir(&output).unwrap();
    fs::write(output.join("mine.txt"), b"mine").unwrap();
    let shapes = shapes("cumo-mistral-7b");
    let message = stderr(&engine(&shapes, &output, &["--shapes-only"]));
    assert!(message.contains("exists; give another folder, or --force"), "{message}");
    let message = stderr(&engine(&shapes, &output, &["--shapes-only", "--force"]));
    assert!(message.contains("holds no engines") && message.contains("not replaced"), "{message}");
    assert_eq!(fs::read(output.join("mine.txt")).unwrap(), b"mine");
}

#[test]
fn a_checkpoint_whose_engines_are_not_built_leaves_no_bundle_in_the_way() {
    if !tensorrt() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("engines");
    let result = engine(&golden("mistral-moe"), &output, &["--workspace", "1"]);
    assert_eq!(result.status.code(), Some(1), "{}", stderr(&result));
    assert!(names(folder.path()).is_empty(), "{:?}", names(folder.path()));
    built(&golden("mistral-moe"), &output, &[]);
    assert_eq!(names(folder.path()), ["engines", "engines.bundle"]);
    // A bundle that was there stays.
    let result = engine(&golden("mistral-moe"), &output, &["--workspace", "1", "--force"]);
    assert_eq!(result.status.code(), Some(1), "{}", stderr(&result));
    assert_eq!(names(folder.path()), ["engines", "engines.bundle"]);
}

#[cfg(unix)]
#[test]
fn an_interrupted_build_leaves_nothing() {
    if !tensorrt() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut interrupted = 0;
    for run in 0..6u64 {
        let mut command = cumo_export();
        command.arg("engine").arg(shapes("cumo-mistral-7b")).arg("--shapes-only").arg("-o");
        command.arg(folder.path().join("engines"));
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        let child = command.spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(150 + 150 * run));
        let id = child.id().to_string();
        std::process::Command::new("kill").args(["-INT", &id]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.code() == Some(130) {
            interrupted += 1;
            assert!(stderr(&output).contains("interrupted; nothing was written"));
            assert!(names(folder.path()).is_empty(), "{:?}", names(folder.path()));
        }
        let _ = fs::remove_dir_all(folder.path().join("engines"));
    }
    assert!(interrupted > 0, "no run was interrupted while it built");
}

/// On a disk of 600 kB, which a user may mount in a namespace of their own.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_nothing_is_left() {
    if !tensorrt() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=600k none \"$1\" || exit 77\n\
                  \"$2\" engine \"$3\" --shapes-only -o \"$1/engines\"; echo \"code $?\" >&2\n\
                  ls -A \"$1\" >&2";
    let output = std::process::Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(folder.path())
        .arg(env!("CARGO_BIN_EXE_cumo-export"))
        .arg(shapes("cumo-mistral-7b"))
        .output();
    let Some(output) = output.ok().filter(|output| output.status.code() != Some(77)) else {
        skip("this system lets nobody mount a small disk");
        return;
    };
    let message = stderr(&output);
    if message.contains("unshare failed") {
        skip(&message);
        return;
    }
    assert!(message.contains("no space left on this disk; nothing was written"), "{message}");
    assert!(message.ends_with("code 1\n"), "{message}");
}
