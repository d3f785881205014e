"""Spoken language models. One family a file; the contract is in `base`."""
