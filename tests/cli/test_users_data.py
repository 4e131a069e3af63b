"""Data as users have them, through the real commands: what is read, what is told, and what is refused."""

import csv
import json
import shlex

import numpy as np
import pytest
from PIL import Image

from identmetric_cli.cli import geodesic as command
from identmetric_cli.data import load_dataset
from identmetric_cli.data.images import write_png
from identmetric_cli.report import plots
from identmetric_cli.stages import estimate

TINY = (
    '[model]\nnetwork = "mlp"\nlatent_dim = 2\ndecoders = 2\nhidden = [16]\n'
    "[train]\nepochs = 2\nbatch_size = 16\n[geodesic]\nnodes = 4\n"
)


@pytest.fixture(scope="module")
def digits():
    """40 digits, (40, 8, 8) of 0 to 255, and their labels."""
    train = load_dataset("digits").train
    return np.round(train.items[:40, ..., 0] * 255).astype(np.uint8), train.labels[:40]


@pytest.fixture
def trained(program, tmp_path):
    """Trains on a source in a few seconds; gives the run's directory and what was printed."""

    def train(source, *, image_shape=None, **options):
        shape = f"image_shape = {image_shape}\n" if image_shape else ""
        (tmp_path / "tiny.toml").write_text(f"[data]\nsource = {json.dumps(str(source))}\n{shape}{TINY}")
        done = program("train", tmp_path / "tiny.toml", "--runs-dir", tmp_path / "runs", **options)
        return tmp_path / "runs" / "tiny-s0", done

    return train


def test_flattened_images_are_trained_on_and_encoded_as_images(program, trained, digits, tmp_path):
    images, labels = digits
    np.savez(tmp_path / "flat.npz", x=images.reshape(40, 64), y=labels[:, None])
    run, done = trained(tmp_path / "flat.npz", image_shape=[8, 8, 1])
    assert "rows of 64 values read as images of 8x8x1" in done.stderr
    info = json.loads((run / "run.json").read_text())
    assert info["data"]["shape"] == [8, 8, 1] and info["data"]["white"] is None
    assert info["test"]["mse"] < 2
    data = load_dataset(str(tmp_path / "flat.npz"), image_shape=(8, 8, 1))
    for arguments, name in ((["--split", "test"], "split"), ([tmp_path / "flat.npz"], "file")):
        program("encode", *arguments, "--run", run, "-o", tmp_path / f"{name}.npz")
    with np.load(tmp_path / "split.npz") as split, np.load(tmp_path / "file.npz") as file:
        np.testing.assert_allclose(file["z_mean"][data.test.ids], split["z_mean"], rtol=1e-4, atol=1e-6)
        assert file["labels"].tolist() == labels.tolist()
        assert split["labels"].tolist() == labels[data.test.ids].tolist()


def test_badly_scaled_columns_are_told_before_training(program, trained, tmp_path):
    columns = np.random.default_rng(0).normal(size=(40, 6)) * [1e-3, 1, 1, 1, 1, 1e3]
    np.save(tmp_path / "columns.npy", columns)
    said = trained(tmp_path / "columns.npy")[1].stderr
    assert said.index("warning: ") < said.index("training tiny-s0")
    assert "standard deviations of the columns go from 0.00" in said and "standardise the columns" in said
    facts = program.json("data", "info", tmp_path / "columns.npy")
    assert facts["shape"] == [6] and len(facts["warnings"]) == 1
    assert facts["warnings"][0] in program("data", "info", tmp_path / "columns.npy").stderr


def test_info_tells_how_a_source_was_read(program, tmp_path):
    rows = np.random.default_rng(0).normal(size=(40, 6))
    np.savez(tmp_path / "cells.npz", data=rows, cell_type=np.array(["T", "B"] * 20))
    facts = program.json("data", "info", tmp_path / "cells.npz")
    assert facts["shape"] == [6] and set(facts["labels"]) == {"T", "B"} and facts["warnings"] == []
    assert facts["notes"] == ["labels are read from 'cell_type'"]
    result = program("data", "info", tmp_path / "cells.npz")
    assert "labels are read from 'cell_type'" in result.stderr and "labels are read" not in result.stdout


def test_values_beyond_single_precision_are_refused_before_training(program, trained, tmp_path):
    rows = np.random.default_rng(0).normal(size=(40, 6))
    rows[7, 3] = 1e25
    np.save(tmp_path / "rows.npy", rows)
    run, done = trained(tmp_path / "rows.npy", code=65)
    assert "1 of 240 values exceed 1e+15 (the largest 1e+25)" in done.stderr
    assert not (run / "run.json").exists()


