-- Jobs as a file: the JSON document that describes jobs and the policies of their paths. These functions read it.

-- Levenshtein's distance of two words.
CREATE FUNCTION wee5_cron.edit_distance(a text, b text) RETURNS int
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  above int[] := ARRAY(SELECT generate_series(0, length(b)));
  current int[];
BEGIN
  FOR i IN 1 .. length(a) LOOP
    current := array[i];
    FOR j IN 1 .. length(b) LOOP
      current := current || least(above[j + 1] + 1, current[j] + 1,
                                  above[j] + CASE WHEN substr(a, i, 1) = substr(b, j, 1) THEN 0 ELSE 1 END);
    END LOOP;
    above := current;
  END LOOP;
  RETURN above[length(b) + 1];
END
$$;
COMMENT ON FUNCTION wee5_cron.edit_distance(text, text) IS
  'Internal, for plan() and apply(): how many letters must change to make one word the other';

-- Where a value stands in the document: jobs.nightly.timeout, or jobs."my job".timeout.
CREATE FUNCTION wee5_cron.config_place(VARIADIC keys text[]) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT string_agg(CASE WHEN k.key ~ '^[A-Za-z0-9_@-]+$' THEN k.key ELSE to_json(left(k.key, 255))::text END, '.' ORDER BY k.place)
    FROM unnest(keys) WITH ORDINALITY AS k (key, place)
  $$;
COMMENT ON FUNCTION wee5_cron.config_place(text[]) IS 'Internal, for the errors of plan() and apply(): the place of a value in the document';

CREATE FUNCTION wee5_cron.refuse_config(message text, advice text) RETURNS void
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = message, HINT = advice;
END
$$;
COMMENT ON FUNCTION wee5_cron.refuse_config(text, text) IS 'Internal, for plan() and apply(): raises the error of a document';

CREATE FUNCTION wee5_cron.refuse_unknown_keys(object jsonb, place text[], known text[]) RETURNS void
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  unknown constant text := (SELECT min(k.key COLLATE "C") FROM jsonb_object_keys(object) k (key) WHERE k.key <> ALL (known));
  word constant text := left(lower(unknown), 64);
BEGIN
  IF unknown IS NOT NULL THEN
    PERFORM wee5_cron.refuse_config(
      format('unknown key %s', wee5_cron.config_place(VARIADIC place || unknown)),
      format('Did you mean "%s"? Known keys: %s.',
             (SELECT k.key FROM unnest(known) WITH ORDINALITY AS k (key, place)
              ORDER BY strpos(word, k.key) = 0, wee5_cron.edit_distance(word, k.key), k.place LIMIT 1),
             array_to_string(known, ', ')));
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.refuse_unknown_keys(jsonb, text[], text[]) IS
  'Internal, for plan() and apply(): raises an error that names an unknown key and the known key nearest to it';

-- Each column of the table is a key, also one that you added. json_type: what the value must be in JSON; NULL: anything.
CREATE FUNCTION wee5_cron.policy_keys(OUT key text, OUT json_type text, OUT expected text) RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN QUERY
    SELECT a.attname::text, t.json_type, t.expected
    FROM pg_attribute a
    LEFT JOIN (VALUES
      ('text', 'string', 'a string'), ('int4', 'number', 'a whole number'), ('bool', 'boolean', 'true or false'),
      ('interval', 'string', 'an interval, such as "90 seconds"'),
      ('_interval', 'array', 'an array of intervals, such as ["10s", "1min"]')) AS t (type, json_type, expected)
      ON to_regtype('pg_catalog.' || t.type) = a.atttypid
    WHERE a.attrelid = 'wee5_cron.endpoint'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'endpoint_path'
    ORDER BY a.attnum;
END
$$;
COMMENT ON FUNCTION wee5_cron.policy_keys() IS 'Internal, for jobs as a file: the keys of a job that are columns of wee5_cron.endpoint';

-- NULL: the key is missing or null.
CREATE FUNCTION wee5_cron.config_value(place text[], value jsonb, json_type text, expected text) RETURNS jsonb
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF jsonb_typeof(value) NOT IN ('null', json_type)
     OR json_type = 'array' AND jsonb_path_exists(value, '$[*] ? (@.type() != "string")') THEN
    PERFORM wee5_cron.refuse_config_value(place, value, expected);
  END IF;
  RETURN nullif(value, 'null');
END
$$;
COMMENT ON FUNCTION wee5_cron.config_value(text[], jsonb, text, text) IS 'Internal, for plan() and apply(): a value of the document, if it has the right type';

CREATE FUNCTION wee5_cron.refuse_config_value(place text[], value jsonb, expected text) RETURNS void
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT wee5_cron.refuse_config(
      format('invalid value of %s: %s', wee5_cron.config_place(VARIADIC place), left(value::text, 100)), format('Give %s.', expected))
  $$;
