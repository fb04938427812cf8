"""Run the notebook of examples/ in a kernel; its packages are those of the extra `docs`."""

import pytest

from tests.conftest import REPOSITORY

NOTEBOOK = REPOSITORY / "examples" / "tour.ipynb"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="needs the extra docs: make docs")
    client = pytest.importorskip("nbclient", reason="needs the extra docs: make docs")
    pytest.importorskip("ipykernel", reason="needs the extra docs: make docs")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = {"metadata": {"path": str(tmp_path)}}
    client.NotebookClient(notebook, timeout=600, resources=folder).execute()
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    pages = [
        o.data["text/html"] for cell in outputs for o in cell if "text/html" in o.get("data", {})
    ]
    assert any("mmfeat shards" in page and "<table>" in page for page in pages)
    assert any("data:image/jpeg" in page for page in pages)
    assert (tmp_path / "tour/predictions/manifest.json").exists()


def test_the_notebook_has_the_outputs_of_every_cell():
    nbformat = pytest.importorskip("nbformat", reason="needs the extra docs: make docs")
    cells = [c for c in nbformat.read(NOTEBOOK, as_version=4).cells if c.cell_type == "code"]
    assert cells
    assert all(cell.outputs for cell in cells)
