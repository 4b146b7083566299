"""Writes ONNX graphs with a CumoMoE node, for the plugin's tests with TensorRT's parser and builder.

Usage: prepare_graphs.py OUTPUT

Each graph is one MoE layer as the tensorrt target has it: the router in standard operators in f32, the
experts' tensors as inputs. NAME.onnx is to be built; bad.NAME.onnx is to be refused.
"""

import sys
from pathlib import Path

import onnx
from onnx import TensorProto, helper

OUTPUT = Path(sys.argv[1])


def expert_inputs(experts: int, sizes: tuple, gated: bool, biased: bool, dtype: int) -> list:
    """The experts' tensors in the plugin's order. `sizes`: in, hidden, out."""
    channels, hidden, out = sizes
    matrices = [("fc1", channels, hidden), *([("up", channels, hidden)] if gated else []), ("fc2", hidden, out)]
    inputs = []
    for expert in range(experts):
        for name, rows, columns in matrices:
            inputs.append(helper.make_tensor_value_info(f"experts.{expert}.{name}", dtype, [rows, columns]))
            if biased:
                inputs.append(helper.make_tensor_value_info(f"experts.{expert}.{name}_bias", dtype, [columns]))
    return inputs


def layer(
    *,
    experts: int = 4,
    k: int = 2,
    sizes: tuple = (64, 96, 48),
    gated: bool = False,
    biased: bool = True,
    dtype: int = TensorProto.FLOAT16,
    weights_dtype: int = TensorProto.FLOAT,
    **attributes,
) -> onnx.ModelProto:
    """x [batch, tokens, in] and the router's matrix -> y [batch, tokens, out]. `attributes` replace those
    that fit the sizes; None leaves one out."""
    rows = ["batch", "tokens"]
    x = helper.make_tensor_value_info("x", dtype, [*rows, sizes[0]])
    gate = helper.make_tensor_value_info("gate", dtype, [sizes[0], experts])
    tensors = expert_inputs(experts, sizes, gated, biased, dtype)
    fields = {
        "activation": "silu" if gated else "quick_gelu",
        "gated": int(gated),
        "biased": int(biased),
        "num_experts": experts,
        "num_experts_per_tok": k,
        "plugin_version": "1",
        "plugin_namespace": "",
    } | attributes
    k_of = helper.make_tensor("k", TensorProto.INT64, [1], [k])
    last = helper.make_tensor("last", TensorProto.INT64, [1], [-1])
    nodes = [
        helper.make_node("MatMul", ["x", "gate"], ["logits"]),
        helper.make_node("Cast", ["logits"], ["logits_f32"], to=TensorProto.FLOAT),
        helper.make_node("Softmax", ["logits_f32"], ["probs"], axis=-1),
        helper.make_node("TopK", ["probs", "k"], ["best", "chosen_i64"], axis=-1),
        helper.make_node("ReduceSum", ["best", "last"], ["sum"], keepdims=1),
        helper.make_node("Div", ["best", "sum"], ["normalised"]),
        helper.make_node("Cast", ["normalised"], ["weights"], to=weights_dtype),
        helper.make_node("Cast", ["chosen_i64"], ["chosen"], to=TensorProto.INT32),
        helper.make_node(
            "CumoMoE",
            ["x", "weights", "chosen", *(tensor.name for tensor in tensors)],
            ["y"],
            name="moe",
            domain="ai.cumo",
            **{name: value for name, value in fields.items() if value is not None},
        ),
    ]
    y = helper.make_tensor_value_info("y", dtype, [*rows, sizes[2]])
    graph = helper.make_graph(nodes, "layer", [x, gate, *tensors], [y], [k_of, last])
    opsets = [helper.make_opsetid("", 24), helper.make_opsetid("ai.cumo", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=11)


def without_last_input(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.node[-1].input.pop()
    model.graph.input.pop()
    return model


def with_fc2(model: onnx.ModelProto, dims: list) -> onnx.ModelProto:
    """The layer with other sizes of expert 1's fc2."""
    tensor = next(tensor for tensor in model.graph.input if tensor.name == "experts.1.fc2")
    for dim, size in zip(tensor.type.tensor_type.shape.dim, dims, strict=True):
        dim.dim_value = size
    return model


CLIP, MIXTRAL = (1024, 4096, 1024), (4096, 14336, 4096)
GRAPHS = {
    "clip_layer": layer(sizes=CLIP),
    "clip_layer_bf16": layer(sizes=CLIP, dtype=TensorProto.BFLOAT16),
    "connector": layer(sizes=(2048, 4096, 4096), activation="gelu"),
    "mixtral_layer": layer(experts=8, sizes=MIXTRAL, gated=True, biased=False),
    "bad.activation": layer(activation="relu"),
    "bad.experts": layer(num_experts=65),
    "bad.no_experts": layer(num_experts=None),
    "bad.k": layer(num_experts_per_tok=5),
    "bad.inputs": without_last_input(layer()),
    "bad.shape": with_fc2(layer(), [96, 47]),
    "bad.weights_type": layer(weights_dtype=TensorProto.FLOAT16),
    "bad.type": layer(dtype=TensorProto.FLOAT),
}
OUTPUT.mkdir(parents=True, exist_ok=True)
for name, model in GRAPHS.items():
    onnx.save(model, OUTPUT / f"{name}.onnx")
    print(f"{name}: {len(model.graph.input)} inputs")
