"""Runs a bundle under Python's onnxruntime and compares every stage with the original code's numbers.

Usage: compare_goldens.py GOLDEN BUNDLE --dtype f32|f16 [--routers]

Each stage gets the golden input of that stage, so that an error shows where it is made. Tolerances
are those of tests/tolerances.json: max |error| over max |reference|.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from bundle import Bundle, Cache
from tensors import Golden

TOLERANCES = Path(__file__).parent.parent / "tolerances.json"
IMAGE_ID = -200


class Report:
    """Prints a line a comparison and remembers whether all held."""

    def __init__(self, limit: float):
        self.limit = limit
        self.failures = 0
        print(f"{'stage':66} {'error/max':>10} {'limit':>8}")

    def numbers(self, stage: str, got: np.ndarray, want: np.ndarray) -> None:
        """Compares within the tolerance of the number format.

        A bundle may give the last position's logits alone: these are then compared.
        """
        if stage.startswith("logits") and got.shape[1] == 1:
            want = want[:, -1:]
        if got.shape != want.shape:
            self.line(stage, f"shape {list(got.shape)}, not {list(want.shape)}", "", False)
            return
        got, want = got.astype(np.float64), want.astype(np.float64)
        errors = np.abs(got - want)
        ratio = float(errors.max() / np.abs(want).max())
        ok = ratio <= self.limit  # false for NaN
        self.line(stage, f"{ratio:10.1e}", f"{self.limit:8.0e}", ok)
        if not ok:
            worst = np.unravel_index(np.argmax(np.nan_to_num(errors, nan=np.inf)), errors.shape)
            index = [int(i) for i in worst]
            print(f"    at {index}: got {got[worst]}, reference {want[worst]}")

    def equal(self, stage: str, got: np.ndarray, want: np.ndarray) -> None:
        """Compares integers."""
        got, want = np.asarray(got), np.asarray(want)
        ok = got.shape == want.shape and bool((got == want).all())
        self.line(stage, "equal" if ok else "DIFFERS", "", ok)
        if not ok:
            print(f"    got {got.tolist()}\n    reference {want.tolist()}")

    def line(self, stage: str, value: str, limit: str, ok: bool) -> None:
        self.failures += not ok
        print(f"{stage:66} {value:>10} {limit:>8}  {'ok' if ok else 'FAILED'}")


def compare_images(golden: Golden, bundle: Bundle, report: Report) -> None:
    """pixel_values -> image_features, and golden image_features -> image_embeds."""
    for image in golden.images:
        values = {"pixel_values": golden.pixel_values(image)}
        connector = bundle.run_until("image_features", "encode_images", values)
        name = f"image_features.{image}"
        report.numbers(name, values["image_features"], golden.tensors[name])
        values["image_features"] = golden.tensors[name]
        bundle.run_steps(connector, values)
        name = f"image_embeds.{image}"
        report.numbers(name, values["image_embeds"], golden.tensors[name])


def compare_routers(golden: Golden, bundle: Bundle, report: Report, in_order: bool) -> None:
    """Probabilities and choices of every router of the tower and the connector.

    In f16, a token's experts may be in another order: their sum is the same.
    """
    compared = set()
    for image in golden.images:
        values = {"pixel_values": golden.pixel_values(image)}
        values = bundle.run("encode_images", values, extra="router.")
        for name in sorted(n for n in values if n.startswith("router.")):
            module, what = name.removeprefix("router.").rsplit(".", 1)
            want = golden.router(module, image, what)
            if want is None:
                continue
            compared.add((module, image, what))
            got = values[name].reshape(want.shape)
            if what == "experts" and not in_order:
                got, want = np.sort(got, -1), np.sort(want, -1)
            stage = f"{module.removeprefix('model.')} {what} {image}"
            (report.equal if what == "experts" else report.numbers)(stage, got, want)
    report.equal("routers compared", sorted(compared), sorted(golden.routers()))


def splice(golden: Golden, bundle: Bundle, prompt: dict) -> np.ndarray:
    """Embeddings of a prompt, [1, T, H] f32: text from the bundle, images from the goldens."""
    parts, images = [], iter(prompt["images"])
    for token in prompt["input_ids"]:
        if token == IMAGE_ID:
            parts.append(golden.tensors[f"image_embeds.{next(images)}"])
        else:
            parts.append(embed(bundle, [[token]]))
    return np.concatenate(parts, axis=1)


def embed(bundle: Bundle, ids: list[list[int]]) -> np.ndarray:
    values = {"input_ids": np.array(ids, np.int64)}
    return bundle.run("embed_tokens", values)["inputs_embeds"].astype(np.float32)


def decode(bundle: Bundle, cache: Cache, embeds: np.ndarray, past: int) -> np.ndarray:
    """Logits of new positions, [1, T, V], after `past` positions in the cache."""
    total = past + embeds.shape[1]
    values = {
        "inputs_embeds": embeds,
        "attention_mask": np.ones((1, total), np.int64),
        "position_ids": np.arange(past, total, dtype=np.int64)[None],
    }
    return bundle.run("decode", values, cache)["logits"]


def compare_prompt(golden: Golden, bundle: Bundle, report: Report, name: str) -> None:
    """Splicing, prefill, and 24 steps in the cache."""
    prompt = golden.prompts[name]
    stage = f"inputs_embeds.{name}"
    report.numbers(stage, splice(golden, bundle, prompt), golden.tensors[stage])
    embeds, tokens = golden.tensors[stage], prompt["greedy_tokens"]
    past = embeds.shape[1]
    cache = Cache(bundle, 1, past + len(tokens))
    logits = decode(bundle, cache, embeds, 0)
    report.numbers(f"logits.{name}", logits, golden.tensors[f"logits.{name}"])
    steps = [logits[:, -1:]]
    # Each step gets the reference's token: one wrong choice shows as one, not as 24.
    for token in tokens[:-1]:
        steps.append(decode(bundle, cache, embed(bundle, [[token]]), past))
        past += 1
    steps = np.concatenate(steps, axis=1)
    report.numbers(f"step_logits.{name}", steps, golden.tensors[f"step_logits.{name}"])
    report.equal(f"greedy_tokens.{name}", steps.astype(np.float32).argmax(-1)[0], tokens)


def compare_batch(golden: Golden, bundle: Bundle, report: Report) -> None:
    """Two prompts in one call, the shorter padded on the right; its padding rows mean nothing."""
    lengths = golden.batch_lengths
    longest = max(lengths)
    prompts = [golden.tensors[f"inputs_embeds.{name}"] for name in ("image_mid", "image_first")]
    embeds = [np.pad(p, ((0, 0), (0, longest - p.shape[1]), (0, 0))) for p in prompts]
    mask = np.array([[i < length for i in range(longest)] for length in lengths], np.int64)
    values = {
        "inputs_embeds": np.concatenate(embeds),
        "attention_mask": mask,
        "position_ids": np.arange(longest, dtype=np.int64)[None].repeat(2, 0),
    }
    logits = bundle.run("decode", values, Cache(bundle, 2, longest))["logits"]
    for row, length in enumerate(lengths):
        want = golden.tensors["logits.batch"][row, :length]
        report.numbers(f"logits.batch row {row}", logits[row, :length], want)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("golden", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--dtype", choices=["f32", "f16"], required=True)
    parser.add_argument("--routers", action="store_true", help="compare the routers' outputs alone")
    arguments = parser.parse_args()
    golden, bundle = Golden(arguments.golden), Bundle(arguments.bundle)
    report = Report(json.loads(TOLERANCES.read_text())[arguments.dtype])
    if arguments.routers:
        compare_routers(golden, bundle, report, in_order=arguments.dtype == "f32")
    else:
        compare_images(golden, bundle, report)
        for name in golden.prompts:
            compare_prompt(golden, bundle, report, name)
        if bundle.target == "onnx":
            compare_batch(golden, bundle, report)
    if report.failures:
        print(f"{report.failures} comparisons failed", file=sys.stderr)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
