-- doctor(): the app's address and the secret. These functions never see the secret itself: setting_sources() says where it is
-- stored, how long it is, and whether a header can hold it.

-- Roles with the same value share a row; role is one of them.
CREATE FUNCTION wee5_cron.doctor_api_urls(OUT roles text, OUT role name, OUT source text, OUT error text, OUT hint text,
                                          OUT url text, OUT scheme text, OUT host text, OUT rest text,
                                          OUT private_host boolean, OUT loopback_host boolean) RETURNS SETOF record
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT string_agg(format('"%s"', r.role), ', ' ORDER BY r.role), min(r.role::text)::name, s.source, s.error, s.hint, p.*
    FROM wee5_cron.doctor_roles() AS r (role)
    CROSS JOIN LATERAL wee5_cron.setting_sources(r.role) s
    LEFT JOIN LATERAL wee5_cron.api_url_parts(s.value) p ON s.value IS NOT NULL
    WHERE s.name = 'app.settings.api_url'
    GROUP BY s.source, s.error, s.hint, p.url, p.scheme, p.host, p.rest, p.private_host, p.loopback_host
    ORDER BY 1
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_api_urls() IS 'Internal, for doctor(): the addresses that calls use, with the users that have them';

CREATE FUNCTION wee5_cron.doctor_secrets(OUT roles text, OUT role name, OUT source text, OUT length int, OUT error text,
                                         OUT hint text) RETURNS SETOF record
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT string_agg(format('"%s"', r.role), ', ' ORDER BY r.role), min(r.role::text)::name, s.source, s.length, s.error,
           s.hint
    FROM wee5_cron.doctor_roles() AS r (role)
    CROSS JOIN LATERAL wee5_cron.setting_sources(r.role) s
    WHERE s.name = 'app.settings.cron_secret'
    GROUP BY s.source, s.length, s.error, s.hint
    ORDER BY 1
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_secrets() IS
  'Internal, for doctor(): where the secrets that calls use are stored, with the users that have them; never the secrets';

CREATE FUNCTION wee5_cron.doctor_place(source text, roles text) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE source
      WHEN 'role in database' THEN format('set for %s in database "%s"', roles, current_database())
      WHEN 'role' THEN 'set for ' || roles
      WHEN 'database' THEN format('set for database "%s"', current_database())
      WHEN 'all' THEN 'set for everybody'
      WHEN 'vault' THEN 'from Vault'
      WHEN 'session' THEN 'set in this session'
      ELSE 'not set' END
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_place(text, text) IS 'Internal, for doctor(): where a setting comes from, in words';

-- One row of doctor_api_urls() is one address, with the users that have it.
CREATE FUNCTION wee5_cron.doctor_api_url() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  setting record;
BEGIN
  FOR setting IN SELECT * FROM wee5_cron.doctor_api_urls() LOOP
    IF setting.source = 'session' THEN
      RETURN NEXT ('api_url', 'warning', 'this session has SET its own app.settings.api_url, which no job sees',
                   'RESET app.settings.api_url;')::wee5_cron.finding;
    END IF;
    IF setting.url IS NULL THEN
      RETURN NEXT ('api_url', 'error',
                   coalesce(setting.error, 'app.settings.api_url is not set') || ' (for ' || setting.roles || ')',
                   concat_ws(E'\n', wee5_cron.doctor_set(setting.source, setting.role, 'app.settings.api_url',
                                                         'https://app.example.com'),
                             wee5_cron.doctor_comment(setting.hint)))::wee5_cron.finding;
    ELSE
      RETURN NEXT ('api_url', 'ok', format('%s, %s', setting.url, wee5_cron.doctor_place(setting.source, setting.roles)),
                   NULL)::wee5_cron.finding;
    END IF;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_api_url() IS 'Internal, for doctor(): app.settings.api_url';

CREATE FUNCTION wee5_cron.doctor_api_url_https() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  setting record;
  allowed boolean;
  lines bigint := 0;
