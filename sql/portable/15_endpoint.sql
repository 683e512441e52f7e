-- The trigger refuses a row that could not work, unless a restore or logical replication writes the row: an older version
-- may have allowed it, and one policy must not make a whole restore fail.

CREATE FUNCTION wee5_cron.refuse_policy(column_name text, value text, advice text) RETURNS void
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RAISE EXCEPTION 'invalid % "%"', column_name, value USING ERRCODE = 'invalid_parameter_value', HINT = advice;
END
$$;
COMMENT ON FUNCTION wee5_cron.refuse_policy(text, text, text) IS 'Internal: raises the error of a policy that could not work';

CREATE FUNCTION wee5_cron.check_request_of_policy(endpoint_path text, method text, body jsonb, headers jsonb) RETURNS void
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  header record;
  takes_body boolean := false;
BEGIN
  IF endpoint_path IS NULL THEN
    RAISE EXCEPTION 'endpoint_path must not be NULL'
      USING ERRCODE = 'null_value_not_allowed',
            HINT = 'Give the path that the policy is for, such as ''/api/cron/poll-activities''.';
  END IF;
  PERFORM count(*) FROM wee5_cron.headers_of(headers);
  PERFORM wee5_cron.check_endpoint_path(endpoint_path);
  IF method IS NOT NULL THEN
    takes_body := wee5_cron.takes_body(wee5_cron.parse_method(method));
  END IF;
  FOR header IN SELECT * FROM wee5_cron.headers_of(headers) LOOP
    PERFORM wee5_cron.check_header(header.name, header.value);
  END LOOP;
  IF body IS NOT NULL AND NOT takes_body THEN
    RAISE EXCEPTION '% requests cannot have a body', coalesce(method, 'GET')
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Set method to ''POST'', or leave body NULL.';
  ELSIF body IS NOT NULL THEN
    PERFORM wee5_cron.check_body_bytes(body, wee5_cron.setting_bytes('max_request_bytes'));
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.check_request_of_policy(text, text, jsonb, jsonb) IS 'Internal: checks path, method, body and headers of a policy';

-- Runs as the owner, because a role that may write the table may not execute the functions that check a row.
CREATE FUNCTION wee5_cron.check_endpoint() RETURNS trigger
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    RETURN OLD;
  END IF;
  IF current_setting('session_replication_role') <> 'replica'
     -- Every mode of pg_dump and pg_restore sets both in its session.
     AND (SELECT count(*) FROM pg_settings s WHERE s.name IN ('row_security', 'xmloption') AND s.source = 'session') < 2 THEN
    PERFORM wee5_cron.check_policy(NEW);
  END IF;
  NEW.method := upper(NEW.method COLLATE "C");
  RETURN NEW;
END
$$;
COMMENT ON FUNCTION wee5_cron.check_endpoint() IS 'Internal, for the table endpoint: checks a row and announces the change';
