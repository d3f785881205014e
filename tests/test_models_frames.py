"""Models of two levels: the layout of delayed codebooks, and what holds for Moshi and CSM alike."""

import numpy as np
import polars as pl
import pytest
import torch
from evaluator_tables import one, pair, pairs_table
from frame_models import CODEC, N_CODEBOOKS, N_CODES, clip, random_csm, random_moshi, save_csm

from spokeneval.errors import ConfigError, ItemError
from spokeneval.evaluators.reduction import EvaluatorSettings, Reduction
from spokeneval.evaluators.views import evaluate
from spokeneval.likelihood import score_dataset
from spokeneval.models import frame_lm
from spokeneval.models.base import Decoding, Prompt
from spokeneval.models.csm import CSM
from spokeneval.models.frame_string import FrameString
from spokeneval.models.moshi import Moshi
from spokeneval.prefixes import shared_length
from spokeneval.sampling import GumbelNoise
from spokeneval.store import PartStore
from spokeneval.tables import KIND_UNIT, LIKELIHOOD
from spokeneval.tokenizers.base import Codes, TokenizerInfo

torch.set_num_threads(1)

TOLERANCE = 1e-4
"""Nats a token between batches, as the contract says."""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    random_moshi().save_pretrained(folder / "moshi")
    save_csm(random_csm(), folder / "csm")
    return {Moshi: folder / "moshi", CSM: folder / "csm"}


@pytest.fixture(scope="module")
def models(checkpoints):
    return {family: family(path, CODEC) for family, path in checkpoints.items()}


@pytest.fixture(params=[Moshi, CSM])
def family(request):
    return request.param


@pytest.fixture
def lm(family, models):
    return models[family]


# ------------------------------------------------------------ the layout

DELAYED = FrameString((5, 5, 5), stride=6, fill=5, delays=(0, 1, 2), prefix=(5, 11, 17), max_steps=100)


def test_a_delayed_string_by_hand():
    codes = np.array([[0, 1, 2], [3, 4, 0]], np.int32)
    string = DELAYED.sequence(Codes(codes, None))
    assert string.input_ids.reshape(-1, 3).tolist() == [
        [5, 11, 17],  # before step 0
        [0, 11, 17],
        [3, 6 + 1, 17],
        [5, 6 + 4, 12 + 2],
        [5, 11, 12 + 0],
    ]
    assert string.target.tolist() == [0, 3, 7, 10, 14, 12]
    assert string.codebook.tolist() == [0, 0, 1, 1, 2, 2]
    assert string.frame.tolist() == [0, 1, 0, 1, 0, 1]
    assert string.step.tolist() == [0, 1, 1, 2, 2, 3]
    assert (string.kind == KIND_UNIT).all()
    np.testing.assert_array_equal(DELAYED.steps_of(string) + DELAYED.starts, string.input_ids[3:].reshape(-1, 3))


def test_frames_are_scored_in_all_codebooks_whatever_their_delay():
    frames = FrameString((5,) * 8, 6, 5, (0,) + (1,) * 7, (5,), 100)
    rng = np.random.default_rng(0)
    string = frames.sequence(Codes(rng.integers(0, 5, (10, 8)).astype(np.int32), None))
    assert len(string.index) == 80
    assert ((string.frame >= 4) & (string.frame < 6)).sum() == 16
    # Frame 3 is predicted at step 3 and, beside code 0 of frame 4, at step 4.
    assert sorted(set(string.step[string.frame == 3])) == [3, 4]
    assert string.codebook[(string.frame == 4) & (string.step == 4)].tolist() == [0]


def test_kept_frames_are_a_string_of_their_own_in_their_old_place(lm):
    whole = clip(9, 0)
    kept, alone = lm.kept(whole, 4), lm.sequence(Codes(whole.codes[4:], None))
    np.testing.assert_array_equal(kept.input_ids, alone.input_ids)
    np.testing.assert_array_equal(kept.frame, alone.frame + 4)
    np.testing.assert_array_equal(kept.step, alone.step)
    with pytest.raises(ItemError, match="no codes"):
        lm.kept(whole, 9)


# ------------------------------------------------------------ scoring


def test_batch_order_padding_and_chunks_do_not_matter(lm, monkeypatch):
    batch = [lm.sequence(clip(n, n)) for n in (3, 20, 1, 31, 11)]
    alone = [lm.logprobs([sequence])[0] for sequence in batch]
    results = [lm.logprobs(batch), lm.logprobs(batch[::-1])[::-1]]
    monkeypatch.setattr(frame_lm, "CHUNK_ELEMENTS", 7 * N_CODEBOOKS * lm.network.n_outputs)
    results.append(lm.logprobs(batch))
    for together in results:
        for one_, other in zip(alone, together, strict=True):
            assert other.logprob.dtype == other.legal.dtype == np.float32
            np.testing.assert_allclose(one_.logprob, other.logprob, atol=TOLERANCE)
            np.testing.assert_allclose(one_.legal, other.legal, atol=TOLERANCE)
            assert (other.legal >= other.logprob).all()


