"""Exports checkpoints of odd shapes and forms, and compares every stage with the model in numpy.

Usage: odd_checkpoints.py CUMO_EXPORT [--cumo CUMO] [--only NAME] [--keep DIR]

The numpy model (`reference/`) is first compared with the goldens of the original code, so that what
the odd checkpoints are compared with is known to be right. Tolerances are those of
tests/tolerances.json. Every graph goes through onnx.checker. With --cumo, the runtime answers too,
from images in files to tokens.
"""

import argparse
import json
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np

from bundle import Bundle, Cache
from check_onnx import problems_of
from compare_goldens import TOLERANCES, Report, decode, embed
from reference import Reference
from reference.variant import ABSENT, Clip, Llm, Variant
from reference.weight_files import read_folder
from tensors import Golden

GOLDENS = Path(__file__).parent.parent / "goldens"
MIXTRAL, LLAMA = "llava_mixtral", "llava_llama"
IMAGE_ID = -200
STEPS = 8
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's
# Below these, another way of rounding may choose another expert or token.
F32_MARGIN, F16_MARGIN = 1e-3, 5e-3

# fmt: off
VARIANTS = [
    Variant("top-1, three scales, one kv head of 12", 21, clip=Clip(36, 3), llm=Llm(36, 3, 1), experts=3, k=1, scales=(1, 2, 3)),
    Variant("top-3 of 5, kv heads as heads, one LLM layer", 3042, llm=Llm(56, 7, 7, 64, 1), experts=5, k=3, dtype="bf16", shards=3, f16=True),
    Variant("dense tower, MoE connector", 3, tower_moe=False, llm=Llm(40, 5, 1), dtype="f16", form="bin", shards=2, f16=True),
    Variant("MoE tower, dense connector, tied embedding", 4, connector="mlp2x_gelu", scales=(1, 3), llm=Llm(48, 6, 3), form="bin", extra={"tie_word_embeddings": True}),
    Variant("one scale, patch 28, heads of 10", 65, clip=Clip(30, 3, image=56, patch=28), scales=(1,), llm=Llm(30, 3, 1, 50), dtype="bf16", extra={"image_aspect_ratio": None}),
    Variant("class token kept", 6, scales=(1,), llm=Llm(32, 2, 1), dtype="f16", extra={"mm_vision_select_feature": "cls_patch"}),
    Variant("co-upcycled: Mixtral form, 4 experts", 1547, MIXTRAL, llm=Llm(32, 2, 1, 48, 2, 4, 2), dtype="bf16", shards=2, f16=True),
    Variant("Mixtral, top-1 of 3, window of 6", 8, MIXTRAL, llm=Llm(40, 4, 1, 48, 2, 3, 1), extra={"sliding_window": 6}),
    Variant("Mixtral, all of 3 experts", 9, MIXTRAL, llm=Llm(48, 3, 3, 40, 1, 3, 3), dtype="f16", experts=2, k=2),
    Variant("Mixtral, one expert", 10, MIXTRAL, llm=Llm(48, 3, 1, 40, 2, 1, 1), experts=1, k=1, scales=(1,)),
    Variant("LLaVA-1.5: Llama, no scales, tower apart", 51, LLAMA, connector="mlp2x_gelu", tower_moe=False, scales=(1,), llm=Llm(48, 3, 3), dtype="f16", form="bin", shards=2, apart=("tower",), f16=True,
            extra=dict.fromkeys(("scales", "rope_theta", "sliding_window", "num_experts", "num_selected", "mlp_smoe", "clip_smoe", "num_key_value_heads"), ABSENT)),
    Variant("linear connector, two CLIP layers", 12, connector="linear", tower_moe=False, clip=Clip(layers=2), llm=Llm(36, 6, 2), extra={"mm_hidden_size": 48}),
    Variant("mlp3x_gelu, one CLIP layer", 33, connector="mlp3x_gelu", tower_moe=False, clip=Clip(layers=1), llm=Llm(24, 2, 1)),
    Variant("window of 5, heads of 16", 734, llm=Llm(64, 4, 2), extra={"sliding_window": 5}, f16=True),
    Variant("window of 1, heads of 8", 35, llm=Llm(32, 4, 4, 40, 3), extra={"sliding_window": 1}),
    Variant("head_dim named, not hidden / heads", 16, llm=Llm(40, 5, 1, head_dim=16), dtype="bf16"),
    Variant("image not a multiple of the patch", 17, clip=Clip(20, 5, 36, 4, 50, 14), llm=Llm(32, 1, 1), scales=(1, 2), experts=2, k=1),
    Variant("stage 1: only the connector, LLM and tower apart", 19, connector="mlp2x_gelu", tower_moe=False, scales=(1, 3), llm=Llm(28, 2, 1), dtype="bf16", apart=("tower", "connector", "llm")),
    Variant("scales that repeat and fall", 58, scales=(1, 3, 1, 2), llm=Llm(32, 2, 2, head_dim=32)),
]
# fmt: on



