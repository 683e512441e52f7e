CREATE FUNCTION wee5_cron.doctor_cron_secret_readers() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  stored constant boolean := EXISTS (
    SELECT FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) AS entry WHERE entry ILIKE 'app.settings.cron\_secret=_%');
BEGIN
  IF stored AND has_table_privilege('public', 'pg_catalog.pg_db_role_setting', 'SELECT') THEN
    RETURN NEXT ('cron_secret_readers', 'warning',
                 'every role may read pg_db_role_setting, where ALTER DATABASE or ALTER ROLE once stored a secret',
                 E'SELECT wee5_cron.configure(cron_secret => ''the output of openssl rand -hex 32'');\n-- and set the same value as '
                 'CRON_SECRET in the app. Only your host can remove the old one: ask its support')::wee5_cron.finding;
  ELSE
    RETURN NEXT ('cron_secret_readers', 'ok', 'no secret is stored with ALTER DATABASE or ALTER ROLE', NULL)::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_cron_secret_readers() IS 'Internal, for doctor(): who else can read the secret';

-- If this database changes to the extension, stored values come before Vault.
CREATE FUNCTION wee5_cron.doctor_hidden_settings() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  found constant record := wee5_cron.find_settings();
  hidden text;
BEGIN
  SELECT string_agg(s.name, ', ') INTO hidden
  FROM (VALUES ('app.settings.api_url', found.api_url_source), ('app.settings.cron_secret', found.cron_secret_source)) AS s (name, source)
  WHERE s.source = 'vault' AND (wee5_cron.stored_setting(s.name)).value IS NOT NULL;
  IF hidden IS NULL THEN
    RETURN NEXT ('hidden_settings', 'ok', 'no stored value is hidden by one in Vault', NULL)::wee5_cron.finding;
  ELSE
    RETURN NEXT ('hidden_settings', 'warning',
                 'ALTER DATABASE once stored ' || hidden || '. Here the value in Vault counts; with the extension the stored one would',
                 wee5_cron.doctor_comment('Only your host can remove it: ask its support. It does no harm here.'))::wee5_cron.finding;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.doctor_hidden_settings() IS 'Internal, for doctor(): stored values that Vault hides';
