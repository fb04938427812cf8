"""Fixtures of all tests: real data, toy records, the command line."""

import csv
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mmfeat.cli import main
from tests import figures

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = REPOSITORY.parent / "shared" / "data"

os.environ["MMFEAT_CACHE"] = ""  # what one test measures is not remembered for another


def pytest_sessionfinish() -> None:
    """Write what the tests counted."""
    figures.save()


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name bytes parameters by their length.

    Some bytes contain the time of day, and all test processes must use the same names.
    """
    return f"{len(val)}-bytes" if isinstance(val, bytes) else None


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Returns the folder of a real dataset; skips the test if it is missing."""

    def folder(name: str) -> Path:
        path = DATA / name
        if not path.is_dir():
            pytest.skip(f"the real dataset {name} is missing ({path})")
        return path

    return folder


def picture_bytes(
    colour: tuple[int, ...] = (200, 30, 30), size: int = 24, kind: str = "PNG"
) -> bytes:
    """Return an image file of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """Makes an image file of one colour."""
    return picture_bytes


@pytest.fixture
def make_table(tmp_path: Path) -> Callable[..., Path]:
    """Writes a CSV of records, and the images that its rows name."""

    def make(
        rows: Sequence[Mapping[str, Any]], name: str = "raw/table.csv", pictures: bool = True
    ) -> Path:
        table = tmp_path / name
        table.parent.mkdir(parents=True, exist_ok=True)
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        for number, row in enumerate(rows):
            path = table.parent / str(row.get("file_name") or "none.png")
            if pictures and row.get("file_name") and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(picture_bytes((number * 37 % 256, number * 91 % 256, 60)))
        return table

    return make


@pytest.fixture
def toy_table(make_table: Callable[..., Path]) -> Path:
    """A table of sixty records of two classes, which image and text can both distinguish."""
    words = {"cat": "a small cat sleeps", "dog": "the big dog barks"}
    rows = []
    for number in range(60):
        label = "cat" if number % 2 else "dog"
        split = ("train", "train", "train", "val", "test")[number % 5]
        text = f"{words[label]} number {number}"
        rows.append(
            {"file_name": f"p{number:03}.png", "text": text, "label": label, "split": split}
        )
    return make_table(rows)


@pytest.fixture
def mmfeat(capfd: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs a command in this process; returns its exit code, output and errors."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        try:
            code = main.main([str(argument) for argument in arguments])
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        captured = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, code, captured.out, captured.err)

    return run


@pytest.fixture
def mmfeat_process() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a command in a new process, which is killed at the end of the test."""
    started = []

    def start(*arguments: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "mmfeat", *map(str, arguments)]
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
