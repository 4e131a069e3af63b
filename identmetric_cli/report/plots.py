"""Figures, the only user of matplotlib: each function draws one and writes it whole."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from identmetric_cli.files import write_atomically

STYLE = {
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
BLUE, ORANGE, GREY = "#2a6f97", "#d1603d", "#8d99ae"


def reconstructions(items: np.ndarray, decoded: np.ndarray, path: Path) -> None:
    """Images above their reconstructions by the mean decoder: (n, h, w, c) and (decoders, n, h, w, c)."""
    _image_rows([items, decoded.mean(axis=0)], ["data", "reconstruction"], path)


def prior_samples(decoded: np.ndarray, path: Path) -> None:
    """Decoded draws from the prior: the mean decoder, then single decoders, (decoders, n, h, w, c)."""
    single = decoded[: min(2, len(decoded))]
    names = ["mean decoder", *(f"decoder {k + 1}" for k in range(len(single)))]
    _image_rows([decoded.mean(axis=0), *single], names, path)


def loss_curves(records: Sequence[dict[str, Any]], path: Path) -> None:
    """ELBO of training and validation, and the KL term, by epoch."""
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(7, 2.6))
        epochs = [record["epoch"] for record in records]
        for name, colour in (("train", GREY), ("validation", BLUE)):
            left.plot(epochs, [record[f"{name}_elbo"] for record in records], color=colour, label=name)
            right.plot(epochs, [record[f"{name}_kl"] for record in records], color=colour, label=name)
        best = max(records, key=lambda record: record["epoch"] if record["best"] else 0)
        left.axvline(best["epoch"], color=ORANGE, linewidth=0.8, label="kept")
        left.set(xlabel="epoch", title="evidence lower bound, nats per item")
        right.set(xlabel="epoch", title="KL divergence, nats per item")
        left.legend()
        right.legend()
        save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the path's suffix and close it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.removeprefix("."))
    plt.close(figure)
    write_atomically(path, lambda file: file.write(buffer.getvalue()))


def show_image(axes: Any, image: np.ndarray) -> None:
    """Draw one image, (h, w) or (h, w, 1) in grey or (h, w, 3), clipped to [0, 1], without axes."""
    image = np.clip(image, 0.0, 1.0)
    axes.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _image_rows(rows: Sequence[np.ndarray], names: Sequence[str], path: Path) -> None:
    with plt.rc_context(STYLE):
        columns = len(rows[0])
        figure, grid = plt.subplots(
            len(rows), columns, figsize=(0.62 * columns + 0.9, 0.66 * len(rows)), squeeze=False
        )
        for row, images, name in zip(grid, rows, names, strict=True):
            for axes, image in zip(row, images, strict=True):
                show_image(axes, image)
            row[0].set_ylabel(name, rotation=0, ha="right", va="center")
        save(figure, path)
