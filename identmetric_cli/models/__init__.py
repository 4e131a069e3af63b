"""Networks, the ensemble and its objective: Flax NNX modules that hold parameters and nothing else."""

from identmetric_cli.models.ensemble import EnsembleVAE, as_decoders, conv_vae, mlp_vae

__all__ = ["EnsembleVAE", "as_decoders", "conv_vae", "mlp_vae"]
