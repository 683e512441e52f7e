-- Making a call. These functions check all that they can before they write the row.

CREATE FUNCTION wee5_cron.merged_headers(policy jsonb, own jsonb) RETURNS jsonb
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE WHEN policy IS NULL THEN own WHEN own IS NULL THEN policy ELSE
      coalesce((SELECT jsonb_object_agg(p.name, p.value) FROM wee5_cron.headers_of(policy) p
                WHERE NOT EXISTS (SELECT FROM wee5_cron.headers_of(own) o WHERE lower(o.name) = lower(p.name))), '{}') || own END
  $$;
COMMENT ON FUNCTION wee5_cron.merged_headers(jsonb, jsonb) IS 'Internal: the headers of a policy, with those of a call, which override them';

-- by_job: pg_cron runs this session. It decides labels and overlap, never rights. The job that makes the call is the only job of this
-- database and session_user whose command is the running statement.
CREATE FUNCTION wee5_cron.identify_caller(OUT by_job boolean, OUT job_name text, OUT schedule text, OUT scheduled_at timestamptz)
  LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  job record;
BEGIN
  by_job := (
    SELECT CASE a.backend_type WHEN 'client backend' THEN current_setting('application_name') = 'pg_cron'
                               ELSE a.backend_type = 'pg_cron' END
    FROM pg_stat_get_activity(pg_backend_pid()) a);
  IF NOT by_job OR NOT wee5_cron.pg_cron_installed() THEN
    RETURN;
  END IF;
  EXECUTE $query$
    SELECT count(*) AS jobs, min(j.jobname::text) AS name, min(j.schedule) AS schedule FROM cron.job j
    WHERE j.command = $1 AND j.username = session_user AND j.database = current_database()
  $query$ INTO job USING current_query();
  IF job.jobs = 1 THEN
    job_name := job.name;
    schedule := job.schedule;
    scheduled_at := CASE WHEN wee5_cron.shares_ticks(job.schedule) THEN wee5_cron.newest_tick(job.schedule, now())
                         ELSE date_trunc('second', now()) END;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.identify_caller() IS 'Internal: whether a job makes the call, which one, and for which tick';

-- How many calls of this run were equal to this one, counted from 1. A procedure may commit within a run.
CREATE FUNCTION wee5_cron.number_in_run(job_name text, endpoint_path text, method text, body jsonb, tick timestamptz) RETURNS bigint
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT count(*) + 1 FROM wee5_cron.invocation i
    WHERE i.job_name >= $1 AND i.job_name <= $1 AND i.scheduled_at = tick AND i.endpoint_path = $2 AND i.method = $3
      AND i.body IS NOT DISTINCT FROM $4
      AND (i.requested_at = now()
           OR i.requested_at >= statement_timestamp()
              AND EXISTS (SELECT FROM wee5_cron.cron_caller c WHERE c.invocation_id = i.id AND c.pid = pg_backend_pid()))
  $$;
COMMENT ON FUNCTION wee5_cron.number_in_run(text, text, text, jsonb, timestamptz) IS 'Internal: numbers the equal calls of one run of a job';

-- NULL: the key is random.
CREATE FUNCTION wee5_cron.key_of_tick(job_owner name, job_name text, schedule text, tick timestamptz, method text,
                                      endpoint_path text, body jsonb) RETURNS uuid
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
#variable_conflict use_column
DECLARE
  arming_id bytea;
BEGIN
  IF $2 IS NULL OR $3 IS NULL OR tick IS NULL OR NOT wee5_cron.shares_ticks($3) THEN
    RETURN NULL;
  END IF;
  SELECT r.id INTO arming_id FROM wee5_cron.arming r JOIN wee5_cron.armed a ON a.xid = r.xid WHERE r.xmin = r.xid;
  IF arming_id IS NULL THEN
    RETURN NULL;
  END IF;
  RETURN wee5_cron.occurrence_key(arming_id, $1::text, $2, tick, $5, $6, $7::text,
                                  wee5_cron.number_in_run($2, $6, $5, $7, tick));
END
$$;
COMMENT ON FUNCTION wee5_cron.key_of_tick(name, text, text, timestamptz, text, text, jsonb) IS 'Internal: the idempotency key of a job''s call for a tick';

