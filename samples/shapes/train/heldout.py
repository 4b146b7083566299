"""Draws the held-out images and asks their questions.

    python heldout.py      # ../images/*.png and ../questions.jsonl

Training draws its scenes and its pictures from other seeds."""

import argparse
import json
from pathlib import Path
import random

from questions import held_out
from scenes import draw, random_scene

SAMPLE = Path(__file__).resolve().parent.parent
IMAGES, PER_CATEGORY, SEED = 300, 250, 20240509


def scenes():
    """300 different scenes."""
    rng, found = random.Random(SEED), []
    while len(found) < IMAGES:
        scene = random_scene(rng)
        if scene not in found:
            found.append(scene)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=SAMPLE)
    args = parser.parse_args()
    (args.out / "images").mkdir(parents=True, exist_ok=True)
    all_scenes = scenes()
    for number, scene in enumerate(all_scenes):
        image = draw(scene, random.Random(f"{SEED} {number}"))
        image.save(args.out / "images" / f"{number:03}.png", optimize=True)
    with (args.out / "questions.jsonl").open("w") as file:
        for i, (number, q) in enumerate(held_out(all_scenes, PER_CATEGORY, random.Random(SEED))):
            line = {"question_id": i, "image": f"{number:03}.png", "text": q.text}
            file.write(json.dumps(line | {"answer": q.answer, "category": q.category}) + "\n")


if __name__ == "__main__":
    main()
