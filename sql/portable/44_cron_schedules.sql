-- Schedules as pg_cron's own parser reads them, oddities included: pg_cron starts a job at the times that it has read, not at
-- those that the author meant. The twins of src/core/jobs/cron_expression.cpp and cron_schedule.cpp. Bits of a field count
-- from its first value: day 1 and January are bit 0. A field has more bits than values, because pg_cron's parser may set bits
-- beyond the last value.

-- Reads a word of a field: one of its names, or a number as glibc's atoi() reads it, which keeps the lower 32 bits. NULL: neither.
CREATE FUNCTION wee5_cron.cron_number(word text, low int, names text[]) RETURNS int
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  name_at constant int := array_position(names, lower(word COLLATE "C"));
  digits constant text := ltrim(word, '0');
BEGIN
  RETURN CASE WHEN name_at IS NOT NULL THEN name_at - 1 + low
              WHEN word !~ '^[0-9]+$' THEN NULL
              WHEN digits = '' THEN 0
              WHEN length(digits) > 19 THEN -1
              WHEN digits::numeric > 9223372036854775807 THEN -1
              ELSE (digits::bigint & 4294967295)::bit(32)::int END;
END
$$;
COMMENT ON FUNCTION wee5_cron.cron_number(text, int, text[]) IS
  'Internal: the value of a word in a field of a schedule; NULL: pg_cron refuses it';

-- With `wraps` (the parser of pg_cron 1.6) a reversed range without a step, such as "20-10", is not empty: it sets the rest of
-- the first number's byte in the bit string and the start of the last one's.
CREATE FUNCTION wee5_cron.cron_range(low int, high int, step int, wraps boolean) RETURNS bigint
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT coalesce(bit_or(1::bigint << n), 0) FROM generate_series(0, 63) AS n
    WHERE CASE WHEN low > high AND step = 1 AND wraps AND low / 8 <> high / 8
               THEN n BETWEEN low AND low / 8 * 8 + 7 OR n BETWEEN high / 8 * 8 AND high
               ELSE n BETWEEN low AND high AND (n - low) % step = 0 END
  $$;
COMMENT ON FUNCTION wee5_cron.cron_range(int, int, int, boolean) IS 'Internal: the bits that a range of a schedule sets';

-- Reads ranges between commas: "*", "n" or "n-m". "*" and "n-m" may have a step. The parser skips everything after the last
-- range: "*x" is "*". NULL: pg_cron refuses the field.
CREATE FUNCTION wee5_cron.read_cron_field(field text, low int, high int, names text[], wraps boolean) RETURNS bigint
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  parts text[];
  first_value int;
  last_value int;
  step int;
  bits bigint := 0;
BEGIN
  LOOP
    -- 1: * or a word; 2: "-" and a word, 3: that word; 4: "/" and a word, 5: that word; 6: the rest
    parts := regexp_match(field, '^(\*|[0-9A-Za-z]+(?=[^0-9A-Za-z]|$))(-([0-9A-Za-z]*))?(/([0-9A-Za-z]*))?(.*)$');
    IF parts[1] = '*' AND parts[2] IS NOT NULL THEN
      parts := ARRAY['*', NULL, NULL, NULL, NULL, '-'];
    END IF;
    first_value := CASE parts[1] WHEN '*' THEN low ELSE wee5_cron.cron_number(parts[1], low, names) END;
    last_value := CASE WHEN parts[1] = '*' THEN high WHEN parts[2] IS NULL THEN first_value
                       ELSE wee5_cron.cron_number(parts[3], low, names) END;
    step := CASE WHEN parts[4] IS NULL THEN 1 ELSE wee5_cron.cron_number(parts[5], 0, NULL) END;
    IF first_value IS NULL OR last_value IS NULL OR step IS NULL OR step <= 0
       OR first_value NOT BETWEEN low AND high OR last_value NOT BETWEEN low AND high
       OR parts[1] <> '*' AND parts[2] IS NULL AND parts[4] IS NOT NULL THEN  -- a step needs a range: "5/10" is refused
      RETURN NULL;
    END IF;
    bits := bits | wee5_cron.cron_range(first_value - low, last_value - low, step, wraps);
    EXIT WHEN NOT starts_with(parts[6], ',');
    field := substr(parts[6], 2);
  END LOOP;
  RETURN bits;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_cron_field(text, int, int, text[], boolean) IS
  'Internal: the values that a field of a schedule names, as bits; NULL: pg_cron refuses it';

-- Words such as @hourly. Unlike names, they are case-sensitive. pg_cron 1.6 sets the month of @yearly by a number below the
-- field's range. That has no effect, so the job never runs.
CREATE FUNCTION wee5_cron.fields_of_word(word text, last_day boolean) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE WHEN word IN ('yearly', 'annually') THEN CASE WHEN last_day THEN '0 0 1 12-11 *' ELSE '0 0 1 1 *' END
                WHEN word = 'monthly' THEN '0 0 1 * *'
                WHEN word = 'weekly' THEN '0 0 * * 0'
                WHEN word IN ('daily', 'midnight') THEN '0 0 * * *'
                WHEN word = 'hourly' THEN '0 * * * *' END
  $$;
