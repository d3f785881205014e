"""Every figure of a report that has something to show, drawn and written."""

from __future__ import annotations

from pathlib import Path

from spokeneval.report import figures, figures_of_groups, figures_of_judges, figures_of_ranks
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.judges import chosen_judges, ranking_judges
from spokeneval.report.people.figures import people_figures
from spokeneval.report.rendering import Figure, render
from spokeneval.report.report_tables import ReportTables


def page_figures(inputs: ReportInputs, found: ReportTables, folder: Path) -> dict[str, Figure]:
    """Name of each figure -> the drawing for the page; its files are written into `folder`."""
    models = list(inputs.models)
    chosen = chosen_judges(found.judges)
    codecs = {name: codec for name in models if (codec := inputs.codec(name)) is not None}
    drawings = {
        "accuracy": (
            figures.accuracy_heat(found.accuracy, models),
            "Heat table of accuracy, models by tasks; the numbers are in the table of accuracies.",
        ),
        "between_floor_and_ceiling": (
            figures_of_judges.between_floor_and_ceiling(found.model_judging, chosen, codecs, models),
            "Each model's share by the judge, between its floor and its codec's ceilings, with the baselines, one "
            "panel a task; the numbers are in the table of what judges heard.",
        ),
        "evaluator_against_judge": (
            figures_of_judges.evaluator_against_judge(
                found.accuracy, found.model_judging, ranking_judges(found.judges), models
            ),
            "Scatter of accuracy against the judge's share, one panel a task, intervals on both axes.",
        ),
        "ranks": (
            figures_of_ranks.ranks(inputs, found.accuracy, found.model_judging, ranking_judges(found.judges)),
            "Slope chart of how the models' ranks move from the global evaluator to the one that ranks the task and to "
            "the judge, one panel a task; the numbers are in the tables of accuracies and of what judges heard.",
        ),
        "window_sweep": (
            figures.window_sweep(found.accuracy, inputs.settings, models),
            "Accuracy of the localized evaluator over the length of the window with bands, one panel a task.",
        ),
        "transition_profile": (
            figures.transition_profile(found.profile, inputs.settings, models),
            "Mean difference of NLL between wrong and right clip over time from the transition with bands, one panel a "
            "task; see tables/profile.",
        ),
        "models_by_tokenizer": (
            figures_of_groups.models_by_tokenizer(inputs, found.accuracy),
            "Accuracy of each model with its interval, marked by tokenizer, published models hollow, one panel a task; "
            "the numbers are in the table of accuracies.",
        ),
        **{
            name: (
                chart,
                "Accuracy over the steps of each series with bands, one panel a task; see tables/learning.",
            )
            for name, chart in figures_of_groups.learning_curves(found.learning).items()
        },
        **people_figures(inputs, found.people, models),
    }
    return {
        name: render(name, chart, alt_text, folder) for name, (chart, alt_text) in drawings.items() if chart is not None
    }
