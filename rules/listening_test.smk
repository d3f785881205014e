# continuations -> a listening test for people: sounds under blinded names, who hears what, pages. Asked for by name.
rule listening_test:
    input:
        clips=rules.clips.output.clips,
        pairs=rules.clips.output.pairs,
        continuations=continuations_of_test,
    output:
        manifest=LAYOUT.listening_test("{dataset}", "{test}")["manifest"],
        assignment=LAYOUT.listening_test("{dataset}", "{test}")["assignment"],
        not_heard=LAYOUT.listening_test("{dataset}", "{test}")["not_heard"],
        export=directory(LAYOUT.listening_test("{dataset}", "{test}")["export"]),
    log:
        LAYOUT.log("{dataset}", "listening_tests/{test}"),
    params:
        identity=lambda wildcards: IDENTITIES["listening_test", wildcards.test],
    message:
        "{wildcards.dataset}: writing the listening test {wildcards.test}"
    script:
        "../workflow/scripts/listening_test.py"
