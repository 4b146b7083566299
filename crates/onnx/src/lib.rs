//! ONNX messages and a graph builder in which every value carries its dtype and shape
