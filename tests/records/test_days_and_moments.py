"""Days and moments: what is stored of dates in any form, held against a plain computation of each value by zoneinfo."""

# ruff: noqa: DTZ001 - naive moments are among what is given

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from dateutil import tz as dateutil_zones
from hypothesis import given, settings
from hypothesis import strategies as st

from finlab_nb.analysis import curve_metrics
from finlab_nb.records import Iteration, arguments, iteration_record
from finlab_nb.records.metrics import METRICS
from finlab_nb.records.zones import local_days, name_of, zone_name

TAIPEI, NEW_YORK, SYDNEY = map(ZoneInfo, ("Asia/Taipei", "America/New_York", "Australia/Sydney"))
INSTANT: Final = timedelta(microseconds=1)


def saved(**arguments_of_save: Any) -> Iteration:
    return iteration_record("a strategy", **arguments_of_save)


def curve_of(stamps: Any, **more: Any) -> Iteration:
    return saved(equity=pd.Series(100.0 + np.arange(len(stamps)) % 7, index=stamps), **more)


def dates(iteration: Iteration) -> list[str]:
    return [day for day, _ in iteration.equity]


def trades_of(entries: Any, exits: Any, **more: Any) -> Iteration:
    table = {"stock_code": "2330", "entry_price": 100.0, "exit_price": 110.0, "position_size": 1.0}
    return saved(trades=pd.DataFrame({"entry_date": entries, "exit_date": exits}).assign(**table), **more)


def entries_and_exits(iteration: Iteration) -> tuple[list[str], list[str]]:
    return [row[1] for row in iteration.trades], [row[2] for row in iteration.trades]


# --- A plain computation ---


def day_in(moment: datetime, zone: tzinfo) -> date:
    return moment.astimezone(zone).date()


def begins_its_day(moment: datetime, zone: tzinfo) -> bool:
    return day_in(moment, zone) != day_in(moment - INSTANT, zone)


def plainly(moments: Sequence[datetime], zones: Sequence[tzinfo], *, are_days: bool) -> list[str]:
    if are_days:
        return [day_in(one, zone).isoformat() for one, zone in zip(moments, zones, strict=True)]
    return [one.astimezone(UTC).replace(tzinfo=None).isoformat() for one in moments]


# --- Zones, calendars and forms that are drawn ---

NAMES: Final = sorted(available_timezones() - {"localtime", "Factory"})
LIKELY: Final = [
    *("Asia/Taipei", "America/New_York", "Australia/Sydney", "Pacific/Auckland", "Pacific/Apia", "America/Sao_Paulo"),
    *("America/Havana", "Europe/London", "Asia/Kathmandu", "Asia/Kolkata", "America/Chicago", "Asia/Beirut", "UTC"),
    *("Africa/Casablanca", "Europe/Dublin", "Australia/Lord_Howe", "Asia/Gaza", "America/Asuncion", "Etc/GMT-14"),
]
ZONES: Final = st.one_of(st.sampled_from(LIKELY), st.sampled_from(NAMES))
STARTS: Final = st.one_of(
    st.dates(date(2003, 1, 1), date(2030, 1, 1)),
    st.sampled_from([date(2018, 10, 29), date(2011, 12, 20), date(2024, 3, 1), date(2024, 10, 25), date(2020, 1, 10)]),
)
CALENDARS: Final[dict[str, Callable[[date], bool]]] = {
    "five days": lambda day: day.weekday() < 5,
    "make-up Saturdays of Taiwan": lambda day: day.weekday() < 5 or (day.weekday() == 5 and day.day % 13 == 0),
    "Sunday evenings of futures": lambda day: day.weekday() < 5 or day.weekday() == 6,
    "seven days": lambda _: True,
    "Sunday to Thursday": lambda day: day.weekday() not in (4, 5),
    "month ends": lambda day: (day + timedelta(days=1)).day == 1,
}
TIMES: Final = st.one_of(
    st.just([time()]),
    st.sampled_from([[time(16)], [time(13, 30)], [time(9, 30), time(12), time(16)], [time(10), time(16)], [time(17)]]),
    st.lists(st.times().map(lambda one: one.replace(second=0)), min_size=1, max_size=3, unique=True).map(sorted),
)


