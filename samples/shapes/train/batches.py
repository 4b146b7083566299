"""Training batches: an image and all its questions in one sequence.

A sequence is the template's beginning, the image's tokens, then one segment a question. A token
sees what comes before it in the common part and in its own segment, and each segment's positions
go on from the common part: packed, a question gives the same numbers as alone."""

import random

import numpy as np
import torch

from questions import training_questions
from scenes import cell_labels, draw, pixel_values, random_scene
from tokenizer import Tokenizer

IMAGE_TOKENS = 36
COMMON, PADDING = 0, -1
DESCRIPTION_WEIGHT = 0.5  # a token of a description, against 1 for one of a short answer


class Batch:
    """images: pixels [n, 3, 84, 84] or features [n, 36, channels]; cells [n, 9, 4]; ids [n, text] (the image's tokens left out);
    positions [n, t]; mask [n, 1, t, t] to add; labels and weights [n, t]: the id that follows a
    position (-100: not asked) and what it counts; segments [n, t]; kinds: the category of segment
    s of row r at [r][s - 1]."""

    def __init__(self, samples, tokenizer: Tokenizer):
        prefix = tokenizer.prefix()
        self.prefix = len(prefix)
        common = len(prefix) + IMAGE_TOKENS
        rows = []
        for _, _, asked in samples:
            ids, segments, positions = [], [COMMON] * common, list(range(common))
            labels, weights = [-100] * common, [0.0] * common
            for number, q in enumerate(asked, start=1):
                whole, question = tokenizer.exchange(q.text, q.answer)
                after = whole[1:] + [-100]
                ids += whole
                segments += [number] * len(whole)
                positions += range(common, common + len(whole))
                labels += [-100] * (question - 1) + after[question - 1 :]
                weights += [DESCRIPTION_WEIGHT if q.category == "describe" else 1.0] * len(whole)
            rows.append((ids, segments, positions, labels, weights))
        longest = max(len(row[1]) for row in rows)

        def table(column, fill, dtype, length=longest):
            return torch.tensor([r[column] + [fill] * (length - len(r[column])) for r in rows], dtype=dtype)

        self.kinds = [[q.category for q in asked] for _, _, asked in samples]
        self.images = torch.from_numpy(np.stack([image for image, _, _ in samples]))
        self.cells = torch.from_numpy(np.stack([cells for _, cells, _ in samples]))
        text = table(0, 0, torch.long, longest - common)
        self.ids = torch.cat([torch.tensor(prefix).expand(len(rows), -1), text], dim=1)
        self.segments = table(1, PADDING, torch.long)
        self.positions = table(2, 0, torch.long)
        self.labels = table(3, -100, torch.long)
        self.weights = table(4, 0.0, torch.float32)
        key, query = self.segments[:, None, :], self.segments[:, :, None]
        earlier = torch.ones(longest, longest, dtype=torch.bool).tril()
        seen = ((key == COMMON) | (key == query)) & earlier
        self.mask = torch.zeros(seen.shape).masked_fill(~seen, -1e9)[:, None]

    def embeds(self, model, image_embeds):
        """The sequence with the image's tokens in their place -> [n, t, hidden]."""
        text = model.model.embed_tokens(self.ids)
        return torch.cat([text[:, : self.prefix], image_embeds, text[:, self.prefix :]], dim=1)


def random_batch(images, tokenizer, rng: random.Random, comparisons=True) -> Batch:
    samples = []
    for _ in range(images):
        scene = random_scene(rng)
        pixels = pixel_values(draw(scene, rng))
        samples.append((pixels, cell_labels(scene), training_questions(scene, rng, comparisons)))
    return Batch(samples, tokenizer)


def random_images(images, rng: random.Random):
    """pixels [n, 3, 84, 84] and cells [n, 9, 4], without questions."""
    scenes = [random_scene(rng) for _ in range(images)]
    pixels = np.stack([pixel_values(draw(scene, rng)) for scene in scenes])
    return torch.from_numpy(pixels), torch.from_numpy(np.stack([cell_labels(s) for s in scenes]))
