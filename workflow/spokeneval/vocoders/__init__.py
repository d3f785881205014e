"""Vocoders: codes to waveform. One family a file; the contract is in `base`."""
