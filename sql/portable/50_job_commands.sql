-- What the command of a job does, as far as its text shows. The twins of src/core/jobs/job_command.cpp. Tokens are numbered from 1.

-- Spells each token as one character, so that patterns can match a command: brackets, commas, dots and semicolons as they are,
-- : for ::, = for => and :=, ~ for any other operator, s for a readable string, x for anything else. A name is N, or a letter of
-- its own where its text matters: t for text and varchar, p for pg_catalog, and the words c cast, a as, h character,
-- v varying, d do, S select, C call, F from, V variadic. * is the operator.
CREATE FUNCTION wee5_cron.sql_shape(kinds text[], texts text[]) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT coalesce(string_agg(
      CASE t.kind
      WHEN 'o' THEN CASE WHEN t.text IN ('(', ')', '[', ']', ',', '.', ';', '*') THEN t.text WHEN t.text = '::' THEN ':'
                         WHEN t.text IN ('=>', ':=') THEN '=' ELSE '~' END
      WHEN 'w' THEN CASE t.text WHEN 'text' THEN 't' WHEN 'varchar' THEN 't' WHEN 'pg_catalog' THEN 'p' WHEN 'cast' THEN 'c'
                                WHEN 'as' THEN 'a' WHEN 'character' THEN 'h' WHEN 'varying' THEN 'v' WHEN 'do' THEN 'd'
                                WHEN 'select' THEN 'S' WHEN 'call' THEN 'C' WHEN 'from' THEN 'F' WHEN 'variadic' THEN 'V'
                                ELSE 'N' END
      WHEN 'q' THEN CASE t.text WHEN 'text' THEN 't' WHEN 'varchar' THEN 't' WHEN 'pg_catalog' THEN 'p' ELSE 'N' END
      WHEN 's' THEN 's'
      ELSE CASE t.kind WHEN 'S' THEN 'z' ELSE 'x' END END, '' ORDER BY t.place), '')
    FROM unnest(kinds, texts) WITH ORDINALITY AS t(kind, text, place)
  $$;
COMMENT ON FUNCTION wee5_cron.sql_shape(text[], text[]) IS 'Internal: the tokens of a command, a character each';

-- NULL: there is none.
CREATE FUNCTION wee5_cron.closing_bracket(shape text, opening int) RETURNS int
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  bytes constant bytea := convert_to(shape, 'LATIN1');
  depth int := 0;
BEGIN
  FOR n IN opening .. octet_length(bytes) LOOP
    depth := depth + CASE get_byte(bytes, n - 1) WHEN 40 THEN 1 WHEN 91 THEN 1 WHEN 41 THEN -1 WHEN 93 THEN -1 ELSE 0 END;
    IF depth = 0 THEN
      RETURN n;
    END IF;
  END LOOP;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION wee5_cron.closing_bracket(text, int) IS 'Internal: the token that closes a bracket of a command';

-- The number of tokens of a type, if a cast to it does not cut a text of `bytes` bytes: text, varchar, or a varchar(n) that is
-- long enough. 0: it does cut the text. The type begins after token `before`. `bytes` is -1 if the length is not known.
CREATE FUNCTION wee5_cron.text_type_length(shape text, texts text[], before int, bytes int) RETURNS int
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  type constant text := coalesce(substring(substr(shape, before + 1) FROM '^(?:p\.)?(?:t|hv)(?:\([^()]\))?'), '');
  most constant text := CASE WHEN right(type, 1) = ')' THEN texts[before + length(type) - 1] END;
BEGIN
  IF most IS NULL THEN
    RETURN length(type);
  ELSIF bytes < 0 OR most !~ '^[0-9]+$' OR length(ltrim(most, '0')) > 20 OR most::numeric < bytes
        OR most::numeric > 18446744073709551615 THEN
    RETURN 0;
  END IF;
  RETURN length(type);
