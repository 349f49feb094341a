"""The documentation as a site: `sphinx-build -W --keep-going -c docs . build/site`.

Pages are the Markdown files that GitHub shows. `reference.md` is built from the docstrings of the
public names.
"""

import importlib
import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from wnrl import __version__

project = "wnrl"
author = "the wnrl contributors"
version = release = __version__
html_title = f"wnrl {__version__}"
html_theme = "furo"
html_show_copyright = False
root_doc = "docs/README"
include_patterns = ["*.md", "docs/*.md", "scripts/results/README.md"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_extra_path = ["site"]  # index.html, which leads to docs/README.html

myst_heading_anchors = 4
myst_enable_extensions = ["fieldlist"]
suppress_warnings = ["misc.highlighting_failure"]
default_role = "code"  # what docstrings mean by single backticks
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False


class PublicNames(SphinxDirective):
    """`{public-names} wnrl.nn`: an entry for each name in the module's `__all__`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the entries, in the order of the alphabet."""
        package = self.arguments[0]
        module = importlib.import_module(package)
        names = getattr(module, "__all__", None)
        if names is None:
            names = importlib.import_module(f"{package}.exports").__all__
        lines: list[str] = []
        for name in sorted(names, key=str.lower):
            value = getattr(module, name)
            if isinstance(value, type):
                lines.append(f".. autoclass:: {package}.{name}")
            elif callable(value):
                lines.append(f".. autofunction:: {package}.{name}")
            else:
                lines.append(f".. py:data:: {package}.{name}")
            lines.append("")
        return self.parse_text_to_nodes("\n".join(("```{eval-rst}", *lines, "```")))


def add_navigation(app: Sphinx, page: str, source: list[str]) -> None:
    """Turn each list of links in docs/README.md into a part of the navigation."""
    if page != root_doc:
        return
    parts = re.split(r"^(\w[\w ]+):$", source[0], flags=re.MULTILINE)
    for caption, text in zip(parts[1::2], parts[2::2], strict=True):
        links = re.findall(r"^- \[[^]]+\]\((.+?)\.md\)", text, flags=re.MULTILINE)
        options = (":hidden:", f":caption: {caption}", "")
        source[0] += "\n".join(("\n\n```{toctree}", *options, *links, "```\n"))


def escape_stars(
    app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    """Keep the star of a shape such as (B, *obs), which would begin an emphasis."""
    for index, line in enumerate(lines):
        parts = line.split("`")
        parts[::2] = [part.replace("*", "\\*") for part in parts[::2]]
        lines[index] = "`".join(parts)


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive, the navigation and the docstrings' stars."""
    app.add_directive("public-names", PublicNames)
    app.connect("autodoc-process-docstring", escape_stars)
    app.connect("source-read", add_navigation)
    return {"parallel_read_safe": True}
