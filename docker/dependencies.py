"""Print the dependencies in pyproject.toml, one per line, for an image's layer of dependencies."""

import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
print("\n".join(project["dependencies"]))
