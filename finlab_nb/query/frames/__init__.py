"""The questions that researchers ask, as SQL over named views, answered as pandas DataFrames.

Ids and texts are Arrow-backed strings (``str`` of pandas 3, ``string[pyarrow]`` of pandas 2), figures float64, counts
int64, flags bool, dates naive datetime64[us] and timestamps datetime64[us, UTC]. Counts that can be unknown
(total_trades, whole parameters) are Int64. An empty answer has the same columns and dtypes. If another program has
stored something else in place of a flag or a count, that value is missing, and the column is boolean or Int64.
"""

from finlab_nb.query.frames.curves import CurveFrames
from finlab_nb.query.frames.iterations import IterationFrames
from finlab_nb.query.frames.series import SeriesFrames
from finlab_nb.query.frames.sql import SqlFrames
from finlab_nb.query.frames.trades import TradeFrames

__all__ = ["Frames"]


class Frames(IterationFrames, TradeFrames, CurveFrames, SeriesFrames, SqlFrames):
    """Answers from one store, each showing its newest moment; `Lab` describes each question.

    Values that another program wrote and that a save would refuse are missing in an answer; one BadDataWarning per
    answer counts them.

    Parameters
    ----------
    source
        What is behind the views ``strategies, iterations, metrics, extra_metrics, given_metrics, suggestions,
        applications, trades, equity, tags, provenance, series, results``.
    """
