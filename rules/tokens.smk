# clips -> tokens, once per tokenizer
rule tokens:
    input:
        clips=rules.clips.output.clips,
        pairs=rules.clips.output.pairs,
    output:
        LAYOUT.tokens("{dataset}", "{tokenizer}"),
    log:
        LAYOUT.log("{dataset}", "tokens/{tokenizer}"),
    benchmark:
        LAYOUT.benchmark("{dataset}", "tokens/{tokenizer}")
    threads: asked("tokens", "threads")
    resources:
        mem_mb=asked("tokens", "mem_mb"),
        runtime=asked("tokens", "runtime"),
    params:
        identity=lambda wildcards: IDENTITIES["tokens", wildcards.tokenizer],
    message:
        "{wildcards.dataset}: encoding clips with tokenizer {wildcards.tokenizer}"
    script:
        "../workflow/scripts/tokens.py"
