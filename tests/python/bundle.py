"""A bundle under Python's onnxruntime: a second, independent walker of the manifest's plan."""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort

NUMPY = {"f32": np.float32, "f16": np.float16, "i64": np.int64, "i32": np.int32}


class Bundle:
    """The sessions of a bundle and the plan that connects them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.manifest = json.loads((folder / "manifest.json").read_text())
        self.plan = self.manifest["plan"]
        self.target = self.manifest["target"]
        self.sessions = {}
        self.weights = {}

    def graph(self, name: str) -> dict:
        """A graph's entry in the manifest."""
        return self.manifest["graphs"][name]

    def session(self, name: str) -> ort.InferenceSession:
        """The session of a graph, made when first needed."""
        if name not in self.sessions:
            options = ort.SessionOptions()
            options.log_severity_level = 3
            options.intra_op_num_threads = 1
            graph = self.graph(name)
            path = self.folder / graph.get("twin", graph["file"])
            self.sessions[name] = ort.InferenceSession(path, options, ["CPUExecutionProvider"])
        return self.sessions[name]

    def weight(self, name: str) -> ort.OrtValue:
        """A weight of the manifest's table, as its file has it."""
        if name not in self.weights:
            entry = self.manifest["weights"][name]
            dtype, shape = NUMPY[entry["dtype"]], tuple(entry["shape"])
            path = self.folder / entry["file"]
            array = np.fromfile(path, dtype, int(np.prod(shape)), offset=entry["offset"])
            self.weights[name] = ort.OrtValue.ortvalue_from_numpy(array.reshape(shape))
        return self.weights[name]

    @property
    def layered(self) -> bool:
        """Whether its graphs are of layers; these give the last position's logits alone."""
        return self.target.startswith("tensorrt")

    def rung(self, positions: int) -> int:
        """Positions of the cache that a pass looks at, which needs this many."""
        return min(rung for rung in self.plan["attended"] if rung >= positions)

    def run_until(self, made: str, phase: str, values: dict) -> list[dict]:
        """Runs the first steps of a phase, up to the one that makes `made`; gives the others."""
        steps = list(self.plan[phase])
        while made not in values:
            self.run_step(steps.pop(0), values, None, ())
        return steps

    def run_steps(self, steps: list[dict], values: dict) -> None:
        """Runs steps without a cache."""
        for step in steps:
            self.run_step(step, values, None, ())

    def run(self, phase: str, values: dict, cache: "Cache | None" = None, extra=()) -> dict:
        """Runs the steps of a phase; `values` and the result are activations by name.

        `extra`: prefix of outputs to compute that the plan does not name (router outputs).
        """
        values = dict(values)
        if phase == "decode" and self.layered:
            positions = values["position_ids"]
            values["write_indices"] = np.ascontiguousarray(positions[:, 0])
            rung = self.rung(int(positions[:, 0].max()) + positions.shape[1])
            values["cache_positions"] = np.arange(rung, dtype=np.int64)
        for step in self.plan[phase]:
            self.run_step(step, values, cache, extra)
        return values

    def run_step(self, step: dict, values: dict, cache: "Cache | None", extra) -> None:
        """One run of one graph; its outputs go to `values` and `cache`."""
        graph = self.graph(step["graph"])
        binding = self.session(step["graph"]).io_binding()
        alive = []  # ONNX Runtime reads these arrays where they are
        for value in graph["inputs"]:
            name, dtype = value["name"], NUMPY[value["dtype"]]
            kind, bound_to = only_item(step["inputs"][name])
            if kind == "cache":
                binding.bind_ortvalue_input(name, cache.slots[bound_to])
            elif kind == "weight":
                binding.bind_ortvalue_input(name, self.weight(bound_to))
            else:
                array = np.ascontiguousarray(values[bound_to].astype(dtype))
                alive.append(ort.OrtValue.ortvalue_from_numpy(array))
                binding.bind_ortvalue_input(name, alive[-1])
        wanted = []
        for value in graph["outputs"]:
            name = value["name"]
            if name in step["outputs"]:
                kind, bound_to = only_item(step["outputs"][name])
            elif extra and name.startswith(extra):
                kind, bound_to = "activation", name
            else:
                continue
            wanted.append((kind, bound_to))
            if kind == "cache" and cache.in_place(bound_to):
                binding.bind_ortvalue_output(name, cache.slots[bound_to])
            else:
                binding.bind_output(name, "cpu")
        binding.synchronize_inputs()
        self.session(step["graph"]).run_with_iobinding(binding)
        for (kind, bound_to), output in zip(wanted, binding.get_outputs(), strict=True):
            if kind == "activation":
                values[bound_to] = output.numpy()
            else:
                cache.update(bound_to, output, values.get("write_indices"))


class Cache:
    """The key/value cache: a tensor a slot, empty, or zeroed with room for `max_sequence`."""

    def __init__(self, bundle: Bundle, batch: int, max_sequence: int):
        if bundle.layered:
            max_sequence = bundle.rung(max_sequence)
        sizes = {"batch": batch, "past_sequence": 0, "max_sequence": max_sequence}
        self.entries = {slot["name"]: slot for slot in bundle.plan["cache"]}
        self.slots = {}
        for name, slot in self.entries.items():
            shape = [sizes[size] if isinstance(size, str) else size for size in slot["shape"]]
            zeros = np.zeros(shape, NUMPY[slot["dtype"]])
            self.slots[name] = ort.OrtValue.ortvalue_from_numpy(zeros)

    def in_place(self, name: str) -> bool:
        """Whether a step writes into the slot's own memory."""
        return self.entries[name]["update"] == "in_place"

    def update(self, name: str, output: ort.OrtValue, write_indices: np.ndarray) -> None:
        """Takes in what a step gave for a slot."""
        match self.entries[name]["update"]:
            case "append":
                self.slots[name] = output
            case "rows":
                rows, slot = output.numpy(), self.slots[name].numpy().copy()
                for batch, start in enumerate(write_indices):
                    slot[batch, :, start : start + rows.shape[2]] = rows[batch]
                self.slots[name] = ort.OrtValue.ortvalue_from_numpy(slot)


def only_item(binding: dict) -> tuple[str, str]:
    """`{"activation": name}` or `{"cache": name}` as a pair."""
    ((kind, name),) = binding.items()
    return kind, name
