-- The secret that configure() replaced. For a day, wee5_cron sends a call again with it if the app answered 401. The twin of
-- src/core/request/previous_secret.cpp. Times are Unix times in microseconds.

CREATE FUNCTION wee5_cron.jsonb_or_null(value text) RETURNS jsonb
  LANGUAGE plpgsql IMMUTABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN value::jsonb;
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION wee5_cron.jsonb_or_null(text) IS 'Internal: a text as jsonb; NULL: it is no JSON';

CREATE FUNCTION wee5_cron.rfc3339_us(value text) RETURNS bigint
  LANGUAGE plpgsql IMMUTABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN CASE WHEN value ~ '^\d{4}-\d\d-\d\d[Tt ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?([Zz]|[+-](0\d|1[0-4])(:?[0-5]\d)?)$'
              THEN wee5_cron.unix_us(upper(value)::timestamptz) END;
EXCEPTION WHEN data_exception THEN
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION wee5_cron.rfc3339_us(text) IS 'Internal: a moment as RFC 3339 writes it, as a Unix time; NULL: it is none';

CREATE FUNCTION wee5_cron.secret_of_document(document text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE WHEN jsonb_typeof(d -> 'secret') = 'string' THEN nullif(btrim(d ->> 'secret', E' \t\n\v\f\r'), '') END
    FROM wee5_cron.jsonb_or_null(document) AS d
  $$;
COMMENT ON FUNCTION wee5_cron.secret_of_document(text) IS
  'Internal: the secret in a document, for what must not show it, also if the rest is wrong; NULL: none';

CREATE FUNCTION wee5_cron.read_previous_secret(document text, OUT secret text, OUT api_url text, OUT until_us bigint)
  LANGUAGE plpgsql IMMUTABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  held constant jsonb := wee5_cron.jsonb_or_null(document);
BEGIN
  IF jsonb_typeof(held -> 'api_url') = 'string' AND jsonb_typeof(held -> 'until') = 'string' THEN
    secret := wee5_cron.secret_of_document(document);
    api_url := btrim(held ->> 'api_url', E' \t\n\v\f\r');
    until_us := wee5_cron.rfc3339_us(held ->> 'until');
  END IF;
  IF secret IS NULL OR until_us IS NULL OR secret ~ '[^\u0020-\u007E]' THEN
    secret := NULL;
    api_url := NULL;
    until_us := NULL;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_previous_secret(text) IS
  'Internal: the value of cron_secret_previous; NULLs: it is not what configure() writes';

CREATE FUNCTION wee5_cron.write_previous_secret(secret text, api_url text, until_us bigint) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT format('{"secret": %s, "api_url": %s, "until": "%s"}', to_json(secret), to_json(api_url),
                  to_char(wee5_cron.time_of_unix_us(until_us) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
  $$;
COMMENT ON FUNCTION wee5_cron.write_previous_secret(text, text, bigint) IS 'Internal, for configure(): the value of cron_secret_previous';

CREATE FUNCTION wee5_cron.rotation_step(replaced text, chosen text, same_origin boolean, keep boolean) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE WHEN NOT keep OR coalesce(replaced, '') = '' OR NOT same_origin THEN 'remove'
                WHEN replaced = chosen THEN 'leave' ELSE 'replace' END
  $$;
COMMENT ON FUNCTION wee5_cron.rotation_step(text, text, boolean, boolean) IS
  'Internal: what configure() does about the previous secret: leave, remove or replace';

CREATE FUNCTION wee5_cron.same_origin(one text, other text) RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT coalesce(a.rule IS NULL AND b.rule IS NULL
                    AND (a.scheme, lower(a.host COLLATE "C"), a.port) = (b.scheme, lower(b.host COLLATE "C"), b.port), false)
    FROM wee5_cron.read_api_url(one, 'on') a, wee5_cron.read_api_url(other, 'on') b
  $$;
COMMENT ON FUNCTION wee5_cron.same_origin(text, text) IS 'Internal: whether two addresses have the same scheme, host and port';

CREATE FUNCTION wee5_cron.previous_secret_hint(previous_until timestamptz) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT format('The app answered 401 to the present secret, and accepted the previous one, which is used '
                  'until %s UTC. Before then, set CRON_SECRET in the app to the new secret. On Vercel, a changed variable takes '
                  'effect with the next deployment.', to_char(previous_until AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'))
  $$;
COMMENT ON FUNCTION wee5_cron.previous_secret_hint(timestamptz) IS
  'Internal: the hint of a call that succeeded with the previous secret';
