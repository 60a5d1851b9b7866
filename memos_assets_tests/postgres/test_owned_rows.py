"""The description of the wall between users covers every table, and never opens one."""

import pytest

from memos_assets.postgres import owned_rows
from memos_assets.postgres.schema import agent


@pytest.mark.parametrize("table", agent.metadata.tables.values(), ids=str)
def test_every_table_of_agents_has_an_owner_or_is_listed_without_one(table: object) -> None:
    name = str(table).partition(".")[2]
    wall = owned_rows.agents_wall(name)
    assert wall is not None
    assert bool(wall.policies) is (name not in owned_rows.WITHOUT_OWNER)
    assert {*wall.rights} <= {"select", "insert", "update", "delete"}


def test_tables_of_models_are_walled_off_and_unknown_ones_are_not_guessed() -> None:
    of_space, of_model = owned_rows.agents_wall("memories"), owned_rows.agents_wall("embeddings_7")
    assert of_space is not None
    assert of_model is not None
    assert of_model.policies == of_space.policies
    for name in ("embeddings_", "embeddings_x", "notes"):
        assert owned_rows.agents_wall(name) is None


def test_tables_of_memos_are_by_user_or_shared_lists() -> None:
    walls = {wall.name: wall for wall in owned_rows.applications_walls()}
    shared = {name for name, wall in walls.items() if not wall.policies}
    assert shared == {"quests", "quest_tasks", "achievements", "ollama_model_specs"}
    assert {walls[name].rights for name in shared} == {("select",)}
