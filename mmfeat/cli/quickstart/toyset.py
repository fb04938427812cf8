"""Generate a dataset that no single modality can answer.

The picture shows two coloured shapes, and the text asks for the colour of one of them. From the
picture alone, a model can only guess one of the two colours; from the text alone, any colour. Five
records are damaged on purpose, as in real data.
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

DAMAGED_RECORDS = 5
"""Records that are added to the intact ones."""

SIZE = 64
"""Width and height of a picture in pixels."""


def make_toyset(folder: Path, *, records: int = 2400, seed: int = 0) -> Path:
    """Write pictures and a table, and return the path of the table.

    Args:
        folder: output folder of `pictures/` and `toyset.csv`.
        records: number of intact records: 2/3 for training, 1/6 for validation, 1/6 for test.
        seed: the same seed gives the same files.
    """
    rng = random.Random(seed)  # noqa: S311 - not a secret
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(records):
        left, right = rng.sample(sorted(COLOURS), 2)
        side = rng.choice(["left", "right"])
        name = f"pictures/{number:05d}.png"
        _draw_shapes(rng, left, right).save(folder / name)
        split = ("train", "train", "train", "train", "val", "test")[number % 6]
        question = rng.choice(QUESTIONS).format(side=side)
        rows.append((name, question, left if side == "left" else right, split))
    rows += _write_damaged(folder)
    table = folder / "toyset.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("file_name", "text", "label", "split"))
        writer.writerows(rows)
    return table


def _draw_shapes(rng: random.Random, left: str, right: str) -> Image.Image:
    image = Image.new("RGB", (SIZE, SIZE), (rng.randrange(225, 256),) * 3)
    canvas = ImageDraw.Draw(image)
    for center, colour in ((SIZE // 4, left), (3 * SIZE // 4, right)):
        x, y = center + rng.randint(-3, 3), SIZE // 2 + rng.randint(-12, 12)
        radius = rng.randint(8, 12)
        shade = tuple(max(0, min(255, part + rng.randint(-14, 14))) for part in COLOURS[colour])
        box = (x - radius, y - radius, x + radius, y + radius)
        shape = rng.choice(["circle", "square", "triangle"])
        if shape == "circle":
            canvas.ellipse(box, fill=shade)
        elif shape == "square":
            canvas.rectangle(box, fill=shade)
        else:
            canvas.regular_polygon((x, y, radius + 2), 3, fill=shade)
    return image


def _write_damaged(folder: Path) -> list[tuple[str, str, str, str]]:
    """Write damaged pictures and return their rows. Some records keep one usable modality."""
    intact = (folder / "pictures/00000.png").read_bytes()
    (folder / "pictures/cut_off.png").write_bytes(intact[: len(intact) // 2])
    (folder / "pictures/not_a_picture.png").write_text("<html>404</html>", encoding="utf-8")
    question = QUESTIONS[0].format(side="left")
    return [
        ("pictures/cut_off.png", question, "red", "train"),
        ("pictures/not_a_picture.png", question, "blue", "train"),
        ("pictures/never_uploaded.png", question, "green", "train"),
        ("pictures/00001.png", "", "", "train"),
        ("pictures/gone.png", "", "", "train"),
    ]
