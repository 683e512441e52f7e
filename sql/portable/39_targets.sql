-- Targets: other apps that calls may go to. The twin of src/core/request/targets.cpp and of configure_target.cpp in
-- src/pg/settings. Vault counts first, then what ALTER DATABASE stored for this database or for all.

CREATE FUNCTION wee5_cron.hint_of_target(name text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE name
      WHEN 'app' THEN 'SELECT wee5_cron.configure_target(''app'', NULL, NULL, headers => ''{"X-Name": "value"}'');'
      ELSE format('SELECT wee5_cron.configure_target(%s, ''https://app.example.com'', ''the secret that this app expects'');',
                  quote_literal(name)) END
  $$;
COMMENT ON FUNCTION wee5_cron.hint_of_target(text) IS 'Internal: the statement that configures a target';

CREATE FUNCTION wee5_cron.check_target_name(name text) RETURNS void
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF NOT wee5_cron.is_target_name(name) THEN
    RAISE EXCEPTION 'invalid target name "%"', wee5_cron.printable(name, 63)
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'A target''s name begins with a letter and holds letters, digits, "_" and "-", at most 63. It is not http or https.';
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.check_target_name(text) IS 'Internal: raises an error for a name that no target may have';

-- The first fault of a target, but for its address and its headers; NULL: none.
CREATE FUNCTION wee5_cron.fault_of_target(name text, api_url text, secret text, prefix text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE
      WHEN name <> 'app' AND api_url IS NULL THEN 'api_url is blank'
      WHEN name <> 'app' AND secret IS NULL THEN 'the secret is blank'
      WHEN secret ~ '[^\u0020-\u007E]' THEN 'the secret holds a character that no HTTP header can carry'
      WHEN prefix ~ '[^\u0020-\u007E]' THEN 'the prefix holds a character that no HTTP header can carry' END
  $$;
COMMENT ON FUNCTION wee5_cron.fault_of_target(text, text, text, text) IS
  'Internal: what is wrong with a target, but for its headers; NULL: nothing';

CREATE FUNCTION wee5_cron.check_target(name text, api_url text, secret text, header text, prefix text, headers jsonb) RETURNS void
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  fault text := wee5_cron.fault_of_target(name, api_url, secret, prefix);
  names text[] := ARRAY[lower(header COLLATE "C")];
  further record;
BEGIN
  IF fault IS NULL THEN
    PERFORM wee5_cron.check_secret_header(header, '');
    FOR further IN SELECT * FROM wee5_cron.headers_of(headers) LOOP
      PERFORM wee5_cron.check_secret_header(further.name, further.value);
      IF lower(further.name COLLATE "C") = ANY (names) THEN
        fault := format('header "%s" is given twice', wee5_cron.printable(further.name));
        EXIT;
      END IF;
      names := names || lower(further.name COLLATE "C");
    END LOOP;
  END IF;
  IF fault IS NOT NULL THEN
    RAISE EXCEPTION 'target "%": %', name, fault
      USING ERRCODE = 'invalid_parameter_value', HINT = wee5_cron.hint_of_target(name);
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.check_target(text, text, text, text, text, jsonb) IS
  'Internal: raises an error for a target that could not be called; its address is not checked';

-- targets: NULL if the document is not a JSON object. Strongest first.
CREATE FUNCTION wee5_cron.target_documents(vault_targets text, OUT place int, OUT source text, OUT targets jsonb) RETURNS SETOF record
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE ROWS 4 SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
    SELECT d.place, d.source, CASE jsonb_typeof(wee5_cron.jsonb_or_null(d.document)) WHEN 'object' THEN wee5_cron.jsonb_or_null(d.document) END
    FROM (
      SELECT 1 AS place, 'vault' AS source, wee5_cron.trimmed(vault_targets) AS document
      UNION ALL
      SELECT CASE s.setdatabase WHEN 0 THEN 3 ELSE 2 END, CASE s.setdatabase WHEN 0 THEN 'all' ELSE 'database' END,
             wee5_cron.trimmed(substr(entry, strpos(entry, '=') + 1))
      FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) AS entry
      WHERE s.setrole = 0 AND s.setdatabase IN (0, (SELECT b.oid FROM pg_database b WHERE b.datname = current_database()))
        AND lower(split_part(entry, '=', 1)) = 'app.settings.cron_targets'
    ) d
    WHERE d.document IS NOT NULL ORDER BY d.place;
END
$$;
COMMENT ON FUNCTION wee5_cron.target_documents(text) IS 'Internal: the documents that hold targets, those that count first at the beginning';

-- What nobody but a person who stored the document by hand can get wrong. NULL: nothing.
CREATE FUNCTION wee5_cron.fault_of_target_types(target jsonb, headers jsonb) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE
      WHEN jsonb_typeof(target) <> 'object' THEN 'it is not a JSON object'
      WHEN jsonb_typeof(headers) <> 'object' THEN '"headers" is not a JSON object'
      WHEN EXISTS (SELECT FROM jsonb_each(headers) h WHERE jsonb_typeof(h.value) <> 'string')
      THEN 'the value of a header is not a string' END
  $$;
COMMENT ON FUNCTION wee5_cron.fault_of_target_types(jsonb, jsonb) IS 'Internal: which part of a stored target is of another type; NULL: none';

-- NULLs: no document has it. Raises 55000 if the document that decides cannot be read, or the target in it is wrong.
CREATE FUNCTION wee5_cron.find_target(name text, vault_targets text, OUT source text, OUT api_url text, OUT secret text,
                                      OUT header text, OUT prefix text, OUT headers jsonb, OUT previous text)
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  document record;
  target jsonb;
  message text;
  advice text;
BEGIN
  SELECT * INTO document FROM wee5_cron.target_documents(vault_targets) d WHERE d.targets IS NULL OR d.targets ? name ORDER BY d.place LIMIT 1;
  IF NOT FOUND THEN
    RETURN;
  ELSIF document.targets IS NULL THEN
    RAISE EXCEPTION 'app.settings.cron_targets (%) is not a JSON object of targets', document.source
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Remove it there, and configure each target again.';
  END IF;
  target := document.targets -> name;
  source := document.source;
  headers := CASE WHEN target ? 'headers' THEN target -> 'headers' ELSE '{}' END;
  PERFORM wee5_cron.check_target_name(name);
  IF wee5_cron.fault_of_target_types(target, headers) IS NOT NULL THEN
    RAISE EXCEPTION 'target "%": %', name, wee5_cron.fault_of_target_types(target, headers)
      USING ERRCODE = 'invalid_parameter_value', HINT = wee5_cron.hint_of_target(name);
  END IF;
  api_url := wee5_cron.trimmed(wee5_cron.json_string(target, 'api_url'));
  secret := wee5_cron.trimmed(wee5_cron.json_string(target, 'secret'));
  header := coalesce(wee5_cron.json_string(target, 'header'), 'Authorization');
  prefix := coalesce(wee5_cron.json_string(target, 'prefix'), 'Bearer ');
  previous := (target -> 'previous')::text;
  PERFORM wee5_cron.check_target(name, api_url, secret, header, prefix, headers);
EXCEPTION WHEN invalid_parameter_value THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT;
  RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = message, HINT = advice;
END
$$;
COMMENT ON FUNCTION wee5_cron.find_target(text, text) IS 'Internal: a target, as the document that counts has it; NULLs: there is none';

CREATE FUNCTION wee5_cron.json_string(object jsonb, name text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT CASE jsonb_typeof(object -> name) WHEN 'string' THEN object ->> name END $$;
COMMENT ON FUNCTION wee5_cron.json_string(jsonb, text) IS 'Internal: a member of a JSON object that is a string; NULL: there is none';

-- Further headers of the app itself. What cannot be read, doctor() reports.
CREATE FUNCTION wee5_cron.headers_of_app(vault_targets text) RETURNS jsonb
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN coalesce((SELECT t.headers FROM wee5_cron.find_target('app', vault_targets) t), '{}');
EXCEPTION WHEN object_not_in_prerequisite_state THEN
  RETURN '{}';
END
$$;
COMMENT ON FUNCTION wee5_cron.headers_of_app(text) IS 'Internal: the further secret headers of the app';

-- Values of headers that switch something on or off, as Vercel's x-vercel-set-bypass-cookie. No secret is one of them, and
-- they stand in most answers.
CREATE FUNCTION wee5_cron.is_header_switch(value text) RETURNS boolean
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT lower(value COLLATE "C") IN ('true', 'false', 'yes', 'no', 'on', 'off', '1', '0') $$;
COMMENT ON FUNCTION wee5_cron.is_header_switch(text) IS 'Internal: whether the value of a secret header is a switch, and no secret';

CREATE FUNCTION wee5_cron.secrets_of_targets(vault_targets text) RETURNS text[]
  LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT array_agg(DISTINCT s.secret)
    FROM wee5_cron.target_documents(vault_targets) d
    CROSS JOIN LATERAL jsonb_each(coalesce(d.targets, '{}')) t
    CROSS JOIN LATERAL (
      SELECT wee5_cron.trimmed(wee5_cron.json_string(t.value, 'secret')) AS secret
      UNION ALL SELECT wee5_cron.trimmed(wee5_cron.json_string(t.value -> 'previous', 'secret'))
      UNION ALL SELECT wee5_cron.trimmed(h.value #>> '{}')
                FROM jsonb_each(CASE jsonb_typeof(t.value -> 'headers') WHEN 'object' THEN t.value -> 'headers' ELSE '{}' END) h
                WHERE jsonb_typeof(h.value) = 'string' AND NOT coalesce(wee5_cron.is_header_switch(wee5_cron.trimmed(h.value #>> '{}')), true)
    ) s
    WHERE s.secret IS NOT NULL
  $$;
COMMENT ON FUNCTION wee5_cron.secrets_of_targets(text) IS 'Internal: every secret of every target; NULL: there is none';

CREATE FUNCTION wee5_cron.secrets_of_request(secret text, headers jsonb) RETURNS text[]
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF headers = '{}' THEN
    RETURN ARRAY[secret];
  END IF;
  RETURN secret || ARRAY(
    SELECT h.value FROM (SELECT wee5_cron.trimmed(f.value) AS value FROM jsonb_each_text(headers) f) h
    WHERE NOT coalesce(wee5_cron.is_header_switch(h.value), true));
END
$$;
COMMENT ON FUNCTION wee5_cron.secrets_of_request(text, jsonb) IS
  'Internal: what a request carries and no text may show; headers: its further secret headers';

CREATE FUNCTION wee5_cron.require_right_to_target(role name, endpoint_path text) RETURNS void
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF NOT wee5_cron.may_call_target(role, endpoint_path) THEN
    RAISE EXCEPTION 'role "%" may not call %', role, quote_literal(endpoint_path)
      USING ERRCODE = 'insufficient_privilege',
            HINT = format('Whoever may run wee5_cron.configure_target() can allow this path to all callers: INSERT INTO '
                          'wee5_cron.endpoint (endpoint_path) VALUES (%s);', quote_literal(wee5_cron.route_of(endpoint_path)));
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.require_right_to_target(name, text) IS 'Internal: raises 42501 for a role that may not call a target';

-- The secret that is replaced is kept for a day, if it went to the same scheme, host and port.
CREATE FUNCTION wee5_cron.target_document(name text, api_url text, secret text, header text, prefix text, headers jsonb,
                                          vault_targets text) RETURNS jsonb
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  replaced record;
  previous jsonb;
BEGIN
  IF name = 'app' THEN
    RETURN jsonb_build_object('headers', headers);
  END IF;
  BEGIN
    SELECT * INTO replaced FROM wee5_cron.find_target(name, vault_targets);
  EXCEPTION WHEN object_not_in_prerequisite_state THEN
    -- No call could use it.
    SELECT NULL::text AS secret, NULL::text AS api_url, NULL::text AS previous INTO replaced;
  END;
  CASE wee5_cron.rotation_step(replaced.secret, secret, wee5_cron.same_origin(replaced.api_url, api_url), true)
    WHEN 'replace' THEN
      previous := wee5_cron.write_previous_secret(replaced.secret, replaced.api_url,
                                                  wee5_cron.unix_us(clock_timestamp() + interval '24 hours'))::jsonb;
    WHEN 'leave' THEN previous := replaced.previous::jsonb;
    ELSE NULL;
  END CASE;
  RETURN jsonb_strip_nulls(jsonb_build_object('api_url', api_url, 'secret', secret, 'header', header, 'prefix', prefix,
                                              'headers', headers, 'previous', previous));
END
$$;
COMMENT ON FUNCTION wee5_cron.target_document(text, text, text, text, text, jsonb, text) IS 'Internal, for configure_target(): a target as it is stored';

CREATE FUNCTION wee5_cron.check_given_target(name text, api_url text, secret text, header text, prefix text, headers jsonb,
                                             store text) RETURNS void
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  missing constant text := CASE WHEN name IS NULL THEN 'name' WHEN name <> 'app' AND api_url IS NULL THEN 'api_url'
    WHEN name <> 'app' AND secret IS NULL THEN 'secret' WHEN header IS NULL THEN 'header' WHEN prefix IS NULL THEN 'prefix'
    WHEN headers IS NULL THEN 'headers' WHEN store IS NULL THEN 'store' END;
  message text;
  advice text;
BEGIN
  IF missing IS NOT NULL THEN
    RAISE EXCEPTION '% must not be NULL', missing
      USING ERRCODE = 'null_value_not_allowed',
            HINT = 'SELECT wee5_cron.configure_target(''billing'', ''https://billing.example.com'', ''the secret that this app expects'');';
  ELSIF store = 'database' THEN
    RAISE EXCEPTION 'the portable edition stores settings in Vault only'
      USING ERRCODE = 'feature_not_supported', HINT = 'Leave store out.';
  ELSIF store <> 'vault' THEN
    -- The message must not show the value: it is the secret if the caller mixed up the arguments.
    RAISE EXCEPTION 'unknown store' USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave store out.';
  END IF;
  PERFORM count(*) FROM wee5_cron.headers_of(headers);
  PERFORM wee5_cron.check_target_name(name);
  PERFORM wee5_cron.check_target(name, wee5_cron.trimmed(api_url), wee5_cron.trimmed(secret), header, prefix, headers);
  IF name <> 'app' THEN
    PERFORM wee5_cron.parse_api_url(wee5_cron.trimmed(api_url), wee5_cron.setting('allow_plain_http'), name);
  ELSIF coalesce(wee5_cron.trimmed(api_url), wee5_cron.trimmed(secret)) IS NOT NULL
        OR (header, prefix) <> ('Authorization', 'Bearer ') THEN
    RAISE EXCEPTION 'target "app" is the app itself, and has further headers only'
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'SELECT wee5_cron.configure(''https://app.example.com'', ''the secret that the app expects''); sets its address and secret.';
  END IF;
EXCEPTION WHEN object_not_in_prerequisite_state THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT;
  RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = message, HINT = wee5_cron.hint_here(advice);
END
$$;
COMMENT ON FUNCTION wee5_cron.check_given_target(text, text, text, text, text, jsonb, text) IS
  'Internal, for configure_target(): raises an error where no call could be made so';

-- What Vault holds now, to be changed. Nobody else changes it before the end of the transaction.
CREATE FUNCTION wee5_cron.locked_targets() RETURNS text
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  held record;
BEGIN
  LOCK TABLE wee5_cron.setting IN SHARE ROW EXCLUSIVE MODE;
  PERFORM wee5_cron.refuse_tampered_vault();
  SELECT * INTO held FROM wee5_cron.read_vault(wee5_cron.settings_in_force());
  IF held.trouble IS NOT NULL THEN
    RAISE EXCEPTION 'Vault cannot be read: %', held.trouble
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = held.hint;
  ELSIF EXISTS (SELECT FROM wee5_cron.target_documents(held.targets) d WHERE d.source = 'vault' AND d.targets IS NULL) THEN
    RAISE EXCEPTION 'app.settings.cron_targets is not a JSON object of targets'
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Remove it where it is stored, and configure each target again.';
  END IF;
  RETURN wee5_cron.trimmed(held.targets);
END
$$;
COMMENT ON FUNCTION wee5_cron.locked_targets() IS 'Internal, for configure_target(): the targets in Vault, which nobody else may change meanwhile';

CREATE FUNCTION wee5_cron.configure_target(name text, api_url text, secret text, header text DEFAULT 'Authorization',
                                           prefix text DEFAULT 'Bearer ', headers jsonb DEFAULT '{}',
                                           store text DEFAULT 'vault') RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  held text;
  short text;
BEGIN
  PERFORM wee5_cron.check_given_target($1, $2, $3, $4, $5, $6, $7);
  held := wee5_cron.locked_targets();
  PERFORM wee5_cron.store_in_vault('cron_targets', (coalesce(held::jsonb, '{}')
    || jsonb_build_object($1, wee5_cron.target_document($1, wee5_cron.trimmed($2), wee5_cron.trimmed($3), $4, $5, $6, held)))::text,
    'wee5_cron: other apps that are called, with their secrets');
  IF octet_length($3) < 16 THEN
    RAISE WARNING 'the secret has fewer than 16 characters and can be guessed'
      USING HINT = 'Generate a strong one, e.g. with "openssl rand -hex 32", and set it as CRON_SECRET in the app, too.';
  END IF;
  SELECT string_agg(format('"%s"', h.key), ', ' ORDER BY h.place) INTO short
  FROM jsonb_each_text($6) WITH ORDINALITY AS h (key, value, place)
  WHERE octet_length(wee5_cron.trimmed(h.value)) < 6 AND NOT wee5_cron.is_header_switch(wee5_cron.trimmed(h.value));
  IF short IS NOT NULL THEN
    RAISE WARNING 'target "%" has short values in %, and answers show [secret] wherever they occur', $1, short
      USING HINT = 'A header that is no secret belongs in wee5_cron.endpoint.headers.';
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.configure_target(text, text, text, text, text, jsonb, text) IS
  'Checks and stores another app that calls may go to, under the path name:/path, in Vault: its address, the secret that it expects, the header and prefix that carry the secret, and further secret headers. The name app holds further headers of the app itself, with NULL for address and secret. Never returns any of it. Answers in the ledger show [secret] instead of a secret or of the value of a secret header, except for true, false, yes, no, on, off, 1 and 0. A target that exists is replaced, and for 24 hours a call that it answers with 401 is made again with the secret that was replaced';

-- What ALTER DATABASE stored, this edition cannot change.
CREATE FUNCTION wee5_cron.warn_of_stored_target(name text) RETURNS void
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  whose constant text := (SELECT string_agg(CASE d.source WHEN 'all' THEN 'ALTER ROLE ALL' ELSE format('ALTER DATABASE %I', current_database()) END, ', ' ORDER BY d.place)
                          FROM wee5_cron.target_documents(NULL) d WHERE d.targets ? name);
BEGIN
  IF whose IS NOT NULL THEN
    RAISE WARNING 'target "%" is stored elsewhere, too: %', name, whose
      USING HINT = 'Only your host can remove it there: ask its support.';
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.warn_of_stored_target(text) IS 'Internal, for drop_target(): warns of a target that ALTER DATABASE stored';

CREATE FUNCTION wee5_cron.drop_target(name text) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  held jsonb;
BEGIN
  IF $1 IS NULL THEN
    RAISE EXCEPTION 'name must not be NULL'
      USING ERRCODE = 'null_value_not_allowed',
            HINT = 'SELECT wee5_cron.configure_target(''billing'', ''https://billing.example.com'', ''the secret that this app expects'');';
  END IF;
  PERFORM wee5_cron.check_target_name($1);
  held := wee5_cron.locked_targets()::jsonb;
  PERFORM wee5_cron.warn_of_stored_target($1);
  IF held IS NULL OR NOT held ? $1 THEN
    RETURN false;
  ELSIF held - $1 = '{}' THEN
    PERFORM wee5_cron.remove_from_vault('cron_targets');
  ELSE
    PERFORM wee5_cron.store_in_vault('cron_targets', (held - $1)::text, 'wee5_cron: other apps that are called, with their secrets');
  END IF;
  RETURN true;
END
$$;
COMMENT ON FUNCTION wee5_cron.drop_target(text) IS
  'Removes a target that configure_target() stored. Later calls of its paths raise an error, and calls that wait fail. False if there was none';

CREATE FUNCTION wee5_cron.describe_target(name text, vault_targets text) RETURNS jsonb
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  target record;
  described jsonb := jsonb_build_object('name', name);
  message text;
  advice text;
BEGIN
  SELECT * INTO target FROM wee5_cron.find_target(name, vault_targets);
  described := described || jsonb_build_object('source', target.source,
                                               'further', (SELECT count(*) FROM jsonb_object_keys(target.headers)));
  IF name = 'app' THEN
    RETURN described;
  END IF;
  PERFORM wee5_cron.parse_api_url(target.api_url, 'on', name);
  described := described || jsonb_strip_nulls(jsonb_build_object('api_url', target.api_url, 'bytes', octet_length(target.secret),
    'header', target.header, 'previous_until', (SELECT p.until_us / 1000000 FROM wee5_cron.read_previous_secret(target.previous) p)));
  PERFORM wee5_cron.parse_api_url(target.api_url, wee5_cron.setting('allow_plain_http'), name);
  RETURN described;
EXCEPTION WHEN object_not_in_prerequisite_state OR invalid_parameter_value THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT;
  RETURN described || jsonb_build_object('error', message, 'hint', advice);
END
$$;
COMMENT ON FUNCTION wee5_cron.describe_target(text, text) IS 'Internal, for doctor(): a target, without its secrets';

CREATE FUNCTION wee5_cron.describe_targets(role name) RETURNS jsonb
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  held constant record := wee5_cron.read_vault(wee5_cron.settings_in_force());
BEGIN
  RETURN (
    SELECT coalesce(jsonb_agg(t.described ORDER BY t.described ->> 'name'), '[]')
    FROM (
      SELECT wee5_cron.describe_target(n.name, held.targets) AS described
      FROM (SELECT DISTINCT k.name FROM wee5_cron.target_documents(held.targets) d
            CROSS JOIN LATERAL jsonb_object_keys(coalesce(d.targets, '{}')) AS k (name)) n
      UNION ALL
      SELECT jsonb_build_object('source', d.source, 'error', 'it is not a JSON object of targets')
      FROM wee5_cron.target_documents(held.targets) d WHERE d.targets IS NULL
    ) t);
END
$$;
COMMENT ON FUNCTION wee5_cron.describe_targets(name) IS
  'Internal, for doctor(): the targets of this role''s calls, an array of objects with name, source, api_url, bytes of the secret, header, number of further headers, until when the previous secret counts, error and hint. Never a secret or a header''s value';
