"""A row of a pair that converged and that nothing speaks against; tests add its lengths."""

CONVERGED = {
    "status": "converged",
    "smallest_singular_value": 0.5,
    "refinement": 1e-4,
    "end_gain": None,
    "crosses_gap": False,
    "estimator": "expected",
    "nodes": 16,
    "dtype": "float32",
}
