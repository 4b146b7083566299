//! Engines that are built, and what is in them.

use cumo_tensorrt::{BuildOptions, Builder, DType, Error, Profile, Severity};

use crate::{models, rtx};

#[test]
fn an_engine_is_built_without_a_gpu() {
    let Some(library) = rtx() else { return };
    assert!(library.can_build(), "{}", library.path().display());
    assert!(library.version().starts_with("1."), "{}", library.version());
    let builder = Builder::new(&library).messages(Severity::Info);
    let mut network = builder.parse(&models::mlp(), None).unwrap();
    let names = |tensors: Vec<cumo_tensorrt::Tensor>| {
        tensors.into_iter().map(|tensor| tensor.name).collect::<Vec<_>>()
    };
    assert_eq!(names(network.inputs().unwrap()), ["x", "norm", "fc1", "fc2"]);
    assert_eq!(names(network.outputs().unwrap()), ["y"]);
    let x = &network.inputs().unwrap()[0];
    assert_eq!((x.dtype, x.shape.as_deref()), (DType::F16, Some(&[-1, 64][..])));

    let rows = Profile::new().range("x", &[1, 64], &[16, 64], &[64, 64]);
    let built = network.build(&BuildOptions::new().profile(rows)).unwrap();
    assert!(built.engine.as_slice().len() > 1000);
    assert!(built.timing_cache.is_none(), "RTX measures nothing");
    let says = |part: &str| built.messages.iter().any(|message| message.text.contains(part));
    assert!(says("Total Activation Memory"), "{:?}", built.messages);
    library.check_engine(built.engine.as_slice()).unwrap();
}

#[test]
fn a_network_is_built_more_than_once() {
    let Some(library) = rtx() else { return };
    let mut network = Builder::new(&library).parse(&models::mlp(), None).unwrap();
    let mut build = |rows| {
        let profile = Profile::new().fixed("x", &[rows, 64]);
        let options = BuildOptions::new().profile(profile).workspace_bytes(64 << 20);
        network.build(&options).unwrap().engine.as_slice().to_vec()
    };
    let (one, many) = (build(1), build(64));
    assert_ne!(one, many);
}

#[test]
fn a_decoder_layer_updates_its_cache_in_place_and_multiplies_in_f16() {
    let Some(library) = rtx() else { return };
    let model = models::decoder_layer(&models::SMALL);
    let mut network = Builder::new(&library).parse(&model, None).unwrap();
    let layers = network.layers().unwrap();
    let of_kind = |kind: &str| layers.iter().filter(|layer| layer.kind == kind).collect::<Vec<_>>();
    assert_eq!(of_kind("kv_cache_update").len(), 2);
    assert_eq!(of_kind("attention_input").len(), 1);
    let products = of_kind("matrix_multiply");
    assert_eq!(products.len(), 7, "{products:?}");
    for product in products {
        assert!(product.outputs.iter().all(|output| output.dtype == DType::F16), "{product:?}");
    }
    let prefill = models::decoder_profile(&models::SMALL, 32);
    let decode = models::decoder_profile(&models::SMALL, 1);
    let options = BuildOptions::new().profile(prefill).profile(decode).detailed(true);
    assert!(!network.build(&options).unwrap().engine.as_slice().is_empty());
}

#[test]
fn devices_are_chosen_where_rtx_can_build_for_them() {
    let Some(library) = rtx() else { return };
    let build = |capabilities: &[i32]| {
        let mut network = Builder::new(&library).parse(&models::mlp(), None)?;
        let profile = Profile::new().fixed("x", &[1, 64]);
        network.build(&BuildOptions::new().profile(profile).compute_capabilities(capabilities))
    };
    build(&[89]).unwrap();
    build(&[86, 120]).unwrap();
    let error = build(&[87]).err().unwrap();
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "TensorRT-RTX cannot build for compute capability 8.7 ahead of time; \
         it can for 7.5, 8.0, 8.6, 8.9, 12.0 and 12.1"
    );
}

#[test]
fn options_that_do_not_exist_are_refused() {
    let Some(library) = rtx() else { return };
    let build = |options: BuildOptions| {
        let mut network = Builder::new(&library).parse(&models::mlp(), None)?;
        network.build(&options.profile(Profile::new().fixed("x", &[1, 64])))
    };
    let error = build(BuildOptions::new().optimization_level(6)).err().unwrap().to_string();
    assert_eq!(error, "optimization level 6; there are 0 to 5");
    let error = build(BuildOptions::new().timing_cache(vec![1])).err().unwrap().to_string();
    assert_eq!(error, "TensorRT-RTX has no timing cache");
}

#[test]
fn networks_are_built_on_several_threads_at_once() {
    let Some(library) = rtx() else { return };
    let models = [models::mlp(), models::decoder_layer(&models::SMALL)];
    let profiles =
        [Profile::new().fixed("x", &[4, 64]), models::decoder_profile(&models::SMALL, 8)];
    std::thread::scope(|scope| {
        for (model, profile) in models.iter().zip(profiles) {
            let library = library.clone();
            scope.spawn(move || {
                let mut network = Builder::new(&library).parse(model, None).unwrap();
                let built = network.build(&BuildOptions::new().profile(profile)).unwrap();
                library.check_engine(built.engine.as_slice()).unwrap();
            });
        }
    });
}
