"""Which layer may import what: the table of docs/design.md, enforced."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"core", "results", "search", "jobs"}
MAY = {
    "core": {"torch", "torchvision", "sklearn", "skimage", "safetensors", "jaxtyping", "numpy",
             "PIL", "timm", "fsspec"},
    "results": {"pandas", "pyarrow", "matplotlib", "numpy", "fsspec", "scipy", "jinja2"},
    "search": {"core", "results", "ray", "optuna", "torch", "numpy", "safetensors", "tqdm",
               "psycopg", "yaml"},
    "jobs": {"core", "results", "search", "torch", "numpy"},
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
        ("ray", ("search/cluster/nodes.py", "search/engine/", "search/cluster/file.py")),
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
