"""Check the shape of the product (wnrl/ and agents/) against the limits below.

    python scripts/shape.py

Prints each limit with what was measured, names the offenders where it fails, and exits with 1 if
any fails. Code lines are lines without blanks, comments and docstrings; those of a function include
its signature. Parameters do not count `self` and `cls`.
"""

import ast
import io
import statistics
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
LAYOUT = tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT
ASKING = ("isinstance", "issubclass")
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
# Long signatures on purpose: torch's layers with more options, an environment, a setting's facts.
LAYERS = ("wnrl/nn/weight_norm/layers.py", "wnrl/nn/weight_norm/lstm.py")
MANY_PARAMETERS = (*LAYERS, "wnrl/sb3/atari_vec_env.py", "wnrl/_settings/settings.py")


class Limit(NamedTuple):
    """One limit and the places that it is about, each with its number."""

    name: str
    allowed: float
    measured: float
    places: dict[str, int]
    each: int = 0  # a place is an offender if its number exceeds this

    @property
    def holds(self) -> bool:
        """Return whether the product is within the limit."""
        return self.measured <= self.allowed

    def __str__(self) -> str:
        """One line, and one per offender."""
        mark = "ok  " if self.holds else "FAIL"
        worst = sorted(self.places.items(), key=lambda item: -item[1]) if not self.holds else []
        lines = [f"       {place}: {number}" for place, number in worst if number > self.each]
        return "\n".join([f"{mark} {self.name}: {self.measured:g} of {self.allowed:g}", *lines])


class Source:
    """A Python file of the product."""

    def __init__(self, path: Path) -> None:
        text = path.read_text()
        self.name = str(path.relative_to(ROOT))
        self.nodes = list(ast.walk(ast.parse(text)))
        self.code_lines: set[int] = set()
        self.type_ignores = 0
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            self.type_ignores += token.type == tokenize.COMMENT and "type: ignore" in token.string
            if token.type not in LAYOUT and token.string:
                self.code_lines.update(range(token.start[0], token.end[0] + 1))
        documented = [n for n in self.nodes if isinstance(n, DOCUMENTED) and ast.get_docstring(n)]
        for node in documented:
            self.code_lines.difference_update(lines_of(node.body[0]))
        self.has_docstring = self.nodes[0] in documented

    def functions(self) -> dict[str, tuple[int, int]]:
        """Place -> code lines and parameters of every function."""
        return {
            f"{self.name}:{node.lineno} {node.name}": (
                len(self.code_lines.intersection(lines_of(node))),
                len(
                    {n.arg for n in ast.walk(node.args) if isinstance(n, ast.arg)} - {"self", "cls"}
                ),
            )
            for node in self.nodes
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }

    def type_checks(self, classes: set[str]) -> dict[str, int]:
        """Places that ask whether something is one of the classes."""
        calls = [n for n in self.nodes if isinstance(n, ast.Call) and len(n.args) == 2]
        kinds = [n.args[1] for n in calls if getattr(n.func, "id", "") in ASKING]
        kinds += [n.cls for n in self.nodes if isinstance(n, ast.MatchClass)]
        names = [{getattr(n, a, "") for n in ast.walk(k) for a in ("id", "attr")} for k in kinds]
        asked = [kind for kind, given in zip(kinds, names, strict=True) if given & classes]
        return {f"{self.name}:{kind.lineno}": 1 for kind in asked}


def lines_of(node: ast.stmt) -> range:
    """The lines that a statement takes."""
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def folders() -> dict[str, int]:
    """Every folder -> its files, except for measured results and caches."""
    tops = [ROOT / top for top in ("wnrl", "agents", "scripts", "tests")]
    inner = [path for top in tops for path in top.rglob("*") if path.is_dir()]
    names = {str(path.relative_to(ROOT)): path for path in tops + inner if not path.is_symlink()}
    return {
        name: sum(path.is_file() for path in folder.iterdir())
        for name, folder in names.items()
        if "__pycache__" not in name and not name.startswith("scripts/results")
    }


def largest(name: str, allowed: int, places: dict[str, int]) -> Limit:
    """A limit on each place."""
    return Limit(name, allowed, max(places.values()), places, allowed)


def limits() -> Iterator[Limit]:
    """Every limit, measured now."""
    entries = {path.name: 1 for path in (ROOT / "wnrl").iterdir() if path.name != "__pycache__"}
    yield Limit("entries of wnrl/", 20, len(entries), entries)  # a folder per command
    yield largest("files in a folder", 16, folders())
    paths = {path.resolve() for top in ("wnrl", "agents") for path in (ROOT / top).rglob("*.py")}
    sources = [Source(path) for path in sorted(paths)]
    files = {s.name: len(s.code_lines) for s in sources}
    modules = [lines for name, lines in files.items() if not name.endswith("__init__.py")]
    yield Limit("code lines of a file, median", 120, statistics.median(modules), {})
    yield largest("code lines of a file", 350, files)
    functions = {place: sizes for s in sources for place, sizes in s.functions().items()}
    p90 = statistics.quantiles([lines for lines, _ in functions.values()], n=10)[-1]
    yield Limit("code lines of a function, 90th percentile", 20, p90, {})
    plain = {f: sizes for f, sizes in functions.items() if not f.startswith("wnrl/kernels/")}
    yield largest("code lines of a function", 60, {f: lines for f, (lines, _) in plain.items()})
    own = {f: count for f, (_, count) in plain.items() if not f.startswith(MANY_PARAMETERS)}
    yield largest("parameters of a function", 8, own)
    agents = [n for s in sources if s.name.startswith("agents/") for n in s.nodes]
    classes = {n.name for n in agents if isinstance(n, ast.ClassDef)}
    settings = {name for name in classes if name.endswith(("Config", "Settings"))}
    checks = {place: 1 for s in sources for place in s.type_checks(settings)}
    yield Limit("isinstance on agent settings", 0, len(checks), checks)
    ignores = {s.name: s.type_ignores for s in sources}
    yield Limit("type: ignore", 20, sum(ignores.values()), ignores)
    packages = [s for s in sources if s.name.endswith("__init__.py")]
    silent = {s.name: 1 for s in packages if not s.has_docstring}
    yield Limit("packages without a docstring", 0, len(silent), silent)
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    layers = {layer: 1 for c in tools["importlinter"]["contracts"] for layer in c.get("layers", ())}
    yield Limit("layers of the import contract", 12, len(layers), layers)


if __name__ == "__main__":
    print(*(measured := list(limits())), sep="\n")
    sys.exit(not all(limit.holds for limit in measured))
