"""Do the runs fit the data equally well?

The theory says that distances, angles and volumes agree between models that explain the data equally well. A
run that stopped too early or collapsed is another model, and its numbers are bound to differ: no fault of the
measure. The test ELBO (evidence lower bound) of each run shows that before anyone wonders about a large CV.

Two conditions must both hold before the best and the worst run count as different. The gap exceeds 3 standard
errors of a difference, so that it is no accident of the test images; as all runs see the same images their
errors partly cancel, which makes the bar higher than 3. And it exceeds 1 % of the median |ELBO|, because on a
large test set gaps become certain long before they matter. That 1 % is a convention: the ELBO of continuous
data has no natural zero, and near 0 the first condition decides alone.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

SIGMAS = 3.0
RELATIVE = 0.01


def unequal_fit(
    test_elbos: ArrayLike, standard_errors: ArrayLike | None = None, names: Sequence[str] | None = None
) -> str | None:
    """A warning if the runs' test ELBOs, (runs,), differ notably or are not finite; None if they are alike.

    `standard_errors`, (runs,), are those of each mean over test images, NaN where unknown; without them only
    the 1 % counts. `names`, one a run, are what the warning calls them; without it, "run 0" and so on.
    ValueError where the shapes do not fit.
    """
    elbos = np.asarray(test_elbos, dtype=np.float64)
    errors = np.zeros_like(elbos)
    if standard_errors is not None:
        errors = np.nan_to_num(np.asarray(standard_errors, dtype=np.float64))
    if elbos.ndim != 1 or errors.shape != elbos.shape:
        raise ValueError(f"one ELBO and one error a run, both (runs,); got {elbos.shape} and {errors.shape}")
    names = [f"run {i}" for i in range(len(elbos))] if names is None else names
    broken = np.flatnonzero(~np.isfinite(elbos))
    if broken.size:
        those = ", ".join(names[i] for i in broken)
        return f"unequal fit: no finite test ELBO from {those}; leave out or train again"
    if elbos.size < 2:
        return None

    worst, best = int(elbos.argmin()), int(elbos.argmax())
    gap = elbos[best] - elbos[worst]
    noise = SIGMAS * np.hypot(errors[best], errors[worst])
    if gap <= max(noise, RELATIVE * np.median(np.abs(elbos))):
        return None
    return (
        f"unequal fit: test ELBO {elbos[worst]:.6g} in {names[worst]}, {elbos[best]:.6g} in {names[best]}; "
        "only runs that fit equally well are expected to agree: train the worse one longer or leave it out"
    )
