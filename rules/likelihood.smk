# tokens -> log-probabilities of every scored position, once per model
rule likelihood:
    input:
        pairs=rules.clips.output.pairs,
        tokens=tokens_of,
    output:
        LAYOUT.likelihood("{dataset}", "{model}"),
    log:
        LAYOUT.log("{dataset}", "likelihood/{model}"),
    benchmark:
        LAYOUT.benchmark("{dataset}", "likelihood/{model}")
    threads: asked("likelihood", "threads")
    resources:
        mem_mb=asked("likelihood", "mem_mb"),
        runtime=asked("likelihood", "runtime"),
    params:
        identity=lambda wildcards: IDENTITIES["likelihood", wildcards.model],
        tokens=identity_of_tokens,
    message:
        "{wildcards.dataset}: scoring clips with model {wildcards.model}"
    script:
        "../workflow/scripts/likelihood.py"
