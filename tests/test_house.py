"""The house is as its plan says: nothing points backwards, rooms keep their size."""

import ast
import re
import tomllib
from itertools import combinations, product
from pathlib import Path

import pytest
from tiers import covering

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "fastconv").glob("*.py"))
CYTHON = sorted((ROOT / "fastconv").glob("*.p[yx][xd]"))
CSRC = sorted((ROOT / "csrc").rglob("*.[ch]"))

# A module imports only from rooms further right, and itself not at all.
ORDER = [
    {"__init__"},
    {"cs231n", "onnx", "autograd", "dask"},
    {"runtime"},
    {"conv_transpose"},
    {"conv", "pool", "columns", "layers", "gradients", "costs"},
    {"plans"},
    {"_core", "_columns", "_pool"},
    {"_problem"},
    {"_values"},
    {"_geometry", "_window"},
]
C_ORDER = [
    "plan",
    "conv",
    "pool",
    "layers",
    "columns",
    "geometry",
    "platform",
    "isa",
    "kernels",
    "path",
    "tuning",
    "arithmetic",
    "fastconv",
    "compiler",
]
SOURCES = [
    path
    for pattern in ("*.py", "*.pyx", "*.pxd", "*.pxi", "*.c", "*.h")
    for folder in ("fastconv", "csrc", "bench", "tests")
    for path in (ROOT / folder).rglob(pattern)
]


def rank(module):
    return next(i for i, room in enumerate(ORDER) if module in room)


def imported(node):
    """Names of the package's modules that an import statement binds."""
    if isinstance(node, ast.Import):
        return [a.name.partition(".")[2] for a in node.names if a.name.startswith("fastconv")]
    if not isinstance(node, ast.ImportFrom):
        return []
    module = node.module or ""
    if node.level == 0:
        if module.partition(".")[0] != "fastconv":
            return []
        module = module.partition(".")[2]
    return [module] if module else [alias.name for alias in node.names]


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: path.stem)
def test_python_imports_point_forward(path):
    for node in ast.walk(ast.parse(path.read_text())):
        for name in imported(node):
            if name in ("reference", "__version__"):
                assert path.stem in ("cs231n", "runtime"), f"{path.name} imports {name}"
            else:
                assert rank(path.stem) < rank(name), f"{path.name} imports {name}"


@pytest.mark.parametrize("path", CYTHON, ids=lambda path: path.name)
def test_cython_imports_point_forward(path):
    text = path.read_text()
    names = re.findall(r"^\s*from (?:fastconv)?\.(\w+) c?import", text, re.MULTILINE)
    names += re.findall(r"^\s*c?import fastconv\.?(\w*)", text, re.MULTILINE)
    names += re.findall(r"^\s*from (?:fastconv|\.) c?import (\w+)", text, re.MULTILINE)
    for name in names:
        assert rank(path.stem) < rank(name), f"{path.name} imports {name}"


def cython_functions(stem):
    """The parameters of each public function of an extension module, by its name."""
    files = [path for path in CYTHON if path.stem == stem]
    files += sorted((ROOT / "fastconv").glob(f"{stem}_*.pxi"))
    text = "\n".join(path.read_text() for path in files if path.suffix != ".pxd")
    functions = {}
    for name, parameters in re.findall(r"^def (\w+)\(([^)]*)\):", text, re.MULTILINE):
        parameters = re.sub(r"\[[^]]*\]", "", parameters)
        functions[name] = re.findall(r"(\w+)\s*(?:=[^,]*)?(?:,|$)", parameters.strip())
    return functions


@pytest.mark.parametrize("stem", ["_core", "_columns", "_pool"])
def test_stubs_have_the_functions_of_their_extension(stem):
    tree = ast.parse((ROOT / f"fastconv/{stem}.pyi").read_text())
    stubs = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.args, *([node.args.vararg] if node.args.vararg else [])]
            stubs[node.name] = [argument.arg for argument in arguments]
    assert stubs == cython_functions(stem)


def c_room(path):
    parts = path.relative_to(ROOT / "csrc").parts
    return C_ORDER.index(parts[0] if len(parts) > 1 else path.name.split(".")[0])


@pytest.mark.parametrize("path", CSRC, ids=lambda path: path.name)
def test_c_includes_point_forward(path):
    for name in re.findall(r'^#include "(.+)"', path.read_text(), re.MULTILINE):
        target = (path.parent / name).resolve()
        assert c_room(path) <= c_room(target), f"{path.name} includes {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_room_is_crowded(path):
    assert len(path.read_text().splitlines()) <= 600


@pytest.mark.parametrize("path", CSRC, ids=lambda path: path.name)
def test_lines_of_c_fit(path):
    assert max(map(len, path.read_text().splitlines())) <= 120
    assert path.name == "compiler.h" or "__SANITIZE" not in path.read_text()


