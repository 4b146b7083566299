"""Safetensors files and the tensors of a golden folder, as numpy arrays."""

import json
from pathlib import Path

import numpy as np

DTYPES = {"F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "U8": np.uint8}


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Every tensor of a safetensors file, by name."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            values = np.frombuffer(data[begin:end], DTYPES[entry["dtype"]])
            tensors[name] = values.reshape(entry["shape"])
    return tensors


class Golden:
    """A folder of `tests/goldens`: a checkpoint and what the original code computes on it."""

    def __init__(self, folder: Path):
        self.folder = folder
        facts = json.loads((folder / "goldens.json").read_text())
        config = json.loads((folder / "checkpoint" / "config.json").read_text())
        clip = json.loads((folder / "checkpoint" / "clip" / "config.json").read_text())
        self.clip_layers = clip["num_hidden_layers"]
        self.tensors = read_safetensors(folder / "goldens.safetensors")
        self.batch_lengths = facts["prompts"]["batch"]["lengths"]
        self.prompts = {n: p for n, p in facts["prompts"].items() if n != "batch"}
        self.images = sorted(n.split(".")[1] for n in self.tensors if n.startswith("image_features."))
        self.scales = config["scales"]
        self.aspect_ratio = "pad" if config["image_aspect_ratio"] == "pad" else "crop"

    def pixel_values(self, image: str) -> np.ndarray:
        """The processed image, [1, 3, size, size] f32."""
        return self.tensors[f"pixel_values.{self.aspect_ratio}.{image}"]

    def router(self, module: str, image: str, what: str) -> np.ndarray | None:
        """A router's `probs` or `experts` for one image, [crops, tokens, ...], or none.

        The tower's crops of all scales are one batch here; the goldens have them by scale.
        """
        connector = f"router.{module}.x.{image}.{what}"
        if connector in self.tensors:
            return self.tensors[connector]
        names = [f"router.{module}.scale{scale}.{image}.{what}" for scale in self.scales]
        if not all(name in self.tensors for name in names):
            return None
        return np.concatenate([self.tensors[name] for name in names])

    def routers(self) -> set[tuple[str, str, str]]:
        """Module, image and `probs` or `experts` of every router that inference uses.

        The goldens have the tower's last layer too, whose output nothing reads.
        """
        names = (name.split(".") for name in self.tensors if name.startswith("router."))
        found = {(".".join(parts[1:-3]), parts[-2], parts[-1]) for parts in names}
        unused = f"model.vision_tower.vision_model.encoder.layers.{self.clip_layers - 1}.gate"
        return {router for router in found if router[0] != unused}
