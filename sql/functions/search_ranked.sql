{# A ranking by words with the expressions of each term, where the statement has marks. #}
create function {{ function }}(statement text, terms tsquery[])
returns text
language sql immutable parallel safe
{% for name, value in settings %}
set {{ name }} = {{ value }}
{% endfor %}
as $function$
    select replace(replace(replace(replace(statement,
        {{ ranks }}, coalesce(string_agg(format({{ rank }}, number), ', ' order by number), '0')),
        {{ addends }}, coalesce(string_agg(format({{ addend }}, number), ' + ' order by number), '0')),
        {{ frequencies }}, coalesce(string_agg(format({{ frequency }}, number), ', ' order by number), '0')),
        {{ scores }}, coalesce(string_agg(format(
            case when term::text like '%:*' then {{ code }} else {{ word }} end, number
        ), ' + ' order by number), '0'))
    from unnest(terms) with ordinality as sought(term, number)
$function$