def test_images_of_other_channels_are_trained_on_and_not_drawn(program, trained, tmp_path):
    np.savez(tmp_path / "five.npz", x=np.random.default_rng(0).integers(0, 256, (40, 8, 8, 5), dtype=np.uint8))
    run, done = trained(tmp_path / "five.npz")
    assert json.loads((run / "run.json").read_text())["status"] == "finished"
    assert [path.name for path in (run / "figures").iterdir()] == ["loss_curves.png"]
    assert done.stderr.count("images of 5 channels are not drawn") == 1 and "left out" not in done.stderr
    found = program.json("geodesic", "test:0", "test:1", "--run", run, "-o", tmp_path / "out")
    assert set(found["files"]) == {"table", "json", "curves"}
    assert found["pairs"][0]["status"] == "converged"
    error = program.error("data", "export", tmp_path / "five.npz", "-o", tmp_path / "png", code=65)
    assert "images of 5 channels, and PNG files have 1 or 3" in error["message"] and error["hint"]
    assert not (tmp_path / "png").exists()


def failing(*arguments):
    raise RuntimeError("no ink")


def test_no_figure_costs_a_training(program, tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "reconstructions", failing)
    done = program("train", "debug", "--set", "train.epochs=1", "--runs-dir", tmp_path)
    assert "reconstructions.png is left out: it cannot be drawn (RuntimeError: no ink)" in done.stderr
    run = tmp_path / "debug-s0"
    assert json.loads((run / "run.json").read_text())["status"] == "finished"
    assert sorted(path.name for path in (run / "figures").iterdir()) == ["loss_curves.png", "prior_samples.png"]


def test_no_figure_costs_a_geodesic(program, runs, tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "geodesic_strips", failing)
    done = program("geodesic", "test:0", "test:1", "--run", runs / "debug-s0", "-o", tmp_path)
    assert "geodesics.png is left out" in done.stderr
    document = json.loads((tmp_path / "geodesics.json").read_text())
    assert set(document["files"]) == {"table", "json", "curves"}
    assert len(document["pairs"]) == 1 and not (tmp_path / "geodesics.png").exists()


def test_no_figure_costs_a_comparison(program, runs, tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "latent_maps", failing)
    monkeypatch.setattr(plots, "geodesic_strips", failing)
    arguments = ("--random-pairs", 3, "--random-triples", 0, "-o", tmp_path)
    document = program.json("compare", runs, *arguments)
    assert not {"latent_maps", "strip"} & set(document["files"])
    assert {"cv_histograms", "cv_scatter"} <= set(document["files"])
    report = (tmp_path / "report.html").read_text()
    assert "Pair by pair" in report and "The same data, retrained" not in report and "One geodesic" not in report


def tiffs(folder, images):
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:02}.tif")


