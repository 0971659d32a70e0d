"""AsyncLLM against the real coordinator: streams, cancellation, abort, many at once."""
import asyncio

import pytest
from conftest import DEMO, SMALL

from quire import AsyncLLM, InvalidRequestError, RequestOutputKind, SamplingParams

LONG = dict(max_tokens=900, ignore_eos=True, temperature=0)


@pytest.fixture(scope="module")
def address(llm):
    return llm.server_address


def run(address, body):
    async def main():
        async with AsyncLLM(server=address) as llm:
            return await asyncio.wait_for(body(llm), 60)

    return asyncio.run(main())


async def until_idle(llm):
    while True:
        loads = await llm.get_loads()
        if loads.num_running_reqs + loads.num_waiting_reqs == 0:
            return
        await asyncio.sleep(0.01)


def test_three_kinds_of_stream_agree(address):
    async def body(llm):
        async def collect(kind):
            params = SamplingParams(n=2, seed=3, max_tokens=12, logprobs=1, output_kind=kind)
            return [output async for output in llm.generate("Once upon a time", params)]

        deltas, cumulative, final = [await collect(kind) for kind in (RequestOutputKind.DELTA, RequestOutputKind.CUMULATIVE, RequestOutputKind.FINAL_ONLY)]
        assert len(final) == 1 and final[0].finished and len(deltas) > 10
        assert [o.finished for o in cumulative] == [False] * (len(cumulative) - 1) + [True]
        for choice in final[0].outputs:
            mine = [o.outputs[0] for o in deltas if o.outputs[0].index == choice.index]
            assert "".join(c.text for c in mine) == choice.text
            assert sum((c.token_ids for c in mine), []) == choice.token_ids
            assert [p for c in mine for p in c.logprobs or []] == choice.logprobs
            assert [c.finish_reason for c in mine][-1] == choice.finish_reason == "length"
            assert cumulative[-1].outputs[choice.index] == choice
        assert final[0].prompt_token_ids == cumulative[0].prompt_token_ids == await llm.encode("Once upon a time")

    run(address, body)


def test_a_cancelled_task_frees_its_request(address):
    async def body(llm):
        started = asyncio.Event()

        async def consume():
            async for _ in llm.generate("Once upon a time", SamplingParams(**LONG)):
                started.set()

        task = asyncio.create_task(consume())
        await started.wait()
        assert (await llm.get_loads()).num_running_reqs == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until_idle(llm)
        assert all(rank.device_blocks_used == 0 for rank in (await llm.get_loads()).ranks)

    run(address, body)


def test_an_iterator_that_is_closed_frees_its_request(address):
    async def body(llm):
        stream = llm.generate("Once upon a time", SamplingParams(**LONG))
        async for output in stream:
            assert not output.finished
            break
        await stream.aclose()
        await until_idle(llm)

    run(address, body)


def test_abort_by_id(address):
    async def body(llm):
        outputs = []
        async for output in llm.generate("Once upon a time", SamplingParams(**LONG), "mine"):
            if not outputs:
                await llm.abort(["mine", "nobody's"])
            outputs.append(output)
        assert outputs[-1].finished and outputs[-1].outputs[0].finish_reason == "abort" and outputs[-1].request_id == "mine"
        assert len(outputs[-1].outputs[0].token_ids) < 900
        await until_idle(llm)

    run(address, body)


def test_two_requests_of_one_id_cannot_run(address):
    async def body(llm):
        stream = llm.generate("Once upon a time", SamplingParams(**LONG), "twin")
        await stream.__anext__()
        with pytest.raises(InvalidRequestError) as caught:
            async for _ in llm.generate("Once", SamplingParams(), "twin"):
                pass
        assert caught.value.code == "ALREADY_EXISTS"
        assert not (await stream.__anext__()).finished, "the first one goes on"
        await stream.aclose()
        await until_idle(llm)

    run(address, body)


def test_many_streams_at_once(address):
    async def body(llm):
        async def one(i):
            last = None
            async for output in llm.generate(f"Story {i}:", SamplingParams(temperature=0, max_tokens=6, ignore_eos=True)):
                last = output
            return last

        outputs = await asyncio.gather(*(one(i) for i in range(100)))
        assert [o.prompt for o in outputs] == [f"Story {i}:" for i in range(100)]
        assert all(len(o.outputs[0].token_ids) == 6 for o in outputs)

    run(address, body)


def test_errors(address):
    async def body(llm):
        with pytest.raises(InvalidRequestError) as caught:
            async for _ in llm.generate("x", SamplingParams(temperature=3)):
                pass
        assert caught.value.field == "sampling_params.temperature"

    run(address, body)


def test_a_server_of_its_own_and_chat(chat_model):
    async def body():
        async with AsyncLLM(chat_model, **SMALL) as llm:
            outputs = [o async for o in llm.chat([{"role": "user", "content": "Hello"}], SamplingParams(temperature=0, max_tokens=5))]
            assert outputs[-1].prompt == "user: Hello\nassistant:"
            assert outputs[-1].outputs[0].text == await llm.decode(outputs[-1].outputs[0].token_ids)
            assert (await llm.get_default_sampling_params()).temperature == 0.8
            assert (await llm.get_server_info()).tensor_parallel_size == 1

    asyncio.run(body())


def test_engine_args_make_one():
    from quire import EngineArgs
    llm = AsyncLLM.from_engine_args(EngineArgs(model=DEMO, kv_cache_memory_bytes=64 << 20))
    llm.shutdown()
