"""Putting one fault into the torch implementation without editing it, and taking it out again.

A fault may change what the backend is given (inputs, weights), the network once it is loaded (the
``forward`` of single layers), and functions or constants of ``torch_impl`` while a call lasts.
Those are put back when the call ends, whatever happens in it, so that two candidates in one process
do not see each other.
"""

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from torch_impl.backend import Listen, TorchBackend
from torch_impl.evaluation import Evaluation
from torch_impl.training import BETA_1, BETA_2, Step, Trainer, TrainingSettings, TrainingState

Inputs = dict[str, Any]
Arrays = dict[str, np.ndarray]
Around = Callable[[], AbstractContextManager[None]]
Forward = Callable[..., Any]
Make = Callable[[Any, Forward], Forward]
"""Makes a layer's new ``forward`` from the layer and its old one."""


@dataclass(frozen=True)
class Injection:
    """What is changed; None where nothing is.

    Attributes:
        inputs: the stage's name and inputs (a copy of the mapping) to other inputs.
        weights: likewise for the weights, by checkpoint key.
        network: edits a network that was just loaded.
        around: context managers that are entered for every call, each swapping something.
        evaluation: changes what ``evaluate`` returns.
        settings: changes how a training run is set up.
        resumed: after how many steps the optimiser starts anew, the weights kept.
    """

    inputs: Callable[[str, Inputs], Inputs] | None = None
    weights: Callable[[str, Arrays], Arrays] | None = None
    network: Callable[[Any], None] | None = None
    around: tuple[Around, ...] = ()
    evaluation: Callable[[Evaluation], Evaluation] | None = None
    settings: Callable[[TrainingSettings], TrainingSettings] | None = None
    resumed: int | None = None


class Mutant(TorchBackend):
    """The torch implementation of one stage with one injection; a ``Backend``."""

    def __init__(self, injection: Injection, stage: str, dtype: str, device: str) -> None:
        super().__init__(stage, dtype, device)
        self._injection = injection
        self._depth = 0
        self._changed: tuple[Mapping[str, np.ndarray], Arrays] | None = None

    def run(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], listen: Listen | None
    ) -> np.ndarray:
        with self._injected():
            return super().run(self._inputs(inputs), self._weights(weights), listen)

    def evaluate(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], **options: Any
    ) -> Evaluation:
        with self._injected():
            found = super().evaluate(self._inputs(inputs), self._weights(weights), **options)
        edit = self._injection.evaluation
        return found if edit is None else edit(found)

    def steps(
        self,
        inputs: Mapping[str, Any],
        weights: Mapping[str, np.ndarray],
        count: int,
        **options: Any,
    ) -> Iterator[tuple[Step, TrainingState]]:
        settings = options.pop("settings", None) or TrainingSettings()
        if self._injection.settings is not None:
            settings = self._injection.settings(settings)
        with self._injected():
            trainer = Trainer(self, self._inputs(inputs), self._weights(weights), settings)
        for number in range(count):
            # Entered anew for every step: whoever takes the steps may do other work between them.
            with self._injected():
                if number == self._injection.resumed:
                    trainer.restore(_forgetful(trainer.state()))
                step, state = trainer.step(), trainer.state()
            yield step, state

    @contextmanager
    def _injected(self) -> Iterator[None]:
        """The swaps, once only where one call of the backend makes another."""
        with ExitStack() as stack:
            if not self._depth:
                for around in self._injection.around:
                    stack.enter_context(around())
                if self._injection.network is not None:
                    stack.enter_context(_editing_networks(self._injection.network))
            self._depth += 1
            stack.callback(self._leave)
            yield

    def _leave(self) -> None:
        self._depth -= 1

    def _inputs(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._injection.inputs is None:
            return inputs
        return self._injection.inputs(self.stage, dict(inputs))

    def _weights(self, weights: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        if self._injection.weights is None:
            return weights
        if self._changed is None or self._changed[0] is not weights:
            # Kept, because the backend keeps its network for the same mapping.
            self._changed = weights, self._injection.weights(self.stage, dict(weights))
        return self._changed[1]


def _forgetful(state: TrainingState) -> TrainingState:
    """A state whose weights alone were kept."""
    zeros = {key: np.zeros_like(value) for key, value in state.weights.items()}
    return replace(state, first_moments=zeros, second_moments=zeros, beta_powers=(BETA_1, BETA_2))


@contextmanager
def swapped(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """Replace an attribute of a module or class by what ``make`` makes of it."""
    kept = getattr(owner, name)
    own = name in vars(owner)
    # A class method would otherwise come back bound.
    raw = vars(owner)[name] if own else kept
    setattr(owner, name, make(kept))
    try:
        yield
    finally:
        if own:
            setattr(owner, name, raw)
        else:
            delattr(owner, name)


@contextmanager
def replaced(function: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """Replace ``module.name`` of ``torch_impl`` in every module there that has imported it."""
    module, _, name = function.rpartition(".")
    original = getattr(importlib.import_module(f"torch_impl.{module}"), name)
    new = make(original)
    with ExitStack() as stack:
        for place in [each for key, each in sys.modules.items() if _ours(key)]:
            if vars(place).get(name) is original:
                stack.enter_context(swapped(place, name, lambda _: new))
        yield


def replacing(function: str, make: Callable[[Any], Any]) -> Injection:
    """An injection that replaces one function; see ``replaced``."""
    return Injection(around=(lambda: replaced(function, make),))


def constant(name: str, value: Any) -> Injection:
    """An injection that gives a constant of ``torch_impl`` another value."""
    module, _, attribute = name.rpartition(".")

    def around() -> AbstractContextManager[None]:
        owner = importlib.import_module(f"torch_impl.{module}")
        return swapped(owner, attribute, lambda _: value)

    return Injection(around=(around,))


def layers(make: Make, *names: str) -> Injection:
    """An injection that gives the named layers of the network another ``forward``."""

    def edit(network: Any) -> None:
        for name in names:
            layer = network.get_submodule(name)
            layer.forward = make(layer, layer.forward)

    return Injection(network=edit)


def every_layer(make: Make, kind: type[nn.Module]) -> Injection:
    """An injection that gives every layer of a kind another ``forward``."""

    def edit(network: Any) -> None:
        for layer in network.modules():
            if isinstance(layer, kind):
                layer.forward = make(layer, layer.forward)

    return Injection(network=edit)


def _editing_networks(edit: Callable[[Any], None]) -> AbstractContextManager[None]:
    def make(load: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        def loading(*arguments: Any, **options: Any) -> nn.Module:
            network = load(*arguments, **options)
            edit(network)
            return network

        return loading

    return replaced("loading.load_network", make)


def _ours(module: str) -> bool:
    return module.partition(".")[0] == "torch_impl"
