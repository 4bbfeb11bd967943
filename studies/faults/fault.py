"""What a fault says about itself before anybody judges it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from studies.faults.injection import Injection, Mutant

GROUPS = ("forward", "loss", "gradient", "step", "data", "export")
"""Where a fault can show, in the order in which one follows from the other."""
PIPELINE = "pipeline"
"""Stands for a stage where a fault concerns what surrounds the network: data, files."""

OPERANDS = {
    "activation": "a ReLU that is missing, added, leaks, or has another slope in the backward pass",
    "bias": "a bias that is missing, added too often or at another place",
    "bias correction": "Adam's correction of its moments for having started at zero",
    "border pixels": "what is read at and beyond the image's border",
    "camera": "a camera's axes, place or order of transforms",
    "channel order": "channels or statistics in another order",
    "constant": "a number that is another one",
    "decay term": "which variables decay, by how much and where",
    "detach": "a way that gradients do not take",
    "epsilon": "a number that keeps from dividing by zero",
    "faces": "triangles of a mesh file",
    "frame": "points or normals in another frame",
    "gradient clipping": "gradients limited before the step",
    "hypothesis order": "hypotheses missing or in another order",
    "image": "how pixels become the network's input",
    "index order": "indices swapped, reversed or shifted",
    "integer pixels": "what is read at coordinates that are integers",
    "interpolation": "which corners are read between pixels",
    "item order": "the order of items in training",
    "learning rate": "Adam's learning rate",
    "map levels": "which feature maps are read",
    "mesh": "the mesh that a stage starts from",
    "missing term": "a loss term that is not there or not in the total",
    "not a number": "what becomes of 0/0",
    "optimiser state": "moments that are lost",
    "padding": "where and with what a convolution is padded",
    "pooling statistic": "what is taken over the views",
    "precision": "fewer bits than the run's",
    "reduction": "a sum, mean, square or softmax taken otherwise",
    "residual": "what is added to a layer's output, and how",
    "rounding": "how a coordinate becomes an index",
    "samples": "points drawn on a mesh",
    "stride": "which outputs of a convolution are kept",
    "support": "the matrix that joins vertices, or which weights go with it",
    "training": "what is trained",
    "view order": "which view is which",
    "weights of another layer": "a layer that runs with another one's variables",
    "weights transposed": "a variable loaded with its axes swapped",
}
"""The operands that a fault can be about, and what is meant."""


@dataclass(frozen=True, eq=False)
class Fault:
    """One deviation that can be put into a right implementation.

    Attributes:
        id: its name; in the catalogue the one of the observed deviation.
        description: what is done instead of what.
        part: the part of the implementation that is wrong.
        operand: what of that part is wrong, a key of ``OPERANDS``.
        shows_in: of ``GROUPS``, where it can be seen by itself, without following from an earlier
            one; it is judged at the first.
        probe: name of the probe that can tell; see ``studies.faults.probes``.
        expected: by stage, the first thing that differs: a tap, ``losses/T``, ``gradients/KEY``,
            ``steps/N/KEY``, or the name of a check of the data or of the exported file. Variables
            are gone through in the order of ``studies.faults.order``. Empty where nothing does.
        source: "catalogue", or the rule that generated it.
        injection: how it is put in.
        dtype: the precision in which it shows: float64, or float32 where it is the same function
            with more rounding.
        equivalent_because: the proof that it computes the same function, where it does.
        small: whether it belongs to the small form that continuous integration runs.
    """

    id: str
    description: str
    part: str
    operand: str
    shows_in: tuple[str, ...]
    probe: str
    expected: Mapping[str, str]
    source: str
    injection: Injection = field(default_factory=Injection)
    dtype: str = "float64"
    equivalent_because: str = ""
    small: bool = False

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(self.expected)

    @property
    def group(self) -> str:
        """Where it is judged."""
        return self.shows_in[0]

    def backend(self, stage: str, dtype: str = "float32", device: str = "cpu") -> Mutant:
        """A candidate with this fault; the form of ``parity.traces.backends.Factory``."""
        return Mutant(self.injection, stage, dtype, device)
