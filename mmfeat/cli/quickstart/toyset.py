"""A generated dataset that neither modality can answer alone.

The picture shows two coloured shapes, the text asks for the colour of one of them. Who sees the
picture only can do no better than to pick one of the two colours; who reads the text only can do
no better than to pick any colour. Five records are damaged on purpose, as real ones are.
"""

import csv
import random
from pathlib import Path

from PIL import Image, ImageDraw

COLOURS = {
    "red": (214, 40, 40),
    "green": (56, 142, 60),
    "blue": (33, 97, 214),
    "yellow": (250, 204, 21),
}

QUESTIONS = (
    "the {side} one",
    "{side} shape?",
    "which colour is {side}?",
    "on the {side}",
    "{side}, please",
)

SIZE = 64
"""Pixels a side."""


def make_toyset(folder: Path, *, records: int = 2400, seed: int = 0) -> Path:
    """Write pictures and a table; returns the table's path.

    Args:
        folder: where `pictures/` and `toyset.csv` go.
        records: undamaged records; two thirds train, one sixth validation, one sixth test.
        seed: the same seed gives the same files.
    """
    draw = random.Random(seed)  # noqa: S311 - a toy dataset, no secret
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(records):
        left, right = draw.sample(sorted(COLOURS), 2)
        side = draw.choice(["left", "right"])
        name = f"pictures/{number:05d}.png"
        _picture(draw, left, right).save(folder / name)
        split = ("train", "train", "train", "train", "val", "test")[number % 6]
        question = draw.choice(QUESTIONS).format(side=side)
        rows.append((name, question, left if side == "left" else right, split))
    rows += _damaged(folder)
    table = folder / "toyset.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("file_name", "text", "label", "split"))
        writer.writerows(rows)
    return table


def _picture(draw: random.Random, left: str, right: str) -> Image.Image:
    image = Image.new("RGB", (SIZE, SIZE), (draw.randrange(225, 256),) * 3)
    canvas = ImageDraw.Draw(image)
    for centre, colour in ((SIZE // 4, left), (3 * SIZE // 4, right)):
        x, y = centre + draw.randint(-3, 3), SIZE // 2 + draw.randint(-12, 12)
        radius = draw.randint(8, 12)
        shade = tuple(max(0, min(255, part + draw.randint(-14, 14))) for part in COLOURS[colour])
        box = (x - radius, y - radius, x + radius, y + radius)
        shape = draw.choice(["circle", "square", "triangle"])
        if shape == "circle":
            canvas.ellipse(box, fill=shade)
        elif shape == "square":
            canvas.rectangle(box, fill=shade)
        else:
            canvas.regular_polygon((x, y, radius + 2), 3, fill=shade)
    return image


def _damaged(folder: Path) -> list[tuple[str, str, str, str]]:
    """Records as they come in real life: two stay with one modality, one has nothing usable."""
    whole = (folder / "pictures/00000.png").read_bytes()
    (folder / "pictures/cut_off.png").write_bytes(whole[: len(whole) // 2])
    (folder / "pictures/not_a_picture.png").write_text("<html>404</html>", encoding="utf-8")
    question = QUESTIONS[0].format(side="left")
    return [
        ("pictures/cut_off.png", question, "red", "train"),
        ("pictures/not_a_picture.png", question, "blue", "train"),
        ("pictures/never_uploaded.png", question, "green", "train"),
        ("pictures/00001.png", "", "", "train"),
        ("pictures/gone.png", "", "", "train"),
    ]
