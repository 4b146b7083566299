//! What is refused when a folder of engines is opened, and with which words.

use std::fs;
use std::path::Path;

use cumo_bundle::names::MANIFEST_FILE;
use cumo_export::MoeKind;
use cumo_runtime::backend::{BackendError, MemoryPlan};
use cumo_runtime::{CancelToken, Error};
use cumo_standin::{DeviceSettings, Settings};

use crate::support::{Setup, answer, golden};

/// What opening a golden's engines on another machine says.
fn refusal(settings: &Settings) -> String {
    let setup = Setup::with(&golden("mistral-moe"), MoeKind::Plugin, settings);
    let error = setup.open().err().unwrap().to_string();
    setup.nothing_is_wrong();
    error
}

#[test]
fn engines_of_another_version_are_refused() {
    let error = refusal(&Settings { version: "0.0.0.2".to_owned(), ..Settings::default() });
    assert!(error.contains("these engines do not run here"), "{error}");
    assert!(error.contains("built by TensorRT-RTX 0.0.0.1, this is 0.0.0.2"), "{error}");
}

#[test]
fn without_a_driver_that_is_said_and_why() {
    let error = refusal(&Settings { device: None, ..Settings::default() });
    assert!(error.contains("there is no NVIDIA device"), "{error}");
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let setup = Setup::new(&golden("mistral-moe"), MoeKind::Plugin);
    let mut options = setup.options();
    options.backend.tensorrt.device = 3;
    let error = cumo_runtime::Model::open(&setup.engines.path(), &options).err().unwrap();
    assert!(error.to_string().contains("there is no device 3, only device 0"), "{error}");
}

#[test]
fn a_plugin_that_is_missing_is_named() {
    let setup = Setup::new(&golden("mistral-moe"), MoeKind::Plugin);
    let mut options = setup.options();
    options.backend.tensorrt.plugin = Some("/nonexistent/libcumo_plugin.so".into());
    let error = cumo_runtime::Model::open(&setup.engines.path(), &options).err().unwrap();
    let error = error.to_string();
    assert!(error.contains("they need the plugin CumoMoE, which is not installed"), "{error}");
    assert!(error.contains("/nonexistent/libcumo_plugin.so"), "{error}");
}

