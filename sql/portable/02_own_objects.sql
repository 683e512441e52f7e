-- Which objects are ours, and which edition this is.

CREATE FUNCTION wee5_cron.edition() RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT 'portable' $$;
COMMENT ON FUNCTION wee5_cron.edition() IS 'Internal: native: the extension; portable: the SQL file for servers that cannot load the library';

-- The one object outside our schema, recognized by its body. NULL: there is none.
CREATE FUNCTION wee5_cron.function_outside() RETURNS oid
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN (SELECT p.oid
          FROM pg_proc p JOIN pg_namespace n ON n.nspowner = p.proowner
          WHERE p.oid = to_regprocedure('public.invoke_cron_endpoint(text)') AND p.prosrc LIKE '% wee5_cron.make_call(%'
            AND n.nspname = 'wee5_cron');
END
$$;
COMMENT ON FUNCTION wee5_cron.function_outside() IS 'Internal: invoke_cron_endpoint(), if it is ours';

-- Nobody but the owner may create objects in our schema.
CREATE FUNCTION wee5_cron.extension_members(OUT classid oid, OUT objid oid) RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH ours AS MATERIALIZED (SELECT to_regnamespace('wee5_cron')::oid AS oid)
    SELECT 'pg_namespace'::regclass, o.oid FROM ours o
    UNION ALL
    SELECT 'pg_class'::regclass, c.oid FROM pg_class c JOIN ours o ON c.relnamespace = o.oid
    UNION ALL
    SELECT 'pg_type'::regclass, t.oid FROM pg_type t JOIN ours o ON t.typnamespace = o.oid
    UNION ALL
    SELECT 'pg_proc'::regclass, p.oid FROM pg_proc p JOIN ours o ON p.pronamespace = o.oid
    UNION ALL
    SELECT 'pg_proc'::regclass, f FROM wee5_cron.function_outside() f WHERE f IS NOT NULL
  $$;
COMMENT ON FUNCTION wee5_cron.extension_members() IS 'Internal: the objects that wee5_cron made';

CREATE FUNCTION wee5_cron.is_ours(catalog regclass, object oid) RETURNS boolean
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN coalesce(CASE catalog WHEN 'pg_namespace'::regclass THEN object = to_regnamespace('wee5_cron')
                  -- The name is quoted if the session says quote_all_identifiers = on.
                  ELSE (parse_ident((pg_identify_object(catalog, object, 0)).schema))[1] = 'wee5_cron' END, false)
      OR catalog = 'pg_proc'::regclass AND coalesce(object = wee5_cron.function_outside(), false);
END
$$;
COMMENT ON FUNCTION wee5_cron.is_ours(regclass, oid) IS 'Internal: whether wee5_cron made the object';

-- session_user may be a login role that exists for an hour. The owner's jobs stay.
CREATE FUNCTION wee5_cron.job_role() RETURNS name
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN (SELECT pg_get_userbyid(n.nspowner) FROM pg_namespace n WHERE n.nspname = 'wee5_cron');
END
$$;
COMMENT ON FUNCTION wee5_cron.job_role() IS 'Internal: the role that new jobs belong to';

-- The extension keeps its settings in those of the server. This edition keeps them in a table, and address and secret in Vault. Its
-- owner is no superuser: what takes one is left to the host.
CREATE FUNCTION wee5_cron.hint_here(hint text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  -- ALTER DATABASE with a name, quoted or not, and ALTER SYSTEM.
  alter_it constant text := 'ALTER (?:DATABASE (?:"(?:[^"]|"")+"|[^ ]+)|SYSTEM) ';
  only_host constant text := '-- Only your host can change that: ';
  roots constant text := 'pg_net trusts the root certificates of the server, which only your host can change.';
BEGIN
  IF hint IS NULL THEN
    RETURN NULL;
  END IF;
  -- pg_net has no such settings.
  hint := regexp_replace(hint, ', or name (?:another file|the authority''s own certificates): ' || alter_it
                               || 'SET wee5_cron\.ca_file = [^;]*; SELECT pg_reload_conf\(\);', '. ' || roots);
  hint := replace(hint, 'To trust other roots than the system''s, set wee5_cron.ca_file.', roots);
  hint := replace(hint, ' wee5_cron.connect_timeout limits how long a connection may take.', '');
  hint := replace(hint, 'To make the call with the builtin transport: ', 'CREATE EXTENSION pg_net; then: ');

  hint := replace(hint, 'let a superuser raise', 'let the owner of wee5_cron raise');
  hint := regexp_replace(hint, alter_it || 'SET wee5_cron\.(\w+) = ''((?:[^'']|'''')+)''', 'SELECT wee5_cron.set(''\1'', ''\2'')', 'g');
  hint := regexp_replace(hint, alter_it || 'SET wee5_cron\.(\w+) = (\w+)', 'SELECT wee5_cron.set(''\1'', ''\2'')', 'g');
  hint := regexp_replace(hint, alter_it || 'SET app\.settings\.api_url = (''(?:[^'']|'''')+'')', 'SELECT wee5_cron.configure(\1)', 'g');
  hint := regexp_replace(hint, alter_it || 'SET app\.settings\.cron_secret = (''(?:[^'']|'''')+''|\.\.\.)',
                         'SELECT wee5_cron.configure(cron_secret => \1)', 'g');
  hint := replace(hint, 'SHOW app.settings.api_url', 'SELECT value FROM wee5_cron.setting_sources()');
  hint := regexp_replace(hint, '(wee5_cron\.set\([^)]*\));\s*SELECT pg_reload_conf\(\)', '\1', 'g');

  -- cron.job is read-only here, too.
  hint := regexp_replace(hint, '^ALTER SYSTEM SET cron\.use_background_workers = .*$', only_host || 'pg_cron cannot log in as the job''s role. Ask its support');
  hint := regexp_replace(hint, 'ALTER SYSTEM SET [a-z_.]+ = [^;]*;\s*(?:-- then restart the server|SELECT pg_reload_conf\(\);)',
                         only_host || 'restart the project, or ask its support', 'g');
  hint := regexp_replace(hint, '(?:Give the job to a role that may call: )?SELECT cron\.alter_job\((\d+), username => [^;]*;',
                         only_host || E'the job belongs to another role. Ask its support to run\n-- SELECT cron.unschedule(\\1);');
  IF hint ~ '^ALTER ROLE [^;]* (BYPASSRLS|NOSUPERUSER);|^GRANT pg_read_all_stats ' THEN
    hint := only_host || E'ask its support to run\n-- ' || replace(split_part(hint, E'\n-- and for pause()', 1), E'\n', E'\n-- ');
  END IF;
  hint := replace(hint, ' If max_worker_processes is used up, see worker_slots.', ' If max_worker_processes is used up, only your host can raise it.');
  hint := replace(hint, E'\nVACUUM cron.job_run_details;', '');
  hint := replace(hint, '; without a worker, schedule a nightly job', '');
  RETURN regexp_replace(hint, '^(.*\n)?-- the worker ', '\1-- the job wee5-cron-harvest ');
END
$$;
COMMENT ON FUNCTION wee5_cron.hint_here(text) IS 'Internal: a hint in the words of this edition, where settings are changed in another way';
