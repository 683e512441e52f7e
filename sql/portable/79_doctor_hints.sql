-- How doctor()'s hints change settings and restore objects in this edition.

CREATE FUNCTION wee5_cron.doctor_set(source text, role name, setting text, value text) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE setting WHEN 'app.settings.api_url' THEN format('SELECT wee5_cron.configure(%L);', value)
                        ELSE format('SELECT wee5_cron.configure(cron_secret => %L);', value) END
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_set(text, name, text, text) IS
  'Internal, for doctor(): the statement that changes a setting where it is stored';

CREATE FUNCTION wee5_cron.doctor_set_secret(source text, role name, placeholder text) RETURNS text
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT wee5_cron.doctor_set(source, role, 'app.settings.cron_secret', placeholder) $$;
COMMENT ON FUNCTION wee5_cron.doctor_set_secret(text, name, text) IS
  'Internal, for doctor(): the statement that changes the secret where it is stored';

CREATE FUNCTION wee5_cron.doctor_preload() RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT '-- Only your host can change that: restart the project, or ask its support' $$;
COMMENT ON FUNCTION wee5_cron.doctor_preload() IS
  'Internal, for doctor(): the statement that adds the libraries that this database needs to shared_preload_libraries';

CREATE FUNCTION wee5_cron.doctor_uses_pg_net() RETURNS boolean
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT true $$;
COMMENT ON FUNCTION wee5_cron.doctor_uses_pg_net() IS 'Internal, for doctor(): whether calls of this session use pg_net';

CREATE FUNCTION wee5_cron.doctor_lost_function() RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT '-- run wee5_cron--portable.sql again' $$;
COMMENT ON FUNCTION wee5_cron.doctor_lost_function() IS
  'Internal, for doctor(): what to do where invoke_cron_endpoint() is not found under its name';
