"""Which layer may import what: the table of docs/design.md, enforced."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import qtable_sweeps
import results
import search
from search.later import import_now, later

ROOT = Path(__file__).parent.parent
OURS = {"core", "results", "search", "jobs"}
MAY = {
    "core": {"torch", "torchvision", "sklearn", "skimage", "safetensors", "jaxtyping", "numpy",
             "PIL", "timm", "fsspec", "triton"},
    "results": {"pandas", "pyarrow", "matplotlib", "numpy", "fsspec", "scipy", "jinja2"},
    "search": {"core", "results", "ray", "optuna", "torch", "numpy", "safetensors", "tqdm",
               "psycopg", "yaml"},
    "jobs": {"core", "results", "search", "torch", "numpy", "pandas"},
    "qtable_sweeps": {"core", "jobs", "results", "search", "torch"},
}  # fmt: skip


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("layer", MAY)
def test_a_layer_imports_what_it_may(layer):
    files = sorted((ROOT / layer).rglob("*.py"))
    assert files
    for path in files:
        tops = {name.partition(".")[0] for name in imported(path)} - {layer}
        foreign = tops - set(sys.stdlib_module_names) - MAY[layer]
        assert not foreign, f"{path.relative_to(ROOT)} imports {sorted(foreign)}"


@pytest.mark.parametrize(
    ("package", "home"),
    [
        # cluster.file asks Ray's launcher what it makes of a file; the others run tasks.
        (
            "ray",
            (
                "search/cluster/connection.py",
                "search/cluster/nodes.py",
                "search/engine/",
                "search/cluster/file.py",
            ),
        ),
        ("pyarrow", "results/"),
        ("optuna", "search/"),
        ("psycopg", "search/tuning/storage.py"),
    ],
)
def test_a_heavy_dependency_has_one_home(package, home):
    for path in sorted(p for layer in OURS for p in (ROOT / layer).rglob("*.py")):
        tops = {name.partition(".")[0] for name in imported(path)}
        if package in tops:
            assert str(path.relative_to(ROOT)).startswith(home), path


def test_no_job_imports_another_and_none_is_named_like_a_package():
    jobs = [path for path in (ROOT / "jobs").glob("*.py") if path.stem != "__init__"]
    assert jobs
    for path in jobs:
        assert not {name for name in imported(path) if name.startswith("jobs")}, path
        assert path.stem not in OURS | set(sys.stdlib_module_names) | MAY["search"], path


def test_nothing_is_unpickled():
    for path in sorted(p for layer in OURS for p in (ROOT / layer).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert not called.startswith(("pickle.", "cloudpickle.", "joblib.", "dill.")), path
                assert called != "torch.load" or "weights_only=True" in ast.unparse(node), path
                assert "allow_pickle=True" not in ast.unparse(node), path


SEARCH = [  # from below; what stands in one line does not import its neighbours
    {"later", "command_line"},
    {"flags", "progress"},
    {"cluster"},
    {"engine", "again"},
    {"inputs"},
    {"scores", "measures", "tables", "tuning"},
    {"lab"},
    {"screening"},
    {"references", "transforming", "white_box", "winners"},
    {"job"},
    {"__init__", "__main__"},
]


def graph(folder: str) -> dict[str, set[str]]:
    """Which module of ours imports which, the contents of packages' own files left out."""
    files = {
        str(path.relative_to(ROOT).with_suffix("")).replace("/", "."): path
        for path in (ROOT / folder).rglob("*.py")
    }
    return {name: imported(path) & set(files) for name, path in files.items()}


def test_the_folders_of_search_import_downwards_alone():
    height = {name: i for i, names in enumerate(SEARCH) for name in names}
    for module, others in graph("search").items():
        own = ([*module.split("."), "__init__"])[1]
        for other in others - {module}:
            theirs = ([*other.split("."), "__init__"])[1]
            assert own == theirs or height[theirs] < height[own], f"{module} imports {other}"


@pytest.mark.parametrize("layer", sorted(OURS))
def test_no_modules_import_each_other(layer):
    edges = {
        name: {other for other in others if not other.endswith("__init__")}
        for name, others in graph(layer).items()
    }

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        left = list(edges[start])
        while left:
            name = left.pop()
            if name not in seen:
                seen.add(name)
                left += edges[name]
        return seen

    circles = [name for name in edges if name in reached(name)]
    assert not circles


def test_the_engine_has_never_heard_of_an_image():
    for path in (ROOT / "search" / "engine").glob("*.py"):
        text = path.read_text().lower()
        assert not {word for word in ("image", "network", "classifier") if word in text}, path


