{# The best of full text, embedding and sparse weights, fused by their scores or by reciprocal rank. #}
create function {{ function }}(query text
{%- if table.vector_indexes %}, embedding {{ pgvector(table.stored) }} default null{% endif %}
, k integer default 10
{%- for name in owner %}, of_{{ name }} text default null{% endfor %}
{%- for name in table.filters %}, {{ name }}_contains jsonb default null{% endfor %}
{%- if table.sparse %}, sparse jsonb default null, vocabulary text default 'words'{% endif %}
, fusion text default 'scores')
returns table ({{ key_types }}, score double precision, distance double precision
{%- if table.texts %}, text text{% endif %}
{%- if table.details %}, metadata jsonb{% endif %})
language plpgsql
{% for name, value in settings %}
set {{ name }} = {{ value }}
{% endfor %}
as $function$
#variable_conflict use_column
declare
{% include "parts/variables.jinja" %}
    by_rank boolean := fusion = 'rrf';
    whole tsquery;
    statement text;
begin
    if k is null or k < 1 or k > {{ most_hits }} then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('M573 {{ name }}: k is %s. Fix: ask for 1 to {{ most_hits }} rows', coalesce(k::text, 'NULL'));
    end if;
    if btrim(coalesce(query, '')) = '' then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('M574 {{ name }}: an empty query. Fix: pass words');
    end if;
    if fusion is null or fusion not in ('scores', 'rrf') then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('M590 {{ name }}: fusion is %s. Fix: pass scores or rrf', coalesce(quote_literal(fusion), 'NULL'));
    end if;
    asked := {{ schema }}.search_query(query, false);
{% include "parts/corpus.jinja" %}
    words := asked;
    if query ~ '"|(^|\s)-\S' then
        words := {{ schema }}.search_query(query, true);
{% include "parts/all_words.jinja" %}
    end if;
    whole := words;
{% include "parts/rare_words.jinja" %}
{% if table.sparse %}
    if sparse is null then
        sparse := {{ schema }}.search_terms(query);
        vocabulary := 'words';
    end if;
{% endif %}
{% if table.vector_indexes %}
    if embedding is null then
        statement := {{ fused(none) }};
    else
    case {{ pgvector("vector_dims") }}(embedding)
{% for dimension in table.dimensions %}
    when {{ dimension }} then {{ "" }}
        statement := {{ fused(dimension) }};
{% endfor %}
    else
    if true then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('M571 {{ table.name }}: a query of %s elements; its embeddings have {{ dimensions }}. Fix: embed the query with a model that the table''s embeddings are of', {{ pgvector("vector_dims") }}(embedding));
    end if;
    end case;
    if embedding {{ pgvector("<#>") }} embedding = 0 then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('M572 {{ name }}: the embedding is all zeros, which is near to nothing. Fix: embed the query again; memOS stores zeros when that failed');
    end if;
    end if;
{% else %}

        statement := {{ fused(none) }};
{% endif %}
    return query execute {{ schema }}.search_ranked(statement, terms)
        using words, ranking, terms, documents, mean_words, frequencies, k
{%- for name in filter_arguments %}, {{ name }}{% endfor %}, by_rank, whole
{%- if table.sparse %}, sparse, vocabulary{% endif %}
{%- if table.vector_indexes %}, embedding{% endif +%};
end
$function$
