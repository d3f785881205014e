"""What someone who adds a model runs first: does it keep the contract, and does its convention fit real speech?

Conventions
-----------
- Looked at are the positives of the first five usable items of the first dataset of the configuration. Tokenizer and
  model are loaded as the workflow loads them; nothing is written.
- Three kinds of verdicts: what must hold of any model (`tokenizer_contract`, `sequence_contract`, `scoring_contract`,
  `continuation_contract`), what its likelihood of real speech says against the declared convention (`probes`), and a
  card of facts with the scored places drawn over one clip (`card`, `drawing`).
- A verdict is "ok", "wrong", "not checked" (with why) or "cannot tell". One "wrong" makes the whole wrong.
"""

from spokeneval.check_model.run import Checked, check_model

__all__ = ["Checked", "check_model"]
