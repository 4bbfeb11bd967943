"""The report's page in Chromium, used as a person uses it."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from parity_tests.page.conftest import BROKEN, STRANGE, WIDTH, Browser


@pytest.fixture
def fresh(browser: Browser, planted_report: Path) -> Browser:
    """The report as it opens."""
    browser.open(planted_report / "report.html")
    return browser


@pytest.fixture
def page(browser: Browser, planted_report: Path) -> Browser:
    """The report, opened before or not: as it is after some use."""
    place = planted_report / "report.html"
    if browser.driver.current_url != place.as_uri() or browser.width != WIDTH:
        browser.open(place)
    return browser


def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def index_of(folder: Path, tap: str) -> int:
    return [entry["tap"] for entry in report(folder)["taps"]].index(tap)


def number(text: str) -> float:
    return float({"NaN": "nan"}.get(text, text))


def test_no_error_and_no_request_leaves_the_file(fresh: Browser, planted_report: Path) -> None:
    three_dimensions(fresh)
    fresh.click("button.farthest")
    errors, requests = fresh.told()
    assert errors == []
    assert requests == [(planted_report / "report.html").as_uri()]


def test_opens_on_the_first_divergence(fresh: Browser) -> None:
    assert fresh.text(".verdict").strip().startswith(f"coarse: differ, first at {BROKEN}")
    assert fresh.text(".detail .label") == BROKEN
    assert fresh.text("a.node.selected").startswith(BROKEN)


def test_opens_in_under_two_seconds(browser: Browser, planted_report: Path) -> None:
    # The main thread's own time, which other work on the machine does not stretch.
    browser.driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    browser.open(planted_report / "report.html")
    metrics = browser.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    browser.driver.execute_cdp_cmd("Performance.disable", {})
    spent = {found["name"]: found["value"] for found in metrics}
    assert 0 < spent["TaskDuration"] < 2


@pytest.mark.parametrize("tap", [BROKEN, "cnn.conv2d_12", "graph_conv_blk1_5_layer_5.residual"])
def test_a_clicked_layer_shows_the_numbers_of_the_report(
    page: Browser, planted_report: Path, tap: str
) -> None:
    index = index_of(planted_report, tap)
    page.click(f'a.node[data-entry="{index}"]')
    assert page.text(".detail .label") == tap
    entry = report(planted_report)["taps"][index]
    shown = page.run(
        "return Object.fromEntries([...document.querySelectorAll('.detail dd')].map("
        "(found) => [found.dataset.field, found.textContent]))"
    )
    for name in ("max_abs", "reference", "candidate", "scale", "max_rel", "rms_rel", "mismatched"):
        assert number(shown[name]) == entry[name], name
    assert json.loads(shown["at"]) == entry["at"]
    assert shown["status"] == entry["status"]


def test_the_worst_element_is_the_planted_one(page: Browser, planted_report: Path) -> None:
    page.click(f'a.node[data-entry="{index_of(planted_report, BROKEN)}"]')
    cells = page.run(
        "return [...document.querySelectorAll('.worst tbody tr:first-child td')].map("
        "(cell) => cell.textContent)"
    )
    assert cells[0] == "[88, 17]"
    assert number(cells[1]) == pytest.approx(0.5, abs=1e-6)
    assert number(cells[3]) - number(cells[2]) == pytest.approx(number(cells[1]), abs=1e-12)


def test_histogram_and_slices_are_drawn(page: Browser, planted_report: Path) -> None:
    page.click(f'a.node[data-entry="{index_of(planted_report, BROKEN)}"]')
    kinds = page.run(
        "return [...document.querySelectorAll('.detail .plot')].map("
        "(plot) => [plot.classList[1], plot.data.length, plot.querySelectorAll('svg').length > 0])"
    )
    assert kinds == [
        ["histogram", 1, True],
        ["ulps", 1, True],
        ["slices", 3, True],
        ["overview", 1, True],
    ]
    counts = page.run("return document.querySelector('.histogram').data[0].y.flat()")
    assert sum(counts) == 156 * 192
    assert sum(page.run("return document.querySelector('.ulps').data[0].y.flat()")) == 156 * 192
    # The difference's slice is white but where the fault was planted.
    picture = page.run("return document.querySelector('.slices').data[2].z.map((row) => [...row])")
    rows = page.run("return document.querySelector('.slices').data[2].y")
    flat = np.abs(np.array(picture))
    assert rows[int(flat.max(axis=1).argmax())] == "88"
    assert np.count_nonzero(flat > 0.01) == 1


def test_source_lines_of_both_sides(page: Browser, planted_report: Path) -> None:
    page.click(f'a.node[data-entry="{index_of(planted_report, BROKEN)}"]')
    text = page.text(".detail")
    assert "class" not in text.split("Reference: tf")[0]
    assert "def graph_convolution(" in text
    assert "Candidate: torch" in text
    assert "torch_impl/graph.py" in text


def test_arrow_keys_walk_through_the_layers(page: Browser, planted_report: Path) -> None:
    keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
    index = index_of(planted_report, BROKEN)
    node = page.driver.find_element("css selector", f'a.node[data-entry="{index}"]')
    page.run("arguments[0].focus()", node)
    node.send_keys(keys.ARROW_DOWN)
    after = report(planted_report)["taps"][index + 1]["tap"]
    assert page.text(".detail .label") == after
    page.driver.switch_to.active_element.send_keys(keys.ARROW_UP, keys.ENTER)
    assert page.text(".detail .label") == BROKEN


@pytest.mark.parametrize(("column", "name"), [(4, "max_abs"), (8, "rms_rel")])
def test_sorting(fresh: Browser, planted_report: Path, column: int, name: str) -> None:
    button = f"table.entries thead th:nth-child({column + 1}) button"
    cells = (
        "return [...document.querySelectorAll('table.entries tbody tr')].map((row) =>"
        f" row.cells[{column}].dataset.value ?? null)"
    )
    fresh.click(button)
    rising = [number(value) for value in fresh.run(cells) if value is not None]
    values = [entry[name] for entry in report(planted_report)["taps"] if entry[name] is not None]
    assert rising == sorted(values)
    fresh.click(button)
    falling = [number(value) for value in fresh.run(cells) if value is not None]
    assert falling == sorted(values, reverse=True)
    assert (
        fresh.run(f"return document.querySelector({button!r}).parentElement.ariaSort")
        == "descending"
    )


def test_filtering(page: Browser) -> None:
    box = page.driver.find_element("css selector", ".filter input")
    box.send_keys("layer_3 differ")
    shown = page.run(
        "return [...document.querySelectorAll('table.entries tbody tr')]"
        ".filter((row) => !row.hidden).map((row) => row.cells[1].textContent)"
    )
    assert [name for name in shown if BROKEN in name] == shown
    assert shown
    assert page.text(".filter .count").startswith(f"{len(shown)} of ")
    box.clear()


def pixels(page: Browser, selector: str) -> np.ndarray:
    """What the screen shows of an element, (h, w, 3)."""
    element = page.driver.find_element("css selector", selector)
    png = np.frombuffer(element.screenshot_as_png, np.uint8)
    return np.asarray(cv2.imdecode(png, cv2.IMREAD_COLOR)).astype(int)


def ink(picture: np.ndarray) -> int:
    return int((picture < 240).any(axis=2).sum())


def three_dimensions(page: Browser) -> None:
    page.run("document.querySelector('.meshes').scrollIntoView()")
    page.wait("document.querySelector('.scenes canvas') !== null", "the 3D view")
    page.wait(
        "(() => { const c = document.querySelector('.scenes'); "
        "return c._fullLayout && c._fullLayout.scene2._scene.glplot })() != null",
        "both scenes",
    )


def test_the_meshes_are_drawn_side_by_side(page: Browser) -> None:
    three_dimensions(page)
    found = page.wait("document.querySelector('.scenes').clientHeight > 100", "its place")
    assert found
    for _ in range(50):
        picture = pixels(page, ".scenes")
        left, right = picture[:, : picture.shape[1] // 2], picture[:, picture.shape[1] // 2 :]
        if ink(left) > 5000 and ink(right) > 5000:
            return
    raise AssertionError(f"{ink(left)} pixels left and {ink(right)} right are not white")


def test_cameras_are_linked(fresh: Browser) -> None:
    three_dimensions(fresh)
    eye = "document.querySelector('.scenes')._fullLayout.{}._scene.getCamera().eye"
    before = fresh.run(f"return {eye.format('scene2')}")
    fresh.run(
        "Plotly.relayout(document.querySelector('.scenes'), {'scene.camera':"
        " {eye: {x: 1.5, y: 0.4, z: 0.2}, up: {x: 0, y: 1, z: 0}}})"
    )
    fresh.wait(f"Math.abs({eye.format('scene2')}.x - 1.5) < 1e-6", "the second camera following")
    assert abs(before["x"] - 1.5) > 0.1


def test_spikes_are_marked(page: Browser) -> None:
    three_dimensions(page)
    marked = page.run(
        "return document.querySelector('.scenes').data.filter((trace) => trace.name === 'spike')"
        ".map((trace) => trace.customdata)"
    )
    assert marked == [[3, 50], []]


def test_a_picked_vertex_shows_its_way(page: Browser, planted_report: Path) -> None:
    three_dimensions(page)
    box = page.driver.find_element("css selector", ".meshes input[type=number]")
    box.clear()
    box.send_keys("88\n")
    assert page.text(".path h4") == "Vertex 88"
    steps = page.wait("document.querySelector('.path .plot')?.data[0].y.length", "its path")
    rows = [entry for entry in report(planted_report)["taps"] if entry["shape"][:1] == [156]]
    assert steps == len(rows)
    values = page.run("return [...document.querySelector('.path .plot').data[0].y]")
    worst = [entry["tap"] for entry in rows].index(BROKEN)
    assert int(np.argmax(values)) == worst
    entry = rows[worst]
    assert values[worst] == pytest.approx(entry["max_rel"], rel=1e-6)
    chosen = page.run(
        "return document.querySelector('.scenes').data.filter((trace) => trace.name === 'chosen')"
        ".map((trace) => trace.customdata)"
    )
    assert chosen == [[88], [88]]


def test_a_picked_vertex_is_above_everything(page: Browser) -> None:
    three_dimensions(page)
    page.click("button.farthest")
    vertex = page.text(".path h4").removeprefix("Vertex ")
    for scene in ("scene", "scene2"):
        marked = page.run(
            f"return document.querySelector('.scenes')._fullLayout.{scene}.annotations"
            ".map((note) => note.text)"
        )
        assert marked[-1] == f"vertex {vertex}"
    # The labels are no part of the 3D picture: they lie on top of it, inside the view.
    boxes = page.wait(
        "(() => { const found = [...document.querySelectorAll('.scenes g.annotation-text-g')]"
        ".filter((note) => note.textContent.startsWith('vertex')).map((note) => "
        "[note.closest('canvas') === null, note.getBoundingClientRect().width]);"
        " return found.length === 2 ? found : null; })()",
        "both labels",
    )
    assert all(outside and width > 10 for outside, width in boxes)


def test_vertices_are_picked_by_keyboard(fresh: Browser) -> None:
    three_dimensions(fresh)
    keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
    view = fresh.driver.find_element("css selector", ".scenes")
    fresh.run("arguments[0].focus()", view)
    seen = []
    for key in ("n", "n", "p", "s"):
        view.send_keys(key)
        seen.append(fresh.text(".path h4"))
    assert seen[0] != seen[1]
    assert seen[2] == seen[0]
    assert seen[3] in ("Vertex 3", "Vertex 50")  # the spikes
    eye = "document.querySelector('.scenes')._fullLayout.scene._scene.getCamera().eye.x"
    before = fresh.run(f"return {eye}")
    view.send_keys(keys.ARROW_LEFT)
    fresh.wait(f"Math.abs({eye} - {before}) > 1e-3", "the view turning")
    assert fresh.told()[0] == []


def test_losses_gradients_and_steps_are_reached_as_layers_are(
    browser: Browser, trained_report: Path
) -> None:
    browser.open(trained_report)
    assert browser.text(".detail .label") == "steps/1/losses/total"  # the first divergence
    browser.click(".chips a.chip[data-entry='87']")
    assert browser.text(".detail .label") == "losses/total"
    keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
    chip = browser.driver.find_element("css selector", ".chips a.chip[data-entry='86']")
    browser.run("arguments[0].focus()", chip)
    chip.send_keys(keys.ARROW_RIGHT)
    assert browser.text(".detail .label") == "losses/total"
    browser.click(".chips a.chip[data-entry='90']")
    assert browser.text(".detail .label").startswith("gradients/")
    browser.click("table[data-noun='step'] a.show")
    assert browser.text(".detail .label") == "steps/1/losses/total"
    assert browser.told()[0] == []


@pytest.mark.parametrize("wrong", ["-1", "156", "1.5", ""])
def test_a_vertex_that_is_none_changes_nothing(fresh: Browser, wrong: str) -> None:
    three_dimensions(fresh)
    box = fresh.driver.find_element("css selector", ".meshes input[type=number]")
    box.send_keys(f"{wrong}\n")
    assert fresh.run("return document.querySelector('.path').childElementCount") == 0
    assert fresh.told()[0] == []


def test_a_narrow_window_has_no_sideways_scrolling(browser: Browser, planted_report: Path) -> None:
    browser.open(planted_report / "report.html", width=500)
    three_dimensions(browser)
    assert (
        browser.run(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        <= 0
    )


def test_prints_with_what_is_hidden_on_the_screen(browser: Browser, hostile_report: Path) -> None:
    browser.open(hostile_report / "report.html")
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = browser.run(
        "return [...document.querySelectorAll('section.part')].map((part) => part.offsetHeight > 0)"
    )
    controls = browser.run("return document.querySelector('.tabs').offsetHeight")
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert shown == [True, True]
    assert controls == 0


def test_tabs_show_one_comparison_at_a_time(browser: Browser, hostile_report: Path) -> None:
    browser.open(hostile_report / "report.html")
    shown = "return [...document.querySelectorAll('section.part')].map((part) => !part.hidden)"
    assert browser.run(shown) == [True, False]
    browser.click("[role=tab]:nth-child(2)")
    assert browser.run(shown) == [False, True]
    assert browser.text("[role=tab]:nth-child(2)") == STRANGE


def test_hostile_names_stay_text(browser: Browser, hostile_report: Path) -> None:
    browser.open(hostile_report / "report.html")
    browser.click("[role=tab]:nth-child(2)")
    for entry in range(14):
        node = browser.driver.find_element(
            "css selector", f'section[data-part="1"] a.node[data-entry="{entry}"]'
        )
        browser.run("arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true, "
                    "cancelable: true}))", node)  # fmt: skip
        label = browser.run("return document.querySelector('#layer-1 .label').textContent")
        assert label.strip()
    assert (
        browser.run("return document.querySelectorAll('main img[src=x], main script').length") == 0
    )
    assert browser.run("return document.title") != "1"
    errors, requests = browser.told()
    assert errors == []
    assert requests == [(hostile_report / "report.html").as_uri()]


def test_a_hostile_tap_in_the_plots_stays_text(page: Browser, planted_report: Path) -> None:
    index = index_of(planted_report, STRANGE)
    page.click(f'a.node[data-entry="{index}"]')
    assert page.text(".detail .label") == STRANGE
    assert page.run("return document.querySelectorAll('img[src=x]').length") == 0
    assert page.told()[0] == []
