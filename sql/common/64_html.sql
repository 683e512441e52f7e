-- What the pages are built from. Everything that comes from outside (paths, answers, notes, names) passes html() on its way
-- into a page: no text becomes markup, and none leaves the attribute that it stands in.
--
-- A page calls some of these functions a thousand times. They are PL/pgSQL: an SQL function with a search_path of its own
-- costs several times as much.

-- Characters that HTML forbids become a question mark.
CREATE FUNCTION wee5_cron.html(value text) RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  -- Most texts are plain ones.
  IF value !~ '[^ !#-%(-;=?-~]' THEN
    RETURN value;
  END IF;
  RETURN replace(replace(replace(replace(replace(
           regexp_replace(coalesce(value, ''), format('[\x01-\x08\x0b\x0c\x0e-\x1f\x7f%s]', CASE getdatabaseencoding()
                            WHEN 'UTF8' THEN '\x80-\x9f\ufdd0-\ufdef\ufffe\uffff' END), '?', 'g'),
           '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;');
END
$$;
COMMENT ON FUNCTION wee5_cron.html(text) IS
  'Internal, for pages: a text as it may stand in HTML, between tags and in quoted attributes';

-- A name or path from others: its writing direction ends with it.
CREATE FUNCTION wee5_cron.html_name(value text) RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN '<bdi>' || wee5_cron.html(left(value, 300)) || CASE WHEN length(value) > 300 THEN '&hellip;' ELSE '' END || '</bdi>';
END
$$;
COMMENT ON FUNCTION wee5_cron.html_name(text) IS 'Internal, for pages: a name or a path';

-- The query of a path may contain private data, wherever the path is shown.
-- Only a blank surely ends a query, so everything up to the next blank is cut, even a quote that follows the query.
CREATE FUNCTION wee5_cron.without_queries(value text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT regexp_replace(value, '(/[^\s?"'']*)\?\S*', '\1?...', 'g') $$;
COMMENT ON FUNCTION wee5_cron.without_queries(text) IS 'Internal, for pages: a text whose paths and addresses have lost their queries';

CREATE FUNCTION wee5_cron.html_path(endpoint_path text) RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN wee5_cron.html_name(split_part(endpoint_path, '?', 1))
         || CASE WHEN endpoint_path LIKE '%?%' THEN '<span class="quiet">?&hellip;</span>' ELSE '' END;
END
$$;
COMMENT ON FUNCTION wee5_cron.html_path(text) IS 'Internal, for pages: a path without its query';

-- '45 s', '3 min', '2 h', '5 d': enough for the eye.
CREATE FUNCTION wee5_cron.span_in_words(span interval) RETURNS text
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  s constant numeric := extract(epoch FROM greatest(span, -span));
BEGIN
  RETURN CASE WHEN s < 0.001 THEN '0 ms' WHEN s < 1 THEN round(s * 1000) || ' ms' WHEN s < 10 THEN round(s, 1) || ' s'
              WHEN s < 90 THEN round(s) || ' s' WHEN s < 5400 THEN round(s / 60) || ' min'
              WHEN s < 172800 THEN round(s / 3600) || ' h' ELSE round(s / 86400) || ' d' END;
END
$$;
COMMENT ON FUNCTION wee5_cron.span_in_words(interval) IS 'Internal, for pages: a length of time, rounded';

-- now() is the time of the whole page. No <time>: it would say the same twice, and there are hundreds on a page.
CREATE FUNCTION wee5_cron.html_time(at timestamptz) RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN CASE
    WHEN at IS NULL THEN '<span class="quiet">never</span>'
    WHEN NOT isfinite(at) THEN wee5_cron.html(at::text)
    ELSE format('<span title="%s UTC">%s</span>', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'),
                CASE WHEN at > now() THEN 'in ' || wee5_cron.span_in_words(at - now())
                     ELSE wee5_cron.span_in_words(now() - at) || ' ago' END) END;
END
$$;
COMMENT ON FUNCTION wee5_cron.html_time(timestamptz) IS 'Internal, for pages: a time, seen from now';

-- state: a state of job_status, a status of the ledger or of doctor(), which is also the name of its style.
CREATE FUNCTION wee5_cron.html_state(state text) RETURNS text
  LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN format('<span class="state %s">%s</span>', wee5_cron.html(state), wee5_cron.html(replace(state, '_', ' ')));
END
$$;
COMMENT ON FUNCTION wee5_cron.html_state(text) IS 'Internal, for pages: a state, in its colour';

-- An explanation and what to do about it. Both may have several lines. endpoint_path: the path that they are about. Its
-- query may contain quotes, which SQL in a hint has twice.
CREATE FUNCTION wee5_cron.html_advice(error text, hint text, endpoint_path text DEFAULT NULL) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT string_agg(format('<p class="%s" dir="auto">%s</p>', said.class, wee5_cron.html(left(said.words, said.most))), ''
                      ORDER BY said.class)
    FROM (SELECT t.class, t.most, wee5_cron.without_queries(
                   CASE WHEN strpos(endpoint_path, '?') > 0 THEN
                     replace(replace(t.words, replace(endpoint_path, '''', ''''''), split_part(endpoint_path, '?', 1) || '?...'),
                             endpoint_path, split_part(endpoint_path, '?', 1) || '?...')
                   ELSE t.words END) AS words
          FROM (VALUES ('error', error, 2000), ('hint', hint, 4000)) AS t (class, words, most) WHERE t.words <> '') said
  $$;
COMMENT ON FUNCTION wee5_cron.html_advice(text, text, text) IS 'Internal, for pages: an error and its hint; NULL: neither';

-- A part of a page, left out if it is empty.
CREATE FUNCTION wee5_cron.html_section(id text, title text, content text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE WHEN content <> '' THEN
      format(E'<section aria-labelledby="%1$s">\n<h2 id="%1$s">%2$s</h2>\n%3$s\n</section>\n', id, title, content) ELSE '' END
  $$;
COMMENT ON FUNCTION wee5_cron.html_section(text, text, text) IS 'Internal, for pages: a part with its heading';

-- Wide tables scroll within themselves, and never the page; a keyboard can reach them.
CREATE FUNCTION wee5_cron.html_table(caption text, headings text[], body_rows text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE WHEN body_rows <> '' THEN format(E'<div class="scroll" tabindex="0" role="region" aria-label="%1$s, as a table">\n<table>\n'
                  '<caption>%1$s</caption>\n<thead><tr>%2$s</tr></thead>\n<tbody>\n%3$s\n</tbody>\n</table>\n</div>',
                  caption,
                  (SELECT string_agg('<th scope="col">' || heading || '</th>', '' ORDER BY n)
                   FROM unnest(headings) WITH ORDINALITY AS h (heading, n)), body_rows) END
  $$;
COMMENT ON FUNCTION wee5_cron.html_table(text, text[], text) IS 'Internal, for pages: a table; NULL: it would be empty';
