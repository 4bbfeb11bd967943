"""The benchmark of growing sizes: it records, compares in another process, and draws."""

import json
from pathlib import Path

from click.testing import CliRunner

from benchmarks import growth


def test_a_small_size_is_measured_to_the_last_line(tmp_path: Path) -> None:
    out = tmp_path / "growth.json"
    done = CliRunner().invoke(growth.main, ["--largest", "0.005", "--out", str(out)])
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    assert found == json.loads(done.output)
    (run,) = found["vertices"]
    assert run["vertices"] == 300
    assert run["trace_bytes"] > growth.FLOATS * 4 * 300
    assert run["compare"]["verdict"] == "agree"
    assert run["compare"]["memory_mb"] > 50
    assert found["rows a vertex"] == found["trace size"] == []
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
