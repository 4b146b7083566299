"""Writes and reads the sample in CuMo's Hugging Face layout."""

import json
from pathlib import Path
import shutil

from safetensors.torch import load_file, save_file
import torch

from model import CLIP, LLM, CuMo, checkpoint_tensors, load_checkpoint_tensors
from scenes import MEAN, STD
from tokenizer import BOS, EOS

CONTEXT = 2048

CONFIG = {
    "architectures": ["LlavaMistralForCausalLM"],
    "model_type": "llava_mistral",
    "torch_dtype": "bfloat16",
    "transformers_version": "4.37.2",
    **{k: v for k, v in LLM.items() if k not in ("scales", "num_experts", "num_selected")},
    "max_position_embeddings": CONTEXT,
    "sliding_window": None,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "attention_dropout": 0.0,
    "use_cache": True,
    "tie_word_embeddings": False,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "pad_token_id": 0,
    "mm_vision_tower": "clip",
    "mm_hidden_size": CLIP["hidden_size"],
    "mm_vision_select_layer": -2,
    "mm_vision_select_feature": "patch",
    "mm_patch_merge_type": "flat",
    "mm_projector_type": "smoe_mlp",
    "scales": LLM["scales"],
    "num_experts": LLM["num_experts"],
    "num_selected": LLM["num_selected"],
    "num_layers": 3,
    "dropout": False,
    "mlp_smoe": True,
    "clip_smoe": True,
    "use_mm_proj": True,
    "mm_use_im_start_end": False,
    "mm_use_im_patch_token": False,
    "image_aspect_ratio": "pad",
    "conv_mode": "mistral_instruct",
    "tokenizer_model_max_length": CONTEXT,
    "tokenizer_padding_side": "right",
}

CLIP_CONFIG = {
    "model_type": "clip_vision_model",
    **CLIP,
    "hidden_act": "quick_gelu",
    "num_channels": 3,
    "projection_dim": CLIP["hidden_size"],
    "attention_dropout": 0.0,
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "transformers_version": "4.37.2",
}

PREPROCESSOR = {
    "image_processor_type": "CLIPImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"shortest_edge": CLIP["image_size"]},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": CLIP["image_size"], "width": CLIP["image_size"]},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": MEAN,
    "image_std": STD,
}


def _special(text):
    return {
        "content": text, "lstrip": False, "normalized": False, "rstrip": False,
        "single_word": False, "special": True,
    }


TOKENIZER_CONFIG = {
    "tokenizer_class": "LlamaTokenizer",
    "legacy": True,
    "add_bos_token": True,
    "add_eos_token": False,
    "added_tokens_decoder": {"0": _special("<unk>"), "1": _special("<s>"), "2": _special("</s>")},
    "unk_token": "<unk>",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "pad_token": None,
    "model_max_length": CONTEXT,
    "clean_up_tokenization_spaces": False,
    "sp_model_kwargs": {},
}


def save_checkpoint(model: CuMo, tokenizer: Path, out: Path):
    """The MoE model in bf16, its vocabulary and its configurations."""
    (out / "clip").mkdir(parents=True, exist_ok=True)
    tensors = {n: t.to(torch.bfloat16).contiguous() for n, t in checkpoint_tensors(model).items()}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    shutil.copyfile(tokenizer, out / "tokenizer.model")
    for name, content in {
        "config.json": CONFIG,
        "tokenizer_config.json": TOKENIZER_CONFIG,
        "clip/config.json": CLIP_CONFIG,
        "clip/preprocessor_config.json": PREPROCESSOR,
    }.items():
        (out / name).write_text(json.dumps(content, indent=2) + "\n")


def load_checkpoint(folder: Path) -> CuMo:
    """The model that a checkpoint folder describes, its weights as f32."""
    llm = json.loads((folder / "config.json").read_text())
    clip = json.loads((folder / llm["mm_vision_tower"] / "config.json").read_text())
    model = CuMo(llm, clip, experts=llm["num_experts"])
    load_checkpoint_tensors(model, load_file(folder / "model.safetensors"))
    return model.eval()
