"""The configuration: frozen sections that a TOML file fills, every key known, typed and bounded.

A configuration is complete when loaded: presets and files may leave keys out, the resolved configuration that a
run stores never does. Unknown keys are errors, because a misspelt key that is ignored changes a result silently.
All errors of a file are reported at once.
"""

import difflib
import os
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tomli
import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from identmetric_cli.errors import UsageError

MAX_BYTES = 64 * 1024
MAX_DOTS_PER_LINE = 16
LOCATIONS = ("data.source", "data.root", "data.download")

_SHIPPED = Path(__file__).parent / "configs"
PRESETS = _SHIPPED if _SHIPPED.is_dir() else Path(__file__).parent.parent / "configs"


class Section(BaseModel):
    """A frozen table of the configuration."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Data(Section):
    source: str = "mnist"
    """`mnist` (5,000 digits, built in), `digits` (1,797 of 8x8 pixels, built in), `torchvision:NAME`, a .npy or
    .npz file, or a folder of images."""
    root: str = ""
    """Folder of torchvision's files; empty means `data` in the current folder. Used by `torchvision:` alone."""
    download: bool = False
    """Let torchvision download the files when they are missing."""
    image_shape: Annotated[list[int], Field(min_length=3, max_length=3)] | None = None
    """Height, width and channels that the images of a folder are brought to (unset: those that all have), or that
    flattened rows of an array are."""
    limit: Annotated[int, Field(ge=10)] | None = None
    """Use this many items, drawn with `split_seed`; unset means all."""
    validation: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """Share of the items for early stopping."""
    test: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """Share of the items for the test split, which training never sees."""
    split_seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of the split. Runs are comparable only when they share it."""


Channels = Annotated[list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=1, max_length=12)]


class ModelBase(Section):
    latent_dim: Annotated[int, Field(ge=1, le=1024)] = 16
    """Dimension of the latent space."""
    decoders: Annotated[int, Field(ge=1, le=64)] = 8
    """Members of the decoder ensemble, each initialised independently."""
    activation: Literal["elu", "silu", "softplus", "tanh", "relu"] = "elu"
    """Smooth activations give a smooth metric; `relu` does not."""


class ConvModel(ModelBase):
    network: Literal["conv"] = "conv"
    """Convolutional networks for images."""
    encoder_channels: Channels = [16, 32, 64, 128, 256]
    """Channels of the encoder's 3x3 convolutions, each of stride 2."""
    decoder_channels: Channels = [256, 128, 64, 32, 16]
    """Input channels of the decoder's 3x3 convolutions, the first on a 2x2 grid."""
    decoder_scales: Annotated[list[Literal[1, 2]], Field(min_length=1, max_length=12)] = [2, 1, 2, 2, 2]
    """Nearest-neighbour enlargement before each of these convolutions."""

    @model_validator(mode="after")
    def _same_length(self) -> "ConvModel":
        if len(self.decoder_channels) != len(self.decoder_scales):
            raise ValueError(
                f"decoder_scales needs one number for each of the {len(self.decoder_channels)} decoder_channels, "
                f"got {len(self.decoder_scales)}"
            )
        return self


class MlpModel(ModelBase):
    network: Literal["mlp"]
    """Fully connected networks for vectors (images are flattened)."""
    hidden: Channels = [256, 256]
    """Widths of the encoder's hidden layers; the decoder has them in reverse."""


class Objective(Section):
    noise_variance: Annotated[float, Field(gt=0)] | Literal["optimal"] = "optimal"
    """Variance of the Gaussian observation noise: a number, or `optimal` for the maximum-likelihood value in
    closed form, the mean squared error (Rybkin et al. 2021, arXiv 2006.13202). Too large a value switches the
    latents off: at 1.0, half the summed squared error plus KL, MNIST collapses."""
    beta: Annotated[float, Field(gt=0)] = 1.0
    """Weight of the KL term; 1 is the evidence lower bound."""


