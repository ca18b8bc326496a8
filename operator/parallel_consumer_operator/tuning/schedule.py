"""Excluded periods: is this moment inside a recurring time in which nothing is changed? Pure; cronsim knows cron."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from parallel_consumer_operator.resource.tuning import ExcludedPeriod

# cronsim looks for moments strictly before the one given; a period that begins this minute has begun.
_THIS_MINUTE = timedelta(minutes=1)


def active(periods: Iterable[ExcludedPeriod], now: datetime) -> ExcludedPeriod | None:
    """Return the first period that `now` lies in, None when it lies in none."""
    return next((period for period in periods if _lies_in(period, now)), None)


def _lies_in(period: ExcludedPeriod, now: datetime) -> bool:
    local = now.astimezone(ZoneInfo(period.time_zone))
    begun = next(CronSim(period.schedule, local + _THIS_MINUTE, reverse=True), None)
    return begun is not None and now - begun.astimezone(UTC) < timedelta(seconds=period.duration_seconds)
