"""CSM: log-probabilities and continuations of transformers' own parts, the turn's text part written out by hand."""

import json

import numpy as np
import pytest
import torch
from frame_models import CODEC, N_CODEBOOKS, N_CODES, clip, random_csm, save_csm
from transformers import CsmForConditionalGeneration

from spokeneval.errors import ConfigError
from spokeneval.models.base import Decoding, Prompt
from spokeneval.models.csm import CSM
from spokeneval.tokenizers.base import Codes

torch.set_num_threads(1)

N_OUTPUTS = N_CODES + 3
TEXT = [0, 3, 5 + 7, 4, 1]
"""<bos> [ 7 ] <eos>"""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return save_csm(random_csm(), tmp_path_factory.mktemp("csm"))


@pytest.fixture(scope="module")
def lm(path):
    return CSM(path, CODEC, speaker=7)


@pytest.fixture(scope="module")
def exact(path):
    return CsmForConditionalGeneration.from_pretrained(path, dtype=torch.float64).eval()


def state_after(model, text, frames):
    """The backbone's state after a text part and frames, as a row."""
    embedded = [model.embed_text_tokens(torch.tensor([text]))]
    embedded += [model.backbone_model.embed_tokens(torch.tensor([[frame]])) for frame in frames]
    return model.backbone_model(inputs_embeds=torch.cat(embedded, dim=1), use_cache=False).last_hidden_state[:, -1]


def logits_after(model, state, before):
    """Logits of the next codebook of a frame, after the codes before it."""
    if not before:
        return model.lm_head(state)[0].numpy()
    ids = torch.tensor([[0, *before]])
    mask = torch.ones_like(ids)
    depth = model.depth_decoder(input_ids=ids, backbone_last_hidden_state=state, attention_mask=mask, use_cache=False)
    return depth.logits[0, -1].numpy()


def by_hand(model, text, codes):
    """(n_frames, n_codebooks) float64 log-probabilities, one position at a time: whole and legal softmax."""
    full, legal = np.zeros((2, len(codes), N_CODEBOOKS))
    with torch.inference_mode():
        for t, frame in enumerate(codes):
            state = state_after(model, text, codes[:t])
            for q, code in enumerate(frame):
                p = np.exp(logits_after(model, state, frame[:q]))
                full[t, q], legal[t, q] = np.log(p[code] / p.sum()), np.log(p[code] / p[:N_CODES].sum())
    return full, legal


def test_every_code_equals_a_plain_float64_computation(lm, exact):
    codes = [clip(n, n) for n in (7, 1, 12)]
    for one, result in zip(codes, lm.logprobs([lm.sequence(c) for c in codes]), strict=True):
        full, legal = by_hand(exact, TEXT, one.codes.tolist())
        np.testing.assert_allclose(result.logprob.reshape(full.shape), full, atol=1e-4)
        np.testing.assert_allclose(result.legal.reshape(full.shape), legal, atol=1e-4)
        assert (result.legal > result.logprob).any()


def as_audio(model, n_frames):
    """A sound, transformers' own inputs for it as a turn of speaker 7, and its codes."""
    torch.manual_seed(5)
    sound = torch.randn(1, 1, n_frames * 100, dtype=model.dtype)
    with torch.inference_mode():
        codes = model.codec_model.encode(sound).audio_codes[0].T.numpy().astype(np.int32)
    inputs = {
        "input_ids": torch.tensor([[*TEXT, *[model.config.audio_token_id] * n_frames]]),
        "input_values": sound,
        "input_values_cutoffs": torch.tensor([[n_frames * 100]]),
    }
    return inputs, Codes(codes, None)


def test_the_means_are_transformers_own_losses_for_the_audio_of_the_turn(lm, exact):
    inputs, codes = as_audio(exact, 9)
    assert codes.codes.shape == (9, N_CODEBOOKS)
    assert len(np.unique(codes.codes)) > 2
    labels = torch.where(inputs["input_ids"] == exact.config.audio_token_id, inputs["input_ids"], -100)
    with torch.inference_mode():
        output = exact(**inputs, labels=labels)
    sequence = lm.sequence(codes)
    scored = lm.logprobs([sequence])[0].logprob
    assert float(output.backbone_loss) == pytest.approx(-scored[sequence.codebook == 0].mean(), abs=1e-4)
    assert float(output.depth_decoder_loss) == pytest.approx(-scored[sequence.codebook > 0].mean(), abs=1e-4)


