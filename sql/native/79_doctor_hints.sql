-- How doctor()'s hints change settings and restore objects in this edition.

-- Changes a setting where it is stored now.
CREATE FUNCTION wee5_cron.doctor_set(source text, role name, setting text, value text) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE source
      WHEN 'vault' THEN
        format('SELECT vault.update_secret((SELECT id FROM vault.secrets WHERE name = %L), %L);',
               wee5_cron.setting('vault_' || replace(setting, 'app.settings.', '')), value)
      ELSE CASE source
             WHEN 'role in database' THEN format('ALTER ROLE %I IN DATABASE %I', role, current_database())
             WHEN 'role' THEN format('ALTER ROLE %I', role)
             WHEN 'all' THEN 'ALTER ROLE ALL'
             ELSE format('ALTER DATABASE %I', current_database())
           END || format(' SET %s = %L;', setting, value)
      END
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_set(text, name, text, text) IS
  'Internal, for doctor(): the statement that changes a setting where it is stored';

-- Preloads what this database needs, in addition to what is preloaded now. Several checks give this statement as their hint. It
-- is the same for all of them, so that pasting one after the other takes nothing back. A server does not start if it
-- lacks a library in the list: only installed ones are added.
CREATE FUNCTION wee5_cron.doctor_preload() RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH preloaded AS (
      SELECT btrim(name, ' "') AS name, n
      FROM unnest(string_to_array(wee5_cron.server_setting('shared_preload_libraries'), ',')) WITH ORDINALITY AS l (name, n)
      WHERE btrim(name, ' "') <> ''
    ), needed (name, n) AS (
      SELECT 'pg_cron', 1001 WHERE EXISTS (SELECT FROM pg_available_extensions a WHERE a.name = 'pg_cron')
      UNION ALL SELECT 'pg_net', 1002 WHERE wee5_cron.extension_installed('pg_net')
      UNION ALL SELECT 'wee5_cron', 1003
    )
    SELECT format(E'ALTER SYSTEM SET shared_preload_libraries = %s;\n-- then restart the server',
                  string_agg(quote_literal(name), ', ' ORDER BY n))
    FROM (SELECT p.name, p.n FROM preloaded p
          UNION ALL
          SELECT n.name, n.n FROM needed n WHERE n.name NOT IN (SELECT p.name FROM preloaded p)) l
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_preload() IS
  'Internal, for doctor(): the statement that adds the libraries that this database needs to shared_preload_libraries';

CREATE FUNCTION wee5_cron.doctor_lost_function() RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT '-- rename the function back to invoke_cron_endpoint' $$;
COMMENT ON FUNCTION wee5_cron.doctor_lost_function() IS
  'Internal, for doctor(): what to do where invoke_cron_endpoint() is not found under its name';
