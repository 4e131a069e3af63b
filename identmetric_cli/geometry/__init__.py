"""Geometry of any smooth map decode: (m, d) -> (K, m, D), in pure JAX: no networks, files or terminals."""

from identmetric_cli.geometry.codes import Codes, conformal, survey
from identmetric_cli.geometry.curvature import sectional_curvature
from identmetric_cli.geometry.estimators import Estimator
from identmetric_cli.geometry.frechet import FrechetMean, frechet_mean
from identmetric_cli.geometry.gauge import GaugeCheck, check_gauge
from identmetric_cli.geometry.lbfgs import Status
from identmetric_cli.geometry.measures import angles, logarithmic_map, volumes
from identmetric_cli.geometry.metric import metric_tensor
from identmetric_cli.geometry.refine import refine_endpoints
from identmetric_cli.geometry.shooting import exponential_map
from identmetric_cli.geometry.solve import geodesics
from identmetric_cli.geometry.table import GeodesicTable
from identmetric_cli.geometry.tensor import MetricTensor
from identmetric_cli.geometry.transport import parallel_transport

__all__ = [
    "Codes",
    "Estimator",
    "FrechetMean",
    "GaugeCheck",
    "GeodesicTable",
    "MetricTensor",
    "Status",
    "angles",
    "check_gauge",
    "conformal",
    "exponential_map",
    "frechet_mean",
    "geodesics",
    "logarithmic_map",
    "metric_tensor",
    "parallel_transport",
    "refine_endpoints",
    "sectional_curvature",
    "survey",
    "volumes",
]