def test_benchmark_layers_are_whole():
    lines = (ROOT / "bench" / "layers.csv").read_text().split()
    assert lines[0].split(",")[0] == "name" and len(lines) == 39


def test_what_the_readme_leaves_out_is_run_after_it():
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert {marker.partition(":")[0] for marker in options["markers"]} == {"long", "pairwise"}
    assert "--strict-markers -m 'not long'" in options["addopts"]
    readme = (ROOT / "README.md").read_text()
    command = re.search(r"<!-- test -->\n```sh\n(.*?)\n```", readme, re.DOTALL)[1]
    assert " -m " not in command.partition(" -m pytest")[2]
    _, after = (ROOT / ".ci" / "run").read_text().split('eval "$(readme_command test)"\n')
    assert re.search(r"^\.venv/bin/python -m pytest .*-m long$", after, re.MULTILINE)


@pytest.mark.parametrize("sizes", [(5,), (4, 3), (34, 2, 7), (13, 2, 2, 3), (2, 3, 2, 14)], ids=str)
def test_every_two_values_meet_in_a_pairwise_sweep(sizes):
    rows = [row for row in product(*map(range, sizes)) if sum(row) != 5]
    few = [rows[position] for position in covering(rows)]

    def pairs(rows):
        return {pair for row in rows for pair in combinations(enumerate(row), 2)}

    assert pairs(few) == pairs(rows)
    assert {value for row in few for value in enumerate(row)} == {
        v for r in rows for v in enumerate(r)
    }
    largest, second = sorted((1, *sizes))[:-3:-1]
    assert len(few) <= 1.2 * largest * second


def without_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.DOTALL)


# A function with its body, or an object with its value, that other files can name.
DEFINED = re.compile(
    r"^(?!static|extern|typedef|#|enum|return|else)[A-Za-z_][\w \*]*?\b(fc_\w+)"
    r"(?:\([^;{}]*\)\s*\{|(?:\[\w*\])*\s*=)",
    re.MULTILINE,
)


def c_graph():
    """For each file of csrc those that it includes, or whose functions and objects it names."""
    texts = {path: without_comments(path.read_text()) for path in CSRC if ".tmpl." not in path.name}
    home = {name: path for path, text in texts.items() for name in DEFINED.findall(text)}
    graph = {}
    for path, text in texts.items():
        included = re.findall(r'^#include "(.+)"', text, re.MULTILINE)
        targets = {(path.parent / name).resolve() for name in included}
        if path.suffix == ".c":  # a header declares what stands below those who include it
            targets |= {home[name] for name in re.findall(r"\bfc_\w+", text) if name in home}
        graph[path] = targets - {path}
    return graph


def bench_graph():
    """For each script of bench/ those that it imports, wherever it does."""
    modules = {path.stem: path for path in (ROOT / "bench").glob("*.py")}
    graph = {}
    for path in modules.values():
        names = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module)
        graph[path] = {modules[name] for name in names if name in modules}
    return graph


def circle(graph):
    """The files of a circle, from one of them back to it; None: there is none."""
    done = set()

    def visit(path, way):
        if path in way:
            return [*way[way.index(path) :], path]
        if path in done or path not in graph:
            return None
        for target in sorted(graph[path]):
            found = visit(target, [*way, path])
            if found:
                return found
        done.add(path)
        return None

    return next(filter(None, (visit(path, []) for path in sorted(graph))), None)


@pytest.mark.parametrize("graph", [c_graph, bench_graph], ids=["csrc", "bench"])
def test_no_files_stand_in_a_circle(graph):
    found = circle(graph())
    assert found is None, " -> ".join(str(path.relative_to(ROOT)) for path in found)


def test_circles_are_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None
    definitions = "fc_run fc_start(int n,\n    int m) {\n}\nconst fc_path fc_path_x = {0};\n"
    assert DEFINED.findall(definitions) == ["fc_start", "fc_path_x"]
    assert not DEFINED.findall("static int fc_own(void) {\nint fc_declared(void);\n")


# Words with another name in the house's grammar, as parts of C's identifiers.
RETIRED = {"phase", "phases", "least", "most", "leave", "leaves", "room", "rooms"}


@pytest.mark.parametrize("path", CSRC, ids=lambda path: path.name)
def test_retired_words_are_not_used(path):
    text = path.read_text()
    code = re.sub(r'"[^"\n]*"', '""', without_comments(text))
    words = {word for name in re.findall(r"[A-Za-z_]\w*", code) for word in name.lower().split("_")}
    assert not words & RETIRED
    assert not re.search(r"\bphases?\b", text)


@pytest.mark.parametrize("path", CSRC, ids=lambda path: path.name)
def test_comments_can_be_read_without_their_neighbours(path):
    openings = re.findall(r"/\*\s+(Of|Those|The same|Its|That of|And|Likewise)\b", path.read_text())
    assert not openings
