# prompts -> what each model says next, as sound
rule continuations:
    input:
        clips=rules.clips.output.clips,
        pairs=rules.clips.output.pairs,
        tokens=tokens_of,
    output:
        LAYOUT.continuations("{dataset}", "{model}"),
    log:
        LAYOUT.log("{dataset}", "continuations/{model}"),
    benchmark:
        LAYOUT.benchmark("{dataset}", "continuations/{model}")
    threads: asked_by_model("continuations", "threads")
    resources:
        mem_mb=asked_by_model("continuations", "mem_mb"),
        runtime=asked_by_model("continuations", "runtime"),
        gpu=asked_by_model("continuations", "gpu"),
        slurm_partition=asked_by_model("continuations", "slurm_partition"),
        slurm_account=asked_by_model("continuations", "slurm_account"),
        slurm_extra=asked_by_model("continuations", "slurm_extra"),
    params:
        identity=lambda wildcards: IDENTITIES["continuations", wildcards.model],
        tokens=identity_of_tokens,
        samples_per_item=lambda wildcards: CFG.models[
            wildcards.model
        ].decoding.samples_per_item,
    message:
        "{wildcards.dataset}: model {wildcards.model} continues the prompts"
    script:
        "../workflow/scripts/continuations.py"
