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
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings


def model(name=CHARACTER, key=KEY, **more):
    options = {"max_tokens": 16, "max_retries": 0, "stream_usage": True, **more}
    return ChatOpenAI(model=name, api_key=key, base_url=BASE_URL, **options)


def stream():
    text, usage = "", None
    for chunk in model().stream("Hello"):
        text += chunk.content
        usage = chunk.usage_metadata or usage
    return len(text) > 0 and usage["output_tokens"] > 0


def tools():
    bound = model(TOOLED).bind_tools([TOOL])
    messages = [HumanMessage("What is the weather in Oslo?")]
    first = bound.invoke(messages)
    call = first.tool_calls[0]
    messages += [first, ToolMessage("12 degrees", tool_call_id=call["id"])]
    return call["args"]["city"] == "Oslo" and TOLD in bound.invoke(messages).content


def schema():
    structured = model(max_tokens=60).with_structured_output(SCHEMA, method="json_schema")
    return structured.invoke("Who are you?") == {"name": "Mira"}


def image():
    content = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": PICTURE}},
    ]
    return model(SCRIPTED).invoke([HumanMessage(content=content)]).content == "A picture."


def embeddings():
    # Without it LangChain sends numbers of OpenAI's own tokens, which mean nothing to other models.
    embedder = OpenAIEmbeddings(
        model=EMBEDDER, api_key=KEY, base_url=BASE_URL, check_embedding_ctx_length=False
    )
    vectors = embedder.embed_documents(["one", "two"])
    return len(vectors) == 2 and len(vectors[0]) > 4


def status(action):
    return failure(action).status_code


def held_back(key, code):
    error = failure(lambda: model(key=key).invoke("Hello"))
    waits = isinstance(error, openai.RateLimitError) and error.response.headers["retry-after"]
    return error.code == code and int(waits) > 0


run(
    {
        "chat": lambda: len(model().invoke("Hello").content) > 0,
        "stream": stream,
        "tools": tools,
        "schema": schema,
        "image": image,
        "embeddings": embeddings,
        "400": lambda: status(lambda: model(n=99).invoke("Hello")) == 400,
        "401": lambda: status(lambda: model(key=WRONG_KEY).invoke("Hello")) == 401,
        "404": lambda: status(lambda: model("nobody").invoke("Hello")) == 404,
        "429": lambda: held_back(LIMITED_KEY, LIMITED),
        "quota": lambda: held_back(SPENT_KEY, SPENT),
    }
)
