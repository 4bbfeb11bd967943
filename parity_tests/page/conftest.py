"""A real browser, and pages whose numbers are known because they were planted."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from inputs.demo import demo_item_path
from inputs.item import load_item
from parity.traces.backends import BackendChoice
from parity.traces.record import RunInputs, record
from parity.traces.writer import seal
from parity.verdict.compare import compare
from parity.verdict.result import Comparison, Status
from parity_tests.reports.conftest import HOSTILE
from reports import write
from reports.figures.renderings import Renderings
from reports.meshes import Meshes
from reports.page.page import PartPictures, report_page
from reports.tables.summary import Part
from reports.write import write_report, write_summary
from studies.faults.probes import probe

STRANGE = '<img src=x onerror="document.title=1">'
"""A tap's name that would run a script if it ever became markup."""
WIDTH = 1400  # of the window, in pixels
BROKEN = "graph_conv_blk1_3_layer_3"


class Browser:
    """Chromium with a window of a known size, and what its console and network said."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.width = 0

    def open(self, page: Path, width: int = WIDTH, height: int = 1000) -> None:
        self.driver.set_window_size(width, height)
        self.width = width
        self._read()
        self.requests, self.errors = [], []
        self.driver.get(page.as_uri())

    def run(self, script: str, *arguments: Any) -> Any:
        """The value that a script returns."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str, what: str, seconds: float = 20) -> Any:
        """The value of an expression, as soon as it is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := self.run(f"return {script}"):
                return value
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s: {what}")

    def click(self, selector: str) -> None:
        """Click as a user does, at the element's place on the screen."""
        element = self.driver.find_element("css selector", selector)
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def text(self, selector: str) -> str:
        return str(self.run(f"return document.querySelector({selector!r}).textContent"))

    def told(self) -> tuple[list[str], list[str]]:
        """Errors on the console, and addresses asked for other than the page's own data."""
        self._read()
        outside = [url for url in self.requests if not url.startswith(("data:", "blob:"))]
        return self.errors, outside

    def _read(self) -> None:
        for line in self.driver.get_log("browser"):
            if line["level"] == "SEVERE":
                self.errors.append(line["message"])
        for line in self.driver.get_log("performance"):
            message = json.loads(line["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    chromedriver = shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("no Chromium with its driver here (.ci/browser installs them)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader", "--disable-background-networking", "--disable-sync",
        "--disable-component-update", "--disable-dev-shm-usage", "--no-first-run",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    driver.set_script_timeout(30)
    driver.get("about:blank")
    yield Browser(driver)
    driver.quit()


def sphere() -> tuple[np.ndarray, np.ndarray]:
    """156 vertices around (0, 0, -0.8), and triangles between them: a coarse mesh's size."""
    from scipy.spatial import ConvexHull

    turn = np.pi * (1 + 5**0.5) * np.arange(156)
    height = 1 - 2 * (np.arange(156) + 0.5) / 156
    level = np.sqrt(1 - height**2)
    points = np.stack([level * np.cos(turn), height, level * np.sin(turn)], axis=1)
    vertices = points * 0.2 + [0, 0, -0.8]
    return vertices.astype(np.float32), ConvexHull(points).simplices.astype(np.int64)


def _traces(folder: Path) -> tuple[Path, Path]:
    """A run of the coarse stage twice, one layer of the candidate off at one place."""
    paths = folder / "reference.h5", folder / "candidate.h5"
    asked = probe("plane", "coarse")
    inputs = RunInputs(
        "coarse",
        load_item(demo_item_path("plane")),
        asked.inputs["mesh"],
        asked.inputs["template"],
        asked.inputs["hypotheses"],
    )
    record(BackendChoice("torch"), inputs, asked.weights, paths[0], float64=False)
    shutil.copyfile(*paths)
    for side, path in enumerate(paths):
        with h5py.File(path, "r+") as file:
            file.attrs["backend"] = ("tf", "torch")[side]
            seal(file)
            taps = file["taps"]
            strange = taps.create_dataset(STRANGE, data=np.ones((4, 3), np.float32))
            strange.attrs["order"] = len(taps)
            if side:
                taps[BROKEN][88, 17] += np.float32(0.5)
    return paths


@pytest.fixture(scope="session")
def planted_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report on two traces that differ where it is known."""
    folder = tmp_path_factory.mktemp("planted")
    traces = _traces(folder)
    comparison = compare(*traces, taps="*")
    with pytest.MonkeyPatch.context() as patch:
        none = Renderings(reason="not drawn in this test")
        patch.setattr(write, "rendering", lambda _: nullcontext(lambda: none))
        vertices, faces = sphere()
        spikes = np.zeros(len(vertices), bool)
        spikes[[3, 50]] = True
        meshes = Meshes(
            vertices, vertices + np.float32(0.001), faces, "metres",
            reference_spikes=spikes, candidate_spikes=None,
        )  # fmt: skip
        write_report(
            comparison, folder, meshes=meshes, traces=traces, commands=["p2m-parity compare A B"]
        )
    return folder


@pytest.fixture(scope="session")
def hostile_report(
    tmp_path_factory: pytest.TempPathFactory, states: Callable[[str], Comparison]
) -> Path:
    """A page of two comparisons, with hostile names in every place that takes a name."""
    folder = tmp_path_factory.mktemp("hostile")
    hostile = replace(states("hostile"), notes=(*HOSTILE, STRANGE))
    parts = [Part("plain", states("differ"), ""), Part(STRANGE, hostile, "")]
    write_summary(parts, folder, title=STRANGE, commands=[STRANGE])
    return folder


@pytest.fixture(scope="session")
def states() -> Callable[[str], Comparison]:
    from parity_tests.reports.conftest import BUILDERS

    return lambda name: BUILDERS[name]()


@pytest.fixture(scope="session")
def trained_report(
    tmp_path_factory: pytest.TempPathFactory, states: Callable[[str], Comparison]
) -> Path:
    """A page with losses, gradients and training steps, the first divergence among the steps."""
    found = states("trained")
    agreeing = [
        tuple(replace(entry, status=Status.ROUNDING) for entry in part)
        for part in (found.losses, found.gradients)
    ]
    step = replace(found.losses[1], tap="steps/1/losses/total")
    comparison = replace(
        found, losses=agreeing[0], gradients=agreeing[1], steps=(step,),
        first_divergence=step.tap,
    )  # fmt: skip
    page = tmp_path_factory.mktemp("trained") / "report.html"
    page.write_text(report_page(comparison, PartPictures()), encoding="utf-8")
    return page
