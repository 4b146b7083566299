//! Models that the parser refuses.

use cumo_tensorrt::{Builder, Error};

use crate::{models, rtx};

#[test]
fn an_unsupported_operator_is_named_with_its_node() {
    let Some(library) = rtx() else { return };
    let error = Builder::new(&library).parse(&models::unknown_operator(), None).err().unwrap();
    let Error::Parse { reason, errors } = error else { panic!("{error:?}") };
    assert_eq!(errors.len(), 1, "{errors:?}");
    let [error] = &errors[..] else { panic!("{errors:?}") };
    assert_eq!((error.operator.as_str(), error.index), ("Mystery", Some(1)));
    assert!(error.node.starts_with("layers[0]"), "{error:?}");
    assert!(reason.contains("node 1 `layers[0]") && reason.contains("(Mystery)"), "{reason}");
}

#[test]
fn bytes_that_are_no_model_are_refused() {
    let Some(library) = rtx() else { return };
    let model = models::mlp();
    let half = &model[..model.len() / 2];
    for bytes in [&b""[..], b"\0", b"not a model", &[0xff; 100], half] {
        let error = Builder::new(&library).parse(bytes, None).err().unwrap();
        let Error::Parse { reason, .. } = &error else { panic!("{error:?}") };
        assert!(reason.starts_with("TensorRT's parser refuses the model\n"), "{reason}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let Some(library) = rtx() else { return };
    let path = "/nonexistent/layer.onnx".as_ref();
    let error = Builder::new(&library).parse_file(path).err().unwrap().to_string();
    assert!(error.starts_with("/nonexistent/layer.onnx: No such file"), "{error}");
}