def test_greedy_continuations_are_those_of_transformers_generate(lm, path):
    model = CsmForConditionalGeneration.from_pretrained(path).eval()
    inputs, prompt = as_audio(model, 6)
    theirs = model.generate(**inputs, max_new_tokens=5, do_sample=False, depth_decoder_do_sample=False)[0].numpy()
    decoding = Decoding(greedy=True, constrained=False)
    ours = lm.continue_([Prompt("clip", prompt)], 5, decoding, 0)[0].codes
    n_legal = int(np.argmax([*(theirs >= N_CODES).any(axis=1), True]))
    assert n_legal >= 2
    np.testing.assert_array_equal(ours, theirs[:n_legal])


def test_unconstrained_speech_ends_where_the_model_leaves_the_codes(tmp_path):
    model = random_csm()
    with torch.no_grad():
        model.lm_head.weight[N_CODES:] *= 30  # special ids win codebook 0 as soon as their logits are above 0
    lm = CSM(save_csm(model, tmp_path), CODEC)
    prompts = [Prompt(f"clip{n}", clip(3, n)) for n in range(8)]
    free, held = (lm.continue_(prompts, 6, Decoding(constrained=constrained), 0) for constrained in (False, True))
    lengths = [len(codes.codes) for codes in free]
    assert min(lengths) < 6
    assert all((codes.codes < N_CODES).all() for codes in free)
    assert all(codes.codes.shape == (6, N_CODEBOOKS) for codes in held)


def test_the_repetition_penalty_counts_the_codes_of_a_codebook(lm, exact):
    prompt, penalty = clip(3, 2), 1.8
    codes, seen = prompt.codes.tolist(), [set(prompt.codes[:, q].tolist()) for q in range(N_CODEBOOKS)]
    with torch.inference_mode():
        for _ in range(6):
            state, frame = state_after(exact, TEXT, codes), []
            for q in range(N_CODEBOOKS):
                logits = logits_after(exact, state, frame).copy()
                for code in seen[q]:
                    logits[code] *= penalty if logits[code] < 0 else 1 / penalty
                frame.append(int(logits[:N_CODES].argmax()))
                seen[q].add(frame[-1])
            codes.append(frame)
    new = lm.continue_([Prompt("clip", prompt)], 6, Decoding(greedy=True, repetition_penalty=penalty), 0)[0]
    np.testing.assert_array_equal(new.codes, np.array(codes[3:]))


def test_the_speaker_is_in_the_text_part_and_counts(lm, path):
    assert lm.text.tolist() == TEXT
    assert lm.frames.prefix == tuple(N_CODEBOOKS * N_OUTPUTS + i for i in TEXT)
    other = CSM(path, CODEC, speaker=12)
    assert other.text.tolist() == [0, 3, 5 + 1, 5 + 2, 4, 1]
    assert other.frames.max_steps == lm.frames.max_steps - 1 == 64 - 5
    one, two = (model.logprobs([model.sequence(clip(5, 0))])[0].logprob for model in (lm, other))
    assert np.abs(one - two).max() > 1e-3


def test_a_frame_of_zeros_is_a_frame_like_any_other(lm, exact):
    codes = clip(5, 0).codes
    codes[2] = 0
    full, _ = by_hand(exact, TEXT, codes.tolist())
    scored = lm.logprobs([lm.sequence(Codes(codes, None))])[0].logprob
    np.testing.assert_allclose(scored.reshape(full.shape), full, atol=1e-4)


def test_checkpoints_without_the_text_tokenizer_or_with_another_are_refused(path, tmp_path):
    model = random_csm()
    model.save_pretrained(tmp_path / "alone")
    with pytest.raises(ConfigError, match="no tokenizer can be loaded"):
        CSM(tmp_path / "alone", CODEC)
    with pytest.raises(ConfigError, match="speaker is -1"):
        CSM(path, CODEC, speaker=-1)
    save_csm(random_csm(text_vocab_size=10), tmp_path / "small")
    with pytest.raises(ConfigError, match=r"encodes '<bos>\[7\]<eos>' as \[0, 3, 12, 4, 1\]; expected ids below 10"):
        CSM(tmp_path / "small", CODEC, speaker=7)
    save_csm(model, tmp_path / "bare")
    settings = tmp_path / "bare/tokenizer_config.json"
    values = json.loads(settings.read_text())
    settings.write_text(json.dumps({key: value for key, value in values.items() if key != "bos_token"}))
    with pytest.raises(ConfigError, match="no BOS or no EOS"):
        CSM(tmp_path / "bare", CODEC)


def test_a_depth_transformer_of_another_layout_is_refused(tmp_path):
    depth = random_csm().config.depth_decoder_config.to_dict() | {"vocab_size": N_OUTPUTS + 1}
    save_csm(random_csm(depth_decoder_config=depth, tie_codebooks_embeddings=False), tmp_path)
    with pytest.raises(ConfigError, match="the depth transformer has 3 codebooks of 12 ids, the backbone 3 of 11"):
        CSM(tmp_path, CODEC)
