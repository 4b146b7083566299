"""The CLIP tower over several scales."""

import numpy as np

from .layers import attention, join_heads, layer_norm, linear, quick_gelu, split_heads
from .moe import moe

TOWER = "model.vision_tower.vision_model"


def image_features(weights: dict, config: dict, clip: dict, pixels: np.ndarray, routings: dict):
    """`[images, 3, size, size]` to `[images, tokens, channels * scales]`."""
    scales = config.get("scales") or [1]
    crops = [cut(pixels, scale) for scale in scales]
    states = tower(weights, config, clip, np.concatenate(crops), routings)
    if config.get("mm_vision_select_feature", "patch") == "patch":
        states = states[:, 1:]
    ends = np.cumsum([len(part) for part in crops])[:-1]
    parts = zip(np.split(states, ends), scales, strict=True)
    return np.concatenate([merge(part, scale) for part, scale in parts], -1)


def cut(pixels: np.ndarray, scale: int) -> np.ndarray:
    """The image `scale` times as large, in `scale * scale` crops: crop 0 of every image, then 1..."""
    size = pixels.shape[-1]
    up = cubic(size, scale)
    large = up @ pixels @ up.T
    rows = [large[:, :, i * size : (i + 1) * size] for i in range(scale)]
    return np.concatenate([row[..., j * size : (j + 1) * size] for row in rows for j in range(scale)])


def cubic(size: int, scale: int) -> np.ndarray:
    """`[size * scale, size]`: bicubic interpolation, a = -0.75, half-pixel centres, no antialias,
    the border repeated."""
    a = -0.75
    matrix = np.zeros((size * scale, size))
    for i in range(size * scale):
        at = (i + 0.5) / scale - 0.5
        for source in range(int(np.floor(at)) - 1, int(np.floor(at)) + 3):
            d = abs(at - source)
            near = (a + 2) * d**3 - (a + 3) * d**2 + 1
            far = a * (d**3 - 5 * d**2 + 8 * d - 4)
            matrix[i, min(max(source, 0), size - 1)] += near if d <= 1 else far if d < 2 else 0
    return matrix


def merge(states: np.ndarray, scale: int) -> np.ndarray:
    """`[crops * images, tokens, channels]` to `[images, tokens, channels]`: the crops' grids as one
    large grid, averaged down to the grid of one crop."""
    if scale == 1:
        return states
    _, tokens, channels = states.shape
    grid = round(tokens**0.5)
    # crop row, crop column, image, row and column within the crop
    tiles = states.reshape(scale, scale, -1, grid, grid, channels).transpose(2, 0, 3, 1, 4, 5)
    windows = tiles.reshape(-1, grid, scale, grid, scale, channels)
    return windows.mean((2, 4)).reshape(-1, tokens, channels)


def tower(weights: dict, config: dict, clip: dict, crops: np.ndarray, routings: dict) -> np.ndarray:
    """`[crops, 3, size, size]` to the state before CLIP's last layer, class token first."""
    epsilon = clip.get("layer_norm_eps", 1e-5)
    patches = patch_embeddings(crops, weights[f"{TOWER}.embeddings.patch_embedding.weight"])
    first = weights[f"{TOWER}.embeddings.class_embedding"]
    x = np.concatenate([np.broadcast_to(first, (len(crops), 1, len(first))), patches], 1)
    x = x + weights[f"{TOWER}.embeddings.position_embedding.weight"]
    x = layer_norm(weights, f"{TOWER}.pre_layrnorm", x, epsilon)

    def mlp(name: str, x: np.ndarray) -> np.ndarray:
        return linear(weights, f"{name}.fc2", quick_gelu(linear(weights, f"{name}.fc1", x)))

    for index in range(clip["num_hidden_layers"] - 1):
        name = f"{TOWER}.encoder.layers.{index}"
        normed = layer_norm(weights, f"{name}.layer_norm1", x, epsilon)
        heads = clip["num_attention_heads"]
        qkv = (linear(weights, f"{name}.self_attn.{part}_proj", normed) for part in "qkv")
        q, k, v = (split_heads(part, heads) for part in qkv)
        mixed = join_heads(attention(q, k, v, True))
        x = x + linear(weights, f"{name}.self_attn.out_proj", mixed)
        normed = layer_norm(weights, f"{name}.layer_norm2", x, epsilon)
        if config.get("clip_smoe"):
            x = x + moe(weights, name, normed, config["num_selected"], mlp, routings)
        else:
            x = x + mlp(f"{name}.mlp", normed)
    return x


def patch_embeddings(crops: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """`[crops, patches, channels]`; pixels that fill no patch are dropped."""
    count, _, size, _ = crops.shape
    channels, _, patch, _ = kernel.shape
    grid = size // patch
    whole = crops[:, :, : grid * patch, : grid * patch]
    patches = whole.reshape(count, 3, grid, patch, grid, patch).transpose(0, 2, 4, 1, 3, 5)
    return patches.reshape(count, grid * grid, -1) @ kernel.reshape(channels, -1).T
