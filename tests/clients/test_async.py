"""The asynchronous client: many streams at once, and streams that are left."""
import asyncio

import openai

PROMPT = "Once upon a time"


async def loads(client):
    return await client.get("../load", cast_to=object)


async def gather(url, count):
    async with openai.AsyncOpenAI(base_url=url, api_key="unused", max_retries=0, timeout=120) as client:
        async def one(seed):
            text, usage = "", None
            stream = await client.completions.create(model="demo", prompt=f"{PROMPT} {seed}", seed=seed, max_tokens=12, stream=True,
                                                     stream_options={"include_usage": True})
            async for event in stream:
                text += event.choices[0].text if event.choices else ""
                usage = event.usage or usage
            return text, usage.completion_tokens
        return await asyncio.gather(*(one(seed) for seed in range(count)))


def test_many_streams_at_once(server, client):
    streamed = asyncio.run(gather(server.url, 24))
    for seed, (text, tokens) in enumerate(streamed):
        whole = client.completions.create(model="demo", prompt=f"{PROMPT} {seed}", seed=seed, max_tokens=12)
        assert (text, tokens) == (whole.choices[0].text, whole.usage.completion_tokens)


def test_a_stream_that_is_left_is_ended(server):
    async def leave():
        async with openai.AsyncOpenAI(base_url=server.url, api_key="unused", max_retries=0, timeout=60) as client:
            streams = [await client.completions.create(model="demo", prompt=PROMPT, max_tokens=1000, stream=True, extra_body={"ignore_eos": True})
                       for _ in range(4)]
            for stream in streams:
                await stream.__anext__()
                await stream.close()
            task = asyncio.create_task(client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "x"}], max_tokens=900,
                                                                      extra_body={"ignore_eos": True}))
            await asyncio.sleep(0.2)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
            # All of it took minutes if it ran on; what is asked for is that nothing runs.
            for _ in range(500):
                answer = await client.completions.create(model="demo", prompt=PROMPT, max_tokens=1)
                assert answer.choices
                if not await running(client):
                    return
                await asyncio.sleep(0.02)
            raise AssertionError("requests whose clients have gone still run")

    async def running(client):
        response = await client._client.get(server.url.replace("/v1", "/load"))
        return response.json()["server_load"]

    asyncio.run(leave())
