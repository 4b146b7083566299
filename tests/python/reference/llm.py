"""The decoder LLM, without a cache: every call computes all positions."""

import numpy as np

from .layers import attention, join_heads, linear, rms_norm, silu, split_heads
from .moe import moe

# What the families' configuration classes take for absent keys.
ROPE_THETA = {"llava_mistral": 1e4, "llava_mixtral": 1e6, "llava_llama": 1e4, "llava": 1e4}
RMS_NORM_EPS = {"llava_mistral": 1e-6, "llava_mixtral": 1e-5, "llava_llama": 1e-6, "llava": 1e-6}


def logits(weights: dict, config: dict, embeds: np.ndarray, routings: dict) -> np.ndarray:
    """`[batch, tokens, hidden]` to `[batch, tokens, vocab]`."""
    family = config["model_type"]
    epsilon = config.get("rms_norm_eps", RMS_NORM_EPS[family])
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    visible = causal(embeds.shape[1], config.get("sliding_window"))
    theta = config.get("rope_theta", ROPE_THETA[family])
    mixtral = family == "llava_mixtral"
    gate, up, down = ("w1", "w3", "w2") if mixtral else ("gate_proj", "up_proj", "down_proj")

    def mlp(name: str, x: np.ndarray) -> np.ndarray:
        hidden = silu(linear(weights, f"{name}.{gate}", x)) * linear(weights, f"{name}.{up}", x)
        return linear(weights, f"{name}.{down}", hidden)

    x = embeds
    for index in range(config["num_hidden_layers"]):
        name = f"model.layers.{index}"
        normed = rms_norm(weights, f"{name}.input_layernorm", x, epsilon)
        q = split_heads(linear(weights, f"{name}.self_attn.q_proj", normed), heads)
        k = split_heads(linear(weights, f"{name}.self_attn.k_proj", normed), kv_heads)
        v = split_heads(linear(weights, f"{name}.self_attn.v_proj", normed), kv_heads)
        k, v = (part.repeat(heads // kv_heads, 1) for part in (rotate(k, theta), v))
        mixed = join_heads(attention(rotate(q, theta), k, v, visible))
        x = x + linear(weights, f"{name}.self_attn.o_proj", mixed)
        normed = rms_norm(weights, f"{name}.post_attention_layernorm", x, epsilon)
        if mixtral:
            k_experts = config.get("num_experts_per_tok", 2)
            x = x + moe(weights, f"{name}.block_sparse_moe", normed, k_experts, mlp, routings)
        else:
            x = x + mlp(f"{name}.mlp", normed)
    x = rms_norm(weights, "model.norm", x, epsilon)
    head = "model.embed_tokens" if config.get("tie_word_embeddings") else "lm_head"
    return linear(weights, head, x)


def causal(tokens: int, window: int | None) -> np.ndarray:
    """`[tokens, tokens]`: a position sees itself and those before it; of those, with a window of W,
    the last W - 1."""
    position = np.arange(tokens)
    distance = position[:, None] - position
    return (distance >= 0) & (distance < (window or tokens))


def rotate(x: np.ndarray, theta: float) -> np.ndarray:
    """Rotary embedding of `[batch, heads, tokens, head_dim]`: channel i turns with i + head_dim / 2."""
    tokens, head_dim = x.shape[2:]
    angles = np.arange(tokens)[:, None] * theta ** (-np.arange(0, head_dim, 2) / head_dim)
    first, second = np.split(x, 2, -1)
    cos, sin = np.cos(angles), np.sin(angles)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)
