"""Run the commands of the docs, and compare their tables and paths with the code."""

import re
import shlex
from pathlib import Path

import pytest

from mmfeat.cli.main import COMMANDS
from mmfeat.cli.quickstart.toyset import make_toyset
from mmfeat.records import REASONS
from tests.inputs import make_inputs

REPOSITORY = Path(__file__).resolve().parents[1]
README = REPOSITORY / "README.md"
CONTRIBUTING = REPOSITORY / "CONTRIBUTING.md"
PACKAGES = ("mmfeat", "pipelines", "training")
DOCS = REPOSITORY / "docs"
PAGES = [README, CONTRIBUTING, *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def page_name(page):
    return page.relative_to(REPOSITORY).as_posix()


def code_blocks(page, language):
    return [text for name, text in FENCE.findall(page.read_text("utf-8")) if name == language]


def list_commands(page):
    """Return the commands of console blocks and of tables, in order."""
    return [text for _, kind, text in list_steps(page) if kind == "command"]


def list_steps(page):
    """Return the commands and the blocks of Python of a page, in order: position, kind, text."""
    text = page.read_text("utf-8")
    steps = [
        (m.start(), "command", m[1])
        for m in re.finditer(r"\| `(mmfeat [^`]+)` \|$", text, re.MULTILINE)
    ]
    for match in FENCE.finditer(text):
        if match[1] == "console":
            steps += [(match.start(), "command", command) for command in parse_console(match[2])]
        elif match[1] == "python":
            steps.append((match.start(), "python", match[2]))
    return sorted(steps, key=lambda step: step[0])


def parse_console(block):
    lines = block.replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ mmfeat ")]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_commands_and_code_run_in_order(page, mmfeat, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = make_toyset(tmp_path / "quickstart" / "raw", records=240)
    make_inputs(table, tmp_path / "inputs")
    steps = list_steps(page)
    if steps and not list_commands(page):
        for command in (
            "mmfeat shard quickstart/raw/toyset.csv quickstart/shards",
            "mmfeat extract quickstart/shards quickstart/features",
        ):
            run_command(mmfeat, command)
    for _, kind, text in steps:
        if kind == "command":
            run_command(mmfeat, text)
        else:
            exec(compile(text, str(page), "exec"), {})


def run_command(mmfeat, command):
    result = mmfeat(*shlex.split(command)[1:])
    assert result.returncode == 0, f"{command}\n{result.stderr}"


def test_the_readme_activates_the_environment_before_the_first_command():
    text = README.read_text("utf-8")
    assert 0 < text.index(". .venv/bin/activate") < text.index("$ mmfeat")


def test_no_command_installs_mmfeat_by_a_name_that_pip_cannot_find():
    """mmfeat is not on PyPI: docs name a clone, and messages name the missing package itself."""
    sources = [p for name in PACKAGES for p in (REPOSITORY / name).rglob("*.py")]
    for path in (*PAGES, *sources, REPOSITORY / "Makefile"):
        text = path.read_text("utf-8")
        assert not re.search(r"pip install [^\n]*\bmmfeat\[|`mmfeat\[", text), path
        assert not re.search(r"pip install '?mmfeat\b", text), path


def test_the_readme_shows_every_command():
    shown = {command.split()[1] for command in list_commands(README)}
    text = README.read_text("utf-8")
    missing = {name for name in COMMANDS if name not in shown and f"mmfeat {name}" not in text}
    assert missing == set()


def test_the_table_of_reasons_equals_the_code():
    text = (REPOSITORY / "docs/shards.md").read_text("utf-8")
    for reason, meaning in REASONS.items():
        assert f"| `{reason}` | {meaning} |" in text


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_linked_files_exist(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_paths_of_source_files_exist(page):
    pattern = r"`((?:mmfeat|pipelines|training|tests|docs|benchmarks)/[\w/.]*)`"
    for path in re.findall(pattern, page.read_text("utf-8")):
        assert (REPOSITORY / path).exists(), path


def test_paths_in_the_readme_tree_exist():
    tree = next(block for block in code_blocks(README, "text") if "pipelines/" in block)
    folder = ""
    for line in filter(str.strip, tree.splitlines()):
        name = line.split()[0]
        if not line.startswith(" "):
            folder = name if name.endswith("/") else ""
            assert (REPOSITORY / name).exists(), name
        else:
            assert (REPOSITORY / folder / name).exists(), folder + name