COMMENT ON FUNCTION wee5_cron.refuse_config_value(text[], jsonb, text) IS
  'Internal, for plan() and apply(): raises an error that names a place of the document, and the value there';

-- A key that is missing or null means the default.
CREATE FUNCTION wee5_cron.config_policy(job_name text, settings jsonb) RETURNS wee5_cron.endpoint
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  policy wee5_cron.endpoint;
  known record;
  value jsonb;
  advice text;
BEGIN
  FOR known IN SELECT * FROM wee5_cron.policy_keys() k WHERE settings ? k.key LOOP
    value := wee5_cron.config_value(array['jobs', $1, known.key], settings->known.key, known.json_type, known.expected);
    CONTINUE WHEN value IS NULL;
    BEGIN
      policy := jsonb_populate_record(policy, jsonb_build_object(known.key, value));
    EXCEPTION WHEN data_exception THEN
      PERFORM wee5_cron.refuse_config_value(array['jobs', $1, known.key], value, coalesce(known.expected, 'another value'));
    END;
  END LOOP;
  policy.endpoint_path := settings->>'path';
  policy.method := upper(policy.method COLLATE "C");
  PERFORM wee5_cron.check_policy(policy);
  RETURN policy;
EXCEPTION WHEN data_exception OR feature_not_supported OR program_limit_exceeded THEN
  GET STACKED DIAGNOSTICS advice = PG_EXCEPTION_HINT;
  RAISE EXCEPTION USING ERRCODE = SQLSTATE, HINT = coalesce(nullif(advice, ''), 'Correct the configuration.'),
    -- Errors about one value name its place already.
    MESSAGE = CASE WHEN SQLERRM ~ '^invalid value of ' THEN '' ELSE wee5_cron.config_place('jobs', $1) || ': ' END || SQLERRM;
END
$$;
COMMENT ON FUNCTION wee5_cron.config_policy(text, jsonb) IS
  'Internal, for plan() and apply(): the policy that a job of the document gives its path';

CREATE FUNCTION wee5_cron.config_schedule(job_name text, value jsonb) RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  place constant text[] := array['jobs', job_name, 'schedule'];
  schedule constant text := wee5_cron.config_value(place, value, 'string', 'a string such as "15 3 * * *"') #>> '{}';
BEGIN
  IF schedule IS NULL THEN
    PERFORM wee5_cron.refuse_config(wee5_cron.config_place(VARIADIC place) || ' is missing',
                                    'Each job needs a schedule, such as "15 3 * * *", and a path.');
  ELSIF NOT (wee5_cron.read_schedule(schedule)).readable THEN
    PERFORM wee5_cron.refuse_config_value(
      place, value, 'five fields: minute, hour, day of month, month, day of week. "15 3 * * *" is 3:15 every day');
  END IF;
  RETURN schedule;
END
$$;
COMMENT ON FUNCTION wee5_cron.config_schedule(text, jsonb) IS 'Internal, for plan() and apply(): the schedule of a job of the document';

-- One job of the document. active is NULL if the document leaves it as it is.
CREATE FUNCTION wee5_cron.config_job(job_name text, settings jsonb, OUT schedule text, OUT active boolean, OUT catch_up text,
                                     OUT policy wee5_cron.endpoint)
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  place constant text[] := array['jobs', $1];
BEGIN
  IF $1 = '' OR octet_length($1) > 63 THEN
    PERFORM wee5_cron.refuse_config(format('invalid job name %s', wee5_cron.config_place(VARIADIC place)),
                                    'Give a name of 1 to 63 bytes.');
  ELSIF jsonb_typeof(settings) <> 'object' THEN
    PERFORM wee5_cron.refuse_config_value(place, settings, 'an object, such as {"schedule": "15 3 * * *", "path": "/api/reports/nightly"}');
  END IF;
  PERFORM wee5_cron.refuse_unknown_keys(
    settings, place, array['schedule', 'path', 'active', 'catch_up'] || ARRAY(SELECT k.key FROM wee5_cron.policy_keys() k));
  schedule := wee5_cron.config_schedule($1, settings->'schedule');
  IF wee5_cron.config_value(place || 'path'::text, settings->'path', 'string', 'a string such as "/api/reports/nightly"') IS NULL THEN
    PERFORM wee5_cron.refuse_config(wee5_cron.config_place(VARIADIC place || 'path'::text) || ' is missing',
                                    'Each job needs a schedule and a path, such as "/api/reports/nightly".');
  END IF;
  active := wee5_cron.config_value(place || 'active'::text, settings->'active', 'boolean', 'true or false')::boolean;
  catch_up := wee5_cron.config_value(place || 'catch_up'::text, settings->'catch_up', 'string', '"once" or "none"') #>> '{}';
  IF catch_up NOT IN ('once', 'none') THEN
    PERFORM wee5_cron.refuse_config_value(place || 'catch_up'::text, settings->'catch_up', '"once" or "none"');
  END IF;
  policy := wee5_cron.config_policy($1, settings);
