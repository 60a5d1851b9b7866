"""The statement of a recall: candidates of each list, their neighbours and links, one score.

The corpus of BM25 is every memory of the spaces that are searched, whether or not it ended and
whatever the filters: their number and mean length are of ``word_counts``, document frequencies of
``postings``. So a filter changes which memories are found, and not how words weigh.

Rows that ended, or that a filter leaves out, are left out before each list is cut to its
candidates. Every subquery that must be evaluated in its order has ``offset 0``, which keeps the
planner from moving it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from psycopg import sql

from memos_assets.memory.moments import NOW, belief, state_of, time_condition
from memos_assets.postgres.schema import agent
from memos_assets.postgres.vector_names import VectorName
from memos_assets.search import bm25
from memos_assets.search.fusion import NEIGHBOUR_STEPS

#: Memories are short, so their length says less about how much a word counts than in documents:
#: recall@10 on LoCoMo rises by .010 and MRR by .018 over `bm25.B`.
B: Final = 0.4
_ALL_SPACES = sql.SQL("%(spaces)s::bigint[]")


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides on the text of a statement; values are bound.

    Attributes:
        model: id of the model whose embeddings are searched; None: words alone.
        as_of, known_at: whether a moment is given.
        filters: names among ``kinds``, ``subject``, ``source`` that are given.
        candidates: of each list. In the text, so that PostgreSQL knows that there are few.
        most_postings: of a query that are scored at once; of more, the commonest words are added
            for the memories that can be among the best.
    """

    model: int | None
    as_of: bool
    known_at: bool
    filters: frozenset[str]
    candidates: int
    most_postings: int

    @property
    def at(self) -> sql.Composable:
        """The moment at which a memory has to be true."""
        if self.as_of:
            return sql.SQL("%(as_of)s::timestamptz")
        return sql.SQL("%(known_at)s::timestamptz") if self.known_at else NOW

    def visible(self, memory: str, *, beside: str | None = None) -> sql.Composed:
        """Return the conditions of a memory: in these spaces, true then, not left out.

        Args:
            memory: its alias.
            beside: alias of a row in whose space it is; None: in any of the spaces. A condition on
                both would have PostgreSQL take the space for one of very few rows.
        """
        alias = sql.SQL(memory)
        time = time_condition(
            alias,
            as_of=sql.SQL("%(as_of)s::timestamptz") if self.as_of else None,
            known_at=sql.SQL("%(known_at)s::timestamptz") if self.known_at else None,
        )
        here = sql.SQL("{m}.space_id = any({s})").format(m=alias, s=_ALL_SPACES)
        if beside is not None:
            here = sql.SQL("{}.space_id = {}.space_id").format(alias, sql.SQL(beside))
        parts: list[sql.Composable] = [here, sql.SQL(" and "), time]
        if "kinds" in self.filters:
            parts.append(sql.SQL(" and {}.kind = any(%(kinds)s::text[])").format(alias))
        parts += [
            sql.SQL(f" and {memory}.{name} = %({name})s::text")
            for name in ("subject", "source")
            if name in self.filters
        ]
        return sql.Composed(parts)

    def passes(self, candidate: str) -> sql.Composed:
        """Return a lateral join that leaves a candidate out unless its memory is visible."""
        return sql.SQL(
            "cross join lateral (select from agent.memories m where m.number = {c}.memory "
            "and {visible} offset 0) as visible"
        ).format(c=sql.SQL(candidate), visible=self.visible("m"))

    @property
    def chosen(self) -> bool:
        """Whether few memories may be found, which are then looked up first."""
        return bool(self.filters & {"subject", "source"})


