"""Backward through the statistics over views: maximum, mean and deviation."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from parity.oracle.backward.sums import DOUBLE
from parity.oracle.layers.readers import VARIANCE_FLOOR

Sharing = Callable[[np.ndarray], np.ndarray]
"""Features (views, N, C) to what part of the maximum's gradient each view gets."""

STATISTICS = 12.0
"""Roundings of a gradient through the statistics, beyond those of its factors: the mean's two, the
deviation's difference, its square and mean and root, two products, a division, three additions."""


@dataclass(frozen=True, eq=False)
class FeatureGradient:
    """The gradient at features (views, N, C).

    ``fixed`` is what it may be off by, for unit roundoff 1; ``undecided`` what another view's being
    the greatest would change, absolute.
    """

    value: np.ndarray
    fixed: np.ndarray
    undecided: np.ndarray

    def columns(self, part: slice) -> "FeatureGradient":
        return FeatureGradient(
            self.value[..., part], self.fixed[..., part], self.undecided[..., part]
        )


def shared_evenly(features: np.ndarray) -> np.ndarray:
    """Of features (views, N, C) the greatest share the gradient, as in both frameworks."""
    first = features == features.max(axis=0)
    shares: np.ndarray = first / first.sum(axis=0)
    return shares


def shared_by_all(features: np.ndarray, equal: bool = False) -> np.ndarray:
    """Every view, or every greatest one, gets all of the gradient."""
    chosen = features == features.max(axis=0) if equal else np.ones_like(features)
    return chosen.astype(np.float64)


def taken_by_first(features: np.ndarray, last: bool = False) -> np.ndarray:
    """The first of the greatest views gets all of the gradient, or the last."""
    ordered = features[::-1] if last else features
    first = ordered.argmax(axis=0)
    shares = (np.arange(len(features))[:, None, None] == first).astype(np.float64)
    return shares[::-1] if last else shares


def by_feature(
    features: np.ndarray, errors: np.ndarray, gradient: np.ndarray, sharing: Sharing
) -> FeatureGradient:
    """Through maximum, mean and deviation: (views, N, C).

    Args:
        features: (views, N, C).
        errors: how far the run's own may be from them, absolute.
        gradient: (N, 3·C).
        sharing: of the maximum's gradient among views.
    """
    views = len(features)
    top, middle, wide = np.split(gradient, 3, axis=1)
    greatest = features.max(axis=0)
    from_top = sharing(features) * top
    mean = features.mean(axis=0)
    away = features - mean
    variance = np.square(away).mean(axis=0) + VARIANCE_FLOOR
    deviation = np.sqrt(variance)
    slope = wide / (views * deviation)
    value = from_top + middle / views + slope * away

    # What each view's distance from the mean may be off by, in units of one rounding.
    off = errors / DOUBLE
    loose = off + off.mean(axis=0) + 4.0 * (np.abs(features) + np.abs(features).mean(axis=0))
    relative = (np.abs(away) * loose).mean(axis=0) / variance
    own = np.abs(slope) * (loose + np.abs(away) * relative)
    terms = np.abs(from_top) + np.abs(middle) / views + np.abs(slope) * np.abs(away)
    # The way through the mean adds up to nothing, but for the rounding of what cancels.
    fixed = own + own.mean(axis=0) + STATISTICS * (terms + np.abs(slope * away).mean(axis=0))
    # A view within rounding of the greatest may be it or not, and so may the greatest itself.
    reach = errors + errors.max(axis=0)
    near = (greatest - features <= reach) & (reach > 0)
    open_ = near & (near.sum(axis=0) > 1)
    return FeatureGradient(value, fixed, np.where(open_, np.abs(top), 0.0))