END
$$;
COMMENT ON FUNCTION wee5_cron.config_job(text, jsonb) IS 'Internal, for plan() and apply(): one job of the document, checked';

-- A key is compared by its type: 60 minutes are 1 hour. You may have added a column, or altered one, to a type that has no
-- equality, such as json. So other types are compared as what they are in a document. Most policies are the same, byte by byte.
CREATE FUNCTION wee5_cron.policy_changes(before wee5_cron.endpoint, after wee5_cron.endpoint,
                                         OUT key text, OUT old_value text, OUT new_value text) RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  before.endpoint_path := after.endpoint_path;
  IF before *= after THEN
    RETURN;
  END IF;
  RETURN QUERY EXECUTE (
    SELECT format('SELECT v.key, v.old_value, v.new_value FROM (VALUES %s) AS v (key, old_value, new_value, changed) WHERE v.changed',
                  string_agg(format(CASE WHEN k.json_type IS NULL
                                         THEN '(%L, ($1).%2$I::text, ($2).%2$I::text, to_jsonb(($1).%2$I) IS DISTINCT FROM to_jsonb(($2).%2$I))'
                                         ELSE '(%L, ($1).%2$I::text, ($2).%2$I::text, ($1).%2$I IS DISTINCT FROM ($2).%2$I)' END,
                                    k.key, k.key), ', '))
    FROM wee5_cron.policy_keys() k) USING before, after;
END
$$;
COMMENT ON FUNCTION wee5_cron.policy_changes(wee5_cron.endpoint, wee5_cron.endpoint) IS
  'Internal, for plan() and apply(): in which keys two policies differ';

CREATE FUNCTION wee5_cron.config_jobs(config jsonb, OUT job_name text, OUT schedule text, OUT active boolean, OUT catch_up text,
                                      OUT policy wee5_cron.endpoint) RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE ROWS 50 SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  advice constant text := 'Give {"jobs": {"nightly-report": {"schedule": "15 3 * * *", "path": "/api/reports/nightly"}}}.';
BEGIN
  IF config IS NULL THEN
    RAISE EXCEPTION 'config must not be NULL' USING ERRCODE = 'null_value_not_allowed', HINT = advice;
  ELSIF jsonb_typeof(config) <> 'object' THEN
    PERFORM wee5_cron.refuse_config(format('invalid config: %s', left(config::text, 100)), advice);
  END IF;
  PERFORM wee5_cron.refuse_unknown_keys(config, '{}', '{jobs}');
  IF NOT config ? 'jobs' THEN
    PERFORM wee5_cron.refuse_config('jobs is missing', advice);
  ELSIF jsonb_typeof(config->'jobs') <> 'object' THEN
    PERFORM wee5_cron.refuse_config_value('{jobs}', config->'jobs', 'an object with a key for each job');
  END IF;
  RETURN QUERY
    SELECT j.key, c.schedule, c.active, c.catch_up, c.policy
    FROM jsonb_each(config->'jobs') j CROSS JOIN LATERAL wee5_cron.config_job(j.key, j.value) c
    ORDER BY j.key COLLATE "C";
END
$$;
COMMENT ON FUNCTION wee5_cron.config_jobs(jsonb) IS 'Internal, for plan() and apply(): the jobs of the document, checked one by one';

-- The policy belongs to the path.
CREATE FUNCTION wee5_cron.check_shared_paths(config jsonb) RETURNS void
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  conflict record;
BEGIN
  WITH job AS MATERIALIZED (
    SELECT c.job_name, c.policy, (c.policy).endpoint_path,
           first_value(c.job_name) OVER same AS first_name, first_value(c.policy) OVER same AS first_policy
    FROM wee5_cron.config_jobs(config) c
    WINDOW same AS (PARTITION BY (c.policy).endpoint_path ORDER BY c.job_name COLLATE "C")
  )
  SELECT j.first_name, j.job_name, j.endpoint_path, d.key INTO conflict
  FROM job j CROSS JOIN LATERAL wee5_cron.policy_changes(j.first_policy, j.policy) d
  WHERE j.job_name <> j.first_name LIMIT 1;
  IF FOUND THEN
    PERFORM wee5_cron.refuse_config(
      format('jobs "%s" and "%s" call the same path "%s" and differ in %s', conflict.first_name, conflict.job_name,
             left(conflict.endpoint_path, 100), conflict.key),
      format('A path has one policy. Give both jobs the same value, or give their paths different queries, such as "%s".',
             left(conflict.endpoint_path, 100) || CASE strpos(conflict.endpoint_path, '?') WHEN 0 THEN '?' ELSE '&' END || 'job=2'));
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.check_shared_paths(jsonb) IS
  'Internal, for plan() and apply(): raises an error if two jobs of the document give one path different policies';
