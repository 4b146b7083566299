"""The connector."""

import numpy as np

from .layers import gelu, linear
from .moe import moe

CONNECTOR = "model.mm_projector"


def image_embeds(weights: dict, config: dict, features: np.ndarray, routings: dict) -> np.ndarray:
    """`[images, tokens, channels * scales]` to `[images, tokens, hidden]`."""
    kind = config.get("mm_projector_type", "linear")
    if kind == "linear":
        return linear(weights, CONNECTOR, features)

    def mlp(name: str, x: np.ndarray, depth: int = 2) -> np.ndarray:
        for index in range(depth):
            x = linear(weights, f"{name}.{2 * index}", gelu(x) if index else x)
        return x

    if kind == "smoe_mlp":
        return moe(weights, CONNECTOR, features, config["num_selected"], mlp, routings)
    return mlp(CONNECTOR, features, int(kind.removeprefix("mlp").removesuffix("x_gelu")))
