"""BM25 over PostgreSQL's lexemes, as expressions that any statement can use.

The corpus is what a search is about (the rows of one owner, of some spaces, of a table), so the
inverse document frequency (IDF) is of that corpus. Document frequencies, the number of documents
and their mean length are the caller's; nothing here reads a table.

    idf    = ln(1 + (N - df + 0.5) / (df + 0.5))
    weight = idf * count * (k1 + 1) / (count + k1 * (1 - b + b * words / mean words))

Source: Robertson and Zaragoza, The Probabilistic Relevance Framework (2009); the IDF is the one of
Lucene, which is never negative.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Final

from psycopg import sql

#: How soon more occurrences of a word stop to count.
K1: Final = 1.2
#: How much the length of a document counts against it; 0: not at all.
B: Final = 0.75
#: Of PostgreSQL's text search; with its schema, because ``search_path`` is of the caller.
CONFIGURATION: Final = "pg_catalog.english"
#: A tsvector has at most 1 MB; longer texts are read in pieces of so many characters.
PIECE: Final = 100_000
#: ``count`` is a smallint.
MOST_OCCURRENCES: Final = 32_767


def _configuration() -> sql.Composed:
    return sql.SQL("{}::pg_catalog.regconfig").format(sql.Literal(CONFIGURATION))


def lexemes_of(text: sql.Composable) -> sql.Composed:
    """Return a query of the lexemes of a text: ``lexeme`` (text), ``count`` (smallint).

    Stop words are left out. Use it as a lateral subquery:
    ``... from t cross join lateral (<this>) as found``; the length of a document is
    ``sum(count)``. A text of more than `PIECE` characters is read in pieces, so a word at their
    border counts as two.

    Args:
        text: a column or a placeholder, of type text.
    """
    return sql.SQL(
        "select piece_word.lexeme, least(sum(pg_catalog.cardinality(piece_word.positions)), {most})"
        "::smallint as count "
        "from pg_catalog.generate_series(0, (pg_catalog.length({text}) - 1) / {piece}) "
        "as piece(number) "
        "cross join lateral pg_catalog.unnest(pg_catalog.to_tsvector({configuration}, "
        "pg_catalog.substr({text}, piece.number * {piece} + 1, {piece}))) "
        "as piece_word(lexeme, positions, weights) group by piece_word.lexeme"
    ).format(
        most=sql.Literal(MOST_OCCURRENCES),
        text=text,
        piece=sql.Literal(PIECE),
        configuration=_configuration(),
    )


def query_lexemes(text: sql.Composable) -> sql.Composed:
    """Return an expression: the different lexemes of a query, as text[]; empty without any.

    Args:
        text: a column or a placeholder, of type text; at most `PIECE` characters are read.
    """
    return sql.SQL(
        "pg_catalog.tsvector_to_array(pg_catalog.to_tsvector({configuration}, "
        "pg_catalog.left({text}, {piece})))"
    ).format(configuration=_configuration(), text=text, piece=sql.Literal(PIECE))


def idf(documents: sql.Composable, frequency: sql.Composable) -> sql.Composed:
    """Return an expression: the IDF of a lexeme, as double precision, above 0.

    Args:
        documents: of the corpus.
        frequency: documents of the corpus that have the lexeme.
    """
    return sql.SQL(
        "pg_catalog.ln(1 + (({documents})::float8 - {frequency} + 0.5::float8) "
        "/ ({frequency} + 0.5::float8))"
    ).format(documents=documents, frequency=frequency)


def half_point(words: sql.Composable, mean_words: sql.Composable, b: float = B) -> sql.Composed:
    """Return an expression: occurrences of a lexeme that count half of what any number can.

    ``1 - half / (count + half)``, times `K1` + 1, is `saturation`; half is the same for all lexemes
    of a document.

    Args:
        words: length of the document.
        mean_words: mean length of the documents of the corpus, above 0.
        b: how much the length counts.
    """
    return sql.SQL("{k1}::float8 * ({rest}::float8 + {b}::float8 * {words} / {mean_words})").format(
        words=words,
        mean_words=mean_words,
        k1=sql.Literal(K1),
        rest=sql.Literal(1 - b),
        b=sql.Literal(b),
    )


def saturation(
    count: sql.Composable, words: sql.Composable, mean_words: sql.Composable, b: float = B
) -> sql.Composed:
    """Return an expression: what occurrences of a lexeme in a document count, 0 to k1 + 1.

    The sum of IDF times this over the lexemes of a query is BM25.

    Args:
        count: of the lexeme in the document.
        words: length of the document.
        mean_words: mean length of the documents of the corpus, above 0.
        b: how much the length of a document counts against it.
    """
    return sql.SQL("({count}::float8 * {above}::float8 / ({count} + {half}))").format(
        count=count, above=sql.Literal(K1 + 1), half=half_point(words, mean_words, b)
    )


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents in memory, ranked exactly: the ground truth of statements, and of small corpora.

    Attributes:
        documents: lexeme -> occurrences, of each document.
        b: how much the length of a document counts against it.
    """

    documents: Sequence[Mapping[str, int]]
    b: float = B

    def scores(self, query: Iterable[str]) -> list[float]:
        """Return BM25 of each document for the different lexemes of a query; 0: none in common."""
        frequencies = Counter(lexeme for document in self.documents for lexeme in document)
        lengths = [sum(document.values()) for document in self.documents]
        mean = sum(lengths) / len(lengths) if lengths else 0.0
        known = [(lexeme, frequencies[lexeme]) for lexeme in sorted(set(query))]
        weights = {
            lexeme: log(1 + (len(self.documents) - frequency + 0.5) / (frequency + 0.5))
            for lexeme, frequency in known
            if frequency
        }
        return [
            sum(
                weight
                * document[lexeme]
                * (K1 + 1)
                / (document[lexeme] + K1 * (1 - self.b + self.b * length / mean))
                for lexeme, weight in weights.items()
                if lexeme in document
            )
            for document, length in zip(self.documents, lengths, strict=True)
        ]
