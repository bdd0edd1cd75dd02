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
    TOOLED,
    WRONG_KEY,
    failure,
    run,
)
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike


def model(name=CHARACTER, key=KEY, **more):
    return OpenAILike(
        model=name,
        api_key=key,
        api_base=BASE_URL,
        is_chat_model=True,
        is_function_calling_model=True,
        max_retries=0,
        **{"max_tokens": 16, **more},
    )


def say(text):
    return [ChatMessage(role="user", content=text)]


def stream():
    usage = {"stream_options": {"include_usage": True}}
    last, told = None, None
    for last in model(additional_kwargs=usage).stream_chat(say("Hello")):
        told = getattr(last.raw, "usage", None) or told
    return len(last.message.content) > 0 and told.completion_tokens > 0


def tools():
    seen = []

    def get_weather(city: str) -> str:
        """Tells the weather of a city"""
        seen.append(city)
        return "12 degrees"

    tool = FunctionTool.from_defaults(get_weather)
    asker, asked = model(TOOLED), say("What is the weather in Oslo?")
    first = asker.chat_with_tools([tool], chat_history=asked)
    [call] = asker.get_tool_calls_from_response(first)
    told = {"tool_call_id": call.tool_id}
    result = ChatMessage(role="tool", content=str(tool(**call.tool_kwargs)), additional_kwargs=told)
    last = asker.chat_with_tools([tool], chat_history=[*asked, first.message, result])
    return seen == ["Oslo"] and TOLD in last.message.content


def schema():
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
    asked = model(max_tokens=60, additional_kwargs={"response_format": wanted})
    return json.loads(asked.chat(say("Who are you?")).message.content) == {"name": "Mira"}


def image():
    blocks = [TextBlock(text="What is it?"), ImageBlock(url=PICTURE)]
    answer = model(SCRIPTED).chat([ChatMessage(role="user", blocks=blocks)])
    return answer.message.content == "A picture."


def embeddings():
    embedder = OpenAILikeEmbedding(model_name=EMBEDDER, api_key=KEY, api_base=BASE_URL)
    vectors = embedder.get_text_embedding_batch(["one", "two"])
    return len(vectors) == 2 and len(vectors[0]) > 4


def status(action):
    return failure(action).status_code


def asking(**options):
    return lambda: model(**options).chat(say("Hello"))


def held_back(key, code):
    error = failure(asking(key=key))
    waits = isinstance(error, openai.RateLimitError) and error.response.headers["retry-after"]
    return error.code == code and int(waits) > 0


run(
    {
        "chat": lambda: len(model().chat(say("Hello")).message.content) > 0,
        "stream": stream,
        "tools": tools,
        "schema": schema,
        "image": image,
        "embeddings": embeddings,
        "400": lambda: status(asking(additional_kwargs={"n": 99})) == 400,
        "401": lambda: status(asking(key=WRONG_KEY)) == 401,
        "404": lambda: status(asking(name="nobody")) == 404,
        "429": lambda: held_back(LIMITED_KEY, LIMITED),
        "quota": lambda: held_back(SPENT_KEY, SPENT),
    }
)
