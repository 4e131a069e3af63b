"""Many kills at any moment, and a flipped bit in every file of a checkpoint: the long form of the fault tests."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from states import state_hash

from identmetric_cli import checkpoint
from identmetric_cli.runs import Run

pytestmark = pytest.mark.long
LONG = ("--set", "train.epochs=60", "--set", "train.patience=60", "--set", "train.checkpoint_every=1")
KILLS = 20
FLIPS = 1000


def test_twenty_kills_at_any_moment_change_no_byte(program, tmp_path):
    """SIGKILL mostly; after the first epoch is sealed, so that each process gets somewhere."""
    program("train", "debug", *LONG, "--runs-dir", tmp_path / "reference")
    rng, run = np.random.default_rng(0), Run(tmp_path / "runs" / "debug-s0")
    command = [sys.executable, "-m", "identmetric_cli", "train", "debug", *LONG, "--runs-dir", str(tmp_path / "runs")]
    kinds = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]
    stopped = 0
    for attempt in range(KILLS):
        sealed = checkpoint.sealed_steps(run.checkpoints)
        process = subprocess.Popen(
            [*command, "--resume"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 120
        while checkpoint.sealed_steps(run.checkpoints) == sealed and time.monotonic() < deadline:
            if process.poll() is not None:
                break
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(kinds[attempt % len(kinds)])
        stopped += process.wait(timeout=120) != 0
        assert "internal fault" not in process.stderr.read()
        process.stderr.close()
        if run.info().get("status") == "finished":
            break
    assert stopped >= 5
    program("train", "debug", *LONG, "--resume", "--runs-dir", tmp_path / "runs")
    reference = Run(tmp_path / "reference" / "debug-s0")
    assert state_hash(run.path) == state_hash(reference.path)
    assert run.metrics() == reference.metrics() and run.info()["test"] == reference.info()["test"]


def test_no_flipped_bit_of_a_checkpoint_is_believed(runs):
    folder = runs / "debug-s0" / "checkpoints"
    step = checkpoint.sealed_steps(folder)[-1]
    files = [path for path in (folder / str(step)).rglob("*") if path.is_file() and path.stat().st_size]
    rng, silent = np.random.default_rng(0), []
    for path in files:
        whole = path.read_bytes()
        for bit in rng.integers(0, 8 * len(whole), FLIPS // len(files)):
            data = bytearray(whole)
            data[bit // 8] ^= 1 << (bit % 8)
            path.write_bytes(data)
            if checkpoint.fault(folder, step) is None:
                silent.append((path, bit))
        path.write_bytes(whole)
    assert silent == []
    assert checkpoint.fault(folder, step) is None
