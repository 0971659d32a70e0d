"""Streams an answer as it is written, then leaves a second one in the middle: its request ends at once."""
import asyncio
import sys

from quire import AsyncLLM, RequestOutputKind, SamplingParams


async def main():
    params = SamplingParams(temperature=0.2, max_tokens=60, seed=7, output_kind=RequestOutputKind.DELTA)
    async with AsyncLLM(model=sys.argv[1]) as llm:
        async for output in llm.generate("Once upon a time", params):
            print(output.outputs[0].text, end="", flush=True)
        print()

        async def endless():
            async for _ in llm.generate("The little dog", SamplingParams(max_tokens=900, ignore_eos=True)):
                pass

        task = asyncio.create_task(endless())
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        while (await llm.get_loads()).num_running_reqs:
            await asyncio.sleep(0.01)
        print("nothing runs any more")


asyncio.run(main())
