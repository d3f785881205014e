"""Tokenizers: waveform to codes. One family a file; the contract is in `base`."""
