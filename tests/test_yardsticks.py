"""Yardsticks: what published scripts compute, to the letter, by the convention that is named after each.

Every script is re-enacted here step by step on torch and transformers, one clip at a time, as its repository has it
(slp-rl/salmon salmon.py and baselines/, slp-rl/slamkit metric/ model/ tokeniser/ feature_extractor/, llm-jp/llama-mimi
eval/ and torchtitan/datasets/hf_datasets.py), and compared with this package's pipeline from the same wav files.
Weights are small and random; the scripts' half precision is left out.
"""

from itertools import groupby
from math import ceil

import numpy as np
import pytest
import soundfile as sf
import soxr
import torch
from safetensors.numpy import save_file
from slamkit_layout import slamkit_checkpoint
from text_tokenizers import WORDS, with_codes
from tiny_codecs import small_mimi
from tiny_models import random_model, save
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing
from torch.nn.functional import cross_entropy, pad
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    EncodecFeatureExtractor,
    HubertConfig,
    HubertModel,
    MimiModel,
    PreTrainedTokenizerFast,
)
from yardstick_pipeline import check, load_lm, ours, recorded, write_pairs

from spokeneval.models.conventions import find_convention
from spokeneval.tokenizers.hubert_kmeans import HubertKMeans
from spokeneval.tokenizers.mimi import Mimi

torch.set_num_threads(1)

N_UNITS, LAYER = 12, 2
N_CODEBOOKS, N_CODES = 4, 64


# ------------------------------------------------------------ recordings


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Pairs at 16 kHz of different lengths; two of them are equal."""
    lengths = [
        (16000, 16000),
        (12345, 20007),
        (9999, None),
        (31999, 25600),
        (7040, 8000),
        (16640, 16639),
        (11111, None),
    ]
    shapes = [((a, 16000), None if b is None else (b, 16000)) for a, b in lengths]
    return write_pairs(tmp_path_factory.mktemp("speech"), shapes)


@pytest.fixture(scope="module")
def speech_at_two_rates(tmp_path_factory):
    """Pairs at 16 and 24 kHz; one equal; one member longer than 20 s."""
    shapes = [
        ((16001, 16000), (12345, 16000)), ((24000, 24000), (30001, 24000)), ((20000, 16000), None),
        ((321_235, 16000), (24_000, 16000)), ((19_199, 24000), (19_201, 24000)), ((9600, 16000), (9601, 16000)),
    ]  # fmt: skip
    return write_pairs(tmp_path_factory.mktemp("rates"), shapes)


def verdict_with_ties(positive, negative):
    """Of log-likelihoods, in SALMon and slamkit: 1, one half, 0."""
    return 1.0 if positive > negative else 0.5 if positive == negative else 0.0


# ------------------------------------------------------------ HuBERT units, as textless and as slamkit make them


@pytest.fixture(scope="module")
def encoder(tmp_path_factory, speech):
    """mHuBERT's layout (25 Hz), small and random; centroids among its features: (folder, codebook, model, array)."""
    torch.manual_seed(0)
    model = HubertModel(
        HubertConfig(
            hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2,
            num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2, conv_dim=[8] * 8, num_feat_extract_layers=8,
            conv_kernel=[10, 3, 3, 3, 3, 2, 2, 2], conv_stride=[5, 2, 2, 2, 2, 2, 2, 2], initializer_range=0.4,
        )
    ).eval()  # fmt: skip
    folder = tmp_path_factory.mktemp("mhubert")
    model.save_pretrained(folder)
    features = np.concatenate([dense(model, read_wav(path)) for pair in speech for path in pair])
    chosen = np.random.default_rng(0).choice(len(features), N_UNITS, replace=False)
    centroids = np.ascontiguousarray(features[chosen])
    save_file({"centroids": centroids}, folder / "centroids.safetensors")
    return folder, folder / "centroids.safetensors", model, centroids


def read_wav(path):
    """As torchaudio.load gives it: float32 (channels, n_samples)."""
    samples, _ = sf.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T.copy())


@torch.inference_mode()
def dense(model, wav):
    return model(wav, output_hidden_states=True).hidden_states[LAYER][0].numpy()


def kmeans_predict(features, centroids):
    """KMeans.predict of scikit-learn: the centre with the least |c|^2 - 2 x.c."""
    return torch.from_numpy(((centroids**2).sum(1) - 2 * features @ centroids.T).argmin(1))


def hubert_tokenizer(encoder, convention):
    folder, codebook, *_ = encoder
    return HubertKMeans(folder, codebook, LAYER, **find_convention(convention).tokenizer)


# ------------------------------------------------------------ SALMon's baseline: TWIST


