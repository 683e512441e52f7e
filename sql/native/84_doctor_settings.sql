CREATE FUNCTION wee5_cron.api_url_parts(api_url text, OUT url text, OUT scheme text, OUT host text, OUT rest text,
                                        OUT private_host boolean, OUT loopback_host boolean)
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_api_url_parts';
COMMENT ON FUNCTION wee5_cron.api_url_parts(text) IS
  'Internal, for doctor(): the parts of an address, as libcurl reads it. rest is what follows scheme://';

CREATE FUNCTION wee5_cron.plain_http_allowed(host text) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_plain_http_allowed';
COMMENT ON FUNCTION wee5_cron.plain_http_allowed(text) IS
  'Internal, for doctor(): whether wee5_cron.allow_plain_http, as the worker of this database sees it, allows plain http to a host';

CREATE FUNCTION wee5_cron.inside_container() RETURNS text
  LANGUAGE c VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_inside_container';
COMMENT ON FUNCTION wee5_cron.inside_container() IS
  'Internal, for doctor(): the sign that the server runs in a container; NULL if there is none';

CREATE FUNCTION wee5_cron.resolve_host(host text, patience_ms int, OUT address text, OUT error text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_resolve_host';
COMMENT ON FUNCTION wee5_cron.resolve_host(text, int) IS
  'Internal, for doctor(): the first address that libcurl finds for a host, or why there is none';

CREATE FUNCTION wee5_cron.proxy_shown() RETURNS text
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_proxy_shown';
COMMENT ON FUNCTION wee5_cron.proxy_shown() IS
  'Internal, for doctor(): host and port of wee5_cron.proxy, as the worker of this database sees it, never user or password. NULL: no proxy. 55000 if the setting cannot be read';

CREATE FUNCTION wee5_cron.doctor_proxy() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  proxy text;
BEGIN
  BEGIN
    proxy := wee5_cron.proxy_shown();
  EXCEPTION WHEN object_not_in_prerequisite_state THEN
    RETURN NEXT ('proxy', 'error', 'no call is made, because wee5_cron.proxy cannot be read: ' || SQLERRM,
                 format(E'ALTER DATABASE %I RESET wee5_cron.proxy;\nALTER SYSTEM RESET wee5_cron.proxy;\n'
                        'SELECT pg_reload_conf();', current_database()))::wee5_cron.finding;
    RETURN;
  END;
  IF proxy IS NULL THEN
    RETURN NEXT ('proxy', 'ok', 'calls are made without a proxy', NULL)::wee5_cron.finding;
  ELSIF wee5_cron.doctor_uses_pg_net() THEN
    RETURN NEXT ('proxy', 'warning', format('pg_net ignores wee5_cron.proxy: calls do not go through %s', proxy),
                 wee5_cron.doctor_use_builtin())::wee5_cron.finding;
  ELSE
    RETURN NEXT ('proxy', 'ok', format('calls go through the proxy %s', proxy), NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_proxy() IS 'Internal, for doctor(): the proxy that calls use';

CREATE FUNCTION wee5_cron.doctor_cron_secret_readers() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  stored constant boolean := EXISTS (
    SELECT FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) AS entry
    WHERE entry ~* '^app[.]settings[.]cron_(secret|secret_previous|targets)=.'
      AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())));
  -- All databases share the table, but each has its own privileges on it.
  elsewhere constant text := (
    SELECT string_agg(format('"%s"', d.datname), ', ' ORDER BY d.datname) FROM pg_database d
    WHERE d.datallowconn AND d.datname <> current_database()
      AND EXISTS (SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
                  WHERE a.grantee = 0 AND a.privilege_type = 'CONNECT'));
  protected text;
BEGIN
  IF NOT stored THEN
    RETURN NEXT ('cron_secret_readers', 'ok', 'no secret is stored with ALTER DATABASE or ALTER ROLE',
                 NULL)::wee5_cron.finding;
  ELSIF has_table_privilege('public', 'pg_catalog.pg_db_role_setting', 'SELECT') THEN
    RETURN NEXT ('cron_secret_readers', 'warning',
                 'every role may read pg_db_role_setting, where ALTER DATABASE and ALTER ROLE store the secret',
                 'REVOKE SELECT ON pg_catalog.pg_db_role_setting FROM PUBLIC;'
                 || coalesce(E'\n-- and in each other database that roles may connect to: ' || elsewhere, '')
                )::wee5_cron.finding;
  ELSE
    RETURN NEXT ('cron_secret_readers', 'ok',
                 'pg_db_role_setting is not open to every role in this database'
                 || coalesce('; ask doctor() in the other databases, too: ' || elsewhere, ''),
                 NULL)::wee5_cron.finding;
  END IF;

  protected := current_setting('wee5_cron.protect_secret', true);
  IF protected = 'on' THEN
    RETURN NEXT ('protect_secret', 'ok', 'only superusers and pg_read_all_settings may SHOW the secret',
                 NULL)::wee5_cron.finding;
  ELSIF protected = 'off' THEN
    RETURN NEXT ('protect_secret', 'warning', 'wee5_cron.protect_secret is off: every role may SHOW the secret',
                 E'ALTER SYSTEM SET wee5_cron.protect_secret = on;\n-- then restart the server')::wee5_cron.finding;
  ELSE
    RETURN NEXT ('protect_secret', 'warning', 'wee5_cron is not preloaded: every role may SHOW the secret',
                 wee5_cron.doctor_preload())::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_cron_secret_readers() IS 'Internal, for doctor(): who else can read the secret';

-- Replaces the secret where it is stored now. configure() keeps it out of logs and statistics.
CREATE FUNCTION wee5_cron.doctor_set_secret(source text, role name, placeholder text) RETURNS text
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE
      WHEN source IN ('role in database', 'role', 'all')
      THEN wee5_cron.doctor_set(source, role, 'app.settings.cron_secret', placeholder)
      ELSE format('SELECT wee5_cron.configure(%L, %L%s);',
                  coalesce((SELECT p.url FROM wee5_cron.setting_sources(role) s, wee5_cron.api_url_parts(s.value) p
                            WHERE s.name = 'app.settings.api_url' AND s.value IS NOT NULL), 'https://app.example.com'),
                  placeholder, CASE source WHEN 'vault' THEN ', store => ''vault''' ELSE '' END)
      END
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_set_secret(text, name, text) IS
  'Internal, for doctor(): the statement that changes the secret where it is stored';
