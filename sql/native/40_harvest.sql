-- No limit: the library decides an answer in microseconds.
CREATE FUNCTION wee5_cron.most_in_one_harvest() RETURNS int
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT NULL::int $$;
COMMENT ON FUNCTION wee5_cron.most_in_one_harvest() IS
  'Internal, for harvest(): how many answers it records, and how many calls it hands over, at most; the next harvest() goes on. NULL: all';

-- The row of a call after an answer. `lost`: pg_net no longer knows the request. `may_retry`: another attempt is possible.
-- secrets, timeout_ms and max_response_bytes are what answer_settings() returned.
CREATE FUNCTION wee5_cron.decide_pg_net_answer(
    endpoint_path text, method text, url text, timeout interval, requested_by name, requested_at timestamptz, attempts int,
    lost boolean, status_code int, content_type text, content text, timed_out boolean, error_msg text, answer_headers jsonb,
    may_retry boolean, random float8, secrets text[], timeout_ms bigint, max_response_bytes int,
    secret_digests int[],
    OUT status text, OUT reason text, OUT error text, OUT hint text, OUT next_attempt_at timestamptz, OUT ended_at timestamptz,
    OUT finished_at timestamptz, OUT response_content_type text, OUT response_body text, OUT response_truncated boolean)
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_decide_pg_net_answer';
COMMENT ON FUNCTION wee5_cron.decide_pg_net_answer(text, text, text, interval, name, timestamptz, int, boolean, int, text, text, boolean, text, jsonb, boolean, float8, text[], bigint, int, int[]) IS
  'Internal, for harvest(): what an answer of pg_net means for the row of its call; random from 0 to 1 spreads the delay of a retry; secret_digests: see pg_net_request';

-- The library reads a role's secrets and settings where it decides. Nothing is to be passed on.
CREATE FUNCTION wee5_cron.answer_settings(role name, OUT secrets text[], OUT timeout_ms bigint, OUT max_response_bytes int)
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT NULL::text[], NULL::bigint, NULL::int $$;
COMMENT ON FUNCTION wee5_cron.answer_settings(name) IS
  'Internal, for harvest(): secrets and settings for decide_pg_net_answer()';

-- The row of an accepted call that the app did not complete in time.
CREATE FUNCTION wee5_cron.decide_incomplete(endpoint_path text, attempts int, first_begun timestamptz, random float8,
                                            OUT status text, OUT reason text, OUT error text, OUT hint text,
                                            OUT next_attempt_at timestamptz, OUT finished_at timestamptz)
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_decide_incomplete';
COMMENT ON FUNCTION wee5_cron.decide_incomplete(text, int, timestamptz, float8) IS
  'Internal: what becomes of a call that the app accepted and did not complete in time; random from 0 to 1 spreads the delay of a retry';

CREATE FUNCTION wee5_cron.redact_for(role name, value text) RETURNS text
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_redact_for';
COMMENT ON FUNCTION wee5_cron.redact_for(name, text) IS
  'Internal: the text without the secret that calls of the role carry';

CREATE FUNCTION wee5_cron.may_still_begin(endpoint_path text, attempt int, first_begun timestamptz) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_may_still_begin';
COMMENT ON FUNCTION wee5_cron.may_still_begin(text, int, timestamptz) IS
  'Internal, for harvest(): whether the path''s policy, as it is now, still allows a retry that is due';

CREATE FUNCTION wee5_cron.call_beside(call_id bigint, endpoint_path text, exclusive text, requested_by name,
                                      requested_at timestamptz, due_at timestamptz, besides bigint DEFAULT NULL) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_call_beside';
COMMENT ON FUNCTION wee5_cron.call_beside(bigint, text, text, name, timestamptz, timestamptz, bigint) IS
  'Internal, for harvest(): an unfinished call that this one would overlap with; NULL: the call may be sent. besides: a call that does not count';

CREATE FUNCTION wee5_cron.lock_path(endpoint_path text) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_lock_path';
COMMENT ON FUNCTION wee5_cron.lock_path(text) IS
  'Internal, for harvest(): false, without waiting, if another transaction is handing a call of this path to pg_net';

CREATE FUNCTION wee5_cron.explain_overlap(endpoint_path text, beside bigint, OUT error text, OUT hint text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_explain_overlap';
COMMENT ON FUNCTION wee5_cron.explain_overlap(text, bigint) IS
  'Internal, for harvest(): error and hint of a call that is skipped because another one has not ended';

CREATE FUNCTION wee5_cron.send_by_pg_net(call_id bigint) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_send_by_pg_net';
COMMENT ON FUNCTION wee5_cron.send_by_pg_net(bigint) IS
  'Internal, for harvest(): hands a call to pg_net again, with the address and the secret that its role has now';

CREATE FUNCTION wee5_cron.send_with_previous_secret(call_id bigint) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_send_with_previous_secret';
COMMENT ON FUNCTION wee5_cron.send_with_previous_secret(bigint) IS
  'Internal, for harvest(): hands the same attempt of a call to pg_net again, with the previous secret; false: there is none that may be used';

CREATE FUNCTION wee5_cron.previous_secret_hint(previous_until timestamptz) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_previous_secret_hint';
COMMENT ON FUNCTION wee5_cron.previous_secret_hint(timestamptz) IS
  'Internal: the hint of a call that succeeded with the previous secret';

CREATE FUNCTION wee5_cron.run_background_tasks() RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  -- If there is a worker, it does everything else, and calls the webhook.
  IF wee5_cron.may_call() AND NOT wee5_cron.library_preloaded() THEN
    PERFORM wee5_cron.repeat_alerts(current_setting('wee5_cron.alert_repeat', true)::interval);
    PERFORM wee5_cron.send_alerts(by_webhook => false);
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.run_background_tasks() IS 'Internal, for harvest(): what is to be done besides calls';

-- A call that waits (overlap = queue) is sent when somebody records the end of the one before it. If you delete that one's
-- row, nobody records an end.
CREATE FUNCTION wee5_cron.wake_for_waiting_calls() RETURNS trigger
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF EXISTS (SELECT FROM wee5_cron.invocation i WHERE i.finished_at IS NULL AND i.next_attempt_at = 'infinity') THEN
    PERFORM wee5_cron.wake_worker();
  END IF;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION wee5_cron.wake_for_waiting_calls() IS
  'Internal, for the table invocation: wakes the worker when rows were deleted while a call waits for the end of another one';

CREATE TRIGGER wake_for_waiting_calls AFTER DELETE ON wee5_cron.invocation
  FOR EACH STATEMENT EXECUTE FUNCTION wee5_cron.wake_for_waiting_calls();