@st.composite
def stamps(draw: st.DrawFn) -> tuple[str, list[datetime]]:
    """Return a zone and moments in it, each after the one before."""
    name, calendar, first = draw(ZONES), CALENDARS[draw(st.sampled_from(sorted(CALENDARS)))], draw(STARTS)
    length, times = draw(st.integers(1, 45)), draw(TIMES)
    days = [day for i in range(length) if calendar(day := first + timedelta(days=i))] or [first]
    half = draw(st.integers(0, 40))  # a day with its first session only
    found = {
        datetime.combine(day, clock, ZoneInfo(name)).astimezone(UTC)
        for i, day in enumerate(days)
        for clock in (times[:1] if i == half else times)
    }
    return name, sorted(found)


def _wall(moment: datetime, zone: tzinfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)


def _first_of_two(moment: datetime, zone: tzinfo) -> datetime:
    """Return the moment that a wall time without a fold stands for."""
    return _wall(moment, zone).replace(fold=0, tzinfo=zone).astimezone(UTC)


def _own_offset(moment: datetime, zone: tzinfo) -> tzinfo:
    return timezone(moment.astimezone(zone).utcoffset() or timedelta())


# How moments are given, whether with timezone=, the moments that this means, and the zone of each.
Form = tuple[Callable[[list[datetime], str], Any], bool, bool, bool]
FORMS: Final[dict[str, Form]] = {
    "datetime64 of the zone": (lambda m, name: _index(m).tz_convert(name), False, False, False),
    "datetime64[ns] of UTC, timezone=": (lambda m, _: _index(m).as_unit("ns"), True, False, False),
    "datetimes": (lambda m, name: [one.astimezone(ZoneInfo(name)) for one in m], False, False, False),
    "datetimes of UTC, timezone=": (lambda m, _: m, True, False, False),
    "texts with offsets": (
        lambda m, name: [one.astimezone(ZoneInfo(name)).isoformat() for one in m], False, False, True,
    ),
    "texts with offsets, timezone=": (
        lambda m, name: [one.astimezone(ZoneInfo(name)).isoformat(" ") for one in m], True, False, False,
    ),
    "naive datetimes, timezone=": (lambda m, name: [_wall(one, ZoneInfo(name)) for one in m], True, False, False),
    "naive datetime64, timezone=": (
        lambda m, name: pd.DatetimeIndex(np.array([_wall(one, ZoneInfo(name)) for one in m], dtype="M8[us]")),
        True, True, False,
    ),
    "naive texts, timezone=": (
        lambda m, name: [_wall(one, ZoneInfo(name)).isoformat() for one in m], True, True, False,
    ),
}  # fmt: skip


