"""Trains the sample in three stages and saves each: tower, dense, moe.

    python train.py --work /tmp/shapes            # all three, then ../checkpoint
    python train.py --work /tmp/shapes --only moe # one of them, from the stage before

Two processes share each step's images and average their gradients: on two cores that is faster
than two threads."""

import argparse
from collections import Counter
from dataclasses import dataclass
import math
from pathlib import Path
import random
import time

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F

from batches import Batch, random_batch, random_images
from cells import CellHead, cell_loss
from losses import BALANCE_WEIGHT, Z_WEIGHT
from model import CuMo, initialise
from moe import routers
from questions import training_questions
from save import save_checkpoint
from scenes import cell_labels, draw, pixel_values, random_scene
from tokenizer import Tokenizer, train_vocabulary
from upcycle import upcycle

WORKERS = 2


@dataclass
class Stage:
    """Ends after `steps`, or `seconds` where they are given and pass first; the schedules follow
    the larger of the two shares done."""

    name: str
    steps: int
    images: int  # a step, all workers together
    rate: float
    cell_weight: float
    warmup: float = 0.03  # share of the stage
    comparisons_from: float = 0.0  # share of the stage before size and relation are asked
    seconds: float = math.inf


STAGES = [
    Stage("tower", steps=1200, images=32, rate=2e-3, cell_weight=1.0),
    Stage("dense", steps=9000, images=8, rate=1.5e-3, cell_weight=0.0, comparisons_from=0.3),
    Stage("moe", steps=1800, images=16, rate=8e-4, cell_weight=0.3),
]
POOL = 3000  # images a worker whose features the dense stage computes once, the tower being frozen
NOISE = 0.4  # on the upcycled copies, in units of each matrix's standard deviation


def rate_at(stage: Stage, done: float) -> float:
    """The rate when a share of the stage is done: linear warm-up, then a cosine down to 1 %."""
    if done < stage.warmup:
        return stage.rate * max(done, 1e-3) / stage.warmup
    falling = (done - stage.warmup) / (1 - stage.warmup)
    return stage.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * falling)))


def answer_loss(model, batch, image_embeds):
    """Cross-entropy of the answers' ids, and by category (answers without a fault, answers)."""
    hidden = model.hidden(batch.embeds(model, image_embeds), batch.positions, batch.mask)
    asked = batch.labels != -100
    logits = model.lm_head(hidden[asked]).float()
    labels, weights = batch.labels[asked], batch.weights[asked]
    loss = (F.cross_entropy(logits, labels, reduction="none") * weights).sum() / weights.sum()
    rows = torch.arange(len(asked))[:, None].expand_as(asked)[asked]
    wrong = logits.argmax(-1) != labels
    faults = set(zip(rows[wrong].tolist(), batch.segments[asked][wrong].tolist()))
    exact = Counter(), Counter()
    for row, kinds in enumerate(batch.kinds):
        for segment, kind in enumerate(kinds, start=1):
            exact[0][kind] += (row, segment) not in faults
            exact[1][kind] += 1
    return loss, exact


def feature_pool(model, rng):
    """(features [36, channels], scene) of POOL random scenes."""
    pool = []
    for _ in range(POOL // 50):
        scenes = [random_scene(rng) for _ in range(50)]
        pixels = torch.from_numpy(np.stack([pixel_values(draw(s, rng)) for s in scenes]))
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            pool += zip(model.image_features(pixels).numpy(), scenes)
    return pool


def tower_losses(model, head, images, rng):
    """The tower alone: its features must tell what lies where."""
    pixels, cells = random_images(images, rng)
    loss, right = cell_loss(head(model.image_features(pixels)), cells)
    return loss, Counter(loss=loss.item(), cells=right), None


def dense_losses(model, pool, tokenizer, images, rng, comparisons):
    """Connector and language model on the frozen tower's features."""
    chosen = rng.sample(pool, images)
    asked = [(f, cell_labels(s), training_questions(s, rng, comparisons)) for f, s in chosen]
    batch = Batch(asked, tokenizer)
    loss, exact = answer_loss(model, batch, model.model.mm_projector(batch.images))
    return loss, Counter(loss=loss.item()), exact


def moe_losses(model, head, tokenizer, images, rng, cell_weight):
    """Everything, on fresh images, with the routers' losses."""
    batch = random_batch(images, tokenizer, rng)
    features = model.image_features(batch.images)
    named, right = cell_loss(head(features), batch.cells)
    loss, exact = answer_loss(model, batch, model.model.mm_projector(features))
    all_routers = list(routers(model).values())
    balance = sum(r.balance for r in all_routers) / len(all_routers)
    z = sum(r.z for r in all_routers) / len(all_routers)
    figures = Counter(loss=loss.item(), cells=right, balance=balance.item(), z=z.item())
    loss = loss + cell_weight * named + BALANCE_WEIGHT * balance + Z_WEIGHT * z
    return loss, figures, exact


def per_cent(exact):
    """By category, of (answers without a fault, answers)."""
    right, asked = exact
    return "  ".join(f"{kind} {100 * right[kind] / asked[kind]:.1f}" for kind in sorted(asked))


@torch.no_grad()
def validate(model, tokenizer, negate_gates=False):
    """Per cent of questions answered without a fault on 64 scenes of their own seed."""
    rng, right, asked = random.Random("validation"), Counter(), Counter()
    for router in routers(model).values():
        router.negate = negate_gates
    for _ in range(4):
        batch = random_batch(16, tokenizer, rng)
        exact = answer_loss(model, batch, model.image_embeds(batch.images))[1]
        right, asked = right + exact[0], asked + exact[1]
    for router in routers(model).values():
        router.negate = False
    return 100 * right.total() / asked.total()


def average_gradients(parameters):
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])
    dist.all_reduce(flat)
    flat /= WORKERS
    for p, part in zip(parameters, flat.split([p.numel() for p in parameters])):
        p.grad = part.view_as(p)