END
$$;
COMMENT ON FUNCTION wee5_cron.text_type_length(text, text[], int, int) IS
  'Internal: how many tokens a type has that a path may be cast to; 0: it is none';

-- Reads one value from the tokens `start` to `stop`: a string, text '...', (...) or CAST(... AS text). `next` is the token after
-- it. `value` is NULL if the tokens do not begin with such a value.
CREATE FUNCTION wee5_cron.take_literal(shape text, texts text[], start int, stop int, depth int, OUT value text, OUT next int)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  mark constant text := CASE WHEN start <= stop AND depth <= 20 THEN substr(shape, start, 1) ELSE '' END;
  opening constant int := start + CASE mark WHEN 'c' THEN 1 ELSE 0 END;
  closing int;
  inside record;
  type_length int;
BEGIN
  IF mark = 's' THEN
    value := texts[start];
    next := start + 1;
  ELSIF opening <= stop AND substr(shape, opening, 1) = '(' AND mark <> '' THEN
    closing := wee5_cron.closing_bracket(left(shape, stop), opening);
    next := closing + 1;
    IF closing IS NULL THEN
      RETURN;
    ELSIF mark = '(' THEN
      value := wee5_cron.read_literal(shape, texts, opening + 1, closing - 1, depth + 1);
    ELSE
      SELECT * INTO inside FROM wee5_cron.take_literal(shape, texts, opening + 1, closing - 1, depth + 1);
      type_length := wee5_cron.text_type_length(left(shape, closing - 1), texts, inside.next, octet_length(inside.value));
      IF substr(left(shape, closing - 1), inside.next, 1) = 'a' AND type_length > 0 AND inside.next + type_length = closing - 1 THEN
        value := inside.value;
      END IF;
    END IF;
  ELSIF mark IN ('p', 't', 'h') THEN
    -- A varchar(n) could cut the string that follows, so this accepts only a type without a length.
    type_length := wee5_cron.text_type_length(left(shape, stop), texts, start - 1, -1);
    IF type_length > 0 AND start + type_length <= stop AND substr(shape, start + type_length, 1) = 's' AND depth < 20 THEN
      value := texts[start + type_length];
      next := start + type_length + 1;
    END IF;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.take_literal(text, text[], int, int, int) IS 'Internal: a literal text at the beginning of some tokens of a command';

-- The text of an expression that is only a literal, perhaps in brackets or with casts to text.
CREATE FUNCTION wee5_cron.read_literal(shape text, texts text[], start int, stop int, depth int DEFAULT 0) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  taken record;
  at int;
  type_length int;
BEGIN
  SELECT * INTO taken FROM wee5_cron.take_literal(shape, texts, start, stop, depth);
  at := taken.next;
  WHILE taken.value IS NOT NULL AND at <= stop LOOP
    type_length := CASE WHEN substr(shape, at, 1) = ':'
                        THEN wee5_cron.text_type_length(left(shape, stop), texts, at, octet_length(taken.value)) ELSE 0 END;
    IF type_length = 0 THEN
      RETURN NULL;
    END IF;
    at := at + 1 + type_length;
  END LOOP;
  RETURN taken.value;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_literal(text, text[], int, int, int) IS
  'Internal: the text that some tokens of a command are; NULL: they are no literal';

-- The arguments between two brackets: the first token of each value, the last one, and the name in `name => value`.
CREATE FUNCTION wee5_cron.read_arguments(shape text, texts text[], opening int, closing int, OUT name text, OUT start int, OUT stop int)
  RETURNS SETOF record
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  inside constant bytea := convert_to(substr(shape, opening + 1, closing - opening - 1), 'LATIN1');
  depth int := 0;
  mark int;
