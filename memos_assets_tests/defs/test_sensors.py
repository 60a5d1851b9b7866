"""The alert sensor, against a receiver that listens."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import dagster as dg
import pytest

from memos_assets.checklist import CHECKLIST
from memos_assets.consolidate.sources.observe import register_files
from memos_assets.defs.jobs import HEALTH
from memos_assets.defs.resources import Webhook
from memos_assets_tests.defs.world import World, location, write_templates

TABLE = dg.AssetKey(["memos", "thought_templates"])
SECRET = "7b1f-very-secret"


class Receiver(HTTPServer):
    """Keeps what is posted to it, and answers as it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.asked = 0
        self.taken: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{SECRET}"


class Handler(BaseHTTPRequestHandler):
    """Answers POST with the receiver's status."""

    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        if self.server.status == 200:
            self.server.taken.append(json.loads(body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing on the terminal."""


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with Receiver() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.02,))
        thread.start()
        monkeypatch.setenv("MEMOS_ALERT_WEBHOOK", made.url)
        # Three attempts are made; a test need not wait between them.
        monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


class Sensor:
    """Ticks the sensor as the daemon does, with the cursor of the tick before."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.cursor: str | None = None

    def tick(self) -> str:
        repository = location().get_repository_def()
        with dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            repository_def=repository,
            resources={"webhook": Webhook()},
        ) as context:
            data = repository.get_sensor_def("post_failed_checks").evaluate_tick(context)
        self.cursor = data.cursor
        assert SECRET not in str(data)
        return data.skip_message or ""


def evaluate(
    instance: dg.DagsterInstance, name: str, *, passed: bool, observed: str = "4 rows"
) -> None:
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=TABLE,
            check_name=name,
            passed=passed,
            metadata={"expected": "5 rows", "observed": observed},
        )
    )


