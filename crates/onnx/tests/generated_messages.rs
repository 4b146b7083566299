//! `src/proto.rs` is what prost makes of `proto/onnx.proto`. To renew it after a change:
//! `CUMO_RENEW=1 cargo test -p cumo-onnx --test generated_messages`.

use std::path::Path;

#[test]
fn the_committed_messages_are_those_of_the_proto_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors =
        protox::compile([root.join("proto/onnx.proto")], [root.join("proto")]).unwrap();
    let out = tempfile::tempdir().unwrap();
    let mut config = prost_build::Config::new();
    config.out_dir(out.path()).compile_fds(descriptors).unwrap();
    let made = std::fs::read_to_string(out.path().join("onnx.rs")).unwrap();
    let committed = root.join("src/proto.rs");
    if std::env::var_os("CUMO_RENEW").is_some() {
        std::fs::write(&committed, &made).unwrap();
    }
    assert!(
        std::fs::read_to_string(&committed).unwrap() == made,
        "src/proto.rs is not what proto/onnx.proto gives; renew it (see the top of this test)"
    );
}
