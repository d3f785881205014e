"""The report of one dataset: tables, figures and one self-contained page, made from tables alone."""
