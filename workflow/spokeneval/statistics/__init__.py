"""Statistics of evaluations: intervals, paired tests, correlations with people and what they may claim."""