def _index(moments: list[datetime]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(np.array([one.replace(tzinfo=None) for one in moments], dtype="M8[us]")).tz_localize("UTC")


@settings(max_examples=200)
@given(stamps(), st.sampled_from(sorted(FORMS)))
def test_a_curve_is_stored_by_its_local_days_or_as_moments_of_utc(given: tuple[str, list[datetime]], form: str) -> None:
    name, moments = given
    make, names_zone, loses_fold, by_offset = FORMS[form]
    zone = ZoneInfo(name)
    meant = [_first_of_two(one, zone) for one in moments] if loses_fold else moments
    if len(set(meant)) < len(meant):
        return
    zones = [_own_offset(one, zone) if by_offset else zone for one in meant]
    days = [day_in(one, own) for one, own in zip(meant, zones, strict=True)]
    found = curve_of(make(moments, name), **({"timezone": name} if names_zone else {}))

    wanted = plainly(meant, zones, are_days=len(set(days)) == len(days))
    assert dates(found) == sorted(wanted)
    if not by_offset:
        assert found.timezone == zone_name("timezone", name)
        values = np.array([value for _, value in found.equity])
        figures = curve_metrics(np.array(sorted(days), dtype="M8[D]"), values)
        for metric, value in zip(METRICS[:3], found.metrics, strict=False):
            assert (
                value == pytest.approx(figures[metric], nan_ok=True) if value is not None else np.isnan(figures[metric])
            )


@settings(max_examples=200)
@given(stamps(), st.sampled_from(sorted(FORMS)))
def test_trades_are_days_if_every_stamp_begins_its_local_day(given: tuple[str, list[datetime]], form: str) -> None:
    name, moments = given
    make, names_zone, loses_fold, by_offset = FORMS[form]
    zone = ZoneInfo(name)
    meant = [_first_of_two(one, zone) for one in moments] if loses_fold else moments
    zones = [_own_offset(one, zone) if by_offset else zone for one in meant]
    if sorted(meant) != meant:
        return
    entries, exits = list(make(moments[:-1] or moments, name)), list(make(moments[1:] or moments, name))
    found = trades_of(entries, exits, **({"timezone": name} if names_zone else {}))

    wanted = plainly(meant, zones, are_days=all(map(begins_its_day, meant, zones)))
    assert entries_and_exits(found) == (wanted[:-1] or wanted, wanted[1:] or wanted)


# --- What has a name of its own ---


def test_a_daily_bar_of_taipei_is_the_day_that_its_label_says() -> None:
    bars = pd.DatetimeIndex(["2024-01-31", "2024-02-01"]).tz_localize("Asia/Taipei")
    found = trades_of(bars[:1], bars[1:])
    assert entries_and_exits(found) == (["2024-01-31"], ["2024-02-01"])
    assert found.timezone == "Asia/Taipei"


def test_a_day_need_not_begin_at_midnight() -> None:
    begins = datetime(2018, 11, 4, 3, tzinfo=UTC).astimezone(ZoneInfo("America/Sao_Paulo"))
    assert begins.hour == 1
    assert entries_and_exits(trades_of([begins], [begins])) == (["2018-11-04"], ["2018-11-04"])
    skipped = trades_of([datetime(2018, 11, 4)], [datetime(2018, 11, 4)], timezone="America/Sao_Paulo")
    assert entries_and_exits(skipped) == (["2018-11-04"], ["2018-11-04"])


def test_the_second_midnight_of_a_day_is_a_moment() -> None:
    havana = ZoneInfo("America/Havana")
    first, second = (datetime(2024, 11, 3, tzinfo=havana, fold=fold) for fold in (0, 1))
    assert entries_and_exits(trades_of([first], [first]))[0] == ["2024-11-03"]
    assert entries_and_exits(trades_of([second], [second]))[0] == ["2024-11-03T05:00:00"]


def test_one_moment_within_a_day_makes_moments_of_all_trades() -> None:
    entry, leave = datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 2, 9, 30, tzinfo=UTC)
    assert entries_and_exits(trades_of([entry], [leave])) == (["2024-01-02T00:00:00"], ["2024-01-02T09:30:00"])


def test_days_beside_moments_stay_days() -> None:
    found = trades_of(["2024-01-02"], [datetime(2024, 1, 3, 9, 30, tzinfo=NEW_YORK)])
    assert entries_and_exits(found) == (["2024-01-02"], ["2024-01-03T14:30:00"])
    assert found.timezone == "America/New_York"


@pytest.mark.parametrize(
    "day", ["2024-01-02", "20240102", date(2024, 1, 2), np.datetime64("2024-01-02"), pd.Period("2024-01-02", "D")]
)
def test_what_is_given_as_a_day_is_that_day_in_every_zone(day: object) -> None:
    found = saved(
        equity={day: 1.0, datetime(2024, 1, 3, 16): 2.0, datetime(2024, 1, 3, 17): 2.0}, timezone="Asia/Taipei"
    )
    assert dates(found) == ["2024-01-02", "2024-01-03T08:00:00", "2024-01-03T09:00:00"]