def test_a_failed_check_is_posted_exactly_once_with_what_was_expected_and_observed(
    instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    sensor = Sensor(instance)
    evaluate(instance, "v01_row_counts_match", passed=False, observed="before anybody looked")
    assert sensor.tick() == "first look"
    assert json.loads(sensor.cursor or "") != {}
    assert sensor.tick() == "no failed check since"
    assert receiver.taken == []

    evaluate(instance, "v01_row_counts_match", passed=False)
    evaluate(instance, "v02_rows_match_bit_for_bit", passed=True)
    assert sensor.tick() == "1 posted"
    assert sensor.tick() == "no failed check since"
    (alert,) = receiver.taken
    assert alert.pop("timestamp") > 0
    assert alert.pop("run_id") == ""
    fix = CHECKLIST.by_name["v01_row_counts_match"].fix
    assert alert == {
        "text": "V01 failed on memos/thought_templates: expected 5 rows; observed 4 rows. "
        f"Fix: {fix}",
        "check": "v01_row_counts_match",
        "asset": "memos/thought_templates",
        "expected": "5 rows",
        "observed": "4 rows",
        "fix": fix,
    }


def test_failures_between_two_ticks_are_all_posted_also_when_the_last_one_passed(
    instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    sensor = Sensor(instance)
    sensor.tick()
    for number in range(60):
        evaluate(instance, "v01_row_counts_match", passed=False, observed=f"failure {number}")
    evaluate(instance, "v01_row_counts_match", passed=True)
    assert sensor.tick() == "60 posted"
    assert [alert["observed"] for alert in receiver.taken] == [f"failure {n}" for n in range(60)]


def test_a_receiver_that_answers_500_gets_the_alert_on_the_next_tick(
    instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    sensor = Sensor(instance)
    sensor.tick()
    for check in CHECKLIST.checks[:2]:
        evaluate(instance, check.name, passed=False)
    receiver.status = 500
    assert sensor.tick() == "the webhook did not take an alert (HTTPStatusError)"
    # Three attempts at one alert: with a receiver that hangs, more would outlast the tick.
    assert receiver.asked == 3
    receiver.status = 200
    assert sensor.tick() == "2 posted"
    assert sorted(alert["check"] for alert in receiver.taken) == [
        "v01_row_counts_match",
        "v02_rows_match_bit_for_bit",
    ]


def test_an_address_that_cannot_be_reached_is_not_told(
    instance: dg.DagsterInstance, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor = Sensor(instance)
    sensor.tick()
    evaluate(instance, "v01_row_counts_match", passed=False)
    for address in (f"http://127.0.0.1:9/{SECRET}", f"{SECRET}.example", f"gopher://{SECRET}"):
        monkeypatch.setenv("MEMOS_ALERT_WEBHOOK", address)
        assert sensor.tick().startswith("the webhook did not take an alert (")
    monkeypatch.setenv("MEMOS_ALERT_WEBHOOK", receiver.url)
    assert sensor.tick() == "1 posted"


@pytest.mark.usefixtures("receiver")
def test_no_log_names_the_address(
    instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    sensor = Sensor(instance)
    sensor.tick()
    evaluate(instance, "v01_row_counts_match", passed=False)
    with caplog.at_level(logging.DEBUG):
        assert sensor.tick() == "1 posted"
    assert caplog.records != []
    assert SECRET not in caplog.text


def test_without_an_address_nothing_is_posted_and_nothing_is_forgotten(
    instance: dg.DagsterInstance, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor = Sensor(instance)
    sensor.tick()
    evaluate(instance, "v01_row_counts_match", passed=False)
    monkeypatch.delenv("MEMOS_ALERT_WEBHOOK")
    cursor = sensor.cursor
    assert sensor.tick() == "MEMOS_ALERT_WEBHOOK is not set"
    monkeypatch.setenv("MEMOS_ALERT_WEBHOOK", receiver.url)
    sensor.cursor = cursor
    assert sensor.tick() == "1 posted"


def test_a_check_that_crashed_does_not_silence_the_failures_after_it(
    world: World, receiver: Receiver
) -> None:
    write_templates(world.data / "meta_buffer.db", [1])
    register_files(world.engine, world.files())
    sensor = Sensor(world.instance)
    sensor.tick()
    # Nothing is pinned, so the step that runs the checks fails before any has an outcome.
    assert not world.run("verify_checklist").success
    sensor.tick()
    receiver.taken.clear()
    evaluate(world.instance, "v01_row_counts_match", passed=False)
    assert sensor.tick() == "1 posted"
    assert [alert["observed"] for alert in receiver.taken] == ["4 rows"]


def test_a_check_that_is_running_at_the_first_look_is_posted_when_it_fails(
    instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    sensor = Sensor(instance)
    name = "v01_row_counts_match"
    planned = dg.AssetCheckKey(TABLE, name)
    messages: list[str] = []

    @dg.multi_asset_check(specs=[dg.AssetCheckSpec(name, asset=TABLE)])
    def check() -> Iterator[dg.AssetCheckResult]:
        messages.append(sensor.tick())
        messages.append(sensor.tick())
        yield dg.AssetCheckResult(
            asset_key=TABLE,
            check_name=name,
            passed=False,
            metadata={"expected": "5 rows", "observed": "3 rows"},
        )

    result = dg.materialize(
        [dg.AssetSpec(TABLE), check],
        selection=dg.AssetSelection.checks(planned),
        instance=instance,
    )
    assert result.success
    assert messages == ["first look", "no failed check since"]
    assert sensor.tick() == "1 posted"
    assert [alert["observed"] for alert in receiver.taken] == ["3 rows"]


def test_a_red_check_of_health_is_posted(world: World, receiver: Receiver) -> None:
    sensor = Sensor(world.instance)
    sensor.tick()
    # Rows that nobody analysed, and no index of the catalog.
    world.execute(
        "insert into memos.thought_templates (source, id, embedding_reason, chunk, source_rowid) "
        "values ('s', '1', 'missing', 0, 1)"
    )
    assert world.run(HEALTH).success
    assert sensor.tick().endswith(" posted")
    alerts = {(alert["check"], alert["asset"]): alert for alert in receiver.taken}
    alert = alerts["v23_statistics_are_there", "memos/thought_templates"]
    assert alert["observed"].startswith("none of source, id, ")
    assert alert["fix"] == CHECKLIST.by_name["v23_statistics_are_there"].fix
    assert {alert["check"] for alert in receiver.taken} == {
        "v21_recall_has_not_drifted",
        "v23_statistics_are_there",
    }


@pytest.mark.parametrize(("unused", "posted"), [((0, 1, 1), 1), ((1, 0, 2), 2)])
def test_an_index_that_nobody_uses_is_posted_once(
    instance: dg.DagsterInstance, receiver: Receiver, unused: tuple[int, ...], posted: int
) -> None:
    sensor = Sensor(instance)
    sensor.tick()
    for count in unused:
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(["memos", "indexes", "thought_templates_embedding_768_hnsw"]),
                check_name="v24_indexes_are_used",
                passed=count == 0,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"expected": "searched", "observed": "not", "unused": count},
            )
        )
        sensor.tick()
    assert len(receiver.taken) == posted


def left_open(instance: dg.DagsterInstance, count: int) -> None:
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=TABLE,
            check_name="v12_rejects_are_settled",
            passed=count == 0,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"expected": "0 open", "observed": f"{count} open", "open_rejects": count},
        )
    )


def test_a_warning_is_posted_only_when_more_is_left_to_do(
    instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    sensor = Sensor(instance)
    left_open(instance, 3)
    assert sensor.tick() == "first look"
    posted = []
    for count in (3, 2, 5, 5, 0, 1):
        left_open(instance, count)
        sensor.tick()
        posted.append(len(receiver.taken))
    assert posted == [0, 0, 1, 1, 1, 2]
    assert [alert["observed"] for alert in receiver.taken] == ["5 open", "1 open"]
