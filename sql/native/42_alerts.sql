CREATE FUNCTION wee5_cron.alert_receiver() RETURNS text
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_alert_receiver';
COMMENT ON FUNCTION wee5_cron.alert_receiver() IS
  'Internal, for send_alerts(): the format that the receiver at wee5_cron.alert_url understands: discord, slack, teams or plain; NULL: there is no receiver';

-- The call's row in the ledger has a word instead of a path. No caller can choose that word. It tells the worker to use the URL
-- of the webhook, and to send no bearer secret. The URL itself is a secret, so the row does not contain it.
CREATE FUNCTION wee5_cron.call_webhook(content jsonb) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  INSERT INTO wee5_cron.invocation (endpoint_path, method, body, transport) VALUES ('wee5_cron.alert', 'POST', content, 'builtin');
  PERFORM wee5_cron.wake_worker();
END
$$;
COMMENT ON FUNCTION wee5_cron.call_webhook(jsonb) IS 'Internal, for send_alerts(): posts an alert to wee5_cron.alert_url';
