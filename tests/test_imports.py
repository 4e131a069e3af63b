"""The direction of imports: who may know whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "identmetric_cli"
MODULES = sorted(PACKAGE.rglob("*.py"))
ONLY_IN = {
    "typer": ("cli/",),
    "rich": ("cli/",),
    "orbax": ("checkpoint.py",),
    "matplotlib": ("report/plots.py",),
    "torchvision": ("data/torchvision.py",),
    "torch": ("data/torchvision.py",),
    "PIL": ("data/images.py", "report/html.py"),
    "pandas": (),
    "pickle": (),
    "joblib": (),
}
NUMERICS = ("geometry", "models", "analysis")


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_imports_keep_their_direction(path):
    names = imported(path)
    for package, places in ONLY_IN.items():
        if not place(path).startswith(places or ("nowhere",)):
            assert not any(name.split(".")[0] == package for name in names), package
    if not place(path).startswith(("cli/", "__main__")):
        assert not any(name.startswith("identmetric_cli.cli") for name in names)
    if not place(path).startswith(("cli/", "stages/", "__main__")):
        assert not any(name.startswith("identmetric_cli.stages") for name in names)
    if place(path).startswith(NUMERICS):
        assert not any(name.startswith("identmetric_cli.config") for name in names)
    if place(path).startswith("analysis/"):
        assert not any(name.split(".")[0] in ("jax", "flax") for name in names)


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_no_code_is_run_from_data(path):
    tree = ast.parse(path.read_text())
    calls = {
        node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"eval", "exec", "__import__", "compile"}
    keywords = [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "allow_pickle"]
    assert all(isinstance(node.value, ast.Constant) and node.value.value is False for node in keywords)


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from identmetric_cli.cli import app; "
        "heavy = {'jax', 'flax', 'numpy', 'orbax', 'matplotlib', 'scipy', 'pydantic'} & set(sys.modules); "
        "sys.exit(', '.join(sorted(heavy)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
