-- The settings. Only the owner may write them. Settings of a session do not count: any role may SET a name that no library
-- has defined, and could so send the bearer elsewhere.

CREATE TABLE wee5_cron.setting (
  name text PRIMARY KEY,
  value text NOT NULL,
  set_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  set_by name NOT NULL DEFAULT SESSION_USER
);
COMMENT ON TABLE wee5_cron.setting IS 'Settings that differ from their defaults. wee5_cron.set() writes them';
COMMENT ON COLUMN wee5_cron.setting.name IS 'Name of the setting, without wee5_cron.';
COMMENT ON COLUMN wee5_cron.setting.value IS 'Its value, as wee5_cron.setting() returns it';
COMMENT ON COLUMN wee5_cron.setting.set_at IS 'When it was set';
COMMENT ON COLUMN wee5_cron.setting.set_by IS 'session_user who set it';

CREATE FUNCTION wee5_cron.setting_presets() RETURNS jsonb
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN jsonb '{"enabled": "on", "transport": "pg_net", "request_timeout": "30s", "max_response_bytes": "8kB",
                 "max_request_bytes": "1MB", "missing_config": "error", "keep_succeeded": "7d", "keep_failed": "30d",
                 "allow_plain_http": "off", "trace": "on", "alert_url": "", "alert_repeat": "0", "vault_api_url": "api_url",
                 "vault_cron_secret": "cron_secret", "default_jobs": "on", "on_physical_copy": "stop"}';
END
$$;
COMMENT ON FUNCTION wee5_cron.setting_presets() IS 'Internal: the defaults of the settings, by name';

-- kind: bool, enum (one of words), ms or minutes (a time), bytes, rule (for plain http), url, text. lowest and highest are in
-- the unit of the kind.
CREATE FUNCTION wee5_cron.known_settings(OUT name text, OUT kind text, OUT preset text, OUT lowest bigint, OUT highest bigint,
                                         OUT words text[]) RETURNS SETOF record
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN QUERY
    SELECT v.name, v.kind, wee5_cron.setting_presets() ->> v.name, v.lowest, v.highest, v.words
    FROM (VALUES
      ('enabled', 'bool', NULL::bigint, NULL::bigint, NULL::text[]),
      ('transport', 'enum', NULL, NULL, '{pg_net}'),
      ('request_timeout', 'ms', 1, 2147483647, NULL),
      ('max_response_bytes', 'bytes', 0, 1048576, NULL),
      ('max_request_bytes', 'bytes', 2, 67108864, NULL),
      ('missing_config', 'enum', NULL, NULL, '{error,skip}'),
      ('keep_succeeded', 'minutes', -1, 2147483647, NULL),
      ('keep_failed', 'minutes', -1, 2147483647, NULL),
      ('allow_plain_http', 'rule', NULL, NULL, NULL),
      ('trace', 'enum', NULL, NULL, '{on,unsampled,off}'),
      ('alert_url', 'url', NULL, NULL, NULL),
      ('alert_repeat', 'ms', 0, 2147483647, NULL),
      ('vault_api_url', 'text', NULL, NULL, NULL),
      ('vault_cron_secret', 'text', NULL, NULL, NULL),
      ('default_jobs', 'bool', NULL, NULL, NULL),
      ('on_physical_copy', 'enum', NULL, NULL, '{stop,continue}')) AS v (name, kind, lowest, highest, words);
END
$$;
COMMENT ON FUNCTION wee5_cron.known_settings() IS 'Internal: the settings of this edition, with their defaults';

CREATE FUNCTION wee5_cron.setting(name text) RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  wanted constant text := replace($1, 'wee5_cron.', '');
BEGIN
  RETURN coalesce((SELECT s.value FROM wee5_cron.setting s WHERE s.name = wanted), wee5_cron.setting_presets() ->> wanted);
END
$$;
COMMENT ON FUNCTION wee5_cron.setting(text) IS
  'The value of a setting, with or without wee5_cron. before its name: what wee5_cron.set() stored, else the default. NULL: there is no such setting';

-- One query for whoever needs several settings.
CREATE FUNCTION wee5_cron.settings_in_force() RETURNS jsonb
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN wee5_cron.setting_presets() || jsonb_object(ARRAY(SELECT ARRAY[s.name, s.value] FROM wee5_cron.setting s));
END
$$;
COMMENT ON FUNCTION wee5_cron.settings_in_force() IS 'Internal: all settings, by name, as wee5_cron.setting() returns them';

CREATE FUNCTION wee5_cron.unit_factor(unit text) RETURNS numeric
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN CASE unit WHEN 'ms' THEN 1 WHEN 's' THEN 1000 WHEN 'min' THEN 60000 WHEN 'h' THEN 3600000 WHEN 'd' THEN 86400000
                   WHEN 'us' THEN 0.001 WHEN 'B' THEN 1 WHEN 'kB' THEN 1024 WHEN 'MB' THEN 1048576 WHEN 'GB' THEN 1073741824
                   WHEN 'TB' THEN 1099511627776 END;
