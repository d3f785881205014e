"""Moshi: log-probabilities and continuations of transformers' own parts, streams and delays written out by hand."""

import numpy as np
import pytest
import torch
from frame_models import CODEC, N_CODEBOOKS, N_CODES, clip, random_moshi
from transformers import LogitsProcessor, LogitsProcessorList, MoshiForConditionalGeneration

from spokeneval.errors import ConfigError
from spokeneval.models.base import Decoding, Prompt
from spokeneval.models.moshi import Moshi
from spokeneval.tokenizers.base import TokenizerInfo

torch.set_num_threads(1)

FILL, TEXT_START, TEXT_PAD = N_CODES, 11, 3
SILENCE = [6, 2, 5]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("moshi")
    random_moshi().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def lm(path):
    return Moshi(path, CODEC, silence_codes=SILENCE)


@pytest.fixture(scope="module")
def exact(path):
    return MoshiForConditionalGeneration.from_pretrained(path, dtype=torch.float64).eval()


def columns(codes, silence, n_steps):
    """What is fed at the start and at each step: text, Moshi's codes, the user's codes."""
    fed = [[TEXT_START, *[FILL] * (2 * N_CODEBOOKS)]]
    for step in range(n_steps):
        own = [codes[step - (q > 0)][q] if 0 <= step - (q > 0) < len(codes) else FILL for q in range(N_CODEBOOKS)]
        user = [silence[q] if step >= (q > 0) else FILL for q in range(N_CODEBOOKS)]
        fed.append([TEXT_PAD, *own, *user])
    return fed


def state_after(model, fed):
    """The temporal transformer's state after these columns, as a row of one position."""
    embedded = [
        model.decoder.model.embed_tokens(torch.tensor([column[0]]))
        + sum(table(torch.tensor([code])) for table, code in zip(model.embed_tokens, column[1:], strict=True))
        for column in fed
    ]
    return model.decoder.model(inputs_embeds=torch.stack(embedded, dim=1)).last_hidden_state[:, -1:]


def depth_logits(model, state, text, before):
    """Logits of the next codebook, after the codes before it at the step."""
    ids = torch.tensor([[text, *before]])
    return model.depth_decoder(input_ids=ids, last_hidden_state=state, use_cache=False).logits[0, -1].numpy()


def log_softmax(logits):
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def by_hand(model, codes, silence=SILENCE):
    """(n_frames, n_codebooks) float64 log-probabilities, one position at a time."""
    result = np.full((len(codes), N_CODEBOOKS), np.nan)
    fed = columns(codes, silence, len(codes) + 1)
    with torch.inference_mode():
        for step in range(len(codes) + 1):
            state, own = state_after(model, fed[: step + 1]), fed[step + 1][1 : 1 + N_CODEBOOKS]
            for q in range(N_CODEBOOKS):
                frame = step - (q > 0)
                if 0 <= frame < len(codes):
                    logits = depth_logits(model, state, TEXT_PAD, own[:q])
                    result[frame, q] = log_softmax(logits)[codes[frame][q]]
    return result


def test_every_code_equals_a_plain_float64_computation(lm, exact):
    codes = [clip(n, n) for n in (7, 1, 12)]
    for one, result in zip(codes, lm.logprobs([lm.sequence(c) for c in codes]), strict=True):
        sequence = lm.sequence(one)
        expected = by_hand(exact, one.codes)[sequence.frame, sequence.codebook]
        assert np.isfinite(expected).all()
        np.testing.assert_allclose(result.logprob, expected, atol=1e-4)
        np.testing.assert_array_equal(result.legal, result.logprob)  # the heads have no special ids


def test_the_mean_is_transformers_own_depth_loss(lm, exact):
    codes = clip(9, 0)
    sequence = lm.sequence(codes)
    within = lm.logprobs([sequence])[0].logprob[sequence.step < 9]  # its labels end with the clip's own steps
    fed = np.array(columns(codes.codes.tolist(), SILENCE, 8)).T[None]
    with torch.inference_mode():
        loss = exact(
            input_ids=torch.from_numpy(fed[:, 0]),
            moshi_audio_codes=torch.from_numpy(fed[:, 1 : 1 + N_CODEBOOKS]),
            user_audio_codes=torch.from_numpy(fed[:, 1 + N_CODEBOOKS :]),
            text_labels=torch.full((1, 9), TEXT_PAD),
            audio_labels=torch.from_numpy(codes.codes.T[None].astype(np.int64)),
        ).depth_loss
    assert float(loss) == pytest.approx(-within.mean(), abs=1e-4)


class HeldText(LogitsProcessor):
    """Only the padding of the text stream."""

    def __call__(self, input_ids, scores):
        held = torch.full_like(scores, -torch.inf)
        held[:, TEXT_PAD] = 0
        return held


def test_greedy_continuations_are_those_of_transformers_generate_with_its_text_held(path):
    lm = Moshi(path, CODEC)
    model = MoshiForConditionalGeneration.from_pretrained(path).eval()
    prompt, n_new = clip(6, 3), 5
    text = torch.full((1, 6), TEXT_PAD)
    output = model.generate(
        input_ids=text,
        moshi_audio_codes=torch.from_numpy(prompt.codes.T[None].astype(np.int64)),
        user_audio_codes=torch.tensor(lm.silence_codes)[None, :, None].expand(1, -1, 6),
        attention_mask=torch.ones_like(text),
        max_new_tokens=n_new + 1,
        do_sample=False,
        logits_processor=LogitsProcessorList([HeldText()]),
        return_audio_waveforms=False,
        return_audio_codes=True,
    )
    theirs = output.audio_codes[0].T.numpy()
    np.testing.assert_array_equal(theirs[:6], prompt.codes)
    ours = lm.continue_([Prompt("clip", prompt)], n_new, Decoding(greedy=True), 0)[0].codes
    np.testing.assert_array_equal(ours, theirs[6 : 6 + n_new])