#: Name -> query. The words of the query, weighed; memories that have one of them, scored.
_WORDS: Final = """
requested as materialized (
    select lexeme from unnest({query_lexemes}) as q(lexeme)
), corpus as materialized (
    select sum(memories)::float8 as documents,
        sum(words)::float8 / nullif(sum(memories), 0)::float8 as mean_words
    from agent.word_counts where space_id = any({spaces})
), frequency as materialized (
    select r.lexeme, f.documents as frequency
    from requested r cross join lateral (
        select count(*) as documents from agent.postings p
        where p.space_id = any({spaces}) and p.lexeme = r.lexeme offset 0
    ) as f where f.documents > 0
), weight as materialized (
    select f.lexeme, {idf} as idf, sum({idf}) over () as total,
        sum(f.frequency) over rarest <= {most_postings} or row_number() over rarest = 1 as rare
    from frequency f cross join corpus
    window rarest as (order by f.frequency, f.lexeme)
), common as materialized (
    select lexeme, idf from weight where not rare
), rare as materialized (
    select p.memory, sum(w.idf * {saturation}) as score
    from weight w cross join corpus cross join lateral (
        select p.memory, p.count, p.words from agent.postings p
        where p.space_id = any({spaces}) and p.lexeme = w.lexeme offset 0
    ) as p where w.rare group by p.memory
), bounds as materialized (
    select coalesce(max(w.total), 1) as total,
        coalesce(sum(w.idf) filter (where not w.rare), 0) * {most_saturation}::float8 as common,
        case when exists (select from common) then (
            select min(b.score) from (
                select s.score from (
                    select r.memory, r.score from {rare_chosen} r order by 2 desc, 1 offset 0
                ) as s {passes} limit %(k)s
            ) as b having count(*) = %(k)s
        ) end as enough
    from weight w
), by_words as materialized (
    select s.memory from (
        select r.memory, r.score + {common_score} as score
        from {rare_chosen} r cross join bounds
        where bounds.common = 0
            or bounds.enough >= bounds.common and r.score >= bounds.enough - bounds.common - 1e-9
        order by 2 desc, 1 offset 0
    ) as s {passes} limit {candidates}
), by_common_words as materialized (
    select s.memory from (
        select p.memory, sum(w.idf * {saturation}) as score
        from weight w cross join corpus cross join lateral (
            select p.memory, p.count, p.words from agent.postings p
            where p.space_id = any({spaces}) and p.lexeme = w.lexeme offset 0
        ) as p
        where (select common > 0 and (enough is null or enough < common) from bounds)
            {common_chosen}
        group by p.memory order by 2 desc, 1 offset 0
    ) as s {passes} limit {candidates}
)"""

_COMMON_SCORE: Final = """case when bounds.common > 0 then coalesce((
    select sum(w.idf * {saturation})
    from common w cross join corpus cross join lateral (
        select p.count, p.words from agent.postings p
        where p.space_id = any({spaces}) and p.lexeme = w.lexeme and p.memory = {memory} offset 0
    ) as p
), 0) else 0 end"""

_EXACT: Final = """
by_meaning as materialized (
    select memory from (
        select s.memory, s.distance from (
            select e.memory, e.embedding {cosine} {query} as distance
            from unnest({spaces}, %(after)s::bigint[]) as x(space_id, bound) cross join lateral (
                -- One space after the other: how many there are is not known when this is planned.
                select e.memory, e.part, e.closed_at, e.embedding from {embeddings} e
                where e.space_id = x.space_id and e.memory > x.bound offset 0
            ) as e {chosen} where e.part >= 0 and {open}
            order by 2, 1 offset 0
        ) as s {passes} limit {candidates} * 2
    ) as part group by memory order by min(distance), memory limit {candidates}
)"""

_BY_INDEX: Final = """(
    select e.memory from {embeddings} e
    where e.space_id = {space} and e.memory <= {bound} and e.part >= 0 and {open}
        and exists (
            select from agent.memories m where m.number = e.memory and {visible} offset 0
        )
    order by e.embedding {cosine} {query} limit {candidates}
)"""

