"""A bundle under Python's onnxruntime: a second, independent walker of the manifest's plan."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

NUMPY = {"f32": np.float32, "f16": np.float16, "i64": np.int64, "i32": np.int32}


class Bundle:
    """The sessions of a bundle and the plan that connects them.

    `given_choices`: its routers do not choose; every step that has one is given `experts` among its
    values, by the name under which the plan puts them out (the bundle has --debug-outputs).
    """

    def __init__(self, folder: Path, given_choices: bool = False):
        self.folder = folder
        self.given_choices = given_choices
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
            model = with_given_choices(path) if self.given_choices else str(path)
            self.sessions[name] = ort.InferenceSession(model, options, ["CPUExecutionProvider"])
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

    def forget(self) -> None:
        """Gives the memory of sessions and weights back; they are made again when needed."""
        self.sessions.clear()
        self.weights.clear()

    @property
    def layered(self) -> bool:
        """Whether its graphs are of layers; these give the last position's logits alone."""
        return self.target.startswith("tensorrt")

    def rung(self, positions: int) -> int:
        """Positions of the cache that a pass looks at, which needs this many."""
        return min(rung for rung in self.plan["attended"] if rung >= positions)

    def run_until(self, made: str, phase: str, values: dict, extra=()) -> list[dict]:
        """Runs the first steps of a phase, up to the one that makes `made`; gives the others."""
        steps = list(self.plan[phase])
        while made not in values:
            self.run_step(steps.pop(0), values, None, extra)
        return steps

    def run_steps(self, steps: list[dict], values: dict, extra=()) -> None:
        """Runs steps without a cache."""
        for step in steps:
            self.run_step(step, values, None, extra)

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
            if cache:
                cache.lay_out(rung, int(positions[:, 0].max()))
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
        for value in given_inputs(self.session(step["graph"])) if self.given_choices else []:
            _, bound_to = only_item(step["outputs"][value])
            alive.append(ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(values[bound_to])))
            binding.bind_ortvalue_input(GIVEN + value, alive[-1])
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
    """The key/value cache: a tensor a slot, empty, or zeroed with room for `max_sequence`.

    Slots with the size `attended` have room for the positions that a pass looks at; they are laid out
    anew where that changes.
    """

    def __init__(self, bundle: Bundle, batch: int, max_sequence: int):
        if bundle.layered:
            max_sequence = bundle.rung(max_sequence)
        self.sizes = {"batch": batch, "past_sequence": 0, "max_sequence": max_sequence, "attended": 0}
        self.entries = {slot["name"]: slot for slot in bundle.plan["cache"]}
        self.slots = {name: ort.OrtValue.ortvalue_from_numpy(self.zeros(name)) for name in self.entries}

    def zeros(self, name: str) -> np.ndarray:
        """A slot's memory with nothing in it."""
        slot = self.entries[name]
        shape = [self.sizes[size] if isinstance(size, str) else size for size in slot["shape"]]
        return np.zeros(shape, NUMPY[slot["dtype"]])

    def lay_out(self, rung: int, filled: int) -> None:
        """Makes slots with the size `attended` as large as a rung; keeps the filled positions."""
        if rung == self.sizes["attended"]:
            return
        self.sizes["attended"] = rung
        for name, slot in self.entries.items():
            if "attended" in slot["shape"]:
                array = self.zeros(name)
                array[:, :, :filled] = self.slots[name].numpy()[:, :, :filled]
                self.slots[name] = ort.OrtValue.ortvalue_from_numpy(array)

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


GIVEN = "given."


def given_inputs(session: ort.InferenceSession) -> list[str]:
    """Names of the outputs that stand for choices which the session is given."""
    names = [value.name for value in session.get_inputs()]
    return [name.removeprefix(GIVEN) for name in names if name.startswith(GIVEN)]


def with_given_choices(path: Path) -> bytes:
    """The model with each Router's choices as an input, `given.` before the output's name.

    Routing weights are still its own: its probabilities of the given experts, divided by their sum.
    """
    model = onnx.load(path, load_external_data=False)
    graph, nodes, routers = model.graph, [], {}
    outputs = {value.name: value for value in graph.output}
    for node in graph.node:
        if node.op_type == "Router":
            weights, experts = node.output
            if experts not in outputs:
                raise ValueError(f"{path}: choices are no output; export with --debug-outputs")
            routers[experts] = weights
        for experts in [name for name in node.input if name in routers]:
            given = GIVEN + experts
            graph.input.add().CopyFrom(outputs[experts])
            graph.input[-1].name = given
            nodes += renormalised(experts.removesuffix("experts") + "probs", given)
            replaced = {experts: given, routers.pop(experts): given + ".weights"}
            node.input[:] = [replaced.get(name, name) for name in node.input]
        nodes.append(node)
    if routers:
        raise ValueError(f"{path}: nothing reads the choices {sorted(routers)}")
    graph.ClearField("node")
    graph.node.extend(nodes)
    return model.SerializeToString()


def renormalised(probs: str, given: str) -> list:
    """Nodes that make `{given}.weights` of probabilities and given experts."""
    axis = onnx.helper.make_tensor("axis", onnx.TensorProto.INT64, [1], [-1])
    make = onnx.helper.make_node
    return [
        make("GatherElements", [probs, given], [given + ".probs"], axis=-1),
        make("Constant", [], [given + ".axis"], value=axis),
        make("ReduceSum", [given + ".probs", given + ".axis"], [given + ".sum"]),
        make("Div", [given + ".probs", given + ".sum"], [given + ".weights"]),
    ]


def only_item(binding: dict) -> tuple[str, str]:
    """`{"activation": name}` or `{"cache": name}` as a pair."""
    ((kind, name),) = binding.items()
    return kind, name
