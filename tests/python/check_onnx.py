"""Runs onnx.checker on every graph of the given bundles and compares signatures with the manifest.

Usage: check_onnx.py BUNDLE...
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx

import tensorrt_10_3

ELEMENT_TYPES = {
    "f32": onnx.TensorProto.FLOAT,
    "f16": onnx.TensorProto.FLOAT16,
    "i64": onnx.TensorProto.INT64,
    "i32": onnx.TensorProto.INT32,
}

# Numbers that a graph for TensorRT may have in a constant: shapes, axes, factors.
MAX_CONSTANT = 8

# A node of our TensorRT plugin. onnx.checker has no schema of it, and infers no shapes behind it.
PLUGIN = ("ai.cumo", "CumoMoE")

# onnx.checker knows the schemas of these domains only; functions of a model count as known.
CHECKABLE = {"", "ai.onnx", "ai.onnx.ml"}


def signature(values) -> list[tuple]:
    """Name, element type and shape of a graph's inputs or outputs."""
    result = []
    for value in values:
        tensor = value.type.tensor_type
        shape = [d.dim_param or d.dim_value for d in tensor.shape.dim]
        result.append((value.name, tensor.elem_type, shape))
    return result


def expected(values: list[dict]) -> list[tuple]:
    """The same from the manifest."""
    return [(v["name"], ELEMENT_TYPES[v["dtype"]], v["shape"]) for v in values]


def problems_of(bundle: Path) -> list[str]:
    """What is wrong with a bundle's graphs; prints a line for each graph."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    problems = []
    graphs = manifest["graphs"].values()
    listed = {graph[key] for graph in graphs for key in ("file", "twin") if key in graph}
    for file in sorted(path.name for path in bundle.glob("**/*.onnx")):
        if file not in listed:
            problems.append(f"{bundle.name}/{file}: not in the manifest")
    for graph in graphs:
        for file in (graph[key] for key in ("file", "twin") if key in graph):
            found = problems_of_graph(bundle / file, graph, manifest["target"])
            verdict = "FAILED" if found else "ok"
            print(f"{bundle.name:32} {file:32} {verdict}")
            problems += found
    if manifest.get("weights"):
        problems += problems_of_weights(bundle, manifest)
    return problems


def problems_of_graph(path: Path, graph: dict, target: str) -> list[str]:
    """What is wrong with one file, which is to have the signature that the manifest's entry says."""
    problems = []
    model = onnx.load(path, load_external_data=False)
    plugins = [node for node in model.graph.node if (node.domain, node.op_type) == PLUGIN]
    try:
        onnx.checker.check_model(path, full_check=not plugins)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        problems.append(f"{path}: {error}")
    for kind in ("inputs", "outputs"):
        found = signature(getattr(model.graph, kind[:-1]))
        if found != expected(graph[kind]):
            problems.append(f"{path}: {kind} {found}, in the manifest {expected(graph[kind])}")
    domains = {node.domain for node in model.graph.node}
    functions = {function.domain for function in model.functions}
    if target == "onnx":
        for domain in sorted(domains - functions - CHECKABLE):
            problems.append(f"{path}: a portable graph uses domain {domain}")
    if target.startswith("tensorrt"):
        problems += [f"{path}: {problem}" for problem in problems_for_tensorrt(model, bool(plugins))]
    if target == "tensorrt-10.3":
        functions = {(function.domain, function.name): function for function in model.functions}
        for node in nodes_of(model):
            kind = (node.domain, node.op_type)
            if kind not in functions and kind != PLUGIN and (node.domain or node.op_type not in tensorrt_10_3.OPERATORS):
                problems.append(f"{path}: `{node.name}` is {node.op_type}, which TensorRT 10.3 has not")
    return problems


def nodes_of(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """All nodes of a model, those in function bodies too."""
    return [*model.graph.node, *(node for function in model.functions for node in function.node)]


def problems_for_tensorrt(model: onnx.ModelProto, has_plugins: bool) -> list[str]:
    """What a layer's graph is not to have: weights of its own, products in f32, bodies of plugins."""
    problems = []
    if has_plugins and model.functions:
        problems.append("a function would win over the plugin's node")
    problems += [f"weights `{weight.name}` in the graph" for weight in model.graph.initializer]
    for node in nodes_of(model):
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR and np.prod(attribute.t.dims) > MAX_CONSTANT:
                problems.append(f"`{node.name}` is a constant of {list(attribute.t.dims)}")
    values = [*model.graph.value_info, *model.graph.output]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    for node in model.graph.node:
        if node.op_type in ("MatMul", "Gemm") and types[node.output[0]] != onnx.TensorProto.FLOAT16:
            problems.append(f"`{node.name}` is a product of another type than f16")
    return problems


def problems_of_weights(bundle: Path, manifest: dict) -> list[str]:
    """Compares the weights' table with the files' own headers, which the strict reader takes."""
    problems = []
    files = {entry["file"] for entry in manifest["weights"].values()}
    for file in sorted(files):
        header = strict_header(bundle / file, problems)
        table = {n: e for n, e in manifest["weights"].items() if e["file"] == file}
        named = {n for n in header if not n.startswith("__")}
        if named != set(table):
            problems.append(f"{bundle / file}: tensors {sorted(named ^ set(table))} in one place only")
        for name in named & set(table):
            entry, tensor = table[name], header[name]
            start = tensor["start"]
            if (entry["offset"], entry["shape"]) != (start, tensor["shape"]) or start % 4096:
                problems.append(f"{bundle / file}: `{name}` {tensor}, in the manifest {entry}")
    return problems


def strict_header(path: Path, problems: list[str]) -> dict:
    """A safetensors file's header, `start` being absolute. No hole, no overlap, no byte behind."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    end = 0
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        first, last = tensor["data_offsets"]
        if first != end:
            problems.append(f"{path}: `{name}` begins at {first}, the one before ends at {end}")
        end = last
        tensor["start"] = 8 + length + first
    if 8 + length + end != len(data):
        problems.append(f"{path}: {len(data)} bytes, the tensors end at {8 + length + end}")
    return header


def main() -> int:
    bundles = [Path(argument) for argument in sys.argv[1:]]
    if not bundles:
        print(__doc__, file=sys.stderr)
        return 2
    problems = [problem for bundle in bundles for problem in problems_of(bundle)]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
