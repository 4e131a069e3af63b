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


def geodesic_strips(decoded: np.ndarray, titles: Sequence[str], path: Path) -> None:
    """Images along each geodesic above those along its straight line: (pairs, 2, images, h, w, c)."""
    pairs, _, columns = decoded.shape[:3]
    with plt.rc_context({**STYLE, "figure.constrained_layout.use": False}):
        figure = plt.figure(figsize=(0.72 * columns + 1.0, 1.86 * pairs + 0.1))
        grid = figure.add_gridspec(
            pairs, 1, hspace=0.24, left=0.13, right=0.995, top=1 - 0.3 / (1.86 * pairs + 0.1), bottom=0.01
        )
        for pair, title in zip(range(pairs), titles, strict=True):
            axes = grid[pair].subgridspec(2, columns, wspace=0.04, hspace=0.04).subplots(squeeze=False)
            for row, name in enumerate(("geodesic", "straight")):
                for column in range(columns):
                    show_image(axes[row, column], decoded[pair, row, column])
                axes[row, 0].set_ylabel(name, rotation=0, ha="right", va="center")
            axes[0, 0].set_title(_printable(title))
        save(figure, path)


def cv_histograms(cvs: dict[str, np.ndarray], labels: dict[str, str], path: Path) -> None:
    """Coefficients of variation of several measures on common bins."""
    values = np.concatenate(list(cvs.values()))
    bins = np.linspace(0, np.quantile(values, 0.99) * 1.05 + 1e-9, 31)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(5, 2.8))
        for (name, cv), colour in zip(cvs.items(), (GREY, BLUE, ORANGE), strict=False):
            axes.hist(
                np.minimum(cv, bins[-1]),
                bins=bins,
                color=colour,
                alpha=0.6,
                label=f"{labels[name]}, mean {cv.mean():.3f}",
            )
            axes.axvline(cv.mean(), color=colour, linewidth=1.2)
        axes.set(xlabel="coefficient of variation over runs", ylabel="pairs")
        axes.legend()
        save(figure, path)


def cv_scatter(baseline: np.ndarray, cv: np.ndarray, labels: tuple[str, str], path: Path) -> None:
    """Coefficient of variation of one measure against another, pair by pair, with the diagonal."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(3.4, 3.2))
        top = 1.05 * max(baseline.max(), cv.max(), 1e-9)
        axes.plot([0, top], [0, top], color=GREY, linewidth=0.8)
        axes.scatter(baseline, cv, s=10, color=BLUE, alpha=0.7, linewidths=0)
        below = int(np.sum(cv < baseline))
        axes.set(
            xlim=(0, top),
            ylim=(0, top),
            xlabel=f"CV of {labels[0]}",
            ylabel=f"CV of {labels[1]}",
            title=f"{below} of {len(cv)} pairs below the diagonal",
            aspect="equal",
        )
        save(figure, path)


def latent_maps(maps: Sequence[dict[str, Any]], path: Path) -> None:
    """Latent codes of several runs side by side, on the log area element of the plane that is shown.

    Each map: `name`, `points` (n, 2), `labels` (n,), `x`, `y` (grid edges) and `log_area` (rows, columns).
    """
    columns = min(len(maps), 4)
    rows = -(-len(maps) // columns)
    classes = sorted({str(label) for each in maps for label in each["labels"]})
    colours = plt.get_cmap("tab10" if len(classes) <= 10 else "tab20")
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(rows, columns, figsize=(2.5 * columns + 0.9, 2.6 * rows), squeeze=False)
        for axes in grid.flat[len(maps) :]:
            axes.set_visible(False)
        for axes, each in zip(grid.flat, maps, strict=False):
            extent = (each["x"][0], each["x"][-1], each["y"][0], each["y"][-1])
            picture = axes.imshow(
                each["log_area"] - each["log_area"].mean(), extent=extent, origin="lower", cmap="bone", aspect="auto"
            )
            for index, name in enumerate(classes):
                chosen = each["points"][np.asarray(each["labels"]).astype(str) == name]
                axes.scatter(*chosen.T, s=5, color=colours(index % 20), linewidths=0, label=name)
            axes.set(xlim=extent[:2], ylim=extent[2:], xticks=[], yticks=[], title=each["name"])
            figure.colorbar(picture, ax=axes, fraction=0.05, pad=0.02)
        if 1 < len(classes) <= 20:
            handles, names = grid[0, 0].get_legend_handles_labels()
            figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 10), markerscale=2)
        save(figure, path)


def _printable(text: str) -> str:
    """Text without what matplotlib would read as mathematics or a font cannot draw."""
    return "".join(c if c.isprintable() else "?" for c in text).replace("$", r"\$")
