"""What each client script shares: it runs the checks that are asked for, and writes one line of JSON for each."""

import json
import os
import traceback
from types import SimpleNamespace

import openai

# Its fields: `Given` in tests/e2e/clients.test.ts.
given = SimpleNamespace(**json.loads(os.environ["GIVEN"]))


def run(checks):
    """Runs the checks; what one returns must be true."""
    for name in given.checks:
        if name not in checks:
            continue
        try:
            result = checks[name]()
            ok, detail = result is True, str(result)
        except Exception:
            ok, detail = False, traceback.format_exc()
        print(json.dumps({"check": name, "ok": ok, "detail": detail}), flush=True)


def refusals(ask):
    """The checks of what is refused: `openai`, and what is made of it, must show our envelope."""
    return {each["check"]: _refusal(ask, **each) for each in given.refusals}


def _refusal(ask, check, asks, says, **expected):
    def shows_all():
        error = _failure(lambda: ask(**asks))
        seen = {
            # LangChain has classes of its own below these.
            "kind": next(each.__name__ for each in type(error).mro() if hasattr(openai, each.__name__)),
            "status": error.status_code,
            "type": error.type,
            "code": error.code,
            "param": error.param,
            "waits": int(error.response.headers.get("retry-after", 0)) > 0,
        }
        return (seen == expected and says in str(error)) or f"{seen} {error}"

    return shows_all


def _failure(action):
    try:
        action()
    except Exception as error:
        return error
    raise AssertionError("It did not fail")
