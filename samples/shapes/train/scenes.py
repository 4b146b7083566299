"""Scenes: 1 to 6 coloured shapes on a 3 x 3 grid of places, and their pictures.

A picture is drawn at 168 x 168. What the model sees is that picture reduced to 84 x 84 by
CLIP's preprocessing (PIL bicubic, / 255, mean and std), in training as in evaluation.
"""

from dataclasses import dataclass
import math
import random

import numpy as np
from PIL import Image, ImageDraw

SHAPES = ["circle", "square", "triangle", "star", "cross"]
COLOURS = {
    "red": (214, 39, 40),
    "green": (44, 150, 60),
    "blue": (40, 80, 200),
    "yellow": (240, 205, 40),
    "purple": (140, 60, 170),
    "orange": (245, 130, 30),
}
# Half extent in pixels of the drawn picture, smallest and largest of each size.
SIZES = {"small": (10, 11), "medium": (16, 18), "large": (24, 26)}
PLACES = [
    "top left", "top middle", "top right",
    "middle left", "centre", "middle right",
    "bottom left", "bottom middle", "bottom right",
]

DRAWN = 168  # pixels a side of the picture on disk
CELL = DRAWN // 3
IMAGE = 84  # pixels a side that the model sees
MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]


@dataclass(frozen=True)
class Item:
    """One shape; `place` counts the grid's cells in reading order."""

    place: int
    shape: str
    colour: str
    size: str

    @property
    def column(self):
        return self.place % 3

    @property
    def name(self):
        return f"{self.colour} {self.shape}"


def random_scene(rng: random.Random) -> list[Item]:
    """A scene in reading order. Half of the scenes draw from one or two shapes or colours:
    otherwise counts above 1 would be rare."""
    shapes, colours = SHAPES, list(COLOURS)
    kind = rng.random()
    if kind < 0.25:
        shapes = rng.sample(shapes, rng.choice([1, 2]))
    elif kind < 0.5:
        colours = rng.sample(colours, rng.choice([1, 2]))
    places = sorted(rng.sample(range(9), rng.randint(1, 6)))
    return [Item(p, rng.choice(shapes), rng.choice(colours), rng.choice(list(SIZES))) for p in places]


def _star(x, y, r):
    points = []
    for i in range(10):
        angle = -math.pi / 2 + i * math.pi / 5
        radius = r * (1.1 if i % 2 == 0 else 0.45)
        points.append((x + radius * math.cos(angle), y + radius * math.sin(angle)))
    return points


def draw(scene: list[Item], rng: random.Random) -> Image.Image:
    """The scene as an RGB picture of 168 x 168. `rng` gives what no question asks for: the
    ground's shade, a small change of each colour, and where in its cell a shape lies."""
    ground = rng.randint(215, 250)
    image = Image.new("RGB", (DRAWN, DRAWN), tuple(ground + rng.randint(-5, 5) for _ in range(3)))
    pen = ImageDraw.Draw(image)
    for item in scene:
        r = rng.randint(*SIZES[item.size])
        slack = min(27 - r, 8)
        x = item.column * CELL + CELL // 2 + rng.randint(-slack, slack)
        y = item.place // 3 * CELL + CELL // 2 + rng.randint(-slack, slack)
        fill = tuple(min(255, max(0, c + rng.randint(-10, 10))) for c in COLOURS[item.colour])
        if item.shape == "circle":
            pen.ellipse([x - r, y - r, x + r, y + r], fill=fill)
        elif item.shape == "square":
            s = round(0.88 * r)
            pen.rectangle([x - s, y - s, x + s, y + s], fill=fill)
        elif item.shape == "triangle":
            pen.polygon([(x, y - r), (x + r, y + 0.85 * r), (x - r, y + 0.85 * r)], fill=fill)
        elif item.shape == "star":
            pen.polygon(_star(x, y, r), fill=fill)
        else:
            arm = round(0.36 * r)
            pen.rectangle([x - r, y - arm, x + r, y + arm], fill=fill)
            pen.rectangle([x - arm, y - r, x + arm, y + r], fill=fill)
    return image


def pixel_values(image: Image.Image) -> np.ndarray:
    """CLIP's preprocessing of a square picture -> [3, 84, 84] f32."""
    small = image.convert("RGB").resize((IMAGE, IMAGE), Image.Resampling.BICUBIC)
    values = (np.asarray(small, np.float32) / 255.0 - np.float32(MEAN)) / np.float32(STD)
    return values.transpose(2, 0, 1)


def cell_labels(scene: list[Item]) -> np.ndarray:
    """What lies in each cell -> [9, 4] i64: shape (0: nothing), colour, size (-100: nothing), place."""
    labels = np.full((9, 4), -100, np.int64)
    labels[:, 0] = 0
    labels[:, 3] = np.arange(9)
    for item in scene:
        labels[item.place, :3] = (
            1 + SHAPES.index(item.shape),
            list(COLOURS).index(item.colour),
            list(SIZES).index(item.size),
        )
    return labels
