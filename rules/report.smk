# tables -> report per dataset, an index over datasets, and the verdict on failed rows
rule report:
    input:
        report_inputs,
    output:
        report(
            directory(LAYOUT.report("{dataset}")),
            patterns=["{page}.html", "figures/{figure}.svg"],
            caption="../workflow/captions/report.rst",
            category="{dataset}",
            subcategory=kind_of_result,
            labels=labels_of_result,
        ),
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
