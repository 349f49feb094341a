"""The built wheel and sdist, each installed into a fresh environment outside the checkout.

An environment gets the wheel by pip, without an index, and by links the distributions that the
wheel requires, directly or not, from the environment of the tests. So pip checks the required
versions, and an import of anything that `wnrl` does not require fails. What an index serves, and
another Python or system, are not tested here.
"""

import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterable, Iterator
from email import message_from_bytes
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
LEFT_OUT = {".gitignore", ".dockerignore", "MANIFEST.in", "wnrl/agents"}  # the last is the link

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows"),
]


class Built(NamedTuple):
    """What `python -m build` makes, and a wheel that is built without the sdist."""

    source: Path
    sdist: Path
    wheel_of_sdist: Path
    wheel_of_checkout: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    subprocess.run(["git", "checkout-index", "--all", f"--prefix={source}/"], cwd=ROOT, check=True)
    build = [sys.executable, "-m", "build", "--no-isolation", str(source), "--outdir"]
    for out, options in (("both", []), ("wheel", ["--wheel"])):
        subprocess.run([*build, str(folder / out), *options], check=True, capture_output=True)
    (sdist,) = (folder / "both").glob("*.tar.gz")
    wheels = [next((folder / out).glob("*.whl")) for out in ("both", "wheel")]
    return Built(source, sdist, *wheels)


def contents(wheel: Path) -> dict[str, bytes]:
    archive = zipfile.ZipFile(wheel)
    return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_wnrl_alone_and_the_sdist_makes_the_same(built: Built) -> None:
    files = contents(built.wheel_of_checkout)
    assert built.wheel_of_checkout.name.endswith("-py3-none-any.whl")
    assert {name.split("/")[0] for name in files if ".dist-info/" not in name} == {"wnrl"}
    linked = {path.relative_to(built.source) for path in built.source.glob("agents/**/*.py")}
    assert {f"wnrl/{path}" for path in linked} <= set(files)
    data = [*built.source.glob("wnrl/**/*.csv"), *built.source.glob("wnrl/report/report.*")]
    assert {str(path.relative_to(built.source)) for path in data} <= set(files)
    assert contents(built.wheel_of_sdist) == files


def test_the_sdist_holds_the_repository(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        members = archive.getmembers()
    assert not [member.name for member in members if not (member.isfile() or member.isdir())]
    held = {member.name.partition("/")[2] for member in members if member.isfile()}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    assert set(listed.stdout.decode().split("\n")) - {""} - held <= LEFT_OUT


def requirements(texts: Iterable[str], extras: Iterable[str] = ()) -> Iterator[Requirement]:
    """Yield those that apply to this machine, with the extras."""
    for requirement in map(Requirement, texts):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def closure(wheel: Path) -> set[str]:
    """Return the names of the distributions that a wheel requires, directly or not."""
    (text,) = [text for name, text in contents(wheel).items() if name.endswith("/METADATA")]
    waiting = list(requirements(message_from_bytes(text).get_all("Requires-Dist", [])))
    found: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        found.add(requirement.name)
        needed = requirements(metadata.requires(requirement.name) or (), requirement.extras)
        waiting += [each for each in needed if each.name not in found]
    return found


class Environment:
    """A virtual environment outside the checkout."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        """Create it with what a wheel requires; install nothing."""
        self.work, self._env = folder / "work", folder / "env"
        self.work.mkdir(parents=True)
        venv.create(self._env)
        (site,) = self._env.glob("lib/python3*/site-packages")
        for name in closure(wheel):
            distribution = metadata.distribution(name)
            assert distribution.files is not None
            for top in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
                if not (site / top).exists():
                    (site / top).symlink_to(Path(str(distribution.locate_file(top))))

    def run(self, program: str, *arguments: str) -> str:
        """Run a program of the environment in its empty folder; return what it prints."""
        done = subprocess.run(
            [self._env / "bin" / program, *arguments],
            cwd=self.work,
            env={"PATH": os.defpath, "HOME": str(self.work), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def pip(self, *arguments: str) -> None:
        """Run pip for this environment, without an index."""
        pip = [sys.executable, "-m", "pip", "--python", str(self._env / "bin" / "python")]
        subprocess.run([*pip, "--disable-pip-version-check", "--quiet", *arguments], check=True)


SHORT = ("--env", "CartPole-v1", "--agent", "ppo", "--steps", "1_000", "--no-calibrate")


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_what_is_installed_elsewhere_trains_compares_and_serves_sb3(
    built: Built, kind: str, tmp_path: Path
) -> None:
    environment = Environment(tmp_path, built.wheel_of_checkout)
    if kind == "wheel":
        environment.pip("install", "--no-index", str(built.wheel_of_checkout))
    else:
        environment.pip("install", "--no-index", "--no-build-isolation", str(built.sdist))
    environment.pip("check")
    where = "import wnrl, wnrl.agents.dqn as dqn; print(dqn.__file__)"
    assert environment.run("python", "-c", where).startswith(str(tmp_path / "env"))

    assert "done at 1,0" in environment.run("wnrl", "train", *SHORT, "--run-dir", "run")
    assert "2 episodes" in environment.run("wnrl", "evaluate", "run", "--episodes", "2")
    environment.run("wnrl", "curvature", "run", "--rows", "8", "--small-rows", "4")
    environment.run("wnrl", "compare", *SHORT, "--seeds", "2", "--jobs", "2")
    report = environment.work / "runs" / "compare" / "report.html"
    assert "<svg" in report.read_text()
    environment.run("wnrl", "doctor")

    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    shorter = re.sub(r"model.learn\(10_000_000, ", "model.learn(1_024, ", example)
    assert shorter != example
    environment.run("python", "-c", shorter + "model.save('model')\n")
    assert (environment.work / "model.zip").exists()