-- What a call asks for, checked and complete.
CREATE FUNCTION wee5_cron.check_call(endpoint_path text, INOUT method text, INOUT body jsonb, INOUT headers jsonb,
                                     timeout interval, check_headers boolean)
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  header record;
BEGIN
  IF headers IS NOT NULL THEN
    headers := (SELECT coalesce(jsonb_object_agg(h.name, h.value), '{}') FROM wee5_cron.headers_of(headers) h);
  END IF;
  method := wee5_cron.parse_method(method);
  PERFORM wee5_cron.check_endpoint_path(endpoint_path);
  IF check_headers AND headers <> '{}' THEN
    FOR header IN SELECT * FROM wee5_cron.headers_of(headers) LOOP
      PERFORM wee5_cron.check_header(header.name, header.value);
    END LOOP;
  END IF;
  IF body IS NOT NULL AND NOT wee5_cron.takes_body(method) THEN
    RAISE EXCEPTION '% requests cannot have a body', method
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave the body out, or call with method => ''POST''.';
  END IF;
  IF body IS NULL AND wee5_cron.needs_body(method) THEN
    body := '{}';
  END IF;
  IF body IS NOT NULL THEN
    PERFORM wee5_cron.check_body_bytes(body, wee5_cron.setting_bytes('max_request_bytes'));
  END IF;
  IF timeout IS NOT NULL AND wee5_cron.interval_milliseconds(timeout) NOT BETWEEN 1 AND 2147483647 THEN
    RAISE EXCEPTION 'timeout "%" is out of range', timeout
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Give an interval from 1 millisecond to 24 days, or leave it out to use wee5_cron.request_timeout.';
  END IF;
  headers := coalesce(headers, '{}');
  IF method IN ('PUT', 'PATCH', 'HEAD') THEN
    RAISE EXCEPTION 'pg_net cannot send %', method
      USING ERRCODE = 'feature_not_supported', HINT = 'Use GET, POST or DELETE. The extension wee5_cron can send the others.';
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.check_call(text, text, jsonb, jsonb, interval, boolean) IS 'Internal: raises where the app could not be called so';

-- exclusive: path or route, as in the ledger; NULL: the call may overlap.
CREATE FUNCTION wee5_cron.exclusive_of(policy wee5_cron.endpoint, by_job boolean) RETURNS text
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN CASE WHEN policy.overlap = 'allow' THEN NULL
              WHEN policy.overlap IN ('skip', 'queue') THEN
                CASE WHEN strpos(policy.endpoint_path, '?') = 0 THEN 'route' ELSE 'path' END
              WHEN by_job THEN 'path' END;
END
$$;
COMMENT ON FUNCTION wee5_cron.exclusive_of(wee5_cron.endpoint, boolean) IS 'Internal: which unfinished calls a call gives way to';

-- Before it gives way to a call, this records the call's answer if there is one: then the call is no longer in the way.
CREATE FUNCTION wee5_cron.find_call_in_the_way(endpoint_path text, exclusive text, key text) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  beside bigint := wee5_cron.unfinished_beside(endpoint_path, exclusive, 0, NULL, NULL, key);
BEGIN
  IF beside IS NULL OR current_setting('transaction_isolation') <> 'read committed' THEN
    RETURN beside;
  END IF;
  PERFORM wee5_cron.book_pg_net_answers(beside);
  PERFORM wee5_cron.send_due_by_pg_net(beside);
  RETURN wee5_cron.unfinished_beside(endpoint_path, exclusive, 0, NULL, NULL, key);
END
$$;
COMMENT ON FUNCTION wee5_cron.find_call_in_the_way(text, text, text) IS 'Internal: an unfinished call that a new one gives way to; NULL: none';

-- What the call leaves open, the policy of its path says. The policy's body goes with the policy's method.
CREATE FUNCTION wee5_cron.apply_policy(policy wee5_cron.endpoint, INOUT method text, INOUT body jsonb, INOUT headers jsonb,
                                       INOUT timeout interval)
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF body IS NULL AND (method IS NULL OR upper(method) = coalesce(policy.method, 'GET')) THEN
    body := policy.body;
  END IF;
  method := coalesce(method, policy.method, 'GET');
  IF policy.headers IS NOT NULL THEN
    headers := wee5_cron.merged_headers(policy.headers, headers);
  END IF;
  timeout := coalesce(timeout, policy.timeout);
END
$$;
COMMENT ON FUNCTION wee5_cron.apply_policy(wee5_cron.endpoint, text, jsonb, jsonb, interval) IS
  'Internal: what a call asks for, with what the policy of its path adds';

