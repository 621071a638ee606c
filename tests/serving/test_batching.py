"""Requests that come while a batch is being answered are the next batch; nobody waits for who hung up."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from ialp_rllib.serving.batching import Batcher


def test_what_comes_meanwhile_is_one_batch() -> None:
    sizes: list[int] = []
    began, go_on = threading.Event(), threading.Event()

    def double(values: list[int]) -> list[int]:
        sizes.append(len(values))
        began.set()
        assert go_on.wait(60)
        return [2 * value for value in values]

    async def ask() -> list[int]:
        batcher = Batcher(double, most=4)
        first = asyncio.create_task(batcher(0))
        await asyncio.to_thread(began.wait, 60)
        others = [asyncio.create_task(batcher(value)) for value in range(1, 8)]
        await asyncio.sleep(0)
        others[2].cancel()
        await asyncio.sleep(0)
        go_on.set()
        found = await asyncio.gather(first, *others, return_exceptions=True)
        batcher.close()
        return [value for value in found if not isinstance(value, BaseException)]

    assert asyncio.run(ask()) == [0, 2, 4, 8, 10, 12, 14]
    assert sizes == [1, 3, 3]  # of the first four one has hung up


def test_an_error_is_that_of_its_batch() -> None:
    def fail(values: list[Any]) -> list[Any]:
        if "bad" in values:
            raise ValueError("bad")
        return values[: len(values) - values.count("short")]

    async def ask() -> None:
        batcher = Batcher(fail, most=8, wait=0.001)
        for value, problem in (("bad", "bad"), ("short", "argument")):
            with pytest.raises(ValueError, match=problem):
                await batcher(value)
            assert await batcher("good") == "good"
        batcher.close()

    asyncio.run(ask())