BEGIN
  start := opening + 1;
  FOR n IN 0 .. octet_length(inside) LOOP
    mark := CASE WHEN n < octet_length(inside) THEN get_byte(inside, n) ELSE 0 END;
    depth := depth + CASE WHEN mark IN (40, 91) THEN 1 WHEN mark IN (41, 93) AND depth > 0 THEN -1 ELSE 0 END;
    CONTINUE WHEN mark <> 0 AND (mark <> 44 OR depth > 0) OR octet_length(inside) = 0;
    stop := opening + n;
    name := '';
    IF substr(shape, start, least(2, stop - start + 1)) ~ '^[NtpcahvdSCFV]=$' THEN
      name := texts[start];
      start := start + 2;
    END IF;
    RETURN NEXT;
    start := stop + 2;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_arguments(text, text[], int, int) IS 'Internal: the arguments of a call in a command';

-- The call whose bracket is `opening`, among the tokens from `first` on. `function` is NULL if the bracket makes no call: the name
-- has more parts than database, schema and function, or a word before it says so, as in CREATE FUNCTION f(...). `path`: the path,
-- if it is a literal. `takes_a_path`: the only argument is the path. A function of our name with other arguments is not ours.
CREATE FUNCTION wee5_cron.read_call(kinds text[], texts text[], shape text, first int, opening int, OUT schema text, OUT function text,
                                    OUT start int, OUT stop int, OUT arguments int, OUT takes_a_path boolean, OUT path text)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  name_length constant int := length(substring(substr(shape, first, opening - first) FROM '(?:[NtpcahvdSCFV]\.)*[NtpcahvdSCFV]$'));
  argument record;
  target record;
BEGIN
  start := opening - name_length;
  stop := wee5_cron.closing_bracket(shape, opening);
  IF stop IS NULL OR name_length > 5
     OR start > first AND (substr(shape, start - 1, 1) = '.' OR kinds[start - 1] = 'w' AND texts[start - 1] IN (
          'function', 'procedure', 'routine', 'aggregate', 'into', 'table', 'as', 'execute', 'prepare', 'with', 'recursive')) THEN
    RETURN;
  END IF;
  function := texts[opening - 1];
  schema := CASE WHEN name_length > 1 THEN texts[opening - 3] ELSE '' END;
  arguments := 0;
  takes_a_path := false;
  FOR argument IN SELECT * FROM wee5_cron.read_arguments(shape, texts, opening, stop) LOOP
    arguments := arguments + 1;
    takes_a_path := arguments = 1 AND argument.name IN ('', 'endpoint_path') AND argument.stop >= argument.start
      AND substr(shape, argument.start, 1) NOT IN ('*', 'V');
    IF argument.name = 'endpoint_path' THEN
      path := wee5_cron.read_literal(shape, texts, argument.start, argument.stop);
      takes_a_path := takes_a_path AND stop = argument.stop + 1;
      EXIT;
    ELSIF arguments = 1 AND argument.name = '' THEN
      path := wee5_cron.read_literal(shape, texts, argument.start, argument.stop);
    END IF;
  END LOOP;
  IF function = 'invoke' AND path IS NOT NULL THEN
    SELECT a.start, a.stop INTO target
    FROM (SELECT r.*, row_number() OVER () AS place FROM wee5_cron.read_arguments(shape, texts, opening, stop) r) a
    WHERE a.name = 'target' OR a.place = 6 AND a.name = '' ORDER BY a.name = 'target' DESC, a.place LIMIT 1;
    IF FOUND AND NOT (target.start = target.stop AND kinds[target.start] = 'w' AND texts[target.start] = 'null') THEN
      path := wee5_cron.read_literal(shape, texts, target.start, target.stop) || ':' || path;
    END IF;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_call(text[], text[], text, int, int) IS 'Internal: a call in a command';

-- The SQL that PL/pgSQL's EXECUTE runs, as tokens, if what follows token `before` begins with '...' or format('...'. What format()
-- puts in is not known: a string or name that holds it is not readable. What is appended to the text is not read.
CREATE FUNCTION wee5_cron.executed_tokens(shape text, outer_kinds text[], outer_texts text[], before int, OUT kinds text[], OUT texts text[])
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  head constant text := substring(substr(shape, before + 1) FROM '^\(*(?:(?:p\.)?N\(+)?');
  at constant int := before + 1 + length(head);
  name constant text := outer_texts[at - length(substring(head FROM '\(*$')) - 1];
  is_format constant boolean := head ~ 'N' AND name = 'format';
