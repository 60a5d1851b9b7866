{# The rows nearest to an embedding. The index of its dimension proposes them; see search/queries.py. #}
create function {{ function }}(query {{ pgvector(table.stored) }}, k integer default 10
{%- for name in owner %}, of_{{ name }} text default null{% endfor %}
{%- for name in table.filters %}, {{ name }}_contains jsonb default null{% endfor %})
returns table ({{ key_types }}, distance double precision
{%- if table.texts %}, text text{% endif %}
{%- if table.details %}, metadata jsonb{% endif %})
language plpgsql
{% for name, value in settings %}
set {{ name }} = {{ value }}
{% endfor %}
as $function$
declare
    statement text;
begin
    if k is null or k < 1 or k > {{ most_hits }} then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('M573 {{ name }}: k is %s. Fix: ask for 1 to {{ most_hits }} rows', coalesce(k::text, 'NULL'));
    end if;
    if query is null then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('M572 {{ name }}: no embedding. Fix: pass one');
    end if;
    case {{ pgvector("vector_dims") }}(query)
{% for dimension in table.dimensions %}
    when {{ dimension }} then {{ "" }}
        statement := case when {{ is_filtered }} then
            {{ nearest(dimension, filtered=true) }}
        else
            {{ nearest(dimension, filtered=false) }}
        end;
{% endfor %}
    else
    if true then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('M571 {{ table.name }}: a query of %s elements; its embeddings have {{ dimensions }}. Fix: embed the query with a model that the table''s embeddings are of', {{ pgvector("vector_dims") }}(query));
    end if;
    end case;
    if query {{ pgvector("<#>") }} query = 0 then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('M572 {{ name }}: the embedding is all zeros, which is near to nothing. Fix: embed the query again; memOS stores zeros when that failed');
    end if;
    if k > {{ plenty }} then
        perform set_config('hnsw.ef_search', least(k * 2, {{ most_hits }})::text, true);
    end if;
    return query execute statement using query, k{% for name in filter_arguments %}, {{ name }}{% endfor +%};
end
$function$
