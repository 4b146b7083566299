"""Small random checkpoints: their sizes, and the folders that hold them."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .connector import CONNECTOR
from .random_weights import random_weights
from .vision import TOWER
from .weight_files import BF16, write_folder, write_torch

DTYPES = {"f32": np.dtype(np.float32), "f16": np.dtype(np.float16), "bf16": BF16}
ABSENT = object()


@dataclass(frozen=True)
class Clip:
    """Sizes of the tower. Its last layer is never used."""

    hidden: int = 24
    heads: int = 2
    inner: int = 40
    layers: int = 3
    image: int = 28
    patch: int = 14


@dataclass(frozen=True)
class Llm:
    """Sizes of the decoder; `experts` and `k` are Mixtral's, `head_dim` where `config.json` names it."""

    hidden: int = 32
    heads: int = 4
    kv_heads: int = 2
    inner: int = 48
    layers: int = 2
    experts: int = 0
    k: int = 2
    head_dim: int | None = None
    vocab: int = 101


@dataclass(frozen=True)
class Variant:
    """A checkpoint to be made.

    `experts` and `k` are the tower's and the connector's. `apart`: the parts that are not in the
    checkpoint's weights: `tower` (a whole CLIP in the folder `clip`), `connector`
    (`mm_projector.bin`) and `llm` (in the folder `llm`). `f16`: worth a look in f16 too. `extra`: what
    else `config.json` says; `ABSENT` takes a key away.
    """

    name: str
    seed: int
    family: str = "llava_mistral"
    clip: Clip = Clip()
    llm: Llm = Llm()
    connector: str = "smoe_mlp"
    tower_moe: bool = True
    experts: int = 4
    k: int = 2
    scales: tuple[int, ...] = (1, 2)
    dtype: str = "f32"
    form: str = "safetensors"
    shards: int = 1
    apart: tuple[str, ...] = ()
    f16: bool = False
    extra: dict = field(default_factory=dict)

    def config(self) -> dict:
        """`config.json`."""
        llm = self.llm
        config = {
            "model_type": self.family,
            "vocab_size": llm.vocab,
            "hidden_size": llm.hidden,
            "intermediate_size": llm.inner,
            "num_hidden_layers": llm.layers,
            "num_attention_heads": llm.heads,
            "num_key_value_heads": llm.kv_heads,
            "max_position_embeddings": 256,
            "rms_norm_eps": 1e-5,
            "rope_theta": 1e6,
            "sliding_window": None,
            "mm_vision_tower": "clip",
            "mm_hidden_size": self.clip.hidden,
            "mm_vision_select_layer": -2,
            "mm_vision_select_feature": "patch",
            "mm_projector_type": self.connector,
            "scales": list(self.scales),
            "num_experts": self.experts,
            "num_selected": self.k,
            "mlp_smoe": self.connector == "smoe_mlp",
            "clip_smoe": self.tower_moe,
            "image_aspect_ratio": "pad",
        }
        if llm.head_dim:
            config["head_dim"] = llm.head_dim
        if llm.experts:
            config |= {"num_local_experts": llm.experts, "num_experts_per_tok": llm.k}
        for key, value in self.extra.items():
            config.pop(key, None) if value is ABSENT else config.update({key: value})
        return config

    def clip_config(self) -> dict:
        """The tower's `config.json`, within a whole CLIP's where it lies apart."""
        clip = self.clip
        vision = {
            "model_type": "clip_vision_model",
            "hidden_size": clip.hidden,
            "num_attention_heads": clip.heads,
            "intermediate_size": clip.inner,
            "num_hidden_layers": clip.layers,
            "image_size": clip.image,
            "patch_size": clip.patch,
            "hidden_act": "quick_gelu",
        }
        return {"model_type": "clip", "vision_config": vision} if "tower" in self.apart else vision

    def weights(self) -> dict[str, np.ndarray]:
        """Every tensor, in the type of the files, under its name in a whole checkpoint."""
        config = self.config()
        weights = random_weights(config, vars(self.clip), self.tower_moe, self.seed)
        return {name: tensor.astype(DTYPES[self.dtype]) for name, tensor in weights.items()}

    def write(self, folder: Path) -> list[str]:
        """Writes the checkpoint; gives what the exporter has to be told besides the folder."""
        weights = self.weights()
        clip = folder / "clip"
        clip.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(self.config(), indent=1))
        (clip / "config.json").write_text(json.dumps(self.clip_config(), indent=1))
        size = self.clip.image
        (clip / "preprocessor_config.json").write_text(json.dumps({"size": size, "crop_size": size}))
        parts = {"tower": {}, "connector": {}, "llm": {}, "rest": {}}
        for name, tensor in weights.items():
            part = "tower" if TOWER in name else "connector" if CONNECTOR in name else "llm"
            parts[part if part in self.apart else "rest"][name] = tensor
        arguments = []
        if parts["rest"]:
            write_folder(folder, parts["rest"], self.form, self.shards)
        if parts["connector"]:
            write_torch(folder / "mm_projector.bin", parts["connector"])
        if parts["tower"]:
            outer = TOWER.removesuffix("vision_model")
            tower = {name.removeprefix(outer): tensor for name, tensor in parts["tower"].items()}
            tower["text_model.final_layer_norm.weight"] = np.ones(8, DTYPES[self.dtype])
            tower["logit_scale"] = np.ones((), DTYPES[self.dtype])
            write_folder(clip, tower, self.form)
            arguments += ["--clip", str(clip)]
        if parts["llm"]:
            (folder / "llm").mkdir()
            write_folder(folder / "llm", parts["llm"], self.form, self.shards)
            arguments += ["--llm", str(folder / "llm")]
        return arguments
