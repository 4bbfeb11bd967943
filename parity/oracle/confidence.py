"""λ: how many standard roundings no element of a run passes, but with a chosen probability.

Higham and Mary, "A new approach to probabilistic rounding error analysis" (SIAM J. Sci. Comput. 41,
2019), theorem 2.4: a sum of n rounded terms errs by at most λ·√n·u of the terms' magnitudes, to
first order, but for a probability of 2·exp(−λ²/2) for each of its n partial results. The derivation
is in ``docs/verdict.md``.
"""

import math
from functools import cache

import numpy as np

from network.description import Network
from network.registry import network_of
from parity.oracle.number import Arithmetic

FALSE_ALARM = 1e-6
"""Probability that a comparison of two right implementations reports a difference, at most."""
UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24}
HOLDS = {"float64": np.float64, "float32": np.float32}
RUNS = 4
"""Two sides in two precisions."""
MARGIN = 2
"""Roundings of a product's longest sum beside those of its terms: the bias and its own."""


def roundings_for(events: int) -> float:
    """λ for so many partial results: all of them keep to it but with ``FALSE_ALARM``."""
    return math.sqrt(2.0 * math.log(2.0 * events / FALSE_ALARM))


def confidence(network: str) -> float:
    """λ of a network's activations, on either side and in either precision."""
    return _confidence(network_of(network))


def backward_confidence(network: str) -> float:
    """λ of the gradients at all activations and of all variables."""
    return _backward_confidence(network_of(network))


def longest_sum(network: str) -> int:
    """Roundings of the longest sum: the terms of all products that one output adds up."""
    return _longest_sum(network_of(network))


@cache
def _confidence(network: Network) -> float:
    elements = sum(math.prod(row.shape) for row in network.taps)
    return roundings_for(RUNS * elements * _longest_sum(network))


@cache
def _backward_confidence(network: Network) -> float:
    elements = sum(math.prod(row.shape) for row in network.taps)
    elements += sum(math.prod(row.shape) for row in network.variables)
    # A kernel's gradient sums up over the pixels of all views.
    longest = max(math.prod(row.shape[:-1]) for row in network.taps) + MARGIN
    return roundings_for(RUNS * elements * longest)


@cache
def _longest_sum(network: Network) -> int:
    terms = [
        max(math.prod(network.variables_by_key[key].shape[:-1]) for key in row.variables.values())
        for row in network.taps
        if row.variables
    ]
    return max(terms, default=1) + MARGIN


def arithmetic_of(network: str, dtype: str) -> Arithmetic:
    """Of a run in ``dtype``, and of the evaluation in float64, which rounds as well."""
    u = UNIT_ROUNDOFF[dtype] + UNIT_ROUNDOFF["float64"]
    return Arithmetic(u, confidence(network), HOLDS[dtype])


def backward_arithmetic_of(network: str, dtype: str) -> Arithmetic:
    """The same of gradients."""
    u = UNIT_ROUNDOFF[dtype] + UNIT_ROUNDOFF["float64"]
    return Arithmetic(u, backward_confidence(network), HOLDS[dtype])
