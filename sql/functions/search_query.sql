{# What a text asks for: its words by English stems, its codes as they are. #}
create function {{ function }}(query text, strict boolean)
returns tsquery
language plpgsql immutable parallel safe
{% for name, value in settings %}
set {{ name }} = {{ value }}
{% endfor %}
as $function$
declare
    sought tsquery;
    rest text := pg_catalog.left(query, 10000);
    found text[];
    part tsquery;
begin
    for found in select f from pg_catalog.regexp_matches(
        rest, '(?:^|[^A-Za-z0-9_.])(-?)([A-Za-z0-9]+(?:[-_.][A-Za-z0-9]+)+)', 'g') as f
    loop
        continue when found[2] !~ '[0-9]' or pg_catalog.length(found[2]) > 100;
        rest := pg_catalog.replace(rest, found[1] || found[2], ' ');
        part := ('''' || pg_catalog.lower(found[2] collate "C") || ''''
            || case when strict then '' else ':*' end)::tsquery;
        if found[1] = '-' then
            part := !! part;
        end if;
        sought := case when sought is null then part
            when strict or found[1] = '-' then sought && part else sought || part end;
    end loop;
    if strict then
        part := pg_catalog.websearch_to_tsquery('pg_catalog.english', rest);
        return case when sought is null then part
            when pg_catalog.numnode(part) = 0 then sought else sought && part end;
    end if;
    select pg_catalog.string_agg('''' || pg_catalog.replace(
            pg_catalog.replace(lexeme, '\', '\\'), '''', '''''') || '''', ' | ')::tsquery
        into part
        from pg_catalog.unnest(pg_catalog.to_tsvector('pg_catalog.english', rest));
    return coalesce(case when sought is null or part is null then coalesce(sought, part)
        else sought || part end, ''::tsquery);
end
$function$
