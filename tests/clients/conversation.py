"""The calls that a user of the official openai client makes, as one list of comparable results."""

import openai

MESSAGES = [{"role": "user", "content": "How do I cook rice for 4 people?"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
# Different at each call, or a matter of time.
VOLATILE = {"id", "created", "timings"}


def client(url):
    """A client that does not repeat failed requests."""
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=30)


def plain(value):
    """An answer without what differs at each call."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items() if key not in VOLATILE}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value


def shown(call):
    """What a call came to: the answer, the list of events, or the error with status and body."""
    try:
        answer = call()
        if hasattr(answer, "model_dump"):
            return plain(answer.model_dump())
        return [plain(event.model_dump()) for event in answer]
    except openai.APIStatusError as error:
        return type(error).__name__, error.status_code, plain(error.body)


def converse(api, model, **extra):
    """Name and result of each call; `extra` goes into every request for text."""
    chat, text = api.chat.completions.create, api.completions.create
    ask = {"model": model, "messages": MESSAGES, "seed": 7, "temperature": 0, "max_tokens": 8, **extra}
    go_on = {"model": model, "prompt": "Once there was a fox who", "seed": 7, "temperature": 0, "max_tokens": 12, **extra}
    calls = {
        "chat": lambda: chat(**ask),
        "chat to its own end": lambda: chat(**ask | {"max_tokens": 200}),
        "chat, streamed": lambda: chat(stream=True, **ask),
        "chat, streamed with usage": lambda: chat(stream=True, stream_options={"include_usage": True}, **ask),
        "completion": lambda: text(**go_on),
        "completion, streamed": lambda: text(stream=True, **go_on),
        "chat with a tool on offer": lambda: chat(**ask | {"tools": [TOOL], "tool_choice": "none"}),
        "models": lambda: api.models.list(),
        "one model": lambda: api.models.retrieve(model),
        "no messages": lambda: chat(**ask | {"messages": []}),
        "an argument of the wrong type": lambda: chat(**ask | {"max_tokens": "many"}),
        "an unknown path": lambda: api.embeddings.create(model=model, input="rice"),
    }
    return {name: shown(call) for name, call in calls.items()}
