"""Statistics on tables of measures: how much a measure varies between retrainings, and how well they agree.

Everything here takes plain arrays. A table has one row a run and one column a pair of data points.
"""

from identmetric_cli.analysis.agreement import intraclass_correlation, kendall_w, mean_spearman
from identmetric_cli.analysis.comparison import FIXED, MeasureSummary, summarise
from identmetric_cli.analysis.data_space import OverDataSpace, over_data_space
from identmetric_cli.analysis.evidence import Evidence
from identmetric_cli.analysis.fit_quality import unequal_fit
from identmetric_cli.analysis.paired import PairedTest, bootstrap_interval, paired_test
from identmetric_cli.analysis.ratio import ratio_interval
from identmetric_cli.analysis.sharing import distinct
from identmetric_cli.analysis.variability import coefficient_of_variation, scale_normalised

__all__ = [
    "FIXED",
    "Evidence",
    "MeasureSummary",
    "OverDataSpace",
    "PairedTest",
    "bootstrap_interval",
    "coefficient_of_variation",
    "distinct",
    "intraclass_correlation",
    "kendall_w",
    "mean_spearman",
    "over_data_space",
    "paired_test",
    "ratio_interval",
    "scale_normalised",
    "summarise",
    "unequal_fit",
]
