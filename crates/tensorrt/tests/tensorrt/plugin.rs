//! Networks with our own plugin in them.

use cumo_onnx::{Attribute, DType, GraphBuilder, Opset, Shape, Value};
use cumo_tensorrt::{BuildOptions, Builder, Error, Profile};

use crate::{models, rtx, skip};

/// `CumoMoE` over `x` `[rows, 64]`: 4 experts with biases, the best 2 of each row.
fn moe() -> Vec<u8> {
    let mut b = GraphBuilder::with_opset(Opset::V24);
    let rows = |columns: usize| Shape::from(vec!["rows".into(), columns.into()]);
    let x = b.input("x", DType::F16, rows(64)).unwrap();
    let mut operands = vec![
        x.clone(),
        b.input("weights", DType::F32, rows(2)).unwrap(),
        b.input("experts", DType::I32, rows(2)).unwrap(),
    ];
    for expert in 0..4 {
        let tensors: [(&str, &[usize]); 4] =
            [("fc1", &[64, 128]), ("b1", &[128]), ("fc2", &[128, 64]), ("b2", &[64])];
        for (name, shape) in tensors {
            let name = format!("experts.{expert}.{name}");
            operands.push(b.input(&name, DType::F16, Shape::from(shape)).unwrap());
        }
    }
    let attributes = vec![
        ("activation", Attribute::Text("quick_gelu")),
        ("gated", Attribute::Int(0)),
        ("biased", Attribute::Int(1)),
        ("num_experts", Attribute::Int(4)),
        ("num_experts_per_tok", Attribute::Int(2)),
    ];
    let operands: Vec<&Value> = operands.iter().collect();
    let result = (DType::F16, x.shape().clone());
    let y = b.plugin(("ai.cumo", "CumoMoE"), &operands, attributes, result);
    b.output("y", &y, DType::F16, x.shape().clone()).unwrap();
    models::encode(&b.finish())
}

#[test]
fn experts_are_one_plugin_layer() {
    let Some(library) = rtx() else { return };
    if let Err(error) = library.load_own_plugins(None) {
        return skip(&error.to_string());
    }
    // A second time there is nothing to do.
    library.load_own_plugins(None).unwrap();
    // Nor is there for whoever opens TensorRT once more: the registry is the process's.
    rtx().unwrap().load_own_plugins(None).unwrap();
    let mut network = Builder::new(&library).parse(&moe(), None).unwrap();
    let layers = network.layers().unwrap();
    let plugins: Vec<_> = layers.iter().filter_map(|layer| layer.plugin.as_deref()).collect();
    assert_eq!(plugins, ["CumoMoE"]);
    let built = network.build(&BuildOptions::new().profile(profile())).unwrap();
    library.check_engine(built.engine.as_slice()).unwrap();
}

/// 1 to 577 rows.
fn profile() -> Profile {
    let rows = |columns: i64| [[1, columns], [16, columns], [577, columns]];
    let inputs = [("x", 64), ("weights", 2), ("experts", 2)];
    inputs.iter().fold(Profile::new(), |profile, (name, columns)| {
        let [min, opt, max] = rows(*columns);
        profile.range(name, &min, &opt, &max)
    })
}

#[test]
fn experts_as_plugins_are_refused_for_devices_that_cannot_run_them() {
    let Some(library) = rtx() else { return };
    if let Err(error) = library.load_own_plugins(None) {
        return skip(&error.to_string());
    }
    let build = |capabilities: &[i32]| {
        let mut network = Builder::new(&library).parse(&moe(), None).unwrap();
        let options = BuildOptions::new().profile(profile()).compute_capabilities(capabilities);
        network.build(&options)
    };
    let error = build(&[86, 75]).err().unwrap();
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
    let expected = "the network has CumoMoE plugins, which need compute capability 8.0 or later, \
                    not 7.5; export it with `--moe function`";
    assert_eq!(error.to_string(), expected);
    build(&[86]).unwrap();
}

#[test]
fn a_missing_plugin_library_is_named() {
    let Some(library) = rtx() else { return };
    let error = library.load_own_plugins(Some("/nonexistent/libcumo_plugin.so".as_ref()));
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Plugin { .. }), "{error:?}");
    let message = error.to_string();
    for part in ["for TensorRT rtx was not found", "cargo xtask native", "/nonexistent/libcumo"] {
        assert!(message.contains(part), "{message}");
    }
}
