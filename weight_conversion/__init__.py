"""Weights in files and between layouts: see ``docs/api.md``.

The public names below are imported as they are used, so that importing the package is immediate.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weight_conversion.conversion import convert, to_state_dict
    from weight_conversion.errors import InputError
    from weight_conversion.formats import load_weights, save_weights
    from weight_conversion.weight_set import WeightSet

__all__ = ["InputError", "WeightSet", "convert", "load_weights", "save_weights", "to_state_dict"]

_HOMES = {
    "InputError": "weight_conversion.errors",
    "WeightSet": "weight_conversion.weight_set",
    "convert": "weight_conversion.conversion",
    "load_weights": "weight_conversion.formats",
    "save_weights": "weight_conversion.formats",
    "to_state_dict": "weight_conversion.conversion",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