END
$$;
COMMENT ON FUNCTION wee5_cron.unit_factor(text) IS 'Internal: a unit of time in milliseconds, or of size in bytes; NULL: there is none such';

-- `unit`: the unit of a number without one. NULL: the text is not a quantity. Postgres rounds a half to the even number.
CREATE FUNCTION wee5_cron.quantity(value text, unit text) RETURNS numeric
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  parts constant text[] := regexp_match(value, '^\s*(-?[0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)\s*$');
  given constant text := coalesce(nullif(parts[2], ''), unit);
  amount constant numeric := parts[1]::numeric * wee5_cron.unit_factor(given) / wee5_cron.unit_factor(unit);
BEGIN
  RETURN CASE WHEN (unit = 'B') <> (right(given, 1) = 'B') THEN NULL
              WHEN abs(amount) % 2 = 0.5 THEN trunc(amount) ELSE round(amount) END;
END
$$;
COMMENT ON FUNCTION wee5_cron.quantity(text, text) IS 'Internal: a time or a size in this unit';

CREATE FUNCTION wee5_cron.shown_quantity(amount numeric, unit text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE WHEN amount <= 0 THEN amount::bigint::text ELSE (
      SELECT trunc(amount / s.factor)::bigint || s.name
      FROM (VALUES ('ms', 'ms', 1), ('ms', 's', 1000), ('ms', 'min', 60000), ('ms', 'h', 3600000), ('ms', 'd', 86400000),
                   ('min', 'min', 1), ('min', 'h', 60), ('min', 'd', 1440),
                   ('B', 'B', 1), ('B', 'kB', 1024), ('B', 'MB', 1048576), ('B', 'GB', 1073741824)) AS s (unit, name, factor)
      WHERE s.unit = $2 AND amount % s.factor = 0 ORDER BY s.factor DESC LIMIT 1) END
  $$;
COMMENT ON FUNCTION wee5_cron.shown_quantity(numeric, text) IS 'Internal: a time or a size as SHOW displays it';

CREATE FUNCTION wee5_cron.duration_ms(value text) RETURNS bigint
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  -- Each call reads the timeout. Whole seconds need no arithmetic with numeric.
  RETURN CASE WHEN value = '-1' THEN -1 WHEN value ~ '^[0-9]{1,9}s$' THEN rtrim(value, 's')::bigint * 1000
              ELSE wee5_cron.quantity(value, 'ms')::bigint END;
END
$$;
COMMENT ON FUNCTION wee5_cron.duration_ms(text) IS 'Internal: the value of a setting in milliseconds; -1: for ever';

CREATE FUNCTION wee5_cron.setting_ms(name text) RETURNS bigint
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN wee5_cron.duration_ms(wee5_cron.setting($1));
END
$$;
COMMENT ON FUNCTION wee5_cron.setting_ms(text) IS 'Internal: a setting in milliseconds; -1: for ever';

CREATE FUNCTION wee5_cron.setting_bytes(name text) RETURNS int
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT wee5_cron.quantity(wee5_cron.setting($1), 'B')::int $$;
COMMENT ON FUNCTION wee5_cron.setting_bytes(text) IS 'Internal: a setting in bytes';

CREATE FUNCTION wee5_cron.read_quantity(known record, value text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  unit constant text := CASE known.kind WHEN 'ms' THEN 'ms' WHEN 'minutes' THEN 'min' ELSE 'B' END;
  amount constant numeric := wee5_cron.quantity(value, unit);
BEGIN
  IF amount BETWEEN known.lowest AND known.highest THEN
    RETURN wee5_cron.shown_quantity(amount, unit);
  END IF;
  RAISE EXCEPTION 'invalid value for setting "wee5_cron.%": "%"', known.name, left(value, 100)
    USING ERRCODE = 'invalid_parameter_value',
          HINT = CASE known.kind WHEN 'bytes' THEN 'Give a size, such as 8kB or 1MB.'
                                 WHEN 'ms' THEN 'Give a time, such as 500ms, 30s or 2min.'
                                 ELSE 'Give a time, such as 12h or 7d; -1 keeps calls for ever.' END;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_quantity(record, text) IS 'Internal, for set(): checks a time or a size';

CREATE FUNCTION wee5_cron.read_setting(known record, value text) RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  rule text;
  advice text;
BEGIN
  IF known.kind IN ('ms', 'minutes', 'bytes') THEN
    RETURN wee5_cron.read_quantity(known, value);
  ELSIF known.kind = 'rule' THEN
    RETURN wee5_cron.read_plain_http_rule(value);
  ELSIF known.kind = 'url' THEN
    -- The URL is a secret: no error shows it.
    IF btrim(value) <> '' THEN
      BEGIN
        PERFORM wee5_cron.parse_webhook(btrim(value), wee5_cron.setting('allow_plain_http'));
      EXCEPTION WHEN object_not_in_prerequisite_state THEN
        GET STACKED DIAGNOSTICS rule = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT;
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = rule, HINT = wee5_cron.hint_here(advice);
      END;
    END IF;
    RETURN btrim(value);
  ELSIF known.kind = 'bool' AND wee5_cron.read_boolean(value) IS NOT NULL THEN
    RETURN CASE WHEN wee5_cron.read_boolean(value) THEN 'on' ELSE 'off' END;
  ELSIF known.kind = 'enum' AND lower(value) = ANY (known.words) THEN
    RETURN lower(value);
  ELSIF known.kind = 'text' AND btrim(value) <> '' THEN
    RETURN value;
  END IF;
  RAISE EXCEPTION 'invalid value for setting "wee5_cron.%": "%"', known.name, left(value, 100)
    USING ERRCODE = 'invalid_parameter_value',
          HINT = CASE known.kind WHEN 'bool' THEN 'Give on or off.' WHEN 'enum' THEN 'Give ' || array_to_string(known.words, ' or ') || '.'
                                 ELSE 'Give the name of a secret in Vault.' END;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_setting(record, text) IS 'Internal, for set(): checks a value';

CREATE FUNCTION wee5_cron.set(name text, value text) RETURNS text
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  wanted constant text := replace(lower($1), 'wee5_cron.', '');
  known record;
  checked text;
BEGIN
  SELECT * INTO known FROM wee5_cron.known_settings() k WHERE k.name = wanted;
  IF known.name IS NULL THEN
    IF wanted IN ('connect_timeout', 'max_in_flight', 'ca_file', 'proxy', 'protect_secret') THEN
      RAISE EXCEPTION 'wee5_cron.% has no effect in the portable edition, where pg_net carries the calls', wanted
        USING ERRCODE = 'feature_not_supported';
    END IF;
    RAISE EXCEPTION 'there is no setting "%"', left($1, 100)
      USING ERRCODE = 'undefined_object',
            HINT = (SELECT 'Settings: ' || string_agg(k.name, ', ' ORDER BY k.name) || '.' FROM wee5_cron.known_settings() k);
  END IF;
  IF $2 IS NULL THEN
    DELETE FROM wee5_cron.setting s WHERE s.name = wanted;
    RETURN known.preset;
  END IF;
  checked := wee5_cron.read_setting(known, $2);
  INSERT INTO wee5_cron.setting AS s (name, value) VALUES (wanted, checked)
  ON CONFLICT ON CONSTRAINT setting_pkey DO UPDATE SET value = excluded.value, set_at = now(), set_by = session_user;
  RETURN checked;
END
$$;
COMMENT ON FUNCTION wee5_cron.set(text, text) IS
  'Sets a setting of this database, for everybody, and returns its value; NULL puts the default back. Only the owner may';

-- The values that ALTER DATABASE stored for this database (source: database) and ALTER ROLE ALL for all databases (all). Of two
-- with the same name, the later one replaces the other. A loop, because each call asks: a query that takes the arrays apart
-- takes twice as long to start.
CREATE FUNCTION wee5_cron.stored_settings() RETURNS jsonb
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  here constant oid := wee5_cron.database_oid();
  held jsonb := '{}';
  stored record;
  entry text;
  value text;
BEGIN
  FOR stored IN
    SELECT s.setconfig AS entries, CASE s.setdatabase WHEN 0 THEN 'all' ELSE 'database' END AS source
    FROM pg_db_role_setting s WHERE s.setrole = 0 AND s.setdatabase IN (0, here) ORDER BY s.setdatabase
  LOOP
    FOREACH entry IN ARRAY stored.entries LOOP
      value := wee5_cron.trimmed(substr(entry, strpos(entry, '=') + 1));
      IF value IS NOT NULL THEN
        held := held || jsonb_build_object(lower(split_part(entry, '=', 1)), jsonb_build_array(value, stored.source));
      END IF;
    END LOOP;
  END LOOP;
  RETURN held;
END
$$;
COMMENT ON FUNCTION wee5_cron.stored_settings() IS 'Internal: settings that ALTER DATABASE or ALTER ROLE ALL stored: for each name, value and source';

CREATE FUNCTION wee5_cron.stored_setting(name text, OUT value text, OUT source text)
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  held constant jsonb := wee5_cron.stored_settings() -> $1;
BEGIN
  value := held ->> 0;
  source := held ->> 1;
END
$$;
COMMENT ON FUNCTION wee5_cron.stored_setting(text) IS 'Internal: a setting that ALTER DATABASE or ALTER ROLE ALL stored';
