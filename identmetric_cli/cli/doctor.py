"""identmetric doctor"""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from rich.text import Text

from identmetric_cli import __version__
from identmetric_cli.cli.console import Output
from identmetric_cli.errors import CheckFailed

NAME = "doctor"
REQUIRED = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "matplotlib", "pillow", "mlxtend")
OPTIONAL = ("torch", "torchvision")


def command(out: Output) -> None:
    """Say what is installed and whether it works here."""
    import os

    import jax
    import jax.numpy as jnp
    import numpy as np

    from identmetric_cli.config import presets
    from identmetric_cli.data.builtin import digits

    works = float(jnp.linalg.norm(jnp.ones((3, 3)) @ jnp.ones((3, 3)))) == 9.0
    data = len(np.unique(digits()[1])) == 10
    facts = {
        "identmetric": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "device": f"{jax.devices()[0].device_kind} ({jax.default_backend()})",
        "x64": bool(jax.config.jax_enable_x64),
        "packages": {name: _version(name) for name in (*REQUIRED, *OPTIONAL)},
        "presets": presets(),
        "arithmetic": "works" if works else "wrong",
        "built-in data": "readable" if data else "unreadable",
    }

    def show(console) -> None:
        for key, value in facts.items():
            if isinstance(value, dict):
                value = ", ".join(f"{name} {each or 'not installed'}" for name, each in value.items())  # noqa: PLW2901
            console.print(Text(f"{key:14} {', '.join(value) if isinstance(value, list) else value}"))

    out.result({"schema_version": 1, **facts}, show, following=["identmetric quickstart"])
    if not (works and data and all(_version(name) for name in REQUIRED)):
        raise CheckFailed("something above is missing or wrong", "install identmetric again in a fresh environment")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
