import asyncio
import importlib
import logging
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

SOURCE = Path(__file__).parents[2] / "functions" / "troupe_events.py"
URL = "http://sidecar:8787/troupe/api/openwebui/events"


class HTTPError(Exception):
    pass


class ConnectError(HTTPError):
    pass


class Sidecar:
    """Stands for httpx and the sidecar behind it: answers with the statuses it was given, the last one again and again."""

    def __init__(self):
        self.answers = [202]
        self.received = []
        self.timeouts = []

    def client(self, timeout):
        self.timeouts.append(timeout)
        return self

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return False

    async def post(self, url, json, headers):
        self.received.append((url, json, headers))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(status_code=answer)


@pytest.fixture
def sidecar():
    return Sidecar()


@pytest.fixture
def module(sidecar, monkeypatch):
    """The function as Open WebUI loads it, with httpx, which Open WebUI brings, replaced."""
    httpx = ModuleType("httpx")
    httpx.AsyncClient = sidecar.client
    httpx.HTTPError = HTTPError
    monkeypatch.setitem(sys.modules, "httpx", httpx)
    monkeypatch.delitem(sys.modules, "troupe_events", raising=False)
    return importlib.import_module("troupe_events")


@pytest.fixture
def waits(monkeypatch):
    waited = []

    async def sleep(seconds):
        waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return waited


@pytest.fixture
def tell(module, waits):
    function = module.Event()
    function.valves = module.Event.Valves(sidecar_url="http://sidecar:8787/", key="secret", timeout_seconds=3)
    return lambda event: asyncio.run(function.event(event))


def event(name, subject_id="id-1", **more):
    return {
        "event": name,
        "subject": {"type": name.split(".")[0], "id": subject_id},
        "actor": {"id": "person-1", "name": "Ada", "email": "ada@example.org", "role": "user"},
        "data": {"rating": 1, "title": "A private title"},
        "message": "Something happened",
        **more,
    }


@pytest.mark.parametrize(
    "name", ["feedback.created", "feedback.updated", "feedback.deleted", "chat.deleted", "user.deleted"]
)
def test_tells_the_sidecar_what_happened_to_what_and_nothing_else(name, tell, sidecar):
    tell(event(name))
    assert sidecar.received == [(URL, {"name": name, "id": "id-1"}, {"Authorization": "Bearer secret"})]
    assert sidecar.timeouts == [3]


@pytest.mark.parametrize(
    "name", ["chat.finished", "message.created", "auth.login", "user.created", "feedbacks", ""]
)
def test_keeps_other_events_to_itself(name, tell, sidecar):
    tell(event(name))
    assert sidecar.received == []


def test_tells_nobody_without_an_address(module, waits, sidecar):
    function = module.Event()
    function.valves = module.Event.Valves(sidecar_url="")
    asyncio.run(function.event(event("chat.deleted")))
    assert sidecar.received == []


@pytest.mark.parametrize("fault", [ConnectError("refused"), 500, 503, 429])
def test_tries_again_after_a_passing_fault(fault, tell, sidecar, waits):
    sidecar.answers = [fault, fault, 202]
    tell(event("chat.deleted"))
    assert len(sidecar.received) == 3
    assert waits == [0.5, 2.0]


@pytest.mark.parametrize("status", [401, 403, 404, 422])
def test_does_not_repeat_what_was_refused_and_says_what_to_check(status, tell, sidecar, caplog):
    sidecar.answers = [status]
    tell(event("chat.deleted"))
    assert len(sidecar.received) == 1
    assert f"status {status}" in caplog.text and "sidecar_url and key" in caplog.text


def test_gives_up_after_a_few_tries_and_says_so_without_secret_or_id(tell, sidecar, caplog):
    sidecar.answers = [ConnectError("refused")]
    with caplog.at_level(logging.DEBUG):
        tell(event("user.deleted", "person-7"))
    assert len(sidecar.received) == 4
    assert "ConnectError" in caplog.text
    assert "secret" not in caplog.text and "person-7" not in caplog.text


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"event": None},
        {"event": "chat.deleted"},
        {"event": "chat.deleted", "subject": None},
        {"event": "chat.deleted", "subject": "text"},
        {"event": "chat.deleted", "subject": {"id": None}},
    ],
)
def test_never_raises_into_open_webui(broken, tell, sidecar):
    tell(broken)
    assert sidecar.received == []


def test_an_unexpected_fault_is_logged_and_goes_no_further(tell, sidecar, caplog):
    sidecar.answers = [RuntimeError("event loop is closed")]
    tell(event("chat.deleted"))
    assert "RuntimeError" in caplog.text


def test_the_timeout_has_bounds(module):
    with pytest.raises(ValueError):
        module.Event.Valves(timeout_seconds=0)
    assert module.Event.Valves.model_fields["key"].description


def test_open_webui_can_load_the_file():
    source = SOURCE.read_text()
    head = source.split('"""')[1]
    keys = re.findall(r"^(\w+):", head, re.MULTILINE)
    assert source.startswith('"""\n')
    assert {"title", "description", "version"} <= set(keys) and "requirements" not in keys
    # Open WebUI rewrites these phrases wherever they stand, and the stored file would differ from ours for ever.
    assert not re.search(r"from (utils|apps|main|config)\b", source)