class Train(Section):
    epochs: Annotated[int, Field(ge=1)] = 60
    """Upper bound; early stopping may end sooner."""
    batch_size: Annotated[int, Field(ge=1)] = 128
    """Images per step, split over the decoders, so a multiple of `model.decoders`."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Adam's step size."""
    gradient_clip: Annotated[float, Field(gt=0)] | None = None
    """Largest global norm of the gradient; unset means no clipping."""
    patience: Annotated[int, Field(ge=1)] = 10
    """Epochs without a better validation ELBO before training stops."""
    min_delta: Annotated[float, Field(ge=0)] = 0.1
    """A better ELBO is higher by more than this, in nats."""
    checkpoint_every: Annotated[int, Field(ge=1)] = 5
    """Epochs between checkpoints: what a power cut costs at most."""


class Geodesic(Section):
    estimator: Literal["expected", "conformal", "mean", "independent", "paper"] = "expected"
    """`expected`: the mean of the decoders' pull-back metrics; `conformal`: the same, longer where decoders disagree;
    `mean`: the pull-back metric of the mean decoder; `independent`: every node decoded by a decoder of its own, in
    expectation, which is no length and grows with the nodes; `paper`: the same with decoders that are really drawn,
    as published."""
    conformal_strength: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the decoders' disagreement in `conformal`, in units of its median over the training data."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Of the decoders that `paper` draws; nothing else is random."""
    solver: Literal["lbfgs", "georce", "adam"] = "lbfgs"
    """`lbfgs`: from coarse to fine curves, the fastest; `georce`: Rygaard and Hauberg (2025), arXiv 2505.05961;
    `adam`: Syrota et al. (2025), for `paper` the only one, and with max_iter in the thousands."""
    curve: Literal["modes", "spline"] = "modes"
    """`modes`: all nodes are free; `spline`: cubic splines on ten pieces, as published."""
    nodes: Annotated[int, Field(ge=1, le=4096)] = 32
    """Segments of a curve; refinement is checked at twice as many."""
    max_iter: Annotated[int, Field(ge=1)] = 100
    """Evaluations of energy and gradient per pair and grid before it is given up as `max_iter`."""
    rtol: Annotated[float, Field(gt=0, lt=1)] = 1e-4
    """Converged when the energy still to be gained is estimated below this share of the energy."""
    starts: Annotated[int, Field(ge=1, le=100)] = 2
    """Starting curves of a pair, of which the best goes on: the straight line, bent lines and, of three or more, the
    shortest path over a graph of the training data's codes."""
    refine_endpoints: bool = True
    """Move each end from the encoder's mean to the latents whose decoded point is nearest to the item. Latent Euclid
    stays that of the encoder's means."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Pairs solved side by side; memory grows with it, not with the number of pairs."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of the decoders and curves while solving."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.01
    """Of `adam`, in latent units."""
    patience: Annotated[int, Field(ge=1)] = 100
    """More steps of `adam` than this without a gain, and a batch is given up."""
    min_delta: Annotated[float, Field(ge=0)] = 1.0
    """A gain of `adam`: the energies of a batch, added up, fall by more than this, in squared data units."""

    @model_validator(mode="after")
    def _solver_fits(self) -> "Geodesic":
        if self.estimator == "paper" and self.solver != "adam":
            raise ValueError('geodesic.estimator = "paper" draws decoders at every step and needs solver = "adam"')
        if self.estimator == "independent" and self.solver == "georce":
            raise ValueError('geodesic.solver = "georce" needs a metric, and estimator = "independent" is none')
        return self


class Config(Section):
    """Everything that decides a run, apart from its seed."""

    data: Data = Data()
    model: Annotated[ConvModel | MlpModel, Field(discriminator="network")] = ConvModel()
    objective: Objective = Objective()
    train: Train = Train()
    geodesic: Geodesic = Geodesic()

    @model_validator(mode="after")
    def _batch_splits(self) -> "Config":
        if self.train.batch_size % self.model.decoders:
            raise ValueError(
                f"train.batch_size must be a multiple of model.decoders, because every batch is split over the "
                f"decoders (got {self.train.batch_size} and {self.model.decoders})"
            )
        return self


def presets() -> list[str]:
    """Names of the presets that are shipped, sorted."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load(source: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Configuration of a preset name or TOML file, with `section.key=value` overrides on top.

    Raises UsageError that lists every fault with file and dotted key.
    """
    path = _find(source)
    values = parse(path)
    for override in overrides:
        _override(values, override)
    return validate(values, str(path.name if path.parent == PRESETS else path))


def load_resolved(path: Path) -> Config:
    """Configuration that a run stored."""
    return validate(parse(path), str(path))


def parse(path: Path) -> dict[str, Any]:
    """Plain tables of a TOML file, size and nesting bounded; raises UsageError with line and column."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > MAX_BYTES or any(line.count(b".") > MAX_DOTS_PER_LINE for line in data.splitlines()):
        raise UsageError(f"{path}: too large or too deeply nested to be a configuration ({len(data)} bytes)")
    try:
        return tomli.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error