_FINAL: Final = """
pool as materialized (
    select c.memory, m.space_id, m.source
    from (select memory from ({lists}) as l group by memory) as c cross join lateral (
        select m.space_id, m.source from agent.memories m where m.number = c.memory offset 0
    ) as m
), beside as materialized (
    select p.memory, n.number as other, n.place from pool p cross join lateral (
        (select number, row_number() over (order by number desc) as place from (
            select m.number from agent.memories m
            where m.source = p.source and m.number < p.memory and {neighbour}
            order by m.number desc limit {steps}) as former)
        union all
        (select number, row_number() over (order by number) as place from (
            select m.number from agent.memories m
            where m.source = p.source and m.number > p.memory and {neighbour}
            order by m.number limit {steps}) as later)
    ) as n
    where %(neighbours)s::float8 > 0 and not starts_with(p.source, 'user:')
), linked as materialized (
    select p.memory, l.other, l.weight, l.link from pool p cross join lateral (
        select l.b as other, l.weight, l.type as link from agent.links l
        where l.a = p.memory and l.type <> 'contradicts'
        union all
        select l.a, l.weight, l.type from agent.links l
        where l.b = p.memory and l.type <> 'contradicts'
        order by 2 desc limit {most_links}
    ) as l where %(links)s::float8 > 0
), expanded as materialized (
    select memory from pool union select other from beside union
    select l.other from (select other as memory, other from linked offset 0) as l {passes}
), own as materialized (
    select x.memory, f.meaning, f.words,
        %(meaning)s::float8 * coalesce(f.meaning - %(unrelated)s::float8, 0)
            + %(words)s::float8 * f.words as score
    from expanded x left join rare r using (memory) cross join bounds cross join lateral (
        select {meaning} as meaning, (coalesce(r.score, 0) + {common_score}) / bounds.total as words
        offset 0
    ) as f
), near as (
    -- Of both ends: what is beside a candidate has the candidate beside it.
    select memory, sum(score * share) as score from (
        select distinct pair.memory, pair.other, pair.share, o.score from (
            select memory, other, {share} as share from beside
            union all select other, memory, {share} from beside
        ) as pair join own o on o.memory = pair.other
    ) as shared group by memory
), along as (
    select distinct on (memory) memory, score, via from (
        select pair.memory, pair.other as via, pair.weight * o.score as score from (
            select memory, other, weight from linked
            union all select other, memory, weight from linked
        ) as pair join own o on o.memory = pair.other where o.score > 0
    ) as shared order by memory, score desc, via
)
select m.id, m.number, m.content, m.kind, s.name as space, s.private, {state} as state,
    m.subject, m.attribute, m.source, {valid_from}, {valid_until}, m.recorded_at, m.confidence,
    m.trust, t.score, t.meaning, t.words, t.neighbours, t.links, v.id as via
from (
    select o.memory, o.meaning, o.words,
        %(neighbours)s::float8 * coalesce(n.score, 0) as neighbours,
        %(links)s::float8 * coalesce(a.score, 0) as links, a.via,
        o.score + %(neighbours)s::float8 * coalesce(n.score, 0)
            + %(links)s::float8 * coalesce(a.score, 0) as score
    from own o left join near n using (memory) left join along a using (memory)
    order by score desc, o.memory limit %(k)s
) as t join agent.memories m on m.number = t.memory join agent.spaces s on s.id = m.space_id
    left join agent.memories v on v.number = t.via {belief}
order by t.score desc, m.number"""

#: Links of one candidate that are followed.
FOLLOWED_LINKS: Final = 20


def statement(shape: Shape) -> sql.Composed:
    """Return the statement of a recall.

    Bind ``text``, ``spaces``, ``k``, the weights ``meaning``, ``words``, ``neighbours``, ``links``,
    ``unrelated``, what the shape names, and where there is a model ``embedding`` (a halfvec, or its
    text form), ``near`` (numbers that indexes found) and ``after`` (of each space the highest
    number that its index has, 0 without one).
    """
    parts = [_words(shape)]
    lists = ["by_words", "by_common_words"]
    if shape.model is not None:
        parts.append(_meaning(shape))
        lists += ["by_meaning", "found"]
    if shape.chosen:
        parts.insert(
            0,
            sql.SQL(
                "\nchosen as materialized (select m.number as memory from agent.memories m "
                "where {})"
            ).format(shape.visible("m")),
        )
    parts.append(_final(shape, lists))
    return sql.SQL("with ") + sql.SQL(", ").join(parts)


def _saturation() -> sql.Composed:
    return bm25.saturation(sql.SQL("p.count"), sql.SQL("p.words"), sql.SQL("corpus.mean_words"), B)


def _common_score(memory: str) -> sql.Composed:
    return sql.SQL(_COMMON_SCORE).format(
        saturation=_saturation(), spaces=_ALL_SPACES, memory=sql.SQL(memory)
    )


def _words(shape: Shape) -> sql.Composed:
    few = sql.SQL("(select r.* from rare r join chosen using (memory))")
    return sql.SQL(_WORDS).format(
        query_lexemes=bm25.query_lexemes(sql.SQL("%(text)s::text")),
        spaces=_ALL_SPACES,
        idf=bm25.idf(sql.SQL("corpus.documents"), sql.SQL("f.frequency")),
        saturation=_saturation(),
        most_saturation=sql.Literal(bm25.K1 + 1),
        most_postings=sql.Literal(shape.most_postings),
        rare_chosen=few if shape.chosen else sql.SQL("rare"),
        common_score=_common_score("r.memory"),
        common_chosen=sql.SQL(
            "and p.memory in (select memory from chosen)" if shape.chosen else ""
        ),
        passes=shape.passes("s"),
        candidates=sql.Literal(shape.candidates),
    )


