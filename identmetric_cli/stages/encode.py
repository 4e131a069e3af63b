"""Map data to latents: posterior means and variances, as .npz or .csv."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from identmetric_cli.config import Config
from identmetric_cli.errors import UsageError
from identmetric_cli.files import write_npz, write_text
from identmetric_cli.models.encode import encode as encode_items
from identmetric_cli.report.tables import to_csv
from identmetric_cli.runs import Run
from identmetric_cli.stages.assemble import load_model, load_run_data
from identmetric_cli.stages.inputs import read_inputs
from identmetric_cli.stages.reporter import SILENT, Reporter

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class EncodeResult:
    """What was encoded, and where it went."""

    run: str
    items: int
    latent_dim: int
    output: str


def encode(
    run: Run,
    inputs: Sequence[str],
    *,
    split: str | None,
    output: Path,
    reporter: Reporter = SILENT,
) -> EncodeResult:
    """Encode files or a split with the best model of a run and write means and variances to `output`.

    Raises UsageError unless exactly one of `inputs` and `split` is given and `output` ends in .npz or .csv.
    """
    if bool(inputs) == bool(split):
        raise UsageError("give either input files or --split", "e.g. --split test")
    if output.suffix not in WRITERS:
        raise UsageError(f"{output}: latents are written as .npz or .csv", f"e.g. -o {output.with_suffix('.npz')}")
    config = run.config()
    model = load_model(run)
    if split:
        chosen = load_run_data(run).split(split)
        items, labels, ids = chosen.items, chosen.labels, [f"{split}:{i}" for i in range(len(chosen))]
    else:
        read = read_inputs(run, inputs, reporter)
        items, labels, ids = read.items, read.labels, read.names
    mean, variance = encode_items(model, items)
    WRITERS[output.suffix](output, mean, variance, np.asarray(ids), np.asarray(labels), config)
    return EncodeResult(str(run.path), len(items), mean.shape[1], str(output))


def _write_npz(
    path: Path, mean: np.ndarray, variance: np.ndarray, ids: np.ndarray, labels: np.ndarray, config: Config
) -> None:
    write_npz(
        path,
        {
            "z_mean": mean,
            "z_var": variance,
            "ids": ids,
            "labels": labels,
            "config_json": np.array(config.model_dump_json()),
            "schema_version": np.array(SCHEMA_VERSION),
        },
    )


def _write_csv(
    path: Path, mean: np.ndarray, variance: np.ndarray, ids: np.ndarray, labels: np.ndarray, config: Config
) -> None:
    rows = [
        {"id": str(name), "label": str(label)}
        | {f"z_{j}": value for j, value in enumerate(m)}
        | {f"z_var_{j}": value for j, value in enumerate(v)}
        for name, label, m, v in zip(ids, labels, mean.tolist(), variance.tolist(), strict=True)
    ]
    write_text(path, to_csv(rows))


WRITERS = {".npz": _write_npz, ".csv": _write_csv}
