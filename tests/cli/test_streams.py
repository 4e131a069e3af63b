"""What goes where: results on stdout, the rest on stderr, one document under --json, no traceback."""

import json
import subprocess
import sys

import pytest

from identmetric_cli import __version__


def test_version_and_help(program):
    assert program("--version").stdout.strip() == f"identmetric {__version__}"
    for command in ("quickstart", "train", "encode", "geodesic", "compare", "data", "config", "doctor"):
        assert command in program("--help").stdout
        assert "--help" in program(command, "--help").stdout
    for command in ("train", "encode", "geodesic", "compare", "doctor", "quickstart"):
        for option in ("--json", "--quiet", "--verbose", "--no-color", "--debug"):
            assert option in program(command, "--help").stdout


def test_module_is_the_same_program():
    done = subprocess.run(
        [sys.executable, "-m", "identmetric_cli", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"identmetric {__version__}"


def test_results_and_the_rest_are_apart(program, runs, tmp_path):
    arguments = ("geodesic", "test:0", "test:1", "--runs-dir", runs, "-o", tmp_path)
    loud = program(*arguments)
    assert (
        "length" in loud.stdout and "identmetric compare" in loud.stderr and "identmetric compare" not in loud.stdout
    )
    quiet = program(*arguments, "--quiet")
    assert "length" in quiet.stdout and quiet.stderr == ""
    document = program(*arguments, "--json", "--quiet")
    assert json.loads(document.stdout)["pairs"] and document.stderr == ""


@pytest.mark.parametrize("command", [("data", "list"), ("data", "info", "digits"), ("config", "show"), ("doctor",)])
def test_every_command_speaks_json(command, program):
    assert program.json(*command)


def test_data_info(program):
    facts = program.json("data", "info", "mnist")
    assert (facts["train"], facts["validation"], facts["test"]) == (4000, 500, 500)
    assert facts["shape"] == [28, 28, 1]


def test_config_commands(program, tmp_path):
    path = tmp_path / "mine.toml"
    program("config", "init", "mnist", "-o", path)
    assert "# " in path.read_text()
    program.error("config", "init", "mnist", "-o", path, code=2)
    assert program.json("config", "validate", path)["valid"]
    path.write_text("[model]\nlatent_dm = 3\n")
    assert "latent_dim" in program.error("config", "validate", path, code=2)["message"]
    assert "train.learning_rate" in program("config", "schema").stdout
    assert program.json("config", "schema")["$defs"]["Train"]["properties"]["epochs"]["description"]


def test_errors_are_for_people(program):
    result = program("train", "mnits", code=2)
    assert "error:" in result.stderr and "did you mean mnist" in result.stderr
    assert "Traceback" not in result.stderr and result.stdout == ""


def test_traceback_is_for_debug_alone(program):
    assert "Traceback" in program("train", "mnits", "--debug", code=2).stderr


def test_hostile_names_are_printed_literally(program, runs):
    result = program("geodesic", "[link=x]\x1b[31m.png", "test:0", "--runs-dir", runs, code=65)
    assert "[link=x]?[31m.png" in result.stderr and "\x1b[31m" not in result.stderr


def test_doctor(program):
    facts = program.json("doctor")
    assert facts["arithmetic"] == "works" and facts["built-in data"] == "readable"
    assert {"debug", "mnist", "quickstart"} <= set(facts["presets"])
