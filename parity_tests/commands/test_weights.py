"""``convert`` and ``inspect``: which set of a file is taken, and what is told about it."""

import json
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from commands.convert import command as convert
from commands.inspect import command as inspect
from commands.weights import read_weights
from parity_tests.weight_conversion.conftest import small as small
from weight_conversion.bundle import write_bundle
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet, load_weights
from weight_conversion.weight_set import weights_sha256


@pytest.fixture
def both(small: WeightSet, tmp_path: Path) -> Path:
    """A checkpoint of two towers, the second's variables beside their averages."""
    arrays = {}
    for number, (tower, end) in enumerate(
        [("tower_0", ""), ("tower_1", ""), ("tower_1", "/ExponentialMovingAverage")], start=1
    ):
        for key, array in small.arrays.items():
            arrays[f"{tower}/{key.removesuffix(':0')}{end}"] = array / np.float32(number)
    write_bundle(tmp_path / "x.ckpt-7", arrays)
    return tmp_path / "x.ckpt-7"


@pytest.mark.parametrize(
    ("options", "number"),
    [
        (["--scope", "tower_0"], 1),
        (["--scope", "tower_1/", "--no-ema"], 2),
        (["--ema"], 3),
    ],
)
def test_options_take_one_of_several(
    options: list[str], number: int, small: WeightSet, both: Path
) -> None:
    done = CliRunner().invoke(convert, [str(both), str(both.with_name("y.npz")), *options])
    assert done.exit_code == 0, done.output
    found = load_weights(both.with_name("y.npz"))
    expected = {key: array / np.float32(number) for key, array in small.arrays.items()}
    assert weights_sha256(found.arrays) == weights_sha256(expected)
    scope = "tower_0/" if number == 1 else "tower_1/"
    assert f"note: taken from the scope '{scope}'\n" in done.output
    assert ("note: the variables' moving averages are taken" in done.output) == (number == 3)
    assert "note: 8 left out: tower_" in done.output
    shown = CliRunner().invoke(inspect, [str(both), *options, "--json"])
    value = json.loads(shown.output)
    assert (value["stage"], value["checksums"], value["problems"]) == ("small", "verified", [])
    assert value["weights_sha256"] == weights_sha256(expected)
    assert value["notes"][0] == f"taken from the scope '{scope}'"
    assert len(value["extras"]) == 8


@pytest.mark.usefixtures("small")
def test_without_a_choice_all_are_named(both: Path) -> None:
    done = CliRunner().invoke(convert, [str(both), str(both.with_name("y.npz"))])
    assert isinstance(done.exception, InputError)
    assert str(done.exception).endswith(
        "3 sets of weights: small under 'tower_0/', small under 'tower_1/', small under 'tower_1/' "
        "as moving averages; expected one, which `p2m-parity convert` takes with --scope and "
        "--ema or --no-ema"
    )
    assert not both.with_name("y.npz").exists()
    shown = CliRunner().invoke(inspect, [str(both)])
    assert "problem: 3 sets of weights: small under 'tower_0/'" in shown.output


@pytest.mark.usefixtures("small")
def test_inspect_says_what_was_checked(both: Path) -> None:
    shown = CliRunner().invoke(inspect, [str(both), "--ema"])
    assert "\nverified: every value has the checksum that the file keeps of it\n" in shown.output
    (both.with_name("x.ckpt-7.data-00000-of-00001")).unlink()
    shown = CliRunner().invoke(inspect, [str(both), "--ema"])
    assert "\nunverified: not every value was held against a checksum" in shown.output


def test_other_commands_tell_on_stderr(small: WeightSet, both: Path) -> None:
    folder = both.parent / "one"
    folder.mkdir()
    write_bundle(folder / "x.ckpt-9", small.arrays)

    @click.command()
    def reads() -> None:
        click.echo(read_weights(folder).step)

    done = CliRunner().invoke(reads)
    assert done.stdout == "9\n"
    note = f"the checkpoint {folder}/x.ckpt-9, the only one in the folder"
    assert done.stderr == f"p2m-parity: note: {folder}: {note}\n"
