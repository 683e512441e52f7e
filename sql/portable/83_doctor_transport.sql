CREATE FUNCTION wee5_cron.worker_sees_pg_cron() RETURNS boolean
  LANGUAGE sql VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT false $$;
COMMENT ON FUNCTION wee5_cron.worker_sees_pg_cron() IS
  'Internal, for doctor(): whether a worker of this server has found pg_cron in its database';

CREATE FUNCTION wee5_cron.transport_of_a_get() RETURNS text
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT 'pg_net' $$;
COMMENT ON FUNCTION wee5_cron.transport_of_a_get() IS
  'Internal, for doctor(): the transport of a call of this session, or the error that the call would raise';

-- NULL: this role may not see other processes.
CREATE FUNCTION wee5_cron.pg_net_worker_lives() RETURNS boolean
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE WHEN bool_or(a.backend_type LIKE '%pg_net%' AND a.datname = current_database()) THEN true
                WHEN bool_or(a.backend_type IS NULL) THEN NULL ELSE false END
    FROM pg_stat_activity a
  $$;
COMMENT ON FUNCTION wee5_cron.pg_net_worker_lives() IS
  'Internal, for doctor(): whether pg_net is installed in this database and its worker runs';

CREATE FUNCTION wee5_cron.doctor_pg_net_worker() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF wee5_cron.pg_net_worker_lives() THEN
    RETURN NEXT ('pg_net_worker', 'ok', 'pg_net''s worker runs', NULL)::wee5_cron.finding;
  ELSIF wee5_cron.pg_net_worker_lives() IS NULL THEN
    RETURN NEXT ('pg_net_worker', 'ok', 'not known: the owner of wee5_cron may not see other processes', NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_net_worker', 'error', 'pg_net is installed in this database, but its worker does not run here: calls stay queued',
                 E'SELECT net.worker_restart();\n-- if that does not help, restart the project')::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_pg_net_worker() IS 'Internal, for doctor(): whether pg_net''s worker runs';

CREATE FUNCTION wee5_cron.doctor_pg_net_readers() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  readers text;
BEGIN
  SELECT string_agg(quote_ident(r.rolname), ', ' ORDER BY r.rolname) INTO readers
  FROM pg_roles r
  WHERE r.rolcanlogin AND NOT r.rolsuper AND r.rolname <> current_user AND r.rolname !~ '^(supabase_|pgbouncer$|authenticator$|cli_login_)'
    AND has_schema_privilege(r.oid, 'net', 'USAGE') AND has_table_privilege(r.oid, 'net.http_request_queue', 'SELECT');
  IF readers IS NULL THEN
    RETURN NEXT ('pg_net_readers', 'ok', 'no other login role of yours can read pg_net''s queue', NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('pg_net_readers', 'warning',
                 'these login roles can read and change net.http_request_queue, which holds the bearer secret until a call is sent: '
                 || readers,
                 wee5_cron.doctor_comment('pg_net grants that to every role, and its owner is your host: a REVOKE of yours has no '
                                          'effect. Give a login only to people who may know the secret.'))::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_pg_net_readers() IS 'Internal, for doctor(): whether every role can read pg_net''s tables';

-- pg_net sends requests in batches. The next batch begins when the slowest request of the last one has ended.
CREATE FUNCTION wee5_cron.doctor_request_timeout() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  slow text;
BEGIN
  SELECT string_agg(e.endpoint_path, ', ' ORDER BY e.endpoint_path) INTO slow
  FROM wee5_cron.endpoint e WHERE e.timeout > interval '30 seconds';
  IF wee5_cron.setting_ms('request_timeout') > 30000 THEN
    RETURN NEXT ('request_timeout', 'warning',
                 format('wee5_cron.request_timeout is %s: a slow route keeps all other calls of pg_net waiting that long',
                        wee5_cron.setting('request_timeout')),
                 'SELECT wee5_cron.set(''request_timeout'', ''30s'');')::wee5_cron.finding;
  ELSIF slow IS NOT NULL THEN
    RETURN NEXT ('request_timeout', 'warning',
                 'these paths may keep all other calls of pg_net waiting for more than 30 seconds: ' || left(slow, 500),
                 'UPDATE wee5_cron.endpoint SET timeout = ''30s'' WHERE timeout > ''30s'';')::wee5_cron.finding;
  ELSE
    RETURN NEXT ('request_timeout', 'ok', 'no route may keep pg_net waiting for more than 30 seconds', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_request_timeout() IS 'Internal, for doctor(): timeouts that stall pg_net';
