"""A caller that asks too often is told when to come again; without Redis nothing is refused."""

import logging
import threading
import time
from typing import Any

import pytest
import redis
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from apps.core import limits
from apps.core.limits import LIMITS, Limits, Rate
from apps.core.models import Project, User
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role
from tests.factories import uid

PASSWORD = "a long enough one"


@pytest.mark.parametrize(
    ("text", "rate"), [("6000/min", Rate(6000, 60)), ("5 / s", Rate(5, 1)), ("1/h", Rate(1, 3600))]
)
def test_rates_are_read(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate


@pytest.mark.parametrize("text", ["", "0/s", "5", "5/day", "-1/s", "1.5/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"such as 6000/min"):
        Rate.parse(text)


def test_all_may_come_at_once_and_then_they_come_evenly() -> None:
    key, rate = uid(), Rate(4, 1.0)
    assert [LIMITS.take(key, rate) for _ in range(4)] == [0.0] * 4
    wait = LIMITS.take(key, rate)
    assert 0 < wait <= 0.25
    time.sleep(wait)  # the limit is about time: there is nothing else to wait for
    assert LIMITS.take(key, rate) == 0.0
    assert LIMITS.take(key, rate) > 0, "one place was free, and one was taken"
    LIMITS.give_back(key)
    assert LIMITS.take(key, rate) == 0.0


def test_many_at_once_get_no_more_than_there_is() -> None:
    key, rate = uid(), Rate(10, 3600)
    took: list[float] = []
    threads = [threading.Thread(target=lambda: took.append(LIMITS.take(key, rate))) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert took.count(0.0) == 10


def test_a_large_budget_costs_few_round_trips_and_is_not_exceeded() -> None:
    key, rate = uid(), Rate(5000, 1_000_000)  # so that nothing comes back while the test lasts
    assert [LIMITS.take(key, rate) for _ in range(5000)].count(0.0) == 5000
    assert LIMITS.take(key, rate) > 0
    asked: list[int] = []
    counting = Limits(limits._connected)
    real = counting._take
    counting.__dict__["_take"] = lambda *what: asked.append(1) or real(*what)
    other = uid()
    assert [counting.take(other, rate) for _ in range(100)].count(0.0) == 100
    assert len(asked) == 20


def test_without_redis_nothing_is_limited_and_it_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[int] = []
    clock = [0.0]

    class Away(redis.Redis):
        def execute_command(self, *args: Any, **options: Any) -> Any:
            asked.append(1)
            raise redis.ConnectionError("staged")

    away = Limits(lambda: Away(), now=lambda: clock[0])
    with caplog.at_level(logging.WARNING, logger="apps.core.limits"):
        assert [away.take("k", Rate(1, 3600)) for _ in range(5)] == [0.0] * 5
        away.give_back("k")
    assert len(asked) == 1
    assert "nothing is limited" in caplog.text
    clock[0] = limits.PAUSE_SECONDS + 0.1
    away.take("k", Rate(1, 3600))
    assert len(asked) == 2


@pytest.fixture
def person(db: None) -> User:
    return User.objects.create_user(f"ada-{uid()[:8]}", password=PASSWORD)


def sign_in(name: str, password: str, address: str = "127.0.0.1") -> Any:
    return Client(REMOTE_ADDR=address).post("/login/", {"username": name, "password": password})


def test_after_some_wrong_passwords_no_more_are_tried(person: User) -> None:
    name = person.username
    for _ in range(limits.LOGIN.count):
        assert sign_in(name, "wrong").status_code == 200
    locked = sign_in(name.upper(), PASSWORD)
    assert locked.status_code == 429
    assert 1 <= int(locked["Retry-After"]) <= 181
    assert "Too many tries for this name from your address. Try again in 3 minutes." in locked.content.decode()
    assert sign_in(name, PASSWORD, "10.0.0.9").status_code == 302, "somebody elsewhere is not locked out"
    assert sign_in(f"{name}-other", "wrong").status_code == 200, "another name is another budget"


def test_the_right_password_makes_the_budget_whole(person: User) -> None:
    for _ in range(3):
        for _ in range(limits.LOGIN.count - 1):
            assert sign_in(person.username, "wrong").status_code == 200
        assert sign_in(person.username, PASSWORD).status_code == 302


def test_the_admin_panel_has_no_door_of_its_own(person: User) -> None:
    answer = Client().get("/admin/", follow=True)
    assert answer.redirect_chain[-1][0] == "/login/?next=/admin/"
    assert Client().post("/admin/login/", {"username": person.username, "password": PASSWORD}).status_code == 302
    signed_in = Client()
    signed_in.force_login(person)
    assert signed_in.get("/admin/", follow=True).status_code == 403


def test_everybody_changes_their_own_password_here(person: User) -> None:
    mine, elsewhere = Client(), Client()
    for client in (mine, elsewhere):
        client.login(username=person.username, password=PASSWORD)
    shown = mine.get("/settings/password/").content.decode()
    assert all(f'name="{field}"' in shown for field in ("old_password", "new_password1", "new_password2"))
    form = {"old_password": "wrong", "new_password1": "quite another one", "new_password2": "quite another one"}
    assert mine.post("/settings/password/", form).status_code == 400
    assert mine.post("/settings/password/", {**form, "old_password": PASSWORD}).status_code == 302
    assert mine.get("/settings/").status_code == 200
    assert elsewhere.get("/settings/").status_code == 302
    assert mine.get("/admin/password_change/")["Location"] == "/settings/password/"


@pytest.fixture
def token(db: None) -> str:
    user = User.objects.create_superuser("root")
    Project.objects.create(name="demo")
    return issue_token(name="t", user=user, role=Role.ADMIN)[1]


def test_the_apis_say_when_to_come_again(token: str, settings: Any) -> None:
    settings.API_RATE = settings.MLFLOW_RATE = "3/h"
    client = Client(headers={"Authorization": f"Bearer {token}"})
    for path in ("/api/v1/projects", "/api/2.0/mlflow/experiments/get-by-name?experiment_name=none"):
        assert 429 not in {client.get(path).status_code for _ in range(3)}
        answer = client.get(path)
        assert answer.status_code == 429, "each API has a budget of its own"
        assert 1 <= int(answer["Retry-After"]) <= 1201
    assert answer.json()["error_code"] == "REQUEST_LIMIT_EXCEEDED"
