-- This is not Supabase Vault. It stands in for it in the tests of wee5_cron, as a version of its own next to a real
-- supabase_vault that may be installed: the table, the view and the functions of version 0.3 with their columns and
-- arguments. What it calls encryption only turns the text around.
\echo Use "CREATE EXTENSION supabase_vault VERSION 'wee5fixture'" to load this file. \quit

CREATE FUNCTION vault._conceal(value text, nonce bytea) RETURNS text
  LANGUAGE sql IMMUTABLE SET search_path = ''
  AS $$ SELECT encode(convert_to(pg_catalog.reverse(value) || encode(nonce, 'hex'), 'UTF8'), 'base64') $$;

CREATE FUNCTION vault._reveal(value text, nonce bytea) RETURNS text
  LANGUAGE plpgsql IMMUTABLE SET search_path = ''
  AS $$
DECLARE
  plain text := pg_catalog.convert_from(pg_catalog.decode(value, 'base64'), 'UTF8');
BEGIN
  IF pg_catalog.right(plain, 32) <> pg_catalog.encode(nonce, 'hex') THEN
    RAISE EXCEPTION 'invalid ciphertext';
  END IF;
  RETURN pg_catalog.reverse(pg_catalog.left(plain, -32));
END
$$;

CREATE TABLE vault.secrets (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  name text,
  description text NOT NULL DEFAULT '',
  secret text NOT NULL,
  key_id uuid,
  nonce bytea DEFAULT decode(replace(gen_random_uuid()::text, '-', ''), 'hex'),
  created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE UNIQUE INDEX ON vault.secrets (name) WHERE name IS NOT NULL;

CREATE VIEW vault.decrypted_secrets AS
  SELECT s.id, s.name, s.description, s.secret, vault._reveal(s.secret, s.nonce) AS decrypted_secret, s.key_id, s.nonce,
         s.created_at, s.updated_at
  FROM vault.secrets s;

CREATE FUNCTION vault.create_secret(new_secret text, new_name text DEFAULT NULL, new_description text DEFAULT '',
                                    new_key_id uuid DEFAULT NULL) RETURNS uuid
  LANGUAGE plpgsql SET search_path = ''
  AS $$
DECLARE
  created vault.secrets;
BEGIN
  INSERT INTO vault.secrets (secret, name, description) VALUES (new_secret, new_name, new_description)
  RETURNING * INTO created;
  UPDATE vault.secrets s SET secret = vault._conceal(created.secret, created.nonce) WHERE s.id = created.id;
  RETURN created.id;
END
$$;

CREATE FUNCTION vault.update_secret(secret_id uuid, new_secret text DEFAULT NULL, new_name text DEFAULT NULL,
                                    new_description text DEFAULT NULL, new_key_id uuid DEFAULT NULL) RETURNS void
  LANGUAGE plpgsql SET search_path = ''
  AS $$
DECLARE
  -- As the real one does: it fails where the old value cannot be decrypted.
  decrypted_secret text := (SELECT d.decrypted_secret FROM vault.decrypted_secrets d WHERE d.id = secret_id);
BEGIN
  UPDATE vault.secrets s
  SET secret = CASE WHEN new_secret IS NULL THEN s.secret ELSE vault._conceal(new_secret, s.nonce) END,
      name = coalesce(new_name, s.name), description = coalesce(new_description, s.description), updated_at = now()
  WHERE s.id = secret_id;
END
$$;

REVOKE ALL ON vault.secrets, vault.decrypted_secrets FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('vault.secrets', '');
