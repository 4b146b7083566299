"""The tensors of a configuration, with random numbers."""

from collections.abc import Iterator

import numpy as np

from .connector import CONNECTOR
from .vision import TOWER

# Standard deviations of a layer's outputs for inputs of deviation 1. Above 1 where differences have to
# show: attention that is nearly even would hide an error of positions, masks or heads.
GAINS = {"q_proj": 2.0, "k_proj": 1.5, "gate": 2.0, "lm_head": 3.0, "patch_embedding": 1.0}


def random_weights(config: dict, clip: dict, tower_moe: bool, seed: int) -> dict[str, np.ndarray]:
    """Every tensor, f64. `clip` has `hidden`, `inner`, `layers`, `image` and `patch`."""
    numbers = np.random.default_rng(seed)
    shapes = [*tower(clip, config["num_experts"] if tower_moe else 0)]
    shapes += [*connector(config, clip["hidden"] * len(config.get("scales", [1]))), *llm(config)]
    return {name: random_tensor(numbers, name, shape) for name, shape in shapes}


def random_tensor(numbers: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    values = numbers.standard_normal(shape)
    if name.endswith(".bias"):
        return values * 0.1
    if len(shape) == 1 and "class_embedding" not in name:
        return 1 + values * 0.2
    if "position_embedding" in name:
        return values * 0.5
    if "embed" in name and "patch" not in name:
        return values
    gain = GAINS.get(name.split(".")[-2], 1.0)
    return values * gain / np.sqrt(np.prod(shape[1:]))


Shapes = Iterator[tuple[str, tuple[int, ...]]]


def linear(name: str, out: int, size: int, bias: bool = True) -> Shapes:
    yield f"{name}.weight", (out, size)
    if bias:
        yield f"{name}.bias", (out,)


def norm(name: str, size: int) -> Shapes:
    yield f"{name}.weight", (size,)
    yield f"{name}.bias", (size,)


def tower(clip: dict, experts: int) -> Shapes:
    """CLIP, its unused last layer included."""
    hidden, inner, patch = clip["hidden"], clip["inner"], clip["patch"]
    yield f"{TOWER}.embeddings.class_embedding", (hidden,)
    yield f"{TOWER}.embeddings.patch_embedding.weight", (hidden, 3, patch, patch)
    positions = (clip["image"] // patch) ** 2 + 1
    yield f"{TOWER}.embeddings.position_embedding.weight", (positions, hidden)
    yield from norm(f"{TOWER}.pre_layrnorm", hidden)
    for index in range(clip["layers"]):
        name = f"{TOWER}.encoder.layers.{index}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from linear(f"{name}.self_attn.{part}", hidden, hidden)
        yield from norm(f"{name}.layer_norm1", hidden)
        yield from norm(f"{name}.layer_norm2", hidden)
        if experts:
            yield from linear(f"{name}.gate", experts, hidden, bias=False)
        for mlp in [f"{name}.experts.{e}" for e in range(experts)] or [f"{name}.mlp"]:
            yield from linear(f"{mlp}.fc1", inner, hidden)
            yield from linear(f"{mlp}.fc2", hidden, inner)
    yield from norm(f"{TOWER}.post_layernorm", hidden)


def connector(config: dict, size: int) -> Shapes:
    kind, hidden = config["mm_projector_type"], config["hidden_size"]
    if kind == "linear":
        yield from linear(CONNECTOR, hidden, size)
    elif kind == "smoe_mlp":
        yield from linear(f"{CONNECTOR}.gate", config["num_experts"], size, bias=False)
        for expert in range(config["num_experts"]):
            yield from linear(f"{CONNECTOR}.experts.{expert}.0", hidden, size)
            yield from linear(f"{CONNECTOR}.experts.{expert}.2", hidden, hidden)
    else:
        for index in range(int(kind.removeprefix("mlp").removesuffix("x_gelu"))):
            yield from linear(f"{CONNECTOR}.{2 * index}", hidden, hidden if index else size)


def llm(config: dict) -> Shapes:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or hidden // heads
    kv = (config.get("num_key_value_heads") or heads) * head_dim
    experts = config.get("num_local_experts", 0)
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for index in range(config["num_hidden_layers"]):
        name = f"model.layers.{index}"
        for part, out in (("q_proj", heads * head_dim), ("k_proj", kv), ("v_proj", kv)):
            yield from linear(f"{name}.self_attn.{part}", out, hidden, bias=False)
        yield from linear(f"{name}.self_attn.o_proj", hidden, heads * head_dim, bias=False)
        for part in ("input_layernorm", "post_attention_layernorm"):
            yield f"{name}.{part}.weight", (hidden,)
        moe = f"{name}.block_sparse_moe"
        if experts:
            yield from linear(f"{moe}.gate", experts, hidden, bias=False)
        mlps = [(f"{moe}.experts.{e}", ("w1", "w3", "w2")) for e in range(experts)]
        for mlp, parts in mlps or [(f"{name}.mlp", ("gate_proj", "up_proj", "down_proj"))]:
            for part, sizes in zip(parts, [(inner, hidden), (inner, hidden), (hidden, inner)]):
                yield from linear(f"{mlp}.{part}", *sizes, bias=False)
    yield "model.norm.weight", (hidden,)
    if not config.get("tie_word_embeddings"):
        yield "lm_head.weight", (config["vocab_size"], hidden)
