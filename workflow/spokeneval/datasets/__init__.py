"""Datasets: raw audio to clips and pairs. One kind a file; the contract is in `base`."""
