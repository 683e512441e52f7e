-- The app's address and the secret. Vault comes first. Values that ALTER DATABASE once stored come second: the owner of a
-- project cannot remove them. They may be old, so they never replace a Vault that cannot be read.

CREATE FUNCTION wee5_cron.trimmed(value text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN nullif(btrim(value, E' \t\n\v\f\r'), '');
END
$$;
COMMENT ON FUNCTION wee5_cron.trimmed(text) IS 'Internal: a text without white space around it; NULL: blank';

-- trouble and hint: why Vault cannot be read.
CREATE FUNCTION wee5_cron.read_vault(settings jsonb, OUT api_url text, OUT cron_secret text, OUT previous_secret text,
                                     OUT targets text, OUT trouble text, OUT hint text)
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  SET debug_print_plan = off SET debug_print_rewritten = off SET debug_print_parse = off
  AS $$
DECLARE
  url_name constant text := settings ->> 'vault_api_url';
  secret_name constant text := settings ->> 'vault_cron_secret';
  secrets constant oid := to_regclass('vault.decrypted_secrets');
  held record;
BEGIN
  IF secrets IS NULL OR NOT wee5_cron.belongs_to_extension('pg_class', secrets, 'supabase_vault') THEN
    IF wee5_cron.extension_installed('supabase_vault') THEN
      trouble := 'vault.decrypted_secrets does not belong to the extension supabase_vault';
      hint := 'Install Vault anew: DROP EXTENSION supabase_vault; CREATE EXTENSION supabase_vault;';
    END IF;
    RETURN;
  END IF;
  FOR held IN
    SELECT d.name, d.decrypted_secret AS value FROM vault.decrypted_secrets d
    WHERE d.name IN (url_name, secret_name, secret_name || '_previous', 'cron_targets')
  LOOP
    IF held.name = url_name THEN api_url := held.value; END IF;
    IF held.name = secret_name THEN cron_secret := held.value; END IF;
    IF held.name = secret_name || '_previous' THEN previous_secret := held.value; END IF;
    IF held.name = 'cron_targets' THEN targets := held.value; END IF;
  END LOOP;
EXCEPTION
  WHEN insufficient_privilege THEN
    trouble := SQLERRM;
    hint := format('The owner of wee5_cron reads it. Ask the support of your host to run: GRANT USAGE ON SCHEMA vault TO %1$I; GRANT '
                   'SELECT ON vault.decrypted_secrets TO %1$I; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA vault TO %1$I;', current_user);
  WHEN query_canceled OR lock_not_available OR insufficient_resources OR transaction_rollback THEN
    RAISE;
  WHEN OTHERS THEN
    api_url := NULL;
    cron_secret := NULL;
    previous_secret := NULL;
    targets := NULL;
    trouble := SQLERRM;
    hint := format('DELETE FROM vault.secrets WHERE name IN (%L, %L); SELECT wee5_cron.configure(''https://app.example.com'', '
                   '''the secret that the app expects'');', url_name, secret_name);
END
$$;
COMMENT ON FUNCTION wee5_cron.read_vault(jsonb) IS
  'Internal: the address, the secret, the previous one and the targets that Vault holds; settings: see settings_in_force()';

-- previous_secret: the document about it, from the same place as the secret.
CREATE FUNCTION wee5_cron.find_settings(settings jsonb DEFAULT NULL, OUT api_url text, OUT api_url_source text,
                                        OUT cron_secret text, OUT cron_secret_source text, OUT previous_secret text, OUT vault_targets text,
                                        OUT vault_trouble text, OUT vault_hint text, OUT has_targets boolean)
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  vault constant record := wee5_cron.read_vault(coalesce(settings, wee5_cron.settings_in_force()));
  stored constant jsonb := wee5_cron.stored_settings();
BEGIN
  api_url := wee5_cron.trimmed(vault.api_url);
  cron_secret := wee5_cron.trimmed(vault.cron_secret);
  previous_secret := wee5_cron.trimmed(vault.previous_secret);
  vault_targets := vault.targets;
  vault_trouble := vault.trouble;
  vault_hint := vault.hint;
  has_targets := vault_targets IS NOT NULL OR stored ? 'app.settings.cron_targets';
  IF vault_trouble IS NOT NULL THEN
    api_url_source := 'none';
    cron_secret_source := 'none';
    RETURN;
  END IF;
  api_url_source := 'vault';
  cron_secret_source := 'vault';
  IF api_url IS NULL THEN
    api_url := stored -> 'app.settings.api_url' ->> 0;
    api_url_source := coalesce(stored -> 'app.settings.api_url' ->> 1, 'none');
  END IF;
  IF cron_secret IS NULL THEN
    cron_secret := stored -> 'app.settings.cron_secret' ->> 0;
    cron_secret_source := coalesce(stored -> 'app.settings.cron_secret' ->> 1, 'none');
    previous_secret := CASE WHEN stored -> 'app.settings.cron_secret_previous' ->> 1 = cron_secret_source
                            THEN stored -> 'app.settings.cron_secret_previous' ->> 0 END;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.find_settings(jsonb) IS
  'Internal: the address and the secret that count, and where they come from: vault, database, all, none';

-- missing: the error of a call that has no address or no secret. secret_headers: see with_secret_headers().
-- previous_secret: the secret that the app expected before, if calls may still use it.
CREATE FUNCTION wee5_cron.find_address(endpoint_path text, settings jsonb, OUT url text, OUT secret text,
                                       OUT missing text, OUT hint text, OUT previous_secret text, OUT previous_until timestamptz,
                                       OUT secret_headers jsonb)
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  found record := wee5_cron.find_settings(settings);
  name constant text := wee5_cron.target_of(endpoint_path);
  target record;
  previous record;
  message text;
  advice text;
BEGIN
  IF name IS NULL THEN
    secret_headers := jsonb_build_object('header', 'Authorization', 'prefix', 'Bearer ', 'headers',
                                         CASE WHEN found.has_targets THEN wee5_cron.headers_of_app(found.vault_targets) ELSE '{}' END);
  ELSE
    target := wee5_cron.find_target(name, found.vault_targets);
    IF target.source IS NULL OR found.vault_trouble IS NOT NULL THEN
      missing := format('target "%s" is not configured', name)
                 || coalesce(', and Vault cannot be read: ' || found.vault_trouble, '');
      hint := coalesce(found.vault_hint, wee5_cron.hint_of_target(name));
      RETURN;
    END IF;
    secret_headers := jsonb_build_object('header', target.header, 'prefix', target.prefix, 'headers', target.headers);
    found.api_url := target.api_url;
    found.cron_secret := target.secret;
    found.previous_secret := target.previous;
  END IF;
  IF found.api_url IS NULL OR found.cron_secret IS NULL THEN
    missing := CASE WHEN found.api_url IS NULL THEN 'app.settings.api_url' ELSE 'app.settings.cron_secret' END || ' is not set'
               || coalesce(', and Vault cannot be read: ' || found.vault_trouble, '');
    hint := coalesce(found.vault_hint,
                     'SELECT wee5_cron.configure(''https://app.example.com'', ''the secret that the app expects'');');
    RETURN;
  END IF;
  PERFORM wee5_cron.check_secret(found.cron_secret);
  url := wee5_cron.join_url(found.api_url, settings ->> 'allow_plain_http',
                            CASE WHEN name IS NULL THEN endpoint_path ELSE wee5_cron.path_behind_target(endpoint_path) END,
                            coalesce(name, ''));
  secret := found.cron_secret;
  IF found.previous_secret IS NOT NULL THEN
    previous := wee5_cron.read_previous_secret(found.previous_secret);
    IF wee5_cron.time_of_unix_us(previous.until_us) > clock_timestamp() AND wee5_cron.same_origin(previous.api_url, found.api_url) THEN
      previous_secret := previous.secret;
      previous_until := wee5_cron.time_of_unix_us(previous.until_us);
    END IF;
  END IF;
EXCEPTION WHEN object_not_in_prerequisite_state THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT;
  RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = message, HINT = wee5_cron.hint_here(advice);
END
$$;
COMMENT ON FUNCTION wee5_cron.find_address(text, jsonb) IS
  'Internal: the URL of a call and the secret that it carries, or what is missing; settings: see settings_in_force()';

-- The part of alert_url after the origin is a secret by itself: the receiver may echo it without the rest.
CREATE FUNCTION wee5_cron.alert_secret() RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  alert_url constant text := wee5_cron.trimmed(wee5_cron.setting('alert_url'));
BEGIN
  RETURN CASE WHEN alert_url IS NOT NULL THEN nullif((wee5_cron.parse_webhook(alert_url, 'on')).secret, '') END;
EXCEPTION WHEN object_not_in_prerequisite_state OR invalid_parameter_value THEN
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION wee5_cron.alert_secret() IS 'Internal: the part of wee5_cron.alert_url that is a secret; NULL: none';

CREATE FUNCTION wee5_cron.secrets_of(role name) RETURNS text[]
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  found constant record := wee5_cron.find_settings();
BEGIN
  -- A call in flight may carry a secret that only Vault has.
  IF found.vault_trouble IS NOT NULL THEN
    RETURN NULL;
  END IF;
  RETURN ARRAY(
    SELECT DISTINCT s.secret
    FROM unnest(ARRAY[found.cron_secret, (wee5_cron.stored_setting('app.settings.cron_secret')).value,
                      wee5_cron.secret_of_document(found.previous_secret),
                      wee5_cron.secret_of_document((wee5_cron.stored_setting('app.settings.cron_secret_previous')).value),
                      wee5_cron.trimmed(wee5_cron.setting('alert_url')), wee5_cron.alert_secret()]
                || wee5_cron.secrets_of_targets(found.vault_targets)) AS s (secret)
    WHERE s.secret IS NOT NULL);
END
$$;
COMMENT ON FUNCTION wee5_cron.secrets_of(name) IS
  'Internal: every secret that a call may carry, the address of the webhook included; NULL: they are not known, because Vault cannot be read';

CREATE FUNCTION wee5_cron.setting_sources(role name DEFAULT SESSION_USER, OUT name text, OUT source text,
                                          OUT is_set boolean, OUT length int, OUT value text, OUT error text,
                                          OUT hint text)
  RETURNS SETOF record
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  found constant record := wee5_cron.find_settings();
  setting text;
BEGIN
  FOREACH setting IN ARRAY ARRAY['api_url', 'cron_secret'] LOOP
    name := 'app.settings.' || setting;
    source := CASE setting WHEN 'api_url' THEN found.api_url_source ELSE found.cron_secret_source END;
    length := octet_length(coalesce(CASE setting WHEN 'api_url' THEN found.api_url ELSE found.cron_secret END, ''));
    is_set := length > 0;
    value := NULL;
    error := NULL;
    hint := NULL;
    BEGIN
      IF NOT is_set THEN
        error := name || ' is not set, and Vault cannot be read: ' || found.vault_trouble;
        hint := found.vault_hint;
      ELSIF setting = 'api_url' THEN
        PERFORM wee5_cron.parse_api_url(found.api_url, 'on');
        value := found.api_url;
        PERFORM wee5_cron.parse_api_url(found.api_url, wee5_cron.setting('allow_plain_http'));
      ELSE
        PERFORM wee5_cron.check_secret(found.cron_secret);
      END IF;
    EXCEPTION WHEN object_not_in_prerequisite_state OR invalid_parameter_value THEN
      GET STACKED DIAGNOSTICS error = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
    END;
    RETURN NEXT;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.setting_sources(name) IS
  'Internal, for doctor(): where app.settings.* come from for calls of this role (session, role in database, role, database, all, vault, none), how many bytes they have, the address, what is wrong with them and what to do. An address with an error is valid except for plain http. Never the secret';

-- A role that may create triggers there could have our functions run its code, which would see the secret.
CREATE FUNCTION wee5_cron.refuse_tampered_vault() RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  foreign_trigger name;
BEGIN
  IF NOT wee5_cron.extension_installed('supabase_vault') THEN
    RAISE EXCEPTION 'the extension supabase_vault is not installed in this database'
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'CREATE EXTENSION supabase_vault;';
  END IF;
  IF NOT wee5_cron.belongs_to_extension('pg_class', to_regclass('vault.secrets'), 'supabase_vault')
     OR EXISTS (SELECT FROM pg_proc p
                WHERE p.pronamespace = to_regnamespace('vault') AND p.proname IN ('create_secret', 'update_secret')
                  AND NOT wee5_cron.belongs_to_extension('pg_proc', p.oid, 'supabase_vault')) THEN
    RAISE EXCEPTION 'vault.secrets, create_secret() or update_secret() does not belong to the extension supabase_vault'
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Drop what is not Vault''s: \d vault.secrets and \df vault.* show it.';
  END IF;
  IF has_table_privilege('vault.secrets', 'UPDATE, DELETE, TRUNCATE') THEN
    LOCK TABLE vault.secrets IN ROW EXCLUSIVE MODE;
  END IF;
  SELECT t.tgname INTO foreign_trigger FROM pg_trigger t
  WHERE t.tgrelid = to_regclass('vault.secrets') AND NOT t.tgisinternal
    AND NOT wee5_cron.belongs_to_extension('pg_proc', t.tgfoid, 'supabase_vault') LIMIT 1;
  IF foreign_trigger IS NULL AND NOT wee5_cron.triggers_are_seen(to_regclass('vault.secrets')) THEN
    RAISE EXCEPTION 'vault.secrets may have a trigger that this transaction cannot see'
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Call this in a transaction of its own, at READ COMMITTED.';
  ELSIF foreign_trigger IS NOT NULL THEN
    RAISE EXCEPTION 'trigger "%" on vault.secrets does not belong to the extension supabase_vault', foreign_trigger
      USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'It would run with the rights of the owner of wee5_cron and see the secret.',
            HINT = format('DROP TRIGGER %I ON vault.secrets;', foreign_trigger);
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.refuse_tampered_vault() IS 'Internal, for configure(): raises an error where somebody else would see what is written to Vault';

CREATE FUNCTION wee5_cron.store_in_vault(secret_name text, value text, description text) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  SET debug_print_plan = off SET debug_print_rewritten = off SET debug_print_parse = off
  AS $$
DECLARE
  secret_id uuid;
  message text;
BEGIN
  EXECUTE 'SELECT s.id FROM vault.secrets s WHERE s.name = $1' INTO secret_id USING secret_name;
  IF secret_id IS NULL THEN
    EXECUTE 'SELECT vault.create_secret($1, $2, $3)' USING value, secret_name, description;
  ELSE
    EXECUTE 'SELECT vault.update_secret($1, $2)' USING secret_id, value;
  END IF;
EXCEPTION
WHEN read_only_sql_transaction THEN
  RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = SQLERRM, HINT = 'Nothing is wrong with Vault: call this in a transaction that may write.';
WHEN OTHERS THEN
  -- Detail and context may show the row, with the secret in it.
  message := CASE WHEN strpos(SQLERRM, value) > 0 THEN 'Vault refused the secret' ELSE SQLERRM END;
  RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = message,
    HINT = format('DELETE FROM vault.secrets WHERE name = %L; then %s.', secret_name,
                  CASE secret_name WHEN 'cron_targets' THEN 'call wee5_cron.configure_target() again for each target'
                                   ELSE 'call wee5_cron.configure() again' END);
END
$$;
COMMENT ON FUNCTION wee5_cron.store_in_vault(text, text, text) IS 'Internal, for configure(): creates or updates one secret';

-- Checks address and secret by the rules of a call. vault_trouble: why Vault cannot be read. It may hold what is missing.
CREATE FUNCTION wee5_cron.check_given(api_url text, cron_secret text, vault_trouble text, vault_hint text) RETURNS void
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  message text;
  advice text;
BEGIN
  IF api_url IS NULL OR cron_secret IS NULL THEN
    RAISE EXCEPTION '% is not set%', CASE WHEN api_url IS NULL THEN 'app.settings.api_url' ELSE 'app.settings.cron_secret' END,
                    coalesce(', and Vault cannot be read: ' || vault_trouble, '')
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = coalesce(vault_hint, 'SELECT wee5_cron.configure(''https://app.example.com'', ''the secret that the app expects'');');
  END IF;
  PERFORM wee5_cron.parse_api_url(api_url, wee5_cron.setting('allow_plain_http'));
  PERFORM wee5_cron.check_secret(cron_secret);
EXCEPTION WHEN object_not_in_prerequisite_state THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT;
  RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = message, HINT = wee5_cron.hint_here(advice);
END
$$;
COMMENT ON FUNCTION wee5_cron.check_given(text, text, text, text) IS 'Internal, for configure(): raises 22023 where no call could be made so';

CREATE FUNCTION wee5_cron.previous_secret_of(role name, OUT is_kept boolean, OUT api_url text, OUT until timestamptz,
                                             OUT is_used boolean)
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  found constant record := wee5_cron.find_settings();
BEGIN
  is_kept := found.previous_secret IS NOT NULL;
  SELECT p.api_url, wee5_cron.time_of_unix_us(p.until_us) INTO api_url, until
  FROM wee5_cron.read_previous_secret(found.previous_secret) p;
  is_used := coalesce(until > clock_timestamp() AND wee5_cron.same_origin(api_url, found.api_url), false);
END
$$;
COMMENT ON FUNCTION wee5_cron.previous_secret_of(name) IS
  'Internal, for doctor(): whether a previous secret is kept for calls of this role, where it may go and until when (NULL: the value is not what configure() writes), and whether calls use it now. Never the secret';

-- Deletes a secret of Vault, or empties it if the role may not delete it.
CREATE FUNCTION wee5_cron.remove_from_vault(secret_name text) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  present boolean;
BEGIN
  EXECUTE 'SELECT EXISTS (SELECT FROM vault.secrets s WHERE s.name = $1)' INTO present USING secret_name;
  IF NOT present THEN
    RETURN;
  ELSIF has_table_privilege('vault.secrets', 'DELETE') THEN
    EXECUTE 'DELETE FROM vault.secrets s WHERE s.name = $1' USING secret_name;
  ELSE
    PERFORM wee5_cron.store_in_vault(secret_name, '{}', '');
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.remove_from_vault(text) IS 'Internal, for configure(): removes one secret';

-- `found`: address and secret until now.
CREATE FUNCTION wee5_cron.keep_previous_secret(found record, new_url text, new_secret text, keep boolean) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  place constant text := wee5_cron.setting('vault_cron_secret') || '_previous';
BEGIN
  CASE wee5_cron.rotation_step(found.cron_secret, new_secret, wee5_cron.same_origin(found.api_url, new_url), keep)
    WHEN 'replace' THEN
      PERFORM wee5_cron.store_in_vault(place, wee5_cron.write_previous_secret(found.cron_secret, found.api_url,
                                                wee5_cron.unix_us(clock_timestamp() + interval '24 hours')),
                                       'wee5_cron: the bearer secret that the app expected before');
    WHEN 'remove' THEN PERFORM wee5_cron.remove_from_vault(place);
    ELSE NULL;
  END CASE;
END
$$;
COMMENT ON FUNCTION wee5_cron.keep_previous_secret(record, text, text, boolean) IS
  'Internal, for configure(): keeps the secret that is replaced, or removes the one that is kept';

-- Whoever may not read a secret must not send it to an address of his choice.
CREATE FUNCTION wee5_cron.refuse_new_address(found record, new_url text, replaces_secret boolean) RETURNS void
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF pg_has_role(session_user, current_user, 'USAGE') OR pg_has_role(session_user, 'pg_read_all_settings', 'USAGE') THEN
    RETURN;
  ELSIF new_url IS DISTINCT FROM found.api_url AND NOT replaces_secret THEN
    RAISE EXCEPTION 'the stored secret would be sent to a new address'
      USING ERRCODE = 'insufficient_privilege',
            HINT = 'Give the secret as well. Only the owner of wee5_cron and pg_read_all_settings may leave it out.';
  ELSIF NOT coalesce(wee5_cron.same_origin(new_url, found.api_url), false)
        AND EXISTS (SELECT FROM wee5_cron.target_documents(found.vault_targets) d WHERE d.targets ? 'app') THEN
    RAISE EXCEPTION 'calls would send the secret headers of the app to the new address'
      USING ERRCODE = 'insufficient_privilege',
            HINT = 'Only the owner of wee5_cron and members of pg_read_all_settings may do that. Or remove the headers '
                   'first: SELECT wee5_cron.drop_target(''app'');';
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.refuse_new_address(record, text, boolean) IS
  'Internal, for configure(): raises 42501 where a role that may not read a secret would send it to another address';

CREATE FUNCTION wee5_cron.configure(api_url text DEFAULT NULL, cron_secret text DEFAULT NULL, store text DEFAULT 'vault',
                                    keep_previous boolean DEFAULT true) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  found record;
  new_url text;
  new_secret text;
BEGIN
  IF $3 = 'database' THEN
    RAISE EXCEPTION 'the portable edition stores settings in Vault only'
      USING ERRCODE = 'feature_not_supported', HINT = 'Leave store out.';
  ELSIF $3 IS DISTINCT FROM 'vault' THEN
    -- The message must not show the value: it is the secret if the caller mixed up the arguments.
    RAISE EXCEPTION 'unknown store' USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave store out.';
  ELSIF $4 IS NULL THEN
    RAISE EXCEPTION 'keep_previous must not be NULL'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'Leave it out to keep the secret that is replaced for a day.';
  ELSIF wee5_cron.trimmed($1) IS NULL AND $1 IS NOT NULL OR wee5_cron.trimmed($2) IS NULL AND $2 IS NOT NULL THEN
    RAISE EXCEPTION '% is blank', CASE WHEN wee5_cron.trimmed($1) IS NULL AND $1 IS NOT NULL THEN 'api_url' ELSE 'cron_secret' END
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'SELECT wee5_cron.configure(''https://app.example.com'', ''the secret that the app expects'');';
  END IF;
  -- Lock before you read: another configure() may be about to replace the stored values.
  LOCK TABLE wee5_cron.setting IN SHARE ROW EXCLUSIVE MODE;
  found := wee5_cron.find_settings();
  new_url := coalesce(wee5_cron.trimmed($1), found.api_url);
  new_secret := coalesce(wee5_cron.trimmed($2), found.cron_secret);
  PERFORM wee5_cron.check_given(new_url, new_secret, found.vault_trouble, found.vault_hint);
  PERFORM wee5_cron.refuse_new_address(found, new_url, wee5_cron.trimmed($2) IS NOT NULL);
  IF $1 IS NOT NULL OR $2 IS NOT NULL OR NOT $4 THEN
    PERFORM wee5_cron.refuse_tampered_vault();
    PERFORM wee5_cron.keep_previous_secret(found, new_url, new_secret, $4);
  END IF;
  IF $1 IS NOT NULL THEN
    PERFORM wee5_cron.store_in_vault(wee5_cron.setting('vault_api_url'), new_url, 'wee5_cron: where the app is');
  END IF;
  IF $2 IS NOT NULL THEN
    PERFORM wee5_cron.store_in_vault(wee5_cron.setting('vault_cron_secret'), new_secret,
                                     'wee5_cron: the bearer secret that the app expects');
  END IF;
  IF octet_length(new_secret) < 16 THEN
    RAISE WARNING 'the secret has fewer than 16 characters and can be guessed'
      USING HINT = 'Generate a strong one, e.g. with "openssl rand -hex 32", and set it as CRON_SECRET in the app, too.';
  END IF;
  PERFORM wee5_cron.arm();
  PERFORM wee5_cron.register_jobs();
END
$$;
COMMENT ON FUNCTION wee5_cron.configure(text, text, text, boolean) IS
  'Checks and stores the app''s address and the bearer secret in Vault, arms this database, and registers the jobs. What you leave out stays as it is stored. It returns neither of them. For 24 hours, a call that the app answers with 401 is sent again with the secret that was replaced. keep_previous => false turns this off';

CREATE FUNCTION wee5_cron.library_preloaded() RETURNS boolean
  LANGUAGE sql VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT false $$;
COMMENT ON FUNCTION wee5_cron.library_preloaded() IS
  'Internal: whether wee5_cron is in shared_preload_libraries. After this call the session can read the settings wee5_cron.*';

CREATE FUNCTION wee5_cron.library_version() RETURNS text
  LANGUAGE plpgsql VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ BEGIN RETURN '@version@'; END $$;
COMMENT ON FUNCTION wee5_cron.library_version() IS 'Internal, for doctor(): the version of the library that is loaded';

CREATE FUNCTION wee5_cron.server_setting(name text) RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  -- Without EXCEPTION, since a parallel query may call it. pg_settings leaves out what this role may not see, but takes longer.
  IF pg_has_role('pg_read_all_settings', 'USAGE') THEN
    RETURN current_setting($1, true);
  END IF;
  RETURN (SELECT current_setting(s.name) FROM pg_settings s WHERE s.name = $1);
END
$$;
COMMENT ON FUNCTION wee5_cron.server_setting(text) IS
  'Internal: a setting of pg_cron, or shared_preload_libraries; NULL if there is no such setting';