COMMENT ON FUNCTION wee5_cron.fields_of_word(text, boolean) IS 'Internal: the five fields that a word such as @hourly stands for';

-- Accepts what pg_cron's sscanf(" %u secon%c%c %c") of the lower-cased text accepts: "5seconds", "+5 Second" and "5 seconds  ",
-- but not "5 second " (it takes the blank for the plural), and no further text. glibc's %u keeps the lower 32 bits of a 64-bit
-- number. NULL: the text is not such an interval.
CREATE FUNCTION wee5_cron.read_seconds_interval(schedule text) RETURNS int
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  parts constant text[] := regexp_match(lower(schedule COLLATE "C"), '^[\t-\r ]*([+-]?)0*([0-9]+)[\t-\r ]*second(?:s[\t-\r ]*)?$');
  seconds numeric;
BEGIN
  IF parts IS NULL THEN
    RETURN NULL;
  END IF;
  seconds := CASE WHEN length(parts[2]) > 20 THEN 18446744073709551616 ELSE parts[2]::numeric END;
  seconds := CASE WHEN seconds > 18446744073709551615 THEN 18446744073709551615
                  WHEN parts[1] = '-' THEN 18446744073709551616 - seconds ELSE seconds END;
  seconds := mod(seconds, 4294967296);
  RETURN CASE WHEN seconds BETWEEN 1 AND 59 THEN seconds::int END;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_seconds_interval(text) IS 'Internal: the N of ''N seconds'', 1 to 59; NULL: the text is no such interval';

-- `last_day`: '$' as day of month (pg_cron 1.6). `seconds`: 'N seconds' (pg_cron 1.5). `readable` is false if pg_cron refuses
-- the schedule. 'N seconds' and @reboot have no bits.
CREATE FUNCTION wee5_cron.read_cron_schedule(
    schedule text, last_day boolean, seconds boolean, OUT readable boolean, OUT minutes bigint, OUT hours bigint, OUT days bigint,
    OUT months bigint, OUT weekdays bigint, OUT any_of_days boolean, OUT on_last_day boolean, OUT at_reboot boolean,
    OUT interval_seconds int)
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  blank constant text := '[ \t]+';
  field constant text := '([^ \t\n]+)';
  -- Skip blank lines and comments.
  body text := regexp_replace(schedule, '^(?:[ \t]*(?:#[^\n]*)?\n)*[ \t]*', '');
  f text[];
BEGIN
  readable := octet_length(schedule) <= 999;
  at_reboot := coalesce(readable AND substring(body FROM '^@([^ \t\n]*)') IN ('reboot', 'restart'), false);
  IF starts_with(body, '@') THEN
    body := coalesce(wee5_cron.fields_of_word(substring(body FROM '^@([^ \t\n]*)'), last_day), '');
  END IF;
  f := regexp_match(body, '^' || field || blank || field || blank || field || blank || field || blank || field);
  on_last_day := last_day AND f[3] = '$';
  minutes := wee5_cron.read_cron_field(f[1], 0, 59, NULL, last_day);
  hours := wee5_cron.read_cron_field(f[2], 0, 23, NULL, last_day);
  days := CASE WHEN on_last_day THEN 0 ELSE wee5_cron.read_cron_field(f[3], 1, 31, NULL, last_day) END;
  months := wee5_cron.read_cron_field(f[4], 1, 12, '{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}', last_day);
  weekdays := wee5_cron.read_cron_field(f[5], 0, 7, '{sun,mon,tue,wed,thu,fri,sat}', last_day);
  -- 0 and 7 are Sunday.
  weekdays := weekdays | CASE WHEN weekdays & 129 <> 0 THEN 129 ELSE 0 END;
  any_of_days := NOT (f[3] LIKE '*%' OR f[5] LIKE '*%');
  readable := readable AND (at_reboot OR minutes IS NOT NULL AND hours IS NOT NULL AND days IS NOT NULL AND months IS NOT NULL
                                         AND weekdays IS NOT NULL);
  IF NOT readable AND seconds THEN
    interval_seconds := wee5_cron.read_seconds_interval(schedule);
    readable := interval_seconds IS NOT NULL;
    minutes := 0;
  END IF;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_cron_schedule(text, boolean, boolean) IS
  'Internal: what pg_cron reads in a schedule';

-- Whether the calendar has any of the days. It has no 30 February.
CREATE FUNCTION wee5_cron.cron_has_a_day(days bigint, months bigint, weekdays bigint, any_of_days boolean, on_last_day boolean)
  RETURNS boolean
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT any_of_days AND weekdays & 255 <> 0 OR on_last_day
      OR EXISTS (SELECT FROM unnest('{31,29,31,30,31,30,31,31,30,31,30,31}'::int[]) WITH ORDINALITY AS m(longest, number)
                 WHERE months >> (m.number - 1)::int & 1 = 1 AND days & (1::bigint << m.longest) - 1 <> 0)
  $$;
