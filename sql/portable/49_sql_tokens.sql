-- Splits a text into the tokens of SQL, as Postgres's own scanner does with standard_conforming_strings on. The twin of
-- src/core/jobs/sql_tokens.cpp. Positions count bytes from 0, because Postgres finds a byte at once, however long the text is.
-- Windows of the text are read as LATIN1, where each byte is a character. Bytes of longer characters are \u0080 or higher.

CREATE FUNCTION wee5_cron.sql_window(source bytea, at int) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT convert_from(substring(source FROM at + 1 FOR 256), 'LATIN1') $$;
COMMENT ON FUNCTION wee5_cron.sql_window(bytea, int) IS 'Internal: the next bytes of an SQL text';

CREATE FUNCTION wee5_cron.sql_run(source bytea, at int, pattern text) RETURNS int
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  length int := 0;
  step int;
BEGIN
  LOOP
    step := coalesce(length(substring(wee5_cron.sql_window(source, at + length) FROM '^(?:' || pattern || ')+')), 0);
    length := length + step;
    EXIT WHEN step < 255;  -- a pattern may take two bytes at once
  END LOOP;
  RETURN length;
END
$$;
COMMENT ON FUNCTION wee5_cron.sql_run(bytea, int, text) IS
  'Internal: how many bytes from here on match a pattern. It may stop early before a pair of bytes';

-- Where a comment ends. Comments nest. -1: it has no end.
CREATE FUNCTION wee5_cron.end_of_comment(source bytea, at int) RETURNS int
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  depth int := 0;
  pair text;
BEGIN
  LOOP
    at := at + wee5_cron.sql_run(source, at, '[^*/]|\*(?=[^/])|/(?=[^*])');
    pair := left(wee5_cron.sql_window(source, at), 2);
    IF pair IN ('/*', '*/') THEN
      depth := depth + CASE pair WHEN '/*' THEN 1 ELSE -1 END;
      at := at + 2;
    ELSIF pair = '' THEN
      RETURN -1;
    ELSE
      at := at + 1;
    END IF;
    IF depth = 0 THEN
      RETURN at;
    END IF;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.end_of_comment(bytea, int) IS 'Internal: where a comment of SQL ends; -1: nowhere';

CREATE FUNCTION wee5_cron.skip_sql_blanks(source bytea, at int) RETURNS int
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  ahead text;
BEGIN
  WHILE at >= 0 LOOP
    ahead := left(wee5_cron.sql_window(source, at), 2);
    IF ahead ~ '^[\t-\r ]' THEN
      at := at + wee5_cron.sql_run(source, at, '[\t-\r ]');
    ELSIF ahead = '--' THEN
      at := at + wee5_cron.sql_run(source, at, '[^\n\r]');
    ELSIF ahead = '/*' THEN
      at := wee5_cron.end_of_comment(source, at);
    ELSE
      RETURN at;
    END IF;
  END LOOP;
  RETURN -1;
END
$$;
COMMENT ON FUNCTION wee5_cron.skip_sql_blanks(bytea, int) IS
  'Internal: where the next token of SQL begins; -1: in a comment that has no end';

-- Where a string goes on: 'a' <line end> 'b' is one string. NULL: it ends here.
CREATE FUNCTION wee5_cron.continued_string(source bytea, at int) RETURNS int
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  line_end boolean := false;
  ahead text;
  length int;
