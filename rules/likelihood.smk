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
    threads: asked_by_model("likelihood", "threads")
    resources:
        mem_mb=asked_by_model("likelihood", "mem_mb"),
        runtime=asked_by_model("likelihood", "runtime"),
        gpu=asked_by_model("likelihood", "gpu"),
        slurm_partition=asked_by_model("likelihood", "slurm_partition"),
        slurm_account=asked_by_model("likelihood", "slurm_account"),
        slurm_extra=asked_by_model("likelihood", "slurm_extra"),
    params:
        identity=lambda wildcards: IDENTITIES["likelihood", wildcards.model],
        tokens=identity_of_tokens,
    message:
        "{wildcards.dataset}: scoring clips with model {wildcards.model}"
    script:
        "../workflow/scripts/likelihood.py"
