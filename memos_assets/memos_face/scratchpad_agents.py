"""The part of memOS's scratchpad that agents talk over: notes, spaces, entities, and turns.

Over a board the public space is read from it, so that agents of other processes see it, and so are
private keys; in memory they are the model's own.

Source: the memOS server, agentic/scratchpad.py.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from memos_assets.blackboard.steps import merged_entity
from memos_assets.blackboard.views import COMPLETE_FROM
from memos_assets.memos_face.scratchpad_fields import (
    AgentNote,
    QuestionProgress,
    QuestionStatus,
    ScratchpadFields,
    now,
)

#: Agents of memOS's pipeline, in the order in which one is chosen where nothing decides.
AGENTS: Final = ("analyzer", "planner", "searcher", "scraper", "verifier", "synthesizer")
#: Type of the most urgent action -> agent.
_FOR_ACTION: Final = {
    "search": "searcher",
    "scrape": "scraper",
    "verify": "verifier",
    "resolve_contradiction": "verifier",
    "fill_gap": "searcher",
    "synthesize": "synthesizer",
}
#: Below this confidence findings are verified first.
_DOUBTED: Final = 0.5


class AgentSide(ScratchpadFields):
    """The part of the scratchpad that agents talk over."""

    def add_agent_note(
        self,
        agent: str,
        action_taken: str,
        observation: str,
        recommendation: str = "",
        for_agent: str | None = None,
    ) -> None:
        """Leave a note for one agent, or for all."""
        note = AgentNote(
            agent=agent,
            action_taken=action_taken,
            observation=observation,
            recommendation=recommendation,
            for_agent=for_agent,
        )
        self.agent_notes.append(note)
        if (board := self.board(agent)) is not None:
            board.add_note(note.model_dump_json(exclude={"timestamp"}), kind="agent note")
        self._touch()

    def get_notes_for_agent(self, agent: str) -> list[AgentNote]:
        """Return the notes for an agent, and those for all."""
        return [note for note in self.agent_notes if note.for_agent in (None, agent)]

    def get_recent_notes(self, n: int = 5) -> list[AgentNote]:
        """Return the newest notes, the newest first."""
        return sorted(self.agent_notes, key=lambda note: note.timestamp, reverse=True)[:n]

    def record_search(self, query: str) -> None:
        """Note that a query was searched for."""
        if query not in self.queries_executed:
            self.queries_executed.append(query)
            self._touch()

    def record_scrape(self, url: str) -> None:
        """Note that a page was read."""
        if url not in self.urls_scraped:
            self.urls_scraped.append(url)
            self.sources_consulted += 1
            self._touch()

    def has_searched(self, query: str) -> bool:
        """Whether a query was searched for."""
        return query in self.queries_executed

    def has_scraped(self, url: str) -> bool:
        """Whether a page was read."""
        return url in self.urls_scraped

    def write_public(self, agent_id: str, key: str, value: Any, ttl_minutes: float = 30) -> None:
        """Write a key that all agents read, for some minutes."""
        self.public_space[key] = {
            "value": value,
            "author": agent_id,
            "timestamp": now().isoformat(),
            "ttl_minutes": ttl_minutes,
        }
        if (board := self.board(agent_id)) is not None:
            board.write_public(key, {"value": value}, ttl=ttl_minutes * 60)
        self._touch()

    def read_public(self, key: str) -> Any:
        """Return the value of a key; None: there is none, or it has expired."""
        if (board := self.board()) is not None:
            found = board.read_public(key, None)
            return found.get("value") if isinstance(found, Mapping) else found
        entry = self.public_space.get(key)
        if entry is None:
            return None
        if not _lives(entry):
            del self.public_space[key]
            return None
        return entry["value"]

    def write_private(self, agent_id: str, key: str, value: Any) -> None:
        """Write a key of one agent."""
        if (board := self.board(agent_id)) is not None:
            board.write_private(key, {"value": value})
        else:
            self.private_spaces.setdefault(agent_id, {})[key] = value
        self._touch()

    def read_private(self, agent_id: str, key: str) -> Any:
        """Return the value of a key of one agent, or None."""
        if (board := self.board(agent_id)) is not None:
            found = board.read_private(key)
            return None if found is None else found["value"]
        return self.private_spaces.get(agent_id, {}).get(key)

    def get_agent_context(self, agent_id: str) -> dict[str, Any]:
        """Return what an agent needs: the public space, its own, findings, history, actions."""
        if (board := self.board(agent_id)) is not None:
            public = board.state("public").values("public")
            shown = {key: one.get("value", one) for key, one in public.items()}
        else:
            shown = {key: one["value"] for key, one in self.public_space.items() if _lives(one)}
        return {
            "public": shown,
            "private": dict(self.private_spaces.get(agent_id, {})),
            "findings": list(self.findings.values())[-20:],
            "search_history": self.queries_executed[-10:],
            "urls_scraped": self.urls_scraped[-10:],
            "next_actions": self.peek_next_actions(3),
        }

    def add_entity(self, entity: Mapping[str, Any]) -> None:
        """Merge an entity, a mapping with ``id``: lists are united, and mentions counted."""
        key = str(entity["id"])
        self.entities[key] = merged_entity(self.entities.get(key), entity)
        if (board := self.board()) is not None:
            board.add_entity(entity)
        self._touch()

    def add_entity_relation(self, relation: Mapping[str, Any]) -> None:
        """Relate two entities: a mapping with ``source``, ``type`` and ``target``."""
        if relation not in self.entity_relations:
            self.entity_relations.append(dict(relation))
        known = {"source", "type", "target"} <= relation.keys()
        if known and (board := self.board()) is not None:
            ends = str(relation["source"]), str(relation["type"]), str(relation["target"])
            board.add_relation(*ends)
        self._touch()

    def get_entity_stats(self) -> dict[str, Any]:
        """Return how many entities and relations there are, and the ten most mentioned."""
        top = sorted(self.entities.values(), key=lambda one: one["mentions"], reverse=True)
        return {
            "total_entities": len(self.entities),
            "total_relations": len(self.entity_relations),
            "top_entities": top[:10],
        }

    def notify_agent_update(
        self, agent_id: str, update_type: str, data: Mapping[str, Any] | None = None
    ) -> None:
        """Tell all agents what an agent did: public key ``last_update_AGENT``."""
        update = {"type": update_type, "data": dict(data or {}), "timestamp": now().isoformat()}
        self.write_public(agent_id, f"last_update_{agent_id}", update)

    def get_agent_state_summary(self) -> dict[str, Any]:
        """Return counts by which an agent decides on what to do."""
        asked = list(self.questions.values())
        return {
            "questions_total": len(asked),
            "questions_answered": _count(asked, QuestionStatus.ANSWERED),
            "questions_partial": _count(asked, QuestionStatus.PARTIAL),
            "questions_unanswered": _count(asked, QuestionStatus.UNANSWERED),
            "findings_count": len(self.findings),
            "contradictions_count": len(self._open_contradictions()),
            "pending_actions": len(self.next_actions),
            "overall_confidence": self.overall_confidence,
            "sources_consulted": self.sources_consulted,
            "is_complete": self.is_complete,
        }

    def _open_contradictions(self) -> list[dict[str, Any]]:
        return [one for one in self.contradictions if not one.get("resolved")]

    def select_next_agent(self, available_agents: Sequence[str] | None = None) -> str | None:
        """Return the agent whose turn it is by the state of the board.

        The first of these that is available: an open contradiction is verified; the most urgent
        action is done; unanswered questions are searched for, partial ones read about; doubted
        findings are verified, sure ones put together; the last note names an agent.

        Args:
            available_agents: None: those of memOS's pipeline.

        Returns:
            None, where no agent is available.
        """
        able = list(AGENTS if available_agents is None else available_agents)
        for agent in self._wanted():
            if agent in able:
                return agent
        if not able:
            return None
        return "analyzer" if "analyzer" in able else able[0]

    def _wanted(self) -> list[str]:
        """Return the agents that the state asks for, the most urgent first."""
        asked = list(self.questions.values())
        wanted = ["verifier"] if self._open_contradictions() else []
        if self.next_actions:
            wanted += filter(None, [_FOR_ACTION.get(str(self.next_actions[0].get("type")))])
        if _count(asked, QuestionStatus.UNANSWERED):
            wanted.append("searcher")
        if _count(asked, QuestionStatus.PARTIAL):
            wanted.append("scraper")
        if self.findings:
            sure = self.overall_confidence >= COMPLETE_FROM
            if sure or self.overall_confidence < _DOUBTED:
                wanted.append("synthesizer" if sure else "verifier")
        wanted += [note.for_agent for note in self.agent_notes[:-4:-1] if note.for_agent]
        return wanted


def _count(asked: Sequence[QuestionProgress], status: QuestionStatus) -> int:
    return sum(one.status == status for one in asked)


def _lives(entry: Mapping[str, Any]) -> bool:
    since = datetime.fromisoformat(entry["timestamp"])
    return now() - since <= timedelta(minutes=entry.get("ttl_minutes", 30))
