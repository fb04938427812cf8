"""Generate a dataset whose records differ in the modality that tells the answer.

The label is the colour of a shape. Of most records, both modalities are needed: the picture shows
two colours, and the text asks for one side. Some pictures have no colours, and their text names
the colour. Some texts say nothing, and both shapes of their picture have the colour. Some records
lack the picture or the text. Five records are damaged on purpose, as in real data.
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
"""Texts that need the picture."""

ANSWERS = (
    "{colour}, but the photo is grey",
    "it is {colour}",
    "{colour} shapes",
    "two in {colour}",
)
"""Texts that need no picture."""

REMARKS = ("see photo", "nice shapes!", "no description", "new, never used")
"""Texts that say nothing about the colour."""

SHARES = {"both": 0.5, "text": 0.2, "image": 0.2, "no image": 0.05, "no text": 0.05}
"""What tells the colour of a record → share of the records. The last two lack a modality."""

DAMAGED_RECORDS = 5
"""Records that are added to the intact ones."""

SIZE = 64
"""Width and height of a picture in pixels."""

Row = tuple[str, str, str, str, str]
"""A record as in the table: file name, text, label, split, and what tells the colour."""


def make_toyset(folder: Path, *, records: int = 2400, seed: int = 0) -> Path:
    """Write pictures and a table, and return the path of the table.

    Args:
        folder: output folder of `pictures/` and `toyset.csv`.
        records: number of intact records: 2/3 for training, 1/6 for validation, 1/6 for test.
        seed: the same seed gives the same files.
    """
    rng = random.Random(seed)  # noqa: S311 - not a secret
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    rows = [_write_record(rng, folder, number) for number in range(records)]
    rows += _write_damaged(folder)
    table = folder / "toyset.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("file_name", "text", "label", "split", "told_by"))
        writer.writerows(rows)
    return table


def _write_record(rng: random.Random, folder: Path, number: int) -> Row:
    """Write the picture of a record, if it has one, and return its row."""
    # The first records have both modalities, so that each can be an example.
    told_by = "both" if number < 8 else rng.choices(list(SHARES), list(SHARES.values()))[0]
    left, right = rng.sample(sorted(COLOURS), 2)
    side = rng.choice(["left", "right"])
    label = left if side == "left" else right
    name = f"pictures/{number:05d}.png"
    text = rng.choice(QUESTIONS).format(side=side)
    if told_by in ("text", "no image"):
        text = rng.choice(ANSWERS).format(colour=label)
    elif told_by in ("image", "no text"):
        left = right = label
        text = "" if told_by == "no text" else rng.choice(REMARKS)
    picture = _draw_shapes(rng, left, right)
    if told_by == "text":
        picture = picture.convert("L")
    if told_by != "no image":
        picture.save(folder / name)
    split = ("train", "train", "train", "train", "val", "test")[number % 6]
    return ("" if told_by == "no image" else name, text, label, split, told_by)


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


def _write_damaged(folder: Path) -> list[Row]:
    """Write damaged pictures and return their rows. Some records keep one usable modality."""
    intact = (folder / "pictures/00000.png").read_bytes()
    (folder / "pictures/cut_off.png").write_bytes(intact[: len(intact) // 2])
    (folder / "pictures/not_a_picture.png").write_text("<html>404</html>", encoding="utf-8")
    question = QUESTIONS[0].format(side="left")
    return [
        ("pictures/cut_off.png", question, "red", "train", "both"),
        ("pictures/not_a_picture.png", question, "blue", "train", "both"),
        ("pictures/never_uploaded.png", question, "green", "train", "both"),
        ("pictures/00001.png", "", "", "train", "both"),
        ("pictures/gone.png", "", "", "train", "both"),
    ]
