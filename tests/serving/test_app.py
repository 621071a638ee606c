"""The HTTP interface: what is asked is answered, what is wrong is refused, nothing undecided is logged."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ialp_rllib.errors import InputError
from ialp_rllib.serving.app import build_app
from ialp_rllib.serving.folder import ServiceFolder, create_service, open_service
from ialp_rllib.serving.log import Tail
from ialp_rllib.serving.service import Ask, Service
from ialp_rllib.serving.versions import Current, Versions
from tests.serving.small import AGENT, ITEMS, N, make_artifact, weights

TOKEN = "a-token-of-some-length"


@pytest.fixture
def folder(tmp_path: Path) -> ServiceFolder:
    return create_service(tmp_path / "service", make_artifact(tmp_path / "policy"))


@pytest.fixture
def client(folder: ServiceFolder) -> Iterator[TestClient]:
    with TestClient(build_app(folder, Service(folder, seed=0)), raise_server_exceptions=False) as client:
        yield client


def rows(folder: Path) -> list[dict[str, Any]]:
    return Tail(folder).read()


def test_recommend_and_feedback(client: TestClient, folder: ServiceFolder) -> None:
    asked = {"session": "s", "items": [ITEMS[0], "unknown"], "request": "r"}
    answer = client.post("/v1/recommend", json=asked).json()
    assert answer["items"][0] in ITEMS[1:] and 0 < answer["probabilities"][0] <= 1 and answer["version"] == 0
    (row,) = rows(folder.decisions)
    assert row["id"] == answer["decision"] and row["items"] == [ITEMS[0]] and row["p"] == answer["probabilities"]
    given_ = {"decision": answer["decision"], "reward": 5, "ended": "left"}
    for _ in range(2):
        assert client.post("/v1/feedback", json=given_).json() == {"stored": True}
    assert [r["reward"] for r in rows(folder.feedback)] == [5.0, 5.0]
    health = client.get("/v1/health").json()
    assert health["status"] == "ok" and health["counts"]["unknown_items"] == 1
    assert client.get("/v1/policy").json()["items"] == N


def test_feedback_may_come_with_the_next_request(client: TestClient, folder: ServiceFolder) -> None:
    first = client.post("/v1/recommend", json={"session": "s"}).json()
    told = {"decision": first["decision"], "reward": 3.0}
    asked = {"session": "s", "items": first["items"], "feedback": [told]}
    second = client.post("/v1/recommend", json=asked).json()
    assert second["decision"] != first["decision"]
    assert [(row["decision"], row["reward"]) for row in rows(folder.feedback)] == [(first["decision"], 3.0)]
    assert client.get("/v1/health").json()["counts"]["feedback"] == 1


@pytest.mark.parametrize(("field", "value", "code"), [("decision", "nobody", 404), ("reward", 1e9, 422)])
def test_refused_feedback_refuses_the_request_that_it_came_with(
    client: TestClient, folder: ServiceFolder, field: str, value: object, code: int
) -> None:
    first = client.post("/v1/recommend", json={"session": "s"}).json()
    good = {"decision": first["decision"], "reward": 1.0}
    answer = client.post("/v1/recommend", json={"session": "s", "feedback": [good, good | {field: value}]})
    assert answer.status_code == code and field in answer.json()["detail"]
    assert len(rows(folder.decisions)) == 1 and rows(folder.feedback) == []


def test_a_slate_has_distinct_items_and_feedback_names_one(client: TestClient, folder: ServiceFolder) -> None:
    answer = client.post("/v1/recommend", json={"session": "s", "k": 4}).json()
    assert len(set(answer["items"])) == 4 == len(answer["probabilities"])
    given_ = {"decision": answer["decision"], "reward": 1}
    assert client.post("/v1/feedback", json=given_).status_code == 422
    assert client.post("/v1/feedback", json={**given_, "item": answer["items"][2]}).status_code == 200
    assert rows(folder.feedback)[0]["item"] == answer["items"][2]


WRONG: list[tuple[str, dict[str, Any] | bytes, int]] = [
    ("recommend", {}, 422),
    ("recommend", {"session": ""}, 422),
    ("recommend", {"session": "s", "k": 0}, 422),
    ("recommend", {"session": "s", "k": 51}, 422),
    ("recommend", {"session": "s", "items": "abc"}, 422),
    ("recommend", {"session": "s", "items": ["a"] * 1001}, 422),
    ("recommend", {"session": "s", "items": ["a"], "answers": [1]}, 422),
    ("recommend", {"session": "s", "other": 1}, 422),
    ("recommend", {"session": "s", "items": ["x" * 190] * 400}, 413),
    ("recommend", b"{", 422),
    ("recommend", b'{"session": "\\ud800"}', 422),
    ("recommend", b"[" * 50_000, 422),
    ("feedback", b"\xff\xfe", 422),
    ("feedback", {"decision": "made up", "reward": 1}, 404),
    ("feedback", {"decision": "0" * 32 + "-1-" + "0" * 16, "reward": 1}, 404),
    ("feedback", {"decision": "d", "reward": "1"}, 422),
    ("feedback", b'{"decision": "d", "reward": NaN}', 422),
    ("feedback", b'{"decision": "d", "reward": 1e999}', 422),
]


def test_what_is_wrong_is_refused(client: TestClient, folder: ServiceFolder) -> None:
    for path, body, code in WRONG:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = client.post(f"/v1/{path}", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == code, (str(body)[:100], answer.text)
        assert set(answer.json()) == {"detail"}
    assert rows(folder.decisions) == [] and rows(folder.feedback) == []


def test_rewards_out_of_range_are_refused(client: TestClient, folder: ServiceFolder) -> None:
    decision = client.post("/v1/recommend", json={"session": "s"}).json()["decision"]
    for reward in (-0.1, 5.1):
        assert client.post("/v1/feedback", json={"decision": decision, "reward": reward}).status_code == 422
    assert client.post("/v1/feedback", json={"decision": decision + "x", "reward": 1}).status_code == 404
    assert rows(folder.feedback) == []


def test_feedback_on_an_item_that_was_not_shown_is_refused(client: TestClient, folder: ServiceFolder) -> None:
    """By whichever replica: the decision's id says what it showed."""
    other = Service(folder)
    for k in (1, 3):
        answer = client.post("/v1/recommend", json={"session": "s", "k": k}).json()
        assert [ITEMS[number] for number in other.shown(answer["decision"])] == answer["items"]
        hidden = next(item for item in ITEMS if item not in answer["items"])
        for item in (hidden, "no item"):
            given = {"decision": answer["decision"], "reward": 1, "item": item}
            refused = client.post("/v1/feedback", json=given)
            assert refused.status_code == 422 and "was not shown" in refused.json()["detail"]
        assert rows(folder.feedback) == []
    given = {"decision": answer["decision"], "reward": 1, "item": answer["items"][2]}
    assert client.post("/v1/feedback", json=given).status_code == 200


