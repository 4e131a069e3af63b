"""Configurations: every fault named, nothing accepted that is not known."""

import pytest

from identmetric_cli.config import decisive, differences, load, load_resolved, presets, to_toml
from identmetric_cli.errors import UsageError


@pytest.mark.parametrize("preset", presets())
def test_presets_are_valid_and_resolve_to_themselves(preset, tmp_path):
    config = load(preset)
    (tmp_path / "config.toml").write_text(to_toml(config))
    assert load_resolved(tmp_path / "config.toml") == config


def test_default_is_mnist():
    assert load() == load("mnist")


def test_all_faults_are_named_at_once(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text('[model]\nlatent_dm = 2\ndecoders = 0\n[train]\nepochs = "ten"\nlearning_rate = nan\n')
    with pytest.raises(UsageError) as caught:
        load(path)
    lines = caught.value.message.splitlines()
    assert len(lines) == 4
    assert all(line.startswith(f"{path}: ") for line in lines)
    text = caught.value.message
    assert "model.latent_dm is not a known key, did you mean model.latent_dim?" in text
    assert "model.decoders: " in text and "(got 0)" in text
    assert "train.epochs: " in text and "(got 'ten')" in text
    assert "train.learning_rate: " in text


def test_unknown_section_is_refused(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("[modle]\nlatent_dim = 2\n")
    with pytest.raises(UsageError, match="modle is not a known key"):
        load(path)


def test_batch_must_split_over_decoders():
    with pytest.raises(UsageError, match=r"multiple of model\.decoders"):
        load("mnist", ["train.batch_size=100"])


@pytest.mark.parametrize(
    ("override", "value"),
    [("model.latent_dim=2", 2), ('model.activation="silu"', "silu"), ("model.activation=silu", "silu")],
)
def test_overrides(override, value):
    section, key = override.split("=")[0].split(".")
    assert getattr(getattr(load("mnist", [override]), section), key) == value


@pytest.mark.parametrize("override", ["latent_dim=2", "model.latent_dim", "=3", "a.b.c=1"])
def test_malformed_overrides_are_refused(override):
    with pytest.raises(UsageError, match=r"section\.key=value"):
        load("mnist", [override])


@pytest.mark.parametrize(
    "text",
    [
        "a" * 70_000,
        "x = " + "[" * 600,
        "[model]\nlatent_dim = " + "9" * 5000,
        ".".join(["a"] * 200) + " = 1",
        "[model\n",
        "model = 3\n",
        "[data]\nsource = 3\n",
        "[train]\nepochs = true\n",
    ],
    ids=["large", "deep", "long integer", "dots", "syntax", "no table", "type", "bool"],
)
def test_hostile_files_are_refused(text, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(UsageError):
        load(path)


def test_files_that_are_not_text_are_refused(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_bytes(b"\xff\xfe[model]")
    with pytest.raises(UsageError):
        load(path)


def test_near_preset_is_suggested():
    with pytest.raises(UsageError) as caught:
        load("mnits")
    assert "mnist" in caught.value.hint


def test_differences_name_both_values():
    here, there = (decisive(load("mnist", more)) for more in ((), ["model.latent_dim=2", "geodesic.nodes=4"]))
    assert differences(here, there) == ["model.latent_dim: 16 and 2"]
