-- Texts for people, and texts that must not show a secret. The twins of text.cpp and redact.cpp in src/core/text. Lengths count
-- bytes in UTF-8, so the database has to be in UTF8.

CREATE FUNCTION wee5_cron.first_bytes(value text, most int) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  bytes bytea;
  length int := greatest(most, 0);
BEGIN
  IF octet_length(value) <= length THEN
    RETURN value;
  END IF;
  bytes := convert_to(left(value, length + 1), 'UTF8');
  WHILE length > 0 AND get_byte(bytes, length) & 192 = 128 LOOP
    length := length - 1;
  END LOOP;
  RETURN convert_from(substring(bytes FOR length), 'UTF8');
END
$$;
COMMENT ON FUNCTION wee5_cron.first_bytes(text, int) IS
  'Internal: the beginning of a text, as many whole characters as fit into so many bytes';

-- RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. A NUL is in no text of Postgres.
CREATE FUNCTION wee5_cron.utf8_character() RETURNS text
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN '(?:[\u0001-\u007F]|[\u00C2-\u00DF][\u0080-\u00BF]|\u00E0[\u00A0-\u00BF][\u0080-\u00BF]|'
    || '[\u00E1-\u00EC\u00EE\u00EF][\u0080-\u00BF]{2}|\u00ED[\u0080-\u009F][\u0080-\u00BF]|'
    || '\u00F0[\u0090-\u00BF][\u0080-\u00BF]{2}|[\u00F1-\u00F3][\u0080-\u00BF]{3}|\u00F4[\u0080-\u008F][\u0080-\u00BF]{2})';
END
$$;
COMMENT ON FUNCTION wee5_cron.utf8_character() IS 'Internal: a pattern for a character of UTF-8, in bytes that are read as LATIN1';

CREATE FUNCTION wee5_cron.is_utf8(bytes bytea) RETURNS boolean
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN CASE WHEN position('\x00'::bytea IN bytes) > 0 THEN false
              ELSE convert_from(bytes, 'LATIN1') ~ ('^' || wee5_cron.utf8_character() || '*$') END;
END
$$;
COMMENT ON FUNCTION wee5_cron.is_utf8(bytea) IS 'Internal: whether bytes are a text in UTF-8';

-- Like first_bytes(), for a text that pg_net stored: pg_net stores bytes unchecked. Each byte that is not part of a character
-- becomes U+FFFD. The beginning of a character without its end becomes a single U+FFFD.
CREATE FUNCTION wee5_cron.first_received_bytes(value text, most int) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  beginning constant text := '\u00E0[\u00A0-\u00BF]|\u00ED[\u0080-\u009F]|[\u00E1-\u00EC\u00EE\u00EF][\u0080-\u00BF]|'
    || '\u00F0[\u0090-\u00BF][\u0080-\u00BF]?|[\u00F1-\u00F3][\u0080-\u00BF]{1,2}|\u00F4[\u0080-\u008F][\u0080-\u00BF]?';
  bytes constant bytea := decode(replace(value, E'\\', E'\\\\'), 'escape');
  head constant text := convert_from(substring(bytes FOR greatest(most, 0)), 'LATIN1');
  valid constant text := substring(head FROM '^' || wee5_cron.utf8_character() || '*');
BEGIN
  -- The cut itself may leave the beginning of a character.
  IF valid = head OR octet_length(bytes) > most AND substr(head, length(valid) + 1) ~ ('^(?:' || beginning || '|[\u00C2-\u00F4])$') THEN
    RETURN convert_from(convert_to(valid, 'LATIN1'), 'UTF8');
  END IF;
  RETURN (
    SELECT string_agg(coalesce(convert_from(convert_to(m[1], 'LATIN1'), 'UTF8'), chr(65533)), '' ORDER BY place)
    FROM regexp_matches(head, '(' || wee5_cron.utf8_character() || '+)|' || beginning || '|.', 'g')
      WITH ORDINALITY AS t (m, place));
