DO $$
DECLARE
  others text;
  ways_out text;
BEGIN
  SELECT string_agg(o.name, ', '), string_agg(o.way_out, ' ') INTO others, ways_out
  FROM wee5_cron.other_endpoint_functions() o;
  IF others IS NOT NULL THEN
    RAISE EXCEPTION 'the name invoke_cron_endpoint is already taken by: %', others
      USING ERRCODE = 'duplicate_function',
            HINT = format('Replace it in one transaction, so that every job finds a function: put this line before the first one '
                          'of this file, and run it again: %s', ways_out);
  END IF;
END
$$;
