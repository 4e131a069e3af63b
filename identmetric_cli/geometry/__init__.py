"""Geometry of any smooth map decode: (m, d) -> (K, m, D), in pure JAX: no networks, files or terminals."""

from identmetric_cli.geometry.estimators import Estimator
from identmetric_cli.geometry.lbfgs import Status
from identmetric_cli.geometry.measures import angles, volumes
from identmetric_cli.geometry.metric import metric_tensor
from identmetric_cli.geometry.solve import GeodesicTable, geodesics

__all__ = ["Estimator", "GeodesicTable", "Status", "angles", "geodesics", "metric_tensor", "volumes"]
