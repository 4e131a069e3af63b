"""The benchmarks can be started: what they use of the package is there."""

import importlib.util
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_benchmarks_can_be_imported(script):
    specification = importlib.util.spec_from_file_location(script.stem, script)
    specification.loader.exec_module(importlib.util.module_from_spec(specification))
