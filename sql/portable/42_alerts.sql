CREATE FUNCTION wee5_cron.alert_receiver() RETURNS text
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN CASE WHEN wee5_cron.trimmed(wee5_cron.setting('alert_url')) IS NOT NULL THEN
    wee5_cron.alert_receiver_of((wee5_cron.parse_webhook(wee5_cron.setting('alert_url'), wee5_cron.setting('allow_plain_http'))).host) END;
EXCEPTION WHEN object_not_in_prerequisite_state OR invalid_parameter_value THEN
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION wee5_cron.alert_receiver() IS
  'Internal, for send_alerts(): the format that the receiver at wee5_cron.alert_url understands: discord, slack, teams or plain; NULL: there is no receiver';

-- No bearer secret goes there. The URL is a secret itself, so the row does not have it.
CREATE FUNCTION wee5_cron.send_alert(call wee5_cron.invocation) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  alert_url constant text := wee5_cron.trimmed(wee5_cron.setting('alert_url'));
  receiver constant record := wee5_cron.parse_webhook(alert_url, wee5_cron.setting('allow_plain_http'));
BEGIN
  INSERT INTO wee5_cron.pg_net_request (invocation_id, request_id, secret_digests)
  VALUES (call.id, wee5_cron.enqueue('POST', receiver.url,
    jsonb_build_object('Content-Type', 'application/json', 'User-Agent', 'wee5_cron/' || wee5_cron.library_version(),
                       'Idempotency-Key', call.idempotency_key), call.body, wee5_cron.setting_ms('request_timeout')::int),
    wee5_cron.digests_of(ARRAY[alert_url]));
  UPDATE wee5_cron.invocation i SET next_attempt_at = NULL, url = receiver.origin WHERE i.id = call.id;
END
$$;
COMMENT ON FUNCTION wee5_cron.send_alert(wee5_cron.invocation) IS 'Internal: hands an alert to pg_net';

-- The call's row in the ledger has a word instead of a path. No caller can choose that word.
CREATE FUNCTION wee5_cron.call_webhook(content jsonb) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  call wee5_cron.invocation;
  message text;
  advice text;
BEGIN
  INSERT INTO wee5_cron.invocation (endpoint_path, method, body, transport, next_attempt_at)
  VALUES ('wee5_cron.alert', 'POST', content, 'pg_net', clock_timestamp())
  RETURNING * INTO call;
  -- If the call cannot be sent, its row gets the error. Nothing else is undone.
  BEGIN
    PERFORM wee5_cron.send_alert(call);
  EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT;
    PERFORM wee5_cron.keep_send_error(call.id, SQLSTATE, message, advice);
  END;
END
$$;
COMMENT ON FUNCTION wee5_cron.call_webhook(jsonb) IS 'Internal, for send_alerts(): posts an alert to wee5_cron.alert_url';