def compare_goldens(report: Report) -> None:
    """The numpy model with what the original code computed."""
    for folder in sorted(path.parent for path in GOLDENS.glob("*/goldens.json")):
        golden, checkpoint = Golden(folder), folder / "checkpoint"
        config, clip = (json.loads((checkpoint / p / "config.json").read_text()) for p in (".", "clip"))
        model = Reference(config, clip, read_folder(checkpoint))
        print(f"\n{folder.name}: numpy and the original code")
        want = golden.tensors
        for image in golden.images:
            features = model.image_features(golden.pixel_values(image))
            report.numbers(f"image_features.{image}", features, want[f"image_features.{image}"])
            embeds = model.image_embeds(want[f"image_features.{image}"])
            report.numbers(f"image_embeds.{image}", embeds, want[f"image_embeds.{image}"])
            for gate, routing in model.routings.items():
                chosen = golden.router(gate, image, "experts")
                if chosen is not None:
                    report.equal(f"{gate} experts {image}", routing.chosen, chosen)
        for name, prompt in golden.prompts.items():
            images = [want[f"image_embeds.{image}"][0] for image in prompt["images"]]
            embeds = model.inputs_embeds(prompt["input_ids"], images)
            tokens, logits = model.greedy(embeds, len(prompt["greedy_tokens"]))
            logits = logits[:, : embeds.shape[1]]
            report.numbers(f"inputs_embeds.{name}", embeds, want[f"inputs_embeds.{name}"])
            report.numbers(f"logits.{name}", logits, want[f"logits.{name}"])
            report.equal(f"greedy_tokens.{name}", tokens, prompt["greedy_tokens"])


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of `[height, width, 3]` u8."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # eight bits, RGB, no filter to pick
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    )


class Case:
    """A variant's checkpoint in a folder, and what the numpy model computes of it.

    Three images; two prompts, the first with two of them and the longer one.
    """

    def __init__(self, variant: Variant, folder: Path):
        self.variant, self.folder = variant, folder
        self.arguments = variant.write(folder / "checkpoint")
        model = Reference(variant.config(), variant.clip_config(), variant.weights())
        numbers = np.random.default_rng(variant.seed)
        size, vocab = variant.clip.image, variant.llm.vocab
        images = numbers.integers(0, 256, (3, size, size, 3), np.uint8)
        self.images = [folder / f"{index}.png" for index in range(len(images))]
        for path, image in zip(self.images, images):
            path.write_bytes(png(image))
        self.pixels = ((images / 255 - MEAN) / STD).transpose(0, 3, 1, 2).astype(np.float32)
        self.features = model.image_features(self.pixels)
        self.image_embeds = model.image_embeds(self.features)
        long, short = (numbers.integers(3, vocab, count).tolist() for count in (8, 4))
        long = [1, *long[:3], IMAGE_ID, *long[3:5], IMAGE_ID, *long[5:]]
        self.ids = [long, [1, IMAGE_ID, *short]]
        self.embeds = [model.inputs_embeds(ids, self.image_embeds) for ids in self.ids]
        self.second_token, self.second_logits = model.greedy(self.embeds[1], 2)
        self.tokens, self.logits = model.greedy(self.embeds[0], STEPS)
        self.routings = model.routings
        self.model = model

    def check_margins(self) -> None:
        """Refuses numbers that leave a choice to rounding."""
        routers = min((routing.margin() for routing in self.routings.values()), default=np.inf)
        best = np.sort(self.logits[0, -STEPS:], -1)
        tokens = float((best[:, -1] - best[:, -2]).min() / np.abs(self.logits).max())
        needed = F16_MARGIN if self.variant.f16 else F32_MARGIN
        if not min(routers, tokens) >= needed:
            raise SystemExit(
                f"{self.variant.name}: a router decides by {routers:.1e}, a token by {tokens:.1e};"
                f" take a seed where it is {needed} or more"
            )

    def export(self, exporter: Path, target: str, dtype: str, *options: str) -> Bundle:
        """The bundle that `cumo-export` writes, with graphs that onnx.checker accepts."""
        bundle = self.folder / "-".join([target, dtype, *(option.strip("-") for option in options)])
        command = [exporter, "onnx", self.folder / "checkpoint", *self.arguments, "-o", bundle]
        output_of([*command, "--target", target, "--dtype", dtype, *options])
        if problems := problems_of(bundle):
            raise SystemExit("\n".join([f"{self.variant.name}: onnx.checker", *problems]))
        return Bundle(bundle)