def optimiser_for(stage, model, head):
    """AdamW over what the stage trains; weight decay on matrices only. The tower's last layer
    takes no part in the model and stays as it is."""
    unused = f"encoder.layers.{len(model.tower().encoder.layers) - 1}."
    named = {n: p for n, p in model.named_parameters() if unused not in n}
    tower = [p for n, p in named.items() if "vision_tower" in n]
    rest = [p for n, p in named.items() if "vision_tower" not in n]
    parameters = {
        "tower": tower + list(head.parameters()),
        "dense": rest,
        "moe": tower + rest + list(head.parameters()),
    }[stage.name]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.05},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=stage.rate, betas=(0.9, 0.99), fused=True), parameters


def share_done(stage, step, start, rank):
    """Of the stage, the same on every worker: the first one's clock counts."""
    done = torch.tensor([max(step / stage.steps, (time.time() - start) / stage.seconds)])
    dist.broadcast(done, 0)
    return done.item()


def run_stage(stage, model, head, tokenizer, rank, args):
    optimiser, parameters = optimiser_for(stage, model, head)
    rng = random.Random(f"{args.seed} {stage.name} {rank}")
    images = stage.images // WORKERS
    pool = feature_pool(model, rng) if stage.name == "dense" else None
    start, step, done = time.time(), 0, 0.0
    sums, exact = Counter(), (Counter(), Counter())
    while done < 1:
        for group in optimiser.param_groups:
            group["lr"] = rate_at(stage, done)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            if stage.name == "tower":
                loss, figures, answered = tower_losses(model, head, images, rng)
            elif stage.name == "dense":
                comparisons = done >= stage.comparisons_from
                loss, figures, answered = dense_losses(model, pool, tokenizer, images, rng, comparisons)
            else:
                loss, figures, answered = moe_losses(model, head, tokenizer, images, rng, stage.cell_weight)
        loss.backward()
        average_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        step, done = step + 1, share_done(stage, step + 1, start, rank)
        sums.update(figures)
        for total, new in zip(exact, answered or ()):
            total.update(new)
        if rank == 0 and step % 100 == 0:
            means = "  ".join(f"{n} {v / 100:.4f}" for n, v in sums.items())
            print(f"{stage.name} {step}  {time.time() - start:.0f} s  {means}  {per_cent(exact)}", flush=True)
        if step % 100 == 0:
            sums, exact = Counter(), (Counter(), Counter())
        if rank == 0 and stage.name != "tower" and step % 500 == 0:
            line = f"validation {validate(model, tokenizer):.1f}"
            if stage.name == "moe":
                line += f"  gates negated {validate(model, tokenizer, negate_gates=True):.1f}"
            print(line, flush=True)
            save_state(stage, model, head, args)
    if rank == 0:
        print(f"{stage.name} ends after {step} steps, {time.time() - start:.0f} s", flush=True)
        save_state(stage, model, head, args)


def save_state(stage, model, head, args):
    state = {"model": model.state_dict(), "head": head.state_dict()}
    torch.save(state, args.work / f"{stage.name}.pt")


def worker(rank, args):
    torch.set_num_threads(1)
    store = f"file://{args.work}/rendezvous-{args.stamp}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=WORKERS)
    tokenizer = Tokenizer(args.work / "tokenizer.model")
    torch.manual_seed(args.seed)
    model, head = CuMo(experts=0), CellHead()
    initialise(model)
    chosen = [s for s in STAGES if args.only in (None, s.name)]
    before = STAGES.index(chosen[0]) - (not args.again)
    if before >= 0:
        saved = torch.load(args.work / f"{STAGES[before].name}.pt")
        model.load_state_dict(saved["model"])
        head.load_state_dict(saved["head"])
    for stage in chosen:
        if stage.name == "moe":
            model = upcycle(model, experts=4, noise=args.noise, seed=args.seed)
        stage.seconds = args.seconds or stage.seconds
        run_stage(stage, model, head, tokenizer, rank, args)
    if rank == 0 and chosen[-1].name == "moe":
        save_checkpoint(model, args.work / "tokenizer.model", args.out)
        print(f"saved {args.out}", flush=True)
    dist.barrier()
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the stages' states")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "checkpoint")
    parser.add_argument("--only", choices=[s.name for s in STAGES])
    parser.add_argument("--again", action="store_true", help="start from the stage's own state")
    parser.add_argument("--seconds", type=int, help="at most, for each stage")
    parser.add_argument("--noise", type=float, default=NOISE)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    args.stamp = time.time_ns()
    if not (args.work / "tokenizer.model").exists():
        train_vocabulary(args.work / "tokenizer.model")
    torch.multiprocessing.spawn(worker, (args,), nprocs=WORKERS)


if __name__ == "__main__":
    main()