def _query() -> sql.Composed:
    return sql.SQL("%(embedding)s::{}").format(VectorName("halfvec"))


def _embeddings(shape: Shape) -> sql.Identifier:
    return sql.Identifier(agent.AGENT_SCHEMA, f"{agent.EMBEDDINGS}{shape.model}")


def _open(shape: Shape) -> sql.Composable:
    """Return the condition by which rows that ended are left out without a look at their memory.

    By what was known at another moment they may not have ended.
    """
    if shape.known_at:
        return sql.SQL("true")
    return sql.SQL("(e.closed_at is null or e.closed_at > {})").format(shape.at)


def _meaning(shape: Shape) -> sql.Composed:
    found = "\nfound(memory) as materialized (select unnest(%(near)s::bigint[])), {}"
    return sql.SQL(found).format(
        sql.SQL(_EXACT).format(
            cosine=VectorName("<=>"),
            query=_query(),
            spaces=_ALL_SPACES,
            embeddings=_embeddings(shape),
            chosen=sql.SQL("join chosen using (memory)" if shape.chosen else ""),
            open=_open(shape),
            passes=shape.passes("s"),
            candidates=sql.Literal(shape.candidates),
        )
    )


def by_index(shape: Shape, indexed: tuple[tuple[int, int], ...]) -> sql.Composed:
    """Return the statement that asks the indexes of spaces for the nearest memories.

    It is not part of `statement`: its plan must use these indexes, whatever PostgreSQL expects.

    Args:
        shape: with a model. Bind ``spaces``, ``embedding``, and what the shape names.
        indexed: space, and the highest number in its index.
    """
    return sql.SQL(" union all ").join(
        sql.SQL(_BY_INDEX).format(
            embeddings=_embeddings(shape),
            space=sql.Literal(space),
            bound=sql.Literal(bound),
            open=_open(shape),
            visible=shape.visible("m"),
            cosine=VectorName("<=>"),
            query=_query(),
            candidates=sql.Literal(shape.candidates),
        )
        for space, bound in indexed
    )


def _final(shape: Shape, lists: Sequence[str]) -> sql.Composed:
    meaning: sql.Composable = sql.SQL("null::float8")
    if shape.model is not None:
        meaning = sql.SQL(
            "(select 1 - min(e.embedding {cosine} {query}) from {embeddings} e "
            "where e.memory = x.memory and e.part >= 0)"
        ).format(cosine=VectorName("<=>"), query=_query(), embeddings=_embeddings(shape))
    known = sql.SQL("%(known_at)s::timestamptz")
    of_belief = sql.SQL("b." if shape.known_at else "m.")
    retracted = "b.retracted" if shape.known_at else "m.retracted_at is not null"
    shares = sql.SQL(" ").join(
        sql.SQL("when {} then {}::float8").format(sql.Literal(place), sql.Literal(share))
        for place, share in enumerate(NEIGHBOUR_STEPS, 1)
    )
    return sql.SQL(_FINAL).format(
        lists=sql.SQL(" union all ").join(
            sql.SQL("select memory from {}").format(sql.Identifier(name)) for name in lists
        ),
        neighbour=shape.visible("m", beside="p"),
        steps=sql.Literal(len(NEIGHBOUR_STEPS)),
        most_links=sql.Literal(FOLLOWED_LINKS),
        passes=shape.passes("l"),
        meaning=meaning,
        common_score=_common_score("x.memory"),
        share=sql.SQL("case place {} end").format(shares),
        state=state_of(
            sql.SQL(retracted),
            sql.SQL("{}valid_until").format(of_belief),
            known if shape.known_at else NOW,
        ),
        valid_from=of_belief + sql.SQL("valid_from"),
        valid_until=of_belief + sql.SQL("valid_until"),
        belief=sql.SQL("left join lateral ({}) as b on true").format(belief(sql.SQL("m"), known))
        if shape.known_at
        else sql.SQL(""),
    )
