"""Runs onnx.checker on every graph of the given bundles and compares signatures with the manifest.

Usage: check_onnx.py BUNDLE...
"""

import json
import sys
from pathlib import Path

import onnx

ELEMENT_TYPES = {
    "f32": onnx.TensorProto.FLOAT,
    "f16": onnx.TensorProto.FLOAT16,
    "i64": onnx.TensorProto.INT64,
    "i32": onnx.TensorProto.INT32,
}

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
    listed = {graph["file"] for graph in manifest["graphs"].values()}
    for file in sorted(path.name for path in bundle.glob("**/*.onnx")):
        if file not in listed:
            problems.append(f"{bundle.name}/{file}: not in the manifest")
    for name, graph in manifest["graphs"].items():
        path = bundle / graph["file"]
        before = len(problems)
        try:
            onnx.checker.check_model(path, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            problems.append(f"{path}: {error}")
        model = onnx.load(path, load_external_data=False)
        for kind in ("inputs", "outputs"):
            found = signature(getattr(model.graph, kind[:-1]))
            if found != expected(graph[kind]):
                problems.append(f"{path}: {kind} {found}, in the manifest {expected(graph[kind])}")
        if manifest["target"] == "onnx":
            domains = {node.domain for node in model.graph.node}
            functions = {function.domain for function in model.functions}
            for domain in sorted(domains - functions - CHECKABLE):
                problems.append(f"{path}: a portable graph uses domain {domain}")
        nodes = len(model.graph.node)
        verdict = "ok" if len(problems) == before else "FAILED"
        print(f"{bundle.name:32} {name:10} {nodes:5} nodes  {len(model.functions)} functions  {verdict}")
    return problems


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
