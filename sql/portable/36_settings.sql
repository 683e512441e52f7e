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

-- kind: bool, enum (one of words), ms or minutes (a time), bytes, rule (for plain http), url, text. lowest and highest are in
-- the unit of the kind.
CREATE FUNCTION wee5_cron.known_settings(OUT name text, OUT kind text, OUT preset text, OUT lowest bigint, OUT highest bigint,
                                         OUT words text[]) RETURNS SETOF record
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN QUERY VALUES
    ('enabled', 'bool', 'on', NULL::bigint, NULL::bigint, NULL::text[]),
    ('transport', 'enum', 'pg_net', NULL, NULL, '{pg_net}'),
    ('request_timeout', 'ms', '30s', 1, 2147483647, NULL),
    ('max_response_bytes', 'bytes', '8kB', 0, 1048576, NULL),
    ('max_request_bytes', 'bytes', '1MB', 2, 268435456, NULL),
    ('missing_config', 'enum', 'error', NULL, NULL, '{error,skip}'),
    ('keep_succeeded', 'minutes', '7d', -1, 2147483647, NULL),
    ('keep_failed', 'minutes', '30d', -1, 2147483647, NULL),
    ('allow_plain_http', 'rule', 'off', NULL, NULL, NULL),
    ('trace', 'enum', 'on', NULL, NULL, '{on,unsampled,off}'),
    ('alert_url', 'url', '', NULL, NULL, NULL),
    ('alert_repeat', 'ms', '0', 0, 2147483647, NULL),
    ('vault_api_url', 'text', 'api_url', NULL, NULL, NULL),
    ('vault_cron_secret', 'text', 'cron_secret', NULL, NULL, NULL),
    ('default_jobs', 'bool', 'on', NULL, NULL, NULL),
    ('on_physical_copy', 'enum', 'stop', NULL, NULL, '{stop,continue}'::text[]);
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
  RETURN coalesce((SELECT s.value FROM wee5_cron.setting s WHERE s.name = wanted),
                  (SELECT k.preset FROM wee5_cron.known_settings() k WHERE k.name = wanted));
END
$$;
COMMENT ON FUNCTION wee5_cron.setting(text) IS
  'The value of a setting, with or without wee5_cron. before its name: what wee5_cron.set() stored, else the default. NULL: there is no such setting';

-- `unit`: the unit of a number without one. NULL: the text is not a quantity.
CREATE FUNCTION wee5_cron.quantity(value text, unit text) RETURNS numeric
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH scale (name, factor) AS (
      VALUES ('us', 0.001), ('ms', 1), ('s', 1000), ('min', 60000), ('h', 3600000), ('d', 86400000),
             ('B', 1), ('kB', 1024), ('MB', 1048576), ('GB', 1073741824)
    )
    SELECT round(m[1]::numeric * given.factor / own.factor)
    FROM regexp_match(value, '^\s*(-?[0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)\s*$') AS m
    JOIN scale own ON own.name = unit
    JOIN scale given ON given.name = coalesce(nullif(m[2], ''), unit)
    WHERE (unit = 'B') = (given.name ~ 'B$')
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

CREATE FUNCTION wee5_cron.setting_ms(name text) RETURNS bigint
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE s.value WHEN '-1' THEN -1 ELSE wee5_cron.quantity(s.value, 'ms')::bigint END
    FROM (SELECT wee5_cron.setting($1) AS value) s
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
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF known.kind IN ('ms', 'minutes', 'bytes') THEN
    RETURN wee5_cron.read_quantity(known, value);
  ELSIF known.kind = 'rule' THEN
    RETURN wee5_cron.read_plain_http_rule(value);
  ELSIF known.kind = 'url' THEN
    -- The URL is a secret: no error shows it.
    IF btrim(value) <> '' THEN
      PERFORM wee5_cron.parse_webhook(btrim(value), wee5_cron.setting('allow_plain_http'));
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
