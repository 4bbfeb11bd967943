"""A port between the harness and itself: its exceptions, its prints, its writes to inputs."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from parity.traces.aside import aside
from parity.traces.blame import innermost_place, place_in_port, words_of
from parity.traces.lent import Lent, WrittenError
from parity.traces.process_settings import settings_of
from weight_conversion.errors import InputError

_ABSENT = object()


class PortError(InputError):
    """A port failed, or gave what a port must not give.

    Attributes:
        reason: the message without the port's name.
    """

    def __init__(self, name: str, reason: str, expected: str = "") -> None:
        super().__init__(f"backend {name}", reason, expected)
        self.reason = str(self).removeprefix(f"backend {name}: ")


class NarrowError(InputError):
    """A tap of the run in float64 is narrower."""

    def __init__(self, tap: str, dtype: np.dtype) -> None:
        super().__init__(f"tap {tap}", f"{dtype} in the run in float64")
        self.tap = tap


class PortGuard:
    """A ``Backend`` around a port, with those optional methods that the port has.

    Every call gets copies of inputs and weights of its own, the inputs read-only. What the port
    prints goes to stderr, and what it sets for the whole process holds while its own code runs.

    A network's output is what ``run`` returns: a port that goes on from its last tap is refused,
    for what it makes of it would be compared with nothing.

    Args:
        name: ``module:factory``.
        port: what the factory returned.
        output: the tap that is the network's output.

    Raises:
        PortError: by every method, where the port raises anything, writes to its inputs, or gives
            what cannot be taken; with the place in the port's code and the tap last heard.
    """

    def __init__(self, name: str, port: Any, output: str = "") -> None:
        self._name, self._port, self._output = name, port, output

    def __getattr__(self, attribute: str) -> Any:
        # A port is judged as it runs, on the whole mesh.
        if attribute.startswith("_") or attribute == "by_vertices":
            raise AttributeError(attribute)
        with _Call(self._name, f"its {attribute}").guarding():
            found = getattr(self._port, attribute, _ABSENT)
        if found is _ABSENT:
            raise AttributeError(attribute)
        guarded: dict[str, Callable[..., Any]] = {
            "losses": partial(self._named, "losses"),
            "gradients": partial(self._named, "gradients"),
            "watched_gradients": self._watched,
            "steps": self._stepping,
            "probed": self._probed,
        }
        return guarded[attribute] if callable(found) and attribute in guarded else found

    def run(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], listen: Any
    ) -> np.ndarray | None:
        """See ``Backend.run``."""
        last = None if listen is None else _Last(listen, self._output)
        returned = self._call("run", inputs, weights, last)
        found = None if returned is None else self._array("run", "the mesh", returned)
        if found is None:
            return None
        if found.dtype.kind == "O":
            close = getattr(returned, "close", None)
            if close is not None:  # a coroutine that nobody awaits complains otherwise
                close()
            raise PortError(
                self._name, f"its run() gave {_kind(returned)}", "the output mesh, or nothing"
            )
        if last is not None and last.value is not None:
            self._check_returned(found, last.value)
        return found

    def _check_returned(self, returned: np.ndarray, tap: np.ndarray) -> None:
        """Hold what was returned against the output's tap, of which it may be a float32 copy."""
        if returned.size != tap.size or returned.dtype not in (np.float32, np.float64):
            raise PortError(
                self._name,
                f"its run() returned {returned.dtype} {returned.shape}, "
                f"and its tap {self._output} is {tap.shape}",
                "the output, as the tap has it",
            )
        returned = returned.reshape(tap.shape)
        if not np.array_equal(returned, tap.astype(returned.dtype), equal_nan=True):
            with np.errstate(invalid="ignore"):
                away = np.nanmax(np.abs(returned.astype(np.float64) - tap), initial=0.0)
            raise PortError(
                self._name,
                f"its run() returned another output than its tap {self._output}, {away:.3g} away",
                'the same, or "()" for that tap in the map, so that what is returned is judged',
            )

    def _probed(self, inputs: Mapping[str, Any], seed: int) -> Any:
        lent, call = Lent(inputs), _Call(self._name, "its call", self._port)
        with call.guarding():
            return self._port.probed(lent.value, seed)

    def _named(
        self, method: str, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        return self._arrays(method, self._call(method, inputs, weights))

    def _watched(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], watch: Any
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        method = "watched_gradients"
        found = self._call(method, inputs, weights, watch)
        if not isinstance(found, tuple) or len(found) != 2:
            raise PortError(
                self._name, f"its {method}() gave {_kind(found)}", "(losses, gradients)"
            )
        return self._arrays(method, found[0]), self._arrays(method, found[1])

    def _stepping(
        self,
        inputs: Mapping[str, Any],
        weights: Mapping[str, np.ndarray],
        samples: Iterator[Mapping[str, Any]],
        learning_rate: float,
    ) -> Iterator[Any]:
        """The port's generator of steps; see ``parity.training.trainers.PortTrainer``."""
        lent, call = Lent(inputs), _Call(self._name, "its steps()")
        drawn = (Lent(each).value for each in samples)
        with call.guarding():
            steps = iter(self._port.steps(lent.value, _own(weights), drawn, learning_rate))
        ended = object()
        while True:
            with call.guarding():
                found = next(steps, ended)
                if changed := lent.changed():
                    raise WrittenError(changed[0])
            if found is ended:
                return
            yield found

    def _call(
        self,
        method: str,
        inputs: Mapping[str, Any],
        weights: Mapping[str, np.ndarray],
        *hearer: Any,
    ) -> Any:
        """Call a method of the port; ``hearer``: ``listen`` or ``watch``, where it takes one."""
        lent, call = Lent(inputs), _Call(self._name, f"its {method}()", self._port)
        heard = [None if each is None else _Hearer(each, call) for each in hearer]
        again = partial(self._again, method, inputs, weights, len(hearer))
        try:
            with call.guarding():
                found = getattr(self._port, method)(lent.value, _own(weights), *heard)
        except NarrowError as error:
            raise self._narrow(error, again) from error
        if changed := lent.changed():
            with call.guarding():
                raise self._written(changed[0], again)
        return found

    def _written(self, path: str, again: Callable[..., BaseException | None]) -> WrittenError:
        """The write that changed an input. NumPy lets none pass; PyTorch does, and is asked."""
        if "torch" in sys.modules:
            from parity.traces.torch_places import WriteFinder

            error = again(_Deaf(), lambda lent: WriteFinder(lent.arrays))
            if isinstance(error, WrittenError):
                return error
        return WrittenError(path)

    def _narrow(self, error: NarrowError, again: Callable[..., BaseException | None]) -> PortError:
        """What to say of a tap of float32 in a run in float64: where it became so."""
        place, source = "", getattr(self._port, "source_of", None)
        if "torch" in sys.modules:
            from parity.traces.torch_places import NarrowingFinder

            finder = NarrowingFinder()
            again(_UntilNarrow(finder.reset), lambda _: finder)
            place = innermost_place(finder.places, self._name)
        where = [f"narrowed at {place}"] if place else []
        if source is not None:
            where.insert(0, source(error.tap))
        elif not place:
            where = [place_in_port(error, self._name)]
        told = "; ".join(each for each in where if each)
        return PortError(self._name, f"{error} ({told})" if told else f"{error}")

    def _again(
        self,
        method: str,
        inputs: Mapping[str, Any],
        weights: Mapping[str, np.ndarray],
        hearers: int,
        hearer: "_Deaf",
        mode: Callable[[Lent], Any],
    ) -> BaseException | None:
        """Call a method once more under a dispatch mode; what ended it."""
        lent = Lent(inputs)
        try:
            with _outside(self._name), mode(lent):
                getattr(self._port, method)(lent.value, _own(weights), *[hearer] * hearers)
        except (Exception, SystemExit) as error:  # a mode may be more than the port can stand
            return error
        return None

    def _arrays(self, method: str, found: Any) -> dict[str, np.ndarray]:
        if not isinstance(found, Mapping):
            raise PortError(
                self._name, f"its {method}() gave {_kind(found)}", "a mapping of names to numbers"
            )
        return {str(key): self._array(method, str(key), value) for key, value in found.items()}

    def _array(self, method: str, what: str, value: Any) -> np.ndarray:
        try:
            return np.asarray(value)
        except Exception as error:  # whatever a framework's own type says
            raise PortError(
                self._name,
                f"its {method}() gave {what} as {_kind(value)} ({words_of(error)})",
                "a NumPy array",
            ) from error


_LEFT_ALONE = "inputs left as they are: copy an array before changing it"


class _Call:
    """One call into a port: the tap last heard, and what the harness itself raised meanwhile."""

    def __init__(self, name: str, what: str, port: Any = None, failed: str = "failed") -> None:
        self._name, self._what, self._port, self._failed = name, what, port, failed
        self.heard = ""
        self.raised: Exception | None = None

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """Run a block of the port's code."""
        try:
            with _outside(self._name):
                yield
        except KeyboardInterrupt:  # the user's own
            raise
        except BaseException as error:  # a cancelled task, a group of exceptions
            if isinstance(error, (PortError, NarrowError)) or (
                error is self.raised and not isinstance(error, InputError)
            ):
                raise
            raise self._told(error) from error
        if self.raised is not None:  # the port has swallowed it
            raise self.raised

    def _told(self, error: BaseException) -> PortError:
        place = place_in_port(error, self._name)
        if isinstance(error, InputError):
            return PortError(self._name, f"{error} ({place})" if place else f"{error}")
        heard = self.heard or getattr(self._port, "heard", "")
        at = f" at {place}" if place else ""
        after = f" after tap {heard}" if heard else ""
        if isinstance(error, WrittenError):
            how = f" ({error.how})" if error.how else ""
            told = f"{self._what} writes to {error.path}{at}{how}"
            return PortError(self._name, told, _LEFT_ALONE)
        words = words_of(error)
        if isinstance(error, ValueError) and "read-only" in words:
            told = f"{self._what} writes to a read-only array{at}{after} ({words})"
            return PortError(self._name, told, _LEFT_ALONE)
        return PortError(self._name, f"{self._what} {self._failed}{at}{after} ({words})")


@contextmanager
def importing(name: str) -> Iterator[None]:
    """Import a port's module.

    Raises:
        PortError: whatever the block raises, with the place in the port's code.
    """
    with _Call(name, "cannot be", failed="imported").guarding():
        yield


@contextmanager
def making(name: str) -> Iterator[None]:
    """Call a port's factory; raises as ``importing`` does."""
    with _Call(name, "its factory").guarding():
        yield


@contextmanager
def _outside(name: str) -> Iterator[None]:
    """Keep what a port prints, and what it sets for the whole process, to itself."""
    with settings_of(name.partition(":")[0]).kept(), aside():
        yield


class _Hearer:
    """``listen`` or ``watch`` as a port gets it: knows the last tap, takes what NumPy can take."""

    def __init__(self, hearer: Any, call: _Call) -> None:
        self._hearer, self._to = hearer, call

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._hearer, attribute)

    def __call__(self, tap: str, value: Any) -> None:
        self._tell(self._hearer, tap, _numbers(tap, value))

    def value(self, tap: str, rows: slice | None, array: Any) -> None:
        """See ``torch_impl.tap_gradients.Watch``."""
        self._tell(self._hearer.value, tap, rows, _numbers(tap, array))

    def gradient(self, tap: str, rows: slice | None, array: Any) -> None:
        """See ``torch_impl.tap_gradients.Watch``."""
        self._tell(self._hearer.gradient, tap, rows, _numbers(tap, array))

    def _tell(self, to: Callable[..., None], tap: str, *what: Any) -> None:
        try:
            to(tap, *what)
        except Exception as error:
            self._to.raised = error
            raise
        self._to.heard = tap