def output_of(command: list) -> str:
    """What a command prints; ends this program where it fails."""
    command = [str(part) for part in command]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr}")
    return done.stdout


def compare(case: Case, bundle: Bundle, report: Report) -> None:
    """Every stage, each with the numpy model's input of that stage."""
    values = {"pixel_values": case.pixels}
    connector = bundle.run_until("image_features", "encode_images", values)
    report.numbers("image_features, 3 images", values["image_features"], case.features)
    values["image_features"] = case.features
    bundle.run_steps(connector, values)
    report.numbers("image_embeds, 3 images", values["image_embeds"], case.image_embeds)
    text = [token for token in case.ids[0] if token != IMAGE_ID]
    report.numbers("inputs_embeds, text", embed(bundle, [text]), case.model.inputs_embeds(text, []))
    compare_chunks(case, bundle, report)
    compare_batch(case, bundle, report)


def compare_chunks(case: Case, bundle: Bundle, report: Report) -> None:
    """A prompt in three chunks, then one token at a time: the cache, the mask, the positions."""
    prompt = case.embeds[0]
    length = prompt.shape[1]
    cache = Cache(bundle, 1, length + STEPS)
    whole = decode(bundle, Cache(bundle, 1, length + STEPS), prompt, 0)
    report.numbers("logits, whole prompt", whole, case.logits[:, :length])
    cuts = [0, length // 3, length // 2, length]
    chunks = [decode(bundle, cache, prompt[:, a:b], a) for a, b in zip(cuts, cuts[1:])]
    wanted = case.logits[:, [cut - 1 for cut in cuts[1:]]] if bundle.layered else case.logits[:, :length]
    report.numbers("three chunks, logits", np.concatenate(chunks, 1), wanted)
    steps = [chunks[-1][:, -1:]]
    for index, token in enumerate(case.tokens[:-1]):
        steps.append(decode(bundle, cache, embed(bundle, [[token]]), length + index))
    steps = np.concatenate(steps, 1)
    report.numbers("one token at a time, logits", steps, case.logits[:, -STEPS:])
    report.equal("greedy tokens", steps.argmax(-1)[0], case.tokens)


def compare_batch(case: Case, bundle: Bundle, report: Report) -> None:
    """Two prompts in one call, the shorter padded on the right, then a token behind each."""
    lengths = [embeds.shape[1] for embeds in case.embeds]
    longest = max(lengths)
    cache = Cache(bundle, 2, longest + 1)
    mask = np.arange(longest) < np.array(lengths)[:, None]
    padded = [np.pad(e, ((0, 0), (0, longest - e.shape[1]), (0, 0))) for e in case.embeds]
    values = {
        "inputs_embeds": np.concatenate(padded),
        "attention_mask": mask.astype(np.int64),
        "position_ids": np.arange(longest, dtype=np.int64)[None].repeat(2, 0),
    }
    wanted = [case.logits, case.second_logits]
    logits = bundle.run("decode", values, cache)["logits"]
    for row, length in enumerate(lengths):
        got, want = logits[row, :length], wanted[row][0, :length]
        if bundle.layered:
            if length < longest:
                continue  # its last logits are a padding's
            want = want[-1:]
        report.numbers(f"batch, row {row}, logits", got, want)
    if case.variant.config().get("sliding_window"):
        return  # a window counts places in the cache, so padding within it takes tokens' places
    values = {
        "inputs_embeds": embed(bundle, [case.tokens[:1], case.second_token[:1]]),
        "attention_mask": np.pad(mask, ((0, 0), (0, 1)), constant_values=True).astype(np.int64),
        "position_ids": np.array(lengths, np.int64)[:, None],
    }
    logits = bundle.run("decode", values, cache)["logits"]
    for row, length in enumerate(lengths):
        report.numbers(f"batch, row {row}, next token, logits", logits[row, 0], wanted[row][0, length])


def compare_routers(case: Case, bundle: Bundle, report: Report) -> None:
    """Probabilities and choices of every router, those of tower and connector from the pixels on."""
    length = case.embeds[0].shape[1]
    values = {
        "pixel_values": case.pixels,
        "inputs_embeds": case.embeds[0],
        "attention_mask": np.ones((1, length), np.int64),
        "position_ids": np.arange(length, dtype=np.int64)[None],
    }
    values |= bundle.run("encode_images", values)
    values |= bundle.run("decode", values, Cache(bundle, 1, length))
    named = (name.removeprefix("router.") for name in values if name.startswith("router."))
    named = {name.rsplit(".", 1)[0] for name in named}
    report.equal("routers of the bundle", sorted(named), sorted(case.routings))
    for gate in sorted(named & set(case.routings)):
        routing, stage = case.routings[gate], gate.removeprefix("model.")
        probs, chosen = values[f"router.{gate}.probs"], values[f"router.{gate}.experts"]
        # The LLM's routings are those of the prompt and the answer.
        tokens = length if "layers" in gate and "vision" not in gate else None
        report.numbers(f"{stage} probs", probs, routing.probs[:, :tokens])
        report.equal(f"{stage} experts", chosen, routing.chosen[:, :tokens])


def compare_answer(case: Case, bundle: Bundle, cumo: Path, report: Report) -> None:
    """The runtime's tokens."""
    first, second, _ = case.images
    command = [cumo, "run", "--model", bundle.folder, "--image", first, "--image", second]
    command += ["--prompt-ids", ",".join(map(str, case.ids[0])), "--max-new-tokens", STEPS]
    answer = output_of([*command, "--temperature", 0, "--ignore-eos", "--json"])
    report.equal("tokens of cumo run", json.loads(answer)["tokens"], case.tokens)


def compare_variant(case: Case, exporter: Path, cumo: Path | None, reports: dict[str, Report]) -> None:
    """Every target, and f16 where the variant asks for it."""
    kinds = [("onnx", "f32"), ("ort-cpu", "f32")]
    if case.variant.f16:
        kinds += [("onnx", "f16"), ("ort-cpu", "f16")]
    kinds += [("tensorrt", "f16"), ("tensorrt", "f16", "--moe", "function"), ("tensorrt-10.3", "f16")]
    for target, dtype, *options in kinds:
        print(f"\n{case.variant.name}: {target} {dtype} {' '.join(options)}")
        bundle = case.export(exporter, target, dtype, *options)
        compare(case, bundle, reports[dtype])
        if cumo:
            compare_answer(case, bundle, cumo, reports[dtype])
    for target, dtype in [("onnx", "f32"), ("tensorrt", "f16")]:
        print(f"\n{case.variant.name}: {target} {dtype} routers")
        compare_routers(case, case.export(exporter, target, dtype, "--debug-outputs"), reports[dtype])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cumo_export", type=Path)
    parser.add_argument("--cumo", type=Path, help="the runtime, to compare its answers as well")
    parser.add_argument("--only", default="", help="a part of the names of the variants to try")
    parser.add_argument("--keep", type=Path, help="a folder to keep checkpoints and bundles in")
    arguments = parser.parse_args()
    reports = {dtype: Report(limit) for dtype, limit in json.loads(TOLERANCES.read_text()).items()}
    compare_goldens(reports["f32"])
    with tempfile.TemporaryDirectory() as temporary:
        for index, variant in enumerate(VARIANTS):
            if arguments.only in variant.name:
                case = Case(variant, (arguments.keep or Path(temporary)) / f"{index + 1}")
                case.check_margins()
                compare_variant(case, arguments.cumo_export, arguments.cumo, reports)
    return 1 if any(report.failures for report in reports.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
