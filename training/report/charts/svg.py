"""Figures of matplotlib as SVG within the page, in the page's own colours and font."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

INK, MUTED, GRID, CARD = "#010101", "#010102", "#010103", "#010104"
SERIES = tuple(f"#0102{index:02x}" for index in range(8))
"""Colours that stand for those of the page, which differ by day, by night and in print."""

_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    CARD: "var(--card)",
    **{colour: f"var(--c{index + 1})" for index, colour in enumerate(SERIES)},
}
_COLOUR = re.compile("|".join(_VARIABLES))
_FONT = re.compile(r"font: (?:(\w+) )?([\d.]+px) [^;]*")

_LOOK: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "figure.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",  # text stays text: it can be searched, and needs no glyphs of ours
    "text.color": INK,
    "text.parse_math": False,  # a label may hold a dollar sign
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}


@contextmanager
def look(name: str) -> Iterator[None]:
    """The look of all charts; ids within one begin with its name, so that none is there twice."""
    settings: Any = {**_LOOK, "svg.hashsalt": name}
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's fonts have it
        yield


def inline(figure: Figure, description: str) -> Markup:
    """A figure as an `<svg>` element; every text in it is escaped.

    Args:
        figure: drawn under `look`.
        description: what the chart shows, for those who do not see it.
    """
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing)
    root = ElementTree.fromstring(buffer.getvalue())  # noqa: S314 - written a line ago
    width = float(root.attrib["viewBox"].split()[2])
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {k.rpartition("}")[2]: v for k, v in element.attrib.items()}
        if style := element.get("style"):
            element.set("style", _themed(style))
    _drop_ids(root)
    for style_sheet in root.findall("./defs/style"):
        style_sheet.text = ".chart *{stroke-linejoin:round;stroke-linecap:butt}"
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "class": "chart",
        "role": "img",
        "aria-label": description,
        "style": f"max-width:{width * 4 / 3:.0f}px",
    }
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704 - escaped there


def _drop_ids(root: ElementTree.Element) -> None:
    """Remove ids that nothing within refers to: `axes_1` would be in every chart of a page."""
    used = {
        name
        for element in root.iter()
        for value in element.attrib.values()
        for name in re.findall(r"(?:^|url\()#(\w+)", value)
    }
    for element in root.iter():
        if "id" in element.attrib and element.attrib["id"] not in used:
            del element.attrib["id"]


def _themed(style: str) -> str:
    style = _COLOUR.sub(lambda found: _VARIABLES[found[0]], style)
    return _FONT.sub(lambda found: f"font-size:{found[2]};font-weight:{found[1] or 400}", style)