@pytest.mark.parametrize("mode", ["greedy", "epsilon_greedy"])
def test_a_slate_has_as_many_items_as_were_asked_for(mode: str, tmp_path: Path) -> None:
    agent = dataclasses.replace(AGENT, exploration=mode, epsilon=0.0)
    folder = create_service(tmp_path / "service", make_artifact(tmp_path / "policy", agent=agent))
    (answer,) = Service(folder, sync=False).decide([Ask("s", k=4)])
    assert answer is not None and len(set(answer.items)) == 4 and answer.probabilities == [1.0] * 4


def test_the_token_is_asked_for_everywhere(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    artifact = make_artifact(tmp_path / "policy")
    folder = create_service(tmp_path / "service", artifact, [f"http.token_file={tmp_path / 'token'}"])
    with TestClient(build_app(folder, Service(folder))) as client:
        for path in ("/v1/health", "/v1/policy", "/", "/openapi.json"):
            for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
                assert client.get(path, headers=header).status_code == 401
        assert client.get("/v1/health", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    (tmp_path / "token").write_text("short")
    with pytest.raises(InputError, match="16 or more"):
        folder.token()


def test_without_theta_nothing_is_served(tmp_path: Path, folder: ServiceFolder) -> None:
    broken = InputError("theta", "is missing", "a policy")
    with TestClient(build_app(folder, broken)) as client:
        for answer in (client.get("/v1/health"), client.post("/v1/recommend", json={"session": "s"})):
            assert answer.status_code == 503


def test_published_versions_are_followed(tmp_path: Path, folder: ServiceFolder) -> None:
    service, versions = Service(folder, seed=0), Versions(folder.root)
    versions.publish(weights(2), 0.5, {})
    versions.serve(Current(1, None, 0, "by hand", 1.0))
    service.watcher.refresh()
    with TestClient(build_app(folder, service)) as client:
        seen = {client.post("/v1/recommend", json={"session": f"s{n}"}).json()["version"] for n in range(60)}
        assert seen == {0, 1}  # the control arm keeps pi_theta
        assert client.get("/v1/policy").json()["reason"] == "by hand"


def test_a_folder_serves_one_policy(tmp_path: Path, folder: ServiceFolder) -> None:
    assert open_service(folder.root).artifact.method == "aialp_ap"
    assert oct((folder.root / "secret").stat().st_mode)[-3:] == "600"
    assert create_service(folder.root, folder.artifact, ["poll=2"]).secret() == folder.secret()
    with pytest.raises(InputError, match="is no service"):
        open_service(tmp_path)


TEXT = st.text(max_size=20) | st.sampled_from(["", *ITEMS])
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
RECOMMEND = st.fixed_dictionaries(
    {"session": TEXT | VALUE},
    optional={"items": st.lists(TEXT, max_size=8) | VALUE, "k": st.integers() | VALUE, "user": TEXT, "extra": VALUE}
    | {"answers": st.lists(st.integers(), max_size=4), "request": VALUE}
    | {"feedback": st.lists(st.fixed_dictionaries({"decision": TEXT, "reward": st.floats()}), max_size=3) | VALUE},
)
FEEDBACK = st.fixed_dictionaries(
    {"decision": TEXT | VALUE, "reward": st.floats() | VALUE},
    optional={"ended": st.sampled_from(["", "left", "limit", "no"]) | VALUE, "item": TEXT | VALUE},
)
BODIES = st.one_of(
    st.tuples(st.just("recommend"), RECOMMEND | VALUE),
    st.tuples(st.just("feedback"), FEEDBACK | VALUE),
)


def check_fuzzed(client: TestClient, folder: ServiceFolder, count: int) -> None:
    decided = [client.post("/v1/recommend", json={"session": "valid"}).json()["decision"]]

    @settings(
        max_examples=count, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(BODIES)
    def fuzz(case: tuple[str, Any]) -> None:
        path, body = case
        content = json.dumps(body).encode()
        answer = client.post(f"/v1/{path}", content=content, headers={"content-type": "application/json"})
        assert answer.status_code in (200, 404, 422), answer.text
        if answer.status_code == 200:
            decided.append(answer.json()["decision"])

    fuzz()
    assert [row["id"] for row in rows(folder.decisions)] == decided
    assert rows(folder.feedback) == []  # nobody guessed a decision


def test_fuzzed_requests(client: TestClient, folder: ServiceFolder) -> None:
    check_fuzzed(client, folder, 30)


@pytest.mark.slow
def test_five_thousand_fuzzed_requests(client: TestClient, folder: ServiceFolder) -> None:
    check_fuzzed(client, folder, 5000)
