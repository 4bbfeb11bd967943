"""Pictures of a report page for the README, taken in Chromium.

``python docs/examples/screenshots.py report.html --layer cnn.conv2d_3 layers.png`` chooses a layer
and takes the page from its first divergence on; ``--meshes`` takes the two linked meshes instead.
"""

import shutil
import time
from pathlib import Path

import click
from selenium import webdriver

SHOW = """
const heading = [...document.querySelectorAll('h2, h3')]
    .find(each => each.textContent.startsWith(arguments[0]));
(heading ?? document.querySelector('.graph')).scrollIntoView({block: 'start'});
"""
SLICES = """
const part = [...document.querySelectorAll('.detail h4, .detail h3')]
    .find(heading => heading.textContent.startsWith('What the difference'));
if (part) part.closest('.detail').scrollTop = part.offsetTop - part.closest('.detail').offsetTop;
"""


@click.command()
@click.argument("page", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--layer", help="The tap of the layer to choose.")
@click.option("--meshes", is_flag=True, help="The meshes, once they are drawn.")
@click.option("--size", nargs=2, type=int, default=(1400, 1000), show_default=True)
def main(page: Path, out: Path, layer: str | None, meshes: bool, size: tuple[int, int]) -> None:
    """Save a picture of PAGE to OUT."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("chromium-browser") or ""
    for argument in (
        "--headless=new", "--no-sandbox", "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader", "--hide-scrollbars",
    ):  # fmt: skip
        options.add_argument(argument)
    service = webdriver.ChromeService(shutil.which("chromedriver") or "chromedriver")
    with webdriver.Chrome(options=options, service=service) as driver:
        driver.set_window_size(*size)
        driver.get(page.absolute().as_uri())
        if layer:
            found = driver.find_elements("css selector", f'a.node[aria-label^="{layer}: "]')
            if not found:
                raise click.ClickException(f"{page}: no layer {layer}")
            driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", found[0])
            found[0].click()
        time.sleep(3)
        # The 3D views are made when their place comes into sight.
        driver.execute_script(SHOW, "Output meshes" if meshes else "Layers")
        if layer:
            driver.execute_script(SLICES)
        time.sleep(20 if meshes else 1)  # software rendering of 4,928 triangles, twice
        out.write_bytes(driver.get_screenshot_as_png())


if __name__ == "__main__":
    main()
