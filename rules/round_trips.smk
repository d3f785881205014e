# tokens -> the recordings through a codec, decoded once for all judges
rule round_trip_audio:
    input:
        pairs=rules.clips.output.pairs,
        tokens=rules.tokens.output[0],
    output:
        LAYOUT.round_trip_audio("{dataset}", "{tokenizer}", "{vocoder}"),
    log:
        LAYOUT.log("{dataset}", "round_trip_audio/{tokenizer}/{vocoder}"),
    benchmark:
        LAYOUT.benchmark("{dataset}", "round_trip_audio/{tokenizer}/{vocoder}")
    threads: asked("round_trip_audio", "threads")
    resources:
        mem_mb=asked("round_trip_audio", "mem_mb"),
        runtime=asked("round_trip_audio", "runtime"),
    params:
        identity=lambda wildcards: IDENTITIES[
            "round_trip_audio", wildcards.tokenizer, wildcards.vocoder
        ],
        tokens=lambda wildcards: IDENTITIES["tokens", wildcards.tokenizer],
    message:
        "{wildcards.dataset}: {wildcards.tokenizer} made audible by {wildcards.vocoder}"
    script:
        "../workflow/scripts/round_trip_audio.py"
