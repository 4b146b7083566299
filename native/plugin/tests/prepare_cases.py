"""Writes the MoE layers of the goldens, with inputs and results, for the plugin's tests.

Usage: prepare_cases.py REPOSITORY OUTPUT

The connector's input and result are in the goldens. Those of the tower's and the decoder's layers are taken
out of the numpy model of tests/python/reference, and so is the routing, after what it makes of the golden
input was compared with the golden result.

One file a layer, NAME.moe: a line of text

    activation gated biased num_experts num_experts_per_tok tokens in hidden out limit

(limit: the f16 tolerance, max |error| over max |reference|), then little-endian arrays without gaps:
x [tokens, in] f32, weights [tokens, k] f32, experts [tokens, k] i32, for each expert fc1 [in, hidden], its
bias, up and its bias where gated, fc2 [hidden, out], its bias (biases where biased), all f32, and
y [tokens, out] f32.
"""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

REPOSITORY, OUTPUT = (Path(argument) for argument in sys.argv[1:])
sys.path.insert(0, str(REPOSITORY / "tests" / "python"))

from reference import connector, llm, vision  # noqa: E402
from reference.model import Reference  # noqa: E402
from reference.moe import moe  # noqa: E402
from reference.weight_files import read_folder  # noqa: E402
from tensors import Golden  # noqa: E402

LIMITS = json.loads((REPOSITORY / "tests" / "tolerances.json").read_text())
# An expert's layers, (matrix with its bias) in the order of the operator, and the activation.
TOWER = (("fc1", "fc2"), "quick_gelu")
CONNECTOR = (("0", "2"), "gelu")
DECODER = (("w1", "w3", "w2"), "silu")


@dataclass
class Layer:
    """One MoE layer as it ran: `x` `[.., in]`, `weights` and `experts` `[.., k]`, `y` `[.., out]`."""

    name: str
    x: np.ndarray
    weights: np.ndarray
    experts: np.ndarray
    y: np.ndarray


def recorded(layers: list[Layer]):
    """`moe`, which also notes each call."""

    def record(weights, name, x, k, expert, routings):
        y = moe(weights, name, x, k, expert, routings)
        routing = routings[f"{name}.gate"]
        layers.append(Layer(name, x, routing.weights, routing.chosen, y))
        return y

    return record


def write(name: str, layer: Layer, model: Reference, spelling: tuple) -> None:
    matrices, activation = spelling
    tensors = []
    experts = 0
    while f"{layer.name}.experts.{experts}.{matrices[0]}.weight" in model.weights:
        for matrix in matrices:
            place = f"{layer.name}.experts.{experts}.{matrix}"
            tensors.append(model.weights[f"{place}.weight"].T)
            if f"{place}.bias" in model.weights:
                tensors.append(model.weights[f"{place}.bias"])
        experts += 1
    gated, biased = len(matrices) == 3, tensors[1].ndim == 1
    k = layer.experts.shape[-1]
    sizes = [layer.x.size // layer.x.shape[-1], layer.x.shape[-1], tensors[0].shape[1], layer.y.shape[-1]]
    header = [activation, int(gated), int(biased), experts, k, *sizes, LIMITS["f16"]]
    arrays = [layer.x, layer.weights, layer.experts.astype("<i4"), *tensors, layer.y]
    with (OUTPUT / f"{name}.moe").open("wb") as file:
        file.write(" ".join(map(str, header)).encode() + b"\n")
        for array in arrays:
            file.write(array.astype("<i4" if array.dtype.kind == "i" else "<f4").tobytes())
    print(f"{name}: {' '.join(map(str, header))}")


def near(what: str, got: np.ndarray, want: np.ndarray) -> None:
    """The numpy model must say what the original code said."""
    error = np.abs(got - want).max() / np.abs(want).max()
    if not error <= LIMITS["f32"]:
        raise SystemExit(f"{what}: the numpy model is off by {error:.1e} of the golden's largest value")


def checkpoint(golden: Golden) -> Reference:
    folder = golden.folder / "checkpoint"
    config, clip = (json.loads((folder / name).read_text()) for name in ("config.json", "clip/config.json"))
    return Reference(config, clip, read_folder(folder))


def prepare(golden: Golden) -> None:
    model, name = checkpoint(golden), golden.folder.name
    layers: list[Layer] = []
    for module in (vision, connector, llm):
        module.moe = recorded(layers)

    for image in golden.images:
        features = golden.tensors[f"image_features.{image}"]
        near(f"{name} {image}", model.image_features(golden.pixel_values(image)), features)
    for index, layer in enumerate(layers[: golden.clip_layers - 1]):  # the first image's
        write(f"{name}.tower.{index}", layer, model, TOWER)

    for image in golden.images:
        layers.clear()
        embeds = golden.tensors[f"image_embeds.{image}"]
        near(f"{name} {image}", model.image_embeds(golden.tensors[f"image_features.{image}"]), embeds)
        chosen = golden.router(f"{layers[0].name}.gate", image, "experts")
        if chosen is not None and not np.array_equal(chosen, layers[0].experts):
            raise SystemExit(f"{name} {image}: the numpy model chooses other experts")
        write(f"{name}.connector.{image}", replace(layers[0], y=embeds), model, CONNECTOR)

    if model.config["model_type"] == "llava_mixtral":
        layers.clear()
        prompt = next(p for p in golden.prompts.values() if p["images"])
        images = [golden.tensors[f"image_embeds.{image}"][0] for image in prompt["images"]]
        tokens, _ = model.greedy(model.inputs_embeds(prompt["input_ids"], images), 1)
        if tokens != prompt["greedy_tokens"][:1]:
            raise SystemExit(f"{name}: the numpy model says token {tokens}, not {prompt['greedy_tokens'][0]}")
        for index, layer in enumerate(layers):
            write(f"{name}.decoder.{index}", layer, model, DECODER)


OUTPUT.mkdir(parents=True, exist_ok=True)
for folder in sorted((REPOSITORY / "tests" / "goldens").glob("*/")):
    if (folder / "goldens.json").is_file():
        golden = Golden(folder)
        if any(name.startswith("router.") for name in golden.tensors):
            prepare(golden)