def test_a_prediction_depends_on_what_comes_before_it_in_the_string_and_on_nothing_else(lm):
    whole = clip(8, 0)
    before = lm.logprobs([lm.sequence(whole)])[0].logprob
    for frame in range(8):
        for codebook in range(N_CODEBOOKS):
            changed = whole.codes.copy()
            changed[frame, codebook] = (changed[frame, codebook] + 1) % N_CODES
            sequence = lm.sequence(Codes(changed, None))
            after = lm.logprobs([sequence])[0].logprob
            place = np.flatnonzero((sequence.frame == frame) & (sequence.codebook == codebook))[0]
            np.testing.assert_allclose(after[:place], before[:place], atol=TOLERANCE)
            assert abs(after[place] - before[place]) > 1e-3
            # At least what follows directly has heard of it.
            assert place + 1 == len(after) or abs(after[place + 1] - before[place + 1]) > 1e-6


def test_equal_beginnings_of_strings_are_equal_contexts(lm):
    whole = clip(12, 0)
    other = Codes(np.concatenate([whole.codes[:7], clip(5, 1).codes]), None)
    shorter = Codes(whole.codes[:7], None)
    a, b, c = (lm.sequence(codes) for codes in (whole, other, shorter))
    values = lm.logprobs([a, b, c])
    for sequence, result in ((b, values[1]), (c, values[2])):
        n_ids = shared_length(a.input_ids, sequence.input_ids)
        n_scored = int(np.searchsorted(a.index, n_ids))
        assert n_scored >= 7 * N_CODEBOOKS - (N_CODEBOOKS - 1)
        np.testing.assert_array_equal(a.target[:n_scored], sequence.target[:n_scored])
        np.testing.assert_allclose(values[0].logprob[:n_scored], result.logprob[:n_scored], atol=TOLERANCE)
        # The first code whose context differs has another value, even where it is the same code.
        following = np.flatnonzero((sequence.index > n_ids) & (sequence.frame < 7))
        for place in following:
            same = (a.frame == sequence.frame[place]) & (a.codebook == sequence.codebook[place])
            assert abs(values[0].logprob[same][0] - result.logprob[place]) > 1e-6


def test_eager_attention_gives_the_same(family, checkpoints, lm):
    eager = family(checkpoints[family], CODEC, attention="eager")
    batch = [lm.sequence(clip(n, n)) for n in (9, 4)]
    for one_, other in zip(lm.logprobs(batch), eager.logprobs(batch), strict=True):
        np.testing.assert_allclose(one_.logprob, other.logprob, atol=TOLERANCE)


def test_low_precision_weights_still_give_float32_log_probabilities(family, checkpoints, lm):
    rough = family(checkpoints[family], CODEC, dtype="bfloat16")
    sequence = lm.sequence(clip(20, 0))
    a, b = (model.logprobs([sequence])[0].logprob for model in (lm, rough))
    assert b.dtype == np.float32
    assert 0 < np.abs(a - b).mean() < 0.3
    assert len(np.unique(b)) > 0.95 * len(b)


def test_clips_longer_than_the_context_and_nan_are_items_failures(family, checkpoints):
    lm = family(checkpoints[family], CODEC)
    fits = lm.frames.max_steps - lm.frames.max_delay
    assert len(lm.logprobs([lm.sequence(clip(fits, 0))])[0].logprob) == fits * N_CODEBOOKS
    with pytest.raises(ItemError, match=f"{lm.frames.max_steps + 1} steps, but the context has room for"):
        lm.sequence(clip(fits + 1, 0))
    with pytest.raises(ItemError, match="no codes"):
        lm.sequence(clip(0, 0))
    with pytest.raises(ItemError, match="the codebooks have"):
        lm.sequence(Codes(np.full((2, N_CODEBOOKS), N_CODES, np.int32), None))
    with torch.no_grad():
        for parameter in (
            lm.model.depth_decoder.layers.parameters()
            if family is Moshi
            else (lm.model.depth_decoder.model.layers.parameters())
        ):
            parameter.fill_(torch.nan)
    with pytest.raises(ItemError, match=r"the log-probability of codebook \d of frame 0 is nan"):
        lm.logprobs([lm.sequence(clip(4, 0))])
    with pytest.raises(ItemError, match="NaN"):
        lm.continue_([Prompt("clip", clip(4, 0))], 3, Decoding(), 0)


