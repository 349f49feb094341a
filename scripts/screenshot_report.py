"""Screenshots of a report.html on a desktop and a phone, light and dark, and layout checks.

    python scripts/screenshot_report.py runs/compare/report.html --out pictures

Needs chromium and chromedriver on the PATH. The page is measured in the browser: it must not scroll
sideways or load anything, and no text may be cut off, overlap or be too faint. It prints all
problems and exits with 1 if there are any.
"""

import argparse
import base64
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDTHS = (1280, 390)  # CSS pixels: a desktop, a phone
PHONE_BELOW = 600
START_LIMIT_S = 60.0
# The position of a text node is the boxes of its lines. Boxes are as high as the font, so those of
# neighbouring lines may touch; each is trimmed a little.
MEASURE = """
const problems = [];
const say = (problem, node) =>
  problems.push(problem + ': ' + node.textContent.trim().replace(/\\s+/g, ' ').slice(0, 80));
document.querySelectorAll('details').forEach(e => e.open = true);
if (innerWidth !== arguments[0]) problems.push(`laid out ${innerWidth} px wide`);
if (document.documentElement.scrollWidth > innerWidth)
  problems.push(`it scrolls sideways: ${document.documentElement.scrollWidth} px`);
performance.getEntriesByType('resource').forEach(e => problems.push('it loads ' + e.name));

const texts = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode, holder = node.parentElement;
  if (!node.textContent.trim() || holder.closest('style, script, title, desc')) continue;
  if (!holder.checkVisibility({visibilityProperty: true})) continue;
  const range = document.createRange();
  range.selectNode(node);
  const lines = holder.closest('svg') ? [holder.getBoundingClientRect()] : range.getClientRects();
  for (const {left, right, top, bottom} of lines) {
    const trim = 0.2 * Math.min(bottom - top, right - left);
    if (right - left > 1)
      texts.push({node, holder, left, right, top: top + trim, bottom: bottom - trim});
  }
}
const among = (a, b) =>
  Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
  Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;

texts.sort((a, b) => a.top - b.top);
texts.forEach((a, k) => {
  for (let j = k + 1; j < texts.length && texts[j].top < a.bottom; ++j)
    if (a.node !== texts[j].node && among(a, texts[j]))
      say(`"${texts[j].node.textContent.trim().slice(0, 40)}" lies over`, a.node);
});
for (const picture of document.querySelectorAll('svg')) {
  const box = picture.getBoundingClientRect();
  for (const text of texts)
    if (!picture.contains(text.node) && among(box, text)) say('a picture lies over', text.node);
}
for (const text of texts) {
  for (let e = text.holder; e && e !== document.documentElement; e = e.parentElement) {
    const {overflowX, overflowY} = getComputedStyle(e), box = e.getBoundingClientRect();
    const wide = text.left < box.left - 1 || text.right > box.right + 1;
    const high = text.top < box.top - 1 || text.bottom > box.bottom + 1;
    if ((wide && overflowX !== 'visible') || (high && overflowY !== 'visible'))
      say(`cut off by <${e.tagName.toLowerCase()}>`, text.node);
  }
  if (text.left < -1 || text.right > innerWidth + 1) say('off the page', text.node);
}

// WCAG 2: (lighter + 0.05) / (darker + 0.05) of relative luminances, at least 4.5 for text.
const rgba = colour => {
  const numbers = colour.match(/[\\d.]+/g).map(Number);
  return numbers.length > 3 ? numbers : [...numbers, 1];
};
const luminance = ([red, green, blue]) => {
  const [r, g, b] = [red, green, blue].map(v => v / 255).map(
    v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
for (const node of new Set(texts.map(text => text.node))) {
  const holder = node.parentElement, style = getComputedStyle(holder);
  const ink = holder.closest('svg') ? style.fill : style.color;
  let behind = holder;
  while (behind.parentElement && rgba(getComputedStyle(behind).backgroundColor)[3] === 0)
    behind = behind.parentElement;
  const page = rgba(getComputedStyle(behind).backgroundColor);
  let opacity = rgba(ink)[3];
  for (let e = holder; e; e = e.parentElement) opacity *= getComputedStyle(e).opacity;
  const drawn = rgba(ink).map((v, k) => opacity * v + (1 - opacity) * page[k]);
  const [dark, light] = [luminance(drawn), luminance(page)].sort((a, b) => a - b);
  const contrast = (light + 0.05) / (dark + 0.05);
  if (contrast < 4.5) say(`contrast ${contrast.toFixed(1)}`, node);
}
document.querySelectorAll('details').forEach(e => e.open = false);
return [...new Set(problems)];
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the page, take the screenshots and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path, help="page to check")
    parser.add_argument("--out", type=Path, help="folder for screenshots [default: none taken]")
    parser.add_argument(
        "--widths", type=int, nargs="+", default=WIDTHS, help="page widths in CSS px"
    )
    given = parser.parse_args(arguments)
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if missing:
        print(
            f"{' and '.join(missing)} missing: apt-get install chromium chromium-driver",
            file=sys.stderr,
        )
        return 2
    if not given.report.is_file():
        print(f"{given.report} is not a file; give the path of a report.html", file=sys.stderr)
        return 2
    count = 0
    with browser() as driver:
        driver.post("url", url=given.report.resolve().as_uri())
        for width in given.widths:
            for scheme in ("light", "dark"):
                for problem in problems(driver, width, scheme):
                    print(f"{width} px, {scheme}: {problem}")
                    count += 1
                if given.out is not None:
                    given.out.mkdir(parents=True, exist_ok=True)
                    path = given.out / f"{given.report.stem}-{width}-{scheme}.png"
                    path.write_bytes(picture(driver))
                    print(path)
    return 1 if count else 0


class Driver:
    """A browser session over WebDriver's HTTP protocol, without further packages."""

    def __init__(self, session: str) -> None:
        self._session = session

    def post(self, command: str, **parameters: Any) -> Any:
        """Send a command and return the value of its answer."""
        return post(f"{self._session}/{command}", parameters)

    def devtools(self, command: str, **parameters: Any) -> Any:
        """Send a Chrome DevTools command, which is the only way to emulate a phone."""
        return self.post("goog/cdp/execute", cmd=command, params=parameters)


