"""The packaging of `agents/`, and what a built wheel holds."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_the_listed_packages_are_the_folders() -> None:
    inside = [path.parent.relative_to(ROOT) for path in ROOT.glob("wnrl/**/__init__.py")]
    through_the_link = {".".join(path.parts) for path in inside} | {"wnrl.agents"}
    assert set(SETUPTOOLS["packages"]) == through_the_link


def test_the_link_leads_to_agents() -> None:
    link = ROOT / "wnrl" / "agents"
    assert link.is_symlink()
    assert link.resolve() == ROOT / "agents"
    import wnrl.agents.dqn

    assert Path(wnrl.agents.dqn.__file__).resolve() == ROOT / "agents" / "dqn.py"


def test_constraints_pin_what_the_extras_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = {entry.split(">=")[0].split(";")[0].strip() for entry in wanted}
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0] for line in pins if "==" in line and not line.startswith("#")}
    assert names <= pinned


@pytest.mark.slow
def test_a_wheel_holds_wnrl_alone_and_installs_elsewhere(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], check=True)
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(tmp_path), str(source)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"wnrl"}
    assert "wnrl/agents/dqn.py" in names
    assert "wnrl/py.typed" in names
    assert "wnrl/stats/atari_human_normalized.csv" in names

    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True)
    code = "import wnrl.train, wnrl.agents.dqn as d; print(d.__file__)"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site), "PATH": ""},
        check=True,
        capture_output=True,
        text=True,
    )
    assert run.stdout.strip() == str(site / "wnrl" / "agents" / "dqn.py")
