"""Which page of the documentation helps with an error, by the room that the error came from."""

from types import TracebackType

PAGES = {
    "cluster": "docs/scale.md",
    "evaluation": "docs/scale.md",
    "inputs": "docs/inputs.md",
    "inputs.dataset": "docs/scale.md",
    "inputs.demo": "",
    "inputs.files": "",
    "parity.meshes": "docs/losses.md",
    "parity.meshes.spikes": "docs/spikes.md",
    "parity.traces": "docs/trace.md",
    "parity.traces.array_inputs": "docs/architecture.md",
    "parity.traces.backends": "docs/own-port.md",
    "parity.traces.module_gradients": "docs/own-port.md",
    "parity.traces.module_joined": "docs/own-port.md",
    "parity.traces.module_outputs": "docs/own-port.md",
    "parity.traces.module_port": "docs/own-port.md",
    "parity.traces.module_variables": "docs/own-port.md",
    "parity.traces.networks": "docs/architecture.md",
    "parity.traces.port_guard": "docs/own-port.md",
    "parity.traces.port_map": "docs/own-port.md",
    "parity.traces.proposal": "docs/own-port.md",
    "parity.traces.untrusted": "docs/trace.md",
    "parity.training": "docs/training.md",
    "parity.verdict": "docs/verdict.md",
    "studies.faults": "docs/faults.md",
    "studies.spikes": "docs/spikes.md",
    "tf_reference": "",
    "torch_impl": "",
    "weight_conversion": "docs/weights.md",
    # That a disk is full or a file is not there needs no page, here and in the empty ones above.
    "weight_conversion.atomic": "",
    "weight_conversion.files": "",
}
"""Pages by package or module; that of the longest name counts, and nothing is no page."""


def page_of(traceback: TracebackType | None) -> str:
    """The page for an exception: that of the innermost module which has an entry; "" for none."""
    page = ""
    while traceback is not None:
        name = str(traceback.tb_frame.f_globals.get("__name__", ""))
        while name and name not in PAGES:
            name = name.rpartition(".")[0]
        page = PAGES.get(name, page)
        traceback = traceback.tb_next
    return page
