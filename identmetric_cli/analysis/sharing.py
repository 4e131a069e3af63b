"""Pairs that share items are not independent: which of them count, and what sharing does to the variance of a mean.

A pair of items says something about both of them, so two pairs with a common item vary together. The cluster-robust
variance of the mean of values e_p, taken about their mean, over P units of m of the n items each is

    V = n / (n - m) / P^2 (sum_p e_p^2 + sum over p != q with a common item of e_p e_q)

(for pairs, m = 2: Fafchamps and Gubert 2007; Aronow, Samii and Assenova 2015); the second sum counts as 0 where it is
negative. With S_i the sum of e_p over the units of item i, the bracket is sum_i S_i^2 - (m - 1) sum_p e_p^2, where
two units count once for every item that they share. Units without a common item are independent.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from numpy.typing import ArrayLike


def distinct(pairs: ArrayLike) -> Bool[np.ndarray, " pairs"]:
    """Which rows of `pairs`, (pairs, 2), are the first with their two items, in either order, and have two."""
    pairs = np.sort(as_members(pairs, len(pairs), of=2), axis=1)
    first = np.zeros(len(pairs), bool)
    first[np.unique(pairs, axis=0, return_index=True)[1]] = True
    return first & (pairs[:, 0] != pairs[:, 1])


def sharing_variance(error: Float[np.ndarray, " units"], index: Int[np.ndarray, "units members"]) -> float:
    """P^2 V of values about their mean; `index` numbers the items from 0."""
    members = index.shape[1]
    of_items = np.bincount(index.ravel(), np.repeat(error, members))
    own = error @ error
    shared = of_items @ of_items - members * own
    return float((own + max(shared, 0.0)) * len(of_items) / max(len(of_items) - members, 1))


def item_numbers(members: Num[np.ndarray, "units members"]) -> Int[np.ndarray, "units members"]:
    """The items of each unit, numbered from 0 without gaps."""
    return np.unique(members, return_inverse=True)[1].reshape(members.shape)


def as_members(members: ArrayLike, units: int, of: int | None = None) -> Num[np.ndarray, "units members"]:
    """`members` as an array with a row a unit, of `of` items where given; ValueError for another shape."""
    members = np.asarray(members)
    wanted = f"({units}, {'items' if of is None else of})"
    if members.ndim != 2 or len(members) != units or of not in (None, members.shape[1]):
        raise ValueError(f"endpoints of {units} units have the shape {wanted}; got {members.shape}")
    return members
