"""TensorFlow itself: imported quietly and in one place, its devices, its version.

Every module of this package takes ``tf`` from here, so that the environment is set before the
import and nothing that TensorFlow says about itself reaches a user's terminal.
"""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from weight_conversion.errors import InputError

__all__ = ["DTYPES", "device_name", "silenced", "tf", "tf_dtype", "versions"]

DTYPES = ("float32", "float64")
"""The precisions a run can have."""


@contextmanager
def silenced() -> Iterator[None]:
    """Send file descriptor 2 to nowhere inside the block.

    TensorFlow's C++ libraries log before any setting of theirs is read, so the level set in the
    environment is not enough. Python exceptions pass through as usual.
    """
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:
        # No standard error at all (a daemon): nothing can be printed there either.
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_TRT_LOG_LEVEL", "3")
# Would let oneDNN compute float32 products in bfloat16 behind the reference's back.
os.environ.pop("TF_SET_ONEDNN_FPMATH_MODE", None)

try:
    with silenced(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")
        # Looking for devices logs as well; it must not do so in the middle of a run.
        for _gpu in tf.config.list_physical_devices("GPU"):
            # TensorFlow takes all memory by default and would leave none for the other side.
            # It cannot be changed any more if the caller has already used the device.
            with suppress(RuntimeError):
                tf.config.experimental.set_memory_growth(_gpu, True)
except ImportError as error:
    raise InputError(
        "TensorFlow", f"cannot be imported ({error})", "pip install 'pixel2mesh-parity[tf]'"
    ) from error

# On by default: a GPU would multiply float32 matrices with 10 bits of mantissa.
tf.config.experimental.enable_tensor_float_32_execution(False)


def versions() -> dict[str, str]:
    """The versions that a trace of this package reports."""
    return {"tensorflow": str(tf.__version__)}


def tf_dtype(dtype: str) -> "tf.DType":
    """The TensorFlow type of a run's precision.

    Raises:
        InputError: neither float32 nor float64.
    """
    if dtype not in DTYPES:
        raise InputError("dtype", repr(dtype), "float32 or float64")
    return tf.as_dtype(dtype)


def device_name(device: str) -> str:
    """TensorFlow's name of ``cpu`` or ``cuda[:N]``.

    Raises:
        InputError: another device, or a GPU that TensorFlow does not see.
    """
    kind, _, number = device.partition(":")
    if kind == "cpu" and number in ("", "0"):
        return "/CPU:0"
    if kind != "cuda" or not (number == "" or number.isdecimal()):
        raise InputError("device", repr(device), "cpu, cuda or cuda:N")
    seen = len(tf.config.list_physical_devices("GPU"))
    index = int(number or 0)
    if index >= seen:
        raise InputError(
            "device", f"{device}, but TensorFlow sees {seen} GPUs", "cpu or a GPU that it sees"
        )
    return f"/GPU:{index}"
