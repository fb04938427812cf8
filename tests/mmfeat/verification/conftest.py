"""One small store of each kind, made once."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mmfeat.cli import main
from mmfeat.cli.quickstart.toyset import make_toyset

COMMANDS = {
    "shards": ("shard", "raw/toyset.csv", "shards", "--samples-per-shard", "15"),
    "features": ("extract", "shards", "features"),
    "model": ("train", "features", "model", "--target", "label", "--epochs", "2", "--lr", "0.003"),
    "predictions": ("score", "model", "features", "predictions"),
}
"""Store → the command that makes it, in a folder with the raw data."""


@pytest.fixture(scope="module")
def made_stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the raw data and a store of each kind; tests must not change it."""
    folder = tmp_path_factory.mktemp("stores")
    make_toyset(folder / "raw", records=45)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in COMMANDS.values():
            assert main.main(list(command)) == 0
    return folder


@pytest.fixture
def stores(made_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the stores, as the working directory."""
    shutil.copytree(made_stores, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Reads all files of a folder; receipts without the seconds, which differ from run to run."""

    def read(folder: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): _without_times(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return read


def _without_times(path: Path) -> bytes:
    lines = path.read_bytes().splitlines(keepends=True)
    if path.suffix == ".json":
        times = (b'"seconds"', b'"checksum"')
        lines = [line for line in lines if not line.strip().startswith(times)]
    return b"".join(lines)
