"""Layers that the tower, the connector and the LLM share. `[.., channels]` in and out, f64."""

import math

import numpy as np


def linear(weights: dict, name: str, x: np.ndarray) -> np.ndarray:
    """`x W^T + b`; W is `[out, in]`, the bias may be absent."""
    bias = weights.get(f"{name}.bias")
    y = x @ weights[f"{name}.weight"].T
    return y if bias is None else y + bias


def layer_norm(weights: dict, name: str, x: np.ndarray, epsilon: float) -> np.ndarray:
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon)
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def rms_norm(weights: dict, name: str, x: np.ndarray, epsilon: float) -> np.ndarray:
    x = x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon)
    return x * weights[f"{name}.weight"]


def softmax(x: np.ndarray) -> np.ndarray:
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def quick_gelu(x: np.ndarray) -> np.ndarray:
    return x * sigmoid(1.702 * x)


def silu(x: np.ndarray) -> np.ndarray:
    return x * sigmoid(x)


def gelu(x: np.ndarray) -> np.ndarray:
    """Exact, not the tanh form."""
    return x / 2 * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2)))


def split_heads(x: np.ndarray, heads: int) -> np.ndarray:
    """`[batch, tokens, heads * head_dim]` to `[batch, heads, tokens, head_dim]`."""
    batch, tokens, channels = x.shape
    return x.reshape(batch, tokens, heads, channels // heads).transpose(0, 2, 1, 3)


def join_heads(x: np.ndarray) -> np.ndarray:
    """The inverse of `split_heads`."""
    batch, heads, tokens, head_dim = x.shape
    return x.transpose(0, 2, 1, 3).reshape(batch, tokens, heads * head_dim)


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, visible: np.ndarray | bool) -> np.ndarray:
    """`[batch, heads, tokens, head_dim]` each; `visible` `[tokens, tokens]`: query by key."""
    scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(q.shape[-1])
    return softmax(np.where(visible, scores, -np.inf)) @ v