class _Last:
    """``listen`` that remembers the output's tap."""

    def __init__(self, listen: Any, output: str) -> None:
        self._listen, self._output = listen, output
        self.value: np.ndarray | None = None

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._listen, attribute)

    def __call__(self, tap: str, value: np.ndarray) -> None:
        self._listen(tap, value)
        if tap == self._output:
            self.value = np.array(value)


class _Deaf:
    """``listen`` and ``watch`` of a run that is repeated to find a place."""

    def __call__(self, tap: str, value: Any) -> None: ...

    def value(self, tap: str, rows: slice | None, array: Any) -> None: ...

    def gradient(self, tap: str, rows: slice | None, array: Any) -> None: ...


class _UntilNarrow(_Deaf):
    """Ends the run at the first tap that is narrower than float64; ``on_wide`` at those before."""

    def __init__(self, on_wide: Callable[[], None]) -> None:
        self._on_wide = on_wide

    def __call__(self, tap: str, value: Any) -> None:
        check_float64(tap, np.asarray(value))
        self._on_wide()


def check_float64(tap: str, array: np.ndarray) -> None:
    """Refuse a tap of a run in float64 that is narrower.

    Raises:
        NarrowError: it is.
    """
    if array.dtype.kind == "f" and array.dtype != np.float64:
        raise NarrowError(tap, array.dtype)


def _numbers(tap: str, value: Any) -> np.ndarray:
    if not isinstance(tap, str):
        raise InputError(f"tap {tap!r}", _kind(tap), "a tap's name")
    try:
        return np.asarray(value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a framework's own type says
        raise InputError(
            f"tap {tap}", f"{_kind(value)} ({words_of(error)})", "a NumPy array"
        ) from error


def _own(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Copies, which a port may train in place."""
    return {key: np.array(array) for key, array in weights.items()}


def _kind(value: object) -> str:
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"a {module}{kind.__qualname__}"
