-- Prints src/catalogue.ts: the rows that src/client.ts returns, as the catalogue of a database with wee5_cron describes them, and
-- the functions that it may call through a Data API.
--
--   psql -AtX -f catalogue.sql >src/catalogue.ts
--
-- Every value is read in a form that means the same with each driver: numbers of 64 bits, intervals and JSON as text,
-- times as text in the form of ISO 8601.
WITH relation(place, name, interface, introduction) AS (
  VALUES (1, 'invocation', 'Invocation', 'A row of wee5_cron.invocation: one call, and what became of it.'),
         (2, 'job_status', 'JobStatus', 'A row of wee5_cron.job_status: one job that calls wee5_cron.'),
         (3, 'upcoming', 'Upcoming', 'A row of wee5_cron.upcoming: what is due in the next 24 hours.'),
         (4, 'finding', 'Finding', 'A line of doctor(): one check, and what to do about it.'),
         (5, 'change', 'Change', 'A row of plan() or apply(): one change of a job.')
), field AS (
  SELECT r.place, a.attnum, a.attname::text AS name, t.typname, col_description(a.attrelid, a.attnum) AS comment,
         a.attnotnull OR (r.name = 'finding' AND a.attname <> 'hint') AS always
  FROM relation r
    JOIN pg_class c ON c.relname = r.name AND c.relnamespace = 'wee5_cron'::regnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
  UNION ALL
  SELECT r.place, argument.number, argument.name, t.typname, NULL, true
  FROM relation r
    JOIN pg_proc p ON r.name = 'change' AND p.proname = 'plan' AND p.pronamespace = 'wee5_cron'::regnamespace,
    unnest(p.proallargtypes, p.proargmodes, p.proargnames) WITH ORDINALITY AS argument(type, mode, name, number)
    JOIN pg_type t ON t.oid = argument.type
  WHERE argument.mode = 't'
), typed AS (
  SELECT *, CASE WHEN typname IN ('bool', 'int4') THEN '"' || name || '"'
                 WHEN typname IN ('numeric', 'float4', 'float8') THEN '"' || name || '"::float8'
                 WHEN typname = 'timestamptz' THEN 'to_json("' || name || '") #>> ''{}'''
                 WHEN typname IN ('text', 'name', 'uuid', 'int8', 'interval', 'jsonb') THEN '"' || name || '"::text' END AS expression,
         CASE WHEN typname = 'bool' THEN 'boolean'
              WHEN typname IN ('int4', 'numeric', 'float4', 'float8') THEN 'number'
              WHEN typname = 'timestamptz' THEN 'Date'
              WHEN typname = 'jsonb' THEN 'unknown' ELSE 'string' END AS type
  FROM field
)
SELECT '// Made by catalogue.sql from the catalogue of a database. Do not edit it.
' || string_agg(E'\n' || text, E'\n' ORDER BY place) || '

// The functions that expose_api() creates.
export const exposedFunctions = [
' || (SELECT string_agg('  ''' || name || ''',', E'\n' ORDER BY name COLLATE "C") FROM wee5_cron.api_functions()) || '
] as const;'
FROM (
  SELECT r.place, '// ' || r.introduction || '
export interface ' || r.interface || ' {
' || string_agg(coalesce('  /** ' || replace(f.comment, '*/', '* /') || E' */\n', '') || '  readonly ' || f.name || ': '
       || f.type || CASE WHEN f.always OR f.type = 'unknown' THEN '' ELSE ' | null' END || E';\n', '' ORDER BY f.attnum) || '}

export const ' || lower(left(r.interface, 1)) || substr(r.interface, 2) || 'Columns = `
' || string_agg('  ' || f.expression || ' AS "' || f.name || '"', E',\n' ORDER BY f.attnum) || '`;
export const ' || lower(left(r.interface, 1)) || substr(r.interface, 2) || 'Forms = { '
    || coalesce(string_agg(f.name || ': ' || CASE f.type WHEN 'Date' THEN '''time''' WHEN 'string' THEN '''text''' ELSE '''json''' END, ', ' ORDER BY f.attnum)
                  FILTER (WHERE f.type IN ('Date', 'unknown') OR f.typname = 'int8') || ' ', '') || '} as const;' AS text
  FROM relation r JOIN typed f USING (place)
  GROUP BY r.place, r.interface, r.introduction
) AS part
