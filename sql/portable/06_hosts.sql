-- To which hosts wee5_cron may send plain http. The twins of src/core/request/host_rules.cpp. Patterns spell out the ranges of
-- letters and digits, and lower() uses the collation "C", so that the rules are the same in every locale.

-- Removes the final dot of a host, or the brackets of an IPv6 address.
CREATE FUNCTION wee5_cron.bare_host(host text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  RETURN CASE WHEN length(host) > 1 AND left(host, 1) = '[' AND right(host, 1) = ']' THEN substr(host, 2, length(host) - 2)
              WHEN right(host, 1) = '.' THEN left(host, -1)
              ELSE host END;
END
$$;
COMMENT ON FUNCTION wee5_cron.bare_host(text) IS 'Internal: a host without its brackets, or without a dot at the end';

-- One part of an IPv4 address, read as inet_aton() does: decimal, 0x hexadecimal or 0 octal.
CREATE FUNCTION wee5_cron.ipv4_part(part text) RETURNS bigint
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  digits text;
  value bigint := 0;
BEGIN
  IF part ~ '^[1-9][0-9]{0,2}$' OR part = '0' THEN
    RETURN part::bigint;
  ELSIF part ~ '^0[xX][0-9A-Fa-f]+$' THEN
    digits := ltrim(substr(part, 3), '0');
    RETURN CASE WHEN length(digits) <= 8 THEN ('x' || lpad(digits, 16, '0'))::bit(64)::bigint END;
  END IF;
  digits := ltrim(part, '0');
  IF part ~ '^0[0-7]+$' THEN
    IF length(digits) <= 11 THEN
      FOR place IN 1 .. length(digits) LOOP
        value := value * 8 + substr(digits, place, 1)::bigint;
      END LOOP;
      RETURN CASE WHEN value <= 4294967295 THEN value END;
    END IF;
  ELSIF part ~ '^(?:0|[1-9][0-9]*)$' AND length(part) <= 10 THEN
    RETURN CASE WHEN part::bigint <= 4294967295 THEN part::bigint END;
  END IF;
  RETURN NULL;
END
$$;
COMMENT ON FUNCTION wee5_cron.ipv4_part(text) IS 'Internal: the number of a part of an IPv4 address; NULL: it is none';

-- Reads an IPv4 address in every spelling that resolvers accept ("127.1", "0x7f000001", "2130706433"). As a name, such
-- a text would count as a single label, although it can lead to any host on the Internet.
CREATE FUNCTION wee5_cron.ipv4_address(name text) RETURNS bigint
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  parts constant text[] := string_to_array(name, '.');
  count constant int := cardinality(parts);
  value bigint;
  address bigint := 0;
BEGIN
  IF count NOT BETWEEN 1 AND 4 THEN
    RETURN NULL;
  END IF;
  FOR place IN 1 .. count LOOP
    value := wee5_cron.ipv4_part(parts[place]);
    -- The last part fills all bytes that are left.
    IF value IS NULL OR value >= (CASE WHEN place < count THEN 256 ELSE 1::bigint << 8 * (5 - count) END) THEN
      RETURN NULL;
    END IF;
    address := CASE WHEN place < count THEN address << 8 ELSE address << 8 * (5 - count) END | value;
  END LOOP;
  RETURN address;
END
$$;
COMMENT ON FUNCTION wee5_cron.ipv4_address(text) IS 'Internal: an IPv4 address as a number; NULL: the text is none';

-- Whether the last label is a number. Resolvers then take the text for an IPv4 address, even if ipv4_address() cannot read it.
CREATE FUNCTION wee5_cron.looks_numeric(name text) RETURNS boolean
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT name ~ '(?:^|\.)(?:[0-9]*|0[xX][0-9A-Fa-f]+)$' $$;
COMMENT ON FUNCTION wee5_cron.looks_numeric(text) IS 'Internal: whether the last label of a host is a number';

-- The eight groups of an IPv6 address, as inet_pton() reads it. A zone names an interface, not a network.
CREATE FUNCTION wee5_cron.ipv6_groups(name text) RETURNS int[]
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  octet constant text := '(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])';
  address text := split_part(name, '%', 1);
  quad text[];
  halves text[];
  groups text[];
BEGIN
  IF strpos(address, ':') = 0 OR octet_length(address) >= 46 OR address !~ '^[0-9A-Fa-f:.]+$' THEN
    RETURN NULL;
  END IF;
  IF strpos(address, '.') > 0 THEN
    quad := regexp_match(address, format('^(.*:)%1$s\.%1$s\.%1$s\.%1$s$', octet));
    IF quad IS NULL THEN
      RETURN NULL;
    END IF;
    address := quad[1] || to_hex(quad[2]::int * 256 + quad[3]::int) || ':' || to_hex(quad[4]::int * 256 + quad[5]::int);
  END IF;
  halves := regexp_match(address, '^(.*?)::(.*)$');
  IF halves IS NULL THEN
    groups := string_to_array(address, ':');
  ELSE
    groups := string_to_array(halves[1], ':');
    groups := groups || array_fill('0'::text, ARRAY[greatest(0, 8 - cardinality(groups) - cardinality(string_to_array(halves[2], ':')))])
      || string_to_array(halves[2], ':');
    -- "::" stands for at least one group of zeros.
    IF cardinality(string_to_array(halves[1], ':')) + cardinality(string_to_array(halves[2], ':')) > 7 THEN
      RETURN NULL;
    END IF;
  END IF;
  IF cardinality(groups) <> 8 OR EXISTS (SELECT FROM unnest(groups) g WHERE g !~ '^[0-9A-Fa-f]{1,4}$') THEN
    RETURN NULL;
  END IF;
  RETURN (SELECT array_agg(('x' || lpad(g, 8, '0'))::bit(32)::int ORDER BY place)
          FROM unnest(groups) WITH ORDINALITY AS t(g, place));
END
$$;
COMMENT ON FUNCTION wee5_cron.ipv6_groups(text) IS 'Internal: the groups of an IPv6 address; NULL: the text is none';

-- The IPv4 address of a host, also of ::ffff:a.b.c.d, which is IPv4 on the wire.
CREATE FUNCTION wee5_cron.ipv4_on_the_wire(host text) RETURNS bigint
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  groups constant int[] := wee5_cron.ipv6_groups(wee5_cron.bare_host(host));
BEGIN
  IF groups[1:6] = ARRAY[0, 0, 0, 0, 0, 65535] THEN
    RETURN groups[7]::bigint * 65536 + groups[8];
  END IF;
  RETURN CASE WHEN groups IS NULL AND host !~ '^\[.*\]$' THEN wee5_cron.ipv4_address(wee5_cron.bare_host(host)) END;
END
$$;
COMMENT ON FUNCTION wee5_cron.ipv4_on_the_wire(text) IS 'Internal: the IPv4 address that a host is, as a number; NULL: it is none';

CREATE FUNCTION wee5_cron.is_private_name(name text) RETURNS boolean
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    -- IDNA turns U+3002 and the like into dots, so one label in Unicode may be several. .svc.cluster.local ends in .local.
    SELECT NOT wee5_cron.looks_numeric(name)
      AND (name ~ '^[0-9A-Za-z_-]+$'
           OR name ~ '^[0-9A-Za-z_.\u0080-\U0010FFFF-]+$'
              AND lower(name COLLATE "C") ~ '.\.(?:localhost|internal|local|svc)$')
  $$;
COMMENT ON FUNCTION wee5_cron.is_private_name(text) IS 'Internal: whether a name is one that no public network knows';

CREATE FUNCTION wee5_cron.is_private_host(host text) RETURNS boolean
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  groups constant int[] := wee5_cron.ipv6_groups(wee5_cron.bare_host(host));
  ipv4 constant bigint := wee5_cron.ipv4_on_the_wire(host);
BEGIN
  IF ipv4 IS NOT NULL THEN
    RETURN ipv4 >> 24 IN (127, 10)
      OR ipv4 >> 20 = x'AC1'::int                     -- 172.16.0.0/12
      OR ipv4 >> 16 IN (x'C0A8'::int, x'A9FE'::int)   -- 192.168.0.0/16, 169.254.0.0/16
      OR ipv4 >> 22 = x'191'::int;                    -- 100.64.0.0/10 (RFC 6598): carriers, and networks such as Tailscale
  ELSIF groups IS NOT NULL THEN
    RETURN groups = ARRAY[0, 0, 0, 0, 0, 0, 0, 1]
      OR groups[1] & x'FFC0'::int = x'FE80'::int      -- link-local
      OR groups[1] & x'FE00'::int = x'FC00'::int;     -- unique local
  END IF;
  RETURN host !~ '^\[.*\]$' AND wee5_cron.is_private_name(wee5_cron.bare_host(host));
END
$$;
COMMENT ON FUNCTION wee5_cron.is_private_host(text) IS
  'Internal: whether http without TLS to this host stays off public networks';

CREATE FUNCTION wee5_cron.is_loopback_host(host text) RETURNS boolean
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE WHEN wee5_cron.ipv4_on_the_wire(host) IS NOT NULL THEN wee5_cron.ipv4_on_the_wire(host) >> 24 = 127
                ELSE coalesce(wee5_cron.ipv6_groups(wee5_cron.bare_host(host)) = ARRAY[0, 0, 0, 0, 0, 0, 0, 1], false)
                  OR host !~ '^\[.*\]$' AND lower(wee5_cron.bare_host(host) COLLATE "C") = 'localhost' END
  $$;
COMMENT ON FUNCTION wee5_cron.is_loopback_host(text) IS 'Internal: whether the host is localhost or a loopback address';

-- A boolean as Postgres reads it: a word may be abbreviated as long as it is unambiguous.
CREATE FUNCTION wee5_cron.read_boolean(word text) RETURNS boolean
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE WHEN lower(word COLLATE "C") IN ('on', 't', 'tr', 'tru', 'true', 'y', 'ye', 'yes', '1') THEN true
                WHEN lower(word COLLATE "C") IN ('of', 'off', 'f', 'fa', 'fal', 'fals', 'false', 'n', 'no', '0') THEN false END
  $$;
COMMENT ON FUNCTION wee5_cron.read_boolean(text) IS 'Internal: the value of a boolean word; NULL: the text is none';

CREATE FUNCTION wee5_cron.is_domain(name text) RETURNS boolean
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$ SELECT octet_length(name) <= 253 AND name ~ '^[0-9A-Za-z_-]+(?:\.[0-9A-Za-z_-]+)*\.?$' $$;
COMMENT ON FUNCTION wee5_cron.is_domain(text) IS 'Internal: whether the text is labels with dots between them';

-- The name or address of a host, or "*." and a domain, which stands for every name below it.
CREATE FUNCTION wee5_cron.is_host_pattern(pattern text) RETURNS boolean
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT CASE WHEN starts_with(pattern, '*.') THEN wee5_cron.is_domain(substr(pattern, 3))
                  AND NOT wee5_cron.looks_numeric(wee5_cron.bare_host(substr(pattern, 3)))
                  AND wee5_cron.ipv6_groups(wee5_cron.bare_host(substr(pattern, 3))) IS NULL
                WHEN pattern ~ '^\[.*\]$' THEN wee5_cron.ipv6_groups(wee5_cron.bare_host(pattern)) IS NOT NULL
                ELSE wee5_cron.is_domain(pattern) END
  $$;
COMMENT ON FUNCTION wee5_cron.is_host_pattern(text) IS
  'Internal: whether the text may stand in the list of wee5_cron.allow_plain_http';

CREATE FUNCTION wee5_cron.matches_host(pattern text, host text) RETURNS boolean
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT wee5_cron.is_host_pattern(pattern) AND
      CASE WHEN starts_with(pattern, '*.') THEN
             host !~ '^\[.*\]$' AND NOT wee5_cron.looks_numeric(wee5_cron.bare_host(host))
             AND wee5_cron.ipv6_groups(wee5_cron.bare_host(host)) IS NULL
             AND right(lower(wee5_cron.bare_host(host) COLLATE "C"), length(wee5_cron.bare_host(substr(pattern, 3))) + 1)
                 = '.' || lower(wee5_cron.bare_host(substr(pattern, 3)) COLLATE "C")
             AND length(wee5_cron.bare_host(host)) > length(wee5_cron.bare_host(substr(pattern, 3))) + 1
           ELSE lower(wee5_cron.bare_host(pattern) COLLATE "C") = lower(wee5_cron.bare_host(host) COLLATE "C") END
  $$;
COMMENT ON FUNCTION wee5_cron.matches_host(text, text) IS 'Internal: whether a pattern of wee5_cron.allow_plain_http names the host';

CREATE FUNCTION wee5_cron.refuse_host_pattern(pattern text) RETURNS void
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
BEGIN
  IF pattern IN ('*', '*.') THEN
    RAISE EXCEPTION '"%" alone would let plain http go to every host.', pattern
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Name the hosts, as in ''web.prod, *.flycast''; or write on, which sends the secret in clear text to any.';
  ELSIF pattern = '' THEN
    RAISE EXCEPTION 'There is a comma with no host beside it.'
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Give host names with commas between them, as in ''web.prod, *.flycast''.';
  ELSIF wee5_cron.read_boolean(pattern) IS NOT NULL THEN
    RAISE EXCEPTION '"%" cannot stand in a list.', wee5_cron.printable(pattern)
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Write on or off alone, or only host names, as in ''web.prod, *.flycast''.';
  END IF;
  RAISE EXCEPTION '"%" is not the name of a host.', wee5_cron.printable(pattern)
    USING ERRCODE = 'invalid_parameter_value',
          HINT = 'Give host names without scheme, port or path; a name may begin with *. for every name below it, as in '
            || '''web.prod, *.flycast''.';
END
$$;
COMMENT ON FUNCTION wee5_cron.refuse_host_pattern(text) IS
  'Internal: raises the error of a text that cannot stand in the list of wee5_cron.allow_plain_http';

-- The value as SHOW would display it.
CREATE FUNCTION wee5_cron.read_plain_http_rule(rule text) RETURNS text
  LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
DECLARE
  blanks constant text := E' \t\n\x0B\f\r';
  pattern text;
  shown text;
BEGIN
  rule := btrim(rule, blanks);
  IF rule = '' OR wee5_cron.read_boolean(rule) IS NOT NULL THEN
    RETURN CASE WHEN wee5_cron.read_boolean(rule) THEN 'on' ELSE 'off' END;
  END IF;
  FOREACH pattern IN ARRAY string_to_array(rule, ',') LOOP
    pattern := btrim(pattern, blanks);
    IF NOT wee5_cron.is_host_pattern(pattern) OR wee5_cron.read_boolean(pattern) IS NOT NULL THEN
      PERFORM wee5_cron.refuse_host_pattern(pattern);
    END IF;
    shown := concat_ws(', ', shown, pattern);
  END LOOP;
  RETURN shown;
END
$$;
COMMENT ON FUNCTION wee5_cron.read_plain_http_rule(text) IS
  'Internal: a value for wee5_cron.allow_plain_http, checked, in the form in which it is shown';

CREATE FUNCTION wee5_cron.plain_http_allowed(rule text, host text) RETURNS boolean
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
  AS $$
    SELECT coalesce(wee5_cron.read_boolean(btrim(rule, E' \t\n\x0B\f\r')),
      (SELECT bool_or(wee5_cron.matches_host(btrim(pattern, E' \t\n\x0B\f\r'), host))
       FROM unnest(string_to_array(btrim(rule, E' \t\n\x0B\f\r'), ',')) AS pattern), false)
  $$;
COMMENT ON FUNCTION wee5_cron.plain_http_allowed(text, text) IS
  'Internal: whether a value of wee5_cron.allow_plain_http lets plain http go to a host that is not private';
