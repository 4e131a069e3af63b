"""identmetric train: run directories, overwriting, divergence, interruption and resumption."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest
from states import state_hash

from identmetric_cli import checkpoint
from identmetric_cli.runs import Run

LONG = ("--set", "train.epochs=40", "--set", "train.patience=40", "--set", "train.checkpoint_every=3")


@pytest.fixture(scope="module")
def uninterrupted(program, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    program("train", "debug", *LONG, "--runs-dir", folder)
    return folder / "debug-s0"


def test_a_run_directory_can_be_read_with_a_pager(runs):
    run = runs / "debug-s0"
    info = json.loads((run / "run.json").read_text())
    assert info["status"] == "finished"
    assert info["seed"] == 0
    assert info["data"]["shape"] == [8, 8, 1]
    assert info["packages"]["jax"] == jax.__version__
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert records[-1]["validation_elbo"] > records[0]["validation_elbo"]
    assert 'source = "digits"' in (run / "config.toml").read_text()
    for name in ("reconstructions", "prior_samples", "loss_curves"):
        assert (run / "figures" / f"{name}.png").stat().st_size > 1000


def test_an_existing_run_is_left_alone(program, runs):
    before = (runs / "debug-s0" / "run.json").read_bytes()
    error = program.error("train", "debug", "--runs-dir", runs, code=2)
    assert "exists already" in error["message"] and "--overwrite" in error["hint"]
    error = program.error("train", "debug", "--set", "model.latent_dim=2", "--resume", "--runs-dir", runs, code=2)
    assert "model.latent_dim: 4 and 2" in error["message"]
    assert (runs / "debug-s0" / "run.json").read_bytes() == before


def test_what_was_refused_is_not_in_the_way(program, tmp_path):
    scales = ("--set", "model.decoder_scales=[1,1]", "--set", "model.decoder_channels=[8,8]")
    assert "2 pixels" in program.error("train", "debug", *scales, "--runs-dir", tmp_path, code=2)["message"]
    program("train", "debug", "--set", "train.epochs=1", "--runs-dir", tmp_path)


def test_resuming_a_finished_run_trains_nothing(program, runs):
    before = state_hash(runs / "debug-s0")
    [document] = program.json("train", "debug", "--resume", "--runs-dir", runs)
    assert document["status"] == "finished" and document["epochs"] == 6
    assert state_hash(runs / "debug-s0") == before


def test_overwrite_gives_the_same_bytes_again(program, runs, tmp_path):
    program("train", "debug", "--runs-dir", tmp_path)
    first = state_hash(tmp_path / "debug-s0")
    program("train", "debug", "--overwrite", "--runs-dir", tmp_path)
    assert state_hash(tmp_path / "debug-s0") == first == state_hash(runs / "debug-s0")
    assert state_hash(runs / "debug-s1") != first


def test_overwrite_spares_what_is_not_a_run(program, tmp_path):
    (tmp_path / "debug-s0").mkdir()
    (tmp_path / "debug-s0" / "thesis.tex").write_text("years of work")
    error = program.error("train", "debug", "--overwrite", "--runs-dir", tmp_path, code=2)
    assert "not a run directory" in error["message"]
    assert (tmp_path / "debug-s0" / "thesis.tex").read_text() == "years of work"


def test_divergence_stops_with_70_and_says_what_to_change(program, tmp_path):
    steep = ("--set", "train.learning_rate=1e18", "--set", "objective.noise_variance=1e-6")
    error = program.error("train", "debug", *steep, "--runs-dir", tmp_path, code=70)
    assert "train.learning_rate" in error["hint"]
    assert json.loads((tmp_path / "debug-s0" / "run.json").read_text())["status"] == "diverged"
    error = program.error("geodesic", "test:0", "test:1", "--runs-dir", tmp_path, code=65)
    assert "none of them finished" in error["message"]


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1], ids=lambda n: n.name
)
def test_an_interrupted_run_ends_with_the_same_bytes(number, program, uninterrupted, tmp_path):
    command = [sys.executable, "-m", "identmetric_cli", "train", "debug", *LONG, "--runs-dir", str(tmp_path)]
    run = tmp_path / "debug-s0"
    with open(tmp_path / "stderr", "w") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr)
        deadline = time.monotonic() + 120
        while len(Run(run).metrics()) < 5 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(number)
        code = process.wait(timeout=60)
    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 128 + number), (tmp_path / "stderr").read_text()
    assert len(Run(run).metrics()) < 40
    if number != signal.SIGKILL:
        assert Run(run).info()["status"] == "interrupted"
        assert "--resume" in (tmp_path / "stderr").read_text()
    program("train", "debug", *LONG, "--resume", "--runs-dir", tmp_path)
    assert state_hash(run) == state_hash(uninterrupted)
    assert Run(run).metrics() == Run(uninterrupted).metrics()
    assert Run(run).info()["test"] == Run(uninterrupted).info()["test"]


def test_a_damaged_checkpoint_is_set_aside_and_the_older_one_used(program, uninterrupted, tmp_path):
    short = (*LONG[:1], "train.epochs=40", *LONG[2:])
    stop = subprocess.Popen(
        [sys.executable, "-m", "identmetric_cli", "train", "debug", *short, "--runs-dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    run = Run(tmp_path / "debug-s0")
    while len(checkpoint.sealed_steps(run.checkpoints)) < 2 and stop.poll() is None:
        time.sleep(0.005)
    stop.kill()
    stop.wait()
    newest = checkpoint.sealed_steps(run.checkpoints)[-1]
    victim = max((run.checkpoints / str(newest) / "last").rglob("*"), key=lambda path: path.stat().st_size)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    result = program("train", "debug", *short, "--resume", "--runs-dir", tmp_path)
    assert "set aside" in result.stderr
    assert list(run.checkpoints.glob("quarantine-*"))
    assert state_hash(run.path) == state_hash(uninterrupted)


def test_a_second_writer_is_refused(program, tmp_path):
    with Run(tmp_path / "debug-s0").lock():
        code = (
            "import sys; from pathlib import Path; from identmetric_cli.runs import Run\n"
            "from identmetric_cli.errors import LockedError\n"
            f"try:\n with Run(Path({str(tmp_path / 'debug-s0')!r})).lock(): pass\n"
            "except LockedError as error: print(error.message); sys.exit(error.exit_code)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 75
    assert f"process {os.getpid()}" in done.stdout


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "", "a\nb", "x" * 300, "-rf", ".hidden"])
def test_names_that_could_leave_the_folder_are_refused(name, program, tmp_path):
    program.error("train", "debug", f"--name={name}", "--dry-run", "--runs-dir", tmp_path, code=2) if name else None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seeds", ["-1", "4294967296", "1.5", "3-1", "a", ""])
def test_seeds_out_of_range_are_refused(seeds, program):
    program.error("train", "debug", f"--seeds={seeds}", "--dry-run", code=2)


def test_dry_run_writes_nothing(program, tmp_path):
    plan = program.json("train", "debug", "--seeds", "0-2,7", "--dry-run", "--runs-dir", tmp_path / "runs")
    assert [each["seed"] for each in plan] == [0, 1, 2, 7]
    assert not (tmp_path / "runs").exists()


def test_fully_connected_networks_see_images_too(program, tmp_path):
    config = tmp_path / "flat.toml"
    config.write_text(
        '[data]\nsource = "digits"\nlimit = 200\n'
        '[model]\nnetwork = "mlp"\nlatent_dim = 2\ndecoders = 2\nhidden = [16]\n'
        "[train]\nepochs = 1\nbatch_size = 32\n[geodesic]\nnodes = 4\n"
    )
    program("train", config, "--runs-dir", tmp_path / "runs")
    assert (tmp_path / "runs" / "flat-s0" / "figures" / "reconstructions.png").exists()
    output = tmp_path / "geodesics"
    program("geodesic", "test:0", "test:1", "--runs-dir", tmp_path / "runs", "-o", output)
    assert (output / "geodesics.png").exists()
