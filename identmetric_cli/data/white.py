"""The value of white of 16-bit images, which their files do not tell.

Cameras and microscopes store 8, 10, 12 or 14 bits in 16. Divided by 65535 such images are nearly black, and divided
each by its own maximum they are no longer comparable. A whole data set shows its depth, one image does not: a set is
read with one white for all, and an image alone only where its white is certain.
"""

from identmetric_cli.errors import InputError

DEPTHS = (8, 10, 12, 14, 16)
FULL = 2**16 - 1
DIVIDE = "divide by the white of the camera (4095 for 12 bits) and save floats in [0, 1]"


def white_of_set(maximum: int) -> int:
    """White of a set of 16-bit images whose largest value is `maximum`: the smallest depth that holds it."""
    return next((2**bits - 1 for bits in DEPTHS if 0 < maximum < 2**bits), FULL)


def told(maximum: int, white: int) -> tuple[str, ...]:
    """What to say of a set read with `white`: a warning unless it is that of 16 bits."""
    if white == FULL:
        return ()
    bits = white.bit_length()
    return (f"16-bit values end at {maximum}: taken for {bits} bits, white at {white}; if that is wrong, {DIVIDE}",)


def white_of_image(maximum: float, known: int | None, source: object) -> int:
    """White of one 16-bit image: the one that is `known`, else 65535.

    Raises InputError where values exceed it, or where they end so low that white may be lower.
    """
    if known is None and white_of_set(int(maximum)) < FULL:
        raise InputError(
            f"{source}: 16-bit values that end at {maximum:.6g}, which may be 10, 12 or 14 bits: white is not known",
            f"{DIVIDE} in a .npy file; white is known of a run that was trained on such images",
        )
    white = known or FULL
    if maximum > white:
        raise InputError(
            f"{source}: 16-bit values up to {maximum:.6g}, where the data of this run have white at {white}",
            "give images of the same depth",
        )
    return white
