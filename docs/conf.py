"""Sphinx: sphinx-build -W docs docs/_build. Nothing is fetched, when pages are made or viewed."""

import re

from docutils import nodes
from latex2mathml.converter import convert

import fastconv

project = "fastconv"
author = "The fastconv developers"
version = release = fastconv.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "numpydoc",
]
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"page_width": "1100px", "description": "Convolution for NumPy arrays"}
html_show_copyright = False
html_copy_source = False
html_static_path = ["_static"]
html_math_renderer = "mathml"

myst_enable_extensions = ["dollarmath"]
default_role = "py:obj"  # `name` in a docstring links to what it names, where there is a page
autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

SECTION = re.compile(r"-{3,}\s*$")


def as_restructured_text(app, what, name, obj, options, lines):
    """Docstrings are plain text: indented blocks are formulas, * and | mean themselves."""
    out, block, doctest = [], False, False
    sections = [i - 1 for i, line in enumerate(lines) if SECTION.match(line)]
    prose = lines[: min(sections, default=len(lines))]
    for i, line in enumerate(lines):
        formula = i < len(prose) and line.startswith("    ")
        if formula and not block and not out[-1 if out[-1].strip() else -2].endswith("::"):
            out += [".. code-block:: text", ""]
        block = formula or (block and not line.strip())
        doctest = line.lstrip().startswith(">>>") or (doctest and bool(line.strip()))
        out.append(line if block or doctest else escaped(line))
    lines[:] = out


def escaped(line):
    """`line` with * and | of no meaning, but in literals."""
    parts = re.split(r"(``.*?``|`.*?`)", line)
    return "".join(p if p.startswith("`") else re.sub(r"([*|])", r"\\\1", p) for p in parts)


def visit_formula(translator, node):
    """MathML, which browsers draw without a script."""
    block = isinstance(node, nodes.math_block)
    translator.body.append(convert(node.astext(), display="block" if block else "inline"))
    raise nodes.SkipNode


def setup(app):
    formula = (visit_formula, None)
    app.add_html_math_renderer("mathml", inline_renderers=formula, block_renderers=formula)
    app.connect("autodoc-process-docstring", as_restructured_text, priority=100)
