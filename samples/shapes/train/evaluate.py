"""Asks a saved checkpoint the held-out questions: bf16 weights, computed in f32, greedy.

    python evaluate.py                       # ../checkpoint on ../questions.jsonl
    python evaluate.py --negate-gates        # every router's logits negated
    python evaluate.py --other-image         # each question on the next image: the blind figure
    python evaluate.py --answers answers.jsonl --json report.json
"""

import argparse
import json
from pathlib import Path
import time

from PIL import Image
import numpy as np
import torch

from moe import Router, routers
from questions import CATEGORIES
from save import load_checkpoint
from scenes import pixel_values
from tokenizer import EOS, Tokenizer

SAMPLE = Path(__file__).resolve().parent.parent
LONGEST_ANSWER = 128
ROWS = 64


def read_images(folder: Path, names):
    """-> [images, 3, 84, 84] f32"""
    return torch.from_numpy(np.stack([pixel_values(Image.open(folder / n)) for n in names]))


def embed_images(model, pixels):
    """-> image embeddings [images, tokens, hidden], and each layer's share of choices per expert."""
    parts, loads = [], {}
    for chunk in pixels.split(50):
        parts.append(model.image_embeds(chunk))
        for name, router in routers(model).items():
            counts = torch.bincount(router.chosen.flatten(), minlength=4)
            loads[name] = loads.get(name, 0) + counts
    return torch.cat(parts), {n: (c / c.sum()).tolist() for n, c in loads.items()}


def answer_batch(model, tokenizer, image_embeds, questions):
    """Greedy answers to questions of equal length, without a cache: [ids] a question."""
    embed = model.model.embed_tokens
    before = embed(torch.tensor(tokenizer.prefix())).expand(len(questions), -1, -1)
    x = torch.cat([before, image_embeds, embed(torch.tensor(questions))], dim=1)
    answers, alive = [[] for _ in questions], torch.arange(len(questions))
    for _ in range(LONGEST_ANSWER):
        n, t, _ = x.shape
        mask = torch.full((t, t), -torch.inf).triu(1)[None, None]
        hidden = model.hidden(x, torch.arange(t).expand(n, t), mask)
        ids = model.lm_head(hidden[:, -1]).argmax(-1)
        for row, i in zip(alive.tolist(), ids.tolist()):
            if i != EOS:
                answers[row].append(i)
        keep = ids != EOS
        if not keep.any():
            break
        x = torch.cat([x[keep], embed(ids[keep])[:, None]], dim=1)
        alive = alive[keep]
    return answers


@torch.no_grad()
def answer_all(model, tokenizer, image_embeds, asked):
    """asked: (row of image_embeds, text) -> the answers' texts in that order."""
    prompts = [tokenizer.question(text) for _, text in asked]
    by_length = {}
    for i, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt), []).append(i)
    answers = [""] * len(asked)
    for group in by_length.values():
        for first in range(0, len(group), ROWS):
            rows = group[first : first + ROWS]
            images = image_embeds[[asked[i][0] for i in rows]]
            for i, ids in zip(rows, answer_batch(model, tokenizer, images, [prompts[i] for i in rows])):
                answers[i] = tokenizer.decode(ids)
    return answers


def accuracies(lines, answers):
    """Per cent of exact answers, overall and by category."""
    right = [a == line["answer"] for a, line in zip(answers, lines)]
    table = {"all": 100 * sum(right) / len(right)}
    for category in CATEGORIES:
        own = [r for r, line in zip(right, lines) if line["category"] == category]
        if own:
            table[category] = 100 * sum(own) / len(own)
    return table


@torch.no_grad()
def evaluate(checkpoint, questions, images, negate_gates=False, other_image=False):
    """-> questions, answers, accuracy table, load per router."""
    model, tokenizer = load_checkpoint(checkpoint), Tokenizer(checkpoint / "tokenizer.model")
    for module in model.modules():
        if isinstance(module, Router):
            module.negate = negate_gates
    lines = [json.loads(line) for line in questions.read_text().splitlines()]
    names = sorted({line["image"] for line in lines})
    embeds, loads = embed_images(model, read_images(images, names))
    shift = 1 if other_image else 0
    row = {name: (i + shift) % len(names) for i, name in enumerate(names)}
    answers = answer_all(model, tokenizer, embeds, [(row[line["image"]], line["text"]) for line in lines])
    return lines, answers, accuracies(lines, answers), loads


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=SAMPLE / "checkpoint")
    parser.add_argument("--questions", type=Path, default=SAMPLE / "questions.jsonl")
    parser.add_argument("--images", type=Path, default=SAMPLE / "images")
    parser.add_argument("--negate-gates", action="store_true")
    parser.add_argument("--other-image", action="store_true")
    parser.add_argument("--answers", type=Path, help="write the answers here, JSONL")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    start = time.time()
    lines, answers, table, loads = evaluate(
        args.checkpoint, args.questions, args.images, args.negate_gates, args.other_image
    )
    if args.answers:
        with args.answers.open("w") as file:
            for line, text in zip(lines, answers):
                row = {"question_id": line["question_id"], "prompt": line["text"], "text": text}
                file.write(json.dumps(row | {"answer": line["answer"], "category": line["category"]}) + "\n")
    if args.json:
        args.json.write_text(json.dumps({"accuracy": table, "load": loads}, indent=2) + "\n")
    for name, value in table.items():
        print(f"{name:9} {value:6.2f} %")
    for name, shares in loads.items():
        print(f"{name.removeprefix('model.'):48} load " + " ".join(f"{s:.2f}" for s in shares))
    print(f"{len(lines)} questions in {time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
