//! Exports CuMo checkpoints to bundles of ONNX graphs with the MoE routing as custom ops
