-- Booking what pg_net made of our calls, and which pg_cron run made which call.

-- Objects of other extensions are touched only where pg_depend ties them to that extension: a schema or table of the
-- same name that somebody else made would be run, or read, with the rights of the owner of these functions.
CREATE FUNCTION wee5_cron.belongs_to_extension(catalog regclass, object oid, extension name) RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT EXISTS (
      SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
      WHERE d.classid = catalog AND d.objid = object AND d.objsubid = 0
        AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = extension)
  $$;
COMMENT ON FUNCTION wee5_cron.belongs_to_extension(regclass, oid, name) IS
  'Internal: whether CREATE EXTENSION made this object';

CREATE FUNCTION wee5_cron.pg_net_installed() RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT wee5_cron.belongs_to_extension('pg_class', to_regclass('net.http_request_queue'), 'pg_net')
       AND wee5_cron.belongs_to_extension('pg_class', to_regclass('net._http_response'), 'pg_net')
  $$;
COMMENT ON FUNCTION wee5_cron.pg_net_installed() IS 'Internal: whether the tables of the extension pg_net are in this database';

CREATE FUNCTION wee5_cron.pg_cron_installed() RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT wee5_cron.belongs_to_extension('pg_class', to_regclass('cron.job'), 'pg_cron')
       AND wee5_cron.belongs_to_extension('pg_class', to_regclass('cron.job_run_details'), 'pg_cron')
  $$;
COMMENT ON FUNCTION wee5_cron.pg_cron_installed() IS 'Internal: whether the tables of the extension pg_cron are in this database';

