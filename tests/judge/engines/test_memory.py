"""Work that is halved where memory runs out; no GPU is needed to see it."""

from __future__ import annotations

import pytest
import torch

from ialp_rllib.judge.engines import memory
from ialp_rllib.judge.engines.memory import Shrinking, two
from ialp_rllib.judge.engines.vllm import memory_share
from ialp_rllib.settings import JudgeSettings


@pytest.fixture(autouse=True)
def no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A garbage collection of everything that a test session holds takes seconds."""
    monkeypatch.setattr(memory, "free_memory", lambda: None)


class Memory:
    """Doubles numbers, at most ``room`` at a time."""

    def __init__(self, room: int) -> None:
        self.room, self.tried = room, list[int]()

    def double(self, numbers: list[int]) -> list[int]:
        self.tried.append(len(numbers))
        if len(numbers) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [2 * number for number in numbers]


def test_batches_shrink_and_stay_small() -> None:
    little, shrinking = Memory(room=3), Shrinking[list[int]](len, two)
    batches = [list(range(8)), list(range(8, 16)), [16, 17]]
    done = list(shrinking.run(batches, little.double))
    assert [number for batch, _ in done for number in batch] == list(range(18)), "in order"
    assert [number for _, result in done if result for number in result] == list(range(0, 36, 2))
    assert little.tried == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2, 2], "what was too large is not tried twice"
    assert shrinking.most == 3
    little.tried.clear()
    assert len(list(shrinking.run([[1, 2, 3, 4]], little.double))) == 2 and little.tried == [2, 2], "nor later"


def test_a_batch_of_one_that_does_not_fit_is_given_up_alone() -> None:
    def work(numbers: list[int]) -> int:
        if 2 in numbers:
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
        return sum(numbers)

    assert list(Shrinking[list[int]](len, two).run([[1, 2, 3, 4]], work)) == [([1], 1), ([2], None), ([3], 3), ([4], 4)]


def test_other_errors_are_raised() -> None:
    def work(numbers: list[int]) -> int:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        list(Shrinking[list[int]](len, two).run([[1, 2]], work))


@pytest.mark.parametrize(
    ("settings", "share"),
    [({}, 0.2), ({"gpus": 1.0}, 0.9), ({"gpus": 0.5}, 0.45), ({"gpus": 4.0}, 0.9), ({"memory_share": 0.3}, 0.3)],
    ids=str,
)
def test_a_judge_leaves_memory_to_the_learners(settings: dict[str, float], share: float) -> None:
    assert memory_share(JudgeSettings(**settings)) == pytest.approx(share)
