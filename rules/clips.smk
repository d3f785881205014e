# raw audio -> clips, pairs
rule clips:
    output:
        clips=LAYOUT.clips("{dataset}"),
        pairs=LAYOUT.pairs("{dataset}"),
    log:
        LAYOUT.log("{dataset}", "clips"),
    benchmark:
        LAYOUT.benchmark("{dataset}", "clips")
    threads: asked("clips", "threads")
    resources:
        mem_mb=asked("clips", "mem_mb"),
        runtime=asked("clips", "runtime"),
    params:
        identity=lambda wildcards: IDENTITIES["clips", wildcards.dataset],
    message:
        "{wildcards.dataset}: making clips and pairs from the recordings"
    script:
        "../workflow/scripts/clips.py"
