"""Checkpoints in the layout in which slamkit saves its unit language models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel


class WrapperConfig(PreTrainedConfig):
    """As slamkit keeps it: the inner config under `base_config`."""

    model_type = "speech_language_model"

    def __init__(self, base_config=None, vocab_size=502, **more):
        super().__init__(**more)
        self.base_config, self.vocab_size, self.base_model_name = base_config, vocab_size, "nobody/no-such-model"
        self.twist_init = True
        if base_config is not None:
            self.tie_word_embeddings = base_config.tie_word_embeddings


class Wrapper(PreTrainedModel):
    """As slamkit saves it: the inner model under `lm`."""

    config_class = WrapperConfig
    base_model_prefix = "lm"

    def __init__(self, config, lm):
        super().__init__(config)
        self.lm = lm
        self.post_init()


def slamkit_checkpoint(folder: Path, lm: Any, **options: Any) -> Path:
    """Save a causal LM of transformers as the inner model of a wrapper. options: of `save_pretrained`."""
    weights = {name: tensor.clone() for name, tensor in lm.state_dict().items()}
    wrapper = Wrapper(WrapperConfig(base_config=lm.config, vocab_size=lm.config.vocab_size), lm)
    lm.load_state_dict(weights)  # what the wrapper's own initialisation may have changed
    wrapper.save_pretrained(folder, **options)
    return folder