@contextlib.contextmanager
def browser() -> Iterator[Driver]:
    """Run a headless Chromium in this context; TimeoutError if it does not start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            wait_until_ready(address)
            options = {"args": [*FLAGS, f"--user-data-dir={profile}"]}
            wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
            session = f"{address}/session/{post(f'{address}/session', wanted)['sessionId']}"
            try:
                yield Driver(session)
            finally:
                with urllib.request.urlopen(urllib.request.Request(session, method="DELETE")):
                    pass
    finally:
        server.terminate()
        server.wait()


def problems(driver: Driver, width: int, scheme: str) -> list[str]:
    """Return the page's problems at this width in CSS pixels and scheme, `light` or `dark`."""
    driver.devtools(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=844,
        deviceScaleFactor=2 if width < PHONE_BELOW else 1,
        mobile=width < PHONE_BELOW,
    )
    preferred = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.devtools("Emulation.setEmulatedMedia", features=preferred)
    return list(driver.post("execute/sync", script=MEASURE, args=[width]))


def picture(driver: Driver) -> bytes:
    """Return the whole page as PNG."""
    taken = driver.devtools("Page.captureScreenshot", captureBeyondViewport=True)
    return base64.b64decode(taken["data"])


def post(url: str, parameters: dict[str, Any]) -> Any:
    """Send a JSON object and return the `value` of the answer."""
    request = urllib.request.Request(
        url, json.dumps(parameters).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)["value"]


def wait_until_ready(address: str) -> None:
    """Wait until chromedriver answers. TimeoutError after `START_LIMIT_S`."""
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/status"):
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"chromedriver not ready within {START_LIMIT_S:.0f} s")
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
