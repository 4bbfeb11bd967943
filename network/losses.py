"""The factors of the loss terms, as the exported graphs have them.

Fractions are float32 values, widened: the graphs' constants are float32 in any precision.
"""

from dataclasses import dataclass

import numpy as np

SQUARE_FLOOR = float(np.float32(1e-12))
"""What the squared length of a vector to be normalised is at least."""


@dataclass(frozen=True)
class LossFactors:
    """Factors of a network's loss terms.

    Attributes:
        chamfer: both directions together.
        backward: within them, the direction from the mesh's points to the ground truth.
        edge: mean squared length of an edge.
        normal: mean |cosine| between an edge and a ground-truth normal.
        laplace: mean squared change of a vertex's distance from the mean of its neighbours.
        move: mean squared way of a vertex.
        decay_cnn: half the sum of squares of an image convolution's kernel has the product of the
            two factors, which is not float32(3e-6); biases have no decay.
        decay_graph: half the sum of squares of a graph convolution's variables; 0 leaves it out.
    """

    edge: float
    move: float
    decay_graph: float
    chamfer: float = 3000.0
    backward: float = float(np.float32(0.55))
    normal: float = 0.5
    laplace: float = 1500.0
    decay_cnn: tuple[float, float] = (float(np.float32(0.3)), float(np.float32(1e-5)))


LOSSES: dict[str, LossFactors] = {
    "coarse": LossFactors(edge=350.0, move=50.0, decay_graph=float(np.float32(5e-6))),
    "refine": LossFactors(edge=500.0, move=100.0, decay_graph=0.0),
}
"""The factors of each stage."""
