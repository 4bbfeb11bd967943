"""Parity in pytest: the fixture ``p2m_report``, and ``pytest --p2m-report DIR``.

A test compares two traces, or gives a comparison that it made itself, and fails with the message of
the first divergence::

    def test_port(p2m_report):
        p2m_report.compare("reference.h5", "candidate.h5")

With ``--p2m-report DIR`` each comparison's whole report is written to a folder of its own in
``DIR`` and one above them all; verdict and first divergence become properties of the test
(``--junitxml``), and where ``GITHUB_STEP_SUMMARY`` names a file, the summary is appended to it.
With ``--p2m-candidate`` there are tests without writing any: see ``reports.suite.plugin``.
Nothing heavy is imported before a test asks for it.
"""

import os
import pickle
import re
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from parity.verdict.result import Comparison
    from reports.tables.summary import Part

pytest_plugins = ["reports.suite.plugin"]
OPTION = "--p2m-report"
_LONGEST = 60  # characters of a comparison's folder
_STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
_PACKAGES = ("torch", "tensorflow", "onnxruntime", "numpy", "h5py")


class ParityReport:
    """Collects the comparisons of a test session.

    ``folder`` is where their reports go, None to write none.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.parts: list[Part] = []
        self.item: pytest.Item | None = None
        self.trouble = ""

    def compare(
        self,
        reference: str | os.PathLike[str],
        candidate: str | os.PathLike[str],
        *,
        label: str = "",
        taps: str = "*",
    ) -> "Comparison":
        """Compare two traces, add them to the report, and fail the test if they do not agree.

        Args:
            reference: the trace that is taken as right.
            candidate: the trace that is judged.
            label: the comparison's name in the report; the test's by default.
            taps: glob of the taps to compare.

        Raises:
            InputError: a trace cannot be read, or the two cannot be compared.
        """
        from parity.verdict.compare import compare

        traces = Path(reference), Path(candidate)
        found = compare(*traces, taps=taps)
        self.add(found, label=label, traces=traces)
        self.check(found)
        return found

    def add(
        self,
        comparison: "Comparison",
        *,
        label: str = "",
        traces: tuple[Path, Path] | None = None,
        command: str = "",
    ) -> None:
        """Put a comparison into the report; with its traces the page has slices and meshes.

        Without a ``command`` that repeats it, it is the running test's, whose properties say so.

        Raises:
            InputError: the report cannot be written.
        """
        from reports.tables.summary import Part

        name = label or (self.item.nodeid if self.item is not None else "comparison")
        taken = {part.label for part in self.parts}
        label, number = name, 1
        while label in taken:
            number += 1
            label = f"{name} ({number})"
        link = _folder_name(label, {part.link for part in self.parts})
        self.parts.append(Part(label, comparison, link))
        if self.item is not None and not command:
            command = f"pytest {self.item.nodeid}"
            properties = {
                "p2m_verdict": comparison.verdict.value,
                "p2m_first_divergence": comparison.first_divergence or "",
                "p2m_compared": str(comparison.compared),
            }
            self.item.user_properties.extend(properties.items())
        if self.folder is not None:
            from reports.meshes import output_meshes
            from reports.write import write_report

            meshes = output_meshes(*traces) if traces is not None else None
            commands = [command] if command else []
            write_report(
                comparison, self.folder / link, meshes=meshes, traces=traces, commands=commands
            )

    def check(self, comparison: "Comparison", tap: str | None = None) -> None:
        """Fail the test, with the message of one tap or the first divergence, unless it agrees.

        Raises:
            KeyError: ``comparison`` holds no entry named ``tap``.
        """
        from parity.verdict.result import Status, Verdict
        from reports.text.message import find, message, sentence

        __tracebackhide__ = True
        if tap is not None:
            entry = find(comparison, tap)
            if entry is None:
                raise KeyError(tap)
            if entry.status in (Status.DIFFER, Status.MISSING, Status.INVALID):
                pytest.fail(message(comparison, entry), pytrace=False)
            return
        if comparison.verdict is Verdict.AGREE:
            return
        first = find(comparison, comparison.first_divergence)
        text = sentence(comparison)
        if first is not None:
            text = f"{text}\n{message(comparison, first)}"
        pytest.fail(text, pytrace=False)

    def finish(self) -> None:
        """Write the report above all comparisons, and the step's summary where one is wanted."""
        from reports.tables.summary import Part, summary_markdown
        from reports.write import write_summary

        if self.folder is None or not self.parts:
            return
        write_summary(self.parts, self.folder, title="Parity tests", commands=["pytest"])
        if summary := os.environ.get(_STEP_SUMMARY):
            alone = [Part(part.label, part.comparison, "") for part in self.parts]
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(summary_markdown(alone, title="Parity tests"))


def _folder_name(label: str, taken: set[str]) -> str:
    stem = re.sub(r"[^A-Za-z0-9.=-]+", "-", label).strip("-.")[-_LONGEST:].strip("-.") or "run"
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    return name


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--p2m-report DIR``."""
    parser.getgroup("pixel2mesh-parity").addoption(
        OPTION, metavar="DIR", default=None, help="write the parity report of all comparisons here"
    )


REPORT = pytest.StashKey[ParityReport]()
"""Where a session's report is."""


def pytest_configure(config: pytest.Config) -> None:
    """One collector a process."""
    given = config.getoption(OPTION)
    folder = Path(config.invocation_params.dir, given).absolute() if given else None
    worker = getattr(config, "workerinput", {}).get("workerid")
    if folder is not None and worker is not None:
        folder = folder / worker
    config.stash[REPORT] = ParityReport(folder)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Which versions are compared."""
    from importlib import metadata

    if not config.getoption(OPTION):
        return []
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return [f"parity: {', '.join(found)}"]


@pytest.fixture(scope="session")
def p2m_report(pytestconfig: pytest.Config) -> ParityReport:
    """Compares traces for tests, and reports all comparisons with ``--p2m-report``."""
    return pytestconfig.stash[REPORT]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Tell the collector which test is running."""
    report = item.config.stash[REPORT]
    report.item = item
    try:
        return (yield)
    finally:
        report.item = None


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker of pytest-xdist found."""
    report = node.config.stash[REPORT]
    sent = getattr(node, "workeroutput", {}).get("p2m_parity")
    if sent is not None:
        from reports.tables.summary import Part

        found = pickle.loads(sent)  # noqa: S301 - our own worker's, of this very session
        worker = node.workerinput["workerid"]
        report.parts += [
            Part(part.label, part.comparison, f"{worker}/{part.link}") for part in found
        ]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report, in the process that has all comparisons."""
    from weight_conversion.errors import InputError

    report = session.config.stash[REPORT]
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["p2m_parity"] = pickle.dumps(report.parts)
        return
    try:
        report.finish()
    except (InputError, OSError) as error:
        report.trouble = str(error)
        session.exitstatus = pytest.ExitCode.USAGE_ERROR


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what the verdict is and where the report stands."""
    report = config.stash[REPORT]
    if report.folder is None:
        return
    from reports.tables.summary import overall
    from reports.wording import printable

    terminalreporter.section("parity")
    if report.trouble:
        terminalreporter.write_line(f"p2m-parity: error: {report.trouble}", red=True)
    elif not report.parts:
        terminalreporter.write_line("no test compared anything: no report")
    else:
        terminalreporter.write_line(printable(overall(report.parts)))
        terminalreporter.write_line(f"report: {report.folder / 'report.html'}")
