-- The columns of the tables as this edition made them, so that doctor() notices what users alter.

CREATE FUNCTION wee5_cron.table_layout(OUT table_name text, OUT column_name text, OUT column_type regtype, OUT read_directly boolean)
  RETURNS SETOF record
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    -- Every table is read and written by SQL, which converts most types.
    SELECT t.table_name, split_part(c.entry, ' ', 1), split_part(c.entry, ' ', 2)::regtype, false
    FROM (VALUES
      ('invocation', 'id bigint, job_name text, endpoint_path text, method text, body jsonb, headers jsonb, url text,
                      transport text, status text, reason text, error text, hint text, http_status int, attempts int,
                      requested_at timestamptz, requested_by name, scheduled_at timestamptz, first_sent_at timestamptz,
                      next_attempt_at timestamptz, finished_at timestamptz, duration interval, cron_run_id bigint,
                      idempotency_key uuid, response_content_type text, response_body text, response_truncated boolean,
                      timeout interval, exclusive text, due_at timestamptz, key text'),
      ('attempt', 'invocation_id bigint, attempt int, started_at timestamptz, finished_at timestamptz, http_status int,
                   reason text, error text, dns_ms real, connect_ms real, tls_ms real, first_byte_ms real, total_ms real'),
      ('endpoint', 'endpoint_path text, method text, body jsonb, headers jsonb, timeout interval, max_attempts int,
                    retry_on text, retry_delays interval[], retry_window interval, overlap text, alert_after int, note text,
                    complete_within interval, keep_succeeded interval, keep_failed interval, max_in_flight int,
                    max_response_bytes int'),
      ('job', 'job_name text, jobid bigint, endpoint_path text, catch_up text, registered boolean, paused_at timestamptz,
               pause_note text, applied boolean'),
      ('pg_net_request', 'invocation_id bigint, request_id bigint, handed_over_at timestamptz, queue oid,
                          previous_until timestamptz, secret_digests int[]'),
      ('cron_caller', 'invocation_id bigint, pid int'),
      ('cancellation', 'invocation_id bigint, requested_at timestamptz, requested_by name, replaced_by bigint'),
      ('claim', 'idempotency_key uuid, claimed_by name, claimed_at timestamptz, lease_until timestamptz,
                 completed_at timestamptz, ok boolean, note text'),
      ('trouble', 'kind text, name text, failures int, since timestamptz, told boolean, last_failed_at timestamptz,
                   by_job boolean, told_at timestamptz, alert jsonb'),
      ('pending_alert', 'id uuid, at timestamptz, content jsonb'),
      ('pending_outcome', 'invocation_id bigint'),
      ('newest_call', 'route text, job_name text, run_id bigint, success_id bigint'),
      ('job_watch', 'jobid bigint, schedule text, active boolean, judged_until timestamptz, missed_runs bigint,
                     last_missed timestamptz, seen_run bigint, job_name text, username text, cron_job oid, runs timestamptz[],
                     unended_runs bigint[]'),
      ('armed', 'database oid, armed_at timestamptz, armed_by name, xid xid, note text, system_identifier bigint,
                 timeline int'),
      ('arming', 'database oid, xid xid, id bytea'),
      ('setting', 'name text, value text, set_at timestamptz, set_by name'),
      ('background_task', 'name text, place bigint, due_at timestamptz, seen text')
    ) AS t (table_name, columns)
    CROSS JOIN regexp_split_to_table(t.columns, ',[[:space:]]+') AS c (entry)
  $$;
COMMENT ON FUNCTION wee5_cron.table_layout() IS
  'Internal, for doctor(): the columns of the tables of wee5_cron, as they were made. read_directly: another type stops the worker';

CREATE FUNCTION wee5_cron.reads_tables_directly() RETURNS boolean
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT false $$;
COMMENT ON FUNCTION wee5_cron.reads_tables_directly() IS 'Internal, for doctor(): whether a library reads the tables, without SQL';
