"""Array aliases, and the notation that the paper, the documentation and the code share.

| paper           | here        | meaning                                                            |
|-----------------|-------------|--------------------------------------------------------------------|
| z               | `z`         | latent code, shape (d,)                                            |
| f_k             | decoder k   | one member of the ensemble, R^d -> R^D                             |
| f               | `decode`    | all members: (m, d) -> (K, m, D)                                   |
| F               |             | the members stacked and divided by sqrt(K), R^d -> R^(K D)         |
| g = J_F^T J_F   | `metric`    | expected pull-back metric of the ensemble, shape (d, d)            |
| gamma           | `curve`     | latent curve on n + 1 nodes, shape (n + 1, d)                      |
| E, L            | `energy`, `length` | functionals of a curve, in squared and plain units of data  |

Axes keep one name everywhere: `runs`, `pairs`, `nodes`, `decoders`, `latent`, `data`, `batch`.
"""

from collections.abc import Callable

from jax import Array
from jaxtyping import Float

Latents = Float[Array, "points latent"]
Curve = Float[Array, "nodes latent"]
Decoded = Float[Array, "decoders points data"]
Decode = Callable[[Latents], Decoded]
Decoders = Decode | tuple[Decode, ...]
