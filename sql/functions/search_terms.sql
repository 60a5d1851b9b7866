{# The words of a text with a weight of 1 each, for search by sparse weights. #}
create function {{ function }}(query text)
returns jsonb
language sql immutable parallel safe
{% for name, value in settings %}
set {{ name }} = {{ value }}
{% endfor %}
as $function$
    select coalesce(pg_catalog.jsonb_object_agg(term, 1), '{}') from (
        select distinct pg_catalog.lower(found[1]) as term
        from pg_catalog.regexp_matches(pg_catalog.left(query, 10000), '\w{3,}', 'g') as found
    ) terms
$function$
