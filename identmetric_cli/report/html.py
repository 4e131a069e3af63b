"""The report: one self-contained HTML file, no links to anywhere, readable in light and dark and on paper."""

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from identmetric_cli.files import write_text
from identmetric_cli.report.tables import gauge_sentence, interval, number

FIGURES = {
    "cv_histograms": (
        "How much each distance varies",
        "Coefficient of variation over the runs, one value a pair of test items, on common bins. Further left is "
        "steadier under retraining.",
    ),
    "cv_scatter": (
        "Pair by pair",
        "Each dot is a pair. Below the diagonal, its geodesic length varies less over the runs than its latent "
        "Euclidean distance.",
    ),
    "latent_maps": (
        "The same data, retrained",
        "Test items on the plane of largest spread of each run's latent space. The picture changes from run to run; "
        "that is why distances are measured in data space. Background: log area element of the plane, brighter where "
        "a latent step moves the decoded data further, relative to its mean.",
    ),
    "strip": (
        "One geodesic",
        "Decoded images (mean of the decoders) along the geodesic and the straight latent line, for the pair of "
        "the first run whose geodesic is longest relative to its chord.",
    ),
}

ON_TRIPLES = {
    "angle": "degrees",
    "angle_latent": "degrees",
    "volume": "data²",
    "volume_latent": "latent²",
    "curvature": "1 / data²",
}
"""Measures on triples and their units."""

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {"number": number, "interval": interval, "gauge_sentence": gauge_sentence}


def write(result: dict[str, Any], provenance: dict[str, str], path: Path) -> None:
    """Render a comparison's JSON document and its figures to `path`."""
    figures = [
        {
            "title": title,
            "caption": caption,
            "width": "half" if name.startswith("cv_") else "full",
            "data": _embedded(Path(result["files"][name])),
        }
        for name, (title, caption) in FIGURES.items()
        if name in result["files"]
    ]
    text = _ENVIRONMENT.get_template("report.html.jinja").render(
        **result,
        figures=figures,
        on_triples=ON_TRIPLES,
        provenance=provenance,
    )
    write_text(path, text)


def _embedded(path: Path) -> str:
    buffer = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").save(buffer, format="WEBP", quality=90, method=6)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
