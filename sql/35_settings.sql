-- Where the app is, and the secret that it expects.

-- In C, because a statement with the secret in it would stand in logs and statistics.
CREATE FUNCTION wee5_cron.configure(api_url text, cron_secret text, store text DEFAULT 'database') RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_configure';
COMMENT ON FUNCTION wee5_cron.configure(text, text, text) IS
  'Checks and stores the app''s address and the bearer secret: for this database (store = database, as ALTER DATABASE does) or in Supabase Vault (store = vault). Says neither back; the next call has them';

CREATE FUNCTION wee5_cron.setting_sources(role name DEFAULT SESSION_USER, OUT name text, OUT source text,
                                          OUT is_set boolean, OUT length int, OUT value text, OUT error text,
                                          OUT hint text)
  RETURNS SETOF record
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_setting_sources';
COMMENT ON FUNCTION wee5_cron.setting_sources(name) IS
  'Internal, of doctor(): for calls of this role, where app.settings.* come from (session, role in database, role, database, all, vault, none), how many bytes they have, the address, what is wrong with them and what to do. An address with an error is valid but for plain http. Never the secret';
