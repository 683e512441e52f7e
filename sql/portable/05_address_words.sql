-- How errors and hints speak of an address and its secret: of the app's by their settings, of a target's by its name. The
-- twin of src/core/request/address_words.cpp. set_api_url is a format() of an address in quotes. Empty target: the app.
CREATE FUNCTION wee5_cron.address_words(target text, OUT api_url text, OUT at_fault text, OUT how_to_show text, OUT whose text,
                                        OUT set_api_url text, OUT secret text, OUT called_with text, OUT expected_secret text)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF target = '' THEN
    api_url := 'app.settings.api_url';
    at_fault := api_url;
    how_to_show := ' (SHOW app.settings.api_url)';
    whose := 'the app''s';
    set_api_url := 'ALTER DATABASE ... SET app.settings.api_url = %s';
    secret := 'app.settings.cron_secret';
    called_with := 'the app is called with the bearer secret of app.settings.cron_secret';
    expected_secret := 'app.settings.cron_secret must equal CRON_SECRET in the app (ALTER DATABASE ... SET '
      || 'app.settings.cron_secret = ''...'')';
  ELSE
    api_url := format('the api_url of target "%s"', target);
    at_fault := format('target "%s": api_url', target);
    how_to_show := '';  -- it stands beside its secret
    whose := 'its';
    set_api_url := format('SELECT wee5_cron.configure_target(''%s'', %%s, ''the secret that this app expects'')', target);
    secret := 'its secret';
    called_with := 'the target is called with its own secret';
    expected_secret := format('the secret of target "%s" (SELECT wee5_cron.configure_target()) must be the one that it expects',
                              target);
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.address_words(text) IS 'Internal: how errors and hints speak of the address of a target; empty: of the app';

CREATE FUNCTION wee5_cron.hint_to_set_address(target text) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT format('Set %s origin: %s.', w.whose, format(w.set_api_url, '''https://app.example.com'''))
    FROM wee5_cron.address_words(target) w
  $$;
COMMENT ON FUNCTION wee5_cron.hint_to_set_address(text) IS 'Internal: the hint of an address that breaks a rule';
