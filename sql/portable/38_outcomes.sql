-- The error and the hint of an outcome. The twins of outcome.cpp, answer.cpp and cache_signs.cpp in src/core/outcome, to the
-- letter. Text from the network never enters SQL unquoted.

CREATE FUNCTION wee5_cron.status_text(http_status int) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    -- The statuses that a cron route may answer: RFC 9110, section 15, and RFC 6585.
    SELECT concat_ws(' ', http_status, '{
      "100": "Continue", "101": "Switching Protocols", "200": "OK", "201": "Created", "202": "Accepted", "204": "No Content",
      "206": "Partial Content", "300": "Multiple Choices", "301": "Moved Permanently", "302": "Found", "303": "See Other",
      "304": "Not Modified", "307": "Temporary Redirect", "308": "Permanent Redirect", "400": "Bad Request",
      "401": "Unauthorized", "402": "Payment Required", "403": "Forbidden", "404": "Not Found", "405": "Method Not Allowed",
      "406": "Not Acceptable", "407": "Proxy Authentication Required", "408": "Request Timeout", "409": "Conflict",
      "410": "Gone", "411": "Length Required", "412": "Precondition Failed", "413": "Content Too Large", "414": "URI Too Long",
      "415": "Unsupported Media Type", "421": "Misdirected Request", "422": "Unprocessable Content", "425": "Too Early",
      "426": "Upgrade Required", "429": "Too Many Requests", "431": "Request Header Fields Too Large",
      "451": "Unavailable For Legal Reasons", "500": "Internal Server Error", "501": "Not Implemented", "502": "Bad Gateway",
      "503": "Service Unavailable", "504": "Gateway Timeout"}'::jsonb ->> http_status::text)
  $$;
COMMENT ON FUNCTION wee5_cron.status_text(int) IS 'Internal: an HTTP status with its phrase';

