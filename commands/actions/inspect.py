"""What ``inspect`` does."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from commands.console import print_json
from reports.wording import printable
from weight_conversion.formats import Choice
from weight_conversion.inspect import Inspection, inspect_weights
from weight_conversion.recognise import listing
from weight_conversion.weight_set import shape_text

_CHECKSUMS = {
    "verified": "verified: every value has the checksum that the file keeps of it",
    "unverified": "unverified: not every value was held against a checksum of the file's own",
}


def perform(weights: Path, as_json: bool, choice: Choice) -> None:
    """List the variables of WEIGHTS: shapes, dtypes, stage, step, checksums."""
    found = inspect_weights(weights, choice)
    if as_json:
        print_json(found.to_json())
    else:
        _show(found)


def _show(found: Inspection) -> None:
    console = Console()
    table = Table(box=None, pad_edge=False)
    for heading in ("variable", "shape", "dtype", "sha256"):
        table.add_column(heading, overflow="fold")
    for variable in found.variables:
        digest = "" if variable.sha256 is None else variable.sha256[:12]
        cells = (variable.key, shape_text(variable.shape), variable.dtype, digest)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console.print(table)
    lines = [
        f"{found.path}: {found.format}, stage {found.stage or 'unknown'}, "
        f"step {'unknown' if found.step is None else found.step}",
        f"{len(found.variables)} variables, {found.numbers:,} numbers",
    ]
    if not found.data_present:
        lines.append("only the index is here: the data file is absent, so values cannot be read")
    if found.extras:
        lines.append(f"beside the network's variables: {listing(found.extras)}")
    lines += [f"note: {note}" for note in found.notes]
    lines += [f"problem: {problem}" for problem in found.problems]
    if found.weights_sha256 is not None:
        lines.append(f"weights_sha256 {found.weights_sha256}")
    lines.append(_CHECKSUMS[found.checksums])
    for line in lines:
        console.print(Text(printable(line)), soft_wrap=True)
