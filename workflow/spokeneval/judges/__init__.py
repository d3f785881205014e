"""Judges: embedding models (and naturalness scores) that listen. One family a file; the contract is in `base`."""
