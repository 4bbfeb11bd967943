import os
import re
import subprocess
import sys

import pytest

from tf_reference.runtime import device_name, silenced, tf_dtype, versions
from weight_conversion.errors import InputError


def test_versions_name_tensorflow() -> None:
    assert re.match(r"2\.\d+", versions()["tensorflow"])


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_precisions(name: str) -> None:
    assert tf_dtype(name).name == name


@pytest.mark.parametrize("name", ["float16", "", "int32"])
def test_other_precisions_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"expected float32 or float64"):
        tf_dtype(name)


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_cpu(device: str) -> None:
    assert device_name(device) == "/CPU:0"


@pytest.mark.parametrize("device", ["", "gpu", "cpu:1", "cuda:", "cuda:x", "cuda:-1", "mps"])
def test_unknown_devices_are_refused(device: str) -> None:
    with pytest.raises(InputError, match=r"^device: "):
        device_name(device)


def test_a_gpu_that_is_not_seen_is_refused() -> None:
    with pytest.raises(InputError, match=r"cuda:99, but TensorFlow sees \d+ GPUs"):
        device_name("cuda:99")


def test_silence_covers_the_descriptor_and_ends(capfd: pytest.CaptureFixture[str]) -> None:
    with silenced():
        os.write(2, b"inside\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_silence_lets_errors_through(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), silenced():
        raise KeyError
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_nothing_is_printed_and_float32_stays_float32() -> None:
    program = (
        "from tf_reference.runtime import tf\n"
        "tf.matmul(tf.ones((2, 2)), tf.ones((2, 2))).numpy()\n"
        "tf.compat.v1.Session(graph=tf.Graph()).close()\n"
        "print(tf.config.experimental.tensor_float_32_execution_enabled())\n"
    )
    environment = {**os.environ, "TF_SET_ONEDNN_FPMATH_MODE": "BF16"}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("False\n", "", 0)


def test_the_package_does_not_import_torch() -> None:
    program = "import sys, tf_reference.backend; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
