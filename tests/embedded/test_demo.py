"""The demo's client, its counting of predictions, and its table, against a small server that fails on purpose."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from apps.deployments.predict import BrokenOff
from examples.demo.client import Api, ApiError
from examples.demo.predictions import BROKEN_OFF, Digits, predict_all, predicting
from examples.demo.report import Report, StepFailedError, wait_until

Seen = list[tuple[str, str, dict[str, str]]]
HANG_UP = -1


class Scripted:
    """A server that answers what it is told: (status, body), or hangs up."""

    def __init__(self) -> None:
        self.seen: Seen = []
        self.script: list[tuple[int, dict[str, Any]]] = []
        self.default: tuple[int, dict[str, Any]] = (200, {})
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.seen.append((self.command, self.path, dict(self.headers)))
                status, body = outer.script.pop(0) if outer.script else outer.default
                if status == HANG_UP:
                    self.close_connection = True
                    return
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = answer  # noqa: N815 (the names that BaseHTTPRequestHandler calls)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def api(self) -> Api:
        return Api(f"http://127.0.0.1:{self.server.server_port}", "flt_test")


@pytest.fixture
def server() -> Iterator[Scripted]:
    made = Scripted()
    yield made
    made.server.shutdown()
    made.server.server_close()


def prediction(label: int, replica: str, attempts: int = 1) -> dict[str, Any]:
    return {"outputs": [{"name": "label", "data": [label]}], "replica": replica, "attempts": attempts}


DIGITS = Digits(inputs=[[0.0] * 64] * 4, labels=[1, 2, 3, 4])


def test_a_post_is_repeated_with_its_key_when_the_server_hangs_up_or_is_busy(server: Scripted) -> None:
    server.script = [(HANG_UP, {}), (503, {"title": "Starting"}), (201, {"name": "digits"})]
    assert server.api.post("/api/v1/models", {"name": "digits"}) == {"name": "digits"}
    assert len({headers["Idempotency-Key"] for _, _, headers in server.seen}) == 1
    assert [headers["Authorization"] for _, _, headers in server.seen] == ["Bearer flt_test"] * 3


def test_a_refusal_is_told_in_the_server_s_words_and_not_repeated(server: Scripted) -> None:
    server.default = (404, {"title": "Not found", "detail": "There is no run 'x'.", "hint": "Look at the list."})
    with pytest.raises(ApiError, match=r"GET /api/v1/runs/x → 404 Not found: There is no run 'x'. Look at the list."):
        server.api.get("/api/v1/runs/x")
    assert len(server.seen) == 1


def test_a_list_is_read_to_its_last_page(server: Scripted) -> None:
    following = f"http://127.0.0.1:{server.server.server_port}/api/v1/runs?cursor=2"
    server.script = [(200, {"results": [1, 2], "next": following}), (200, {"results": [3], "next": None})]
    assert server.api.list("/api/v1/runs", project="demo") == [1, 2, 3]
    assert [path for _, path, _ in server.seen] == ["/api/v1/runs?project=demo", "/api/v1/runs?cursor=2"]


def test_predictions_are_counted_by_replica_with_retries_and_rights(server: Scripted) -> None:
    server.default = (200, prediction(1, "digits-a", attempts=2))
    tally = predict_all(server.api, "/predict", DIGITS)
    assert (tally.sent, tally.right, tally.retried, tally.lost) == (4, 1, 4, [])
    assert tally.by_replica == {"digits-a": 4}
    assert tally.accuracy == 0.25


def test_a_refused_prediction_is_lost_and_one_that_got_no_answer_is_sent_again(server: Scripted) -> None:
    server.script = [(HANG_UP, {}), (504, {"title": "No answer in time"})]
    server.default = (200, prediction(1, "digits-a"))
    tally = predict_all(server.api, "/predict", DIGITS)
    assert tally.sent == 4
    assert tally.resent == 1
    assert len(tally.lost) == 1
    assert "504 No answer in time" in tally.lost[0]


def test_a_prediction_over_which_a_replica_was_killed_is_sent_again(server: Scripted) -> None:
    server.script = [(502, {"title": BROKEN_OFF, "detail": "digits-a broke off before it answered: EOF"})]
    server.default = (200, prediction(1, "digits-b"))
    tally = predict_all(server.api, "/predict", DIGITS)
    assert (tally.sent, tally.resent, tally.lost) == (4, 1, [])
    assert BrokenOff.title == BROKEN_OFF


def test_predicting_goes_on_for_as_long_as_the_block_runs(server: Scripted) -> None:
    server.default = (200, prediction(1, "digits-a"))
    with predicting(server.api, "/predict", DIGITS) as tally:
        wait_until(lambda: "" if tally.sent > 20 else f"{tally.sent} sent", "20 predictions", timeout=30)
    sent = tally.sent
    assert sent == len(server.seen)


def test_waiting_gives_up_with_what_was_missing_last() -> None:
    with pytest.raises(StepFailedError, match=r"Waited 0 s for the runs to end. Last: 2 Running"):
        wait_until(lambda: "2 Running", "the runs to end", timeout=0.0)


def test_the_table_has_a_row_for_each_step_and_wraps_long_results(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    with report.step("1  The local cluster is Healthy") as result:
        result.append("3 nodes")
    with report.step("2  Runs") as result:
        result += [f"hidden-{number}: accuracy 0.9" for number in range(8)]
    with pytest.raises(StepFailedError), report.step("3  Deploy"):
        raise StepFailedError("no")
    printed, table = capsys.readouterr().out, report.summary()
    assert printed.count("✓") == 2
    assert "3 nodes" in table
    assert "hidden-7" in table
    assert "3  Deploy" not in table
    assert max(map(len, table.splitlines())) <= 140
