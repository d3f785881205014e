"""A SALMon-style benchmark from any recordings: pairs that differ in one attribute from the transition on.

Conventions
-----------
- Tasks: `speaker`, `gender`, `background_domain`, `background_random`, `room` and the control `splice_control`. How
  each makes its two members is told in `splice_items`, `background_items` and `room_items`.
- Both members of an item have the same number of samples, the same samples before the transition, and the same level
  after it. Items come in mirrored couples (0 and 1, 2 and 3, ...) that share their continuations: what is right in one
  is wrong in the other, so that nothing but the match with the prompt can tell. An odd number leaves half a couple.
- All choices of a task are drawn from (seed, task), those within a couple from (seed, task, number of the couple): the
  first items are the same however many are asked for, and tasks do not depend on each other.
- A fold shares no recording, noise or room with the other. A cluster is what items most depend on together (pair of
  speakers, noises or rooms); items of different clusters may still share one speaker, noise or room of the two.
- Items of all tasks but the control have a third clip with the attribute of the right continuation where recordings
  allow it (see `further_lines`), those in noise the noise alone. Both have the gain of the members; one that would
  exceed full scale with it is scaled down further by itself (`gain_to_fit`).
- Clips are 16 bit at `sample_rate`. Where a member would exceed full scale, both are scaled by one gain (`gain`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from spokeneval.audio import fit_gain, to_pcm
from spokeneval.datasets.background_items import background_couples
from spokeneval.datasets.base import FurtherClip, Item
from spokeneval.datasets.folds import assign_folds, set_aside, split_by_groups
from spokeneval.datasets.further_lines import FurtherLines
from spokeneval.datasets.lines import Cuts, Lengths
from spokeneval.datasets.members import Couple, FoldRounds, rounded
from spokeneval.datasets.noises import Noises
from spokeneval.datasets.recordings import Line, Recordings
from spokeneval.datasets.room_items import room_couples
from spokeneval.datasets.screening import MAX_RECORDINGS, Separations, screen_voices
from spokeneval.datasets.speaker_pairs import Partners, speaker_couples
from spokeneval.datasets.splice_items import VoiceItems, splice_couples
from spokeneval.errors import ConfigError, ItemError
from spokeneval.judges.base import EmbeddingJudge

VOICE_TASKS = ("speaker", "gender")
NOISE_TASKS = ("background_domain", "background_random")
TASKS = (*VOICE_TASKS, *NOISE_TASKS, "room", "splice_control")

MAX_SPEAKERS = 400
"""Speakers of whom voice pairs are made; of more, this many are drawn (all pairs of them are screened)."""

_SUBTYPE = "PCM_16"


class Consistency:
    """Dataset kind `consistency`."""

    def __init__(
        self,
        recordings: str | Path,
        tasks: Mapping[str, int],
        noises: str | Path | None = None,
        evaluation_groups: str | Path | None = None,
        sample_rate: int = 16000,
        prompt_s: float = 2.0,
        continuation_s: float = 2.0,
        min_part_s: float = 0.8,
        crossfade_s: float = 0.01,
        seed: int = 0,
        limit: int | None = None,
        screen: EmbeddingJudge | None = None,
        min_separation: float = 0.9,
    ) -> None:
        """See docs/own-recordings.md for the files.

        tasks: task -> number of items. prompt_s, continuation_s: longest; min_part_s: shortest of either.
        screen: embedder that says which voices differ; None pairs all speakers.
        Raises ConfigError for what cannot be used; the audio is looked at by `items`.
        """
        _check_settings(tasks, noises, prompt_s, continuation_s, min_part_s, crossfade_s, seed)
        self.tasks = tuple(tasks)
        self._n_items = dict(tasks)
        self._limit = limit
        self._seed = seed
        self._screen = screen
        self._min_separation = min_separation
        self._recordings = Recordings(Path(recordings), sample_rate)
        lines = self._recordings.lines
        if "gender" in tasks and not any(line.gender for line in lines):
            raise ConfigError(f"{recordings}: the task 'gender' needs a column 'gender'")
        if evaluation_groups is not None:
            self._evaluated, self._screening = split_by_groups(lines, Path(evaluation_groups))
        elif screen is not None:
            self._evaluated, self._screening = set_aside(lines, self._rng("screening"))
        else:
            self._evaluated, self._screening = list(lines), []
        self._folds = assign_folds(self._evaluated, self._rng("folds"))
        lengths = Lengths(*(round(s * sample_rate) for s in (min_part_s, prompt_s, continuation_s, crossfade_s)))
        self._cuts = Cuts(self._recordings, lengths)
        self._further = FurtherLines(self._evaluated, self._folds, self._cuts)
        self._noises_folder = Path(noises) if noises is not None else None

    def items(self) -> Iterator[Item]:
        """All items, task by task. Raises ConfigError before the first one where a task cannot be filled."""
        self._recordings.check()
        noises = None
        if self._noises_folder is not None and set(self.tasks) & set(NOISE_TASKS):
            noises = Noises(self._noises_folder, self._recordings.sample_rate, self._rng("noises"))
        separations = self._screened() if set(self.tasks) & set(VOICE_TASKS) else None
        plans = {task: self._plan(task, noises, separations) for task in self.tasks}
        for task, couples in plans.items():
            n_items = min(self._n_items[task], self._limit or self._n_items[task])
            for index in range(n_items):
                yield self._item(task, index, couples[index // 2])

    def _rng(self, *key: str | int) -> np.random.Generator:
        return np.random.default_rng(self._seed_of(*key))

    def _seed_of(self, *key: str | int) -> int:
        words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key]
        drawn = np.random.SeedSequence([self._seed, *words]).generate_state(1, np.uint64)[0]
        return int(drawn >> np.uint64(1))

    def _speakers(self) -> set[str]:
        """Speakers of whom voice pairs may be made."""
        names = sorted({line.speaker for line in self._evaluated})
        if len(names) <= MAX_SPEAKERS:
            return set(names)
        return {names[int(i)] for i in self._rng("speakers").permutation(len(names))[:MAX_SPEAKERS]}

    def _screened(self) -> Separations | None:
        if self._screen is None:
            return None
        speakers = self._speakers()
        by_speaker: dict[str, list[Line]] = {}
        for line in self._screening:
            if line.speaker in speakers:
                by_speaker.setdefault(line.speaker, []).append(line)
        chosen = {speaker: self._screening_choice(speaker, own) for speaker, own in sorted(by_speaker.items())}
        rate = self._screen.sample_rate
        voices = {speaker: (self._recordings.waveform(line, rate) for line in own) for speaker, own in chosen.items()}
        return screen_voices(self._screen, voices)

    def _screening_choice(self, speaker: str, lines: list[Line]) -> list[Line]:
        """The first of the drawn order that last 1.5 s, then longer ones before shorter ones."""
        order = self._rng("screening", speaker).permutation(len(lines))
        drawn = [lines[int(i)] for i in order]
        drawn.sort(key=lambda line: -min(1.5, self._recordings.seconds(line)))
        return drawn[:MAX_RECORDINGS]

    def _couples(self, task: str, noises: Noises | None, separations: Separations | None) -> Iterator[Couple]:
        """The couples of a task, in order, as many as can be made."""
        rng = self._rng(task, "plan")
        if task in VOICE_TASKS:
            speakers = self._speakers()
            lines = [line for line in self._evaluated if line.speaker in speakers]
            genders = {line.speaker: line.gender for line in lines if line.gender} if task == "gender" else None
            partners = Partners(separations, self._min_separation, genders)
            couples = speaker_couples(lines, self._folds, self._cuts, partners, rng)
            return (VoiceItems(couple, self._cuts, self._further) for couple in couples)
        rounds = FoldRounds(self._evaluated, self._folds, self._cuts, rng)
        if task == "room":
            return room_couples(rounds, self._cuts, self._further, rng)
        if task == "splice_control":
            return splice_couples(rounds, self._cuts)
        assert noises is not None
        return background_couples(rounds, self._cuts, noises, self._further, task == "background_domain", rng)

    def _plan(self, task: str, noises: Noises | None, separations: Separations | None) -> list[Couple]:
        """As many couples as the task needs. Raises ConfigError where there are fewer, saying why."""
        asked = self._n_items[task]
        couples = list(islice(self._couples(task, noises, separations), (asked + 1) // 2))
        if 2 * len(couples) < asked:
            raise ConfigError(
                f"{self._recordings.table}: task '{task}': {asked} pairs asked for, {2 * len(couples)} can be made. "
                f"{self._why_so_few(task, noises, separations)}. Ask for fewer pairs, or add recordings"
            )
        return couples

    def _why_so_few(self, task: str, noises: Noises | None, separations: Separations | None) -> str:
        usable = [line for line in self._evaluated if self._cuts.cut(line) is not None]
        speakers = {line.speaker for line in usable}
        shortest_s = self._cuts.lengths.shortest / self._recordings.sample_rate
        parts = [
            f"Of {len(self._evaluated)} recordings that may be in items, {len(usable)} (of {len(speakers)} speakers) "
            f"last {shortest_s:g} s or more on both sides of their cut"
        ]
        if task in VOICE_TASKS:
            parts.append(
                "two pairs take two lines of each of two speakers of one language and fold, or one if they say the same"
            )
            if separations is not None:
                known = {pair: apart for pair, apart in separations.items() if pair <= speakers}
                alike = sum(apart < self._min_separation for apart in known.values())
                screened = {speaker for pair in separations for speaker in pair}
                parts.append(
                    f"{alike} of {len(known)} pairs of screened voices are too much alike "
                    f"(separation below {self._min_separation:g})"
                )
                if unscreened := sorted(speakers - screened):
                    parts.append(f"not screened, for want of recordings that are in no item: {', '.join(unscreened)}")
        elif noises is not None and task in NOISE_TASKS:
            need = "two files of one class" if task == "background_domain" else "files of two classes"
            parts.append(f"each of the two folds needs {need}; there are {noises.describe()}")
        elif task == "splice_control":
            parts.append("two pairs take two lines of one speaker in one fold")
        else:
            parts.append("two pairs take one line")
        return "; ".join(parts)

    def _item(self, task: str, index: int, couple: Couple) -> Item:
        seed = self._seed_of(task, "couple", index // 2)
        which = index % 2
        item = Item(
            item_id=f"{task}-{index:04d}",
            task=task,
            index=index,
            cluster=couple.cluster,
            fold=couple.fold,
            sample_rate=self._recordings.sample_rate,
            positive=None,
            negative=None,
            transition=None,
            subtype=_SUBTYPE,
            labels=couple.labels(which),
            seed=seed,
        )
        try:
            members = couple.members(which, np.random.default_rng(seed))
        except ItemError as error:
            recordings = [line.path for line in couple.lines]
            return replace(item, sources={"recordings": recordings}, reason=str(error))
        positive, negative = members.positive.astype(np.float32), members.negative.astype(np.float32)
        gain = min(fit_gain(positive, _SUBTYPE), fit_gain(negative, _SUBTYPE))
        sources = {**members.sources, "gain": gain}
        further: dict[str, FurtherClip] = {}
        for role, samples in (("same_attribute", members.same_attribute), ("noise_only", members.noise_only)):
            if samples is not None:
                scaled = samples.astype(np.float32) * np.float32(gain)
                to_fit = fit_gain(scaled, _SUBTYPE)
                pcm = to_pcm(scaled * np.float32(to_fit), _SUBTYPE)
                further[role] = FurtherClip(pcm, gain * to_fit, sources[role]["note"])
                sources[role] = {**sources[role], "gain_to_fit": rounded(to_fit)}
        return replace(
            item,
            positive=to_pcm(positive * np.float32(gain), _SUBTYPE),
            negative=to_pcm(negative * np.float32(gain), _SUBTYPE),
            transition=members.transition,
            gain=gain,
            note=self._recordings.note(couple.lines),
            same_attribute=further.get("same_attribute"),
            noise_only=further.get("noise_only"),
            sources=sources,
        )


def _check_settings(
    tasks: Mapping[str, int],
    noises: str | Path | None,
    prompt_s: float,
    continuation_s: float,
    min_part_s: float,
    crossfade_s: float,
    seed: int,
) -> None:
    if not tasks:
        raise ConfigError(f"tasks: expected task: number of pairs; known tasks: {', '.join(TASKS)}")
    for task, n_items in tasks.items():
        if task not in TASKS:
            raise ConfigError(f"tasks: unknown task '{task}'; known: {', '.join(TASKS)}")
        if n_items < 1:
            raise ConfigError(f"tasks.{task}: expected a number of pairs of at least 1, found {n_items}")
        if task in NOISE_TASKS and noises is None:
            raise ConfigError(f"tasks.{task}: needs 'noises', a folder with one subfolder of audio files a noise class")
    if min_part_s <= 0 or min(prompt_s, continuation_s) < min_part_s:
        raise ConfigError(
            f"prompt_s {prompt_s:g} and continuation_s {continuation_s:g}: expected at least "
            f"min_part_s ({min_part_s:g}), which is above 0"
        )
    if not 0 < crossfade_s <= min_part_s / 4:
        raise ConfigError(f"crossfade_s {crossfade_s:g}: expected above 0 and at most a quarter of min_part_s")
    if seed < 0:
        raise ConfigError(f"seed {seed}: expected 0 or more")