END
$$;
COMMENT ON FUNCTION wee5_cron.first_received_bytes(text, int) IS
  'Internal: the beginning of a text that came over the network, without bytes that are no text';

CREATE FUNCTION wee5_cron.shorten(value text, most int) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE WHEN octet_length(value) <= most THEN value
                WHEN most < 3 THEN left('...', greatest(most, 0))
                ELSE wee5_cron.first_bytes(value, most - 3) || '...' END
  $$;
COMMENT ON FUNCTION wee5_cron.shorten(text, int) IS
  'Internal: at most so many bytes of a text, with "..." at the end where it is cut';

-- Control characters, and characters that a terminal does not show or that change the direction of the text, become
-- \xNN or \uNNNN, so that a reader sees them.
CREATE FUNCTION wee5_cron.printable(value text, most int DEFAULT 100) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  deceptive constant text :=
    '[\u0001-\u001F\u007F-\u009F\u00AD\u200B-\u200F\u2028-\u202E\u2060-\u206F\uFEFF]';
  shown text := left(value, most + 1);
BEGIN
  IF shown ~ deceptive THEN
    SELECT string_agg(CASE WHEN c.value !~ deceptive THEN c.value
                           WHEN ascii(c.value) < 128 THEN '\x' || upper(lpad(to_hex(ascii(c.value)), 2, '0'))
                           ELSE '\u' || upper(lpad(to_hex(ascii(c.value)), 4, '0')) END, '' ORDER BY c.place)
    INTO shown
    FROM regexp_split_to_table(shown, '') WITH ORDINALITY AS c(value, place);
  END IF;
  RETURN wee5_cron.shorten(shown, most);
END
$$;
COMMENT ON FUNCTION wee5_cron.printable(text, int) IS
  'Internal: a text as part of a message: one line, at most so many bytes, without characters that deceive the eye';

