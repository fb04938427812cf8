"""Convert matplotlib figures to inline SVG in the colors and the font of the page."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from markupsafe import Markup

if TYPE_CHECKING:  # Imported late: matplotlib loads slowly, and commands import this package.
    from matplotlib.figure import Figure

INK, MUTED, GRID, ACCENT = "#010101", "#010102", "#010103", "#010104"
SERIES = tuple(f"#0102{index:02x}" for index in range(10))
"""Placeholders for the colors of the page, which differ in light mode, dark mode and print."""

_CSS_COLORS = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    ACCENT: "var(--accent)",
    **{color: f"var(--c{index + 1})" for index, color in enumerate(SERIES)},
}
_COLOR = re.compile("|".join(_CSS_COLORS))
_FONT = re.compile(r"font: (?:(\w+) )?([\d.]+px) [^;]*")

_STYLE: dict[str, Any] = {
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
    "svg.fonttype": "none",  # Text stays text: searchable, and in the font of the page.
    "text.color": INK,
    "text.parse_math": False,  # A label may contain a dollar sign.
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}


@contextmanager
def new_chart(name: str, width: float, height: float) -> Iterator["Figure"]:
    """Yield a new figure in the style of the page; draw and convert it inside the context.

    Args:
        name: name of the chart, unique on the page; ids in the SVG depend on it.
        width, height: size in inches.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = {**_STYLE, "svg.hashsalt": name}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # The browser has a font.
        yield Figure(figsize=(width, height), layout="constrained")


def to_svg(figure: "Figure", description: str) -> Markup:
    """Convert a figure to an `<svg>` element. All its texts are escaped.

    Args:
        figure: drawn in the context of `new_chart`.
        description: content of the chart, for screen readers.
    """
    buffer = io.BytesIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=no_metadata)
    root = ElementTree.fromstring(buffer.getvalue())  # noqa: S314 - written one line above
    width = float(root.attrib["viewBox"].split()[2])
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {k.rpartition("}")[2]: v for k, v in element.attrib.items()}
        if style := element.get("style"):
            element.set("style", _use_page_style(style))
    _drop_unused_ids(root)
    for style_sheet in root.findall("./defs/style"):
        style_sheet.text = ".chart *{stroke-linejoin:round;stroke-linecap:butt}"
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "class": "chart",
        "role": "img",
        "aria-label": description,
        "style": f"max-width:{width * 4 / 3:.0f}px",
    }
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704 - escaped here


def _drop_unused_ids(root: ElementTree.Element) -> None:
    """Remove ids that nothing refers to: `axes_1` would occur in every chart of a page."""
    used = {
        name
        for element in root.iter()
        for value in element.attrib.values()
        for name in re.findall(r"(?:^|url\()#(\w+)", value)
    }
    for element in root.iter():
        if "id" in element.attrib and element.attrib["id"] not in used:
            del element.attrib["id"]


def _use_page_style(style: str) -> str:
    style = _COLOR.sub(lambda match: _CSS_COLORS[match[0]], style)
    return _FONT.sub(lambda match: f"font-size:{match[2]};font-weight:{match[1] or 400}", style)
