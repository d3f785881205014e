# references and ceilings (shared by models), then every model's continuations before every judge
rule references:
    input:
        clips=rules.clips.output.clips,
        pairs=rules.clips.output.pairs,
    output:
        embeddings=LAYOUT.references("{dataset}", "{judge}"),
        qualification=LAYOUT.qualification("{dataset}", "{judge}"),
    log:
        LAYOUT.log("{dataset}", "references/{judge}"),
    benchmark:
        LAYOUT.benchmark("{dataset}", "references/{judge}")
    threads: asked("judging", "threads")
    resources:
        mem_mb=asked("judging", "mem_mb"),
        runtime=asked("judging", "runtime"),
    params:
        identity=lambda wildcards: IDENTITIES["qualification", wildcards.judge],
        embeddings=lambda wildcards: IDENTITIES["embeddings", wildcards.judge],
    message:
        "{wildcards.dataset}: judge {wildcards.judge} listens to the references"
    script:
        "../workflow/scripts/references.py"


rule round_trips:
    input:
        pairs=rules.clips.output.pairs,
        audio=rules.round_trip_audio.output[0],
        references=rules.references.output.embeddings,
    output:
        embeddings=LAYOUT.round_trips(
            "{dataset}", "{tokenizer}", "{vocoder}", "{judge}"
        ),
        ceilings=LAYOUT.ceilings("{dataset}", "{tokenizer}", "{vocoder}", "{judge}"),
    log:
        LAYOUT.log("{dataset}", "round_trips/{tokenizer}/{vocoder}/{judge}"),
    benchmark:
        LAYOUT.benchmark("{dataset}", "round_trips/{tokenizer}/{vocoder}/{judge}")
    threads: asked("judging", "threads")
    resources:
        mem_mb=asked("judging", "mem_mb"),
        runtime=asked("judging", "runtime"),
    params:
        identity=lambda wildcards: IDENTITIES[
            "round_trips", wildcards.tokenizer, wildcards.vocoder, wildcards.judge
        ],
        audio=lambda wildcards: IDENTITIES[
            "round_trip_audio", wildcards.tokenizer, wildcards.vocoder
        ],
        references=lambda wildcards: IDENTITIES["qualification", wildcards.judge],
        embeddings=lambda wildcards: IDENTITIES["embeddings", wildcards.judge],
    message:
        "{wildcards.dataset}: judge {wildcards.judge} listens to {wildcards.tokenizer} through {wildcards.vocoder}"
    script:
        "../workflow/scripts/round_trips.py"


rule judging:
    input:
        pairs=rules.clips.output.pairs,
        continuations=rules.continuations.output[0],
        references=rules.references.output.embeddings,
    output:
        LAYOUT.judging("{dataset}", "{model}", "{judge}"),
    log:
        LAYOUT.log("{dataset}", "judging/{model}/{judge}"),
    benchmark:
        LAYOUT.benchmark("{dataset}", "judging/{model}/{judge}")
    threads: asked("judging", "threads")
    resources:
        mem_mb=asked("judging", "mem_mb"),
        runtime=asked("judging", "runtime"),
    params:
        identity=lambda wildcards: IDENTITIES[
            "judging", wildcards.model, wildcards.judge
        ],
        continuations=lambda wildcards: IDENTITIES["continuations", wildcards.model],
        references=lambda wildcards: IDENTITIES["qualification", wildcards.judge],
        embeddings=lambda wildcards: IDENTITIES["embeddings", wildcards.judge],
    message:
        "{wildcards.dataset}: judge {wildcards.judge} listens to model {wildcards.model}"
    script:
        "../workflow/scripts/judging.py"
