CREATE FUNCTION wee5_cron.alert_webhook() RETURNS text
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_alert_webhook';
COMMENT ON FUNCTION wee5_cron.alert_webhook() IS
  'Internal, for tell_alerts(): the format that the receiver at wee5_cron.alert_url understands: discord or plain; NULL: there is no receiver';