-- A character is spelled as it is, percent-encoded, as a JSON escape, or, if it is a blank, as a plus sign.
CREATE FUNCTION wee5_cron.spelled_pattern(wanted text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  alphanumeric constant text := '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
  pattern text := '';
  character text;
  hex text;
BEGIN
  FOREACH character IN ARRAY string_to_array(wanted, NULL) LOOP
    pattern := pattern || '(?:\\?' || CASE WHEN strpos(alphanumeric, character) = 0 AND ascii(character) < 128 THEN '\' ELSE '' END
      || character || '|';
    hex := encode(convert_to(character, 'UTF8'), 'hex');
    FOR byte IN 0 .. length(hex) / 2 - 1 LOOP
      pattern := pattern || '(?:%|\\u00)[' || substr(hex, 2 * byte + 1, 1) || upper(substr(hex, 2 * byte + 1, 1)) || ']['
        || substr(hex, 2 * byte + 2, 1) || upper(substr(hex, 2 * byte + 2, 1)) || ']';
    END LOOP;
    pattern := pattern || CASE character WHEN ' ' THEN '|\+)' ELSE ')' END;
  END LOOP;
  RETURN pattern;
END
$$;
COMMENT ON FUNCTION wee5_cron.spelled_pattern(text) IS
  'Internal: a pattern for the spellings of a text that an answer may echo';

-- No spelling is shorter than the text itself, and a `value` without an escape can only contain the text itself. A pattern for
-- a long text takes long to compile, so this looks for the beginning of the text first. PostgreSQL refuses a pattern for a text
-- of thousands of characters: if `value` contains the beginning of such a text, the mark replaces all of `value`.
CREATE FUNCTION wee5_cron.replace_spelled(value text, wanted text, mark text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  longest constant int := 512;
BEGIN
  IF octet_length(value) < octet_length(wanted)
     OR value !~ '[%\\]' AND (strpos(wanted, ' ') = 0 OR strpos(value, '+') = 0) THEN
    RETURN replace(value, wanted, mark);
  ELSIF value !~ wee5_cron.spelled_pattern(left(wanted, 8)) THEN
    RETURN value;
  ELSIF length(wanted) <= longest THEN
    RETURN regexp_replace(value, wee5_cron.spelled_pattern(wanted), mark, 'g');
  END IF;
  value := replace(value, wanted, mark);
  RETURN CASE WHEN value ~ wee5_cron.spelled_pattern(left(wanted, longest)) THEN mark ELSE value END;
END
$$;
COMMENT ON FUNCTION wee5_cron.replace_spelled(text, text, text) IS
  'Internal: a text with a mark in place of another text, however that one is spelled';

-- The secret, and its forms in base64: alone, and within a longer text such as "user:secret". The form within a text depends
-- on where in a group of three bytes the secret begins. Its first and last characters hold bits of other bytes.
CREATE FUNCTION wee5_cron.forms_of_secret(secret text) RETURNS text[]
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  shortest constant int := 6;  -- a shorter piece would match ordinary text
  bytes constant bytea := convert_to(secret, 'UTF8');
  special text;
  encoded text;
  piece text;
  forms text[] := ARRAY[secret];
BEGIN
  FOREACH special IN ARRAY ARRAY['+/', '-_'] LOOP
    encoded := translate(replace(encode(bytes, 'base64'), E'\n', ''), '+/', special);
    IF encoded LIKE '%=' THEN
      forms := forms || encoded;
    END IF;
    forms := forms || rtrim(encoded, '=');
    FOR begins_at IN 0 .. 2 LOOP
      encoded := replace(encode(decode(repeat('00', begins_at), 'hex') || bytes, 'base64'), E'\n', '');
      piece := left(translate(encoded, '+/', special), (octet_length(bytes) + begins_at) * 8 / 6);
      piece := substr(piece, 1 + (ARRAY[0, 2, 3])[begins_at + 1]);
      IF length(piece) >= shortest THEN
        forms := forms || piece;
      END IF;
    END LOOP;
  END LOOP;
  RETURN forms;
END
$$;
COMMENT ON FUNCTION wee5_cron.forms_of_secret(text) IS
  'Internal: the texts by which an answer can show a secret: the secret and its base64 forms, in the order in which they are replaced';

-- If the secret holds a bracket, the mark and the text around it could spell the secret again.
CREATE FUNCTION wee5_cron.redact(value text, secret text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  mark constant text := CASE WHEN secret ~ '[][]' THEN U&'\FFFD' ELSE '[secret]' END;
  form text;
BEGIN
  IF secret = '' OR value = '' THEN
    RETURN value;
  END IF;
  FOREACH form IN ARRAY wee5_cron.forms_of_secret(secret) LOOP
    value := wee5_cron.replace_spelled(value, form, mark);
  END LOOP;
  RETURN value;
END
$$;
COMMENT ON FUNCTION wee5_cron.redact(text, text) IS
  'Internal: a text without the secret, also where it is percent-encoded, escaped as in JSON, or encoded as base64';

-- Refuses a secret that no header can carry (RFC 9110, section 5.5). The error never shows the secret.
CREATE FUNCTION wee5_cron.check_secret(secret text) RETURNS void
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  bad constant text := substring(secret FROM '[^\u0020-\u007E]');
BEGIN
  IF bad IS NULL THEN
    RETURN;
  END IF;
  RAISE EXCEPTION 'the secret in app.settings.cron_secret holds %, which no HTTP header can carry',
      CASE WHEN bad IN (E'\r', E'\n') THEN 'a line break'
           WHEN ascii(bad) < 128 THEN 'a control character'
           ELSE 'a character that is not ASCII' END
    USING ERRCODE = 'object_not_in_prerequisite_state',
          HINT = 'Use a secret of plain letters and digits, such as the output of "openssl rand -hex 32", and set the same '
            || 'one as CRON_SECRET in the app.';
END
$$;
COMMENT ON FUNCTION wee5_cron.check_secret(text) IS 'Internal: raises an error if a header cannot carry the secret';