-- as_it_was: retry() makes the call again, unchanged. It has no default: with a row type in a default, Postgres refuses to change
-- the types of that table's columns. role: the job's owner, if harvest() makes up for a missed run. job_name without a role:
-- run_now() makes the call.
CREATE FUNCTION wee5_cron.make_call(endpoint_path text, method text, body jsonb, headers jsonb, timeout interval,
                                    as_it_was wee5_cron.invocation, job_name text DEFAULT NULL, role name DEFAULT NULL,
                                    schedule text DEFAULT NULL, tick timestamptz DEFAULT NULL, due_at timestamptz DEFAULT NULL,
                                    key text DEFAULT NULL) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET jit = off
  AS $$
#variable_conflict use_column
DECLARE
  again constant boolean := ($6).id IS NOT NULL;
  settings constant jsonb := wee5_cron.settings_in_force();
  caller record;
  address record;
  asked record;
  policy wee5_cron.endpoint;
  call wee5_cron.invocation;
BEGIN
  PERFORM wee5_cron.require_armed(settings);
  IF $1 IS NULL THEN
    RAISE EXCEPTION 'endpoint_path must not be NULL'
      USING ERRCODE = 'null_value_not_allowed',
            HINT = 'Give the path of the route, e.g. SELECT invoke_cron_endpoint(''/api/cron/poll-activities'');';
  END IF;
  policy := wee5_cron.policy_of($1);
  IF NOT again THEN
    asked := wee5_cron.apply_policy(policy, $2, $3, $4, $5);
    $2 := asked.method;
    $3 := asked.body;
    $4 := asked.headers;
    $5 := asked.timeout;
  END IF;
  asked := wee5_cron.check_call($1, $2, $3, $4, $5, NOT again);
  IF wee5_cron.target_of($1) IS NOT NULL THEN
    PERFORM wee5_cron.require_right_to_target(coalesce($8, session_user), $1);
  END IF;
  address := wee5_cron.find_address($1, settings);
  caller := wee5_cron.identify_caller();
  IF $7 IS NOT NULL AND NOT again THEN
    caller.by_job := caller.by_job OR $8 IS NOT NULL;
    caller.schedule := $9;
    caller.scheduled_at := $10;
  END IF;

  call.status := 'queued';
  call.job_name := coalesce($7, caller.job_name);
  call.endpoint_path := $1;
  call.method := asked.method;
  call.body := asked.body;
  call.headers := asked.headers;
  IF NOT again AND caller.schedule IS NOT NULL THEN
    call.headers := call.headers || jsonb_build_object('x-vercel-cron-schedule', caller.schedule);
  END IF;
  call.timeout := $5;
  call.scheduled_at := CASE WHEN again THEN $10 ELSE caller.scheduled_at END;
  call.due_at := $11;
  call.key := $12;
  call.idempotency_key := ($6).idempotency_key;
  IF NOT again AND caller.by_job AND ($7 IS NULL OR $8 IS NOT NULL) THEN
    call.idempotency_key := wee5_cron.key_of_tick(coalesce($8, session_user), call.job_name, caller.schedule, call.scheduled_at,
                                                  call.method, $1, call.body);
  END IF;
  call.idempotency_key := coalesce(call.idempotency_key, gen_random_uuid());
  IF address.missing IS NOT NULL THEN
    RETURN wee5_cron.skip_without_settings(call, address.missing, address.hint, caller.by_job AND $8 IS NULL);
  END IF;
  RETURN wee5_cron.queue_call(call, policy, address, settings, caller.by_job, caller.by_job AND $8 IS NULL);
END
$$;
COMMENT ON FUNCTION wee5_cron.make_call(text, text, jsonb, jsonb, interval, wee5_cron.invocation, text, name, text, timestamptz, timestamptz, text) IS
  'Internal: checks a call, writes its row and hands it to pg_net, leaves it to its time, or skips it';

