"""What each client script shares: it runs the checks that are asked for, and writes one line of JSON for each."""

import json
import os
import traceback

BASE_URL, KEY, WRONG_KEY = (os.environ[name] for name in ("BASE_URL", "KEY", "WRONG_KEY"))
LIMITED_KEY, SPENT_KEY = (os.environ[name] for name in ("LIMITED_KEY", "SPENT_KEY"))
CHARACTER, TOOLED = (os.environ[name] for name in ("CHARACTER", "TOOLED"))
SCRIPTED, EMBEDDER = (os.environ[name] for name in ("SCRIPTED", "EMBEDDER"))
PICTURE = os.environ["PICTURE"]

# What a client has to see where one call more than allowed was made, and where nothing is left.
LIMITED, SPENT = "rate_limit_exceeded", "insufficient_quota"

# The words that the model ends with when the tool has answered.
TOLD = "It is 12 degrees."

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather of a city",
        "parameters": PARAMETERS,
    },
}
SCHEMA = {
    "title": "person",
    "type": "object",
    "properties": {"name": {"type": "string", "enum": ["Mira"]}},
    "required": ["name"],
    "additionalProperties": False,
}


def run(checks):
    """Runs the checks; what one returns must be true."""
    for name in os.environ["CHECKS"].split(","):
        if name not in checks:
            continue
        try:
            result = checks[name]()
            ok, detail = result is True, str(result)
        except Exception:
            ok, detail = False, traceback.format_exc()
        print(json.dumps({"check": name, "ok": ok, "detail": detail}), flush=True)


def failure(action):
    """The error that an action raises."""
    try:
        action()
    except Exception as error:
        return error
    raise AssertionError("It did not fail")