BEGIN
  FOR setting IN SELECT * FROM wee5_cron.doctor_api_urls() u WHERE u.url IS NOT NULL LOOP
    lines := lines + 1;
    IF setting.scheme = 'https' THEN
      RETURN NEXT ('api_url_https', 'ok', setting.url || ' is https', NULL)::wee5_cron.finding;
    ELSIF setting.private_host THEN
      RETURN NEXT ('api_url_https', 'ok', setting.url || ' is plain http to a private host', NULL)::wee5_cron.finding;
    ELSE
      allowed := wee5_cron.plain_http_allowed(setting.host);
      RETURN NEXT ('api_url_https', CASE WHEN allowed THEN 'warning' ELSE 'error' END,
                   format('%s sends the bearer secret in clear text over a public network%s', setting.url,
                          CASE WHEN allowed THEN ' (wee5_cron.allow_plain_http allows it)' ELSE ': calls are refused' END),
                   wee5_cron.doctor_set(setting.source, setting.role, 'app.settings.api_url',
                                        'https://' || setting.rest))::wee5_cron.finding;
    END IF;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('api_url_https', 'ok', 'does not apply: see api_url', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_api_url_https() IS
  'Internal, for doctor(): whether the secret crosses a public network in clear text';

CREATE FUNCTION wee5_cron.doctor_api_url_loopback() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  container constant text := wee5_cron.inside_container();
  setting record;
  lines bigint := 0;
BEGIN
  FOR setting IN SELECT * FROM wee5_cron.doctor_api_urls() u WHERE u.url IS NOT NULL LOOP
    lines := lines + 1;
    IF NOT setting.loopback_host THEN
      RETURN NEXT ('api_url_loopback', 'ok', setting.host || ' is not a loopback address', NULL)::wee5_cron.finding;
    ELSIF container IS NULL THEN
      RETURN NEXT ('api_url_loopback', 'ok', setting.host || ' is this machine, which is not a container', NULL)::wee5_cron.finding;
    ELSIF EXISTS (
        -- Something answers there: then the app is in this container.
        SELECT FROM (SELECT i.url, i.http_status FROM wee5_cron.invocation i ORDER BY i.id DESC LIMIT 1000) i
        WHERE i.http_status IS NOT NULL AND starts_with(i.url, setting.url || '/')) THEN
      RETURN NEXT ('api_url_loopback', 'ok', setting.url || ' has answered from within this container', NULL)::wee5_cron.finding;
    ELSE
      RETURN NEXT ('api_url_loopback', 'warning',
                   format('%s is this container itself (%s), and nothing has answered there so far', setting.url, container),
                   wee5_cron.doctor_set(setting.source, setting.role, 'app.settings.api_url',
                                        setting.scheme || '://host.docker.internal'
                                        || substr(setting.rest, length(setting.host) + 1))
                   || E'\n-- that is the host of the container; for an app in another container, use its service name'
                  )::wee5_cron.finding;
    END IF;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('api_url_loopback', 'ok', 'does not apply: see api_url', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_api_url_loopback() IS
  'Internal, for doctor(): whether the address is localhost inside a container';

CREATE FUNCTION wee5_cron.doctor_api_url_resolves() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  -- For all of them together.
  deadline constant timestamptz := clock_timestamp() + interval '3 seconds';
  hosts text[];
  wanted text;
  answer record;
  plain record;
BEGIN
  IF NOT wee5_cron.doctor_uses_pg_net() AND wee5_cron.proxy_shown() IS NOT NULL THEN
    RETURN NEXT ('api_url_resolves', 'ok', 'does not apply: the proxy looks up the names', NULL)::wee5_cron.finding;
    RETURN;
  END IF;
  SELECT array_agg(DISTINCT s.host) INTO hosts FROM wee5_cron.doctor_api_urls() s WHERE s.host IS NOT NULL;
  IF hosts IS NULL THEN
    RETURN NEXT ('api_url_resolves', 'ok', 'does not apply: see api_url', NULL)::wee5_cron.finding;
    RETURN;
  END IF;
  FOREACH wanted IN ARRAY hosts LOOP
    answer := wee5_cron.resolve_host(
      wanted, greatest(100, least(2000, extract(epoch FROM deadline - clock_timestamp()) * 1000))::int);
    -- Plain http is allowed for private names. The network's own DNS decides what they lead to, so a public address is
    -- worth a warning.
    SELECT s.source, s.role, s.rest INTO plain FROM wee5_cron.doctor_api_urls() s
    WHERE s.host = wanted AND s.scheme = 'http' AND s.private_host AND answer.address IS NOT NULL LIMIT 1;
    IF FOUND AND NOT (wee5_cron.api_url_parts(
         format(CASE WHEN answer.address LIKE '%:%' THEN 'http://[%s]' ELSE 'http://%s' END, answer.address))).private_host THEN
      RETURN NEXT ('api_url_resolves', 'warning',
                   format('%s has the public address %s, and the secret goes there in clear text', wanted, answer.address),
                   wee5_cron.doctor_set(plain.source, plain.role, 'app.settings.api_url', 'https://' || plain.rest)
                   || E'\n-- or leave it as it is, if only private networks lead there')::wee5_cron.finding;
    ELSIF answer.address IS NOT NULL THEN
      RETURN NEXT ('api_url_resolves', 'ok', format('%s is %s', wanted, answer.address), NULL)::wee5_cron.finding;
    ELSIF answer.error LIKE 'not looked up%' THEN
      RETURN NEXT ('api_url_resolves', 'ok', format('%s is %s', wanted, answer.error), NULL)::wee5_cron.finding;
    ELSE
      RETURN NEXT ('api_url_resolves', 'error',
                   format('the database server cannot resolve %s: %s', wanted, answer.error),
                   wee5_cron.doctor_comment('Check the spelling in app.settings.api_url. The server, or the container it '
                                            'runs in, must be able to look up this name.'))::wee5_cron.finding;
    END IF;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_api_url_resolves() IS 'Internal, for doctor(): whether the app''s host name has an address';

CREATE FUNCTION wee5_cron.doctor_cron_secret() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  setting record;
  lines bigint := 0;
BEGIN
  FOR setting IN SELECT * FROM wee5_cron.doctor_secrets() LOOP
    IF setting.source = 'session' THEN
      RETURN NEXT ('cron_secret', 'warning',
                   'this session has SET its own app.settings.cron_secret, which no job sees',
                   'RESET app.settings.cron_secret;')::wee5_cron.finding;
    ELSIF setting.length = 0 OR setting.error IS NOT NULL THEN
      RETURN NEXT ('cron_secret', 'error',
                   coalesce(setting.error, 'app.settings.cron_secret is not set') || ' (for ' || setting.roles || ')',
                   concat_ws(E'\n', wee5_cron.doctor_set_secret(setting.source, setting.role,
                                                                'the same text as CRON_SECRET in the app'),
                             wee5_cron.doctor_comment(setting.hint)))::wee5_cron.finding;
    ELSE
      RETURN NEXT ('cron_secret', 'ok',
                   format('%s characters, %s', setting.length, wee5_cron.doctor_place(setting.source, setting.roles)),
                   NULL)::wee5_cron.finding;
    END IF;
  END LOOP;

  FOR setting IN SELECT * FROM wee5_cron.doctor_secrets() s WHERE s.length BETWEEN 1 AND 15 LOOP
    lines := lines + 1;
    RETURN NEXT ('cron_secret_length', 'warning', format('the secret has %s characters: it can be guessed', setting.length),
                 wee5_cron.doctor_set_secret(setting.source, setting.role, 'the output of openssl rand -hex 32')
                 || E'\n-- and set the same value as CRON_SECRET in the app')::wee5_cron.finding;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('cron_secret_length', 'ok', 'no secret is shorter than 16 characters', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_cron_secret() IS 'Internal, for doctor(): app.settings.cron_secret, never its value';

CREATE FUNCTION wee5_cron.doctor_previous_secret() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  kept record;
  until text;
  -- Of the newest success of the app, neither of a target nor of the webhook.
  newest_hint constant text := (
    SELECT i.hint
    FROM (SELECT n.id, n.status, n.hint, n.endpoint_path FROM wee5_cron.invocation n ORDER BY n.id DESC LIMIT 1000) i
    WHERE i.status IN ('succeeded', 'accepted') AND starts_with(i.endpoint_path, '/') ORDER BY i.id DESC LIMIT 1);
  lines bigint := 0;
BEGIN
  FOR kept IN
    SELECT string_agg(format('"%s"', r.role), ', ' ORDER BY r.role) AS roles, p.api_url, p.until, p.is_used
    FROM wee5_cron.doctor_roles() AS r (role) CROSS JOIN LATERAL wee5_cron.previous_secret_of(r.role) p
    WHERE p.is_kept GROUP BY p.api_url, p.until, p.is_used ORDER BY 1
  LOOP
    lines := lines + 1;
    until := to_char(kept.until AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC';
    IF kept.until IS NULL THEN
      RETURN NEXT ('cron_secret_previous', 'warning',
                   'app.settings.cron_secret_previous was not written by configure(), and no call uses it (for ' || kept.roles || ')',
                   wee5_cron.doctor_comment('Remove it: call configure() with keep_previous => false.'))::wee5_cron.finding;
    ELSIF kept.until <= clock_timestamp() THEN
      RETURN NEXT ('cron_secret_previous', 'ok', format('the previous secret was used until %s, and no call uses it any more', until),
                   NULL)::wee5_cron.finding;
    ELSIF NOT kept.is_used THEN
      RETURN NEXT ('cron_secret_previous', 'ok', format('no call uses the previous secret, which is kept for %s', kept.api_url),
                   NULL)::wee5_cron.finding;
    ELSIF starts_with(newest_hint, wee5_cron.previous_secret_hint(kept.until)) THEN
      RETURN NEXT ('cron_secret_previous', 'warning',
                   format('the app still expects the previous secret, which is used until %s', until),
                   wee5_cron.doctor_comment('Before then, set CRON_SECRET in the app to the new secret.'))::wee5_cron.finding;
    ELSE
      RETURN NEXT ('cron_secret_previous', 'ok',
                   format('until %s, calls that the app answers with 401 are made again with the previous secret', until),
                   NULL)::wee5_cron.finding;
    END IF;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('cron_secret_previous', 'ok', 'no previous secret is kept', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_previous_secret() IS 'Internal, for doctor(): the previous secret, never its value';

-- The paths that jobs and policies name, and the role that calls them; NULL: any.
CREATE FUNCTION wee5_cron.doctor_target_paths(OUT endpoint_path text, OUT role name) RETURNS SETOF record
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 10 SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN QUERY
    SELECT e.endpoint_path, NULL::name FROM wee5_cron.endpoint e WHERE wee5_cron.target_of(e.endpoint_path) IS NOT NULL
    ORDER BY 1 LIMIT 1000;
  IF wee5_cron.pg_cron_installed() THEN
    RETURN QUERY
      SELECT j.endpoint_path, j.username::name FROM wee5_cron.calling_jobs() j
      WHERE wee5_cron.target_of(j.endpoint_path) IS NOT NULL ORDER BY 1 LIMIT 1000;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_target_paths() IS 'Internal, for doctor(): the paths of targets that are called';

CREATE FUNCTION wee5_cron.doctor_described_targets() RETURNS TABLE (role name, name text, source text, api_url text,
                                                                   bytes int, header text, further int,
                                                                   previous_until bigint, error text, hint text)
  LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 10 SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT r.role, t.*
    FROM wee5_cron.doctor_roles() AS r (role)
    CROSS JOIN LATERAL jsonb_to_recordset(wee5_cron.describe_targets(r.role))
      AS t (name text, source text, api_url text, bytes int, header text, further int, previous_until bigint, error text, hint text)
  $$;
COMMENT ON FUNCTION wee5_cron.doctor_described_targets() IS 'Internal, for doctor(): the targets of the users whose settings matter';

CREATE FUNCTION wee5_cron.doctor_targets() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  target record;
  lines bigint := 0;
BEGIN
  FOR target IN
    SELECT string_agg(format('"%s"', d.role), ', ' ORDER BY d.role) AS roles, d.name, d.source, d.api_url, d.bytes,
           d.header, d.further, d.previous_until, d.error, d.hint
    FROM wee5_cron.doctor_described_targets() d
    GROUP BY d.name, d.source, d.api_url, d.bytes, d.header, d.further, d.previous_until, d.error, d.hint
    ORDER BY d.name, 1
  LOOP
    lines := lines + 1;
    IF target.error IS NOT NULL THEN
      RETURN NEXT ('target', 'error',
                   format('%s (%s): %s', coalesce('target "' || target.name || '"', 'app.settings.cron_targets'),
                          coalesce(target.source, target.roles), replace(target.error, format('target "%s": ', target.name), '')),
                   wee5_cron.doctor_comment(coalesce(target.hint, 'Remove it there, and configure each target again.')))::wee5_cron.finding;
    ELSIF target.name = 'app' THEN
      RETURN NEXT ('target', 'ok', format('calls of the app carry further secret headers: %s (%s)', target.further, target.source),
                   NULL)::wee5_cron.finding;
    ELSE
      RETURN NEXT ('target', CASE WHEN target.bytes < 16 THEN 'warning' ELSE 'ok' END,
                   format('target "%s" calls %s with a secret of %s characters in the header %s (%s)%s%s', target.name,
                          target.api_url, target.bytes, target.header, target.source,
                          CASE WHEN target.further > 0 THEN format(', further secret headers: %s', target.further) ELSE '' END,
                          CASE WHEN target.previous_until > extract(epoch FROM clock_timestamp())
                               THEN format('; the previous secret is used until %s UTC',
                                           to_char(to_timestamp(target.previous_until) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'))
                               ELSE '' END),
                   CASE WHEN target.bytes < 16
                        THEN wee5_cron.doctor_comment('The secret can be guessed. Generate one with "openssl rand -hex 32", and set it in the '
                               || 'target, too.') END)::wee5_cron.finding;
    END IF;
  END LOOP;
  FOR target IN
    SELECT p.endpoint_path, wee5_cron.target_of(p.endpoint_path) AS name, p.role
    FROM wee5_cron.doctor_target_paths() p
    WHERE NOT EXISTS (SELECT FROM wee5_cron.doctor_described_targets() d
                      WHERE d.name = wee5_cron.target_of(p.endpoint_path) AND d.role = coalesce(p.role, d.role))
  LOOP
    lines := lines + 1;
    RETURN NEXT ('target', CASE WHEN target.role IS NULL THEN 'warning' ELSE 'error' END,
                 format('target "%s" is not configured, and %s names it: %s', target.name,
                        CASE WHEN target.role IS NULL THEN 'a row of wee5_cron.endpoint' ELSE format('a job of role "%s"', target.role) END,
                        target.endpoint_path),
                 format('SELECT wee5_cron.configure_target(%L, ''https://app.example.com'', ''the secret that this app expects'');',
                        target.name))::wee5_cron.finding;
  END LOOP;
  IF lines = 0 THEN
    RETURN NEXT ('target', 'ok', 'no target is configured, and no path names one', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_targets() IS 'Internal, for doctor(): other apps that are called, never their secrets';
