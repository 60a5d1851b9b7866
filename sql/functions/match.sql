{# The rows that match a text best by BM25: all its words, or any where no row has all. #}
create function {{ function }}(query text, k integer default 10
{%- for name in owner %}, of_{{ name }} text default null{% endfor %}
{%- for name in table.filters %}, {{ name }}_contains jsonb default null{% endfor %})
returns table ({{ key_types }}, rank double precision
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
begin
    if k is null or k < 1 or k > {{ most_hits }} then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('M573 {{ name }}: k is %s. Fix: ask for 1 to {{ most_hits }} rows', coalesce(k::text, 'NULL'));
    end if;
    if btrim(coalesce(query, '')) = '' then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('M574 {{ name }}: an empty query. Fix: pass words');
    end if;
    words := {{ schema }}.search_query(query, true);
    asked := {{ schema }}.search_query(query, false);
    if numnode(asked) = 0 then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('M574 {{ name }}: %L holds no word to search for. Fix: pass words that are no stop words', query);
    end if;
{% include "parts/corpus.jinja" %}
{% include "parts/all_words.jinja" %}
{% include "parts/rare_words.jinja" %}
    return query execute {{ schema }}.search_ranked({{ matching }}, terms)
        using words, ranking, terms, documents, mean_words, frequencies, k{% for name in filter_arguments %}, {{ name }}{% endfor +%};
end
$function$