BEGIN
  LOOP
    ahead := wee5_cron.sql_window(source, at);
    IF ahead ~ '^[\t-\r ]' THEN
      length := wee5_cron.sql_run(source, at, '[\t-\r ]');
      line_end := line_end OR convert_from(substring(source FROM at + 1 FOR length), 'LATIN1') ~ '[\n\r]';
    ELSIF starts_with(ahead, '--') THEN
      length := wee5_cron.sql_run(source, at, '[^\n\r]');
    ELSE
      RETURN CASE WHEN line_end AND starts_with(ahead, '''') THEN at + 1 END;
    END IF;
    at := at + length;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.continued_string(bytea, int) IS 'Internal: where a string of SQL goes on behind a line end; NULL: nowhere';

-- Reads the text between quotes, from the first quote on: pieces without an escape, each followed by at most one escape.
-- `escapes`: a backslash begins an escape, as in E'...'. `next_at` is NULL if the text has no end.
CREATE FUNCTION wee5_cron.read_quoted(source bytea, at int, quote text, escapes boolean, OUT pieces bytea[], OUT next_at int)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  plain constant text := format('[^%1$s%2$s]|%1$s%1$s', quote, CASE WHEN escapes THEN '\\' ELSE '' END);
  size constant int := octet_length(source);
  length int;
  count int := 0;
BEGIN
  pieces := '{}';
  at := at + 1;
  LOOP
    length := wee5_cron.sql_run(source, at, plain);
    IF length > 0 THEN
      count := count + 1;
      pieces[count] := convert_to(replace(convert_from(substring(source FROM at + 1 FOR length), 'LATIN1'), quote || quote, quote), 'LATIN1');
      at := at + length;
    ELSIF at >= size THEN
      RETURN;
    ELSIF get_byte(source, at) <> ascii(quote) THEN
      -- This piece begins with the backslash, unlike all others.
      length := length(substring(wee5_cron.sql_window(source, at) FROM '^\\(?:u[0-9A-Fa-f]{0,4}|U[0-9A-Fa-f]{0,8}|x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|[^0-7]?)'));
      count := count + 1;
      pieces[count] := substring(source FROM at + 1 FOR length);
      at := at + length;
    ELSE
      next_at := CASE quote WHEN '''' THEN wee5_cron.continued_string(source, at + 1) END;
      IF next_at IS NULL THEN
        next_at := at + 1;
        RETURN;
      END IF;
      at := next_at;
      next_at := NULL;
    END IF;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_quoted(bytea, int, text, boolean) IS
  'Internal: the pieces of a quoted text of SQL, and where it ends';

-- The bytes of a code point, or of a pair of surrogates. `pair`: the first of a pair, as long as the second has not come; 0:
-- there is none. `bytes` is NULL if Postgres refuses the code point.
CREATE FUNCTION wee5_cron.add_code_point(code bigint, pair int, OUT bytes bytea, OUT next_pair int)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  next_pair := 0;
  IF code BETWEEN 56320 AND 57343 AND pair > 0 THEN
    bytes := convert_to(chr((65536 + ((pair & 1023) << 10) + (code & 1023))::int), 'UTF8');
  ELSIF pair > 0 OR code = 0 OR code > 1114111 OR code BETWEEN 56320 AND 57343 THEN
    bytes := NULL;
  ELSIF code BETWEEN 55296 AND 56319 THEN
    bytes := '';
    next_pair := code;
  ELSE
    bytes := convert_to(chr(code::int), 'UTF8');
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.add_code_point(bigint, int) IS 'Internal: the bytes of a code point in an SQL string';

-- The byte or the code point that an escape of E'...' stands for. Both NULL: Postgres refuses the escape.
CREATE FUNCTION wee5_cron.read_escape(escape bytea, OUT bytes bytea, OUT code bigint)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  text constant text := substr(convert_from(escape, 'LATIN1'), 2);
BEGIN
  IF text ~ '^[uU]' THEN
    IF length(text) = (CASE left(text, 1) WHEN 'u' THEN 5 ELSE 9 END) THEN
      code := ('x' || lpad(substr(text, 2), 16, '0'))::bit(64)::bigint;
    END IF;
  ELSIF text ~ '^x.' THEN
    bytes := decode(lpad(substr(text, 2), 2, '0'), 'hex');
  ELSIF text ~ '^[0-7]' THEN
    bytes := set_byte('\x00', 0, ((substr(lpad(text, 3, '0'), 1, 1)::int * 8 + substr(lpad(text, 3, '0'), 2, 1)::int) * 8
                                 + right(text, 1)::int) & 255);
  ELSE
    bytes := convert_to(translate(text, 'bfnrt', E'\b\f\n\r\t'), 'LATIN1');
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_escape(bytea) IS 'Internal: what an escape of E''...'' stands for';

-- The value of the pieces. `value` is NULL if Postgres refuses it.
CREATE FUNCTION wee5_cron.value_of_pieces(pieces bytea[]) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  pair int := 0;
  escape record;
  added record;
  bytes bytea;
BEGIN
  FOR n IN 1 .. cardinality(pieces) LOOP
    IF substring(pieces[n] FOR 1) = '\x5c' THEN
      SELECT * INTO escape FROM wee5_cron.read_escape(pieces[n]);
      IF escape.code IS NOT NULL THEN
        SELECT * INTO added FROM wee5_cron.add_code_point(escape.code, pair);
        pieces[n] := added.bytes;
        pair := added.next_pair;
        CONTINUE WHEN pieces[n] IS NOT NULL;
      ELSE
        pieces[n] := escape.bytes;
      END IF;
      IF pieces[n] IS NULL THEN
        RETURN NULL;
      END IF;
    END IF;
    IF pair > 0 THEN
      RETURN NULL;
    END IF;
  END LOOP;
  SELECT coalesce(string_agg(p.piece, '' ORDER BY p.place), '') INTO bytes FROM unnest(pieces) WITH ORDINALITY AS p(piece, place);
  RETURN CASE WHEN pair = 0 AND wee5_cron.is_utf8(bytes) THEN convert_from(bytes, 'UTF8') END;
END
$$;
COMMENT ON FUNCTION wee5_cron.value_of_pieces(bytea[]) IS 'Internal: the value of a string of SQL; NULL: Postgres refuses it';

-- The character that UESCAPE names; a backslash if there is no UESCAPE. `next_at` is -1 after a comment without an end. `escape`
-- is NULL if no character follows UESCAPE.
CREATE FUNCTION wee5_cron.read_uescape(source bytea, at int, OUT escape text, OUT next_at int)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  word_at constant int := wee5_cron.skip_sql_blanks(source, at);
  quote_at int;
  given text;
BEGIN
  escape := '\';
  next_at := CASE WHEN word_at < 0 THEN -1 ELSE at END;
  IF word_at < 0 OR lower(left(wee5_cron.sql_window(source, word_at), 8) COLLATE "C") !~ '^uescape(?:[^a-z_0-9\u0080-\u00FF]|$)' THEN
    RETURN;
  END IF;
  quote_at := wee5_cron.skip_sql_blanks(source, word_at + 7);
  given := CASE WHEN quote_at >= 0 THEN substring(wee5_cron.sql_window(source, quote_at) FROM '^''(.)''') END;
  escape := CASE WHEN given !~ '[0-9A-Fa-f\t-\r +''"]' THEN given END;
  next_at := CASE WHEN quote_at < 0 THEN -1 WHEN given IS NOT NULL THEN quote_at + 3 ELSE at END;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_uescape(bytea, int) IS 'Internal: the escape character of U&''...'' and U&"..."';

-- The value of the pieces of U&'...' or U&"..."; NULL: Postgres refuses it.
CREATE FUNCTION wee5_cron.value_of_unicode(pieces bytea[], escape text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  sign constant text := CASE WHEN escape ~ '[0-9A-Za-z]' THEN escape ELSE '\' || escape END;
  raw constant text := (SELECT string_agg(convert_from(p.piece, 'LATIN1'), '' ORDER BY p.place)
                        FROM unnest(pieces) WITH ORDINALITY AS p(piece, place));
  read text[];
  added record;
  pair int := 0;
  parts bytea[] := '{}';
BEGIN
  FOR read IN
    SELECT m FROM regexp_matches(raw, format('%1$s(%1$s|\+[0-9A-Fa-f]{6}|[0-9A-Fa-f]{4})|(%1$s)|([^%1$s]+)', sign), 'g') AS m
  LOOP
    IF read[2] IS NOT NULL OR pair > 0 AND (read[3] IS NOT NULL OR read[1] = escape) THEN
      RETURN NULL;
    ELSIF read[3] IS NOT NULL OR read[1] = escape THEN
      parts := parts || convert_to(coalesce(read[3], read[1]), 'LATIN1');
    ELSE
      SELECT * INTO added FROM wee5_cron.add_code_point(('x' || lpad(ltrim(read[1], '+'), 8, '0'))::bit(32)::bigint, pair);
      IF added.bytes IS NULL THEN
        RETURN NULL;
      END IF;
      parts := parts || added.bytes;
      pair := added.next_pair;
    END IF;
  END LOOP;
  RETURN CASE pair WHEN 0 THEN convert_from(coalesce((SELECT string_agg(p.part, '' ORDER BY p.place)
                                                      FROM unnest(parts) WITH ORDINALITY AS p(part, place)), ''), 'UTF8') END;
END
$$;
COMMENT ON FUNCTION wee5_cron.value_of_unicode(bytea[], text) IS 'Internal: the value of U&''...'' or U&"..."; NULL: Postgres refuses it';

CREATE FUNCTION wee5_cron.joined_pieces(pieces bytea[]) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT convert_from(coalesce(string_agg(p.piece, '' ORDER BY p.place), ''), 'UTF8')
    FROM unnest(pieces) WITH ORDINALITY AS p(piece, place)
  $$;
COMMENT ON FUNCTION wee5_cron.joined_pieces(bytea[]) IS 'Internal: the value of a quoted text of SQL that knows no escapes';

-- Reads a string or a quoted name. `kind`: s a string, q a name, x a bit string; in upper case if Postgres refuses its escapes.
-- `next_at` is NULL if the string has no end, and -1 after a comment without an end.
CREATE FUNCTION wee5_cron.read_sql_string(source bytea, at int, prefix text, OUT kind text, OUT value text, OUT next_at int)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  quote constant text := right(prefix, 1);
  letter constant text := lower(left(prefix, 1) COLLATE "C");
  pieces bytea[];
  uescape record;
BEGIN
  SELECT q.pieces, q.next_at INTO pieces, next_at
  FROM wee5_cron.read_quoted(source, at + length(prefix) - 1, quote, letter = 'e') q;
  kind := CASE WHEN quote = '"' THEN 'q' WHEN letter IN ('b', 'x') THEN 'x' ELSE 's' END;
  IF next_at IS NULL THEN
    RETURN;
  ELSIF letter = 'e' THEN
    value := wee5_cron.value_of_pieces(pieces);
  ELSIF letter = 'u' THEN
    SELECT * INTO uescape FROM wee5_cron.read_uescape(source, next_at);
    value := wee5_cron.value_of_unicode(pieces, uescape.escape);
    next_at := uescape.next_at;
  ELSE
    value := wee5_cron.joined_pieces(pieces);
  END IF;
  kind := CASE WHEN value IS NULL THEN upper(kind) ELSE kind END;
  value := coalesce(value, '');
END
$$;
COMMENT ON FUNCTION wee5_cron.read_sql_string(bytea, int, text) IS 'Internal: a string or quoted name of SQL, and where it ends';

-- $tag$...$tag$, or a parameter such as $1. `next_at` is NULL if it has no end.
CREATE FUNCTION wee5_cron.read_dollar(source bytea, at int, OUT kind text, OUT value text, OUT next_at int)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  ahead constant text := substr(wee5_cron.sql_window(source, at), 2);
  name_length constant int := CASE WHEN ahead ~ '^[A-Za-z_\u0080-\u00FF]'
                                   THEN wee5_cron.sql_run(source, at + 1, '[A-Za-z_0-9\u0080-\u00FF]') ELSE 0 END;
  tag constant bytea := substring(source FROM at + 1 FOR name_length + 2);
  body constant bytea := substring(source FROM at + name_length + 3);
  length int;
BEGIN
  IF octet_length(tag) < name_length + 2 OR right(encode(tag, 'hex'), 2) <> '24' THEN
    kind := 'x';
    value := '';
    next_at := at + 1 + wee5_cron.sql_run(source, at + 1, '[0-9A-Za-z_.\u0080-\u00FF]');
    RETURN;
  END IF;
  length := position(tag IN body) - 1;
  IF length >= 0 THEN
    kind := 's';
    value := convert_from(substring(body FOR length), 'UTF8');
    next_at := at + 2 * octet_length(tag) + length;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_dollar(bytea, int) IS 'Internal: a dollar-quoted string or a parameter of SQL, and where it ends';

-- Reads an operator: the longest run of operator characters in which no comment begins. Unless it contains a character that no
-- operator of standard SQL has, plus and minus signs at its end are operators of their own.
CREATE FUNCTION wee5_cron.read_operators(source bytea, at int) RETURNS text[]
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  pattern constant text := '[~!@#^&|`?+*/%<>=-]';
  ahead constant text := wee5_cron.sql_window(source, at);
  run text;
  operator text;
BEGIN
  IF ahead ~ '^:[:=]' THEN
    RETURN ARRAY[left(ahead, 2)];
  ELSIF ahead !~ ('^' || pattern) THEN
    RETURN ARRAY[left(ahead, 1)];
  END IF;
  run := convert_from(substring(source FROM at + 1 FOR wee5_cron.sql_run(source, at, pattern)), 'LATIN1');
  run := left(run, 1) || substring(substr(run, 2) FROM '^(?:[^/-]|-(?!-)|/(?!\*))*');
  operator := CASE WHEN run ~ '[~!@#^&|`?%]' THEN run ELSE left(run, 1) || rtrim(substr(run, 2), '+-') END;
  RETURN operator || string_to_array(nullif(substr(run, length(operator) + 1), ''), NULL);
END
$$;
COMMENT ON FUNCTION wee5_cron.read_operators(bytea, int) IS
  'Internal: an operator of SQL with the signs behind it, or a single character that is none';

-- kind: w a word, in lower case, o an operator or one of ( ) [ ] , ; . : :: :=, x anything else, or as of read_sql_string().
CREATE FUNCTION wee5_cron.read_sql_token(source bytea, at int, OUT kinds text[], OUT texts text[], OUT next_at int)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  ahead constant text := left(wee5_cron.sql_window(source, at), 3);
  prefix constant text := substring(ahead FROM '^(?:[eEnNbBxX]?''|"|[uU]&[''"])');
  length int;
BEGIN
  IF prefix IS NOT NULL THEN
    SELECT ARRAY[s.kind], ARRAY[s.value], s.next_at INTO kinds, texts, next_at FROM wee5_cron.read_sql_string(source, at, prefix) s;
  ELSIF starts_with(ahead, '$') THEN
    SELECT ARRAY[d.kind], ARRAY[d.value], d.next_at INTO kinds, texts, next_at FROM wee5_cron.read_dollar(source, at) d;
  ELSIF ahead ~ '^[0-9A-Za-z_\u0080-\u00FF]' THEN
    kinds := CASE WHEN ahead ~ '^[0-9]' THEN ARRAY['x'] ELSE ARRAY['w'] END;
    length := wee5_cron.sql_run(source, at, CASE kinds[1] WHEN 'x' THEN '[0-9A-Za-z_.\u0080-\u00FF]' ELSE '[0-9A-Za-z_$\u0080-\u00FF]' END);
    texts := ARRAY[lower(convert_from(substring(source FROM at + 1 FOR length), 'UTF8') COLLATE "C")];
    next_at := at + length;
  ELSE
    texts := wee5_cron.read_operators(source, at);
    kinds := array_fill('o'::text, ARRAY[cardinality(texts)]);
    next_at := at + length(array_to_string(texts, ''));
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_sql_token(bytea, int) IS
  'Internal: a token of SQL, or an operator with the signs behind it, and where it ends; NULL: nowhere';

-- Reads all simple tokens of a window at once: words, strings without a prefix, names, numbers and operators of one character.
-- It stops at the first other token. The text after a token may change it, so the last two tokens of a full window (perhaps a
-- string and blanks) are left for the next window.
CREATE FUNCTION wee5_cron.read_simple_tokens(source bytea, at int, OUT kinds text[], OUT texts text[], OUT next_at int)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  size constant int := 512;
  -- 1: blanks, 2: a word, 3: a number, 4: a string, 5: a name, 6: an operator, 7: none of these
  pattern constant text := '([\t-\r ]+)|([A-Za-z_\u0080-\u00FF][0-9A-Za-z_$\u0080-\u00FF]*)(?![0-9A-Za-z_$\u0080-\u00FF''&"])|'
    || '([0-9][0-9A-Za-z_.\u0080-\u00FF]*)(?![0-9A-Za-z_.\u0080-\u00FF])|''([^'']*)''(?![\t-\r ]*[''-])|"([^"]*)"(?!")|'
    || '([][(),;.]|:[:=]|[~!@#^&|`?+*/%<>=-](?![~!@#^&|`?+*/%<>=-]))';
  ahead constant text := convert_from(substring(source FROM at + 1 FOR size), 'LATIN1');
BEGIN
  -- Somebody may write a megabyte of other tokens: the window is not read for each of them.
  IF ahead !~ ('^(?:' || pattern || ')') THEN
    next_at := at;
    RETURN;
  END IF;
  WITH m AS MATERIALIZED (
    SELECT t.found, t.place FROM regexp_matches(ahead, pattern || '|(.)', 'g') WITH ORDINALITY AS t(found, place)
  ), simple AS (
    SELECT m.found, m.place, CASE WHEN m.found[2] IS NOT NULL THEN 'w' WHEN m.found[3] IS NOT NULL THEN 'x'
                                  WHEN m.found[4] IS NOT NULL THEN 's' WHEN m.found[5] IS NOT NULL THEN 'q'
                                  WHEN m.found[6] IS NOT NULL THEN 'o' END AS kind
    FROM m
    WHERE m.place < coalesce((SELECT min(n.place) FROM m n WHERE n.found[7] IS NOT NULL),
                             (SELECT max(n.place) + CASE length(ahead) WHEN size THEN -1 ELSE 1 END FROM m n))
  )
  SELECT array_agg(s.kind ORDER BY s.place) FILTER (WHERE s.kind IS NOT NULL),
         array_agg(convert_from(convert_to(lower(array_to_string(s.found[2:3], '') COLLATE "C") || array_to_string(s.found[4:6], ''),
                                           'LATIN1'), 'UTF8') ORDER BY s.place) FILTER (WHERE s.kind IS NOT NULL),
         at + coalesce(sum(length(array_to_string(s.found, '')) + CASE WHEN s.kind IN ('s', 'q') THEN 2 ELSE 0 END), 0)
  INTO kinds, texts, next_at FROM simple s;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_simple_tokens(bytea, int) IS
  'Internal: the next tokens of an SQL text that a single pattern can tell, and where they end';

-- The tokens of a text. NULL: Postgres would refuse all of it, because a quote or a comment has no end.
CREATE FUNCTION wee5_cron.read_sql_tokens(command text, OUT kinds text[], OUT texts text[])
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  source constant bytea := convert_to(command, 'UTF8');
  size constant int := octet_length(source);
  at int := 0;
  next record;
BEGIN
  kinds := '{}';
  texts := '{}';
  LOOP
    at := wee5_cron.skip_sql_blanks(source, at);
    EXIT WHEN at NOT BETWEEN 0 AND size - 1;
    SELECT * INTO next FROM wee5_cron.read_simple_tokens(source, at);
    IF next.next_at = at THEN
      SELECT * INTO next FROM wee5_cron.read_sql_token(source, at);
    END IF;
    -- Appending an element does not copy the array.
    IF cardinality(next.kinds) = 1 THEN
      kinds := array_append(kinds, next.kinds[1]);
      texts := array_append(texts, next.texts[1]);
    ELSE
      kinds := kinds || next.kinds;
      texts := texts || next.texts;
    END IF;
    at := coalesce(next.next_at, -1);
  END LOOP;
  IF at < 0 THEN
    kinds := NULL;
    texts := NULL;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_sql_tokens(text) IS
  'Internal: the tokens of an SQL text; NULL: Postgres would refuse it';
