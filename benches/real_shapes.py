"""Makes a checkpoint of CuMo-Mistral-7B's shapes with random bf16 weights: 1,009 tensors, 16.5 GB.

Usage: cargo xtask bench real_shapes FOLDER [--layers N] [--narrow N]

--layers N cuts the LLM to N layers and the tower to the N that run plus the one that never does.
--narrow N makes every width an N-th: hidden sizes, and heads of the same size in smaller number.

Needs Python alone; with numpy the numbers are others.
"""

import argparse
import array
import json
import math
import random
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import numpy as np
except ImportError:
    np = None

SHARD_BYTES = 5_000_000_000
BLOCK_ELEMENTS = 32 << 20
# Without numpy. Prime, so that no two rows of a matrix begin at the same place of the block.
SMALL_BLOCK_ELEMENTS = 2_097_143
STANDARD_DEVIATION = 0.02
BF16_ONE = b"\x80\x3f"

HIDDEN, INTERMEDIATE, KV, VOCAB = 4096, 14336, 1024, 32000
HEAD, CLIP_HEAD = 128, 64
CLIP_HIDDEN, CLIP_INTERMEDIATE, PATCH, IMAGE = 1024, 4096, 14, 336
SCALES, EXPERTS, SELECTED = [1, 3], 4, 2

Shape = tuple[int, ...]


def linear(name: str, rows: int, columns: int, bias: bool = False) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (rows, columns)
    if bias:
        yield f"{name}.bias", (rows,)


def norm(name: str, size: int, bias: bool = False) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (size,)
    if bias:
        yield f"{name}.bias", (size,)


def llm(layers: int) -> Iterator[tuple[str, Shape]]:
    yield from linear("model.embed_tokens", VOCAB, HIDDEN)
    for layer in range(layers):
        name = f"model.layers.{layer}"
        for projection, rows in (("q", HIDDEN), ("k", KV), ("v", KV), ("o", HIDDEN)):
            yield from linear(f"{name}.self_attn.{projection}_proj", rows, HIDDEN)
        yield from linear(f"{name}.mlp.gate_proj", INTERMEDIATE, HIDDEN)
        yield from linear(f"{name}.mlp.up_proj", INTERMEDIATE, HIDDEN)
        yield from linear(f"{name}.mlp.down_proj", HIDDEN, INTERMEDIATE)
        yield from norm(f"{name}.input_layernorm", HIDDEN)
        yield from norm(f"{name}.post_attention_layernorm", HIDDEN)
    yield from norm("model.norm", HIDDEN)


def vision(layers: int) -> Iterator[tuple[str, Shape]]:
    name = "model.vision_tower.vision_model"
    yield f"{name}.embeddings.class_embedding", (CLIP_HIDDEN,)
    yield f"{name}.embeddings.patch_embedding.weight", (CLIP_HIDDEN, 3, PATCH, PATCH)
    tokens = 1 + (IMAGE // PATCH) ** 2
    yield f"{name}.embeddings.position_embedding.weight", (tokens, CLIP_HIDDEN)
    yield from norm(f"{name}.pre_layrnorm", CLIP_HIDDEN, bias=True)
    for layer in range(layers):
        inner = f"{name}.encoder.layers.{layer}"
        for projection in ("k_proj", "v_proj", "q_proj", "out_proj"):
            yield from linear(f"{inner}.self_attn.{projection}", CLIP_HIDDEN, CLIP_HIDDEN, True)
        yield from norm(f"{inner}.layer_norm1", CLIP_HIDDEN, bias=True)
        yield from norm(f"{inner}.layer_norm2", CLIP_HIDDEN, bias=True)
        yield from linear(f"{inner}.gate", EXPERTS, CLIP_HIDDEN)
        for expert in range(EXPERTS):
            fc = f"{inner}.experts.{expert}.fc"
            yield from linear(f"{fc}1", CLIP_INTERMEDIATE, CLIP_HIDDEN, True)
            yield from linear(f"{fc}2", CLIP_HIDDEN, CLIP_INTERMEDIATE, True)


def connector() -> Iterator[tuple[str, Shape]]:
    channels = CLIP_HIDDEN * len(SCALES)
    yield from linear("model.mm_projector.gate", EXPERTS, channels)
    for expert in range(EXPERTS):
        name = f"model.mm_projector.experts.{expert}"
        yield from linear(f"{name}.0", HIDDEN, channels, True)
        yield from linear(f"{name}.2", HIDDEN, HIDDEN, True)


def tensors(llm_layers: int, clip_layers: int) -> list[tuple[str, Shape]]:
    """Every tensor's name and shape, in the order of the files."""
    head = linear("lm_head", VOCAB, HIDDEN)
    return [*llm(llm_layers), *vision(clip_layers), *connector(), *head]


def config(llm_layers: int, tower: str) -> dict:
    """config.json, as far as inference reads it."""
    return {
        "architectures": ["LlavaMistralForCausalLM"],
        "model_type": "llava_mistral",
        "vocab_size": VOCAB,
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": llm_layers,
        "num_attention_heads": HIDDEN // HEAD,
        "num_key_value_heads": KV // HEAD,
        "hidden_act": "silu",
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-05,
        "rope_theta": 1000000.0,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "mm_vision_tower": tower,
        "mm_hidden_size": CLIP_HIDDEN,
        "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch",
        "mm_projector_type": "smoe_mlp",
        "scales": SCALES,
        "num_experts": EXPERTS,
        "num_selected": SELECTED,
        "mlp_smoe": True,
        "clip_smoe": True,
        "image_aspect_ratio": "pad",
    }


def write_clip_config(folder: Path, layers: int) -> None:
    """CLIP-L/336's configuration with fewer layers, where its hub name would be wrong."""
    folder.mkdir()
    clip = {
        "model_type": "clip_vision_model",
        "hidden_act": "quick_gelu",
        "hidden_size": CLIP_HIDDEN,
        "intermediate_size": CLIP_INTERMEDIATE,
        "image_size": IMAGE,
        "patch_size": PATCH,
        "layer_norm_eps": 1e-05,
        "num_attention_heads": CLIP_HIDDEN // CLIP_HEAD,
        "num_channels": 3,
        "num_hidden_layers": layers,
    }
    processor = {
        "crop_size": {"height": IMAGE, "width": IMAGE},
        "size": {"shortest_edge": IMAGE},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "image_processor_type": "CLIPImageProcessor",
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
    }
    (folder / "config.json").write_text(json.dumps(clip, indent=1))
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=1))