#[test]
fn a_damaged_engine_is_named_before_tensorrt_sees_it() {
    let setup = Setup::new(&golden("mistral-moe"), MoeKind::Plugin);
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("engines");
    setup.engines.copy_to(&copy);
    let file = "decoder_layer.prefill.64.engine";
    let mut bytes = fs::read(copy.join(file)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(copy.join(file), bytes).unwrap();
    let error = setup.open_at(&copy).err().unwrap().to_string();
    assert!(error.contains(&format!("`{file}` was altered")), "{error}");
    setup.nothing_is_wrong();
}

#[test]
fn engines_without_weights_are_refused() {
    let setup = Setup::new(&golden("mistral-moe"), MoeKind::Plugin);
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("engines");
    setup.engines.copy_to(&copy);
    let manifest = copy.join(MANIFEST_FILE);
    let mut json: serde_json::Value =
        serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    json["weights_files"] = "absent".into();
    fs::write(&manifest, json.to_string()).unwrap();
    let error = setup.open_at(&copy).err().unwrap().to_string();
    assert!(error.contains("no weights"), "{error}");
}

#[test]
fn a_cut_file_of_weights_is_named() {
    let setup = Setup::new(&golden("mistral-moe"), MoeKind::Plugin);
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("engines");
    setup.engines.copy_to(&copy);
    let weights = fs::read(copy.join("llm.safetensors")).unwrap();
    fs::remove_file(copy.join("llm.safetensors")).unwrap();
    fs::write(copy.join("llm.safetensors"), &weights[..weights.len() - 1]).unwrap();
    let error = setup.open_at(&copy).err().unwrap().to_string();
    let says = format!("`llm.safetensors` has {} bytes", weights.len() - 1);
    assert!(error.contains(&says), "{error}");
}

/// A device of 8 GiB, of which other programs leave so many bytes.
fn left(bytes: u64, is_integrated: bool) -> Settings {
    let device = DeviceSettings { is_integrated, ..DeviceSettings::default() };
    let used_elsewhere_bytes = device.total_bytes - bytes;
    Settings {
        device: Some(DeviceSettings { used_elsewhere_bytes, ..device }),
        ..Settings::default()
    }
}

/// What a folder of engines needs and does not find.
fn plan(setup: &Setup, folder: &Path) -> MemoryPlan {
    let error = setup.open_at(folder).err().unwrap();
    let Error::Backend(BackendError::DeviceMemory(plan)) = error else { panic!("{error}") };
    setup.nothing_is_wrong();
    *plan
}

#[test]
fn what_other_programs_have_of_a_device_is_not_free() {
    let golden = golden("mistral-moe");
    let bytes = (64 << 20) + 2_100_000;
    let setup = Setup::with(&golden, MoeKind::Plugin, &left(bytes, false));
    let plan = plan(&setup, &setup.engines.path());
    assert_eq!((plan.free, plan.total), (bytes, 8 << 30));
    // What the system would give back counts where host and device share their memory.
    let setup = Setup::with(&golden, MoeKind::Plugin, &left(bytes, true));
    let mut model = setup.open().unwrap();
    assert!(answer(&mut model, &golden.prompts["text_only"].input_ids, &[], 2).is_ok());
    setup.finish(model);
}

#[test]
fn activations_that_the_folder_does_not_tell_are_counted_when_the_engines_are_loaded() {
    let golden = golden("mistral-moe");
    let setup = Setup::with(&golden, MoeKind::Plugin, &left(64 << 20, false));
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("engines");
    setup.engines.copy_to(&copy);
    let manifest = copy.join(MANIFEST_FILE);
    let mut json: serde_json::Value =
        serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    for engine in json["engines"].as_array_mut().unwrap() {
        engine["figures"]["activation_bytes"] = serde_json::Value::Null;
    }
    fs::write(&manifest, json.to_string()).unwrap();
    let unloaded = plan(&setup, &copy);
    assert_eq!(unloaded.needed.activations, 0);
    let enough = unloaded.needed.total() + unloaded.reserve;
    let setup = Setup::with(&golden, MoeKind::Plugin, &left(enough, false));
    let loaded = plan(&setup, &copy);
    assert!(loaded.needed.activations > 0, "{loaded:?}");
}

#[test]
fn a_model_that_does_not_fit_is_refused_with_what_is_missing_before_it_is_allocated() {
    let golden = golden("mistral-moe");
    let setup = Setup::new(&golden, MoeKind::Plugin);
    let mut model = setup.open().unwrap();
    let paths = ["wide", "gray"].map(|name| golden.image(name));
    let (images, _) = model.encode_images(&paths, &CancelToken::new()).unwrap();
    answer(&mut model, &golden.prompts["two_images"].input_ids, &images, 8).unwrap();
    let device = model.executor().backend().device.unwrap();
    let counted = setup.finish(model).peak_bytes;
    assert_eq!(device.peak_bytes, counted);

    // Weights and contexts fit, and not all of the rest.
    let total_bytes = (64 << 20) + 2_100_000;
    let small = DeviceSettings { total_bytes, ..DeviceSettings::default() };
    let settings = Settings { device: Some(small), ..Settings::default() };
    let setup = Setup::with(&golden, MoeKind::Plugin, &settings);
    let error = setup.open().err().unwrap();
    let Error::Backend(BackendError::DeviceMemory(plan)) = &error else { panic!("{error}") };
    assert!(plan.missing().is_some() && plan.free <= total_bytes);
    let needed = plan.needed;
    // What a request of the largest sizes took, to the byte.
    assert_eq!(needed.total(), counted, "{needed:?}");
    assert!(needed.weights > 0 && needed.cache > 0 && needed.buffers > 0, "{needed:?}");
    let text = error.to_string();
    for part in ["are missing", "--max-context (now 256)", "--max-images (now 2)", "precision"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    setup.nothing_is_wrong();

    let exactly = needed.total() + plan.reserve;
    let on = |bytes| Setup::with(&golden, MoeKind::Plugin, &left(bytes, false));
    assert!(on(exactly).open().is_ok());
    let setup = on(exactly - 1);
    assert_eq!(self::plan(&setup, &setup.engines.path()).missing(), Some(1));
}