def test_argparse_is_known_where_command_lines_are_read():
    homes = {"search/command_line.py", "search/__main__.py", "results/__main__.py"}
    files = sorted(p for layer in OURS for p in (ROOT / layer).rglob("*.py"))
    assert not [path for path in files if "argparse.Namespace" in path.read_text()]
    for path in sorted(p for layer in OURS for p in (ROOT / layer).rglob("*.py")):
        if any(name.partition(".")[0] == "argparse" for name in imported(path)):
            assert str(path.relative_to(ROOT)) in homes, path


READ = """
import contextlib, io, runpy, sys
sys.path[:0] = [""]
commands = [[page, word] for page in sys.argv[1:] for word in ("--help", "--nonsense")]
commands += [[name, "--help"] for name in ("search", "results")]
for page, *words in commands:
    sys.argv[:] = [page, *words]
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        with contextlib.redirect_stderr(io.StringIO()):
            if page.endswith(".py"):
                runpy.run_path(page, run_name="__main__")
            runpy.run_module(page, run_name="__main__")
    heavy = {"torch", "torchvision", "ray", "optuna", "pandas", "matplotlib"} & set(sys.modules)
    assert not heavy, (page, words, heavy)
    assert page == "results" or "numpy" not in sys.modules, (page, words)
print("read", len(commands))
"""


def test_flags_are_read_before_anything_heavy_is_imported():
    pages = sorted(str(p) for p in (ROOT / "jobs").glob("*.py") if p.stem != "__init__")
    done = subprocess.run(
        [sys.executable, "-c", READ, *pages], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == f"read {2 * len(pages) + 2}\n", done.stderr


def test_what_waits_is_imported_when_it_is_called_or_put_in_place():
    page = {"__name__": "__main__", "later": later}
    exec("with later():\n    import colorsys\n    from json import JSONDecoder, dumps", page)
    assert [repr(page[name]) for name in ("colorsys", "dumps")] == ["colorsys", "json.dumps"]
    assert page["dumps"]([1]) == "[1]"
    assert page["colorsys"].rgb_to_hsv(0, 0, 1)[2] == 1
    exec("class Mine(JSONDecoder): ...", page)
    assert issubclass(page["Mine"], json.JSONDecoder)
    with pytest.raises(TypeError):
        exec("[*dumps]", page)
    import_now(page)
    assert page["JSONDecoder"] is json.JSONDecoder
    assert page["colorsys"] is sys.modules["colorsys"]


def test_a_page_that_a_program_imports_does_not_wait():
    page = {"__name__": "jobs.page", "later": later}
    exec("with later():\n    from json import dumps", page)
    assert page["dumps"] is json.dumps


@pytest.mark.parametrize("package", [results, search, qtable_sweeps])
def test_every_name_of_a_package_is_there(package):
    assert [name for name in package.__all__ if not hasattr(package, name)] == []


LIGHT = """
import contextlib, io, sys
from importlib.util import spec_from_loader

class Absent:
    def find_spec(self, name, path=None, target=None):
        return spec_from_loader(name, self) if name in sys.argv[1:] else None

    def create_module(self, spec):
        raise ModuleNotFoundError(f"No module named {spec.name!r}", name=spec.name)

    def exec_module(self, module): ...

sys.meta_path.insert(0, Absent())
sys.path[:0] = [""]
import torch
import qtable_sweeps
from qtable_sweeps import attacks, codec, data, defences, models

model, pixels = models.demo(), torch.rand(2, 1, 32, 32)
attacked = attacks.pgd(model, pixels, torch.tensor([1, 2]), eps_255=8)
print(model(defences.defence_by_name("shield")(attacked)).shape)
try:
    qtable_sweeps.load("qtable_search")
except ImportError as error:
    print(error)
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as told:
    qtable_sweeps.main(["search", "--help"])
print(told.getvalue().partition(" [")[0], "[1-121/5]" in told.getvalue())
print(qtable_sweeps.main(["search", "--smoke"]), qtable_sweeps.main(["results"]))
"""


def test_attacks_and_defences_need_nothing_that_only_studies_need():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    absent = [re.match(r"[\w-]+", each)[0].replace("-", "_") for each in extra["sweeps"]]
    names = {"scikit_image": "skimage", "scikit_learn": "sklearn", "pyyaml": "yaml"}
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, *(names.get(each, each) for each in absent)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shape, *said, called, ended = done.stdout.splitlines()
    assert shape == "torch.Size([2, 10])"
    assert said[0] == "studies and rows need pandas, which is not installed."
    assert "pip install 'qtable-sweeps[sweeps]'" in said[1]
    assert (called, ended) == ("usage: qtable-sweeps search True", "2 2")
    assert done.stderr.count("pip install 'qtable-sweeps[sweeps]'") == 2