BEGIN
  IF coalesce(outer_kinds[at], '') <> 's' OR head ~ 'N' AND NOT is_format THEN
    RETURN;
  ELSIF NOT is_format THEN
    SELECT t.kinds, t.texts INTO kinds, texts FROM wee5_cron.read_sql_tokens(outer_texts[at]) t;
    RETURN;
  END IF;
  SELECT array_agg(CASE WHEN u.kind IN ('s', 'q') AND strpos(u.text, e'\x01') > 0 THEN upper(u.kind) ELSE u.kind END ORDER BY u.place),
         array_agg(u.text ORDER BY u.place)
  INTO kinds, texts
  FROM wee5_cron.read_sql_tokens(regexp_replace(outer_texts[at], '%[^A-Za-z%]*[A-Za-z%]', e'\x01', 'g')) t
    CROSS JOIN unnest(t.kinds, t.texts) WITH ORDINALITY AS u(kind, text, place);
END
$$;
COMMENT ON FUNCTION wee5_cron.executed_tokens(text, text[], text[], int) IS 'Internal: the SQL that a DO block runs with EXECUTE';

-- The calls of functions with one of our names, in a command, in the bodies of its DO statements, and in what these run with EXECUTE,
-- down to a DO within a DO.
-- Finds at most `most` calls and EXECUTEs, because any user of pg_cron can write a command of any length.
CREATE FUNCTION wee5_cron.calls_in_command(kinds text[], texts text[], most int, nested int, OUT schema text, OUT function text,
                                           OUT arguments int, OUT takes_a_path boolean, OUT path text) RETURNS SETOF record
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  shape constant text := wee5_cron.sql_shape(kinds, texts);
  left_over int := most;
  token record;
  body record;
BEGIN
  FOR token IN
    WITH t AS (
      SELECT u.kind, u.text, u.place::int AS place, count(*) FILTER (WHERE u.kind = 'o' AND u.text = ';') OVER (ORDER BY u.place) AS statement
      FROM unnest(kinds, texts) WITH ORDINALITY AS u(kind, text, place)
    ), statement AS (
      SELECT t.statement, (array_agg(t.kind = 'w' AND t.text = 'do' ORDER BY t.place) FILTER (WHERE t.kind <> 'o' OR t.text <> ';'))[1] AS is_do
      FROM t GROUP BY t.statement
    )
    SELECT t.place, t.kind, t.text FROM t JOIN statement s USING (statement)
    WHERE s.is_do AND t.kind IN ('s', 'S') AND nested < 2
       -- In a command itself, EXECUTE names a prepared statement.
       OR nested = 1 AND t.kind = 'w' AND t.text = 'execute'
       OR t.kind IN ('w', 'q') AND t.text IN ('invoke_cron_endpoint', 'invoke', 'run', 'harvest')
          AND kinds[t.place + 1] = 'o' AND texts[t.place + 1] = '('
    ORDER BY t.place
  LOOP
    IF token.kind IN ('w', 'q') AND token.text <> 'execute' THEN
      SELECT c.schema, c.function, c.arguments, c.takes_a_path, c.path INTO schema, function, arguments, takes_a_path, path
      FROM wee5_cron.read_call(kinds, texts, shape, 1, token.place + 1) c;
      RETURN NEXT;
      left_over := left_over - 1;
    ELSE
      IF token.text = 'execute' AND token.kind = 'w' THEN
        SELECT NULL, NULL, NULL, NULL, NULL INTO schema, function, arguments, takes_a_path, path;
        RETURN NEXT;
        left_over := left_over - 1;
        EXIT WHEN left_over <= 0;
        SELECT * INTO body FROM wee5_cron.executed_tokens(shape, kinds, texts, token.place);
      ELSE
        SELECT * INTO body FROM wee5_cron.read_sql_tokens(token.text);
      END IF;
      FOR schema, function, arguments, takes_a_path, path IN
        SELECT * FROM wee5_cron.calls_in_command(body.kinds, body.texts, left_over, nested + 1)
      LOOP
        RETURN NEXT;
        left_over := left_over - 1;
      END LOOP;
    END IF;
    EXIT WHEN left_over <= 0;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.calls_in_command(text[], text[], int, int) IS 'Internal: the calls in a command that may be of our functions';

