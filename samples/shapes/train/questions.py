"""Questions about a scene, with their answers, in six categories; two more kinds, `where` and
`how big`, are asked in training only."""

from dataclasses import dataclass
import random

from scenes import COLOURS, PLACES, SHAPES, SIZES, Item

CATEGORIES = ["count", "colour", "position", "size", "relation", "describe"]


@dataclass(frozen=True)
class Question:
    category: str
    text: str
    answer: str


def _plural(shape):
    return "crosses" if shape == "cross" else shape + "s"


def _article(item):
    return "an" if item.colour == "orange" else "a"


def _unique(scene: list[Item]) -> list[Item]:
    """The items that a question may name: those whose colour no other has. A model of this size
    learns to look things up by colour, and not by colour and shape together."""
    colours = [item.colour for item in scene]
    return [item for item in scene if colours.count(item.colour) == 1]


def _count(scene):
    yield "How many shapes are there?", len(scene)
    for shape in SHAPES:
        yield f"How many {_plural(shape)} are there?", sum(i.shape == shape for i in scene)
    for colour in COLOURS:
        yield f"How many {colour} shapes are there?", sum(i.colour == colour for i in scene)
    for name in dict.fromkeys(i.name for i in scene):
        colour, shape = name.split()
        yield f"How many {colour} {_plural(shape)} are there?", sum(i.name == name for i in scene)


def _colour(scene):
    for item in scene:
        yield f"What colour is the shape at the {PLACES[item.place]}?", item.colour


def _position(scene):
    held = {item.place: item.shape for item in scene}
    for place, name in enumerate(PLACES):
        yield f"What shape is at the {name}?", held.get(place, "nothing")


def _size(scene):
    order = list(SIZES)
    for a in _unique(scene):
        for b in _unique(scene):
            if a.size != b.size:
                answer = "larger" if order.index(a.size) > order.index(b.size) else "smaller"
                yield f"Is the {a.name} larger or smaller than the {b.name}?", answer


def _relation(scene):
    for a in _unique(scene):
        for b in _unique(scene):
            if a.column != b.column:
                answer = "left" if a.column < b.column else "right"
                yield f"Is the {a.name} left or right of the {b.name}?", answer


def _describe(scene):
    parts = [f"{_article(item)} {item.name} at the {PLACES[item.place]}" for item in scene]
    listed = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
    yield "Describe the image.", listed.capitalize() + "."


def _where(scene):
    for item in _unique(scene):
        yield f"Where is the {item.name}?", PLACES[item.place]


def _how_big(scene):
    for item in _unique(scene):
        yield f"What size is the {item.name}?", item.size


_MAKERS = {
    "count": _count, "colour": _colour, "position": _position, "size": _size,
    "relation": _relation, "describe": _describe, "where": _where, "how big": _how_big,
}


def candidates(scene: list[Item], category: str) -> list[Question]:
    """Every question of the category that the scene answers."""
    return [Question(category, text, str(answer)) for text, answer in _MAKERS[category](scene)]


def ask(scene: list[Item], category: str, rng: random.Random) -> Question | None:
    """One question of the category; each answer that the scene offers is equally likely."""
    questions = candidates(scene, category)
    if not questions:
        return None
    answer = rng.choice(sorted({q.answer for q in questions}))
    return rng.choice([q for q in questions if q.answer == answer])


def training_questions(scene: list[Item], rng: random.Random, comparisons: bool) -> list[Question]:
    """A description and up to nine short questions. Comparisons (size, relation) wait until
    the things they compare can be told apart; then each is asked twice."""
    kinds = ["describe", "count", "count", "colour", "position", "where", "how big"]
    kinds += ["size", "size", "relation", "relation"] if comparisons else ["where", "where", "how big", "how big"]
    asked = (ask(scene, kind, rng) for kind in kinds)
    return list(dict.fromkeys(q for q in asked if q))


def held_out(scenes: list[list[Item]], per_category: int, rng: random.Random) -> list[tuple[int, Question]]:
    """`per_category` questions of each category as (scene number, question), answers in turn
    so that none is more frequent than it must be, no scene twice for the same answer while
    others can give it. Sorted by scene."""
    chosen = []
    for category in CATEGORIES:
        by_answer: dict[str, list] = {}
        for number, scene in enumerate(scenes):
            for question in candidates(scene, category):
                by_answer.setdefault(question.answer, []).append((rng.random(), number, question))
        if category == "describe":  # nearly every answer is its own; scenes not asked yet first
            asked = {number for number, _ in chosen}
            pool = [entry for entries in by_answer.values() for entry in entries]
            pool.sort(key=lambda e: (e[1] in asked, e[0]))
            chosen += [(number, q) for _, number, q in pool[:per_category]]
            continue
        used = [0] * len(scenes)
        taken = 0
        while taken < per_category:
            for answer in sorted(by_answer):
                entries = by_answer[answer]
                if not entries or taken == per_category:
                    continue
                entry = min(entries, key=lambda e: (used[e[1]], e[0]))
                entries.remove(entry)
                used[entry[1]] += 1
                chosen.append((entry[1], entry[2]))
                taken += 1
    return sorted(chosen, key=lambda c: (c[0], CATEGORIES.index(c[1].category)))
