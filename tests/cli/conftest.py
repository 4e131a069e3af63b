"""Real runs on real data, trained once by the real command."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from identmetric_cli.cli.app import app


class Program:
    """The program in this process: compiled functions are shared between calls."""

    def __call__(self, *arguments: object, code: int = 0):
        result = CliRunner().invoke(app, [str(each) for each in arguments])
        assert result.exit_code == code, (result.exit_code, result.stdout, result.stderr, result.exception)
        return result

    def json(self, *arguments: object, code: int = 0):
        """The one document on stdout."""
        return json.loads(self(*arguments, "--json", code=code).stdout)

    def error(self, *arguments: object, code: int) -> dict:
        """The error document on stderr; nothing on stdout."""
        result = self(*arguments, "--json", code=code)
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        return json.loads(result.stderr.splitlines()[-1])["error"]


@pytest.fixture(scope="session")
def program() -> Program:
    return Program()


@pytest.fixture(scope="session")
def runs(program, tmp_path_factory) -> Path:
    """Folder with three finished debug runs."""
    folder = tmp_path_factory.mktemp("work") / "runs"
    program("train", "debug", "--seeds", "0-2", "--runs-dir", folder)
    return folder


@pytest.fixture(scope="session")
def images(program, tmp_path_factory) -> list[Path]:
    """Digits as PNG images."""
    folder = tmp_path_factory.mktemp("images")
    return [Path(path) for path in program.json("data", "export", "digits", "--count", 4, "-o", folder)["files"]]
