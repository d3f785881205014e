# tables -> report per dataset, an index over datasets, and the verdict on failed rows
rule report:
    input:
        report_inputs,
    output:
        directory(LAYOUT.report("{dataset}")),
    log:
        LAYOUT.log("{dataset}", "report"),
    threads: asked("report", "threads")
    resources:
        mem_mb=asked("report", "mem_mb"),
        runtime=asked("report", "runtime"),
    params:
        identity=lambda wildcards: IDENTITIES["report", wildcards.dataset],
    message:
        "{wildcards.dataset}: writing the report"
    script:
        "../workflow/scripts/report.py"


rule index:
    input:
        expand(LAYOUT.report("{dataset}"), dataset=CFG.datasets),
    output:
        LAYOUT.index(),
    log:
        f"{CFG.results}/index.log",
    message:
        "linking the reports"
    script:
        "../workflow/scripts/index.py"


rule verdict:
    input:
        LAYOUT.report("{dataset}"),
    output:
        LAYOUT.verdict("{dataset}"),
    log:
        LAYOUT.log("{dataset}", "verdict"),
    message:
        "{wildcards.dataset}: did anything fail?"
    script:
        "../workflow/scripts/verdict.py"