-- Which of our functions a call calls; NULL: none.
CREATE FUNCTION wee5_cron.our_function(schema text, function text, arguments int, takes_a_path boolean, call_schema text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE WHEN function = 'invoke_cron_endpoint' AND takes_a_path AND schema IN ('', call_schema)
                  OR function IN ('invoke', 'run') AND schema = 'wee5_cron' AND arguments > 0 THEN function END
  $$;
COMMENT ON FUNCTION wee5_cron.our_function(text, text, int, boolean, text) IS 'Internal: which of our functions a call in a command is of';

-- Whether the command is SELECT f('/x') [[AS] name], SELECT * FROM f('/x') [[AS] name] or CALL f('/x'), and no more.
CREATE FUNCTION wee5_cron.is_one_call(kinds text[], texts text[], call_schema text) RETURNS boolean
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  whole constant text := wee5_cron.sql_shape(kinds, texts);
  shape constant text := rtrim(whole, ';');
  first constant int := length(substring(shape FROM '^;*')) + 1;
  head constant text := substring(substr(shape, first) FROM '^(?:S\*F|S|C)');
  name_at constant int := first + length(head);
  opening constant int := name_at + strpos(substr(shape, name_at), '(') - 1;
  call record;
  function text;
BEGIN
  IF head IS NULL OR opening <= name_at OR kinds[opening - 1] NOT IN ('w', 'q')
     OR texts[opening - 1] NOT IN ('invoke_cron_endpoint', 'invoke', 'run', 'harvest') OR length(shape) - first + 1 < 4 THEN
    RETURN false;
  END IF;
  SELECT * INTO call FROM wee5_cron.read_call(kinds, texts, shape, first, opening);
  function := wee5_cron.our_function(call.schema, call.function, call.arguments, call.takes_a_path, call_schema);
  RETURN coalesce(call.start = name_at AND call.takes_a_path AND call.path IS NOT NULL AND (function = 'run') = (head = 'C')
    AND substr(shape, call.stop + 1) ~ (CASE head WHEN 'C' THEN '^$' ELSE '^(?:a?[NtpcahvdSCFV])?$' END), false);
END
$$;
COMMENT ON FUNCTION wee5_cron.is_one_call(text[], text[], text) IS 'Internal: whether a command calls one path and does nothing else';

-- What a command does. A command that is not SQL, or is longer than a megabyte, calls nothing. One of our names can hide only
-- behind a backslash, a U& or a string in several parts.
CREATE FUNCTION wee5_cron.read_job_command(command text, call_schema text, OUT functions text[], OUT endpoint_path text,
                                           OUT is_plain boolean, OUT harvests boolean, OUT other_schema text, OUT other_path text)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  -- As schedule() writes it, unless its schema needs quotes.
  plain constant text[] := regexp_match(command, '^SELECT (?:([a-z_][a-z0-9_]*)\.)?invoke_cron_endpoint\(''([^'']*)''\);?$');
  tokens record;
  call record;
  function text;
BEGIN
  functions := '{}';
  is_plain := false;
  harvests := false;
  IF octet_length(command) > 1048576
     OR lower(command COLLATE "C") !~ ('invoke|run|harvest|\\|u&|''[\t-\r ]*(?:--|[\n\r])') THEN
    RETURN;
  ELSIF coalesce(plain[1], call_schema) = call_schema AND plain IS NOT NULL THEN
    functions := '{invoke_cron_endpoint}';
    endpoint_path := plain[2];
    is_plain := true;
    RETURN;
  END IF;
  SELECT * INTO tokens FROM wee5_cron.read_sql_tokens(command);
  FOR call IN SELECT * FROM wee5_cron.calls_in_command(tokens.kinds, tokens.texts, 20, 0) LOOP
    function := wee5_cron.our_function(call.schema, call.function, call.arguments, call.takes_a_path, call_schema);
    IF function IS NOT NULL THEN
      endpoint_path := CASE WHEN functions = '{}' THEN call.path ELSE endpoint_path END;
      functions := CASE WHEN function = ANY (functions) THEN functions ELSE functions || function END;
    ELSIF call.schema = 'wee5_cron' AND call.function = 'harvest' AND call.arguments = 0 THEN
      harvests := true;
    ELSIF call.function = 'invoke_cron_endpoint' AND call.takes_a_path AND other_schema IS NULL THEN
      other_schema := call.schema;
      other_path := call.path;
    END IF;
  END LOOP;
  is_plain := coalesce(wee5_cron.is_one_call(tokens.kinds, tokens.texts, call_schema), false);
END
$$;
COMMENT ON FUNCTION wee5_cron.read_job_command(text, text) IS 'Internal: what the command of a job does, as far as its text tells';

-- PL/pgSQL prepares these expressions once per transaction. A query would prepare call_schema() again for each job.
CREATE FUNCTION wee5_cron.calls_us(command text) RETURNS boolean
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN (wee5_cron.read_job_command(command, wee5_cron.call_schema())).functions <> '{}';
END
$$;
COMMENT ON FUNCTION wee5_cron.calls_us(text) IS
  'Internal: whether this command calls our invoke_cron_endpoint() with one argument, wee5_cron.invoke() or wee5_cron.run()';

CREATE FUNCTION wee5_cron.path_of_command(command text) RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN (wee5_cron.read_job_command(command, wee5_cron.call_schema())).endpoint_path;
END
$$;
COMMENT ON FUNCTION wee5_cron.path_of_command(text) IS
  'Internal: the path of the first such call in a job''s command; NULL if there is none or the path is not a literal';

CREATE FUNCTION wee5_cron.is_plain_call(command text) RETURNS boolean
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN (wee5_cron.read_job_command(command, wee5_cron.call_schema())).is_plain;
END
$$;
COMMENT ON FUNCTION wee5_cron.is_plain_call(text) IS
  'Internal: whether a job''s command calls one path, with no other arguments, and does nothing else';

CREATE FUNCTION wee5_cron.functions_of_command(command text) RETURNS text[]
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN (wee5_cron.read_job_command(command, wee5_cron.call_schema())).functions;
END
$$;
COMMENT ON FUNCTION wee5_cron.functions_of_command(text) IS
  'Internal: which of invoke_cron_endpoint, invoke and run a job''s command calls';

CREATE FUNCTION wee5_cron.harvests(command text) RETURNS boolean
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN (wee5_cron.read_job_command(command, wee5_cron.call_schema())).harvests;
END
$$;
COMMENT ON FUNCTION wee5_cron.harvests(text) IS 'Internal: whether a job''s command calls wee5_cron.harvest()';

CREATE FUNCTION wee5_cron.other_call(command text, OUT schema text, OUT endpoint_path text)
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  SELECT r.other_schema, r.other_path INTO schema, endpoint_path
  FROM wee5_cron.read_job_command(command, wee5_cron.call_schema()) r;
END
$$;
COMMENT ON FUNCTION wee5_cron.other_call(text) IS
  'Internal: the schema and path of a call of an invoke_cron_endpoint(text) that is not ours; NULL where the command makes none';
