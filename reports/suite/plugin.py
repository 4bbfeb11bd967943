"""``pytest --p2m-candidate my_port:factory``: the parity suite of anybody's port.

A named test for every tap, loss, gradient and training step of both stages, on the demo's items or
on others, made from one recording an item and stage, which the processes of pytest-xdist share.
With ``--p2m-inputs`` a named test for every tap of a network of one's own.

    pytest --p2m-candidate my_port:factory
    pytest --p2m-candidate my_port:factory -k "coarse and plane and tap"
    pytest --p2m-candidate my_port:factory -n 2 --dist loadscope --p2m-report out

Without paths it is the suite alone that runs, with some (``pytest tests --p2m-candidate …``) both.
A test fails where the layer itself is wrong. Where it is right on what it was given, but that was
wrong already, the test passes and is counted as inherited. What a port does not have is skipped,
with the reason. A run in which every test was skipped is no success (exit status 5).
"""

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from reports.suite.runs import Recording

CANDIDATE = "--p2m-candidate"
INHERITED = "p2m_inherited"
"""The property of a test whose layer is right and got wrong inputs: where they went wrong."""
_FOLDER = pytest.StashKey[Path]()
_RECORDINGS = pytest.StashKey["list[Recording]"]()
_INPUT = "p2m_suite_folder"
DEFAULT_STEPS = 2
"""The second one shows what the first leaves in the moments."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The suite's options."""
    group = parser.getgroup("pixel2mesh-parity")
    group.addoption(
        CANDIDATE, metavar="MODULE:FACTORY",
        help="judge this port: a test for every tap, loss, gradient and training step",
    )  # fmt: skip
    group.addoption(
        "--p2m-reference", metavar="BACKEND", default="torch",
        help="what is taken as right: torch (default), tf, onnx, module:factory",
    )  # fmt: skip
    group.addoption(
        "--p2m-item", metavar="ITEM", action="append", default=[],
        help="plane, sofa, or an item's folder; may be repeated; both of the demo's by default",
    )  # fmt: skip
    group.addoption(
        "--p2m-network", metavar="MODULE", action="append", default=[],
        help="import a module that registers a network of your own; may be repeated",
    )  # fmt: skip
    group.addoption(
        "--p2m-inputs", metavar="FILE", action="append", default=[],
        help="what a network of your own reads (.npz), in place of items; may be repeated",
    )  # fmt: skip
    group.addoption(
        "--p2m-weights", metavar="FILE", action="append", default=[],
        help="weights in any format, once a stage; the demo network's by default",
    )  # fmt: skip
    group.addoption(
        "--p2m-steps", metavar="N", type=int, default=DEFAULT_STEPS,
        help=f"training steps to take (default {DEFAULT_STEPS})",
    )  # fmt: skip
    group.addoption("--p2m-device", metavar="DEVICE", default="cpu", help="cpu (default) or cuda:N")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a wrong option before anything runs; leave other tests out where none are named."""
    if not config.getoption(CANDIDATE):
        return
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []
    from weight_conversion.errors import InputError

    try:
        config.stash[_RECORDINGS] = _recordings(config)
    except InputError as error:
        raise pytest.UsageError(f"{CANDIDATE}: {error}") from error
    given = getattr(config, "workerinput", {}).get(_INPUT)
    if given is not None:
        config.stash[_FOLDER] = Path(given)
        return
    config.stash[_FOLDER] = Path(tempfile.mkdtemp(prefix="p2m-parity-"))
    config.pluginmanager.register(_Judging())


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take away what the processes shared."""
    folder = config.stash.get(_FOLDER, None)
    if folder is not None and not hasattr(config, "workerinput"):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where the recordings are."""
    if _FOLDER in node.config.stash:
        node.workerinput[_INPUT] = str(node.config.stash[_FOLDER])


@pytest.hookimpl(tryfirst=True)  # before -k and --lf look at what there is
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the suite's tests."""
    if config.getoption(CANDIDATE):
        from reports.suite.items import PortCollector

        port = PortCollector.from_parent(
            session, name=config.getoption(CANDIDATE), nodeid=config.getoption(CANDIDATE),
            recordings=config.stash[_RECORDINGS], folder=config.stash[_FOLDER],
        )  # fmt: skip
        items.extend(session.genitems(port))


def pytest_report_teststatus(
    report: pytest.CollectReport | pytest.TestReport,
) -> tuple[str, str, str] | None:
    """Count apart what only inherits, and say from where."""
    origin = dict(getattr(report, "user_properties", ())).get(INHERITED)
    if origin and report.when == "call" and report.passed:
        return "inherited", "i", f"INHERITED from {origin}"
    return None


class _Judging:
    """Sees to it that a run in which every test was skipped is no success."""

    def __init__(self) -> None:
        self._judged = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._judged |= report.when == "call" and not report.skipped

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        skipped = not self._judged and not session.config.option.collectonly
        if skipped and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED


def _recordings(config: pytest.Config) -> list["Recording"]:
    """What the options ask for.

    Raises:
        InputError: a port, item or file of weights is not there.
    """
    from parity.traces.networks import import_networks
    from reports.suite.asked import recordings

    import_networks(config.getoption("--p2m-network"), "--p2m-network")
    return recordings(
        candidate=config.getoption(CANDIDATE),
        reference=config.getoption("--p2m-reference"),
        items=config.getoption("--p2m-item"),
        inputs=[Path(each) for each in config.getoption("--p2m-inputs")],
        weights=[Path(each) for each in config.getoption("--p2m-weights")],
        steps=config.getoption("--p2m-steps"),
        device=config.getoption("--p2m-device"),
    )