CREATE FUNCTION wee5_cron.shown_path(endpoint_path text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT CASE endpoint_path WHEN '' THEN 'the call' ELSE wee5_cron.printable(endpoint_path, 200) END $$;
COMMENT ON FUNCTION wee5_cron.shown_path(text) IS 'Internal: a path as a sentence shows it';

CREATE FUNCTION wee5_cron.authority_of(url text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE strpos(url, '://') WHEN 0 THEN ''
      ELSE regexp_replace(substring(substr(url, strpos(url, '://') + 3) FROM '^[^/?#\\]*'), '^.*@', '') END
  $$;
COMMENT ON FUNCTION wee5_cron.authority_of(text) IS 'Internal: host and port as a URL has them';

CREATE FUNCTION wee5_cron.host_of(authority text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE WHEN starts_with(authority, '[') THEN coalesce(substring(authority FROM '^[^]]*\]'), '')
                ELSE split_part(authority, ':', 1) END
  $$;
COMMENT ON FUNCTION wee5_cron.host_of(text) IS 'Internal: the host of an authority';

CREATE FUNCTION wee5_cron.is_html(content_type text) RETURNS boolean
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT lower(content_type COLLATE "C") ~ '^(?:text/html|application/xhtml)' $$;
COMMENT ON FUNCTION wee5_cron.is_html(text) IS 'Internal: whether a content type is that of an HTML page';

-- The header lines of an answer. Its JSON may hold anything, because any role may write to pg_net's tables.
CREATE FUNCTION wee5_cron.header_lines(headers jsonb, OUT name text, OUT value text, OUT place bigint) RETURNS SETOF record
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT lower(split_part(h.key || ': ' || (h.value #>> '{}'), ':', 1) COLLATE "C"),
           btrim(substr(h.key || ': ' || (h.value #>> '{}'), strpos(h.key || ':', ':') + 1), E' \t\n\x0B\f\r'), h.place
    FROM jsonb_each(CASE jsonb_typeof(headers) WHEN 'object' THEN headers ELSE '{}' END) WITH ORDINALITY AS h(key, value, place)
    WHERE jsonb_typeof(h.value) IN ('string', 'number')
  $$;
COMMENT ON FUNCTION wee5_cron.header_lines(jsonb) IS 'Internal: names, in lower case, and values of an answer''s headers';

-- Signs that the answer came from a cache and not from the route (RFC 9111, section 5.1). Never a header's own text, which
-- could be the secret. Of several Age headers, the first counts.
CREATE FUNCTION wee5_cron.cache_signs(headers jsonb) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT concat_ws(', ',
      CASE WHEN bool_or(l.name = 'x-vercel-cache' AND lower(l.value COLLATE "C") = 'hit') THEN 'x-vercel-cache: HIT' END,
      CASE WHEN bool_or(l.name = 'x-vercel-cache' AND lower(l.value COLLATE "C") = 'stale') THEN 'x-vercel-cache: STALE' END,
      CASE WHEN bool_or(l.name = 'x-nextjs-cache' AND lower(l.value COLLATE "C") = 'hit') THEN 'x-nextjs-cache: HIT' END,
      CASE WHEN (array_agg(btrim(split_part(l.value, ',', 1), E' \t\n\x0B\f\r') ORDER BY l.place)
                 FILTER (WHERE l.name = 'age'))[1] ~ '^[0-9]*[1-9][0-9]*$' THEN 'Age above 0' END)
    FROM wee5_cron.header_lines(headers) l
  $$;
COMMENT ON FUNCTION wee5_cron.cache_signs(jsonb) IS 'Internal: the signs of a cache in an answer''s headers; empty: none';

-- The transport's own words, as the end of a sentence.
CREATE FUNCTION wee5_cron.in_brackets(detail text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT coalesce(' (' || wee5_cron.printable(nullif(rtrim(detail, E' \t\n\x0B\f\r.'), ''), 200) || ')', '') $$;
COMMENT ON FUNCTION wee5_cron.in_brackets(text) IS 'Internal: what a transport says, in brackets';

-- A statement that changes the requests of this path, whatever its query. NULL if the path is too long to show.
CREATE FUNCTION wee5_cron.endpoint_row(endpoint_path text, column_name text, value text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT format('INSERT INTO wee5_cron.endpoint (endpoint_path, %1$s) VALUES (%2$s, %3$s) ON CONFLICT (endpoint_path) DO UPDATE '
                  || 'SET %1$s = excluded.%1$s', column_name, quote_literal(wee5_cron.route_of(endpoint_path)), quote_literal(value))
    WHERE octet_length(wee5_cron.route_of(endpoint_path)) BETWEEN 1 AND 200
  $$;
COMMENT ON FUNCTION wee5_cron.endpoint_row(text, text, text) IS 'Internal: the statement that a hint proposes for wee5_cron.endpoint';

CREATE FUNCTION wee5_cron.hint_of_401(endpoint_path text, content_type text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  words constant record := wee5_cron.address_words(coalesce(wee5_cron.target_of(endpoint_path), ''));
  secret constant text := words.expected_secret || '. On Vercel, a changed variable takes effect with the next deployment.';
  user_agent constant text := wee5_cron.endpoint_row(endpoint_path, 'headers', '{"User-Agent": "vercel-cron/1.0"}');
BEGIN
  IF wee5_cron.is_html(content_type) THEN
    RETURN 'The answer is an HTML page, so something in front of the route refused the call, such as Vercel''s '
      || format('Deployment Protection or login middleware. Use the production domain in %s, or exempt the route. ', words.api_url)
      || 'Otherwise, ' || secret;
  END IF;
  RETURN 'The app did not accept the bearer secret: ' || secret
    || ' Vercel''s Deployment Protection also answers 401 on preview addresses.'
    || coalesce(' Some routes written for Vercel Cron check its User-Agent. To send that: ' || user_agent || ';', '');
END
$$;
COMMENT ON FUNCTION wee5_cron.hint_of_401(text, text) IS 'Internal: the hint of an answer 401';

CREATE FUNCTION wee5_cron.hint_of_404(endpoint_path text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT format('No route answers at this path. Check the path, %s with its path prefix%s, and that the deployment there has the '
                  || 'route. In Next.js the route is the file app%s/route.ts.', w.api_url, w.how_to_show,
                  wee5_cron.printable(wee5_cron.route_of(wee5_cron.path_behind_target(endpoint_path)), 200))
    FROM wee5_cron.address_words(coalesce(wee5_cron.target_of(endpoint_path), '')) w
  $$;
COMMENT ON FUNCTION wee5_cron.hint_of_404(text) IS 'Internal: the hint of an answer 404';

CREATE FUNCTION wee5_cron.hint_of_405(endpoint_path text, method text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  used constant text := coalesce(nullif(method, ''), 'GET');
  other constant text := CASE used WHEN 'GET' THEN 'POST' ELSE 'GET' END;
  statement constant text := wee5_cron.endpoint_row(endpoint_path, 'method', other);
  hint constant text := format('The route does not accept %1$s. Accept it there (in Next.js: export async function %1$s)', used);
BEGIN
  IF statement IS NULL OR octet_length(endpoint_path) > 200 THEN
    RETURN hint || '.';
  END IF;
  -- A job's command names no method, so only the row can change it.
  RETURN format('%s, or use another method for this path: %s; For a single call: SELECT wee5_cron.invoke(%s, method => ''%s'');',
                hint, statement, quote_literal(endpoint_path), other);
END
$$;
COMMENT ON FUNCTION wee5_cron.hint_of_405(text, text) IS 'Internal: the hint of an answer 405';

CREATE FUNCTION wee5_cron.hint_of_status(http_status int, endpoint_path text, method text, content_type text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE
      WHEN http_status = 401 THEN wee5_cron.hint_of_401(endpoint_path, content_type)
      WHEN http_status = 403 THEN 'The app, or a firewall or bot protection in front of it, refused the call. Let it accept '
        || 'requests to this path that carry the bearer secret.'
      WHEN http_status = 404 THEN wee5_cron.hint_of_404(endpoint_path)
      WHEN http_status = 405 THEN wee5_cron.hint_of_405(endpoint_path, method)
      WHEN http_status IN (408, 504) THEN 'The app''s platform gave up waiting for the route, which may have done part of its '
        || 'work. Raise the route''s own limit (maxDuration on Vercel), or do less in each call.'
      WHEN http_status = 429 THEN 'The app receives too many calls. Call it less often, or raise its rate limit.'
      WHEN http_status IN (502, 503) THEN 'The app is unavailable: it is down, starting or being deployed. If this lasts, look at '
        || 'its log.'
      WHEN http_status >= 500 THEN 'The route failed. Look at the app''s log for this time. response_body has the answer.'
      WHEN http_status >= 400 THEN 'The app rejected this request. response_body has the answer.'
      ELSE 'A cron route must answer 2xx. response_body has the answer.' END
  $$;
COMMENT ON FUNCTION wee5_cron.hint_of_status(int, text, text, text) IS 'Internal: the hint of an answer';

CREATE FUNCTION wee5_cron.hint_of_success(content_type text, cache_signs text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT concat_ws(' ',
      'The answer came from a cache (' || nullif(cache_signs, '') || '), so the route probably did not run. Keep it out of every '
        || 'cache: in Next.js, put export const dynamic = ''force-dynamic'' into the route''s file; elsewhere, let the route answer '
        || 'Cache-Control: no-store. Exclude cron routes from the cache of a CDN or proxy in front of the app.',
      CASE WHEN wee5_cron.is_html(content_type) THEN 'The answer is an HTML page, but cron routes usually answer JSON. Check that '
        || 'the path reaches the route, and not a login or catch-all page.' END)
  $$;
COMMENT ON FUNCTION wee5_cron.hint_of_success(text, text) IS 'Internal: the hint of a success that looks wrong; empty: it does not';

CREATE FUNCTION wee5_cron.hint_of_connect(host text, detail text, target text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE
      WHEN wee5_cron.is_loopback_host(host) THEN wee5_cron.printable(host)
        || format(' is the machine or container that Postgres itself runs in. Start the app there, or set %s to a name by which the '
                  'database reaches the app: host.docker.internal from a container to its host, the service''s name from one '
                  'container to another.', w.api_url)
      WHEN lower(detail COLLATE "C") ~ 'timed out|timeout' THEN
        format('Nothing answered. Check the port in %s, and the firewalls between the database and the app. '
               'wee5_cron.connect_timeout limits how long a connection may take.', w.api_url)
      ELSE format('Check that the app is running, and that the database server reaches it at the host and port in %s%s.',
                  w.api_url, w.how_to_show) END
    FROM wee5_cron.address_words(target) w
  $$;
COMMENT ON FUNCTION wee5_cron.hint_of_connect(text, text, text) IS 'Internal: the hint of a failed connection';

CREATE FUNCTION wee5_cron.hint_of_tls(detail text, target text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  said constant text := lower(detail COLLATE "C");
  api_url constant text := (wee5_cron.address_words(target)).api_url;
BEGIN
  RETURN CASE
    WHEN said ~ 'subject name|does not match|doesn''t match|hostname mismatch' THEN 'The certificate was issued for another name. '
      || format('Use the certificate''s name in %s: often ''www.'' is missing there, or should not be there.', api_url)
    WHEN said ~ 'expired' THEN 'The app''s certificate has expired. Renew it.'
    WHEN said ~ 'wrong version number|packet length|unknown protocol|record layer' THEN 'This port does not speak TLS. Check the '
      || format('port, and whether %s should begin with http://, which is accepted for private hosts.', api_url)
    WHEN said ~ 'certificate file|verify locations|trust anchors|ca cert \(path' THEN 'The database server cannot read the file of '
      || 'root certificates, or the file holds none. Install the package ca-certificates, or name another file: ALTER SYSTEM SET '
      || 'wee5_cron.ca_file = ''/path/to/roots.pem''; SELECT pg_reload_conf();'
    WHEN said ~ 'self-signed|self signed|issuer|unknown ca|ca cert|certificate verify' THEN 'The database server does not trust '
      || 'the authority that issued the certificate. Replace the certificate, or name the authority''s own certificates: ALTER '
      || 'SYSTEM SET wee5_cron.ca_file = ''/path/to/roots.pem''; SELECT pg_reload_conf();'
    ELSE 'Check the app''s certificate, and that the app speaks TLS 1.2 or newer. To trust other roots than the system''s, set '
      || 'wee5_cron.ca_file.' END;
END
$$;
COMMENT ON FUNCTION wee5_cron.hint_of_tls(text, text) IS 'Internal: the hint of a failed TLS connection';

CREATE FUNCTION wee5_cron.explain_timeout(endpoint_path text, detail text, timeout_ms bigint, OUT error text, OUT hint text)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  seconds constant bigint := (timeout_ms + 999) / 1000;
  longer constant bigint := greatest(60, 2 * seconds);
BEGIN
  error := format('The app did not answer %s%s%s.', wee5_cron.shown_path(endpoint_path),
    CASE WHEN timeout_ms <= 0 THEN ' in time'
         WHEN timeout_ms % 1000 = 0 THEN format(' within %s s', timeout_ms / 1000)
         ELSE format(' within %s ms', timeout_ms) END, wee5_cron.in_brackets(detail));
  hint := 'The app may have finished its work anyway: check there before you call it again. '
    || CASE WHEN seconds BETWEEN 1 AND 10 THEN 'A cold start alone can take this long. ' ELSE '' END
    || 'Raise the timeout above the route''s own limit: '
    || CASE WHEN octet_length(endpoint_path) BETWEEN 1 AND 200
            THEN format('SELECT wee5_cron.invoke(%s, timeout => ''%s seconds''), or for all calls ', quote_literal(endpoint_path), longer)
            ELSE '' END
    || format('ALTER DATABASE ... SET wee5_cron.request_timeout = ''%ss''.', longer);
END
$$;
COMMENT ON FUNCTION wee5_cron.explain_timeout(text, text, bigint) IS 'Internal: error and hint of a timeout';

-- The error and the hint of a call without a complete answer. `detail`: the transport's own words, or after an overlap the id
-- of the other call.
CREATE FUNCTION wee5_cron.explain_reason(reason text, http_status int, url text, endpoint_path text, detail text,
                                         timeout_ms bigint, OUT error text, OUT hint text)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  path constant text := wee5_cron.shown_path(endpoint_path);
  authority constant text := wee5_cron.authority_of(url);
  target constant text := coalesce(wee5_cron.target_of(endpoint_path), '');
  words constant record := wee5_cron.address_words(target);
  shown_authority constant text := CASE WHEN authority <> '' THEN wee5_cron.printable(authority)
    WHEN target <> '' THEN format('the address of target "%s"', target) ELSE 'the app''s address' END;
  host constant text := wee5_cron.host_of(authority);
  said constant text := wee5_cron.in_brackets(detail);
BEGIN
  CASE reason
  WHEN 'config' THEN
    error := format('The call of %s could not be made%s.', path, said);
    hint := format('Check %s%s and %s.', words.api_url, words.how_to_show, words.secret);
  WHEN 'dns' THEN
    error := format('The host name %s could not be resolved%s.',
      CASE host WHEN '' THEN 'of ' || words.api_url ELSE wee5_cron.printable(host) END,
      CASE WHEN strpos(lower(detail COLLATE "C"), 'resolve host') > 0 THEN '' ELSE said END);
    hint := format('Check the spelling in %s%s, and that the database server, or the container it runs in, can look up this name.',
                   words.api_url, words.how_to_show);
  WHEN 'connect' THEN
    error := format('No connection to %s%s.', shown_authority, said);
    hint := wee5_cron.hint_of_connect(host, detail, target);
  WHEN 'tls' THEN
    error := format('No trusted TLS connection to %s%s.', shown_authority, said);
    hint := wee5_cron.hint_of_tls(detail, target);
  WHEN 'timeout' THEN
    SELECT t.error, t.hint INTO error, hint FROM wee5_cron.explain_timeout(endpoint_path, detail, timeout_ms) t;
  WHEN 'lost' THEN
    error := format('The outcome of the call of %s is unknown%s.', path, CASE WHEN detail <> '' THEN said ELSE
      ': the server, or the process that sent it, stopped before the answer was recorded' END);
    hint := 'It may or may not have reached the app: look at the app''s log before you call it again.';
  WHEN 'incomplete' THEN
    error := format('The app accepted the call of %s and did not complete it in time.', path);
    hint := 'The work may still be going on, or it ended and nobody called wee5_cron.complete(): look at the app''s log. If it '
      || 'needs more time, raise complete_within'
      || coalesce(': ' || nullif(wee5_cron.endpoint_row(endpoint_path, 'complete_within', '2 hours'), '') || ';', '.');
  WHEN 'overlap' THEN
    error := format('%s of %s has not ended yet.', coalesce('Call ' || nullif(detail, ''), 'An earlier call'), path);
  WHEN 'cancelled' THEN
    error := format('The call of %s was cancelled.', path);
  ELSE
    error := CASE WHEN http_status > 0
                  THEN format('The app began to answer %s to %s, and the answer broke off%s.', wee5_cron.status_text(http_status), path, said)
                  ELSE format('No complete answer came to %s%s.', path, said) END;
    hint := 'The app may have done its work anyway: look at its log before you call it again.';
  END CASE;
END
$$;
COMMENT ON FUNCTION wee5_cron.explain_reason(text, int, text, text, text, bigint) IS
  'Internal: error and hint of an attempt without a complete answer';

-- Status, reason, error and hint of an attempt. `seen`: the failure that the transport reports; empty if an answer came, so that
-- http_status decides. pg_net does not report the target of a redirect. `reason` is NULL on success, which is 2xx alone.
CREATE FUNCTION wee5_cron.explain(seen text, http_status int, url text, endpoint_path text, method text, content_type text,
                                  detail text, timeout_ms bigint, cache_signs text, OUT reason text, OUT error text, OUT hint text)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  reason := CASE WHEN seen NOT IN ('', 'http', 'redirect') THEN seen
                 WHEN http_status <= 0 THEN 'response'
                 WHEN http_status BETWEEN 200 AND 299 THEN NULL
                 WHEN http_status BETWEEN 300 AND 399 THEN 'redirect'
                 ELSE 'http' END;
  IF reason IS NULL THEN
    hint := wee5_cron.hint_of_success(content_type, cache_signs);
  ELSIF reason IN ('http', 'redirect') THEN
    error := format('The app answered %s to %s.', wee5_cron.status_text(http_status), wee5_cron.shown_path(endpoint_path));
    hint := CASE reason WHEN 'redirect' THEN 'A cron route must answer 2xx. Redirects are not followed.'
                        ELSE wee5_cron.hint_of_status(http_status, endpoint_path, method, content_type) END;
  ELSE
    SELECT e.error, e.hint INTO error, hint
    FROM wee5_cron.explain_reason(reason, http_status, url, endpoint_path, detail, timeout_ms) e;
  END IF;
  -- The usual hints speak of the app and its settings. A webhook has its own.
  IF endpoint_path = 'wee5_cron.alert' THEN
    hint := CASE WHEN reason <> 'cancelled'
                 THEN 'It went to the webhook that wee5_cron.alert_url names: check that setting, and the webhook.' END;
  END IF;
  hint := nullif(hint, '');
END
$$;
COMMENT ON FUNCTION wee5_cron.explain(text, int, text, text, text, text, text, bigint, text) IS
  'Internal: reason, error and hint of an attempt';

CREATE FUNCTION wee5_cron.outcome_error(reason text, endpoint_path text) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT wee5_cron.shorten(e.error, 4096)
    FROM wee5_cron.explain(CASE WHEN reason IN ('config', 'dns', 'connect', 'tls', 'timeout', 'response', 'lost', 'incomplete', 'overlap',
                                                'cancelled') THEN reason ELSE '' END, 0, '', endpoint_path, '', '', '', 0, '') e
  $$;
COMMENT ON FUNCTION wee5_cron.outcome_error(text, text) IS
  'Internal: the error of a call that ended without an answer';

CREATE FUNCTION wee5_cron.explain_overlap(endpoint_path text, beside bigint, OUT error text, OUT hint text)
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  SELECT e.error INTO error
  FROM wee5_cron.explain_reason('overlap', 0, '', coalesce(endpoint_path, ''), coalesce(beside, 0)::text, 0) e;
  hint := 'Calls of this path are skipped while one has not ended. To let them overlap: INSERT INTO wee5_cron.endpoint '
    || format('(endpoint_path, overlap) VALUES (%s, ''allow'') ON CONFLICT (endpoint_path) DO UPDATE SET overlap = ''allow'';',
              quote_literal(coalesce(endpoint_path, '')));
END
$$;
COMMENT ON FUNCTION wee5_cron.explain_overlap(text, bigint) IS
  'Internal, for harvest(): error and hint of a call that is skipped because another one has not ended';
