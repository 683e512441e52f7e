-- This is not pg_net. It stands in for it in the tests of wee5_cron, as a version of its own next to a real pg_net that
-- may be installed: the public functions with their signatures, the two tables with their columns and grants, and
-- nobody who sends anything. The tests put answers into net._http_response themselves.
\echo Use "CREATE EXTENSION pg_net VERSION 'wee5fixture'" to load this file. \quit

CREATE SCHEMA net;

CREATE DOMAIN net.http_method AS text CHECK (VALUE ILIKE 'get' OR VALUE ILIKE 'post' OR VALUE ILIKE 'delete');

CREATE UNLOGGED TABLE net.http_request_queue (
  id bigserial,
  method net.http_method NOT NULL,
  url text NOT NULL,
  headers jsonb,
  body bytea,
  timeout_milliseconds int NOT NULL
);

CREATE UNLOGGED TABLE net._http_response (
  id bigint,
  status_code int,
  content_type text,
  headers jsonb,
  content text,
  timed_out boolean,
  error_msg text,
  created timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX _http_response_created_idx ON net._http_response (created);

-- Parameters are not encoded: wee5_cron passes none.
CREATE FUNCTION net.enqueue(method text, url text, params jsonb, headers jsonb, body jsonb, timeout_milliseconds int)
  RETURNS bigint LANGUAGE plpgsql
  AS $$
#variable_conflict use_variable
DECLARE
  request_id bigint;
BEGIN
  IF params <> '{}' THEN
    RAISE EXCEPTION 'the pg_net fixture takes no params';
  END IF;
  INSERT INTO net.http_request_queue (method, url, headers, body, timeout_milliseconds)
  VALUES (method, url, headers, convert_to(body::text, 'UTF8'), timeout_milliseconds)
  RETURNING id INTO request_id;
  RETURN request_id;
END
$$;

CREATE FUNCTION net.http_get(url text, params jsonb DEFAULT '{}', headers jsonb DEFAULT '{}',
                             timeout_milliseconds int DEFAULT 5000)
  RETURNS bigint LANGUAGE sql
  AS $$ SELECT net.enqueue('GET', url, params, headers, NULL, timeout_milliseconds) $$;

CREATE FUNCTION net.http_post(url text, body jsonb DEFAULT '{}', params jsonb DEFAULT '{}',
                              headers jsonb DEFAULT '{"Content-Type": "application/json"}',
                              timeout_milliseconds int DEFAULT 5000)
  RETURNS bigint LANGUAGE sql
  AS $$ SELECT net.enqueue('POST', url, params, headers, body, timeout_milliseconds) $$;

CREATE FUNCTION net.http_delete(url text, params jsonb DEFAULT '{}', headers jsonb DEFAULT '{}',
                                timeout_milliseconds int DEFAULT 5000, body jsonb DEFAULT NULL)
  RETURNS bigint LANGUAGE sql
  AS $$ SELECT net.enqueue('DELETE', url, params, headers, body, timeout_milliseconds) $$;

GRANT USAGE ON SCHEMA net TO PUBLIC;
GRANT ALL ON ALL SEQUENCES IN SCHEMA net TO PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA net TO PUBLIC;
