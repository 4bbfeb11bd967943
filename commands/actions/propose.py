"""What ``propose`` does."""

from pathlib import Path

from rich.console import Console

from commands.console import print_json, steps, tell
from inputs.demo import DEMO_ITEMS, demo_item_path
from network.weights import STAGES
from parity.traces.array_inputs import ArrayInputs, load_array_inputs, network_in
from parity.traces.port_guard import PortError
from parity.traces.proposal import Proposal, kept_in, propose, sample_inputs, write_proposals
from parity.traces.record import RunInputs
from parity.traces.sources import read_sources
from reports.wording import counted, printable
from weight_conversion.errors import InputError

SHOWN = 3
"""Parameters that are named where many hold no variable."""


def perform(
    port: str, out: Path, item: Path | None, inputs: Path | None, device: str, as_json: bool
) -> int:
    """Find out how the names of a port belong to the network's, and write it to a file."""
    read: list[RunInputs | ArrayInputs] = []
    if inputs is None:
        sources = read_sources(item or demo_item_path(DEMO_ITEMS[0]))
        tell(sources.notes)
        read += [sample_inputs(sources, stage) for stage in STAGES]
    elif item is not None:
        raise InputError("--inputs", "given with --item", "one of them")
    else:
        read.append(load_array_inputs(inputs, network_in(inputs)))
    kept, found, missing = kept_in(out), list[Proposal](), ""
    with steps() as progress:
        for given in read:
            stage = given.stage
            with progress.task(f"{stage} of {port}", 1):
                try:
                    found.append(propose(port, given, kept=kept.get(stage), device=device))
                except PortError as error:
                    if not isinstance(error.__cause__, NotImplementedError):
                        raise
                    missing = str(error)
    if not found:
        raise InputError(f"backend {port}", f"has no stage ({missing})", "one at least")
    write_proposals(out, found)
    if as_json:
        print_json({each.stage: _value(each) for each in found})
    else:
        for each in found:
            Console().print(printable(_line(each)), markup=False, highlight=False, soft_wrap=True)
        Console().print(f"map: {out}", markup=False, highlight=False, soft_wrap=True)
    return 0


def _line(proposal: Proposal) -> str:
    found = proposal.matches
    told = (
        f"{proposal.stage}: {counted(len(found.taps), 'tap')} and "
        f"{counted(len(found.variables), 'variable')} found"
    )
    if found.unmatched:
        told += f", {counted(len(found.unmatched), 'tap')} that no submodule gives"
    told += f", {len(found.open)} to be answered"
    if found.unused:
        names = ", ".join(found.unused[:SHOWN])
        more = ", …" if len(found.unused) > SHOWN else ""
        told += f"; {counted(len(found.unused), 'parameter')} without a variable: {names}{more}"
    return told


def _value(proposal: Proposal) -> dict[str, object]:
    found = proposal.matches
    return {
        "taps": found.taps, "variables": found.variables, "unmatched": found.unmatched,
        "asked": found.open, "why": found.why, "unused": found.unused,
    }  # fmt: skip
