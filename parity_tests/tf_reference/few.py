"""The refine stage on some of its vertices, in any implementation: it mixes none of them."""

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

FEW = 300
"""More than go through a layer at once."""


@contextmanager
def few_vertices(inputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A refine run's inputs with the first ``FEW`` vertices, for runs within the block.

    TensorFlow's side, which refuses another number than the official one, takes them there.
    """
    with pytest.MonkeyPatch.context() as patch:
        if importlib.util.find_spec("tensorflow") is not None:
            from tf_reference import parameters

            patch.setitem(parameters.VERTICES, "refine", FEW)
        yield {**inputs, "mesh": inputs["mesh"][:FEW]}
