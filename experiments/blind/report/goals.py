"""What was to be reached, and by how much it was."""

from typing import Literal, NamedTuple

from experiments.blind.methods import METHODS
from experiments.blind.report.intervals import Difference, difference
from experiments.blind.report.values import Rows, values
from experiments.runs.rows import markdown_table, settings_of


class Goal(NamedTuple):
    """A difference that is looked at, and what was asked of it.

    Attributes:
        words: what is set against what.
        ours, theirs: (method, role) each.
        probe: the classifier.
        asked: at least so many points; None if nothing was.
        scenarios: in which it was asked.
        by: which part of the difference must be so much: its mean over seeds, the least
            of any seed, or the low end of the interval.
    """

    words: str
    ours: tuple[str, str]
    theirs: tuple[str, str]
    probe: str = "probe"
    asked: float | None = None
    scenarios: str = "ABC"
    by: Literal["mean", "least", "low"] = "mean"

    def reached(self, scenario: str, gap: Difference) -> str:
        """What stands beside the difference: whether it is what was asked for."""
        if self.asked is None or scenario not in self.scenarios:
            return ""
        value = getattr(gap, self.by)
        return " **yes**" if 100 * value >= self.asked else " no"


_AT = {name: (name, "at") for name in METHODS}
_WIDE = ("evidence", "full")
_ALL, _AGREED = ("consensus", "full"), "consensus_evidence"
_ONE = ("probe", 2.0, "AC", "least")
_BASELINE = "end_to_end_evidence"
GOALS = (
    Goal("1. whitened by own task - plain", _AT["atlas_white"], _AT["atlas"], *_ONE),
    Goal("1. Nystroem - plain atlas", _AT["nystroem"], _AT["atlas"], *_ONE),
    Goal("2. evidence - mean of embeddings", _AT["evidence"], _AT["mean"], asked=0),
    Goal("2. evidence - concatenation", _AT["evidence"], _AT["concat"], asked=0),
    Goal("3. evidence, M D wide - concatenation", _WIDE, _AT["concat"], asked=0),
    Goal("3. evidence, M D wide - end-to-end", _WIDE, _AT["end_to_end"], asked=-1),
    Goal(
        "4. evidence - end-to-end",
        _AT["evidence"],
        _AT["end_to_end"],
        asked=0,
        by="low",
    ),
    Goal("5. consensus - generalised CCA", _AT["consensus"], _AT["gcca"], asked=0),
    Goal("5. consensus, M D wide - generalised CCA", _ALL, _AT["gcca"], asked=0),
    Goal(
        "6. one chart: consensus - generalised CCA",
        ("consensus", "one"),
        ("gcca", "one"),
        asked=1,
    ),
    Goal(
        "6. one chart: consensus, M D wide - generalised CCA",
        ("consensus_full", "one"),
        ("gcca", "one"),
        asked=1,
    ),
    Goal("consensus - plain atlas", _AT["consensus"], _AT["atlas"]),
    Goal("consensus - no labels", _AT["consensus"], _AT["white_nystroem"]),
    Goal("consensus - mean of embeddings", _AT["consensus"], _AT["mean"]),
    Goal("consensus - concatenation", _AT["consensus"], _AT["concat"]),
    Goal("consensus - end-to-end", _AT["consensus"], _AT["end_to_end"]),
    Goal("consensus, M D wide - concatenation", _ALL, _AT["concat"]),
    Goal("consensus, M D wide - end-to-end", _ALL, _AT["end_to_end"]),
    Goal("consensus with evidence - evidence", _AT[_AGREED], _AT["evidence"]),
    Goal("consensus with evidence - generalised CCA", _AT[_AGREED], _AT["gcca"]),
    Goal("consensus with evidence - end-to-end", _AT[_AGREED], _AT["end_to_end"]),
    Goal("evidence - concatenation, PCA", _AT["evidence"], _AT["concat_pca"]),
    Goal("evidence - generalised CCA", _AT["evidence"], _AT["gcca"]),
    Goal("evidence - the evidence alone", _AT["evidence"], _AT["evidence_alone"]),
    Goal("evidence - end-to-end with its own", _AT["evidence"], _AT[_BASELINE]),
    Goal("no labels - plain atlas", _AT["white_nystroem"], _AT["atlas"]),
    Goal("no labels - mean", _AT["white_nystroem"], _AT["mean"]),
    Goal("no labels - concatenation", _AT["white_nystroem"], _AT["concat"]),
    Goal("no labels - concatenation, PCA", _AT["white_nystroem"], _AT["concat_pca"]),
    Goal("no labels - generalised CCA", _AT["white_nystroem"], _AT["gcca"]),
    *(
        Goal(f"{words}: evidence - {other}", _AT["evidence"], _AT[theirs], probe)
        for probe, words in (("ridge", "ridge"), ("class_means", "class means"))
        for theirs, other in (
            ("end_to_end", "end-to-end"),
            (_BASELINE, "end-to-end with its own"),
            ("evidence_alone", "the evidence alone"),
        )
    ),
)


_WORDS = (
    "Differences in points of accuracy under the paper's probe, if no other is named, "
    "paired by seed, with 95 % intervals of Student's t over seeds. The test rows of "
    "all seeds are the same: the intervals do not hold the chance of these. "
    "*Evidence* is the atlas with evidence, *no labels* the whitened one in Nystroem "
    "coordinates, both at the width of the run. *One chart*: only one chart embeds a "
    "test sample, mean over charts, and the probe learned from rows of all charts. "
    "Asked for: 1, two points in every seed, in A and C; 2, zero; 3, zero and -1; 4, "
    "above zero in two settings; 5, zero; 6, one point. **yes** is by the mean over "
    "seeds, in 1 by the least of any, in 4 by the low end of the interval."
)


def goals(rows: Rows) -> str:
    """The goals, and the measured differences by setting."""
    keys = settings_of(rows)

    def gap(goal: Goal, setting: tuple[str, str]) -> Difference:
        return difference(
            values(rows, setting, *goal.ours, goal.probe),
            values(rows, setting, *goal.theirs, goal.probe),
        )

    lines = []
    for goal in GOALS:
        cells = []
        for setting in keys:
            less = gap(goal, setting)
            least = f", least {100 * less.least:+.2f}" if goal.by == "least" else ""
            cells.append(f"{less}{least}{goal.reached(setting[0], less)}")
        lines.append([goal.words, *cells])
    table = markdown_table(["points", *(" ".join(s) for s in keys)], lines)
    return f"{_WORDS}\n\n{table}"
