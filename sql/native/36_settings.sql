-- The settings: reading them, and storing the app's address and secret.

CREATE FUNCTION wee5_cron.library_preloaded() RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_library_preloaded';
COMMENT ON FUNCTION wee5_cron.library_preloaded() IS
  'Internal: whether wee5_cron is in shared_preload_libraries. After this call the session can read the settings wee5_cron.*';

-- Only superusers and members of pg_read_all_settings may look at these settings, and the extension's owner may be
-- neither.
CREATE FUNCTION wee5_cron.server_setting(name text) RETURNS text
  LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_server_setting';
COMMENT ON FUNCTION wee5_cron.server_setting(text) IS
  'Internal: a setting of pg_cron, or shared_preload_libraries; NULL if there is no such setting';

-- In C: a statement that contains the secret would end up in logs and statistics.
CREATE FUNCTION wee5_cron.configure(api_url text, cron_secret text, store text DEFAULT 'database',
                                    keep_previous boolean DEFAULT true) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_configure';
COMMENT ON FUNCTION wee5_cron.configure(text, text, text, boolean) IS
  'Checks and stores the app''s address and the bearer secret, for this database (store => ''database'', as ALTER DATABASE does) or in Supabase Vault (store => ''vault''). It returns neither of them. The next call uses them. For 24 hours, a call that the app answers with 401 is sent again with the secret that was replaced. keep_previous => false turns this off';

CREATE FUNCTION wee5_cron.configure_target(name text, api_url text, secret text, header text DEFAULT 'Authorization',
                                           prefix text DEFAULT 'Bearer ', headers jsonb DEFAULT '{}',
                                           store text DEFAULT 'database') RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_configure_target';
COMMENT ON FUNCTION wee5_cron.configure_target(text, text, text, text, text, jsonb, text) IS
  'Checks and stores another app that calls may go to, under the path name:/path: its address, the secret that it expects, the header and prefix that carry the secret, and further secret headers. For this database (store => ''database'') or in Supabase Vault (store => ''vault''). The name app holds further headers of the app itself, with NULL for address and secret. Never returns any of it. Answers in the ledger show [secret] instead of a secret or of the value of a secret header, except for true, false, yes, no, on, off, 1 and 0. A target that exists is replaced, and for 24 hours a call that it answers with 401 is made again with the secret that was replaced';

CREATE FUNCTION wee5_cron.drop_target(name text) RETURNS boolean
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_drop_target';
COMMENT ON FUNCTION wee5_cron.drop_target(text) IS
  'Removes a target that configure_target() stored for this database or in Vault. Later calls of its paths raise an error, and calls that wait fail. False if there was none';

CREATE FUNCTION wee5_cron.describe_targets(role name) RETURNS jsonb
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_describe_targets';
COMMENT ON FUNCTION wee5_cron.describe_targets(name) IS
  'Internal, for doctor(): the targets of this role''s calls, an array of objects with name, source, api_url, bytes of the secret, header, number of further headers, until when the previous secret counts, error and hint. Never a secret or a header''s value';

CREATE FUNCTION wee5_cron.target_of(endpoint_path text) RETURNS text
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_target_of';
COMMENT ON FUNCTION wee5_cron.target_of(text) IS 'Internal: the name of the target that a path begins with; NULL: the app';

CREATE FUNCTION wee5_cron.previous_secret_of(role name, OUT is_kept boolean, OUT api_url text, OUT until timestamptz,
                                             OUT is_used boolean)
  LANGUAGE c VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_previous_secret_of';
COMMENT ON FUNCTION wee5_cron.previous_secret_of(name) IS
  'Internal, for doctor(): whether a previous secret is kept for calls of this role, where it may go and until when (NULL: the value is not what configure() writes), and whether calls use it now. Never the secret';

CREATE FUNCTION wee5_cron.setting_sources(role name DEFAULT SESSION_USER, OUT name text, OUT source text,
                                          OUT is_set boolean, OUT length int, OUT value text, OUT error text,
                                          OUT hint text)
  RETURNS SETOF record
  LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'wee5_cron_setting_sources';
COMMENT ON FUNCTION wee5_cron.setting_sources(name) IS
  'Internal, for doctor(): where app.settings.* come from for calls of this role (session, role in database, role, database, all, vault, none), how many bytes they have, the address, what is wrong with them and what to do. An address with an error is valid except for plain http. Never the secret';

CREATE FUNCTION wee5_cron.setting(name text) RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  -- The library defines the settings, and this session may not have loaded it yet.
  PERFORM wee5_cron.library_preloaded();
  RETURN current_setting('wee5_cron.' || name, true);
END
$$;
COMMENT ON FUNCTION wee5_cron.setting(text) IS 'Internal: the value of a setting, as SHOW displays it; its name without wee5_cron.';