def salmon_nll(logits, target, mask, mean_nll):
    losses = cross_entropy(logits.contiguous().view(-1, logits.size(-1)), target.reshape(-1), reduction="none")
    losses = losses.view(*target.size()) * mask
    return losses.sum(-1) / mask.sum(-1) if mean_nll else losses.sum(-1)


@torch.no_grad()
def salmon_log_likelihood(path, encoder, lm, mean_nll):
    """One wav -> log-likelihood: units without their repetitions, plus the offset; the first is not scored, and
    whatever has the padding's id is masked."""
    _, _, hubert, centroids = encoder
    waveform = read_wav(path).mean(0)
    units = kmeans_predict(dense(hubert, waveform.view(1, -1)), centroids)
    tokens = torch.unique_consecutive(units).long() + torch.tensor(lm.config.offset)
    x = pad_sequence([tokens], batch_first=True, padding_value=lm.config.pad_token_id)
    logits = lm(input_ids=x).logits
    mask = x[..., 1:] != lm.config.pad_token_id
    return -salmon_nll(logits[..., :-1, :], x[..., 1:], mask, mean_nll).item(), int((~mask).sum())


@pytest.mark.parametrize("architecture", ["opt", "llama"])
def test_twist_is_scored_as_in_salmon(tmp_path, encoder, speech, architecture):
    # The padding's id is that of unit 5.
    folder = save(random_model(architecture, 4 + N_UNITS, n_positions=128, offset=4, pad_token_id=9), tmp_path / "lm")
    lm = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = hubert_tokenizer(encoder, "salmon-twist")
    tables = ours(speech, tokenizer, load_lm(folder, tokenizer, "salmon-twist"),
                  find_convention("salmon-twist").reductions, tmp_path)  # fmt: skip
    n_masked = 0
    for name, mean_nll in (("salmon-twist", True), ("salmon-twist-sum", False)):
        scores = [[salmon_log_likelihood(path, encoder, lm, mean_nll) for path in pair] for pair in speech]
        n_masked += sum(masked for pair in scores for _, masked in pair)
        values = [[value for value, _ in pair] for pair in scores]
        verdicts = [verdict_with_ties(*pair) for pair in values]
        assert verdicts.count(0.5) == 2
        check(tables[name], -np.array(values), verdicts, sums=not mean_nll)
    assert n_masked > 0


def test_masking_the_padding_changes_the_score_where_a_unit_has_its_id(tmp_path, encoder, speech):
    folder = save(random_model("opt", 4 + N_UNITS, n_positions=128, offset=4, pad_token_id=9), tmp_path / "lm")
    tokenizer = hubert_tokenizer(encoder, "salmon-twist")
    masked = ours(speech, tokenizer, load_lm(folder, tokenizer, "salmon-twist"), ["default"], tmp_path / "a")
    scored = ours(speech, tokenizer, load_lm(folder, tokenizer, "twist"), ["default"], tmp_path / "b")
    assert (masked["default"]["n_scored_positive"] < scored["default"]["n_scored_positive"]).any()


# ------------------------------------------------------------ slamkit: Slam and SIMS


def slamkit_units(path, encoder):
    """Channel 0, forty zeros at each end, repetitions left out."""
    _, _, hubert, centroids = encoder
    wav = read_wav(path)[0][None]
    lens = torch.tensor([wav.shape[-1]])
    units = kmeans_predict(dense(hubert, pad(wav, (40, 40))), centroids)[None]
    kept = ((lens.float() / wav.shape[1]) * units.shape[1]).ceil().int()
    return "".join(f"<Un{unit}>" for unit, _ in groupby(units[0][: kept[0]].tolist()))


