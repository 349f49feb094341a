"""Take pictures of TensorBoard's Custom Scalars page: the whole page and each category.

    python scripts/screenshot_tensorboard.py --logdir runs --out pictures

Needs chromium and chromedriver on the PATH, and `pip install selenium`. TensorBoard listens on the
loopback interface only and ends with this script.
"""

import argparse
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LIMIT_S = 180.0
# TensorBoard's elements are in nested shadow trees.
FIND = """
function find(root, selector) {
  const found = [...root.querySelectorAll(selector)];
  for (const e of root.querySelectorAll('*'))
    if (e.shadowRoot) found.push(...find(e.shadowRoot, selector));
  return found;
}
"""
# By default, TensorBoard scales a chart without its outermost points.
SHOW_OUTLIERS = f"""{FIND}
const boxes = find(document, 'paper-checkbox');
boxes.filter(e => e.textContent.includes('outliers') && e.checked).forEach(e => e.click());
"""
CATEGORIES = f"{FIND} return find(document, 'tf-category-paginated-view');"
LOADED = f"""{FIND}
const loaders = find(document, 'tf-line-chart-data-loader');
return loaders.length > 0 && loaders.every(e => !e.dataLoading);
"""


def main() -> int:
    """Take the pictures; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--logdir", required=True, help="folder of the runs")
    parser.add_argument("--out", required=True, type=Path, help="folder for the pictures")
    parser.add_argument("--width", type=int, default=1_500, help="width of the window in pixels")
    parser.add_argument(
        "--height", type=int, help="height in pixels of a single picture of the page's top"
    )
    parser.add_argument(
        "--smoothing", type=float, default=0.0, help="smoothing of curves, 0 to 0.99 [default 0]"
    )
    given = parser.parse_args()
    try:
        from selenium import webdriver
    except ImportError:
        print("selenium is missing: pip install selenium", file=sys.stderr)
        return 2
    driver = shutil.which("chromedriver")
    if driver is None:
        print("chromedriver is missing: apt-get install chromium chromium-driver", file=sys.stderr)
        return 2
    given.out.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--host=127.0.0.1", f"--port={port}"]
    server = subprocess.Popen(
        [*command, f"--logdir={given.logdir}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/"))
        with tempfile.TemporaryDirectory() as profile:
            options = webdriver.ChromeOptions()
            for flag in (*FLAGS, f"--user-data-dir={profile}"):
                options.add_argument(flag)
            browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
            browser.set_script_timeout(LIMIT_S)  # other processes may use all cores
            try:
                page = f"http://127.0.0.1:{port}/#custom_scalars&_smoothingWeight={given.smoothing}"
                for path in photograph(browser, page, given.out, given.width, given.height):
                    print(path, flush=True)
            finally:
                browser.quit()
    finally:
        server.terminate()
        server.wait()
    return 0


def photograph(
    browser: Any, page: str, out: Path, width: int, height: int | None
) -> Iterator[Path]:
    """Save the page, then each of its categories, as PNGs; yield the paths.

    Charts are drawn only where they are in view, so the top of the page alone is much faster.
    """
    browser.set_window_size(width, height or 12_000)
    browser.get(page)
    wait_for(lambda: bool(browser.execute_script(LOADED)))
    browser.execute_script(SHOW_OUTLIERS)
    time.sleep(5.0)  # lines are drawn some time after their data have loaded
    categories = browser.execute_script(CATEGORIES) if height is None else []
    if categories:
        end = "return arguments[0].getBoundingClientRect().bottom"
        browser.set_window_size(width, browser.execute_script(end, categories[-1]) + 200)
        time.sleep(2.0)
    path = out / "page.png"
    browser.save_screenshot(str(path))
    yield path
    for category in categories:
        title = browser.execute_script("return arguments[0].category.name", category)
        path = out / f"{re.sub('[^A-Za-z0-9]+', '_', title)}.png"
        category.screenshot(str(path))
        yield path


def answers(url: str) -> bool:
    """Return whether a server answers at this address."""
    try:
        with urllib.request.urlopen(url) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds.

    Raises:
        TimeoutError: it does not within `LIMIT_S`.
    """
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not ready within {LIMIT_S:.0f} s")
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
