"""What there is to say of an incident."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vaewatch.service.notify.news import REST, Standing, Told, news_of
from vaewatch.service.notify.notification import ENDED, OPENED, WORSENED

RARE = Standing(alarms=20, severity=2.0, chance=1e-5, closed=False)
TOLD = Told(alarms=20, severity=2.0)


@pytest.mark.parametrize(
    ("standing", "told", "news"),
    [
        (RARE, None, OPENED),
        (replace(RARE, chance=0.002), None, None),
        (replace(RARE, closed=True), None, OPENED),
        (RARE, TOLD, None),
        (replace(RARE, alarms=199), TOLD, None),
        (replace(RARE, alarms=200), TOLD, WORSENED),
        (replace(RARE, severity=3.0), TOLD, WORSENED),
        (replace(RARE, alarms=200, label="false_alarm"), TOLD, None),
        (replace(RARE, alarms=200, label="confirmed"), TOLD, WORSENED),
        (replace(RARE, closed=True), TOLD, ENDED),
        (replace(RARE, closed=True, alarms=200), TOLD, ENDED),
        (replace(RARE, closed=True, label="false_alarm"), TOLD, ENDED),
        (replace(RARE, chance=0.5), TOLD, None),
    ],
)
def test_an_incident_opens_gets_worse_and_ends(
    standing: Standing, told: Told | None, news: str | None
):
    assert news_of(standing, told, 0.001, now=0) == news


@pytest.mark.parametrize(
    ("alarms", "now", "news"),
    [
        (20, 2 * REST, None),
        (21, REST - 1, None),
        (21, REST, OPENED),
        (200, 1, OPENED),
    ],
)
def test_one_that_has_ended_opens_again_if_it_goes_on(alarms: int, now: int, news: str | None):
    ended = replace(TOLD, ended=0)
    for closed in (False, True):
        standing = replace(RARE, alarms=alarms, closed=closed)
        assert news_of(standing, ended, 0.001, now) == news