def unit_tokeniser():
    """<PAD> 0, <S> 1, <Un{i}> i + 2, and <S> at both ends."""
    tokenizer = Tokenizer(
        WordLevel({f"<Un{i}>": i + 2 for i in range(N_UNITS)} | {"<PAD>": 0, "<S>": 1}, unk_token="<UNK>")
    )
    tokenizer.pre_tokenizer = Split(pattern=">", behavior="merged_with_previous")
    tokenizer.add_special_tokens(["<PAD>"])
    tokenizer.enable_padding(pad_id=0, pad_token="<PAD>")
    tokenizer.post_processor = TemplateProcessing(single="<S> $0 <S>", special_tokens=[("<S>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@torch.inference_mode()
def slamkit_log_likelihood(string, tokenizer, lm, mean_nll):
    """A string of units -> log-likelihood: all but the first id, less those of the inner model's padding."""
    tokens = tokenizer([string], return_tensors="pt")["input_ids"]
    logits = lm(input_ids=tokens).logits
    target = tokens[..., 1:]
    target[target == lm.config.pad_token_id] = -100
    mask = target.ne(-100)
    losses = cross_entropy(logits[..., :-1, :].reshape(-1, logits.size(-1)), target.reshape(-1), reduction="none")
    losses = losses.view(*target.size()) * mask
    return -(losses.sum(-1) / mask.sum(-1) if mean_nll else losses.sum(-1)).item()


def check_slamkit(tmp_path, encoder, speech, convention, tokenizer, lm):
    units = hubert_tokenizer(encoder, convention)
    ours_lm, lm = load_lm(tmp_path, units, convention), lm.eval()
    tables = ours(speech, units, ours_lm, find_convention(convention).reductions, tmp_path)
    strings = [[slamkit_units(path, encoder) for path in pair] for pair in speech]
    for name, mean_nll in (("slamkit", True), ("slamkit-sum", False)):
        values = [[slamkit_log_likelihood(string, tokenizer, lm, mean_nll) for string in pair] for pair in strings]
        verdicts = [verdict_with_ties(*pair) for pair in values]
        assert verdicts.count(0.5) == 2
        check(tables[name], -np.array(values), verdicts, sums=not mean_nll)
    return tables["slamkit"], strings


@pytest.mark.parametrize("architecture", ["opt", "qwen2"])
def test_slam_is_scored_as_in_slamkit(tmp_path, encoder, speech, architecture):
    marks = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
    lm = random_model(architecture, 2 + N_UNITS, n_positions=128, **marks)
    slamkit_checkpoint(tmp_path, lm)
    table, strings = check_slamkit(tmp_path, encoder, speech, "slamkit", unit_tokeniser(), lm)
    n_units = [pair[0].count("<Un") for pair in strings]
    assert table["n_scored_positive"].to_list() == [n + 1 for n in n_units]  # every unit, and <S> at the end


@pytest.mark.parametrize(
    ("bos", "masked"), [(True, "!"), (False, "!"), (False, "<Un3>")], ids=["BOS", "no BOS", "padding is a unit"]
)
def test_sims_is_scored_as_in_slamkit(tmp_path, encoder, speech, bos, masked):
    names = [*(f"<Un{i}>" for i in range(N_UNITS)), "<speech>", "<text>"]
    tokenizer = AutoTokenizer.from_pretrained(with_codes(tmp_path, names, bos=bos))
    pad_id = tokenizer.convert_tokens_to_ids(masked)
    lm = random_model("qwen2", len(tokenizer), n_positions=128, pad_token_id=pad_id)
    slamkit_checkpoint(tmp_path, lm)
    table, strings = check_slamkit(tmp_path, encoder, speech, "slamkit-sims", tokenizer, lm)
    n_units = np.array([pair[0].count("<Un") for pair in strings]) - (not bos)
    fewer = n_units - np.array(table["n_scored_positive"].to_list())
    assert (fewer > 0).any() if masked == "<Un3>" else (fewer == 0).all()


def test_slamkits_padding_gives_other_units_than_none(encoder, speech):
    textless, slamkit = (hubert_tokenizer(encoder, name) for name in ("salmon-twist", "slamkit"))
    waveforms = [read_wav(path).mean(0).numpy() for pair in speech for path in pair]
    lengths = [(t.encode(w).n_frames, s.encode(w).n_frames) for w in waveforms for t, s in [(textless, slamkit)]]
    assert lengths == [((len(w) - 720) // 640 + 1, len(w) // 640) for w in waveforms]
    assert any(a != b for a, b in lengths)


# ------------------------------------------------------------ Llama-Mimi


@pytest.fixture(scope="module")
def mimi(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mimi")
    small_mimi().save_pretrained(folder)
    EncodecFeatureExtractor(feature_size=1, sampling_rate=24000).save_pretrained(folder)
    return folder


def llama_mimi(folder, eos="</s>", pad_token=None, bos=True, n_positions=1024):
    """Ids of codes frame by frame, <audio>, </audio> after them; no padding token, as published ones may have none."""
    names = [*(f"<{code}_{q}>" for code in range(N_CODES) for q in range(N_CODEBOOKS)), "<audio>", "</audio>"]
    with_codes(folder, names, bos=bos, eos=eos, pad=pad_token)
    n_ids = len(WORDS) + len(names)
    return save(random_model("llama", n_ids, n_positions=n_positions, num_quantizers=N_CODEBOOKS), folder)


def decoded_at(path, rate):
    """The array that `datasets` (before it used torchcodec) gives for Audio(sampling_rate=rate): librosa's soxr_hq."""
    array, own = sf.read(path)
    if own == rate:
        return array
    n_samples = ceil(len(array) * rate / own)
    array = soxr.resample(array, own, rate, quality="HQ")[:n_samples]
    return np.pad(array, (0, n_samples - len(array)))


def audio_array_to_text(array, codec, extractor, num_quantizers, max_seconds=20):
    if array.shape[-1] > max_seconds * extractor.sampling_rate:
        array = array[: max_seconds * extractor.sampling_rate]
    inputs = extractor(raw_audio=array, sampling_rate=extractor.sampling_rate, return_tensors="pt")
    with torch.no_grad():
        codes = codec.encode(
            inputs["input_values"].float(), inputs["padding_mask"], num_quantizers=num_quantizers
        ).audio_codes
    flat = codes.transpose(1, 2).reshape(-1).tolist()
    return "<audio>" + "".join(f"<{code}_{i % num_quantizers}>" for i, code in enumerate(flat)) + "</audio>"


@torch.no_grad()
def llama_mimi_loss(text, tokenizer, lm, semantic_only):
    """transformers' own loss over labels: without the padding; in sLM21 and StoryCloze places 2, 6, 10 ... only."""
    ids = tokenizer(text, return_tensors="pt").input_ids
    labels = ids.clone()
    labels[labels == tokenizer.pad_token_id] = -100
    if semantic_only:
        mask = torch.zeros_like(labels)
        mask[:, 2 :: lm.config.num_quantizers] = 1
        labels[mask == 0] = -100
    return lm(input_ids=ids, labels=labels).loss.item(), int((labels[:, 1:] != -100).sum())


@pytest.mark.parametrize("semantic_only", [False, True], ids=["llama-mimi-salmon", "llama-mimi-slm21"])
@pytest.mark.parametrize(
    ("eos", "padding_is_a_code", "bos", "dtype", "n_positions"),
    [
        ("</s>", False, True, "float32", 1024),
        ("</audio>", False, True, "float32", 1024),
        ("</s>", True, True, "float32", 1024),
        ("</s>", False, False, "float32", 1024),
        ("</s>", False, True, "float16", 1024),
        ("</s>", False, True, "bfloat16", 1024),
        ("</s>", False, True, "float32", 500),
    ],
    ids=["EOS apart", "EOS ends audio", "padding is a code", "no BOS", "float16", "bfloat16", "beyond the positions"],
)
def test_llama_mimi_is_scored_as_in_its_own_evaluation(
    tmp_path, mimi, speech_at_two_rates, semantic_only, eos, padding_is_a_code, bos, dtype, n_positions
):
    name = "llama-mimi-slm21" if semantic_only else "llama-mimi-salmon"
    settings = find_convention(name)
    codec = Mimi(mimi, N_CODEBOOKS, **settings.tokenizer)
    first = codec.encode(recorded(speech_at_two_rates[1][0])[0]).codes[0, 0]  # that one is at 24 kHz
    folder = llama_mimi(tmp_path / "lm", eos, f"<{first}_0>" if padding_is_a_code else None, bos, n_positions)
    table = ours(speech_at_two_rates, codec, load_lm(folder, codec, name, dtype), settings.reductions, tmp_path)[name]

    lm = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model, extractor = MimiModel.from_pretrained(mimi).eval(), EncodecFeatureExtractor.from_pretrained(mimi)
    losses, counts, n_frames = [], [], []
    for pair in speech_at_two_rates:
        texts = [
            audio_array_to_text(decoded_at(path, extractor.sampling_rate), model, extractor, lm.config.num_quantizers)
            for path in pair
        ]
        results = [llama_mimi_loss(text, tokenizer, lm, semantic_only) for text in texts]
        losses.append([loss for loss, _ in results])
        counts.append([count for _, count in results])
        n_frames.append(texts[0].count("_0>"))
    verdicts = [float(negative > positive) for positive, negative in losses]
    check(table, losses, verdicts)
    assert table[["n_scored_positive", "n_scored_negative"]].rows() == [tuple(pair) for pair in counts]
    assert losses[2][0] == losses[2][1]
    assert verdicts[2] == 0.0  # a tie is wrong: only strictly greater counts
    assert n_frames[3] == 250  # 20 s and no more
    if not bos:  # sLM21's places count from the first id of the string: codebook 1 then, without the end mark
        assert [count for count, _ in counts] == [n if semantic_only else 4 * n + 1 for n in n_frames]
        return
    # Without a padding token the EOS is masked, here or there the end mark; <audio> is scored in SALMon only.
    end = 0 if eos == "</audio>" else 1
    expected = [n + end if semantic_only else 4 * n + 1 + end for n in n_frames]
    if padding_is_a_code:
        assert counts[1][0] < expected[1]
    else:
        assert [count for count, _ in counts] == expected
