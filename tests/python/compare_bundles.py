"""Compares two bundles of one checkpoint, stage by stage, on an image and ids that are drawn.

    python compare_bundles.py REFERENCE BUNDLE [--dtype f16] [--steps 24] [--ids 40] [--first-rung]

For models that are too large to have goldens: one bundle is f32 for `onnx`, the other what is to be
checked; both have --debug-outputs. Each stage of both gets the same input, the reference's. Of
thousands of tokens, some have experts that are as good as equal, and rounding decides between them:
so a choice may differ where the reference's probabilities differ by less than the tolerance `tie`,
and the stages are compared with the reference's choices given to both. `--first-rung` draws so many
ids that the decoded tokens pass the first rung of the ladder of cache lengths.
"""

import argparse
import json
from pathlib import Path
import sys

import numpy as np

from bundle import Bundle, Cache

TOLERANCES = json.loads((Path(__file__).parent.parent / "tolerances.json").read_text())

ROUTER = "router."


class Model:
    """A bundle with a cache of its own."""

    def __init__(self, folder: Path, positions: int, given_choices: bool = False):
        self.bundle = Bundle(folder, given_choices)
        self.cache = Cache(self.bundle, 1, positions)

    def images(self, pixels, given=None):
        """Values of `pixels` [1, 3, size, size]; the connector is given the features of `given`."""
        values = {"pixel_values": pixels, **choices(given or {})}
        connector = self.bundle.run_until("image_features", "encode_images", values, ROUTER)
        features = values["image_features"]
        if given:
            values["image_features"] = given["image_features"]
        self.bundle.run_steps(connector, values, ROUTER)
        return {**values, "image_features": features}

    def embeds(self, ids):
        """[1, ids, hidden] of ids."""
        values = self.bundle.run("embed_tokens", {"input_ids": np.array([ids], np.int64)})
        return values["inputs_embeds"]

    def decode(self, embeds, past: int, given=None):
        """Values of a pass; `logits` of its last position is [vocab]."""
        sequence = embeds.shape[1]
        values = {
            "inputs_embeds": embeds,
            "attention_mask": np.ones((1, past + sequence), np.int64),
            "position_ids": np.arange(past, past + sequence, dtype=np.int64)[None],
            **choices(given or {}),
        }
        values = self.bundle.run("decode", values, self.cache, ROUTER)
        return {**values, "logits": values["logits"][0, -1]}


def difference(stage, reference, got, limit) -> bool:
    """Prints and says whether a stage is within the limit; NaN is not. A row is a token."""
    reference, got = reference.astype(np.float64), got.astype(np.float64)
    errors = np.abs(reference - got).max(-1).reshape(-1) / np.abs(reference).max()
    error, good = errors.max(), bool((errors <= limit).all())
    over = f"{'ok' if good else 'FAILED'}, {(~(errors <= limit)).sum()} of {errors.size} rows over"
    print(f"{stage:24} {error:9.1e} median {np.median(errors):.1e} {limit:9.0e}  {over}", flush=True)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--dtype", default="f16", choices=["f32", "f16"])
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--ids", type=int, default=40)
    parser.add_argument("--first-rung", action="store_true")
    args = parser.parse_args()
    limits, rng = (TOLERANCES[args.dtype], TOLERANCES["tie"]), np.random.default_rng(7)
    facts = json.loads((args.bundle / "manifest.json").read_text())
    rungs, image_tokens = facts["plan"].get("attended", []), facts["model"]["vision"]["image_tokens"]
    ids = args.ids
    if args.first_rung:
        rung = min(r for r in rungs if r > image_tokens + args.steps)
        ids = rung - image_tokens - args.steps // 2
        print(f"prompt of {image_tokens + ids} positions, rung {rung} is passed while decoding")
    positions = image_tokens + ids + args.steps
    models = [Model(args.reference, positions), Model(args.bundle, positions, given_choices=True)]
    models.append(Model(args.bundle, 1))  # for its own choices
    size = facts["model"]["image"]["size"]
    pixels = rng.normal(size=(1, 3, size, size)).astype(np.float32)
    return int(not compare(models, rng, (pixels, ids, args.steps, limits)))


def choices(values) -> dict:
    """Choices of every router that has run."""
    return {name: values[name] for name in values if is_choice(name)}


def is_choice(name: str) -> bool:
    return name.startswith(ROUTER) and name.endswith(".experts")


def ties(want, got, limit) -> bool:
    """Prints and says whether choices differ only where the reference's are as good as equal."""
    good = True
    for name in filter(is_choice, want):
        chosen, own = np.sort(want[name], -1), np.sort(got[name], -1)
        count, probs = chosen.shape[-1], np.sort(want[name.removesuffix("experts") + "probs"], -1)
        differ = (chosen != own).any(-1)
        worst = 0.0
        if differ.any():
            # Between the worst of those that were chosen and the best of the others.
            worst = float((probs[..., -count] - probs[..., -count - 1])[differ].max())
        within = worst <= limit
        good &= within
        module = name.removeprefix(ROUTER).removesuffix(".experts")
        print(f"{module}: {differ.sum()} of {differ.size} choices differ, by", end=" ")
        print(f"{worst:.1e} {limit:.0e}  {'ok' if within else 'FAILED'}", flush=True)
    return good


def compare(models, rng, run) -> bool:
    """Every stage; greedy tokens of the reference are fed to all."""
    reference, model, chooser = models
    pixels, ids, steps, (limit, tie) = run
    want = reference.images(pixels)
    got = model.images(pixels, want)
    good = difference("image_features", want["image_features"], got["image_features"], limit)
    good &= difference("image_embeds", want["image_embeds"], got["image_embeds"], limit)
    good &= ties(want, chooser.images(pixels), tie)
    for each in models:
        each.bundle.forget()
    vocab = reference.bundle.manifest["model"]["llm"]["vocab_size"]
    text = reference.embeds(rng.integers(3, vocab, ids).tolist())
    embeds = want["image_embeds"]
    pieces = np.concatenate([text[:, : ids // 2], embeds, text[:, ids // 2 :]], axis=1)
    past, equal = 0, 0
    for step in range(steps + 1):
        want = reference.decode(pieces, past)
        got = model.decode(pieces, past, want)
        good &= difference(f"logits.{step}", want["logits"], got["logits"], limit)
        token = int(want["logits"].argmax())
        equal += int(token == got["logits"].argmax())
        past += pieces.shape[1]
        pieces = reference.embeds([token])
    print(f"greedy tokens equal: {equal} of {steps + 1}")
    return good and equal == steps + 1


if __name__ == "__main__":
    sys.exit(main())
