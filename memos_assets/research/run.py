"""A run, phase by phase: the board has what ended, so a run that was killed goes on where it was.

No connection is in use while a model works: each step that needs the database has a session of its
own, and what is embedded or written is so between two of them.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from memos_assets.blackboard import Board, State
from memos_assets.blackboard.records import complete, finding_key, question, question_key, search
from memos_assets.blackboard.requests import FINDINGS, Request
from memos_assets.blackboard.views import open_contradictions
from memos_assets.contradictions import THRESHOLD, find_async
from memos_assets.errors import AgentError, MemosAssetsError
from memos_assets.memory import Asked
from memos_assets.memory.prepared import draft, finish
from memos_assets.memory.recall import Hit as Recalled
from memos_assets.postgres.schema.agent import KINDS
from memos_assets.research import boards, citations, corpora, remembering, synthesis
from memos_assets.research.answer import Answer, Remembered, Sentence, Source
from memos_assets.research.boards import noted, phase_of
from memos_assets.research.budget import Deadline
from memos_assets.research.events import (
    ContradictionRecorded,
    Event,
    FindingRecorded,
    Noted,
    PhaseFinished,
    PhaseName,
    PhaseStarted,
    SentenceWritten,
)
from memos_assets.research.generators import INSTRUCTION
from memos_assets.research.passages import Passage, chosen, passage_of
from memos_assets.research.questioned import Questioned, Tools
from memos_assets.research.statements import evidence_of, statement_of
from memos_assets.research.synthesis import EXTRACTIVE, Finding, extracted
from memos_assets.research.written import Written, numbered

#: Kinds of memories that are sources: not what runs observed and concluded.
_RECALLED: Final = tuple(kind for kind in KINDS if kind not in ("observation", "reasoning"))
#: How often a step is tried again that another writer of the board came before.
_TRIES: Final = 5
_WAITS: Final = "M578: the budget of the run ended before the embedder answered"


@dataclass
class Run:
    """One run over a board."""

    tools: Tools
    asked: Questioned
    board: Board
    tell: Callable[[Event], None]
    deadline: Deadline
    recomputed: str = ""
    notes: list[str] = field(default_factory=list)
    phases: dict[str, float] = field(default_factory=dict)
    written_by: str = EXTRACTIVE
    failed: bool = False
    resuming: bool = False
    _before: State = field(default_factory=lambda: State(0, None, ()))

    async def answer(self) -> Answer:
        """Go through the phases that the board does not have, and return the answer.

        Raises:
            AgentError, UsageError, TargetError: of board, memory and search; the board keeps what
                was posted, and the next run of the question goes on from there.
        """
        if self.resuming:
            await self.board.settle()
            self._before = await self.board.state(boards.RUN)
        passages = await self._search()
        passages = await self._record(passages)
        await self._contradict(passages)
        text = await self._synthesise(passages)
        left = await self._remember(passages, text)
        answer = await self._answer(passages, text, left)
        if answer.complete:
            ended = noted(boards.ENDED, {"memories": answer.memories})
            try:
                await self.board.post([ended, complete("answered")])
            except AgentError as error:
                if error.code != "M911":  # the run had ended before
                    raise
        return answer

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            self.tell(Noted(text))

    def _phase(self, name: PhaseName) -> dict[str, Any] | None:
        """Begin a phase; return what the board notes of it where it ended before."""
        self.tell(PhaseStarted(name))
        before = phase_of(self._before, name)
        if before is not None:
            for note in before.get("notes", ()):
                self._note(note)
            self.phases[name] = before["seconds"]
            self.tell(PhaseFinished(name, before["seconds"], before["count"], resumed=True))
        return before

    def _end(self, name: PhaseName, since: float, count: int) -> dict[str, Any]:
        seconds = round(time.perf_counter() - since, 6)
        self.phases[name] = seconds
        return {"seconds": seconds, "count": count}

    async def _finish(self, name: PhaseName, since: float, count: int, **value: Any) -> None:
        ended = self._end(name, since, count)
        await self.board.post([noted(name, {**ended, **value})])
        self.tell(PhaseFinished(name, ended["seconds"], count))

    async def _search(self) -> list[Passage]:
        """Search the corpora, recall, and choose what becomes a finding."""
        before = self._phase("search")
        if before is not None:
            return [passage_of(one) for one in before["passages"]]
        since, tools = time.perf_counter(), self.tools
        embedded = await self._embedded()
        found = await corpora.search(
            tools.corpora, tools.tables, embedded, self.asked.k, self.deadline
        )
        recalled: list[Recalled] = []
        if not self.deadline.ended("recall of memory"):
            # session-rule: S001 because a run holds no connection between its phases
            async with tools.sessions() as session:
                await self._act(session)
                recalled = await tools.memory.recall(
                    session, embedded, self.asked.k, kinds=_RECALLED
                )
        passages = await asyncio.to_thread(chosen, self.asked.text, found.hits, recalled)
        # Notes are of this run: a later one may be able to search what this one was not.
        for note in found.notes:
            self._note(note)
        noted_search = self._noted_search(len(found.hits) + len(recalled))
        await self.board.post([question(self.asked.text), noted_search])
        shown = [one.as_json() for one in passages]
        if self.deadline.passed_by:
            return passages  # not all was searched: a resumed run searches again
        await self._finish("search", since, len(passages), passages=shown, notes=found.notes)
        return passages

    async def _act(self, session: AsyncSession) -> None:
        asked = self.asked
        await self.tools.memory.act_as(
            session, user=asked.user, agent=asked.agent, spaces=asked.spaces
        )

    async def _embedded(self) -> Asked:
        try:
            async with asyncio.timeout(self.deadline.left):
                embedded = await self.tools.memory.query(self.asked.text)
        except TimeoutError:
            embedded = Asked(self.asked.text, None, "")
            self._note("The embedder did not answer in time.")
        if embedded.embedding is None:
            self._note("Searched by words alone: there is no embedder, or it did not answer.")
        return embedded

    async def _record(self, passages: Sequence[Passage]) -> list[Passage]:
        """Post findings one by one; return those whose source is still there."""
        before = self._phase("findings")
        there = {self._key(one): one for one in passages}
        if before is not None:
            return [there[key] for key in before["keys"] if key in there]
        since = time.perf_counter()
        kept, about = {}, {"of_search": self._noted_search(len(passages)).key}
        for key, one in there.items():
            try:
                added = await self.board.add_finding(
                    self.asked.text, one.text, one.source, one.confidence, title=one.title, **about
                )
            except AgentError as error:
                if error.code != "M926":
                    raise
                self._note(f"A source has vanished: {one.source}.")
                continue
            kept[key] = one
            self.tell(FindingRecorded(key, one.text, one.source, one.confidence, added.added))
        if self.deadline.passed_by:
            return list(kept.values())
        await self._finish("findings", since, len(kept), keys=list(kept))
        return list(kept.values())

    def _noted_search(self, hits: int) -> Request:
        """Return the request that notes the search of the run; its key is that of the question."""
        return search(question_key(self.asked.text), self.asked.text, hits)

    def _key(self, one: Passage) -> str:
        return finding_key(question_key(self.asked.text), one.text, one.source)

    async def _contradict(self, passages: Sequence[Passage]) -> None:
        """Find contradictions among the findings, and record the open ones."""
        if self._phase("contradictions") is not None:
            return
        since = time.perf_counter()
        by_key = {self._key(one): one for one in passages}
        said = [statement_of(key, one) for key, one in by_key.items()]
        found = await find_async(said, judge=self.tools.judge)
        opened = [record for record in found if record.status == "open"]
        for record in opened:
            a, b = by_key[str(record.a.id)], by_key[str(record.b.id)]
            added = await self.board.add_contradiction(
                a.text,
                b.text,
                a.source,
                b.source,
                score=record.score,
                kind=record.kind,
                **evidence_of(record),
            )
            self.tell(
                ContradictionRecorded(
                    *(added.key, a.text, a.source, b.text, b.source), record.kind, record.score
                )
            )
        if not self.deadline.passed_by:
            await self._finish("contradictions", since, len(opened))

    async def _synthesise(self, passages: Sequence[Passage]) -> Written:
        """Write the synthesis, and post it with what it cites and the contradictions it names."""
        before = self._phase("synthesis")
        for _ in range(_TRIES):
            state = await self.board.state()
            draft_of = phase_of(state, "draft") if before is None else before
            since = time.perf_counter()
            written = await self._written(passages, state, draft_of)
            for one in written.said:
                self.tell(SentenceWritten(one.text, one.cites))
            if before is not None:
                return written
            if not self.failed and not self.deadline.passed_by and draft_of is None:
                await self.board.post([noted("draft", written.as_draft())])
            try:
                await self.board.add_synthesis(
                    written.text,
                    cites=written.cited,
                    contradictions=[one.key for one in written.opposed],
                    threshold=THRESHOLD,
                )
            except AgentError as error:
                if error.code not in ("M915", "M931"):
                    raise
                continue  # a contradiction was recorded meanwhile: it has to be named, too
            if self.failed or self.deadline.passed_by:
                self._end("synthesis", since, len(written.said))
                self.tell(PhaseFinished("synthesis", self.phases["synthesis"], len(written.said)))
            else:
                await self._finish(
                    "synthesis", since, len(written.said), **written.as_draft(), notes=self.notes
                )
            return written
        raise AgentError(
            "M996",
            "contradictions are recorded faster than a synthesis can name them",
            where=f"board {self.board.id}",
            fix="ask again when the other agents on the board are done",
        )

    async def _written(
        self, passages: Sequence[Passage], state: State, before: dict[str, Any] | None
    ) -> Written:
        by_source = {self._key(one): one for one in passages}
        recorded = state.values(FINDINGS)
        keys = [key for key in by_source if key in recorded]
        findings = [
            Finding(key, by_source[key].text, by_source[key].source, by_source[key].confidence)
            for key in keys
        ]
        if before is None:
            said = await self._said(findings)
        else:
            said = [Sentence(**one) for one in before["sentences"]]
            self.written_by = before["written_by"]
        against = [(one.key, one.value) for one in open_contradictions(state, THRESHOLD)]
        return numbered(said, findings, against, self.written_by)

    async def _said(self, findings: Sequence[Finding]) -> list[Sentence]:
        """Return sentences that cite findings by their places, from 1."""
        budget, asked = self.asked.budget, self.asked.text
        generator = self.tools.generator
        if generator is not None and findings:
            prompt = synthesis.prompt(asked, findings, budget.tokens)
            try:
                async with asyncio.timeout(self.deadline.left):
                    text = await generator.generate(INSTRUCTION, prompt, budget.tokens)
            except TimeoutError:
                why = "the budget of the run ended before it answered"
            except MemosAssetsError as error:
                why = error.what
            else:
                kept, notes = citations.checked(text, [one.text for one in findings], asked)
                for note in notes:
                    self._note(note)
                if kept:
                    self.written_by = generator.name
                    return kept
                why = "it answered nothing"
                why += " that a finding bears out" if text.strip() else ""
            self.failed = True
            self._note(f"{generator.name} was left out: {why}. The sentences are of the sources.")
        return await asyncio.to_thread(extracted, asked, findings, budget.tokens)

    async def _remember(self, passages: Sequence[Passage], written: Written) -> remembering.Left:
        """Leave observations, the conclusion and findings in memory, in one transaction."""
        before = self._phase("memory")
        if before is not None:
            promoted = {key: Remembered(**one) for key, one in before["promoted"].items()}
            return remembering.Left(promoted, before["quality"])
        since = time.perf_counter()
        if self.deadline.left <= 0 or self.failed:
            # What a run left out may say the contrary: nothing is remembered of half a run.
            self.deadline.passed_by |= set() if self.failed else {"memory"}
            self._note("Nothing was remembered: the run is not complete.")
            self._end("memory", since, 0)
            self.tell(PhaseFinished("memory", self.phases["memory"], 0))
            return remembering.Left()
        found = remembering.observable({self._key(one): one for one in passages}, written)
        conclusion = remembering.Conclusion(
            request=str(self.board.id),
            question=self.asked.text,
            text=written.text,
            confidence=written.confidence,
            agent=self.asked.agent,
            observed=await self._observed(found.passages),
            against=found.against,
        )
        # session-rule: S001 because what a run leaves in memory is a transaction of its own
        async with self.tools.sessions.begin() as session:
            await self._act(session)
            left = await session.run_sync(remembering.leave, conclusion)
            for key, one in left.promoted.items():
                await self.board.promote(session, key, one.memory)
            ended = self._end("memory", since, len(left.promoted))
            value = {
                **ended,
                "promoted": {key: asdict(one) for key, one in left.promoted.items()},
                "quality": dict(left.quality),
            }
            await self.board.enqueue(session, [noted("memory", value)])
        await self.board.settle()
        self.tell(PhaseFinished("memory", ended["seconds"], len(left.promoted)))
        return left

    async def _observed(self, passages: Mapping[str, Passage]) -> list[remembering.Observed]:
        """Embed what is remembered, and nothing else, before any transaction."""
        texts = [one.text for one in passages.values()]
        try:
            async with asyncio.timeout(self.deadline.left):
                made = await self.tools.memory.prepare_many(texts)
        except TimeoutError:
            made = [finish(draft(text, "", {}), "", _WAITS) for text in texts]
        return [
            remembering.Observed(key, content, one.source, one.confidence)
            for (key, one), content in zip(passages.items(), made, strict=True)
        ]

    async def _answer(
        self, passages: Sequence[Passage], written: Written, left: remembering.Left
    ) -> Answer:
        by_key = {self._key(one): one for one in passages}
        sources = [
            Source(
                number,
                by_key[key].source,
                by_key[key].title,
                by_key[key].text,
                by_key[key].confidence,
                key,
                list(by_key[key].also),
            )
            for number, key in enumerate(written.cited, 1)
        ]
        memories = {m for key in written.cited for m in by_key[key].memories()}
        memories |= {one.memory for one in left.promoted.values()}
        if self.deadline.passed_by:
            left_out = ", ".join(sorted(self.deadline.passed_by))
            seconds = f"{self.asked.budget.seconds:g}"
            self._note(f"The budget of {seconds} seconds ended before: {left_out}.")
        return Answer(
            question=self.asked.text,
            text=written.text,
            sentences=written.said,
            sources=sources,
            contradictions=written.opposed,
            remembered=list(left.promoted.values()),
            confidence=written.confidence,
            quality=dict(left.quality),
            written_by=self.written_by,
            notes=list(self.notes),
            board=str(self.board.id),
            phases=dict(self.phases),
            memories=sorted(memories),
            recomputed=self.recomputed,
            complete=not self.failed and not self.deadline.passed_by,
        )