-- The ledger's words for what pg_net tells; reason, error and hint are NULL where there is nothing to say.
CREATE FUNCTION wee5_cron.explain_pg_net(endpoint_path text, url text, http_status int, content_type text, error_msg text,
                                         timed_out boolean, lost boolean, timeout interval, header_lines text,
                                         OUT succeeded boolean, OUT reason text, OUT error text, OUT hint text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_explain_pg_net';
COMMENT ON FUNCTION wee5_cron.explain_pg_net(text, text, int, text, text, boolean, boolean, interval, text) IS
  'Internal, of harvest(): status, reason, error and hint for an answer that pg_net got';

-- When the policy of the path makes such a call again; NULL: the failure is final.
CREATE FUNCTION wee5_cron.next_attempt(endpoint_path text, attempt int, reason text, http_status int, retry_after text,
                                       first_begun timestamptz, ended timestamptz, random float8) RETURNS timestamptz
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_next_attempt';
COMMENT ON FUNCTION wee5_cron.next_attempt(text, int, text, int, text, timestamptz, timestamptz, float8) IS
  'Internal, of harvest(): when a call that failed so is made again by its path''s policy, NULL if it is not; random from 0 to 1 spreads the delay';

CREATE FUNCTION wee5_cron.may_still_begin(endpoint_path text, attempt int, first_begun timestamptz) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_may_still_begin';
COMMENT ON FUNCTION wee5_cron.may_still_begin(text, int, timestamptz) IS
  'Internal, of harvest(): whether the policy that the path has by now still allows an attempt that is due';

CREATE FUNCTION wee5_cron.send_by_pg_net(call_id bigint) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_send_by_pg_net';
COMMENT ON FUNCTION wee5_cron.send_by_pg_net(bigint) IS
  'Internal, of harvest(): hands a call to pg_net again, with the address and the secret that its role has now';

CREATE FUNCTION wee5_cron.redact_for(role name, value text) RETURNS text
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_redact_for';
COMMENT ON FUNCTION wee5_cron.redact_for(name, text) IS
  'Internal, of harvest(): text from the network without the secret that this role''s calls carry';

-- Without a SET of its own: what it sets is put back when the function ends that calls it.
CREATE FUNCTION wee5_cron.silence_statements() RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'wee5_cron_silence_statements';
COMMENT ON FUNCTION wee5_cron.silence_statements() IS
  'Internal, of harvest(): answers as they came would be in the plans that auto_explain and debug_print_plan show';

-- pg_net stores the bytes of an answer as they came, so its column may hold what is no text in this database and would
-- break a later dump. Where all of it is text, left() and convert_to() say so; else it is looked at as bytes.
CREATE FUNCTION wee5_cron.valid_text(value text, max_bytes int) RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
  AS $$
DECLARE
  result text;
  hex text;
BEGIN
  BEGIN
    result := left(value, max_bytes);
    PERFORM convert_to(result, getdatabaseencoding());
  EXCEPTION WHEN character_not_in_repertoire OR untranslatable_character THEN
    -- With its backslashes doubled a text reads as bytea, byte by byte and without a look at the encoding. Every
    -- alternative of the pattern takes whole bytes, so the matches stay aligned.
    hex := encode(substring(replace(value, '\', '\\')::bytea FROM 1 FOR max_bytes), 'hex');
    IF getdatabaseencoding() = 'UTF8' THEN
      SELECT convert_from(decode(string_agg(coalesce(m[1], 'efbfbd'), '' ORDER BY n), 'hex'), 'UTF8') INTO result
      FROM regexp_matches(hex,
        '((?:0[1-9a-f]|[1-7][0-9a-f]|c[2-9a-f][89ab][0-9a-f]|d[0-9a-f][89ab][0-9a-f]'
        '|e0[ab][0-9a-f][89ab][0-9a-f]|e[1-9a-cef](?:[89ab][0-9a-f]){2}|ed[89][0-9a-f][89ab][0-9a-f]'
        '|f0[9ab][0-9a-f](?:[89ab][0-9a-f]){2}|f[1-3](?:[89ab][0-9a-f]){3}|f48[0-9a-f](?:[89ab][0-9a-f]){2})+)|..',
        'g') WITH ORDINALITY AS r (m, n);
    ELSE
      SELECT convert_from(decode(string_agg(coalesce(m[1], '3f'), '' ORDER BY n), 'hex'), 'SQL_ASCII') INTO result
      FROM regexp_matches(hex, '((?:0[1-9a-f]|[1-7][0-9a-f])+)|..', 'g') WITH ORDINALITY AS r (m, n);
    END IF;
  END;
  -- Characters have up to four bytes.
  WHILE octet_length(result) > max_bytes LOOP
    result := left(result, - greatest(1, (octet_length(result) - max_bytes) / 4));
  END LOOP;
  RETURN result;
END
$$;
COMMENT ON FUNCTION wee5_cron.valid_text(text, int) IS
  'Internal, of harvest(): the first max_bytes bytes, cut between characters, bad bytes replaced';

-- Sets invocation.cron_run_id. pg_cron may commit its row later than the call it made, so this happens when a call is
-- booked, and is tried again until the run shows up. cron.job_run_details has one index, on runid: only the newest
-- runs are looked at. A pid comes back after a while, so the run's time has to fit as well; start_time is pg_cron's
-- clock, which can be read a moment after the job's transaction began.
CREATE FUNCTION wee5_cron.bind_cron_runs() RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  bound bigint := 0;
BEGIN
  IF NOT EXISTS (SELECT FROM wee5_cron.cron_caller) THEN
    RETURN 0;
  END IF;
  IF wee5_cron.pg_cron_installed() THEN
    EXECUTE $query$
      WITH run AS MATERIALIZED (
        SELECT runid, job_pid, username, start_time, end_time
        FROM cron.job_run_details
        ORDER BY runid DESC
        LIMIT 1000
      ), hit AS MATERIALIZED (
        SELECT c.invocation_id, max(run.runid) AS runid
        FROM wee5_cron.cron_caller c
        JOIN wee5_cron.invocation i ON i.id = c.invocation_id AND i.finished_at IS NOT NULL
        JOIN run ON run.job_pid = c.pid AND run.username = i.requested_by
          AND run.start_time <= i.requested_at + interval '1 minute'
          AND (run.end_time IS NULL OR run.end_time >= i.requested_at - interval '1 minute')
        GROUP BY c.invocation_id
      ), locked AS MATERIALIZED (
        SELECT i.id, hit.runid
        FROM hit
        JOIN wee5_cron.cron_caller c ON c.invocation_id = hit.invocation_id
        JOIN wee5_cron.invocation i ON i.id = hit.invocation_id
        FOR UPDATE OF c, i SKIP LOCKED
      ), done AS (
        DELETE FROM wee5_cron.cron_caller c USING locked WHERE c.invocation_id = locked.id
      )
      UPDATE wee5_cron.invocation i SET cron_run_id = locked.runid FROM locked WHERE i.id = locked.id
    $query$;
    GET DIAGNOSTICS bound = ROW_COUNT;
  END IF;
  -- No run came to light: pg_cron does not log its runs (cron.log_run), or its history was purged.
  DELETE FROM wee5_cron.cron_caller c
  WHERE c.invocation_id IN (
    SELECT o.invocation_id
    FROM wee5_cron.cron_caller o
    LEFT JOIN wee5_cron.invocation i ON i.id = o.invocation_id
    WHERE i.id IS NULL OR i.finished_at < clock_timestamp() - interval '1 minute'
    FOR UPDATE OF o SKIP LOCKED);
  RETURN bound;
END
$$;
COMMENT ON FUNCTION wee5_cron.bind_cron_runs() IS
  'Internal, of the worker and harvest(): sets invocation.cron_run_id where pg_cron''s row of the run is there by now';

-- Books one call. The caller holds the row's lock.
CREATE FUNCTION wee5_cron.record_pg_net_answer(call_id bigint, is_lost boolean, status_code int, media_type text,
                                               content text, has_timed_out boolean, error_msg text,
                                               answer_headers jsonb, may_retry boolean DEFAULT true) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
  AS $$
DECLARE
  -- More than the secret that might stand across the cut.
  margin constant int := 8192;
  booked_at constant timestamptz := clock_timestamp();
  headers constant jsonb := CASE jsonb_typeof(answer_headers) WHEN 'object' THEN answer_headers END;
  call wee5_cron.invocation;
  said record;
  max_bytes int;
  answer text;
  this_attempt int;
  begun_at timestamptz;
  next_at timestamptz;
BEGIN
  PERFORM wee5_cron.silence_statements();
  -- By the primary key alone: with finished_at beside it, an index of all that is open may seem the smaller one.
  SELECT * INTO call FROM wee5_cron.invocation i WHERE i.id = call_id;
  IF NOT FOUND OR call.finished_at IS NOT NULL THEN
    RETURN false;
  END IF;
  -- This session may not have loaded the library yet, which defines the settings.
  PERFORM wee5_cron.library_preloaded();
  -- A number of bytes is shown as "100B", which pg_size_bytes does not read before version 16.
  max_bytes := pg_size_bytes(regexp_replace(current_setting('wee5_cron.max_response_bytes'), '(\d)B$', '\1'));

  media_type := wee5_cron.redact_for(call.requested_by, wee5_cron.valid_text(media_type, 1024));
  error_msg := wee5_cron.redact_for(call.requested_by, wee5_cron.valid_text(error_msg, 4096));
  answer := wee5_cron.redact_for(call.requested_by, wee5_cron.valid_text(content, max_bytes + margin));
  SELECT * INTO said FROM wee5_cron.explain_pg_net(
    call.endpoint_path, call.url, status_code, media_type, error_msg, has_timed_out, is_lost,
    coalesce(call.timeout, current_setting('wee5_cron.request_timeout')::interval),
    (SELECT string_agg(h.key || ': ' || h.value, E'\n') FROM jsonb_each_text(headers) h));

  this_attempt := call.attempts + 1;
  begun_at := CASE WHEN this_attempt = 1 THEN call.requested_at
                   ELSE (SELECT b.handed_over_at FROM wee5_cron.pg_net_request b WHERE b.invocation_id = call_id) END;
  IF NOT said.succeeded AND may_retry THEN
    next_at := wee5_cron.next_attempt(
      call.endpoint_path, this_attempt, said.reason, status_code,
      -- Not by the database's locale, which raises an error at a name that is no text in its encoding.
      (SELECT h.value FROM jsonb_each_text(headers) h WHERE lower(h.key COLLATE "C") = 'retry-after' LIMIT 1),
      call.requested_at, booked_at, random());
  END IF;

  UPDATE wee5_cron.invocation i
  SET status = CASE WHEN said.succeeded THEN 'succeeded' WHEN next_at IS NULL THEN 'failed' ELSE 'retrying' END,
      reason = said.reason, error = said.error, hint = said.hint, http_status = status_code, attempts = this_attempt,
      next_attempt_at = next_at, finished_at = CASE WHEN next_at IS NULL THEN booked_at END,
      response_content_type = media_type,
      response_body = wee5_cron.valid_text(answer, max_bytes),
      response_truncated = coalesce(octet_length(answer) > max_bytes OR octet_length(content) > max_bytes + margin, false)
  WHERE i.id = call_id;
  INSERT INTO wee5_cron.attempt (invocation_id, attempt, started_at, finished_at, http_status, reason, error)
  VALUES (call_id, this_attempt, begun_at, booked_at, status_code, said.reason, said.error)
  -- One that is there already must not keep all other answers from being booked.
  ON CONFLICT DO NOTHING;
  DELETE FROM wee5_cron.pg_net_request b WHERE b.invocation_id = call_id;
  PERFORM wee5_cron.note_outcomes(array[call_id]);
  RETURN next_at IS NULL;
END
$$;
COMMENT ON FUNCTION wee5_cron.record_pg_net_answer(bigint, boolean, int, text, text, boolean, text, jsonb, boolean) IS
  'Internal, of harvest(): writes what became of one attempt into the ledger; true where the call has ended with it';

-- Of a call that is outstanding the request that pg_net has; NULL: none that is known.
CREATE FUNCTION wee5_cron.pg_net_request_of(call_id bigint) RETURNS bigint
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT b.request_id FROM wee5_cron.pg_net_request b
    WHERE b.invocation_id = call_id AND b.queue = to_regclass('net.http_request_queue')
  $$;
COMMENT ON FUNCTION wee5_cron.pg_net_request_of(bigint) IS 'Internal, of harvest(): the request of a call at this moment';

-- only_id: that call alone, for wait_for() where no worker harvests; NULL for all.
CREATE FUNCTION wee5_cron.book_pg_net_answers(only_id bigint DEFAULT NULL) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  outstanding constant text := 'i.transport = ''pg_net'' AND i.finished_at IS NULL AND i.next_attempt_at IS NULL'
    || CASE WHEN only_id IS NULL THEN '' ELSE ' AND i.id = $2' END;
  oldest timestamptz;
  suspects boolean;
  answer record;
  perhaps_pages bigint[] := '{}';
  booked bigint := 0;
BEGIN
  -- Restored calls lie still. Here, where pg_net never had them, they would all be lost.
  IF NOT wee5_cron.answers_are_ours() THEN
    RETURN 0;
  END IF;
  SELECT min(i.requested_at) INTO oldest
  FROM wee5_cron.invocation i
  WHERE i.transport = 'pg_net' AND i.finished_at IS NULL AND i.next_attempt_at IS NULL
    AND (only_id IS NULL OR i.id = only_id);
  IF oldest IS NULL THEN
    RETURN 0;
  END IF;

  IF NOT wee5_cron.pg_net_installed() THEN
    FOR answer IN EXECUTE format($query$
      SELECT i.id, $1 FROM wee5_cron.invocation i WHERE %s FOR UPDATE SKIP LOCKED
    $query$, outstanding) USING oldest, only_id
    LOOP
      booked := booked + wee5_cron.record_pg_net_answer(answer.id, true, NULL, NULL, NULL, NULL, NULL, NULL, false)::int;
    END LOOP;
    RETURN booked;
  END IF;

  -- net._http_response has an index on `created` only. That is the start of pg_net's transaction, which can be older
  -- than the request: an answer dated earlier than a minute before is found further down.
  FOR answer IN EXECUTE format($query$
    SELECT i.id, b.request_id, r.status_code, r.content_type, r.content, r.timed_out, r.error_msg, r.headers
    FROM wee5_cron.invocation i
    JOIN wee5_cron.pg_net_request b ON b.invocation_id = i.id AND b.queue = 'net.http_request_queue'::regclass
    JOIN net._http_response r ON r.id = b.request_id
    WHERE %s AND r.created >= $1 - interval '1 minute'
    FOR UPDATE OF i SKIP LOCKED
  $query$, outstanding) USING oldest, only_id
  LOOP
    -- Somebody may have booked it, and handed the call over again, since this query began.
    CONTINUE WHEN answer.request_id IS DISTINCT FROM wee5_cron.pg_net_request_of(answer.id);
    booked := booked + wee5_cron.record_pg_net_answer(answer.id, false, answer.status_code, answer.content_type,
                                                      answer.content, answer.timed_out, answer.error_msg,
                                                      answer.headers)::int;
    IF answer.status_code BETWEEN 200 AND 299 THEN
      perhaps_pages := perhaps_pages || answer.id;
    END IF;
  END LOOP;

  -- Lost is what in one snapshot, so in one statement, is in neither of pg_net's tables: it moves a request from the
  -- one to the other in a single transaction. The query that reads every answer runs only where there is reason to.
  EXECUTE format($query$
    SELECT EXISTS (
      SELECT $1 FROM wee5_cron.invocation i
      LEFT JOIN wee5_cron.pg_net_request b ON b.invocation_id = i.id AND b.queue = 'net.http_request_queue'::regclass
      WHERE %s AND NOT EXISTS (SELECT FROM net.http_request_queue q WHERE q.id = b.request_id))
  $query$, outstanding) INTO suspects USING oldest, only_id;
  IF suspects THEN
    FOR answer IN EXECUTE format($query$
      SELECT i.id, b.request_id, r.id IS NULL AS lost, r.status_code, r.content_type, r.content, r.timed_out, r.error_msg,
             r.headers, $1
      FROM wee5_cron.invocation i
      LEFT JOIN wee5_cron.pg_net_request b ON b.invocation_id = i.id AND b.queue = 'net.http_request_queue'::regclass
      LEFT JOIN net._http_response r ON r.id = b.request_id
      WHERE %s AND NOT EXISTS (SELECT FROM net.http_request_queue q WHERE q.id = b.request_id)
      FOR UPDATE OF i SKIP LOCKED
    $query$, outstanding) USING oldest, only_id
    LOOP
      CONTINUE WHEN answer.request_id IS DISTINCT FROM wee5_cron.pg_net_request_of(answer.id);
      booked := booked + wee5_cron.record_pg_net_answer(answer.id, answer.lost, answer.status_code, answer.content_type,
                                                        answer.content, answer.timed_out, answer.error_msg,
                                                        answer.headers)::int;
      IF answer.status_code BETWEEN 200 AND 299 THEN
        perhaps_pages := perhaps_pages || answer.id;
      END IF;
    END LOOP;
  END IF;
  -- What an answer's content type is, its row tells: before that it need not be text in this database.
  IF perhaps_pages <> '{}' THEN
    PERFORM wee5_cron.note_html_pages(perhaps_pages);
  END IF;
  RETURN booked;
END
$$;
COMMENT ON FUNCTION wee5_cron.book_pg_net_answers(bigint) IS
  'Internal, of harvest() and wait_for(): books the answers of all outstanding calls, or of one';

-- Hands over what waits: calls whose next attempt is due, and calls of which it could not be said when they were made
-- whether they overlap with another one. only_id: that call alone; NULL for all.
CREATE FUNCTION wee5_cron.send_due_by_pg_net(only_id bigint DEFAULT NULL) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  call record;
  beside bigint;
  message text;
  advice text;
BEGIN
  IF NOT wee5_cron.may_call() THEN
    RETURN;
  END IF;
  FOR call IN
    SELECT i.id, i.endpoint_path, i.exclusive, i.attempts, i.requested_by, i.requested_at
    FROM wee5_cron.invocation i
    WHERE i.finished_at IS NULL AND i.next_attempt_at <= clock_timestamp() AND i.transport = 'pg_net'
      AND (only_id IS NULL OR i.id = only_id)
    ORDER BY i.id
    FOR UPDATE SKIP LOCKED
  LOOP
    IF call.attempts > 0 AND NOT wee5_cron.may_still_begin(call.endpoint_path, call.attempts + 1, call.requested_at) THEN
      -- It ends with what its last attempt came to.
      UPDATE wee5_cron.invocation i SET status = 'failed', next_attempt_at = NULL, finished_at = clock_timestamp()
      WHERE i.id = call.id;
      PERFORM wee5_cron.note_outcomes(array[call.id]);
      CONTINUE;
    END IF;
    IF call.exclusive IS NOT NULL AND call.attempts = 0 THEN
      CONTINUE WHEN NOT wee5_cron.lock_path(call.endpoint_path);
      beside := wee5_cron.call_beside(call.id, call.endpoint_path, call.exclusive, call.requested_by);
      IF beside IS NOT NULL THEN
        UPDATE wee5_cron.invocation i
        SET status = 'skipped', reason = 'overlap', error = said.error, hint = said.hint, next_attempt_at = NULL,
            finished_at = clock_timestamp()
        FROM wee5_cron.explain_overlap(call.endpoint_path, beside) said
        WHERE i.id = call.id;
        CONTINUE;
      END IF;
    END IF;
    BEGIN
      IF NOT wee5_cron.pg_net_installed() THEN
        RAISE EXCEPTION 'pg_net is not installed any more'
          USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = format('Make the call again by the builtin transport: SELECT wee5_cron.retry(%s);', call.id);
      END IF;
      PERFORM wee5_cron.send_by_pg_net(call.id);
    EXCEPTION WHEN object_not_in_prerequisite_state OR invalid_parameter_value THEN
      -- What the caller would be told; nobody is there to be told now.
      GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT;
      UPDATE wee5_cron.invocation i
      SET status = 'failed', reason = 'config', error = message, hint = nullif(advice, ''), next_attempt_at = NULL,
          finished_at = clock_timestamp()
      WHERE i.id = call.id;
      PERFORM wee5_cron.note_outcomes(array[call.id]);
    END;
  END LOOP;
END
$$;
COMMENT ON FUNCTION wee5_cron.send_due_by_pg_net(bigint) IS
  'Internal, of harvest() and wait_for(): hands calls to pg_net whose next attempt is due';

CREATE FUNCTION wee5_cron.harvest() RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  booked constant bigint := wee5_cron.book_pg_net_answers();
BEGIN
  PERFORM wee5_cron.disarm_subscriber();
  PERFORM wee5_cron.send_due_by_pg_net();
  PERFORM wee5_cron.bind_cron_runs();
  -- Where there is a worker it tells, and calls the webhook.
  IF wee5_cron.may_call() AND NOT wee5_cron.library_preloaded() THEN
    PERFORM wee5_cron.tell_alerts(by_webhook => false);
  END IF;
  RETURN booked;
END
$$;
COMMENT ON FUNCTION wee5_cron.harvest() IS
  'Books the answers that pg_net got into the ledger and returns how many calls ended so; what failed, or was lost, is handed to pg_net again by its path''s policy';
