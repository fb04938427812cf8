"""docs/fusion.md has a row for each fusion and combination, written from the docstrings.

`python -m tests.mmfeat.models.test_fusion_doc` writes the tables.
"""

import inspect
import re
from pathlib import Path

import pytest
from torch import nn

from mmfeat.models.architecture import STANDALONE_MODELS, Architecture
from mmfeat.models.combination import COMBINATIONS
from mmfeat.models.fusion import FUSIONS, Fusion

PAGE = Path(__file__).resolve().parents[3] / "docs/fusion.md"
DEFAULTS = (Architecture.fusion, Architecture.combination)
FUSION_FIELDS = ("Fused vector", "Absent modality", "Parameters", "Source")
COMBINATION_FIELDS = ("f(x)", "Parameters")


def make_row(name: str, layer: type[nn.Module], fields: tuple[str, ...]) -> str:
    """Return the table row of a layer: name, summary, and the documented lines."""
    doc = inspect.cleandoc(layer.__doc__ or "")
    values = dict(re.findall(r"^([A-Z]?[\w() ]+): (.+(?:\n {4}.+)*)", doc, re.MULTILINE))
    cells = [doc.splitlines()[0].removesuffix("."), *(values[field] for field in fields)]
    mark = " **w**" if issubclass(layer, Fusion) and layer.has_weights else ""
    default = " (default)" if name in DEFAULTS else ""
    text = " | ".join(re.sub(r"\s+", " ", cell).replace("|", r"\|") for cell in cells)
    return f"| `{name}`{mark}{default} | {text} |"


def make_table(flag: str, layers: dict[str, type[nn.Module]], fields: tuple[str, ...]) -> str:
    head = f"| `--{flag}` | What it does | {' | '.join(fields)} |"
    rows = [make_row(name, layer, fields) for name, layer in layers.items()]
    return "\n".join([head, "| --- " * (len(fields) + 2) + "|", *rows]) + "\n"


def make_page(page: str) -> str:
    """Return the page with current tables."""
    pooled = {name: fusion for name, fusion in FUSIONS.items() if not fusion.takes_tokens}
    tokens = {name: fusion for name, fusion in FUSIONS.items() if fusion.takes_tokens}
    for heading, table in (
        ("Fusions of vectors", make_table("fusion", pooled, FUSION_FIELDS)),
        ("Fusions of tokens", make_table("fusion", tokens, FUSION_FIELDS)),
        ("Combinations", make_table("combination", COMBINATIONS, COMBINATION_FIELDS)),
    ):
        pattern = rf"(^## {heading}\n.*?)(?:^\|.*?\n)+"
        page = re.sub(pattern, lambda m, t=table: m[1] + t, page, flags=re.M | re.S)
    return page


def test_tables_are_written_from_the_docstrings() -> None:
    page = PAGE.read_text("utf-8")
    assert page == make_page(page), "run: python -m tests.mmfeat.models.test_fusion_doc"


def test_the_page_names_every_model() -> None:
    names = re.findall(r"^\| `(\w+)`", PAGE.read_text("utf-8"), re.MULTILINE)
    assert set(names) == {*FUSIONS, *STANDALONE_MODELS, *COMBINATIONS}


@pytest.mark.parametrize("layer", [*FUSIONS.values(), *COMBINATIONS.values()])
def test_a_summary_fits_one_line(layer: type[nn.Module]) -> None:
    lines = inspect.cleandoc(layer.__doc__ or "").splitlines()
    assert lines[0].endswith(".")
    assert lines[1] == ""


if __name__ == "__main__":
    PAGE.write_text(make_page(PAGE.read_text("utf-8")), "utf-8")
