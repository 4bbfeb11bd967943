"""The notebook, executed as it stands: from the untouched port to the mended one."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"
NOTEBOOK = EXAMPLES / "first_hour.ipynb"


def printed(notebook: Any) -> list[str]:
    """What each cell of code writes on stdout."""
    return [
        "".join(each.text for each in cell.outputs if each.output_type == "stream")
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def _without_roundings(text: str) -> str:
    return re.sub(r"[\d.e+-]+ roundings", "… roundings", text)


def test_the_notebook_says_what_it_is_kept_with(tmp_path: Path) -> None:
    client = pytest.importorskip("nbclient", reason="executing a notebook needs nbclient")
    pytest.importorskip("ipykernel", reason="executing a notebook needs ipykernel")
    import nbformat

    for name in ("my_port.py", "my_port.toml"):
        shutil.copy(EXAMPLES / name, tmp_path)
    kept = nbformat.read(NOTEBOOK, as_version=4)
    run = nbformat.read(NOTEBOOK, as_version=4)
    client.NotebookClient(
        run, timeout=900, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    expected = printed(kept)
    assert expected[1].startswith("differ first at cnn.conv2d_3")
    assert "cnn.conv2d_3: confirmed (padding)" in expected[3]
    assert "graph_conv_blk1_1_layer_1: confirmed (bias)" in expected[3]
    assert expected[-1].startswith("agree 86 activations compared, on float64")
    # How many roundings a sentence tells is another number on another machine.
    assert _without_roundings(printed(run)[3]) == _without_roundings(expected[3])
    assert printed(run)[1] == expected[1] and printed(run)[-1] == expected[-1]
    assert (tmp_path / "first_hour" / "report" / "report.html").stat().st_size > 1e6
