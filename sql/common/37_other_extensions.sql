-- pg_net and pg_cron, where they are installed.

CREATE FUNCTION wee5_cron.pg_net_installed() RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT wee5_cron.belongs_to_extension('pg_class', to_regclass('net.http_request_queue'), 'pg_net')
       AND wee5_cron.belongs_to_extension('pg_class', to_regclass('net._http_response'), 'pg_net')
  $$;
COMMENT ON FUNCTION wee5_cron.pg_net_installed() IS 'Internal: whether pg_net''s tables are in this database';

CREATE FUNCTION wee5_cron.pg_cron_installed() RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT wee5_cron.belongs_to_extension('pg_class', to_regclass('cron.job'), 'pg_cron')
       AND wee5_cron.belongs_to_extension('pg_class', to_regclass('cron.job_run_details'), 'pg_cron')
  $$;
COMMENT ON FUNCTION wee5_cron.pg_cron_installed() IS 'Internal: whether pg_cron''s tables are in this database';

-- The answer to a call may hold the secret that the call carried. configure() keeps that one when it replaces it; whoever changes
-- Vault by hand does not.
CREATE FUNCTION wee5_cron.secret_lost_at() RETURNS timestamptz
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  secrets constant oid := to_regclass('vault.decrypted_secrets');
  name constant text := wee5_cron.setting('vault_cron_secret');
  changed_at timestamptz;
  kept_at timestamptz;
BEGIN
  IF secrets IS NOT NULL AND wee5_cron.belongs_to_extension('pg_class', secrets, 'supabase_vault') THEN
    EXECUTE 'SELECT max(d.updated_at) FILTER (WHERE d.name = $1), max(d.updated_at) FILTER (WHERE d.name <> $1)
             FROM vault.decrypted_secrets d WHERE d.name IN ($1, $1 || ''_previous'')' INTO changed_at, kept_at USING name;
    IF changed_at IS NULL AND NOT EXISTS (SELECT FROM wee5_cron.setting_sources() s WHERE s.name = 'app.settings.cron_secret' AND s.is_set) THEN
      RETURN 'infinity';
    END IF;
  END IF;
  RETURN CASE WHEN kept_at >= changed_at THEN NULL ELSE changed_at END;
EXCEPTION WHEN insufficient_privilege THEN
  -- Then the secrets are not known at all, and no answer is kept.
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION wee5_cron.secret_lost_at() IS
  'Internal, for harvest(): when the secret in Vault was replaced or deleted, without the one before it being kept; NULL: never. Calls that were handed over earlier may carry that one';
