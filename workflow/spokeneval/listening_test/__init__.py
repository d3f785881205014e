"""Listening tests: continuations under blinded names, who hears what, and the pages that people rate them on."""
