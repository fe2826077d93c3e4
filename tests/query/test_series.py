"""Series by name, as they are stored."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import finlab_nb as fl
from books import elsewhere

pytestmark = pytest.mark.sources("replica", "plain")


def _store(path: Path, name: str, points: str, zone: str = "NULL") -> None:
    elsewhere(
        path,
        f"INSERT INTO series_names (name, timezone, source) VALUES ('{name}', {zone}, 'TWSE')",
        f"INSERT INTO series (series_id, date, value) SELECT series_id, date, value FROM series_names, ({points}) "
        f"WHERE name = '{name}'",
    )


def test_a_series_comes_in_time_order_by_its_name(lab: fl.Lab) -> None:
    _store(lab.store.path, "TAIEX", "SELECT '2024-01-03' AS date, 2.0 AS value UNION ALL SELECT '2024-01-02', 1.0")
    _store(lab.store.path, "台指", "SELECT '2024-01-31T16:00:00' AS date, 7.0 AS value", "'Asia/Taipei'")
    found = lab.series("TAIEX")
    assert (found.name, found.index.name, str(found.index.dtype), str(found.dtype)) == (
        "TAIEX",
        "date",
        "datetime64[us]",
        "float64",
    )
    assert found.to_dict() == {pd.Timestamp("2024-01-02"): 1.0, pd.Timestamp("2024-01-03"): 2.0}
    days = lab.sql("SELECT name, day FROM series WHERE value = 7")
    assert days.to_dict("records") == [{"name": "台指", "day": pd.Timestamp("2024-02-01")}]
    names = lab.series_names()
    assert list(names.columns) == ["name", "points", "first", "last", "timezone", "source", "changed_at"]
    assert names["name"].tolist() == ["TAIEX", "台指"]
    assert names["points"].tolist() == [2, 1]
    assert names["timezone"].fillna("-").tolist() == ["-", "Asia/Taipei"]
    assert names["last"].tolist() == [pd.Timestamp("2024-01-03"), pd.Timestamp("2024-01-31T16:00:00")]
    assert (pd.Timestamp.now("UTC") - names["changed_at"]).max() < pd.Timedelta(minutes=5)
    assert lab.series_names().dtypes.equals(names.dtypes)


def test_a_series_that_is_not_there_is_named_beside_those_there_are(lab: fl.Lab) -> None:
    assert lab.series_names().empty
    with pytest.raises(fl.SeriesNotFoundError, match="name is 'TAIEX'; no series has this name, there are none"):
        lab.series("TAIEX")
    _store(lab.store.path, "SPX", "SELECT '2024-01-03' AS date, 2.0 AS value")
    with pytest.raises(LookupError, match="no series has this name, there are SPX"):
        lab.series("TAIEX")
    elsewhere(lab.store.path, "DELETE FROM series")
    assert lab.series("SPX").empty
    assert lab.series_names()["first"].isna().all()
    elsewhere(lab.store.path, "DELETE FROM series_names")
    assert lab.sql("SELECT * FROM series").empty


def test_a_series_that_gets_another_name_or_zone_is_shown_with_it(lab: fl.Lab) -> None:
    _store(lab.store.path, "a", "SELECT '2024-01-31T16:00:00' AS date, 7.0 AS value")
    assert lab.sql("SELECT day FROM series")["day"].tolist() == [pd.Timestamp("2024-01-31")]
    elsewhere(lab.store.path, "UPDATE series_names SET timezone = 'Asia/Taipei', name = 'b'")
    assert lab.sql("SELECT name, day FROM series").iloc[0].tolist() == ["b", pd.Timestamp("2024-02-01")]
    assert len(lab.series("b")) == 1
    with pytest.raises(fl.SeriesNotFoundError):
        lab.series("a")


@pytest.mark.sources("replica")
@pytest.mark.slow
@pytest.mark.usefixtures("by_child")
def test_a_series_among_many_is_read_from_the_segment_that_has_it(lab: fl.Lab) -> None:
    points = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 19999) SELECT "
    for name in ("a", "台", "é"):
        _store(lab.store.path, name, f"{points} date('1990-01-01', i || ' days') AS date, i * 1.0 AS value FROM n")
        lab._engine.settle(["series"])
        assert lab.series(name).tolist() == [float(one) for one in range(20_000)]
    assert {segment.owners for segment in lab._engine.segments()} == {(name, name) for name in ("a", "台", "é")}


def test_a_series_comes_back_as_it_was_saved(lab: fl.Lab) -> None:
    prices = pd.Series([100.0, float("nan"), 101.5], pd.to_datetime(["2024-01-02", "2024-01-03", "2024-01-04"]))
    for given in (prices, prices.rename("close").to_frame(), prices.dropna().to_dict()):
        lab.store.save_series("0050", given, source="vendor")
        pd.testing.assert_series_equal(
            lab.series("0050"), prices.dropna(), check_names=False, check_freq=False, check_index_type=False
        )
    assert lab.series_names()[["name", "points", "source"]].to_numpy().tolist() == [["0050", 2, "vendor"]]


def test_a_series_that_is_saved_again_replaces_the_former_one_and_no_other(lab: fl.Lab) -> None:
    lab.store.save_series("SPX", {"2024-01-02": 1.0})
    lab.store.save_series("TAIEX", {"2024-01-02": 1.0, "2024-01-03": 2.0}, timezone="Asia/Taipei")
    assert len(lab.series("TAIEX")) == 2
    with fl.StorageManager(lab.store.path) as other:
        other.save_series("TAIEX", {"2024-02-01": 3.0})
    assert lab.series("TAIEX").to_dict() == {pd.Timestamp("2024-02-01"): 3.0}
    assert lab.series("SPX").to_dict() == {pd.Timestamp("2024-01-02"): 1.0}
    assert lab.series_names()["timezone"].isna().all()
    with pytest.raises(ValueError, match="series has the date '2024-01-02' twice"):
        lab.store.save_series("SPX", [{"date": "2024-01-02", "value": 1.0}] * 2)
    assert len(lab.series("SPX")) == 1
    lab.store.delete_series("SPX")
    assert lab.series_names()["name"].tolist() == ["TAIEX"]
    with pytest.raises(fl.SeriesNotFoundError, match="name is 'SPX'; no series has this name"):
        lab.store.delete_series("SPX")


def test_a_series_has_the_days_of_its_market(lab: fl.Lab) -> None:
    bars = pd.date_range("2024-01-31", periods=3, tz="Asia/Taipei")
    lab.store.save_series("2330", pd.Series([1.0, 2.0, 3.0], bars))
    assert lab.series("2330").index.tolist() == [
        pd.Timestamp(day) for day in ("2024-01-31", "2024-02-01", "2024-02-02")
    ]
    assert lab.series_names()["timezone"].tolist() == ["Asia/Taipei"]
    hours = pd.date_range("2024-01-31T22:00", periods=4, freq="h")
    lab.store.save_series("night", pd.Series(range(4), hours), timezone="Asia/Taipei")
    found = lab.sql("SELECT date, day FROM series WHERE name = 'night' ORDER BY date")
    assert found["date"].tolist() == [hour - pd.Timedelta(hours=8) for hour in hours]
    assert found["day"].dt.day.tolist() == [31, 31, 1, 1]