def validate(values: dict[str, Any], source: str) -> Config:
    """Check plain tables against the schema; raises UsageError listing every fault."""
    with_default_network = {**values}
    if isinstance(values.get("model"), dict):
        with_default_network["model"] = {"network": "conv", **values["model"]}
    try:
        return Config.model_validate(with_default_network)
    except ValidationError as error:
        faults = [_describe(fault) for fault in error.errors(include_url=False)]
        lines = "\n".join(f"{source}: {fault}" for fault in faults)
        raise UsageError(lines, "identmetric config schema prints every key with its meaning") from error


def to_toml(config: Config) -> str:
    """The resolved configuration as TOML; unset keys are left out."""
    return tomli_w.dumps(config.model_dump(exclude_none=True))


def decisive(config: Config) -> dict[str, Any]:
    """The dotted keys that decide trained numbers, with their values.

    Geodesics can be asked for anew, and where data lie does not matter: a fingerprint says whether they are the same.
    """
    leaves = _leaves(config.model_dump())
    return {key: value for key, value in leaves if not key.startswith("geodesic.") and key not in LOCATIONS}


def differences(stored: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Keys of `stored` on which `given` differs, each with both values."""
    return [f"{key}: {value!r} and {given.get(key)!r}" for key, value in stored.items() if given.get(key) != value]


def _find(source: str | Path | None) -> Path:
    name = str(source or "mnist")
    if name.endswith(".toml") or os.sep in name:
        if not Path(name).is_file():
            raise UsageError(f"{name}: no such file", f"give a TOML file or a preset: {', '.join(presets())}")
        return Path(name)
    if name not in presets():
        near = difflib.get_close_matches(name, presets(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"presets are {', '.join(presets())}"
        raise UsageError(f"{name!r} is not a preset", hint)
    return PRESETS / f"{name}.toml"


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or len(parts) != 2 or not all(parts):
        raise UsageError(f"--set {override}: not of the form section.key=value", "e.g. --set model.latent_dim=2")
    try:
        value = tomli.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text.strip()
    section = values.setdefault(parts[0], {})
    if not isinstance(section, dict):
        raise UsageError(f"--set {override}: {parts[0]} is not a section")
    section[parts[1]] = value


def _describe(fault: Any) -> str:
    location = [str(part) for part in fault["loc"] if part not in ("conv", "mlp")]
    location = [part for part in location if part.isidentifier() or part.isdigit()]
    key = ".".join(location)
    if fault["type"] == "extra_forbidden":
        if key in known_keys():
            return f"{key} is not a key of this kind of {key.partition('.')[0]}"
        near = difflib.get_close_matches(key, list(known_keys()), n=1, cutoff=0.7)
        return f"{key} is not a known key" + (f", did you mean {near[0]}?" if near else "")
    message = fault["msg"].removeprefix("Value error, ")
    if not key or isinstance(fault["input"], dict | BaseModel):
        return f"{key}: {message}" if key else message
    return f"{key}: {message[0].lower()}{message[1:]} (got {fault['input']!r})"


def known_keys() -> Iterator[str]:
    """Every dotted key of the schema, and the sections."""
    for key, _, _ in describe_keys():
        yield key
    yield from Config.model_fields


def describe_keys() -> Iterator[tuple[str, Any, str]]:
    """Every dotted key with its default and its meaning."""
    for section, field in Config.model_fields.items():
        annotation = field.annotation
        members = get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
        fields = {name: each for member in members for name, each in member.model_fields.items()}
        for name, each in fields.items():
            default = "(unset)" if each.default is None else each.default
            yield f"{section}.{name}", default, " ".join((each.description or "").split())


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
