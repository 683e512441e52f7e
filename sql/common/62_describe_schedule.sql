-- A schedule of pg_cron in words.

-- bits: as read_schedule() returns them; first: the value that bit 0 stands for.
CREATE FUNCTION wee5_cron.cron_values(bits bigint, first int) RETURNS int[]
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT ARRAY(SELECT first + n FROM generate_series(0, 62) n WHERE bits >> n & 1 = 1 ORDER BY n) $$;
COMMENT ON FUNCTION wee5_cron.cron_values(bigint, int) IS
  'Internal, for describe_schedule(): the values that a field of a schedule allows, in order';

-- 'a', 'a and b', 'a, b and c'.
CREATE FUNCTION wee5_cron.enumerate(words text[]) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT concat_ws(' and ', nullif(array_to_string(words[:cardinality(words) - 1], ', '), ''), words[cardinality(words)])
  $$;
COMMENT ON FUNCTION wee5_cron.enumerate(text[]) IS 'Internal, for describe_schedule(): words as an enumeration';

-- labels: the words for the values first_label, first_label + 1 and so on; without them the numbers.
CREATE FUNCTION wee5_cron.describe_values(field_values int[], labels text[] DEFAULT NULL, first_label int DEFAULT 0)
  RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    WITH labelled AS (
      SELECT value, position, coalesce(labels[value - first_label + 1], value::text) AS label
      FROM unnest(field_values) WITH ORDINALITY AS v (value, position)
    ), run AS (
      SELECT min(value) AS first, array_agg(label ORDER BY value) AS labels
      FROM labelled GROUP BY value - position
    )
    SELECT wee5_cron.enumerate(array_agg(word ORDER BY first, n))
    FROM run
    CROSS JOIN LATERAL unnest(
      CASE WHEN cardinality(run.labels) > 2 THEN array[run.labels[1] || ' through ' || run.labels[cardinality(run.labels)]]
           ELSE run.labels END) WITH ORDINALITY AS w (word, n)
  $$;
COMMENT ON FUNCTION wee5_cron.describe_values(int[], text[], int) IS
  'Internal, for describe_schedule(): values as an enumeration, in which three or more in a row are a range';

-- The n of a field such as */n that divides the field's length evenly, so that "every n" is true across its end, too.
CREATE FUNCTION wee5_cron.even_step(field_values int[], length int) RETURNS int
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT s.step FROM (SELECT field_values[2] - field_values[1] AS step) s
    WHERE s.step > 1 AND length % s.step = 0 AND field_values = ARRAY(SELECT generate_series(0, length - 1, s.step))
  $$;
COMMENT ON FUNCTION wee5_cron.even_step(int[], int) IS
  'Internal, for describe_schedule(): the step of a field whose values are 0, n, 2n and so on, if n divides the length; else NULL';

CREATE FUNCTION wee5_cron.clock_time(hour int, minute int) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT lpad(hour::text, 2, '0') || ':' || lpad(minute::text, 2, '0') $$;
COMMENT ON FUNCTION wee5_cron.clock_time(int, int) IS 'Internal, for describe_schedule(): 09:05';

CREATE FUNCTION wee5_cron.describe_time(minutes int[], hours int[]) RETURNS text
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  minute_step constant int := wee5_cron.even_step(minutes, 60);
  hour_step constant int := wee5_cron.even_step(hours, 24);
  last_hour constant int := hours[cardinality(hours)];
  each_minute constant text := CASE WHEN cardinality(minutes) = 60 THEN 'every minute'
                                    WHEN minute_step IS NOT NULL THEN format('every %s minutes', minute_step) END;
  at_minutes constant text := format(' at minute%s %s', CASE WHEN cardinality(minutes) > 1 THEN 's' END,
                                     wee5_cron.describe_values(minutes));
