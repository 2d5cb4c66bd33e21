"""docs/: examples run, pages and pictures are all there and all listed, the site builds."""

import doctest
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest

import fastconv

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
COURSE = DOCS / "course"
PICTURES = COURSE / "pictures"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
COURSE_PAGES = sorted(path for path in COURSE.glob("*.md") if path.name != "index.md")
# Other Pythons find the fastconv that is tested, wherever that lies.
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(fastconv.__file__).parents[1])}
TEXTS = [*PAGES, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]


def examples(page):
    return doctest.DocTestParser().get_examples(page.read_text())


def pictures_shown(page):
    return re.findall(r"!\[.+?\]\(pictures/(.+?)\)", page.read_text())


def name(path):
    return str(path.relative_to(ROOT))


PAGES_WITH_EXAMPLES = [page for page in PAGES if examples(page)]


@pytest.mark.parametrize("page", PAGES_WITH_EXAMPLES, ids=name)
def test_examples_of_a_page_run(page):
    assert doctest.testfile(str(page), module_relative=False, encoding="utf-8").failed == 0


@pytest.mark.parametrize("page", PAGES_WITH_EXAMPLES, ids=name)
def test_python_blocks_of_a_page_are_examples_that_run(page):
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert blocks and all(block.startswith(">>> ") for block in blocks)
    assert sum(block.count(">>> ") for block in blocks) == len(examples(page))


@pytest.mark.parametrize("page", COURSE_PAGES, ids=name)
def test_course_page_has_examples_and_a_picture(page):
    assert examples(page) and pictures_shown(page)


def test_index_of_the_course_lists_every_page_once_and_in_one_order():
    index = (COURSE / "index.md").read_text()
    linked = re.findall(r"^\| \[.+?\]\((.+?)\.md\)", index, re.MULTILINE)
    contents = re.search(r"```{toctree}\n:hidden:\n\n(.*?)\n```", index, re.DOTALL)[1].split("\n")
    assert linked == contents
    assert sorted(linked) == [page.stem for page in COURSE_PAGES]


def test_pictures_are_those_that_the_pages_show_and_small():
    shown = [file for page in COURSE_PAGES for file in pictures_shown(page)]
    assert sorted(shown) == sorted(path.name for path in PICTURES.iterdir())
    for path in PICTURES.iterdir():
        assert path.stat().st_size < 40_000, path.name


def test_script_draws_the_pictures_as_they_are(tmp_path):
    if not find_spec("matplotlib"):
        pytest.skip("matplotlib is not installed")
    script = [sys.executable, COURSE / "pictures.py", tmp_path]
    subprocess.run(script, env=ENVIRONMENT, check=True)
    drawn = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert sorted(drawn) == sorted(path.name for path in PICTURES.iterdir())
    for file, text in drawn.items():
        # Of curves, what stands on the ticks is up to matplotlib.
        if "xtick" not in text:
            words, kept = (
                re.findall("<text.*?>(.*?)</text>", svg, re.DOTALL)
                for svg in (text, (PICTURES / file).read_text())
            )
            assert words == kept, f"{file} is not what docs/course/pictures.py draws"


def test_page_of_functions_lists_every_public_name():
    text = (DOCS / "api.md").read_text()
    listed = re.findall(r"^\.\. auto(?:function|class):: (\w+)$", text, re.MULTILINE)
    assert sorted(listed) == sorted(fastconv.__all__)


@pytest.mark.parametrize("text", TEXTS, ids=name)
def test_links_lead_to_files(text):
    for target in re.findall(r"\]\(([^)#]+)", text.read_text()):
        if not target.startswith("https://"):
            assert (text.parent / target).exists(), target


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Folder of the pages."""
    for module in ("sphinx", "myst_parser", "numpydoc", "latex2mathml"):
        if not find_spec(module):
            pytest.skip(f"{module} is not installed")
    folder = tmp_path_factory.mktemp("site")
    sphinx = [sys.executable, "-P", "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    command = [*sphinx, "-d", folder / "doctrees", DOCS, folder / "html"]
    result = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return folder / "html"


def html(site, page):
    return (site / page.relative_to(DOCS)).with_suffix(".html")


def test_site_builds_without_a_warning(site):
    for page in PAGES:
        assert html(site, page).exists()


class Fetched(HTMLParser):
    """Addresses that a browser fetches to show a page; those of links are fetched when followed."""

    def __init__(self, text):
        super().__init__()
        self.addresses = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for key, value in attributes:
            if key in ("src", "srcset", "data", "poster") or (key == "href" and tag != "a"):
                self.addresses.append(value)


def test_pages_are_shown_without_a_network(site):
    for path in site.rglob("*.html"):
        addresses = Fetched(path.read_text()).addresses
        assert "_static/custom.css" in " ".join(addresses)
        assert not [a for a in addresses if re.match(r"\w+:|//", a)], path.name
    for path in site.rglob("*.css"):
        assert not re.search(r"@import|url\(\s*[\"']?(\w+:)?//", path.read_text()), path.name


@pytest.mark.parametrize("page", [page for page in PAGES if "$$" in page.read_text()], ids=name)
def test_formulas_of_a_page_are_drawn_by_the_browser(page, site):
    formulas = re.findall(r"<math .*?</math>", html(site, page).read_text(), re.DOTALL)
    assert len(formulas) == page.read_text().count("$$") / 2
    for formula in formulas:  # an unknown command stays as it is
        assert not re.search(r"\\|\$", formula), formula


def command_of_the_readme(mark):
    text = (ROOT / "README.md").read_text()
    return re.search(rf"<!-- {mark} -->\n```sh\n(.*?)\n```", text, re.DOTALL)[1]


def test_command_of_the_readme_does_not_find_the_uncompiled_sources_first():
    """As "python -m sphinx" does, which looks in the current folder first."""
    assert command_of_the_readme("docs").endswith(".venv/bin/sphinx-build docs docs/_build")
    assert not [text.name for text in TEXTS if "-m sphinx" in text.read_text()]
