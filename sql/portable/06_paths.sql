-- The rules of a path, which keep the bearer secret on the app's own host. The twins of src/core/request/endpoint_path.cpp.

CREATE FUNCTION wee5_cron.route_of(endpoint_path text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT split_part(endpoint_path, '?', 1) $$;
COMMENT ON FUNCTION wee5_cron.route_of(text) IS 'Internal: a path without its query';

CREATE FUNCTION wee5_cron.is_target_name(name text) RETURNS boolean
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT name ~ '^[A-Za-z][A-Za-z0-9_-]{0,62}$' AND lower(name COLLATE "C") NOT IN ('http', 'https') $$;
COMMENT ON FUNCTION wee5_cron.is_target_name(text) IS 'Internal: whether a target may have this name';

CREATE FUNCTION wee5_cron.target_of(endpoint_path text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF starts_with(endpoint_path, '/') THEN
    RETURN NULL;
  END IF;
  RETURN CASE WHEN wee5_cron.is_target_name(split_part(endpoint_path, ':', 1)) AND endpoint_path ~ '^[^:]*:/(?!/)'
              THEN split_part(endpoint_path, ':', 1) END;
END
$$;
COMMENT ON FUNCTION wee5_cron.target_of(text) IS 'Internal: the name of the target that a path begins with; NULL: the app';

CREATE FUNCTION wee5_cron.path_behind_target(endpoint_path text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN coalesce(substr(endpoint_path, length(wee5_cron.target_of(endpoint_path)) + 2), endpoint_path);
END
$$;
COMMENT ON FUNCTION wee5_cron.path_behind_target(text) IS 'Internal: a path without the name of its target';

CREATE FUNCTION wee5_cron.fault_of_beginning(endpoint_path text, OUT rule text, OUT hint text)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF endpoint_path = '' THEN
    rule := 'it is empty';
    hint := 'Give the path of a route, such as ''/api/cron/poll-activities''.';
  ELSIF wee5_cron.target_of(endpoint_path) = 'app' THEN
    rule := '"app" is the app itself, not a target';
    hint := 'Leave out "app:": the path alone calls the app.';
  ELSIF endpoint_path ~ '^[Hh][Tt][Tt][Pp][Ss]?://' THEN
    rule := 'it is a whole URL';
    hint := 'Give the path alone, such as ''/api/cron/poll-activities''; scheme and host come from app.settings.api_url.';
  ELSIF NOT starts_with(endpoint_path, '/') AND wee5_cron.target_of(endpoint_path) IS NULL THEN
    rule := 'it does not start with a slash';
    hint := 'Start it with one slash, such as ''/api/cron/poll-activities''; without it, the text could change the host '
      || 'that the bearer secret is sent to.';
  ELSIF octet_length(endpoint_path) > 2048 THEN
    rule := format('it is %s bytes long, more than 2048', octet_length(endpoint_path));
    hint := 'Send the data in the body instead: SELECT wee5_cron.invoke(''/path'', method => ''POST'', body => ''{...}'').';
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.fault_of_beginning(text) IS
  'Internal: the rule that the beginning or the length of a path breaks, and what to do; NULL: none';

-- A query is data, and no server resolves it (RFC 3986, section 3.4).
CREATE FUNCTION wee5_cron.fault_of_path(endpoint_path text, OUT rule text, OUT hint text)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  route constant text := split_part(endpoint_path, '?', 1);
BEGIN
  -- Most paths. No rule speaks of their characters.
  IF octet_length(endpoint_path) <= 2048 AND endpoint_path ~ '^(?:/[0-9A-Za-z_-]+)+/?(?:[?][0-9A-Za-z_=&-]*)?$' THEN
    RETURN;
  END IF;
  SELECT f.rule, f.hint INTO rule, hint FROM wee5_cron.fault_of_beginning(endpoint_path) f;
  IF rule IS NOT NULL THEN
    RETURN;
  ELSIF endpoint_path ~ '[\u0001-\u001F\u007F]' THEN
    rule := 'it holds a control character';
    hint := 'Take out line breaks, tabs and other control characters.';
  ELSIF strpos(endpoint_path, '#') > 0 THEN
    rule := 'it holds a ''#''';
    hint := 'What follows a ''#'' never reaches the app: leave it out, or write %23.';
  ELSIF strpos(route, '\') > 0 THEN
    rule := 'it holds a backslash';
    hint := 'Use a slash, or write a backslash that is data as %5C.';
  ELSIF strpos(route, '//') > 0 THEN
    rule := 'it holds two slashes in a row';
    hint := 'Use single slashes before the ''?'', and write slashes that are data there as %2F. A query may hold two.';
  ELSIF endpoint_path ~ '%(?![0-9A-Fa-f]{2})' THEN
    rule := 'a ''%'' in it is not followed by two hexadecimal digits';
    hint := 'Write a percent sign itself as %25.';
  -- An encoded slash or backslash separates, too: a server may decode it before it resolves dot segments.
  ELSIF route ~ '(?:/|%2[Ff]|%5[Cc])(?:\.|%2[Ee]){1,2}(?:/|%2[Ff]|%5[Cc]|$)' THEN
    rule := 'it holds a segment ''.'' or ''..''';
    hint := 'Write the path that is meant, without ''.'' and ''..'', also where they are percent-encoded.';
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.fault_of_path(text) IS 'Internal: the rule that a path breaks, and what to do; NULL: none';

-- Percent-encodes bytes that a URL cannot contain, and keeps escapes (RFC 3986, section 2).
CREATE FUNCTION wee5_cron.encode_endpoint_path(endpoint_path text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF endpoint_path !~ '[^A-Za-z0-9._~!$&''()*+,;=:@/?%-]' THEN
    RETURN endpoint_path;
  END IF;
  RETURN (
    SELECT string_agg(CASE WHEN c.value ~ '[A-Za-z0-9._~!$&''()*+,;=:@/?%-]' THEN c.value
                           ELSE regexp_replace(upper(encode(convert_to(c.value, 'UTF8'), 'hex')), '(..)', '%\1', 'g') END,
                      '' ORDER BY c.place)
    FROM regexp_split_to_table(endpoint_path, '') WITH ORDINALITY AS c(value, place));
END
$$;
COMMENT ON FUNCTION wee5_cron.encode_endpoint_path(text) IS 'Internal: a checked path as it stands in a URL';
