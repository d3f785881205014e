"""Evaluators: scores and verdicts as views of stored log-probabilities. Entry point: `views.evaluate`."""