BEGIN
  IF cardinality(hours) = 24 THEN
    RETURN coalesce(each_minute, 'every hour' || CASE WHEN minutes = '{0}' THEN '' ELSE at_minutes END);
  ELSIF hour_step IS NOT NULL AND each_minute IS NULL THEN
    RETURN format('every %s hours%s', hour_step, CASE WHEN minutes = '{0}' THEN '' ELSE at_minutes END);
  ELSIF cardinality(minutes) * cardinality(hours) <= 6 THEN
    RETURN 'at ' || wee5_cron.enumerate(ARRAY(
      SELECT wee5_cron.clock_time(h, m) FROM unnest(hours) h CROSS JOIN unnest(minutes) m ORDER BY h, m));
  ELSIF last_hour - hours[1] = cardinality(hours) - 1 AND (each_minute IS NOT NULL OR cardinality(minutes) = 1) THEN
    RETURN format('%s from %s to %s', coalesce(each_minute, 'every hour'), wee5_cron.clock_time(hours[1], minutes[1]),
                  wee5_cron.clock_time(last_hour, minutes[cardinality(minutes)]));
  END IF;
  RETURN format('%s of hours %s', coalesce(each_minute, ltrim(at_minutes)), wee5_cron.describe_values(hours));
END
$$;
COMMENT ON FUNCTION wee5_cron.describe_time(int[], int[]) IS
  'Internal, for describe_schedule(): minutes and hours in words';

-- Every day: NULL.
CREATE FUNCTION wee5_cron.describe_days(days int[], weekdays int[], any_of_days boolean, on_last_day boolean) RETURNS text
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  names constant text[] := '{Monday,Tuesday,Wednesday,Thursday,Friday,Saturday,Sunday}';
  on_day constant text := CASE
    WHEN on_last_day THEN 'on the last day of the month'
    WHEN cardinality(days) < 31 THEN format('on day%s %s of the month', CASE WHEN cardinality(days) > 1 THEN 's' END,
                                            wee5_cron.describe_values(days)) END;
  on_weekday constant text := CASE
    WHEN cardinality(weekdays) < 7 THEN 'on ' || wee5_cron.describe_values(weekdays, names, 1) END;
BEGIN
  IF on_day IS NULL OR on_weekday IS NULL THEN
    RETURN CASE WHEN NOT any_of_days THEN coalesce(on_day, on_weekday) END;
  END IF;
  RETURN on_day || CASE WHEN any_of_days THEN ' and ' || on_weekday ELSE ', but only ' || on_weekday END;
END
$$;
COMMENT ON FUNCTION wee5_cron.describe_days(int[], int[], boolean, boolean) IS
  'Internal, for describe_schedule(): days of the month and of the week in words; NULL: every day';

CREATE FUNCTION wee5_cron.describe_schedule(schedule text) RETURNS text
  LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  month_names constant text[] :=
    '{January,February,March,April,May,June,July,August,September,October,November,December}';
  allowed constant record := wee5_cron.read_schedule(schedule);
  months int[];
  words text[];
BEGIN
  IF NOT allowed.readable THEN
    RAISE EXCEPTION 'pg_cron does not understand the schedule "%"', left(schedule, 100)
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Give five fields: minute, hour, day of month, month, day of week. ''15 3 * * *'' is 3:15 every day, '
                   '''*/30 * * * *'' every half hour.';
  ELSIF allowed.interval_seconds IS NOT NULL THEN
    RETURN CASE allowed.interval_seconds WHEN 1 THEN 'every second'
                                         ELSE format('every %s seconds', allowed.interval_seconds) END;
  ELSIF allowed.at_reboot THEN
    RETURN 'when the server starts';
  ELSIF wee5_cron.never_fires(schedule, now()) THEN
    RETURN 'never';
  END IF;
  months := wee5_cron.cron_values(allowed.months, 1);
  words := array[
    wee5_cron.describe_time(wee5_cron.cron_values(allowed.minutes, 0), wee5_cron.cron_values(allowed.hours, 0)),
    -- Bits 0 and 7 are Sunday, which comes last here.
    wee5_cron.describe_days(wee5_cron.cron_values(allowed.days, 1), wee5_cron.cron_values(allowed.weekdays & ~1::bigint, 0),
                            allowed.any_of_days, allowed.on_last_day),
    CASE WHEN cardinality(months) < 12 THEN 'in ' || wee5_cron.describe_values(months, month_names, 1) END];
  -- "every 5 minutes" needs no day, "at 09:00" does.
  IF words[2] IS NULL AND words[1] NOT LIKE 'every %' THEN words[2] := 'every day'; END IF;
  RETURN array_to_string(words, ' ');
END
$$;
COMMENT ON FUNCTION wee5_cron.describe_schedule(text) IS
  'A schedule of pg_cron in words: "at 09:00 on Monday through Friday". Times are in the time zone that pg_cron uses';
