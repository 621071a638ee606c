"""Requests that are answered together: those that come while one batch is being answered are the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class Batcher:
    """Answers single requests by a function of several; one batch at a time, in a thread of its own.

    Acting and syncing a file block: meanwhile the event loop goes on taking requests. Under load batches grow by
    themselves, without load nobody waits longer than ``wait``.

    Args:
        answer: answers a batch, one result for each value, in their order.
        most: values of a batch at most.
        wait: seconds that the first value of a batch waits for others.
    """

    def __init__(self, answer: Callable[[list[Any]], Sequence[Any]], most: int, wait: float = 0.0) -> None:
        self._answer, self._most, self._wait = answer, most, wait
        self._waiting: list[tuple[Any, asyncio.Future[Any]]] = []
        self._worker = ThreadPoolExecutor(1, "ialp-batch")
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, value: Any) -> Any:
        """The result for one value; raises what answering its batch raised."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting.append((value, future))
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run())
        return await future

    def close(self) -> None:
        """End the thread after its batch."""
        self._worker.shutdown(wait=False)

    async def _run(self) -> None:
        """Answer until nobody waits."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            if self._wait and len(self._waiting) < self._most:
                await asyncio.sleep(self._wait)
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            batch = [(value, future) for value, future in batch if not future.done()]  # who hung up needs none
            if not batch:
                continue
            try:
                results = await loop.run_in_executor(self._worker, self._answer, [value for value, _ in batch])
                answers = list(zip(batch, results, strict=True))
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), result in answers:
                if not future.done():
                    future.set_result(result)