def test_the_repetition_penalty_counts_the_codes_of_a_codebook(lm, exact):
    prompt, penalty = clip(3, 2).codes.tolist(), 1.8
    codes, seen = [list(frame) for frame in prompt], [{frame[q] for frame in prompt} for q in range(N_CODEBOOKS)]
    with torch.inference_mode():
        for step in range(3, 3 + 6 + 1):
            codes.append([FILL] * N_CODEBOOKS)
            fed = columns(codes[:step], SILENCE, step)
            state, before = state_after(exact, fed), []
            for q in range(N_CODEBOOKS):
                logits = depth_logits(exact, state, TEXT_PAD, before).copy()
                for code in seen[q]:
                    logits[code] *= penalty if logits[code] < 0 else 1 / penalty
                frame = step - (q > 0)
                if codes[frame][q] == FILL:
                    codes[frame][q] = int(logits.argmax())
                seen[q].add(codes[frame][q])
                before.append(codes[frame][q])
    new = lm.continue_([Prompt("clip", clip(3, 2))], 6, Decoding(greedy=True, repetition_penalty=penalty), 0)[0]
    np.testing.assert_array_equal(new.codes, np.array(codes[3:9]))
    assert not np.array_equal(
        new.codes, lm.continue_([Prompt("clip", clip(3, 2))], 6, Decoding(greedy=True), 0)[0].codes
    )


def test_the_user_is_silent_as_the_checkpoints_own_codec_has_it_unless_codes_are_given(path, lm, exact):
    own = Moshi(path, CODEC)
    with torch.inference_mode():
        encoded = exact.audio_encoder.encode(torch.zeros(1, 1, 100, dtype=torch.float64), num_quantizers=N_CODEBOOKS)
    assert own.silence_codes == encoded.audio_codes[0, :, 0].tolist()
    assert len(set(own.silence_codes)) > 1
    codes = clip(5, 0)
    scored = own.logprobs([own.sequence(codes)])[0].logprob
    sequence = own.sequence(codes)
    expected = by_hand(exact, codes.codes, own.silence_codes)[sequence.frame, sequence.codebook]
    np.testing.assert_allclose(scored, expected, atol=1e-4)
    assert np.abs(scored - lm.logprobs([sequence])[0].logprob).max() > 1e-3


def test_the_text_id_counts(path, lm):
    other = Moshi(path, CODEC, silence_codes=SILENCE, text_pad=4)
    sequence = lm.sequence(clip(5, 0))
    assert np.abs(other.logprobs([sequence])[0].logprob - lm.logprobs([sequence])[0].logprob).max() > 1e-3


def test_the_string_is_laid_out_by_step_with_the_fill_where_no_frame_is(lm):
    codes = clip(3, 0).codes
    rows = lm.sequence(clip(3, 0)).input_ids.reshape(-1, N_CODEBOOKS) - np.arange(N_CODEBOOKS) * (N_CODES + 1)
    assert rows[0].tolist() == [*rows[1, 1:].tolist(), FILL] == [FILL] * N_CODEBOOKS
    np.testing.assert_array_equal(rows[1:4, 0], codes[:, 0])
    np.testing.assert_array_equal(rows[2:5, 1:], codes[:, 1:])
    assert rows[4, 0] == FILL


def test_the_shortest_of_positions_and_sliding_window_is_the_context(tmp_path):
    random_moshi(sliding_window=20).save_pretrained(tmp_path)
    assert Moshi(tmp_path, CODEC).frames.max_steps == 20


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"silence_codes": [1, 2]}, r"silence_codes is \[1, 2\]; expected 3 codes from 0 to 7"),
        ({"silence_codes": [1, 2, 8]}, r"silence_codes is \[1, 2, 8\]; expected 3 codes from 0 to 7"),
        ({"text_pad": 11}, "text_pad is 11; expected an id of text, 0 to 10"),
    ],
)
def test_settings_that_cannot_be_are_refused(path, options, match):
    with pytest.raises(ConfigError, match=match):
        Moshi(path, CODEC, **options)


def test_a_tokenizer_of_other_codes_is_refused(path):
    with pytest.raises(ConfigError, match=r"codebooks have 8 codes each, but the tokenizer's have 16 \+ 16 \+ 16"):
        Moshi(path, TokenizerInfo(1000, 100, (16,) * 3, False, True))


def test_a_block_of_the_configuration_describes_it_and_has_no_choice_of_stream():
    from pydantic import ValidationError

    from spokeneval.config.blocks.models import MoshiBlock

    block = MoshiBlock(kind="moshi", path="checkpoints/moshi", tokenizer="mimi", silence_codes=[1, 2, 3])
    assert (block.silence_codes, block.text_pad) == ((1, 2, 3), 3)
    with pytest.raises(ValidationError, match="clip in the user's stream cannot be scored"):
        MoshiBlock(kind="moshi", path="checkpoints/moshi", tokenizer="mimi", stream="user")
