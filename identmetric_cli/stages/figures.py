"""Figures are by-products: what cannot be drawn is told, and never costs the numbers that it would have shown."""

from collections.abc import Callable, Mapping
from pathlib import Path

from identmetric_cli.stages.reporter import Reporter


def pictured(shape: tuple[int, ...], reporter: Reporter) -> bool:
    """Whether items of `shape` are drawn as images: those of 1 or 3 channels; a note where others are not."""
    if len(shape) != 3:
        return False
    if shape[2] not in (1, 3):
        reporter.note(f"images of {shape[2]} channels are not drawn; those of 1 or 3 are")
    return shape[2] in (1, 3)


def drawn(figures: Mapping[str, Callable[[Path], None]], folder: Path, reporter: Reporter) -> dict[str, str]:
    """Paths of the figures that were drawn, <folder>/<name>.png; a warning for each whose function raised."""
    paths = {}
    for name, draw in figures.items():
        path = folder / f"{name}.png"
        try:
            draw(path)
        except Exception as error:
            reporter.warn(f"the figure {path} is left out: it cannot be drawn ({type(error).__name__}: {error})")
        else:
            paths[name] = str(path)
    return paths
