import json

import openai
from checks import given, refusals, run


def client(key=given.key):
    return openai.OpenAI(base_url=given.url, api_key=key, max_retries=0)


def say(content):
    return [{"role": "user", "content": content}]


def ask(key=given.key, **body):
    asked = {"model": given.character, "messages": say("Hello"), "max_tokens": 16, **body}
    return client(key).chat.completions.create(**asked)


def content_of(answer):
    return answer.choices[0].message.content


def stream():
    text, usage = "", None
    for chunk in ask(stream=True, stream_options={"include_usage": True}):
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        usage = chunk.usage or usage
    return len(text) > 0 and usage.completion_tokens > 0


def tools():
    asked = {"model": given.tooled, "tools": [given.tool]}
    messages = say(given.question)
    first = ask(messages=messages, **asked).choices[0]
    call = first.message.tool_calls[0]
    result = {"role": "tool", "tool_call_id": call.id, "content": "12 degrees"}
    last = content_of(ask(messages=[*messages, first.message, result], **asked))
    city = json.loads(call.function.arguments)["city"]
    return (first.finish_reason, city) == ("tool_calls", "Oslo") and given.told in last


def schema():
    text = content_of(ask(response_format=given.format, max_tokens=60))
    return json.loads(text) == {"name": "Mira"}


def embeddings():
    data = client().embeddings.create(model=given.embedder, input=["one", "two"]).data
    return len(data) == 2 and len(data[0].embedding) > 4


run(
    {
        "list": lambda: any(model.id == given.character for model in client().models.list()),
        "chat": lambda: len(content_of(ask())) > 0,
        "stream": stream,
        "tools": tools,
        "schema": schema,
        "image": lambda: content_of(ask(model=given.scripted, messages=say(given.sight))) == "A picture.",
        "embeddings": embeddings,
        **refusals(ask),
    }
)