def test_without_a_zone_dates_are_kept_as_they_are() -> None:
    found = curve_of([datetime(2024, 1, 2), datetime(2024, 1, 2, 9, 30), datetime(2024, 1, 3)])
    assert dates(found) == ["2024-01-02", "2024-01-02T09:30:00", "2024-01-03"]
    assert found.timezone is None


def test_a_session_of_sydney_is_one_day() -> None:
    hours = pd.date_range("2024-01-02 23:00", periods=6, freq="h", tz="UTC")
    curve = pd.Series(range(100, 106), index=hours)
    days = local_days(dates(saved(equity=curve)), "Australia/Sydney")
    assert dates(saved(equity=curve, timezone=SYDNEY))[0] == "2024-01-02T23:00:00"
    assert set(days.astype(str)) == {"2024-01-03"}


def test_columns_of_polars_and_pyarrow_keep_their_zone() -> None:
    stamps = [datetime(2024, 1, day, tzinfo=TAIPEI) for day in (2, 3)]
    table = {"date": stamps, "equity": [1.0, 2.0]}
    frame = pl.DataFrame(table, schema={"date": pl.Datetime("us", "Asia/Taipei"), "equity": pl.Float64})
    for table_given in (
        frame,
        frame.to_arrow(),
        pa.table(table),
        pd.DataFrame(table).convert_dtypes(dtype_backend="pyarrow"),
    ):
        found = saved(equity=table_given)
        assert (dates(found), found.timezone) == (["2024-01-02", "2024-01-03"], "Asia/Taipei")


# --- Zones ---


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        (TAIPEI, "Asia/Taipei"),
        (pd.Timestamp("2024-01-02", tz="Europe/Berlin").tz, "Europe/Berlin"),
        (dateutil_zones.gettz("America/New_York"), "America/New_York"),
        (UTC, "UTC"),
        (dateutil_zones.tzutc(), "UTC"),
        (timezone(timedelta(hours=8)), "Etc/GMT-8"),
        (timezone(timedelta(hours=-5)), "Etc/GMT+5"),
        (dateutil_zones.tzoffset(None, 3600), "Etc/GMT-1"),
        (timezone(timedelta(hours=5, minutes=45)), None),
        (timezone(timedelta(hours=-13)), None),
    ],
)
def test_a_zone_has_the_name_that_everybody_knows(zone: tzinfo, name: str | None) -> None:
    assert name_of(zone) == name
    if name is not None:
        now = datetime(2024, 1, 2, 12, tzinfo=UTC)
        assert now.astimezone(ZoneInfo(name)).utcoffset() == now.astimezone(zone).utcoffset()


@pytest.mark.parametrize(
    "wrong", ["Taipei", "", "../etc", "America", "a\0b", 8, timezone(timedelta(minutes=345)), b"UTC"]
)
def test_a_zone_that_does_not_exist_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"^timezone is .*; it must be the IANA name of a time zone"):
        curve_of(["2024-01-02"], timezone=wrong)


def test_of_two_zones_utc_gives_way_and_moments_count_first() -> None:
    def trade_in(zone: tzinfo, hour: int = 0) -> dict[str, Any]:
        return {
            "stock_code": "2330", "entry_price": 1.0, "position_size": 1.0,
            "entry_date": datetime(2024, 1, 2, hour, tzinfo=zone),
        }  # fmt: skip

    def curve_in(zone: tzinfo, *hours: int) -> dict[datetime, float]:
        return {datetime(2024, 1, 2, hour, tzinfo=zone): 1.0 for hour in hours}

    def zone_of(trade: dict[str, Any], curve: dict[datetime, float]) -> str | None:
        return saved(trades=[trade], equity=curve).timezone

    assert zone_of(trade_in(UTC, 9), curve_in(TAIPEI, 0)) == "Asia/Taipei"
    assert zone_of(trade_in(TAIPEI), curve_in(UTC, 1, 2)) == "Asia/Taipei"
    assert zone_of(trade_in(NEW_YORK, 9), curve_in(TAIPEI, 0)) == "America/New_York"
    assert zone_of(trade_in(NEW_YORK, 9), curve_in(TAIPEI, 9, 10)) == "Asia/Taipei"
    assert zone_of(trade_in(NEW_YORK), curve_in(TAIPEI, 0)) == "Asia/Taipei"
    assert zone_of(trade_in(timezone(timedelta(hours=-5)), 9), curve_in(NEW_YORK, 16)) == "America/New_York"


