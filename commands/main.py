"""The command line: one group, its commands loaded when asked for, and one way to fail."""

import importlib
import importlib.metadata
import os
import platform
import signal
import sys
from types import FrameType

import click

from commands.pages import page_of
from weight_conversion.errors import InputError

COMMANDS = {
    "demo": "Run both stages in TensorFlow and PyTorch on a plane and a sofa, and compare.",
    "seed": "Write seeded weights for STAGE to DESTINATION, in the format of its ending.",
    "inspect": "List the variables of WEIGHTS: shapes, dtypes, stage, step, checksums.",
    "predict": "Predict the mesh of one item: coarse, refined, or refined from --mesh.",
    "convert": "Convert SOURCE to DESTINATION, both formats by ending, bit for bit.",
    "trace": "Record one run of STAGE.",
    "compare": "Compare the traces REFERENCE and CANDIDATE.",
    "propose": "Find out how the names of a port belong to the network's, and write it to a file.",
    "run": "Run STAGE, or both, on two backends and report.",
    "evaluate": "Evaluate a data set: official scores, losses and parity, item by item.",
    "losses": "Print the losses of meshes and checkpoints: the paper's Table 1 with Laplace.",
    "overfit": "Overfit STAGE on one item, by default with the official settings.",
    "faults": "Put known faults into the implementation, and see whether the verdict finds them.",
    "coverage": "What an item and weights can tell of STAGE, or both: measured once, then kept.",
    "report": "Put the reports of RUNS side by side and say what changed against the first.",
    "table1": "Set ours against the original: losses, mesh differences, the paper's numbers.",
    "spikes": "Find spikes in meshes, trace them through the network, take them out.",
    "sweep": "Overfit items under designed deviations and interventions, and count the spikes.",
}
"""Each command, and what its own help begins with: to list them none is loaded."""
MAKERS = ("demo-dataset", "demo-network")
"""Commands that make what the project carries; they work, but are not listed."""
DISTRIBUTIONS = (
    "pixel2mesh-parity",
    "torch",
    "tensorflow",
    "onnxruntime",
    "numpy",
    "h5py",
    "safetensors",
    "opencv-python-headless",
    "pyvista",
    "distributed",
    "pyarrow",
)


class Commands(click.Group):
    """Loads a command's module when it is called, so that ``--help`` starts at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in (*COMMANDS, *MAKERS):
            return None
        module = importlib.import_module(f"commands.{name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    callback=lambda c, _, v: _version(c, v),
    expose_value=False,
    help="Show all versions and exit.",
)
@click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="MODULE",
    help="Import a module that registers a network of your own: for run, trace, propose, compare, "
    "report, inspect and convert.",
)
def cli(networks: tuple[str, ...]) -> None:
    """Settle whether a PyTorch port of Pixel2Mesh++ computes the same function as TensorFlow.

    Exit status: 0 done or the implementations agree, 1 they differ, 2 trouble.
    """
    if networks:
        from parity.traces.networks import import_networks

        import_networks(networks, "--network")


def _version(context: click.Context, asked: bool) -> None:
    if not asked:
        return
    for name in DISTRIBUTIONS:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            version = "not installed"
        click.echo(f"{name} {version}")
    click.echo(f"python {platform.python_version()} on {platform.platform()}")
    context.exit()


def main() -> None:
    """Run the command line; every failure is one line on stderr and exit status 2."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        status = cli.main(standalone_mode=False, prog_name="p2m-parity")
    except click.ClickException as error:
        asked = getattr(error, "ctx", None)  # of a usage error
        more = f" ({asked.command_path} --help)" if asked is not None else ""
        _fail(f"{error.format_message()}{more}")
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted")
    except InputError as error:
        page = page_of(error.__traceback__)
        _fail(f"{error} ({page})" if page else str(error))
    except BrokenPipeError:
        # The reader of our output has gone; stdout must not complain about it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _fail(f"{place}{error.strerror or error}")
    except MemoryError:
        _fail("out of memory")
    except SystemExit:
        raise
    except BaseException as error:  # whatever ends it is no verdict
        if os.environ.get("P2M_PARITY_DEBUG"):
            raise
        _fail(
            f"internal error, {type(error).__name__}: {error}; "
            "set P2M_PARITY_DEBUG=1 for the traceback"
        )
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str) -> None:
    line = " ".join(message.split())
    print(f"p2m-parity: error: {line}", file=sys.stderr)  # noqa: T201 - this is the command line
    sys.exit(2)


def _terminated(signal_number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    # As an exception, so that what is half-written is removed on the way out.
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