def random_block(seed: int) -> bytes:
    """bf16 values of a normal distribution."""
    if np is None:
        generator = random.Random(seed)
        values = array.array("f", (generator.gauss(0.0, STANDARD_DEVIATION) for _ in range(SMALL_BLOCK_ELEMENTS)))
        whole = values.tobytes() if sys.byteorder == "little" else values.byteswap() or values.tobytes()
        block = bytearray(2 * SMALL_BLOCK_ELEMENTS)
        block[0::2], block[1::2] = whole[2::4], whole[3::4]
        return bytes(block)
    block = np.random.default_rng(seed).standard_normal(BLOCK_ELEMENTS, np.float32)
    block *= STANDARD_DEVIATION
    return (block.view(np.uint32) >> 16).astype("<u2").tobytes()


class RandomBytes:
    """One block of random values, read in turns.

    The start moves on with every tensor, so no two tensors hold the same numbers.
    """

    def __init__(self, seed: int):
        self.block = memoryview(random_block(seed))
        self.elements = len(self.block) // 2
        self.start = 0

    def write(self, file, elements: int) -> None:
        self.start = (self.start + 1_000_003) % self.elements
        position = self.start
        while elements:
            piece = self.block[2 * position : 2 * (position + elements)]
            file.write(piece)
            elements -= len(piece) // 2
            position = (position + len(piece) // 2) % self.elements


def elements(shape: Shape) -> int:
    return math.prod(shape)


def shards(all_tensors: list[tuple[str, Shape]]) -> list[list[tuple[str, Shape]]]:
    """Tensors by file, each file below SHARD_BYTES."""
    result, size = [[]], 0
    for name, shape in all_tensors:
        tensor_bytes = 2 * elements(shape)
        if size + tensor_bytes > SHARD_BYTES:
            result.append([])
            size = 0
        result[-1].append((name, shape))
        size += tensor_bytes
    return result


def write_shard(path: Path, shard: list[tuple[str, Shape]], values: RandomBytes) -> None:
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shard:
        end = offset + 2 * elements(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shard:
            if "norm" in name and name.endswith("weight"):
                file.write(BF16_ONE * elements(shape))
            else:
                values.write(file, elements(shape))


def narrow(divisor: int) -> None:
    """Divides every width; heads keep their size, and there is one of them at least."""
    global HIDDEN, INTERMEDIATE, KV, CLIP_HIDDEN, CLIP_INTERMEDIATE
    if divisor < 1 or (HIDDEN // divisor) % HEAD or (CLIP_HIDDEN // divisor) % CLIP_HEAD:
        raise SystemExit(f"--narrow {divisor}: widths have to be whole heads: 1, 2, 4, 8 or 16")
    HIDDEN, INTERMEDIATE, KV = HIDDEN // divisor, INTERMEDIATE // divisor, max(KV // divisor, HEAD)
    CLIP_HIDDEN, CLIP_INTERMEDIATE = CLIP_HIDDEN // divisor, CLIP_INTERMEDIATE // divisor


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, metavar="N")
    parser.add_argument("--narrow", type=int, metavar="N", default=1)
    arguments = parser.parse_args()
    narrow(arguments.narrow)
    llm_layers = arguments.layers or 32
    clip_layers = arguments.layers + 1 if arguments.layers else 24
    all_tensors = tensors(llm_layers, clip_layers)
    total = sum(2 * elements(shape) for _, shape in all_tensors)

    folder = arguments.folder
    folder.mkdir(parents=True)
    free = shutil.disk_usage(folder).free
    if free < total + (1 << 30):
        folder.rmdir()
        print(f"{folder}: {total / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free", file=sys.stderr)
        return 1
    started = time.perf_counter()
    values, files = RandomBytes(seed=4011), shards(all_tensors)
    weight_map = {}
    for number, shard in enumerate(files, start=1):
        file = f"model-{number:05}-of-{len(files):05}.safetensors"
        write_shard(folder / file, shard, values)
        weight_map |= {name: file for name, _ in shard}
        print(f"{file}: {len(shard)} tensors")
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))
    is_published = not arguments.layers and arguments.narrow == 1
    tower = "openai/clip-vit-large-patch14-336" if is_published else "clip"
    if not is_published:
        write_clip_config(folder / "clip", clip_layers)
    (folder / "config.json").write_text(json.dumps(config(llm_layers, tower), indent=1))
    seconds = time.perf_counter() - started
    print(f"{folder}: {len(all_tensors)} tensors, {total / 1e9:.2f} GB in {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
