import json

import openai
from checks import (
    BASE_URL,
    CHARACTER,
    EMBEDDER,
    KEY,
    LIMITED,
    LIMITED_KEY,
    PICTURE,
    SCHEMA,
    SCRIPTED,
    SPENT,
    SPENT_KEY,
    TOLD,
    TOOL,
    TOOLED,
    WRONG_KEY,
    failure,
    run,
)


def open_client(key):
    return openai.OpenAI(base_url=BASE_URL, api_key=key, max_retries=0)


client = open_client(KEY)
stranger = open_client(WRONG_KEY)


def say(content):
    return [{"role": "user", "content": content}]


def ask(by=client, **body):
    return by.chat.completions.create(
        **{"model": CHARACTER, "messages": say("Hello"), "max_tokens": 16, **body}
    )


def stream():
    text, usage = "", None
    for chunk in ask(stream=True, stream_options={"include_usage": True}):
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        usage = chunk.usage or usage
    return len(text) > 0 and usage.completion_tokens > 0


def tools():
    messages = say("What is the weather in Oslo?")
    first = ask(model=TOOLED, messages=messages, tools=[TOOL]).choices[0]
    call = first.message.tool_calls[0]
    messages += [
        first.message,
        {"role": "tool", "tool_call_id": call.id, "content": "12 degrees"},
    ]
    last = ask(model=TOOLED, messages=messages, tools=[TOOL]).choices[0].message.content
    city = json.loads(call.function.arguments)["city"]
    return (first.finish_reason, city) == ("tool_calls", "Oslo") and TOLD in last


def schema():
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
    text = ask(response_format=wanted, max_tokens=60).choices[0].message.content
    return json.loads(text) == {"name": "Mira"}


def image():
    content = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": PICTURE}},
    ]
    answer = ask(model=SCRIPTED, messages=say(content))
    return answer.choices[0].message.content == "A picture."


def embeddings():
    data = client.embeddings.create(model=EMBEDDER, input=["one", "two"]).data
    return len(data) == 2 and len(data[0].embedding) > 4


def refused(kind, code, **body):
    error = failure(lambda: ask(**body))
    return isinstance(error, kind) and error.code == code


def held_back(key, code):
    error = failure(lambda: ask(by=open_client(key)))
    waits = isinstance(error, openai.RateLimitError) and error.response.headers["retry-after"]
    return error.code == code and int(waits) > 0


run(
    {
        "list": lambda: any(model.id == CHARACTER for model in client.models.list()),
        "chat": lambda: len(ask().choices[0].message.content) > 0,
        "stream": stream,
        "tools": tools,
        "schema": schema,
        "image": image,
        "embeddings": embeddings,
        "400": lambda: refused(openai.BadRequestError, "invalid_request", messages=[]),
        "401": lambda: refused(openai.AuthenticationError, "invalid_api_key", by=stranger),
        "404": lambda: refused(openai.NotFoundError, "model_not_found", model="nobody"),
        "429": lambda: held_back(LIMITED_KEY, LIMITED),
        "quota": lambda: held_back(SPENT_KEY, SPENT),
    }
)
