"""Runs damaged on purpose: nothing wrong is read, nothing is lost, and every hint works as it is typed."""

import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import typer
from states import state_hash

from identmetric_cli import checkpoint
from identmetric_cli.cli.console import Output
from identmetric_cli.config import load
from identmetric_cli.errors import DamagedError, Interrupted
from identmetric_cli.runs import Run
from identmetric_cli.stages.train import StopRequest, train

TINY = (
    '[model]\nnetwork = "mlp"\nlatent_dim = 2\ndecoders = 2\nhidden = [8]\n'
    "[train]\nepochs = 3\nbatch_size = 16\ncheckpoint_every = 1\n[geodesic]\nnodes = 4\n"
)


class StopAfter(StopRequest):
    """Asks for an end once it was looked at so often."""

    def __init__(self, questions: int):
        self.left = questions

    @property
    def signal_number(self) -> int:
        self.left -= 1
        return signal.SIGTERM if self.left < 0 else 0


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(120, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(120, 6))).astype(np.float32)


@pytest.fixture(scope="module")
def original(program, table, tmp_path_factory) -> Path:
    """Data, configuration and two finished runs in a folder of their own."""
    folder = tmp_path_factory.mktemp("original")
    np.save(folder / "table.npy", table)
    (folder / "tiny.toml").write_text(f'[data]\nsource = "{folder / "table.npy"}"\n{TINY}')
    program("train", folder / "tiny.toml", "--seeds", "0-1", "--runs-dir", folder / "runs")
    return folder


@pytest.fixture
def work(original, tmp_path) -> Path:
    """A copy to damage."""
    shutil.copytree(original, tmp_path / "work")
    return tmp_path / "work"


def interrupted(work: Path, questions: int) -> Run:
    """A run that was stopped by a signal after so many steps."""
    run = Run(work / "runs" / "tiny-s7")
    with pytest.raises(Interrupted):
        train(load(work / "tiny.toml"), 7, run, stop=StopAfter(questions))
    return run


def newest(run: Path) -> int:
    return checkpoint.sealed_steps(run / "checkpoints")[-1]


