from checks import given, refusals, run
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings


def model(model=given.character, key=given.key, **more):
    options = {"max_tokens": 16, "max_retries": 0, "stream_usage": True, **more}
    return ChatOpenAI(model=model, api_key=key, base_url=given.url, **options)


def ask(**asks):
    return model(**asks).invoke("Hello")


def stream():
    text, usage = "", None
    for chunk in model().stream("Hello"):
        text += chunk.content
        usage = chunk.usage_metadata or usage
    return len(text) > 0 and usage["output_tokens"] > 0


def tools():
    bound = model(given.tooled).bind_tools([given.tool])
    messages = [HumanMessage(given.question)]
    first = bound.invoke(messages)
    call = first.tool_calls[0]
    messages += [first, ToolMessage("12 degrees", tool_call_id=call["id"])]
    return call["args"]["city"] == "Oslo" and given.told in bound.invoke(messages).content


def schema():
    structured = model(max_tokens=60).with_structured_output(given.schema, method="json_schema")
    return structured.invoke("Who are you?") == {"name": "Mira"}


def image():
    answer = model(given.scripted).invoke([HumanMessage(content=given.sight)])
    return answer.content == "A picture."


def embeddings():
    # Without it LangChain sends numbers of OpenAI's own tokens, which mean nothing to other models.
    options = {"check_embedding_ctx_length": False}
    embedder = OpenAIEmbeddings(model=given.embedder, api_key=given.key, base_url=given.url, **options)
    vectors = embedder.embed_documents(["one", "two"])
    return len(vectors) == 2 and len(vectors[0]) > 4


run(
    {
        "chat": lambda: len(ask().content) > 0,
        "stream": stream,
        "tools": tools,
        "schema": schema,
        "image": image,
        "embeddings": embeddings,
        **refusals(ask),
    }
)