# ------------------------------------------------------------ continuing

PROMPTS = [Prompt(f"clip{n}", clip(n, n)) for n in (9, 2, 14, 5)]


def same(a, b):
    return all(np.array_equal(x.codes, y.codes) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(
    "decoding",
    [Decoding(), Decoding(greedy=True), Decoding(temperature=0.7, top_k=4, top_p=0.8, repetition_penalty=1.3)],
)
def test_batch_order_and_length_do_not_matter(lm, decoding):
    together = lm.continue_(PROMPTS, 8, decoding, 0)
    assert same(together, [lm.continue_([prompt], 8, decoding, 0)[0] for prompt in PROMPTS])
    assert same(together[::-1], lm.continue_(PROMPTS[::-1], 8, decoding, 0))
    assert same(lm.continue_(PROMPTS, 3, decoding, 0), [Codes(codes.codes[:3], None) for codes in together])
    for codes in together:
        assert codes.codes.shape == (8, N_CODEBOOKS)
        assert codes.codes.dtype == np.int32
        assert codes.durations is None
        assert (codes.codes >= 0).all()
        assert (codes.codes < N_CODES).all()


def by_scoring(lm, prompt, n_frames, choose):
    """A continuation had from nothing but `logprobs` of whole clips, one code after another.

    choose: from (n_codes,) legal log-probabilities, the codebook, its earlier codes and the noise of this step.
    """
    n_prompt = len(prompt.codes.codes)
    codes = np.concatenate([prompt.codes.codes, np.zeros((n_frames + 1, N_CODEBOOKS), np.int32)])
    for step in range(n_prompt, n_prompt + n_frames + lm.frames.max_delay):
        for codebook, delay in enumerate(lm.frames.delays):
            frame = step - delay
            if frame < 0:
                continue
            rows = []
            for code in range(N_CODES):
                codes[frame, codebook] = code if frame >= n_prompt else codes[frame, codebook]
                rows.append(lm.sequence(Codes(codes.copy(), None)))
            place = (rows[0].frame == frame) & (rows[0].codebook == codebook)
            scores = np.array([float(result.legal[place][0]) for result in lm.logprobs(rows)])
            chosen = choose(scores, codebook, codes[:frame, codebook])
            if frame >= n_prompt:
                codes[frame, codebook] = chosen
    return codes[n_prompt : n_prompt + n_frames]


def test_greedy_takes_the_likeliest_code_given_all_before(lm):
    expected = by_scoring(lm, PROMPTS[1], 4, lambda scores, codebook, before: scores.argmax())
    np.testing.assert_array_equal(lm.continue_(PROMPTS[1:2], 4, Decoding(greedy=True), 0)[0].codes, expected)
    top_1 = lm.continue_(PROMPTS[1:2], 4, Decoding(top_k=1, temperature=2.0), 0)[0]
    np.testing.assert_array_equal(top_1.codes, expected)


def test_sampling_adds_the_clips_own_noise_step_by_step_and_codebook_by_codebook(lm):
    noise = GumbelNoise(5, PROMPTS[1].clip_id, 3, N_CODES)
    expected = by_scoring(lm, PROMPTS[1], 4, lambda scores, codebook, before: (scores / 4 + noise.next_step()).argmax())
    new = lm.continue_(PROMPTS[1:2], 4, Decoding(seed=5, temperature=4.0), 3)[0]
    np.testing.assert_array_equal(new.codes, expected)
    for other in (Decoding(seed=6, temperature=4.0), Decoding(seed=5)):
        assert not np.array_equal(lm.continue_(PROMPTS[1:2], 4, other, 3)[0].codes, expected)
    assert not np.array_equal(lm.continue_(PROMPTS[1:2], 4, Decoding(seed=5, temperature=4.0), 2)[0].codes, expected)


def test_a_prompt_that_leaves_no_room_is_an_items_failure(lm):
    room = lm.frames.max_steps - lm.frames.max_delay - 14
    assert len(lm.continue_(PROMPTS[2:3], room, Decoding(), 0)[0].codes) == room
    with pytest.raises(ItemError, match="steps, but the context has room for"):
        lm.continue_(PROMPTS[2:3], room + 1, Decoding(), 0)


def test_a_model_may_speak_after_nothing(lm):
    nothing = Prompt("nothing", clip(0, 0))
    expected = by_scoring(lm, nothing, 4, lambda scores, codebook, before: scores.argmax())
    np.testing.assert_array_equal(lm.continue_([nothing], 4, Decoding(greedy=True), 0)[0].codes, expected)
    new = lm.continue_([nothing, PROMPTS[0]], 3, Decoding(), 0)
    assert new[0].codes.shape == (3, N_CODEBOOKS)
    assert same(new, [lm.continue_([prompt], 3, Decoding(), 0)[0] for prompt in (nothing, PROMPTS[0])])


# ------------------------------------------------------------ checkpoints that cannot be used


def info_of(*sizes, **options):
    return TokenizerInfo(1000, 100, sizes, **{"deduplicated": False, "causal": True, **options})


@pytest.mark.parametrize(
    ("info", "match"),
    [
        (info_of(8, 8), "the model reads 3 codebooks, but the tokenizer gives 2; set `n_codebooks: 3`"),
        (info_of(8, 8, 16), r"codebooks have 8 codes each, but the tokenizer's have 8 \+ 8 \+ 16"),
        (info_of(8, 8, 8, deduplicated=True), "de-duplicated units"),
        (info_of(8, 8, 8, asynchronous=True), "asynchronous"),
    ],
)
def test_a_tokenizer_that_does_not_fit_is_refused(family, checkpoints, info, match):
    with pytest.raises(ConfigError, match=match) as caught:
        family(checkpoints[family], info)
    assert str(checkpoints[family]) in str(caught.value)


def test_checkpoints_of_another_type_or_incomplete_ones_are_refused(checkpoints, tmp_path):
    with pytest.raises(ConfigError, match="model_type 'csm'; `kind: moshi` needs 'moshi'"):
        Moshi(checkpoints[CSM], CODEC)
    with pytest.raises(ConfigError, match="model_type 'moshi'; `kind: csm` needs 'csm'"):
        CSM(checkpoints[Moshi], CODEC)
    with pytest.raises(ConfigError, match="does not exist"):
        Moshi(tmp_path / "absent", CODEC)
    deeper = random_moshi(num_hidden_layers=3)
    deeper.config.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((checkpoints[Moshi] / "model.safetensors").read_bytes())
    with pytest.raises(ConfigError, match=r"the weights lack \d+ tensors of the moshi"):
        Moshi(tmp_path, CODEC)


# ------------------------------------------------------------ the stages


def dataset(n_items, n_prompt=6):
    tokens, rows = {}, []
    for i in range(n_items):
        prompt = clip(n_prompt, 100 + i)
        for number, member in enumerate(("positive", "negative")):
            new = clip(4 + i + number, 200 + 2 * i + number)
            tokens[f"i{i}.c{member[0]}"] = new
            tokens[f"i{i}.{member[0]}"] = Codes(np.concatenate([prompt.codes, new.codes]), None)
        tokens[f"i{i}.s"] = prompt
        rows.append(pair(f"i{i}", n_prompt * 100, sample_rate=1000))
    return pairs_table(rows), tokens


@pytest.mark.parametrize("batch_tokens", [1, 10_000])
def test_likelihoods_and_evaluators_end_to_end(lm, tmp_path, batch_tokens):
    pairs, tokens = dataset(3)
    store = PartStore(tmp_path, "likelihood", "identity", LIKELIHOOD)
    done = score_dataset(lm, pairs, tokens, CODEC, store, max_batch_tokens=batch_tokens)
    assert done.n_failed == 0
    assert done.n_forwarded == 3 * 4  # what is kept of a member is the string of its continuation
    stored = pl.DataFrame(store.collect(done.keys))
    reductions = (Reduction(), Reduction("acoustic", codebooks=(1, 2)))
    table = evaluate(pairs, stored, CODEC, EvaluatorSettings(reductions=reductions, windows_s=(0.2,)))
    assert set(table["status"]) == {"ok"}
    # Codes of frame 5 in delayed codebooks are predicted beside, or after, code 0 of frame 6: they straddle.
    delayed = lm.frames.max_delay > 0
    for i in range(3):
        where = {"item_id": f"i{i}", "convention": "default"}
        placebo = one(table, "placebo", **where)
        assert placebo["verdict"] == 0.5
        assert placebo["n_scored_positive"] == 6 * N_CODEBOOKS - (N_CODEBOOKS - 1 if delayed else 0)
        assert one(table, "localized", **where)["n_scored_positive"] == 2 * N_CODEBOOKS
        acoustic = one(table, "placebo", item_id=f"i{i}", convention="acoustic", codebooks="1,2")
        assert acoustic["verdict"] == 0.5, "code 0 counts as context, though it is not scored"
        assert acoustic["n_scored_positive"] == 2 * (5 if delayed else 6)
        kept = one(table, "global_norm", unconditional="keep", **where)
        retokenised = one(table, "global_norm", unconditional="retokenise", **where)
        assert kept["score_positive"] == pytest.approx(retokenised["score_positive"], abs=1e-5)
