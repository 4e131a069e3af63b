"""The wheel, in an empty folder, away from the checkout: the presets are inside, and the main job runs."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    [path] = folder.glob("identmetric-*.whl")
    return path


def test_wheel_holds_presets_and_templates(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    presets = {f"identmetric_cli/configs/{path.name}" for path in (ROOT / "configs").glob("*.toml")}
    assert presets and presets <= names
    assert "identmetric_cli/report/report.html.jinja" in names
    assert not any(name.startswith(("tests", "benchmarks")) for name in names)


def test_the_main_job_runs_from_the_wheel_alone(wheel, tmp_path):
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, wheel]
    subprocess.run(install, check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "identmetric_cli", *arguments]
        done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = subprocess.run(
        [sys.executable, "-c", "import identmetric_cli; print(identmetric_cli.__file__)"],
        cwd=empty,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(site))
    run("train", "debug", "--seeds", "0-1")
    files = json.loads(run("data", "export", "digits", "--count", "2", "-o", "samples", "--json"))["files"]
    assert json.loads(run("geodesic", *files, "--json"))["pairs"][0]["status"] == "converged"
    run("compare", "runs", "--random-pairs", "10")
    assert (empty / "comparison" / "report.html").exists()
