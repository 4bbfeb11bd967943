"""The whole list: observed deviations, then what the rules make."""

from studies.faults import catalogue, mutations
from studies.faults.data import Pipeline
from studies.faults.fault import Fault
from studies.faults.rules import layer_mutations

FAULTS: tuple[Fault, ...] = (*catalogue.CATALOGUE, *layer_mutations(), *mutations.MUTATIONS)
"""Everything to be injected, in a fixed order."""

PIPELINES: dict[str, Pipeline] = {**catalogue.PIPELINES, **mutations.PIPELINES}
"""The pipelines of the faults that lie around the network, by the fault's name."""
