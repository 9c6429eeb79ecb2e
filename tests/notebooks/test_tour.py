"""The tour runs from its first cell to its last, and its pictures are there."""

from __future__ import annotations

from pathlib import Path

import nbclient
import nbformat
import pytest

from tests.house.source import REPOSITORY

TOUR = REPOSITORY / "notebooks" / "01_tour.ipynb"
CELLS, PICTURES = 10, 2


def test_the_tour_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    notebook = nbformat.read(TOUR, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) == CELLS
    outputs = [output for cell in code for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == PICTURES
    assert (tmp_path / "tour" / "jump.glb").stat().st_size > 0


def test_the_tour_is_a_valid_notebook_without_traces_of_errors() -> None:
    notebook = nbformat.read(TOUR, as_version=4)
    nbformat.validate(notebook)
    kinds = {output.output_type for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs}
    assert "error" not in kinds