CREATE FUNCTION wee5_cron.insert_call(call wee5_cron.invocation, by_pg_cron boolean) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  new_id bigint;
BEGIN
  INSERT INTO wee5_cron.invocation (job_name, endpoint_path, method, body, headers, url, transport, status, reason, error, hint,
                                    scheduled_at, next_attempt_at, finished_at, idempotency_key, timeout, exclusive, due_at, key)
  VALUES (call.job_name, call.endpoint_path, call.method, call.body, call.headers, call.url, 'pg_net', call.status, call.reason,
          call.error, call.hint, call.scheduled_at, call.next_attempt_at,
          CASE WHEN call.status = 'skipped' THEN clock_timestamp() END, call.idempotency_key, call.timeout, call.exclusive, call.due_at,
          call.key)
  RETURNING id INTO new_id;
  IF call.key IS NOT NULL AND call.status = 'queued' THEN
    PERFORM wee5_cron.replace_calls(new_id, session_user, call.key);
  END IF;
  IF by_pg_cron THEN
    INSERT INTO wee5_cron.cron_caller (invocation_id, pid) VALUES (new_id, pg_backend_pid());
  END IF;
  RETURN new_id;
END
$$;
COMMENT ON FUNCTION wee5_cron.insert_call(wee5_cron.invocation, boolean) IS 'Internal: writes the row of a new call';

-- call.id: the call in the way.
CREATE FUNCTION wee5_cron.skip_for_overlap(call wee5_cron.invocation, by_job boolean, by_pg_cron boolean) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  beside constant bigint := call.id;
BEGIN
  call.status := 'skipped';
  call.reason := 'overlap';
  SELECT e.error, e.hint INTO call.error, call.hint FROM wee5_cron.explain_overlap(call.endpoint_path, beside) e;
  IF NOT by_job THEN
    RAISE NOTICE 'the call is skipped: call % of % has not ended yet', beside, quote_literal(call.endpoint_path)
      USING HINT = format('SELECT wee5_cron.wait_for(%s);', beside);
  END IF;
  RETURN wee5_cron.insert_call(call, by_pg_cron);
END
$$;
COMMENT ON FUNCTION wee5_cron.skip_for_overlap(wee5_cron.invocation, boolean, boolean) IS 'Internal: writes the row of a call that gives way';

-- missing_config = skip: a row says that nobody was called, and why.
CREATE FUNCTION wee5_cron.skip_without_settings(call wee5_cron.invocation, error text, hint text, by_pg_cron boolean) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF wee5_cron.setting('missing_config') <> 'skip' THEN
    RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = error, HINT = hint;
  END IF;
  call.status := 'skipped';
  call.reason := 'config';
  call.error := error;
  call.hint := hint;
  RETURN wee5_cron.insert_call(call, by_pg_cron);
END
$$;
COMMENT ON FUNCTION wee5_cron.skip_without_settings(wee5_cron.invocation, text, text, boolean) IS
  'Internal: writes the row of a call without address or secret, or raises its error';

-- Decides whether the call waits for its time or for the end of another one, is skipped, handed to pg_net or left to harvest(), and
-- writes its row.
CREATE FUNCTION wee5_cron.queue_call(call wee5_cron.invocation, policy wee5_cron.endpoint, address record, settings jsonb,
                                     by_job boolean, by_pg_cron boolean) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  path constant text := call.endpoint_path;
  limited constant boolean := coalesce(policy.max_in_flight, 0) >= 1;
  undecided boolean := false;
  waits bigint;
BEGIN
  call.exclusive := wee5_cron.exclusive_of(policy, by_job);
  IF call.due_at > clock_timestamp() THEN
    -- Until it is due, no other call gives way to this one. Whether this one gives way is decided when it is due.
    call.next_attempt_at := call.due_at;
    RETURN wee5_cron.insert_call(call, by_pg_cron);
  END IF;
  IF (call.key IS NOT NULL OR call.exclusive IS NOT NULL OR limited)
     AND current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
    -- This transaction keeps its snapshot, and does not see what others have handed over since. Then harvest() decides.
    undecided := true;
  ELSIF call.key IS NOT NULL THEN
    undecided := NOT wee5_cron.lock_key(session_user, call.key);  -- then harvest() sends the newest call of the key
  END IF;
  IF call.exclusive IS NOT NULL THEN
    -- With the lock, this sees every call that was queued under it. If another transaction holds the lock, its call may
    -- still roll back. Then harvest() decides.
    undecided := NOT wee5_cron.lock_path(path) OR undecided;
    call.id := wee5_cron.find_call_in_the_way(path, call.exclusive, call.key);
    IF call.id IS NOT NULL AND policy.overlap = 'queue' THEN
      waits := wee5_cron.unfinished_beside(path, call.exclusive, 0, NULL, NULL, call.key, call.id);
      IF waits IS NULL THEN
        call.next_attempt_at := 'infinity';
        RETURN wee5_cron.insert_call(call, by_pg_cron);
      END IF;
      call.id := waits;
    END IF;
    IF call.id IS NOT NULL THEN
      RETURN wee5_cron.skip_for_overlap(call, by_job, by_pg_cron);
    END IF;
  END IF;
  IF undecided OR limited AND NOT wee5_cron.may_hand_over(path, policy) THEN
    call.next_attempt_at := clock_timestamp();
    RETURN wee5_cron.insert_call(call, by_pg_cron);
  END IF;
  call.url := address.url;
  call.id := wee5_cron.insert_call(call, by_pg_cron);
  PERFORM wee5_cron.hand_to_pg_net(call, 1, address.url, address.secret, address.secret_headers, settings);
  RETURN call.id;
