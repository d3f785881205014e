# What all rules share.


def asked(stage, key):
    """Threads, memory or minutes that the jobs of a stage ask for."""
    return getattr(CFG.resources_of(stage), key)


def asked_by_model(stage, key):
    """The same for the jobs of a stage that load a model; null and 0 are not asked for."""
    return (
        lambda wildcards: getattr(CFG.resources_of(stage, wildcards.model), key) or None
    )


def tokens_of(wildcards):
    """The tokens table that a model reads."""
    tokenizer = CFG.models[wildcards.model].tokenizer
    return LAYOUT.tokens(wildcards.dataset, tokenizer)


def identity_of_tokens(wildcards):
    """The identity that this table must carry; readers check it."""
    return IDENTITIES["tokens", CFG.models[wildcards.model].tokenizer]


def continuations_of_test(wildcards):
    """What the models of a listening test say."""
    return [
        LAYOUT.continuations(wildcards.dataset, model)
        for model in CFG.heard_in(wildcards.test)
    ]


def ratings_inputs(wildcards):
    """Answers of a listening test, and the tables of what was heard in it where that is ours."""
    return LAYOUT.ratings_inputs(wildcards.dataset, wildcards.study)


def report_inputs(wildcards):
    """Every table of a dataset's report. The layout is the package's: `spokeneval.layout`."""
    return LAYOUT.report_inputs(wildcards.dataset)


def kind_of_result(wildcards):
    """In Snakemake's own report (`snakemake --report report.zip`): the page first, then its figures."""
    return "figures" if "figure" in wildcards.keys() else "page"


def labels_of_result(wildcards):
    return {"result": wildcards.get("figure", "report")}
