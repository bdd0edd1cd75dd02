import json

from checks import given, refusals, run
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike


def model(model=given.character, key=given.key, max_tokens=16, **more):
    return OpenAILike(
        model=model,
        api_key=key,
        api_base=given.url,
        is_chat_model=True,
        is_function_calling_model=True,
        max_retries=0,
        max_tokens=max_tokens,
        additional_kwargs=more,
    )


def say(text):
    return [ChatMessage(role="user", content=text)]


def ask(**asks):
    return model(**asks).chat(say("Hello"))


def stream():
    last, told = None, None
    asker = model(stream_options={"include_usage": True})
    for last in asker.stream_chat(say("Hello")):
        told = getattr(last.raw, "usage", None) or told
    return len(last.message.content) > 0 and told.completion_tokens > 0


def tools():
    seen = []

    def get_weather(city: str) -> str:
        """Tells the weather of a city"""
        seen.append(city)
        return "12 degrees"

    tool = FunctionTool.from_defaults(get_weather)
    asker, asked = model(given.tooled), say(given.question)
    first = asker.chat_with_tools([tool], chat_history=asked)
    [call] = asker.get_tool_calls_from_response(first)
    told = {"tool_call_id": call.tool_id}
    result = ChatMessage(role="tool", content=str(tool(**call.tool_kwargs)), additional_kwargs=told)
    last = asker.chat_with_tools([tool], chat_history=[*asked, first.message, result])
    return seen == ["Oslo"] and given.told in last.message.content


def schema():
    asked = model(max_tokens=60, response_format=given.format)
    return json.loads(asked.chat(say("Who are you?")).message.content) == {"name": "Mira"}


def image():
    blocks = [TextBlock(text="What is it?"), ImageBlock(url=given.picture)]
    answer = model(given.scripted).chat([ChatMessage(role="user", blocks=blocks)])
    return answer.message.content == "A picture."


def embeddings():
    options = {"model_name": given.embedder, "api_key": given.key, "api_base": given.url}
    vectors = OpenAILikeEmbedding(**options).get_text_embedding_batch(["one", "two"])
    return len(vectors) == 2 and len(vectors[0]) > 4


run(
    {
        "chat": lambda: len(ask().message.content) > 0,
        "stream": stream,
        "tools": tools,
        "schema": schema,
        "image": image,
        "embeddings": embeddings,
        **refusals(ask),
    }
)