def flip(path: Path, where: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= 1
    path.write_bytes(data)


def damage(run: Path) -> None:
    """Flip a bit in the largest array of the newest step."""
    files = (path for path in (run / "checkpoints" / str(newest(run)) / "best").rglob("*") if path.is_file())
    flip(max(files, key=lambda path: path.stat().st_size))


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def latents(program, runs: Path, output: Path) -> np.ndarray:
    program("encode", "--split", "test", "--run", runs / "tiny-s0", "-o", output)
    with np.load(output) as stored:
        return stored["z_mean"]


@pytest.mark.parametrize("lost", ["bit", "file", "seal", "step"])
def test_a_damaged_finished_run_is_refused_and_trained_again(lost, program, work, tmp_path):
    runs, run = work / "runs", work / "runs" / "tiny-s0"
    before, records = latents(program, runs, tmp_path / "before.npz"), Run(run).metrics()
    folder = run / "checkpoints" / str(newest(run))
    if lost == "bit":
        damage(run)
    elif lost == "file":
        next(path for path in folder.rglob("*") if path.is_file()).unlink()
    elif lost == "seal":
        (run / "checkpoints" / f"seal-{newest(run)}.json").unlink()
    else:
        (run / "checkpoints" / f"seal-{newest(run)}.json").unlink()
        shutil.rmtree(folder)
    for command in (
        ("encode", "--split", "test", "--run", run, "-o", tmp_path / "z.npz"),
        ("geodesic", "test:0", "test:1", "--run", run, "-o", tmp_path / "geodesics"),
        ("compare", runs, "--random-pairs", 4, "-o", tmp_path / "comparison"),
    ):
        error = program.error(*command, code=74)
        assert "tiny-s0" in error["message"] and "damaged" in error["message"]
    assert not (tmp_path / "z.npz").exists()
    remedy = shlex.split(error["hint"].partition(" trains")[0])
    result = program(*remedy[1:])
    assert "damaged" in result.stderr and "finished already" not in result.stderr
    np.testing.assert_array_equal(latents(program, runs, tmp_path / "after.npz"), before)
    assert Run(run).metrics() == records


def test_without_an_intact_step_nothing_is_made_up(program, work):
    run = work / "runs" / "tiny-s0"
    for seal in (run / "checkpoints").glob("seal-*.json"):
        flip(seal)
    error = program.error("train", run / "config.toml", "--resume", code=74)
    assert "no checkpoint is intact" in error["message"] and "--overwrite" in error["hint"]


def test_no_flipped_bit_of_a_seal_or_a_record_is_believed(work):
    run = work / "runs" / "tiny-s0"
    step = newest(run)
    readers = {
        run / "checkpoints" / f"seal-{step}.json": lambda: checkpoint.fault(run / "checkpoints", step),
        run / "run.json": Run(run).info,
    }
    for path, read in readers.items():
        whole, before = path.read_bytes(), json.loads(path.read_bytes())
        known, silent = read(), 0
        for bit in np.random.default_rng(0).choice(8 * len(whole), 400, replace=False):
            data = bytearray(whole)
            data[bit // 8] ^= 1 << (bit % 8)
            path.write_bytes(data)
            try:
                found = read()
            except DamagedError as error:
                assert "damaged" in error.message
                continue
            if found == known:  # white space, or the name of the digest
                after = json.loads(data)
                assert {**after, "sha256": 0} == {**before, "sha256": 0} or len(after.keys() ^ before.keys()) == 2
                silent += 1
        assert silent < 200
        path.write_bytes(whole)


def test_a_damaged_record_is_made_anew_from_the_checkpoint(program, work, tmp_path):
    run = work / "runs" / "tiny-s0"
    before = Run(run).info()
    data = (run / "run.json").read_text()
    (run / "run.json").write_text(data.replace('"elbo": -', '"elbo": -1', 1))
    assert (run / "run.json").read_text() != data
    error = program.error("compare", work / "runs", code=74)
    assert "run.json is damaged" in error["message"]
    result = program(*shlex.split(error["hint"].partition(" makes")[0])[1:])
    assert "set aside" in result.stderr
    after = Run(run).info()
    assert {key: after[key] for key in ("test", "seed", "data", "epochs", "checkpoint")} == {
        key: before[key] for key in ("test", "seed", "data", "epochs", "checkpoint")
    }


def test_a_run_whose_scores_are_not_finite_is_named_and_compared(program, work, tmp_path):
    run = Run(work / "runs" / "tiny-s1")
    run.update(test=dict.fromkeys(run.info()["test"]))
    here = ("compare", work / "runs", "--random-pairs", 4, "--random-triples", 0, "-o", tmp_path)
    assert "no finite test ELBO from tiny-s1" in program(*here).stdout
    assert "no finite test ELBO from tiny-s1" in (tmp_path / "report.html").read_text()


def test_a_kill_before_the_first_record_is_not_in_the_way(program, work):
    for name in (".lock", ".run.json-x8d2k1"):
        (work / "runs" / "tiny-s4").mkdir(exist_ok=True)
        (work / "runs" / "tiny-s4" / name).write_text("")
    program("train", work / "tiny.toml", "--seeds", "4", "--runs-dir", work / "runs")
    assert Run(work / "runs" / "tiny-s4").finished


def test_a_configuration_that_was_changed_after_training_is_refused(program, work, tmp_path):
    path = work / "runs" / "tiny-s0" / "config.toml"
    path.write_text(path.read_text().replace('activation = "elu"', 'activation = "tanh"'))
    error = program.error("encode", "--split", "test", "--run", path.parent, "-o", tmp_path / "z.npz", code=74)
    assert "model.activation: 'elu' and 'tanh'" in error["message"]
    path.write_text(path.read_text().replace('"tanh"', '"elu"').replace("nodes = 4", "nodes = 5"))
    program("encode", "--split", "test", "--run", path.parent, "-o", tmp_path / "z.npz")
    path.write_text("[model]\nlatent")
    assert "config.toml" in program.error("encode", "--split", "test", "--run", path.parent, code=74)["message"]


def test_resuming_on_other_data_is_refused(program, work, table):
    run = interrupted(work, 8)
    before = contents(run.path)
    np.save(work / "table.npy", table + 1)
    error = program.error("train", run.path / "config.toml", "--data", work / "table.npy", "--resume", code=65)
    assert "its content has changed" in error["message"] and "--data PATH" in error["hint"]
    assert contents(run.path) == before
    np.save(work / "table.npy", table)
    program("train", run.path / "config.toml", "--data", work / "table.npy", "--resume")
    assert run.info()["status"] == "finished" and run.config().data.source == str(work / "table.npy")


def test_a_stop_right_after_a_resume_leaves_the_checkpoint_alone(work):
    run = interrupted(work, 8)
    step = newest(run.path)
    seal = run.checkpoints / f"seal-{step}.json"
    files = [seal, *(run.checkpoints / str(step)).rglob("*")]
    before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in files]
    with pytest.raises(Interrupted):
        train(load(work / "tiny.toml"), 7, run, resume=True, stop=StopAfter(0))
    assert newest(run.path) == step
    assert [(path.stat().st_ino, path.stat().st_mtime_ns) for path in files] == before


def test_overwrite_checks_before_it_clears(program, work):
    run = work / "runs" / "tiny-s0"
    before = contents(run)
    missing = ("--data", work / "nowhere.npy")
    program.error("train", work / "tiny.toml", *missing, "--overwrite", "--runs-dir", work / "runs", code=65)
    large = ("--set", "train.batch_size=1000")
    program.error("train", work / "tiny.toml", *large, "--overwrite", "--runs-dir", work / "runs", code=2)
    assert contents(run) == before


def test_overwrite_deletes_what_a_run_leaves_and_nothing_else(program, work):
    foreign = work / "runs" / "tiny-s2"
    foreign.mkdir()
    (foreign / "config.toml").write_text("[tool]\nname = 'another program'\n")
    (foreign / "figures").mkdir()
    (foreign / "figures" / "thesis.pdf").write_text("years of work")
    (work / "runs" / "tiny-s0" / "notes.txt").write_text("mine")
    before, state = contents(work / "runs"), state_hash(work / "runs" / "tiny-s0")
    here = ("train", work / "tiny.toml", "--overwrite", "--runs-dir", work / "runs")
    error = program.error(*here, "--seeds", "0-2", code=2)
    assert "tiny-s2 is not a run directory" in error["message"]
    assert contents(work / "runs") == before
    program(*here)
    assert (work / "runs" / "tiny-s0" / "notes.txt").read_text() == "mine"
    assert state_hash(work / "runs" / "tiny-s0") == state
    assert {name for name in before if name.startswith("tiny-s1")} <= contents(work / "runs").keys()


def test_a_kill_between_seal_and_metrics_loses_no_epoch(program, work):
    """The process kills itself where the first epoch is sealed and not yet in metrics.jsonl."""
    code = (
        "import os, signal, sys\n"
        "from identmetric_cli.runs import Run\n"
        "from identmetric_cli.cli.app import main\n"
        "Run.append_metrics = lambda self, record: os.kill(os.getpid(), signal.SIGKILL)\n"
        "main()"
    )
    here = ("train", str(work / "tiny.toml"), "--seeds", "3", "--set", "train.epochs=1", "--runs-dir", str(work))
    killed = subprocess.run([sys.executable, "-c", code, *here], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    run = Run(work / "tiny-s3")
    assert newest(run.path) == 6 and run.metrics() == []
    program("train", run.path / "config.toml", "--resume")
    assert [record["epoch"] for record in run.metrics()] == [1]
    assert run.info()["status"] == "finished" and run.info()["epochs"] == 1


def test_the_environment_changes_no_trained_number(work):
    odd = {
        "JAX_ENABLE_X64": "1",
        "JAX_DEFAULT_PRNG_IMPL": "rbg",
        "JAX_THREEFRY_PARTITIONABLE": "0",
        "JAX_RANDOM_SEED_OFFSET": "5",
    }
    command = [sys.executable, "-m", "identmetric_cli", "train", str(work / "tiny.toml"), "--runs-dir", str(work)]
    subprocess.run(command, env={**os.environ, **odd}, capture_output=True, check=True)
    assert state_hash(work / "tiny-s0") == state_hash(work / "runs" / "tiny-s0")
    assert Run(work / "tiny-s0").metrics() == Run(work / "runs" / "tiny-s0").metrics()


@pytest.mark.parametrize("fault", ["cut", "flipped", "doubled"])
def test_a_damaged_table_is_solved_again(fault, program, work, tmp_path):
    here = ("compare", work / "runs", "--random-pairs", 6, "--random-triples", 0, "-o", tmp_path / "comparison")
    before = program.json(*here)["measures"]
    [path] = (work / "runs" / "tiny-s0" / "geodesics").glob("*.npz")
    if fault == "doubled":
        with np.load(path) as stored:
            arrays = {**stored, "length": 2 * stored["length"]}
        np.savez_compressed(path, **arrays)
    elif fault == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        flip(path)
    result = program(*here)
    assert "is damaged" in result.stderr and "solved again" in result.stderr
    assert len(list(path.parent.glob("quarantine-*"))) == 1
    assert program.json(*here)["measures"] == before


def test_sources_mean_the_same_in_every_folder(program, work, tmp_path, monkeypatch):
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(work))
    for name, source in (("relative", "table.npy"), ("home", "~/table.npy")):
        (work / f"{name}.toml").write_text(f'[data]\nsource = "{source}"\n{TINY}')
        program("train", work / f"{name}.toml", "--runs-dir", "runs")
        assert Run(work / "runs" / f"{name}-s0").config().data.source == str(work / "table.npy")
    monkeypatch.chdir("/")
    program("encode", "--split", "test", "--run", work / "runs" / "relative-s0", "-o", tmp_path / "z.npz")


def test_data_that_have_moved_can_be_pointed_at(program, original, work, table, tmp_path):
    for run in (work / "runs").iterdir():
        text = (run / "config.toml").read_text()
        (run / "config.toml").write_text(text.replace(str(original / "table.npy"), str(work / "gone.npy")))
    np.save(tmp_path / "here.npy", table)
    np.save(tmp_path / "other.npy", table[::-1])
    for command in (
        ("encode", "--split", "test", "--run", work / "runs" / "tiny-s0", "-o", tmp_path / "z.npz"),
        ("geodesic", "test:0", "test:1", "--run", work / "runs" / "tiny-s0", "-o", tmp_path / "g"),
        ("geodesic", "--random-pairs", 2, "--runs", work / "runs", "-o", tmp_path / "g"),
        ("compare", work / "runs", "--random-pairs", 4, "--random-triples", 0, "-o", tmp_path / "c"),
    ):
        assert "--data PATH" in program.error(*command, code=65)["hint"]
        assert "content has changed" in program.error(*command, "--data", tmp_path / "other.npy", code=65)["message"]
        program(*command, "--data", tmp_path / "here.npy")


def test_the_hint_to_resume_names_the_very_run(program, work):
    run = interrupted(work, 8)
    renamed = Run(work / "elsewhere" / "best run")
    renamed.path.parent.mkdir()
    run.path.rename(renamed.path)
    error = program.error("encode", "--split", "test", "--run", renamed.path, code=65)
    assert "status: interrupted" in error["message"]
    [document] = program.json(*shlex.split(error["hint"])[1:])
    assert document["seed"] == 7 and document["run"] == str(renamed.path)
    assert renamed.info()["status"] == "finished"


def test_running_out_of_memory_is_no_bug(original, tmp_path):
    """A process that may map little more than JAX itself does."""
    run = original / "runs" / "tiny-s0"
    wanted = ["geodesic", "--random-pairs", "12", "--run", run, "-o", tmp_path, "--nodes", "4096"]
    code = (
        "import resource, jax, numpy; from identmetric_cli.cli.app import main\n"
        "jax.numpy.ones(3).sum().block_until_ready()\n"
        "held = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (held + 2**29, -1))\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code, *wanted], capture_output=True, text=True, check=False)
    assert done.returncode == 71, done.stderr
    assert "error: out of memory" in done.stderr and "--batch-size" in done.stderr and "bug" not in done.stderr


def test_xla_out_of_memory_is_known_by_its_words(capsys):
    with pytest.raises(typer.Exit) as caught, Output().guarded():
        jnp.zeros(2**44).block_until_ready()
    assert caught.value.exit_code == 71
    assert "out of memory" in capsys.readouterr().err
