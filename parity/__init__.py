"""Whether two implementations compute the same function: see ``docs/api.md``.

The public names below are imported as they are used, so that ``import parity`` is immediate and
imports no framework.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parity.traces.module_port import ModulePort
    from parity.traces.port_map import PortMap
    from parity.traces.proposal import propose
    from parity.verdict.compare import compare
    from parity.verdict.pair import judge_module, run_pair
    from parity.verdict.result import Comparison

__all__ = [
    "Comparison", "ModulePort", "PortMap", "compare", "judge_module", "propose", "run_pair"
]  # fmt: skip

_HOMES = {
    "Comparison": "parity.verdict.result",
    "ModulePort": "parity.traces.module_port",
    "PortMap": "parity.traces.port_map",
    "compare": "parity.verdict.compare",
    "judge_module": "parity.verdict.pair",
    "propose": "parity.traces.proposal",
    "run_pair": "parity.verdict.pair",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
