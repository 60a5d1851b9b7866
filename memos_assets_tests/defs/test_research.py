"""A question as a job: its configuration names it, and no text is in its events."""

from memos_assets.definitions import defs
from memos_assets_tests.defs.world import World


def test_a_question_is_answered_and_its_events_have_counts_alone(world: World) -> None:
    config = {"question": "What does the secret zzqx mean?", "user": "u1"}
    result = (
        defs()
        .resolve_job_def("answer_question")
        .execute_in_process(
            instance=world.instance, run_config={"ops": {"ask": {"config": config}}}
        )
    )
    assert result.success
    with world.engine.connect() as conn:
        (board,) = conn.exec_driver_sql("select id, state from agent.boards").all()
    assert board.state == "complete"
    outputs = [event for event in result.all_node_events if event.is_successful_output]
    metadata = outputs[0].step_output_data.metadata
    assert metadata["board"].value == str(board.id)
    assert metadata["sentences"].value == 0
    said = " ".join(str(event.message) for event in result.all_events)
    assert "zzqx" not in said
