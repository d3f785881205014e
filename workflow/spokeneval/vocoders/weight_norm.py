"""Weight normalisation folded into plain weights: generators are published with direction and magnitude apart."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def fold_weight_norm(published: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`x.weight_v` (direction) and `x.weight_g` (magnitude) become `x.weight`; all other tensors stay.

    Raises KeyError where a direction has no magnitude.
    """
    folded = {}
    for name, values in published.items():
        if name.endswith(".weight_g"):
            continue
        if name.endswith(".weight_v"):
            stem = name.removesuffix("_v")
            norm = values.flatten(1).norm(dim=1).reshape(-1, *[1] * (values.ndim - 1))
            name, values = stem, values * (published[f"{stem}_g"] / norm)
        folded[name] = values
    return folded
