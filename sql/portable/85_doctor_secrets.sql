CREATE FUNCTION wee5_cron.doctor_cron_secret_readers() RETURNS SETOF wee5_cron.finding
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  stored constant text[] := ARRAY(
    SELECT DISTINCT lower(split_part(entry, '=', 1)) FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) AS entry
    WHERE entry ~* '^app[.]settings[.]cron_(secret|secret_previous|targets)=.');
BEGIN
  IF stored <> '{}' AND has_table_privilege('public', 'pg_catalog.pg_db_role_setting', 'SELECT') THEN
    RETURN NEXT ('cron_secret_readers', 'warning',
                 'every role may read pg_db_role_setting, where ALTER DATABASE or ALTER ROLE once stored a secret',
                 CASE WHEN stored = ARRAY['app.settings.cron_targets']
                      THEN E'SELECT wee5_cron.configure_target(''billing'', ''https://billing.example.com'', ''the output of openssl rand '
                           '-hex 32'');\n-- for each target of app.settings.cron_targets, and set the same value in the target. '
                      ELSE E'SELECT wee5_cron.configure(cron_secret => ''the output of openssl rand -hex 32'');\n-- and set the same value as '
                           'CRON_SECRET in the app. ' END
                 || 'Only your host can remove the old one: ask its support')::wee5_cron.finding;
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
  FROM (VALUES ('app.settings.api_url', found.api_url_source), ('app.settings.cron_secret', found.cron_secret_source),
               -- Of the targets, only those that both have.
               ('app.settings.cron_targets',
                (SELECT 'vault' FROM wee5_cron.target_documents(found.vault_targets) v
                 JOIN wee5_cron.target_documents(found.vault_targets) d ON v.source = 'vault' AND d.source <> 'vault'
                 WHERE EXISTS (SELECT FROM jsonb_object_keys(coalesce(v.targets, '{}')) AS k (name) WHERE d.targets ? k.name) LIMIT 1)))
       AS s (name, source)
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
