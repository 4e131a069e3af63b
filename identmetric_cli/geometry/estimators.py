"""What an ensemble's decoded points say about lengths: one function of decoded nodes for each estimator.

With f_k the members, m their mean and v = (1/K) sum_k |f_k - m|^2 their disagreement, a step of a curve from node i
to node i + 1 has the squared length

    expected      (1/K) sum_k |f_k,i+1 - f_k,i|^2                                 metric (1/K) sum_k J_k^T J_k
    conformal     (1 + weight (v_i + v_i+1) / 2) x expected                       metric (1 + weight v) x expected
    mean          |m_i+1 - m_i|^2                                                 metric J_m^T J_m
    independent   |m_i+1 - m_i|^2 + v_i + v_i+1                                   none
    paper         |f_l,i+1 - f_k,i|^2, members k, l drawn for every node          none
    tensor        dz^T (G_i + G_i+1) / 2 dz, of a metric tensor and no members    metric G

`paper` is the estimator of Syrota et al. (2025) as published, `independent` its exact expectation. Their disagreement
does not shrink with the step: energies grow like n^2, lengths like n, and the length from a point to itself is not
zero. They are regularised costs of paths, not lengths; the other three are lengths. `conformal` avoids disagreement
too, and is a metric: v is a scalar on the manifold, the same in every parametrisation.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from identmetric_cli.geometry import tensor

NAMES = ("expected", "conformal", "mean", "independent", "paper")
"""What a length of an ensemble can be; that of a metric tensor is `tensor`."""


@partial(jax.tree_util.register_dataclass, data_fields=("weight", "seed", "draw"), meta_fields=("name",))
@dataclass(frozen=True)
class Estimator:
    """One of `NAMES` or `tensor`; `weight` is that of the disagreement in `conformal`, in inverse squared data units.

    `seed` and `draw` decide which members `paper` draws. All curves of a call share them, so that what comes of a
    curve depends on that curve alone.
    """

    name: str = "expected"
    weight: float | Array = 0.0
    seed: int | Array = 0
    draw: int | Array = 0

    def squared_steps(self, x: Float[Array, "decoders *curves nodes data"]) -> Float[Array, "*curves segments"]:
        """Squared length of every step from node to node."""
        if self.name in ("tensor", "none"):
            return tensor.squared_steps(x) if self.name == "tensor" else jnp.zeros_like(x[0, ..., 1:, 0])
        if self.name in ("expected", "conformal"):
            steps = _squares(jnp.diff(x, axis=-2)).mean(axis=0)
            if self.name == "expected":
                return steps
            v = disagreement(x)
            return (1 + 0.5 * self.weight * (v[..., 1:] + v[..., :-1])) * steps
        if self.name == "paper":
            nodes = jnp.arange(x.shape[-2])
            key = jax.random.fold_in(jax.random.key(self.seed), self.draw)
            members = jax.random.randint(key, nodes.shape, 0, len(x))
            return _squares(jnp.diff(jnp.moveaxis(x[members, ..., nodes, :], 0, -2), axis=-2))
        steps = _squares(jnp.diff(x.mean(axis=0), axis=-2))
        if self.name == "mean":
            return steps
        v = disagreement(x)
        return steps + v[..., 1:] + v[..., :-1]

    @property
    def is_metric(self) -> bool:
        """Whether steps are lengths of a Riemannian metric."""
        return self.name not in ("independent", "paper")

    @property
    def expectation(self) -> "Estimator":
        """What the estimator is on average: itself, unless members are drawn."""
        return Estimator("independent") if self.name == "paper" else self

    def redrawn(self, draw: int) -> "Estimator":
        """The estimator with members drawn anew, where it draws any."""
        return replace(self, draw=draw)

    def require_metric(self) -> None:
        """Raises ValueError for what is not a metric."""
        if not self.is_metric:
            raise ValueError(f"the estimator `{self.name}` is no metric: it has no angles, volumes or curvature")

    @property
    def chord(self) -> "Estimator":
        """The estimator under which one step between the ends of a curve is a lower bound of a metric's length.

        Nothing but zero, `none`, bounds the lengths of a metric tensor.
        """
        return Estimator({"mean": "mean", "tensor": "none"}.get(self.name, "expected"))

    def squared_size(self, x: Float[Array, "decoders *points data"]) -> Float[Array, "*points"]:
        """Squared distance of decoded points from the origin, of which rounding is a share."""
        return tensor.squared_size(x[0]) if self.name == "tensor" else _squares(x).mean(axis=0)

    def gram(
        self, products: Float[Array, "decoders points m data"], decoded: Callable[[], Array]
    ) -> Float[Array, "points m m"]:
        """Inner products of m vectors at every point, from their images under the members' Jacobians.

        `decoded()` gives the members at the points, (decoders, points, data). Raises ValueError without a metric.
        """
        self.require_metric()
        if self.name == "tensor":
            return tensor.gram(products[0], decoded()[0])
        if self.name == "mean":
            products = products.mean(axis=0, keepdims=True)
        grams = jnp.einsum("kpmx,kpnx->pmn", products, products) / products.shape[0]
        if self.name == "conformal":
            grams = (1 + self.weight * disagreement(decoded()))[:, None, None] * grams
        return grams


EXPECTED, TENSOR = Estimator(), Estimator("tensor")


def disagreement(x: Float[Array, "decoders *points data"]) -> Float[Array, "*points"]:
    """Mean squared distance of the members from their mean, v, in squared data units."""
    return _squares(x - x.mean(axis=0)).mean(axis=0)


def _squares(x: Float[Array, "*points data"]) -> Float[Array, "*points"]:
    return jnp.sum(jnp.square(x), axis=-1)