def test_offsets_that_vary_have_no_zone_and_are_doubted_if_they_are_moments() -> None:
    texts = ["2024-03-08T09:30:00-05:00", "2024-03-08T16:00:00-05:00", "2024-03-11T09:30:00-04:00"]
    found = curve_of(texts)
    assert found.timezone is None
    [doubt] = found.doubts
    assert (doubt.kind, doubt.field, doubt.value) == ("zone", "equity[0].date", "2024-03-08T14:30:00")
    assert "timezone='America/New_York'" in doubt.message
    assert not curve_of(texts, timezone="America/New_York").doubts
    assert not curve_of(texts[1:]).doubts  # these are days


def test_times_without_a_zone_beside_others_leave_the_zone_unknown() -> None:
    naive = pd.Series([1.0, 2.0], index=[datetime(2024, 1, 2, 16), datetime(2024, 1, 2, 17)])
    trade = {"stock_code": "AAPL", "entry_price": 1.0, "position_size": 1.0}
    moment = datetime(2024, 1, 2, 9, 30, tzinfo=NEW_YORK)
    found = saved(equity=naive, trades=[trade | {"entry_date": moment}])
    assert (found.timezone, [doubt.kind for doubt in found.doubts]) == (None, ["zone"])
    given = saved(equity=naive, trades=[trade | {"entry_date": moment}], timezone="America/New_York")
    assert (given.timezone, given.doubts, dates(given)[0]) == ("America/New_York", (), "2024-01-02T21:00:00")


def test_an_import_takes_moments_as_they_are_stored() -> None:
    given = {"2024-01-01T16:00:00": 1.0, "2024-01-02T00:00:00": 2.0}
    assert dates(saved(equity=given, timezone="Asia/Taipei", exact=True)) == list(given)
    assert dates(saved(equity=given, exact=True)) == ["2024-01-01T16:00:00", "2024-01-02"]


def test_the_local_day_of_what_is_stored() -> None:
    texts = ["2024-01-02", "2024-01-02T16:00:00", "2024-01-02T15:59:59.999999"]
    assert local_days(texts, "Asia/Taipei").astype(str).tolist() == ["2024-01-02", "2024-01-03", "2024-01-02"]
    for unknown in (None, "Mars/Olympus"):
        assert local_days(texts, unknown).astype(str).tolist() == ["2024-01-02"] * 3
    assert local_days([], "Asia/Taipei").dtype == np.dtype("M8[D]")
    with pytest.raises(ValueError, match="datetime"):
        local_days(["2024-02-30"], None)


@pytest.mark.parametrize(
    ("given", "bound"),
    [
        ("2024-01-31", date(2024, 1, 31)),
        (datetime(2024, 1, 31), date(2024, 1, 31)),
        ("2024-01-31T00:00", datetime(2024, 1, 31)),
        (np.datetime64("2024-01", "M"), date(2024, 1, 1)),
        (pd.Timestamp("2024-02-01", tz="Asia/Taipei"), date(2024, 2, 1)),
        ("2024-02-01T00:00:00+08:00", date(2024, 2, 1)),
        (datetime(2024, 2, 1, 8, tzinfo=TAIPEI), datetime(2024, 2, 1)),
        (datetime(2024, 11, 3, tzinfo=ZoneInfo("America/Havana"), fold=1), datetime(2024, 11, 3, 5)),
        (datetime(2024, 1, 31, 9, 30), datetime(2024, 1, 31, 9, 30)),
    ],
)  # fmt: skip
def test_a_bound_is_a_day_if_it_begins_its_local_day(given: object, bound: date | datetime) -> None:
    found = arguments.bound("since", given)
    assert (type(found), found) == (type(bound), bound)
