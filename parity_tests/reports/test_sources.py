import subprocess
import sys
from dataclasses import replace

import pytest

from network.registry import network_of
from network.taps import TAPS, TapRow
from reports.page.sources import excerpts

ROWS = [pytest.param(row, id=f"{stage}.{row.name}") for stage in TAPS for row in TAPS[stage]]
FIRST = TAPS["coarse"][0]


@pytest.mark.parametrize("backend", ["torch", "tf"])
@pytest.mark.parametrize("tap", ROWS)
def test_every_tap_has_source_lines_on_both_sides(tap: TapRow, backend: str) -> None:
    found = excerpts(backend, tap)
    assert found
    for excerpt in found:
        assert excerpt.lines[0].lstrip().startswith("def ")
        assert excerpt.name.rsplit(".", 1)[-1] in excerpt.lines[0]


def test_lines_are_numbered_as_in_the_file() -> None:
    from torch_impl import graph

    (convolution, *_) = excerpts("torch", network_of("coarse").of_layer("graph_convolution")[0])
    with open(graph.__file__, encoding="utf-8") as file:  # noqa: PTH123
        lines = file.read().splitlines()
    assert tuple(lines[convolution.first - 1 :][: len(convolution.lines)]) == convolution.lines
    assert convolution.file == "torch_impl/graph.py"


@pytest.mark.parametrize("backend", ["metagraph", "my.port:factory", "<script>"])
def test_other_backends_have_none(backend: str) -> None:
    assert excerpts(backend, FIRST) == ()


def test_a_tap_of_nobody_has_none() -> None:
    assert excerpts("torch", replace(FIRST, sources={})) == ()


def test_reading_imports_no_framework() -> None:
    program = (
        "import sys; from reports.page.sources import excerpts; "
        "from network.taps import TAPS; row = TAPS['coarse'][0]; "
        "assert excerpts('torch', row) and excerpts('tf', row); "
        "sys.exit(bool({'torch', 'tensorflow', 'torch_impl', 'tf_reference'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
