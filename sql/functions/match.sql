{# The rows that match a text best: all its words, or any where no row has all. #}
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
declare
    words tsquery;
    ranking tsquery;
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
    ranking := {{ schema }}.search_query(query, false);
    if numnode(words) = 0 or not exists (select from {{ relation }} as held
        where held.search_text @@ words{{ condition }}{{ filters }}) then
        words := ranking;
    end if;
    if numnode(words) = 0 then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('M574 {{ name }}: %L holds no word to search for. Fix: pass words that are no stop words', query);
    end if;
    return query execute {{ matching }}
        using words, ranking, k{% for name in filter_arguments %}, {{ name }}{% endfor +%};
end
$function$
