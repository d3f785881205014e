# log-probabilities -> scores and verdicts of every item (views: no model is loaded), and controls
rule evaluators:
    input:
        pairs=rules.clips.output.pairs,
        likelihood=rules.likelihood.output[0],
    output:
        LAYOUT.evaluators("{dataset}", "{model}"),
    log:
        LAYOUT.log("{dataset}", "evaluators/{model}"),
    benchmark:
        LAYOUT.benchmark("{dataset}", "evaluators/{model}")
    threads: asked("evaluators", "threads")
    resources:
        mem_mb=asked("evaluators", "mem_mb"),
        runtime=asked("evaluators", "runtime"),
    params:
        identity=lambda wildcards: IDENTITIES["evaluators", wildcards.model],
        likelihood=lambda wildcards: IDENTITIES["likelihood", wildcards.model],
    message:
        "{wildcards.dataset}: evaluators of model {wildcards.model}"
    script:
        "../workflow/scripts/evaluators.py"


# scores that know nothing of any model: length, level, unigram, bigram
rule audio_controls:
    input:
        clips=rules.clips.output.clips,
        pairs=rules.clips.output.pairs,
    output:
        LAYOUT.audio_controls("{dataset}"),
    log:
        LAYOUT.log("{dataset}", "controls/audio"),
    benchmark:
        LAYOUT.benchmark("{dataset}", "controls/audio")
    resources:
        mem_mb=asked("evaluators", "mem_mb"),
        runtime=asked("evaluators", "runtime"),
    params:
        identity=IDENTITIES["audio_controls",],
    message:
        "{wildcards.dataset}: controls from the audio"
    script:
        "../workflow/scripts/audio_controls.py"


rule token_controls:
    input:
        pairs=rules.clips.output.pairs,
        tokens=rules.tokens.output[0],
    output:
        LAYOUT.token_controls("{dataset}", "{tokenizer}"),
    log:
        LAYOUT.log("{dataset}", "controls/{tokenizer}"),
    benchmark:
        LAYOUT.benchmark("{dataset}", "controls/{tokenizer}")
    resources:
        mem_mb=asked("evaluators", "mem_mb"),
        runtime=asked("evaluators", "runtime"),
    params:
        identity=lambda wildcards: IDENTITIES["token_controls", wildcards.tokenizer],
        tokens=lambda wildcards: IDENTITIES["tokens", wildcards.tokenizer],
    message:
        "{wildcards.dataset}: controls from the tokens of {wildcards.tokenizer}"
    script:
        "../workflow/scripts/token_controls.py"
