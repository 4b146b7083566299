"""The stages of the whole model."""

import numpy as np

from . import connector, llm, vision
from .moe import Routing

IMAGE_ID = -200


class Reference:
    """A model in numpy. `config` and `clip` are the two `config.json`, `weights` go by their names in
    a whole checkpoint. `routings` keeps what each router decided last, by the gate's name."""

    def __init__(self, config: dict, clip: dict, weights: dict[str, np.ndarray]):
        self.config, self.clip = config, clip.get("vision_config") or clip
        self.weights = {name: tensor.astype(np.float64) for name, tensor in weights.items()}
        self.routings: dict[str, Routing] = {}

    def image_features(self, pixels: np.ndarray) -> np.ndarray:
        """`[images, 3, size, size]` to `[images, tokens, channels * scales]`."""
        pixels = pixels.astype(np.float64)
        return vision.image_features(self.weights, self.config, self.clip, pixels, self.routings)

    def image_embeds(self, features: np.ndarray) -> np.ndarray:
        """`[images, tokens, channels * scales]` to `[images, tokens, hidden]`."""
        features = features.astype(np.float64)
        return connector.image_embeds(self.weights, self.config, features, self.routings)

    def inputs_embeds(self, ids: list[int], images: np.ndarray) -> np.ndarray:
        """`[1, tokens, hidden]`: the ids' rows, and for each -200 the next of `images`
        `[images, tokens, hidden]`."""
        table, images = self.weights["model.embed_tokens.weight"], iter(images)
        parts = [next(images) if token == IMAGE_ID else table[[token]] for token in ids]
        return np.concatenate(parts)[None]

    def logits(self, embeds: np.ndarray) -> np.ndarray:
        """`[batch, tokens, hidden]` to `[batch, tokens, vocab]`."""
        return llm.logits(self.weights, self.config, embeds.astype(np.float64), self.routings)

    def greedy(self, embeds: np.ndarray, steps: int) -> tuple[list[int], np.ndarray]:
        """The most likely tokens after a prompt `[1, tokens, hidden]`, and the logits
        `[1, tokens + steps - 1, vocab]` of its positions and of those behind it."""
        tokens = []
        while True:
            logits = self.logits(embeds)
            tokens.append(int(logits[0, -1].argmax()))
            if len(tokens) == steps:
                return tokens, logits
            embeds = np.concatenate([embeds, self.inputs_embeds(tokens[-1:], [])], 1)
