"""Which relations between data points survive retraining a deep latent variable model?"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("identmetric")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0+unknown"