def test_16_bit_images_keep_the_white_of_their_run(program, runs, trained, digits, tmp_path):
    """Half a digit's brightness must be half of it in latents too: one white, for the set and for single files."""
    deep = digits[0].astype(np.uint16) * 16
    tiffs(tmp_path / "tiffs", deep)
    run, done = trained(tmp_path / "tiffs")
    assert "16-bit values end at 4080: taken for 12 bits, white at 4095" in done.stderr
    assert "40 of 40 images: 16-bit scaled to [0, 1]" in done.stderr
    assert json.loads((run / "run.json").read_text())["data"]["white"] == 4095
    tiffs(tmp_path / "dark", deep[:2] // 5)
    np.save(tmp_path / "dark.npy", (deep[:2] // 5) / 4095)
    dark = [tmp_path / "dark" / name for name in ("00.tif", "01.tif")]
    np.save(tmp_path / "deep.npy", deep[:2] // 5)
    for inputs, name in ((dark, "tif"), ([tmp_path / "dark.npy"], "npy"), ([tmp_path / "deep.npy"], "deep")):
        program("encode", *inputs, "--run", run, "-o", tmp_path / f"{name}.npz")
    with np.load(tmp_path / "tif.npz") as a, np.load(tmp_path / "npy.npz") as b, np.load(tmp_path / "deep.npz") as c:
        np.testing.assert_allclose(a["z_mean"], b["z_mean"], rtol=1e-5)
        np.testing.assert_allclose(c["z_mean"], b["z_mean"], rtol=1e-5)
    error = program.error("encode", dark[0], "--run", runs / "debug-s0", code=65)
    assert "may be 10, 12 or 14 bits: white is not known" in error["message"] and "4095" in error["hint"]


def test_folders_of_images(program, tmp_path, digits):
    for i, image in enumerate(digits[0]):
        write_png(tmp_path / "same" / f"class{i % 2}" / f"{i}.png", image[..., None] / 255)
    facts = program.json("data", "info", tmp_path / "same")
    assert facts["shape"] == [8, 8, 1] and set(facts["labels"]) == {"class0", "class1"}
    assert len(program.json("data", "export", tmp_path / "same", "-o", tmp_path / "out")["files"]) == 4
    write_png(tmp_path / "same" / "large.png", np.zeros((16, 16, 3)))
    error = program.error("data", "info", tmp_path / "same", code=2)
    assert "40 of 8x8x1, 1 of 16x16x3" in error["message"] and "--image-shape 8,8,1" in error["hint"]
    facts = program.json("data", "info", tmp_path / "same", "--image-shape", "8,8,1")
    assert facts["shape"] == [8, 8, 1]
    assert facts["notes"] == [
        "1 of 41 images: colour converted to grey",
        "1 of 41 images: resized from 16x16 to 8x8",
    ]
    result = program("data", "info", tmp_path / "same", "--image-shape", "8,8,1")
    following = shlex.split(result.stderr.strip().splitlines()[-1])
    assert following[:3] == ["identmetric", "data", "export"]
    program(*following[1:-1], tmp_path / "exported")
    with Image.open(tmp_path / "exported" / "test-0.png") as image:
        assert image.size == (8, 8)
    for text in ("28", "28,28", "0,28,1", "28,28,-1", "a,b,c"):
        assert "--image-shape" in program.error("data", "info", "mnist", "--image-shape", text, code=2)["message"]


def test_a_folder_that_has_moved_is_missing_input(program, trained, digits, tmp_path):
    for i, image in enumerate(digits[0]):
        write_png(tmp_path / "pictures" / f"{i}.png", image[..., None] / 255)
    run, _ = trained(tmp_path / "pictures")
    (tmp_path / "pictures").rename(tmp_path / "elsewhere")
    inputs = [tmp_path / "elsewhere" / name for name in ("0.png", "1.png")]
    done = program("geodesic", *inputs, "--run", run, "-o", tmp_path / "out")
    assert "without the training data, gaps in it are not told" in done.stderr and "no such file" in done.stderr
    assert "no such file or folder" in program.error("encode", "--split", "test", "--run", run, code=65)["message"]


def test_our_own_tables_are_files_of_pairs(program, runs, tmp_path):
    program("compare", runs, "--random-pairs", 3, "--random-triples", 0, "-o", tmp_path)
    with open(tmp_path / "cv.csv") as file:
        wanted = [(row["a"], row["b"]) for row in csv.DictReader(file)]
    assert len(wanted) == 3
    common = ("--run", runs / "debug-s0", "-o", tmp_path / "out")
    for name in ("cv.csv", "pairs.csv", "out/geodesics.csv"):
        result = program("geodesic", "--pairs", tmp_path / name, *common)
        rows = json.loads((tmp_path / "out" / "geodesics.json").read_text())["pairs"]
        assert [(row["a"], row["b"]) for row in rows] == wanted
        assert ("6 of 9 rows repeat a pair" in result.stderr) == (name == "pairs.csv")
    again = program.json(
        "compare", runs, "--pairs", tmp_path / "pairs.csv", "--random-triples", 0, "-o", tmp_path / "b"
    )
    assert again["pairs"] == 3


def test_encoded_tables_hold_no_formulas(program, trained, tmp_path):
    rows = np.random.default_rng(0).normal(size=(40, 6))
    labels = np.array(["=1+1", "+x", "@y", "plain"] * 10)
    np.savez(tmp_path / "rows.npz", x=rows, y=labels)
    run, _ = trained(tmp_path / "rows.npz")
    np.save(tmp_path / "=2.npy", rows[:1])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        program("encode", "rows.npz", "=2.npy", "--run", run, "-o", tmp_path / "z.csv")
    with open(tmp_path / "z.csv") as file:
        table = list(csv.DictReader(file))
    assert [row["label"] for row in table] == ["'=1+1", "'+x", "'@y", "plain"] * 10 + [""]
    assert table[-1]["id"] == "'=2.npy"
    assert list(table[0]) == ["id", "label", "z_0", "z_1", "z_var_0", "z_var_1"]
    assert float(table[-1]["z_0"]) == pytest.approx(float(table[0]["z_0"]), rel=1e-4)


def test_many_geodesics_want_a_word(program, runs, digits, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "MANY", 5)
    np.save(tmp_path / "four.npy", digits[0][:4])
    common = ("--run", runs / "debug-s0", "-o", tmp_path / "out")
    error = program.error("geodesic", tmp_path / "four.npy", *common, code=2)
    assert "4 items make 6 geodesics, about " in error["message"] and "seconds" in error["message"]
    assert "--yes" in error["hint"] and not (tmp_path / "out").exists()
    remedy = shlex.split(error["hint"].split(": ")[-1])
    assert remedy[:3] == ["identmetric", "geodesic", "--random-pairs"]
    monkeypatch.setattr(estimate, "estimated_seconds", lambda *question: 2400.0)
    everyone = program.error("geodesic", tmp_path / "four.npy", "--runs", runs, code=2)
    assert "6 geodesics in each of 3 runs, about 2.0 hours on this machine" in everyone["message"]
    assert len(program.json("geodesic", tmp_path / "four.npy", "--yes", *common)["pairs"]) == 6
    assert len(program.json("geodesic", "--random-pairs", 6, *common)["pairs"]) == 6
    assert len(program.json("geodesic", "--all-pairs", 4, *common)["pairs"]) == 6


def test_angles_of_many_items_are_left_out(program, runs, digits, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "MOST_VERTICES", 3)
    np.save(tmp_path / "four.npy", digits[0][:4])
    common = ("--run", runs / "debug-s0", "-o", tmp_path / "out")
    result = program("geodesic", tmp_path / "four.npy", *common)
    assert "angles and areas are told of up to 3 items, not of 4" in result.stderr
    assert json.loads((tmp_path / "out" / "geodesics.json").read_text())["angles"] == []
    assert len(program.json("geodesic", *["test:0", "test:1", "test:2"], *common)["angles"]) == 3
