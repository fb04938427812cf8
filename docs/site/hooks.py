"""Pages of the site that are made from other files: the README, tables of flags, the notebook.

MkDocs calls `on_files` and `on_page_markdown`.
"""

import ast
import dataclasses
import html
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import tyro
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from mmfeat.cli.commands import COMMANDS, load_config

ROOT = Path(__file__).resolve().parents[2]

NOTEBOOK = ROOT / "examples" / "tour.ipynb"

FROM_ROOT = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
    "changelog.md": "CHANGELOG.md",
}
"""Page → the file of the repository that it shows."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#:\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not files of `docs/`."""
    pages: dict[str, Callable[[], str]] = {
        "flags.md": flags_page,
        "notebook.md": notebook_page,
        **{page: (ROOT / name).read_text for page, name in FROM_ROOT.items()},
    }
    for name, make in pages.items():
        files.append(File.generated(config, name, content=make()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make links of the repository links of the site; other files of it become plain text."""
    name = page.file.src_uri
    folder = ROOT if name in FROM_ROOT else (ROOT / "docs" / name).parent
    to_page = {ROOT / source: page for page, source in FROM_ROOT.items()}
    to_page[NOTEBOOK] = "notebook.md"
    here = Path(name).parent

    def replace(match: re.Match[str]) -> str:
        image, text, target, anchor = match.groups("")
        path = (folder / target).resolve()
        if path in to_page:
            link = to_page[path]
        elif path.is_relative_to(ROOT / "docs") and path.is_file():
            link = path.relative_to(ROOT / "docs").as_posix()
        elif name == "flags.md" or name == "notebook.md":
            return match[0]
        else:
            return text
        up = "../" * len(here.parts)
        return f"{image}[{text}]({up}{link}{anchor})"

    return _LINK.sub(replace, markdown)


def flags_page() -> str:
    """Return a page with the flags of every command, from its config dataclass."""
    parts = ["# Flags\n\nMade from the options of each command, as `mmfeat COMMAND --help`.\n"]
    for command, summary in COMMANDS.items():
        parts.append(f"\n## mmfeat {command}\n\n{_cell(summary)}\n")
        rows = [
            f"| `{name}` | {_cell(default)} | {_cell(text)} |\n"
            for name, default, text in list_flags(load_config(command))
        ]
        parts += ["\n| argument | default | meaning |\n| --- | --- | --- |\n", *rows]
    return "".join(parts)


def list_flags(config: type) -> Iterator[tuple[str, str, str]]:
    """Yield the arguments of a config dataclass: name, default and help."""
    texts = _field_texts(config)
    types, hints = get_type_hints(config), get_type_hints(config, include_extras=True)
    for field in dataclasses.fields(config):
        if dataclasses.is_dataclass(types[field.name]):
            yield from list_flags(types[field.name])  # commands leave out the name of the group
        elif tyro.conf.Positional in getattr(hints[field.name], "__metadata__", ()):
            yield field.name.upper(), "", texts[field.name]
        else:
            required = field.default is dataclasses.MISSING
            default = "required" if required else _default_text(field.default)
            yield f"--{field.name.replace('_', '-')}", default, texts[field.name]


def _default_text(value: Any) -> str:
    return {"": "empty", "()": "none", "True": "yes", "False": "no"}.get(str(value), str(value))


def _field_texts(config: type) -> dict[str, str]:
    """Return field → its docstring, those of base classes included."""
    texts: dict[str, str] = {}
    for base in reversed(config.__mro__[:-1]):
        [tree] = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for node, text in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(node, ast.AnnAssign) and isinstance(text, ast.Expr):
                assert isinstance(node.target, ast.Name)
                texts[node.target.id] = ast.literal_eval(text.value)
    return texts


def _cell(text: str) -> str:
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")


def notebook_page() -> str:
    """Return the executed notebook as Markdown: texts, code and outputs."""
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    return "\n\n".join(part for cell in cells for part in _cell_parts(cell))


def _cell_parts(cell: dict[str, Any]) -> list[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [source]
    return [_fence("python", source), *map(_output, cell["outputs"])]


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        return f'<img alt="output" src="data:image/png;base64,{data["image/png"].strip()}">'
    if "text/html" in data:
        return "<div>" + "".join(data["text/html"]).replace("\n\n", "\n") + "</div>"
    return _fence("text", _COLOUR.sub("", "".join(data.get("text/plain", output.get("text", "")))))


def _fence(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"
