"""Compares two bundles of one checkpoint, stage by stage, on an image and ids that are drawn.

    python compare_bundles.py REFERENCE BUNDLE [--dtype f16] [--steps 24] [--ids 40] [--first-rung]

For models that are too large to have goldens: one bundle is f32 for `onnx`, the other what is to be
checked. Each stage of both gets the same input, the reference's. `--first-rung` draws so many ids
that the decoded tokens pass the first rung of the ladder of cache lengths.
"""

import argparse
import json
from pathlib import Path
import sys

import numpy as np

from bundle import Bundle, Cache

TOLERANCES = json.loads((Path(__file__).parent.parent / "tolerances.json").read_text())


class Model:
    """A bundle with a cache of its own."""

    def __init__(self, folder: Path, positions: int):
        self.bundle = Bundle(folder)
        self.cache = Cache(self.bundle, 1, positions)

    def images(self, pixels):
        """(image_features, image_embeds) of `pixels` [1, 3, size, size]."""
        values = self.bundle.run("encode_images", {"pixel_values": pixels})
        return values["image_features"], values["image_embeds"]

    def embeds(self, ids):
        """[1, ids, hidden] of ids."""
        values = self.bundle.run("embed_tokens", {"input_ids": np.array([ids], np.int64)})
        return values["inputs_embeds"]

    def logits(self, embeds, past: int):
        """[vocab] of the last position."""
        sequence = embeds.shape[1]
        values = {
            "inputs_embeds": embeds,
            "attention_mask": np.ones((1, past + sequence), np.int64),
            "position_ids": np.arange(past, past + sequence, dtype=np.int64)[None],
        }
        return self.bundle.run("decode", values, self.cache)["logits"][0, -1]


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
    limit, rng = TOLERANCES[args.dtype], np.random.default_rng(7)
    facts = json.loads((args.bundle / "manifest.json").read_text())
    rungs, image_tokens = facts["plan"].get("attended", []), facts["model"]["vision"]["image_tokens"]
    ids = args.ids
    if args.first_rung:
        rung = min(r for r in rungs if r > image_tokens + args.steps)
        ids = rung - image_tokens - args.steps // 2
        print(f"prompt of {image_tokens + ids} positions, rung {rung} is passed while decoding")
    positions = image_tokens + ids + args.steps
    reference, model = Model(args.reference, positions), Model(args.bundle, positions)
    size = facts["model"]["image"]["size"]
    pixels = rng.normal(size=(1, 3, size, size)).astype(np.float32)
    return int(not compare(reference, model, rng, (pixels, ids, args.steps, limit)))


def compare(reference, model, rng, run) -> bool:
    """Every stage; greedy tokens of the reference are fed to both."""
    pixels, ids, steps, limit = run
    (features, embeds), ours = reference.images(pixels), model.images(pixels)
    good = difference("image_features", features, ours[0], limit)
    good &= difference("image_embeds", embeds, ours[1], limit)
    vocab = reference.bundle.manifest["model"]["llm"]["vocab_size"]
    text = reference.embeds(rng.integers(3, vocab, ids).tolist())
    prompt = np.concatenate([text[:, : ids // 2], embeds, text[:, ids // 2 :]], axis=1)
    past, pieces, equal = 0, prompt, 0
    for step in range(steps + 1):
        want, got = reference.logits(pieces, past), model.logits(pieces, past)
        good &= difference(f"logits.{step}", want, got, limit)
        equal += int(want.argmax() == got.argmax())
        past += pieces.shape[1]
        pieces = reference.embeds([int(want.argmax())])
    print(f"greedy tokens equal: {equal} of {steps + 1}")
    return good and equal == steps + 1


if __name__ == "__main__":
    sys.exit(main())
