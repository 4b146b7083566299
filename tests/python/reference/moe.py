"""The sparse mixture of experts of tower, connector and LLM."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .layers import linear, softmax


@dataclass
class Routing:
    """What a router decided. `probs` `[.., experts]`, `chosen` and `weights` `[.., k]`."""

    probs: np.ndarray
    chosen: np.ndarray
    weights: np.ndarray

    def margin(self) -> float:
        """By how much the closest decision was made: the smallest difference, of all tokens, of the
        logarithms of neighbours among the k chosen and the best that was not chosen."""
        best = -np.sort(-np.log(self.probs), axis=-1)[..., : self.chosen.shape[-1] + 1]
        return float(np.inf if best.shape[-1] == 1 else (best[..., :-1] - best[..., 1:]).min())


def route(weights: dict, name: str, x: np.ndarray, k: int) -> Routing:
    """Softmax over all experts, the k largest, divided by their sum."""
    probs = softmax(linear(weights, f"{name}.gate", x))
    chosen = np.argsort(-probs, axis=-1, kind="stable")[..., :k]
    best = np.take_along_axis(probs, chosen, -1)
    return Routing(probs, chosen, best / best.sum(-1, keepdims=True))


def moe(
    weights: dict,
    name: str,
    x: np.ndarray,
    k: int,
    expert: Callable[[str, np.ndarray], np.ndarray],
    routings: dict[str, Routing],
) -> np.ndarray:
    """The sum over the chosen of weight * expert(x). The routing is noted under the gate's name."""
    routing = routings[f"{name}.gate"] = route(weights, name, x, k)
    y = None
    for index in range(routing.probs.shape[-1]):
        weight = np.where(routing.chosen == index, routing.weights, 0).sum(-1, keepdims=True)
        part = weight * expert(f"{name}.experts.{index}", x)
        y = part if y is None else y + part
    return y