END
$$;
COMMENT ON FUNCTION wee5_cron.queue_call(wee5_cron.invocation, wee5_cron.endpoint, record, jsonb, boolean, boolean) IS
  'Internal: writes the row of a complete call, and hands the call to pg_net, leaves it to its time, or skips it';

CREATE FUNCTION public.invoke_cron_endpoint(endpoint_path text) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$ BEGIN RETURN wee5_cron.make_call($1, NULL, NULL, NULL, NULL, NULL); END $$;
COMMENT ON FUNCTION public.invoke_cron_endpoint(text) IS
  'Queues GET <api_url><endpoint_path> with the bearer secret, and returns the id of its row in wee5_cron.invocation. The call is sent when the transaction commits, and discarded when it rolls back';

-- A time in the past becomes now.
CREATE FUNCTION wee5_cron.due_time(at timestamptz) RETURNS timestamptz
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF NOT isfinite(at) OR at > now() + interval '10 years' THEN
    RAISE EXCEPTION 'at "%" is out of range', at
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Give a time within the next 10 years, or leave it out to make the call at once.';
  END IF;
  RETURN CASE WHEN at IS NOT NULL THEN greatest(at, now()) END;
END
$$;
COMMENT ON FUNCTION wee5_cron.due_time(timestamptz) IS 'Internal: the time for which a call is made; raises where it is too far away';

CREATE FUNCTION wee5_cron.check_key(key text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF octet_length(key) > 200 THEN
    RAISE EXCEPTION 'the key has % bytes, and 200 are allowed', octet_length(key)
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Give a short name, such as ''trial-ends-4711''.';
  END IF;
  RETURN key;
END
$$;
COMMENT ON FUNCTION wee5_cron.check_key(text) IS 'Internal: raises for a key that is too long';

CREATE FUNCTION wee5_cron.invoke(endpoint_path text, method text DEFAULT NULL, body jsonb DEFAULT NULL,
                                 headers jsonb DEFAULT NULL, timeout interval DEFAULT NULL, target text DEFAULT NULL,
                                 at timestamptz DEFAULT NULL, key text DEFAULT NULL) RETURNS bigint
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  PERFORM wee5_cron.check_target_name(target);
  RETURN wee5_cron.make_call(CASE WHEN target IS NULL THEN $1 ELSE target || ':' || $1 END, $2, $3, $4, $5, NULL, due_at => wee5_cron.due_time(at), key => wee5_cron.check_key(key));
END
$$;
COMMENT ON FUNCTION wee5_cron.invoke(text, text, jsonb, jsonb, interval, text, timestamptz, text) IS
  'Makes a call like invoke_cron_endpoint(), with a method (GET, POST, PUT, PATCH, DELETE, HEAD), a JSON body, further headers and a timeout. What you leave out of these comes from the row of the path in wee5_cron.endpoint. Without one: GET, no body, no further headers, wee5_cron.request_timeout. at: when the call is due. key: the call replaces your earlier calls with the same key that have not been sent. target: the name of a target; invoke(''/path'', target => ''name'') is short for invoke(''name:/path'')';

CREATE FUNCTION wee5_cron.invoke_for_job(job_name text, endpoint_path text, role name DEFAULT NULL,
                                         schedule text DEFAULT NULL, tick timestamptz DEFAULT NULL) RETURNS bigint
  LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$ SELECT wee5_cron.make_call($2, NULL, NULL, NULL, NULL, NULL, $1, $3, $4, $5) $$;
COMMENT ON FUNCTION wee5_cron.invoke_for_job(text, text, name, text, timestamptz) IS
  'Internal: makes a call in the name of a job, with its schedule and a tick. Without a role, it is a call by hand of session_user; with a role, the call that the job of that role would have made for this tick';
