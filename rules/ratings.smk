# answers of a listening test -> votes, MOS, agreement of listeners, screening
rule ratings:
    input:
        ratings_inputs,
    output:
        **LAYOUT.ratings("{dataset}", "{study}"),
    log:
        LAYOUT.log("{dataset}", "ratings/{study}"),
    benchmark:
        LAYOUT.benchmark("{dataset}", "ratings/{study}")
    threads: asked("ratings", "threads")
    resources:
        mem_mb=asked("ratings", "mem_mb"),
        runtime=asked("ratings", "runtime"),
    params:
        identity=lambda wildcards: IDENTITIES["ratings", wildcards.study],
    message:
        "{wildcards.dataset}: reading the votes of {wildcards.study}"
    script:
        "../workflow/scripts/ratings.py"
