"""Rescue: what green fails before the client has seen anything, blue answers, and it is green's failure all the same."""

import pytest
from test_faults import call
from workbench import Script, Snapback

REQUESTS = 40


def converse(tmp_path, faults, case, rescue):
    """Every answer at 50 %, with a green that answers like `case` alone, and green's counts."""
    blue = {"version": "v1", "instances": [faults.address]}
    with Script("faults.py", case) as green, Snapback(tmp_path, [{"name": "chat", "blue": blue, "rescue": rescue}]) as proxy:
        with proxy.split("chat", green.address, "50%"):
            with proxy.counted("chat", "green") as counts:
                answers = [call(proxy.address, "ok") for _ in range(REQUESTS)]
    return answers, counts


@pytest.mark.parametrize(
    ("case", "rescue"),
    [
        ("drop", {"until": "head"}),
        ("drop", {"until": "first_token"}),
        ("vllm-empty", {"until": "first_token"}),
        ("tgi-424", {"until": "head"}),
        ("tgi-424", {"until": "first_token"}),
    ],
)
def test_every_client_gets_blues_answer_and_green_counts_its_failures(tmp_path, faults, case, rescue):
    answers, counts = converse(tmp_path, faults, case, rescue)
    assert answers == [call(faults.address, "ok")] * REQUESTS
    assert counts["requests"] == counts["failed"] == counts["rescued"] > 0


def test_what_has_shown_tokens_is_not_rescued(tmp_path, faults):
    answers, counts = converse(tmp_path, faults, "truncated", {"until": "first_token"})
    cut = [answer for answer in answers if not answer[3]]
    assert len(cut) == counts["requests"] == counts["failed"] and "rescued" not in counts
    assert all(answer[2].endswith(b'" b"},"finish_reason":null}]}\n\n') for answer in cut)


def test_an_error_after_tokens_is_not_rescued(tmp_path, faults):
    answers, counts = converse(tmp_path, faults, "vllm-error", {"until": "first_token"})
    failed = [answer for answer in answers if answer == call(faults.address, "vllm-error")]
    assert len(failed) == counts["requests"] > 0 and "rescued" not in counts
    assert answers.count(call(faults.address, "ok")) == REQUESTS - len(failed)


def test_without_rescue_clients_see_the_failures(tmp_path, faults):
    answers, counts = converse(tmp_path, faults, "drop", {"on": "never"})
    assert [answer[0] for answer in answers].count(502) == counts["requests"] == counts["failed"] > 0
    assert "rescued" not in counts
