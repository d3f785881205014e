# Wiring only: configuration in, rules included, targets out. What is computed lives in workflow/spokeneval.
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.16")

if not workflow.config_settings.configfiles:

    configfile: "config.yaml"


sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))

from spokeneval.config import load_config
from spokeneval.errors import SpokenevalError
from spokeneval.fingerprint import Fingerprints
from spokeneval.jobs import partial_report
from spokeneval.jobs.reporting import remove_partial_report
from spokeneval.layout import Layout
from spokeneval.report import console_summary
from spokeneval.stages import Stages, missing_lines, what_is_missing

try:
    CONFIG_NAME = (
        ", ".join(map(str, workflow.config_settings.configfiles)) or "config.yaml"
    )
    CFG = load_config(config, CONFIG_NAME)
    FINGERPRINTS = Fingerprints(Path("models.lock.json"))
    if missing := missing_lines(what_is_missing(CFG, FINGERPRINTS), CONFIG_NAME):
        raise SpokenevalError("\n".join(missing))
    STAGES = Stages(CFG, FINGERPRINTS)
    IDENTITIES = STAGES.all()
    FINGERPRINTS.save()
except SpokenevalError as error:
    sys.exit("\n".join(f"error: {line}" for line in str(error).splitlines()))

LAYOUT = Layout(CFG)


wildcard_constraints:
    dataset=r"[A-Za-z0-9][A-Za-z0-9._+-]*",
    tokenizer=r"[A-Za-z0-9][A-Za-z0-9._+-]*",
    vocoder=r"[A-Za-z0-9][A-Za-z0-9._+-]*",
    model=r"[A-Za-z0-9][A-Za-z0-9._+-]*",
    judge=r"[A-Za-z0-9][A-Za-z0-9._+-]*",
    study=r"[A-Za-z0-9][A-Za-z0-9._+-]*",
    test=r"[A-Za-z0-9][A-Za-z0-9._+-]*",


localrules:
    all,
    index,
    verdict,


rule all:
    default_target: True
    input:
        LAYOUT.index(),
        expand(LAYOUT.verdict("{dataset}"), dataset=CFG.datasets),


include: "rules/common.smk"
include: "rules/clips.smk"
include: "rules/tokens.smk"
include: "rules/likelihood.smk"
include: "rules/evaluators.smk"
include: "rules/continuations.smk"
include: "rules/round_trips.smk"
include: "rules/judging.smk"
include: "rules/listening_test.smk"
include: "rules/ratings.smk"
include: "rules/report.smk"


# What a run ends with: the tables; or, where a table is missing, a report of what there is, marked INCOMPLETE.
onsuccess:
    for dataset in CFG.datasets:
        remove_partial_report(CFG, dataset)
        if Path(LAYOUT.report(dataset)).exists():
            print(console_summary(Path(LAYOUT.report(dataset))), flush=True)


onerror:
    for dataset in CFG.datasets:
        try:
            partial_report(CFG, dataset=dataset)
        except SpokenevalError as problem:
            print(f"{dataset}: no partial report: {problem}", file=sys.stderr)
