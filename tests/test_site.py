"""The documentation is built without a warning, and has every page and every public name."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("nn", "optim", "sb3", "config", "train", "evaluate", "instruments")


def public_names(package: str) -> list[str]:
    """`__all__` of a package, which the lazy ones take from a module."""
    module = importlib.import_module(f"wnrl.{package}")
    names: list[str] = (
        getattr(module, "__all__", None)
        or importlib.import_module(
            "wnrl.train.run" if package == "train" else f"wnrl.{package}.exports"
        ).__all__
    )
    return names


@pytest.mark.slow
def test_the_site_has_every_page_and_every_public_name(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-c", "docs", "-d", tmp_path / "cache"]
    built = subprocess.run(
        [*command, ".", tmp_path / "site"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (built.returncode, built.stderr) == (0, "")
    pages = {page.stem for page in (tmp_path / "site" / "docs").glob("*.html")}
    assert pages == {page.stem for page in (ROOT / "docs").glob("*.md")}
    assert 'url=docs/README.html"' in (tmp_path / "site" / "index.html").read_text()
    start = (tmp_path / "site" / "docs" / "README.html").read_text()
    captions = re.findall(r'<p class="caption".*?>([^<]+)</span>', start)
    assert captions == ["Start", "Using it", "Using parts of it", "Measured", "Changing it"]
    reference = (tmp_path / "site" / "docs" / "reference.html").read_text()
    for package in PACKAGES:
        for name in public_names(package):
            assert f'id="wnrl.{package}.{name}"' in reference, (package, name)
