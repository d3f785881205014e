# prompts -> what each model says next, as sound
rule continuations:
    input:
        pairs=rules.clips.output.pairs,
        tokens=tokens_of,
    output:
        LAYOUT.continuations("{dataset}", "{model}"),
    log:
        LAYOUT.log("{dataset}", "continuations/{model}"),
    benchmark:
        LAYOUT.benchmark("{dataset}", "continuations/{model}")
    threads: asked("continuations", "threads")
    resources:
        mem_mb=asked("continuations", "mem_mb"),
        runtime=asked("continuations", "runtime"),
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