COMMENT ON FUNCTION wee5_cron.cron_has_a_day(bigint, bigint, bigint, boolean, boolean) IS
  'Internal: whether the days of a schedule are in any calendar';

-- Skips `count` minutes without a match, this one included. When clocks go forward or back, a distance on the clock is not a
-- distance in time. So this skips fewer minutes where the clock changes. Times are Unix times in seconds.
CREATE FUNCTION wee5_cron.cron_leap(at bigint, count int, direction int, zone text) RETURNS bigint
  LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  local constant timestamp := to_timestamp(at) AT TIME ZONE zone;
BEGIN
  WHILE count > 1 AND to_timestamp(at + 60 * direction * (count - 1)) AT TIME ZONE zone
                      <> local + direction * (count - 1) * interval '1 minute' LOOP
    count := count / 2;
  END LOOP;
  RETURN at + 60 * direction * count;
END
$$;
COMMENT ON FUNCTION wee5_cron.cron_leap(bigint, int, int, text) IS 'Internal: the next minute that a schedule may match';

-- How many minutes from `local` on in `direction` cannot match, this one included. 0: this one matches. If the schedule asks for
-- the last day of a month, the caller still has to check the day.
CREATE FUNCTION wee5_cron.minutes_without_tick(local timestamp, direction int, minutes bigint, hours bigint, days bigint,
                                               months bigint, weekdays bigint, any_of_days boolean, on_last_day boolean)
  RETURNS int
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  minute int := extract(minute FROM local);
  hour constant int := extract(hour FROM local);
  day constant int := extract(day FROM local);
  on_day constant boolean := days >> day - 1 & 1 = 1 OR on_last_day AND day >= 26;  -- 28 or later, with room for clock changes
  on_weekday constant boolean := weekdays >> extract(dow FROM local)::int & 1 = 1;
  count int := 0;
BEGIN
  IF months >> extract(month FROM local)::int - 1 & 1 = 0
     OR NOT (CASE WHEN any_of_days THEN on_day OR on_weekday ELSE on_day AND on_weekday END) THEN
    RETURN CASE WHEN direction < 0 THEN hour * 60 + minute + 1 ELSE 1440 - hour * 60 - minute END;
  ELSIF hours >> hour & 1 = 0 THEN
    RETURN CASE WHEN direction < 0 THEN minute + 1 ELSE 60 - minute END;
  END IF;
  WHILE minute BETWEEN 0 AND 59 AND minutes >> minute & 1 = 0 LOOP
    minute := minute + direction;
    count := count + 1;
  END LOOP;
  RETURN count;
END
$$;
COMMENT ON FUNCTION wee5_cron.minutes_without_tick(timestamp, int, bigint, bigint, bigint, bigint, bigint, boolean, boolean) IS
  'Internal: how many minutes a schedule surely does not match';

-- Searches backwards (-1) or forwards (+1) from a minute for the next one that the schedule matches. NULL: there is none within
-- 40 years (two Sundays on 29 February are up to 40 years apart). To find the last day of a month, pg_cron asks whether it will be
-- the first in 24 hours. On the day of a clock change, the calendar may disagree.
CREATE FUNCTION wee5_cron.find_tick(start bigint, direction int, zone text, minutes bigint, hours bigint, days bigint,
                                    months bigint, weekdays bigint, any_of_days boolean, on_last_day boolean) RETURNS bigint
  LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  horizon constant bigint := 86400::bigint * 366 * 40;
  at bigint := start;
  local timestamp;
  count int;
BEGIN
  IF minutes & (1::bigint << 60) - 1 = 0 OR hours & (1 << 24) - 1 = 0 OR months & 4095 = 0
     OR NOT wee5_cron.cron_has_a_day(days, months, weekdays, any_of_days, on_last_day) THEN
    RETURN NULL;
  END IF;
  WHILE abs(at - start) <= horizon LOOP
    local := to_timestamp(at) AT TIME ZONE zone;
    count := wee5_cron.minutes_without_tick(local, direction, minutes, hours, days, months, weekdays, any_of_days, on_last_day);
    IF count = 0 AND (NOT on_last_day OR extract(day FROM to_timestamp(at + 86400) AT TIME ZONE zone) = 1
                      OR wee5_cron.minutes_without_tick(local, direction, minutes, hours, days, months, weekdays, any_of_days, false) = 0) THEN
      RETURN at;
    END IF;
    at := wee5_cron.cron_leap(at, greatest(count, 1), direction, zone);
  END LOOP;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION wee5_cron.find_tick(bigint, int, text, bigint, bigint, bigint, bigint, bigint, boolean, boolean) IS
  'Internal: the next or newest minute of a schedule, in seconds since 1970; NULL: none within 40 years';
