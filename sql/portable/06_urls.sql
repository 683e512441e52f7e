-- The app's address, and the URL of a call. The twins of src/delivery/address/url.cpp. pg_net sends the call with libcurl, so
-- these functions read a URL as libcurl does: if the two disagreed about the end of the host, a stranger would get the bearer.

-- The address as messages may show it. Text before an '@' or after a '?' may be a password or a token.
CREATE FUNCTION wee5_cron.shown_api_url(api_url text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  head constant text := substring(api_url FROM '^[^?#]*');
  sign constant text := substr(api_url, length(head) + 1, 1);
  slashes constant int := strpos(api_url, '://');
  before_at constant int := length(substring(api_url FROM '^(.*)@'));
  shown text := head;
BEGIN
  IF before_at IS NOT NULL THEN
    shown := CASE WHEN slashes > 0 AND slashes <= before_at THEN left(api_url, slashes + 2) ELSE '' END || '...'
      || CASE WHEN before_at < length(head) THEN substr(head, before_at + 1) ELSE '@...' END;
  END IF;
  RETURN wee5_cron.printable(shown || CASE sign WHEN '' THEN '' ELSE sign || '...' END, 200);
END
$$;
COMMENT ON FUNCTION wee5_cron.shown_api_url(text) IS 'Internal: an api_url as an error may show it';

-- Shortens an IPv6 address in brackets as libcurl does (RFC 5952).
CREATE FUNCTION wee5_cron.ipv6_text(groups int[]) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  ipv4 constant text := format('%s.%s.%s.%s', groups[7] / 256, groups[7] % 256, groups[8] / 256, groups[8] % 256);
  best_begin int;
  best_length int := 1;
  length int;
  hex text[];
BEGIN
  FOR start IN 1 .. 8 LOOP
    length := 0;
    WHILE start + length <= 8 AND groups[start + length] = 0 LOOP
      length := length + 1;
    END LOOP;
    IF length > best_length THEN
      best_begin := start;
      best_length := length;
    END IF;
  END LOOP;
  SELECT array_agg(to_hex(g) ORDER BY place) INTO hex FROM unnest(groups) WITH ORDINALITY AS t(g, place);
  RETURN CASE WHEN best_begin = 1 AND best_length = 6 THEN '::' || ipv4
              WHEN best_begin = 1 AND best_length = 5 AND groups[6] = 65535 THEN '::ffff:' || ipv4
              WHEN best_begin IS NULL THEN array_to_string(hex, ':')
              ELSE array_to_string(hex[:best_begin - 1], ':') || '::' || array_to_string(hex[best_begin + best_length:], ':') END;
END
$$;
COMMENT ON FUNCTION wee5_cron.ipv6_text(int[]) IS 'Internal: an IPv6 address as inet_ntop() writes it';

-- A host in brackets, with an optional zone.
CREATE FUNCTION wee5_cron.read_bracketed_host(text text, OUT host text, OUT shown text, OUT fault text)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  parts constant text[] := regexp_match(text, '^\[([0-9A-Fa-f:.]+)(?:%(?:25(?=[^]]))?([^]]{1,15}))?\]$');
  groups constant int[] := wee5_cron.ipv6_groups(parts[1]);
  short constant text := wee5_cron.ipv6_text(groups);
BEGIN
  IF groups IS NULL THEN
    fault := 'Bad IPv6 address';
    RETURN;
  END IF;
  host := '[' || CASE WHEN length(short) < length(parts[1]) THEN short ELSE parts[1] END || ']';
  shown := CASE WHEN parts[2] IS NULL THEN host ELSE left(host, -1) || '%25' || parts[2] || ']' END;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_bracketed_host(text) IS
  'Internal: an IPv6 address of a URL, and the same with its zone; or why libcurl refuses it';

-- Splits host[:port]. `shown`: host and port as the URL spells them.
CREATE FUNCTION wee5_cron.read_authority(authority text, OUT host text, OUT port text, OUT shown text, OUT fault text)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  parts constant text[] := coalesce(regexp_match(authority, '^(\[[^]]*\]?)(.*)$'), regexp_match(authority, '^([^:]*)(.*)$'));
  digits constant text := substr(parts[2], 2);
  ipv4 bigint;
BEGIN
  IF parts[2] <> '' AND NOT starts_with(parts[2], ':') THEN
    fault := 'Bad IPv6 address';
  ELSIF digits !~ '^0*(?:[0-9]{0,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$' THEN
    fault := 'Port number was not a decimal number between 0 and 65535';
  ELSIF starts_with(parts[1], '[') THEN
    SELECT h.host, h.shown, h.fault INTO host, shown, fault FROM wee5_cron.read_bracketed_host(parts[1]) h;
  ELSIF parts[1] = '' THEN
    fault := 'No host part in the URL';
  ELSIF parts[1] ~ '[]["!$&''()*+,;<=>^`{}]' THEN
    fault := 'Bad hostname';
  ELSE
    ipv4 := wee5_cron.ipv4_address(parts[1]);
    host := CASE WHEN ipv4 IS NULL THEN parts[1]
                 ELSE format('%s.%s.%s.%s', ipv4 >> 24, ipv4 >> 16 & 255, ipv4 >> 8 & 255, ipv4 & 255) END;
    shown := host;
  END IF;
  IF fault IS NULL AND digits <> '' THEN
    port := digits::numeric::text;
    shown := shown || ':' || port;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_authority(text) IS
  'Internal: host and port of a URL, as libcurl reads them, or why it refuses them';

CREATE FUNCTION wee5_cron.fault_of_url_text(api_url text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN CASE WHEN api_url = '' THEN 'is empty'
              WHEN api_url ~ '[\u0001-\u0020\u007F]' THEN 'holds a blank or a control character'
              WHEN strpos(api_url, '\') > 0 THEN 'holds a backslash'
              WHEN strpos(api_url, '?') > 0 THEN 'holds a query, from ''?'' on'
              WHEN strpos(api_url, '#') > 0 THEN 'holds a fragment, from ''#'' on' END;
END
$$;
COMMENT ON FUNCTION wee5_cron.fault_of_url_text(text) IS
  'Internal: the rule that the characters of an api_url break; NULL: none';

-- The pieces of an address, split as RFC 3986 says. `advice`: what to do besides setting another address.
CREATE FUNCTION wee5_cron.cut_api_url(api_url text, target text, OUT scheme text, OUT authority text, OUT path text, OUT rule text,
                                      OUT advice text)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  slashes constant int := strpos(api_url, '://');
  rest constant text := substr(api_url, slashes + 3);
BEGIN
  rule := wee5_cron.fault_of_url_text(api_url);
  scheme := lower(left(api_url, greatest(slashes - 1, 0)) COLLATE "C");
  authority := substring(rest FROM '^[^/]*');
  path := regexp_replace(substr(rest, length(authority) + 1), '/$', '');
  IF rule IS NOT NULL THEN
    RETURN;
  ELSIF slashes = 0 THEN
    rule := 'does not begin with https://';
    advice := 'Give the scheme too, as in ''https://app.example.com''. ';
  ELSIF scheme NOT IN ('http', 'https') THEN
    rule := 'is neither https:// nor http://';
  ELSIF strpos(authority, '@') > 0 THEN
    rule := 'holds user information before an ''@''';
    advice := format('Leave it out: %s. ', (wee5_cron.address_words(target)).called_with);
  ELSIF authority = '' OR starts_with(authority, ':') THEN
    rule := 'names no host';
  ELSIF authority ~ '[^\u0001-\u007F]' THEN
    -- IDNA turns look-alikes into dots.
    rule := 'holds a host name that is not ASCII';
    advice := 'Write the host in its ASCII form (punycode), which begins with xn--. ';
  ELSIF NOT starts_with(authority, '[') AND strpos(authority, '%') > 0 THEN
    -- RFC 3986 allows a percent-encoded host, but a person cannot see where it leads.
    rule := 'holds a percent sign in its host name';
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.cut_api_url(text, text) IS
  'Internal: scheme, authority and path of an api_url, or the rule that it breaks, and what to do';

-- `url`: the address without a slash at its end. `rule`: the rule that the address breaks; NULL: none. `target`: whose address it
-- is; empty: the app's.
CREATE FUNCTION wee5_cron.read_api_url(api_url text, allow_plain_http text, target text DEFAULT '', OUT scheme text, OUT host text,
                                       OUT port text, OUT prefix text, OUT url text, OUT rule text, OUT hint text)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  cut record;
  fault record;
  read record;
  usual constant text[] := regexp_match(api_url, '^https://((?:[0-9a-z-]+[.])*[a-z][0-9a-z-]*)(?::([1-9][0-9]{0,3}|[1-5][0-9]{4}))?$');
BEGIN
  IF usual IS NOT NULL THEN
    -- Most addresses: https, and a name whose last label cannot be a number. All rules hold for them.
    scheme := 'https';
    host := usual[1];
    port := coalesce(usual[2], '443');
    prefix := '';
    url := api_url;
    RETURN;
  END IF;
  cut := wee5_cron.cut_api_url(api_url, target);
  IF cut.rule IS NOT NULL THEN
    rule := cut.rule;
    hint := concat(cut.advice, wee5_cron.hint_to_set_address(target));
    RETURN;
  END IF;
  IF cut.path <> '' THEN
    fault := wee5_cron.fault_of_path(cut.path);
    IF fault.rule IS NOT NULL THEN
      rule := 'holds a path that cannot be a prefix: ' || fault.rule;
      hint := fault.hint;
      RETURN;
    END IF;
  END IF;
  read := wee5_cron.read_authority(cut.authority);
  IF read.fault IS NOT NULL THEN
    rule := format('is no URL that libcurl accepts (%s)', read.fault);
  ELSIF read.port = '0' THEN
    rule := 'names a port that does not exist';
  END IF;
  IF rule IS NOT NULL THEN
    hint := wee5_cron.hint_to_set_address(target);
  END IF;
  scheme := cut.scheme;
  host := read.host;
  port := coalesce(read.port, CASE scheme WHEN 'https' THEN '443' ELSE '80' END);
  prefix := rtrim(wee5_cron.encode_endpoint_path(cut.path), '/');
  url := scheme || '://' || read.shown || prefix;
  IF rule IS NULL AND scheme = 'http' AND NOT wee5_cron.is_private_host(host) AND NOT wee5_cron.plain_http_allowed(allow_plain_http, host) THEN
    rule := 'would send the bearer secret in clear text over a public network';
    hint := format('Use https: %s. ', format((wee5_cron.address_words(target)).set_api_url, '''https://...'''))
      || 'If the network to this host is private all the same, name the host: ALTER SYSTEM SET wee5_cron.allow_plain_http = '
      || quote_literal(host) || '; SELECT pg_reload_conf();';
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_api_url(text, text, text) IS
  'Internal: the parts of an api_url, or the rule that it breaks, and what to do';

CREATE FUNCTION wee5_cron.parse_api_url(api_url text, allow_plain_http text, target text DEFAULT '', OUT scheme text, OUT host text,
                                        OUT port text, OUT prefix text, OUT url text)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  read record;
BEGIN
  read := wee5_cron.read_api_url(api_url, allow_plain_http, target);
  IF read.rule IS NOT NULL THEN
    RAISE EXCEPTION '% "%" %', (wee5_cron.address_words(target)).at_fault, wee5_cron.shown_api_url(api_url), read.rule
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = read.hint;
  END IF;
  scheme := read.scheme;
  host := read.host;
  port := read.port;
  prefix := read.prefix;
  url := read.url;
END
$$;
COMMENT ON FUNCTION wee5_cron.parse_api_url(text, text, text) IS
  'Internal: the parts of an api_url; an error if it breaks a rule';

-- Plain concatenation with "@evil.example/x", ".evil.example/x" or ":8443/x" would send the bearer elsewhere.
CREATE FUNCTION wee5_cron.join_url(api_url text, allow_plain_http text, endpoint_path text, target text DEFAULT '') RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  parsed record;
  encoded constant text := wee5_cron.encode_endpoint_path(endpoint_path);
BEGIN
  parsed := wee5_cron.read_api_url(api_url, allow_plain_http, target);
  IF parsed.rule IS NOT NULL THEN
    PERFORM wee5_cron.parse_api_url(api_url, allow_plain_http, target);  -- raises the error
  ELSIF parsed.prefix = '' AND encoded !~ '^(?:$|[/?])' THEN
    RAISE EXCEPTION 'invalid endpoint path "%": it would change where the call goes', wee5_cron.printable(endpoint_path)
      USING ERRCODE = 'invalid_parameter_value',
            HINT = format('Start it with one slash, such as ''/api/cron/poll-activities''; scheme, host and port come from %s.',
                          (wee5_cron.address_words(target)).api_url);
  END IF;
  RETURN parsed.url || encoded;
END
$$;
COMMENT ON FUNCTION wee5_cron.join_url(text, text, text, text) IS
  'Internal: the URL of a call: the app''s address with the path behind it';

-- alert_url is a whole address. Its path or query may be a secret, so an error names only the rule.
CREATE FUNCTION wee5_cron.parse_webhook(webhook_url text, allow_plain_http text, OUT url text, OUT origin text, OUT host text,
                                        OUT secret text)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  address constant text := btrim(webhook_url, E' \t\n\x0B\f\r');
  slashes constant int := strpos(address, '://');
  length_of_origin constant int := CASE slashes WHEN 0 THEN length(address)
    ELSE slashes + 2 + length(substring(substr(address, slashes + 3) FROM '^[^/?#]*')) END;
  behind constant text := substr(address, length_of_origin + 1);
  read record;
  rule text := CASE WHEN address = '' THEN 'is not set'
                    WHEN behind ~ '[^\u0021-\u007E]' THEN 'holds a blank, a control character or one that is not ASCII'
                    WHEN behind ~ '[#\\]' THEN 'holds a ''#'' or a backslash'
                    WHEN behind LIKE '?%' THEN 'has no path before its query' END;
BEGIN
  IF rule IS NULL THEN
    read := wee5_cron.read_api_url(left(address, length_of_origin), allow_plain_http);
    rule := read.rule;
  END IF;
  IF rule IS NOT NULL THEN
    RAISE EXCEPTION 'wee5_cron.alert_url %', rule
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Give the webhook''s whole address: ALTER SYSTEM SET wee5_cron.alert_url = ''https://hooks.example.com/...''; '
              || 'SELECT pg_reload_conf();';
  END IF;
  origin := read.url;
  host := read.host;
  url := origin || coalesce(nullif(behind, ''), '/');
  secret := CASE WHEN octet_length(behind) > 8 THEN substr(behind, 2) ELSE '' END;
END
$$;
COMMENT ON FUNCTION wee5_cron.parse_webhook(text, text) IS
  'Internal: the address of wee5_cron.alert_url, its origin, and the part of it that is a secret';

CREATE FUNCTION wee5_cron.alert_receiver_of(host text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE WHEN h.name ~ '(?:^|\.)discord(?:app)?\.com$' THEN 'discord'
                WHEN h.name ~ '(?:^|\.)slack(?:-gov)?\.com$' THEN 'slack'
                WHEN h.name ~ '(?:^|\.)(?:logic\.azure|api\.powerplatform|webhook\.office)\.com$' THEN 'teams'
                ELSE 'plain' END
    FROM (SELECT lower(regexp_replace(host, '\.$', '') COLLATE "C") AS name) h
  $$;
COMMENT ON FUNCTION wee5_cron.alert_receiver_of(text) IS 'Internal: the format of messages that a webhook accepts, known by its host';
