import numpy as np

from tf_reference.listening import SILENCE, Listening
from tf_reference.runtime import tf


class Untransferable:
    """Stands for a tensor whose transfer would cost something."""

    def numpy(self) -> np.ndarray:
        raise AssertionError("transferred though nobody listens")


def test_nobody_listens() -> None:
    SILENCE("tap", Untransferable())
    assert not SILENCE.wanted("tap")


def test_unwanted_taps_are_not_transferred() -> None:
    class Listener:
        def wants(self, tap: str) -> bool:
            return tap == "b"

        def __call__(self, tap: str, array: np.ndarray) -> None:
            heard.append((tap, float(array)))

    heard: list[tuple[str, float]] = []
    taps = Listening(Listener())
    taps("a", Untransferable())
    taps("b", tf.constant(2.0))
    assert heard == [("b", 2.0)]


def test_a_plain_function_hears_every_tap() -> None:
    heard = []
    taps = Listening(lambda tap, array: heard.append((tap, array.dtype.name)))
    taps("a", tf.constant(1.0, tf.float64))
    assert heard == [("a", "float64")]
