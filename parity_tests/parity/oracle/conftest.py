"""Small layers, as ``parity_tests.parity.layers`` makes them."""

from parity_tests.parity.layers import contexts, make

__all__ = ["contexts", "make"]
