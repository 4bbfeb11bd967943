"""The study's runs on several processes, each in its folder, where it goes on after a death."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from cluster.flow import flow
from cluster.opened import Wanted, opened
from parity.traces.record import RunInputs
from studies.spikes.design import Plan
from studies.spikes.study import run_plan
from weight_conversion.errors import InputError


def run_plans(
    todo: Sequence[Plan],
    inputs: Mapping[str, RunInputs],
    folder: Path,
    wanted: Wanted,
    keep_weights: bool,
) -> Iterator[str]:
    """Make runs, and name each as it is finished; see ``run_plan``.

    Args:
        todo: what to run.
        inputs: by the items' names, sent once a worker.
        folder: of the study, which every worker can write to.
        wanted: the cluster.
        keep_weights: leave each run's last weights.

    Raises:
        InputError: a run fails, or its worker died of it each time.
    """
    make = partial(_running, dict(inputs), folder.resolve(), keep_weights)
    with opened(wanted, make) as cluster:
        for outcome in flow(cluster, ((plan.name, plan) for plan in todo)):
            if outcome.done is None:
                raise InputError(outcome.key, outcome.reason, "a run that can be finished")
            yield outcome.key


def _running(
    inputs: Mapping[str, RunInputs], folder: Path, keep_weights: bool, _scratch: Path
) -> Callable[[Plan], None]:
    def work(plan: Plan) -> None:
        run_plan(plan, inputs[plan.item], folder / plan.name, keep_weights=keep_weights)

    return work
