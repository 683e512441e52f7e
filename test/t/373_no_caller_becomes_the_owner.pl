# A database full of traps: for every function and operator of pg_catalog, a stranger's namesake that the search_path finds
# first and that reports the role it ran as. Installation, calls, reports, operations and the worker run none of them.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $secret   = 'canary-of-the-traps-4711';
my $receiver = Wee5Cron::Receiver->start(secret => $secret);
my $node     = Wee5Cron::Node->start_new('main');
my $owner    = $node->safe_psql('postgres', 'SELECT current_user');
$node->safe_psql('postgres', join ' ', map { "CREATE ROLE $_ LOGIN;" } qw(mallory caller reader operator inspector));
$node->safe_psql('postgres', 'GRANT pg_read_all_settings TO inspector');

# As mallory: namesakes of all functions and operators whose types PL/pgSQL supports, in the schema `trap`.
sub set_traps {
    my ($database) = @_;
    $node->safe_psql($database, 'CREATE SCHEMA trap AUTHORIZATION mallory; GRANT USAGE ON SCHEMA trap TO PUBLIC');
    $node->psql_as('mallory', $database, <<'SQL');
CREATE FUNCTION trap.spring(what text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE LOG 'trapped in %, run as %', what, current_user; RETURN 1; END $$;
DO $plant$
DECLARE
  f record;
BEGIN
  FOR f IN SELECT p.oid, p.proname, p.proretset, oidvectortypes(p.proargtypes) AS arguments, pg_get_function_result(p.oid) AS result
           FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.proallargtypes IS NULL AND p.provariadic = 0
  LOOP
    BEGIN
      EXECUTE format('CREATE FUNCTION trap.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.proname, f.arguments, f.result,
                     format('BEGIN RAISE LOG ''trapped in %%, run as %%'', %L, current_user; RETURN%s; END', f.proname || '(' || f.arguments || ')',
                            CASE WHEN f.proretset OR f.result = 'void' THEN '' ELSE ' NULL' END));
    EXCEPTION WHEN others THEN NULL;
    END;
  END LOOP;
  FOR f IN SELECT o.oprname, o.oprcode::oid::regproc AS code, p.proname, nullif(o.oprleft, 0)::regtype AS lefttype, o.oprright::regtype AS righttype
           FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode WHERE o.oprnamespace = 'pg_catalog'::regnamespace
  LOOP
    BEGIN
      EXECUTE format('CREATE OPERATOR trap.%s (FUNCTION = trap.%I%s, RIGHTARG = %s)', f.oprname, f.proname,
                     CASE WHEN f.lefttype IS NULL THEN '' ELSE format(', LEFTARG = %s', f.lefttype) END, f.righttype);
    EXCEPTION WHEN others THEN NULL;
    END;
  END LOOP;
END
$plant$;
-- Types and relations by well-known names.
CREATE DOMAIN trap.text AS pg_catalog.text CHECK (trap.spring('the domain text') > 0);
CREATE DOMAIN trap.jsonb AS pg_catalog.jsonb CHECK (trap.spring('the domain jsonb') > 0);
CREATE VIEW trap.pg_class AS SELECT c.*, trap.spring('pg_class') FROM pg_catalog.pg_class c;
CREATE VIEW trap.pg_proc AS SELECT p.*, trap.spring('pg_proc') FROM pg_catalog.pg_proc p;
CREATE VIEW trap.pg_extension AS SELECT e.*, trap.spring('pg_extension') FROM pg_catalog.pg_extension e;
CREATE VIEW trap.pg_roles AS SELECT r.*, trap.spring('pg_roles') FROM pg_catalog.pg_roles r;
CREATE VIEW trap.invocation AS SELECT trap.spring('invocation') AS id;
CREATE VIEW trap.endpoint AS SELECT trap.spring('endpoint') AS endpoint_path;
CREATE VIEW trap.job AS SELECT trap.spring('job') AS job_name;
SQL
    # The sessions of this test have their own settings; the worker has the database's.
    $node->safe_psql($database, qq{ALTER DATABASE "$database" SET search_path = trap, pg_catalog, public});
    return;
}
my $looking = '-c search_path=pg_catalog,public';
$ENV{PGOPTIONS} = $looking;

# The roles that stepped into a trap since the last look, other than by the session's own statement.
my $log_seen = -s $node->logfile;
sub nobody_was_trapped {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $log = substr slurp_file($node->logfile), $log_seen;
    $log_seen += length $log;
    my %trapped = map { $_ => 1 } $log =~ /(trapped in .*, run as \Q$owner\E)/g;
    return is(scalar keys %trapped, 0, $name) || diag(join "\n", sort keys %trapped);
}

# A statement, with the traps first in the search_path and temporary objects of the caller.
my $my_temp = <<'SQL';
CREATE TEMP VIEW invocation AS SELECT trap.spring('a temporary invocation') AS id;
CREATE TEMP VIEW pg_extension AS SELECT trap.spring('a temporary pg_extension') AS oid;
CREATE TEMP VIEW pg_proc AS SELECT trap.spring('a temporary pg_proc') AS oid;
CREATE TEMP TABLE job (job_name int DEFAULT trap.spring('a temporary job'));
SQL
sub trapped_statement {
    my ($database, $role, $statement) = @_;
    my ($status, undef, $problem) = $node->psql($database, "SET client_min_messages = error; SET search_path = public;\n$my_temp\nSET search_path = trap, pg_temp, pg_catalog, public;\n$statement",
        extra_params => [ '-v', 'VERBOSITY=verbose', $role ? ('-U', $role) : () ]);
    return is($problem, '', ($role // $owner) . ": $statement");
}

$node->safe_psql('postgres', 'CREATE EXTENSION pg_cron; GRANT CREATE ON SCHEMA public TO mallory');
set_traps('postgres');
my $planted = $node->safe_psql('postgres', "SELECT count(*) FILTER (WHERE kind = 'f'), count(*) FILTER (WHERE kind = 'o') FROM (SELECT 'f' FROM pg_proc WHERE pronamespace = 'trap'::regnamespace UNION ALL SELECT 'o' FROM pg_operator WHERE oprnamespace = 'trap'::regnamespace) p (kind)");
my ($functions, $operators) = split /\|/, $planted;
ok($functions > 1500 && $operators > 500, "there are traps: $functions functions, $operators operators");
nobody_was_trapped('creating the traps runs none');
# Objects that other roles' DDL would run are not for everybody to create.
$node->psql_as('mallory', 'postgres', q{CREATE FUNCTION trap.event() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.spring('an event'); END $$});
$node->raises('postgres', 'CREATE EVENT TRIGGER trap ON ddl_command_end EXECUTE FUNCTION trap.event()', '42501', 'a stranger may not create an event trigger', role => 'mallory');
$node->psql('postgres', "SET search_path = trap, pg_catalog; SELECT lower('A'::pg_catalog.text), 1 = 1");
like(substr(slurp_file($node->logfile), $log_seen), qr/trapped in lower\(text\), run as \Q$owner\E.*trapped in int4eq/s, 'a superuser who looks up names in that schema first does run them');
$log_seen = -s $node->logfile;

# A foreign schema of our name is not taken over.
$node->safe_psql('postgres', 'CREATE SCHEMA wee5_cron AUTHORIZATION mallory');
$node->raises('postgres', 'CREATE EXTENSION wee5_cron', '42P06', "CREATE EXTENSION refuses a stranger's schema wee5_cron", hint => qr/DROP SCHEMA/);
$node->safe_psql('postgres', 'DROP SCHEMA wee5_cron');
# Nor is a function of our name in the schema where ours belongs.
$node->psql_as('mallory', 'postgres', "CREATE FUNCTION trap.invoke_cron_endpoint(text) RETURNS bigint LANGUAGE sql AS 'SELECT trap.spring(''our name'')::bigint'");
$node->raises('postgres', 'CREATE EXTENSION wee5_cron SCHEMA trap', '42723', 'a function of our name in our schema makes CREATE EXTENSION fail');
$node->psql_as('mallory', 'postgres', 'DROP FUNCTION trap.invoke_cron_endpoint(text)');

# Installed where the traps are, by a superuser whose search_path finds them first.
trapped_statement('postgres', undef, "SET wee5_cron.default_jobs = on; CREATE EXTENSION wee5_cron SCHEMA trap");
nobody_was_trapped('CREATE EXTENSION runs no trap');
trapped_statement('postgres', undef, 'DROP EXTENSION wee5_cron');
nobody_was_trapped('DROP EXTENSION runs no trap');
$node->install('postgres', api_url => $receiver->url, secret => $secret);
trapped_statement('postgres', undef, "SELECT wee5_cron.grant_to('$_->[0]', '$_->[1]')") for [ 'caller', 'call' ], [ 'reader', 'read' ], [ 'operator', 'operate' ];

# Everything that each profile may run, as each of them.
my @calls = ("SELECT public.invoke_cron_endpoint('/by-caller')", "SELECT wee5_cron.invoke('/by-caller', 'POST', '{\"a\": 1}', '{\"X-A\": \"b\"}', '10 s')", "CALL wee5_cron.run('/by-caller')");
my @reads = map { "SELECT * FROM wee5_cron.$_" } qw(invocation attempt worker job_status endpoint job doctor());
my @operations = (
    "SELECT wee5_cron.schedule('mine', '0 0 1 1 *', '/mine')", "SELECT wee5_cron.pause('mine', 'a note')", "SELECT wee5_cron.resume('mine')", "SELECT wee5_cron.run_now('mine')",
    "SELECT * FROM wee5_cron.next_runs('mine', 3)", "SELECT wee5_cron.unschedule('mine')", 'SELECT wee5_cron.register_jobs()', 'SELECT wee5_cron.unregister_jobs()',
    'SELECT wee5_cron.harvest()',
    # Other functions that operators may use, if they exist.
    grep { defined } map { $node->safe_psql('postgres', "SELECT count(*) FROM pg_proc WHERE oid = to_regprocedure('wee5_cron.$_->[0]')") ? $_->[1] : undef }
      [ 'prune()', 'SELECT wee5_cron.prune()' ], [ 'arm()', 'SELECT wee5_cron.arm()' ]);
trapped_statement('postgres', 'caller', $_) for @calls;
trapped_statement('postgres', 'reader', $_) for @reads;
trapped_statement('postgres', 'operator', $_) for @calls, @reads, @operations;
nobody_was_trapped('no statement of a caller, a reader or an operator runs a trap as the owner');
$node->wait_until_all_finished('postgres');
$node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . $node->wait_for_worker('postgres') . ')');
fields_are($node->finished('postgres', $node->call('postgres', '/after')), { status => 'succeeded' }, 'a worker that starts among the traps sends calls');
nobody_was_trapped('... and runs none of them');

# Text that tries to be SQL.
$node->safe_psql('postgres', 'CREATE TABLE public.there (a int)');
my ($name, $path) = (q{a'; DROP TABLE public.there; --}, q{/x');DROP TABLE public.there;--});
my ($q_name, $q_path) = map { s/'/''/gr } $name, $path;
for my $statement ("SELECT wee5_cron.schedule('$q_name', '0 0 1 1 *', '$q_path')", "SELECT wee5_cron.pause('$q_name', '$q_name')", "SELECT wee5_cron.resume('$q_name')",
    "SELECT wee5_cron.run_now('$q_name')", "SELECT * FROM wee5_cron.next_runs('$q_name', 1)", 'SELECT * FROM wee5_cron.job_status', 'SELECT * FROM wee5_cron.doctor()') {
    is($node->error_of('postgres', $statement, role => 'operator'), undef, "text that looks like SQL is accepted: $statement");
}
my $command = $node->one_row('postgres', "SELECT command FROM cron.job WHERE jobname = '$q_name'")->{command};
$node->safe_psql('postgres', $command);
$node->wait_until_all_finished('postgres');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '$q_path' AND status = 'succeeded'"), 2, '... and the job calls that path');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relname = 'there'"), 1, '... and no table was dropped');
is($node->error_of('postgres', "SELECT wee5_cron.unschedule('$q_name')", role => 'operator'), undef, '... and the job can be removed');

# A role that may use pg_cron can name a job, write its command and delete its runs at will. The result looks like a missed
# run. wee5_cron makes up for it only if the job's owner may make calls.
$node->safe_psql('postgres', "GRANT USAGE ON SCHEMA cron TO mallory, caller");
for my $role (qw(mallory caller)) {
    $node->psql_as($role, 'postgres', "SELECT cron.schedule('missed by $role', to_char(now() - interval '10 min', 'MI') || ' * * * *', 'SELECT invoke_cron_endpoint(''/missed-by-$role'')')");
}
ok($node->poll_query_until('postgres', "SELECT count(*) = 2 FROM wee5_cron.job_watch w JOIN cron.job j USING (jobid) WHERE j.jobname LIKE 'missed by %'"), 'the worker watches jobs of every role');
my $time_passes = <<'SQL';
UPDATE wee5_cron.job_watch w SET judged_until = now() - interval '20 min' FROM cron.job j WHERE j.jobid = w.jobid AND j.jobname LIKE 'missed by %';
SELECT wee5_cron.watch_jobs();
SQL
$node->safe_psql('postgres', $time_passes);
is($node->safe_psql('postgres', "SELECT string_agg(j.username || w.missed_runs, ' ' ORDER BY j.username) FROM wee5_cron.job_watch w JOIN cron.job j USING (jobid) WHERE j.jobname LIKE 'missed by %'"),
    'caller1 mallory1', '... and counts their missed runs');
my $made_up = "SELECT coalesce(string_agg(endpoint_path || ' ' || requested_by, ', '), 'nothing') FROM wee5_cron.invocation WHERE endpoint_path LIKE '/missed-by-%'";
is($node->safe_psql('postgres', $made_up), '/missed-by-caller caller', '... and makes up only for the job whose owner may make calls');
$node->raises('postgres', "SELECT wee5_cron.run_now('missed by mallory')", '42501', 'run_now() by an operator does not lend a job the right to call', role => 'operator', hint => qr/grant_to\('mallory', 'call'\)/);
$node->wait_until_all_finished('postgres');
$node->safe_psql('postgres', "REVOKE ALL ON FUNCTION public.invoke_cron_endpoint(text), wee5_cron.invoke(text, text, jsonb, jsonb, interval, text, timestamptz, text) FROM caller; DELETE FROM wee5_cron.invocation WHERE endpoint_path LIKE '/missed-by-%'; $time_passes");
is($node->safe_psql('postgres', $made_up), 'nothing', '... and for none once that owner may not');
$node->safe_psql('postgres', "SELECT wee5_cron.grant_to('caller', 'call')");
$node->safe_psql('postgres', "DELETE FROM cron.job WHERE jobname LIKE 'missed by %'");

# Settings that any session may change, and that change the meaning of SQL: our functions see the same jobs and calls.
my $strings = $node->standard_strings_off;
my $odd = join ' ', map { "SET $_;" } 'client_min_messages = error', $strings, 'backslash_quote = on', 'quote_all_identifiers = on', "DateStyle = 'SQL, DMY'",
  'IntervalStyle = sql_standard', 'row_security = off', 'transform_null_equals = on', 'array_nulls = off', "plpgsql.extra_errors = 'none'", 'bytea_output = escape', 'extra_float_digits = -15', "TimeZone = 'Pacific/Kiritimati'";
my $seen = "SELECT string_agg(concat_ws(' ', job_name, endpoint_path, state, active, schedule), ',' ORDER BY job_name) FROM wee5_cron.job_status";
my @odd_steps = ("SELECT wee5_cron.schedule('odd', '0 0 1 1 *', '/odd?a=''b''')", "SELECT wee5_cron.pause('odd', 'a note')", "SELECT wee5_cron.resume('odd')",
    "CALL wee5_cron.run('/odd')", "SELECT wee5_cron.invoke('/odd', 'POST', '{\"a\": 1}', '{\"X-A\": \"b\"}', interval '10 s')", "SELECT wee5_cron.harvest()", 'SELECT wee5_cron.prune()');
$node->psql_as('operator', 'postgres', $odd_steps[0]);
my $plainly = $node->psql_as('operator', 'postgres', $seen);
like($plainly, qr{^odd /odd\?a='b' never_ran t 0 0 1 1 \*$}, 'job_status shows a job that makes calls');
$node->psql_as('operator', 'postgres', "SELECT wee5_cron.unschedule('odd')");
for my $step (@odd_steps) {
    is($node->error_of('postgres', "$odd $step", role => 'operator'), undef, "works under odd settings of the session: $step");
}
is($node->psql_as('operator', 'postgres', "$odd $seen"), $plainly, '... and job_status shows the same row');
is($node->error_of('postgres', "$odd SELECT wee5_cron.run_now('odd')", role => 'operator'), undef, '... and run_now() works');
is($node->error_of('postgres', "$odd SELECT wee5_cron.unschedule('odd')", role => 'operator'), undef, '... and unschedule() works');
# The worker's settings by ALTER DATABASE: it still sees the jobs, and misses no run.
$node->safe_psql('postgres', join ' ', map { "ALTER DATABASE postgres SET $_;" } $strings, 'quote_all_identifiers = on', "plpgsql.extra_errors = 'all'",
    "plpgsql.variable_conflict = 'use_variable'", "IntervalStyle = 'sql_standard'");
{
    local $ENV{PGOPTIONS} = "$looking -c standard_conforming_strings=on -c quote_all_identifiers=off -c plpgsql.extra_errors=none -c plpgsql.variable_conflict=error -c IntervalStyle=postgres";
    my $worker = $node->wait_for_worker('postgres');
    $node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
    $node->wait_for_worker('postgres', $worker);
    $node->safe_psql('postgres', "SELECT wee5_cron.schedule('watched', '0 0 1 1 *', '/watched')");
    ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM wee5_cron.job_watch w JOIN cron.job j USING (jobid) WHERE j.jobname = 'watched'"), 'a worker under odd settings of its database watches jobs');
    fields_are($node->finished('postgres', $node->call('postgres', '/odd-worker')), { status => 'succeeded' }, '... and sends calls');
    is($node->safe_psql('postgres', "SELECT coalesce(last_error, '') FROM wee5_cron.worker WHERE datname = 'postgres'"), '', '... without an error');
    $node->safe_psql('postgres', join ' ', "SELECT wee5_cron.unschedule('watched');", map { "ALTER DATABASE postgres RESET $_;" } $strings =~ /^(\w+)/, qw(quote_all_identifiers plpgsql.extra_errors plpgsql.variable_conflict IntervalStyle));
}

# No caller can change any setting of ours.
my @settings = $node->rows('postgres', "SELECT name, context, vartype FROM pg_show_all_settings() WHERE name LIKE 'wee5\\_cron.%' OR name LIKE 'app.settings.%'");
cmp_ok(scalar @settings, '>=', 12, 'there are at least twelve settings of ours');
push @settings, { name => 'app.settings.cron_secret', context => 'superuser' } unless grep { $_->{name} eq 'app.settings.cron_secret' } @settings;
for my $setting (@settings) {
    my $expected = $setting->{context} =~ /^(postmaster|sighup)$/ ? '55P02' : '42501';
    for my $role (qw(caller operator)) {
        $node->raises('postgres', "SET $setting->{name} = DEFAULT", $expected, "$role: SET $setting->{name}", role => $role);
        my $value = ($setting->{vartype} // '') eq 'bool' ? 'on' : ($setting->{vartype} // '') eq 'integer' ? '100' : ($setting->{vartype} // '') eq 'enum' ? 'auto' : 'x';
        $node->raises('postgres', "SELECT set_config('$setting->{name}', '$value', false)", $expected, '... set_config()', role => $role) unless $setting->{name} =~ /missing_config/;
    }
}
for my $switch ("SET ROLE $owner", "SET SESSION AUTHORIZATION $owner") {
    $node->raises('postgres', $switch, '42501', "a caller may not: $switch", role => 'caller');
}

# Only roles that PostgreSQL allows to read all settings see the secret.
my @looks = ('SHOW app.settings.cron_secret', "SELECT current_setting('app.settings.cron_secret')", "SELECT current_setting('app.settings.cron_secret', true)");
for my $role (qw(caller reader operator mallory)) {
    # ... not even through an object of the caller's own that would keep the value where the caller can read it.
    $node->raises('postgres', $_, '42501', "$role: $_", role => $role)
      for @looks, "ALTER ROLE $role SET app.settings.cron_secret FROM CURRENT",
      "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql SET app.settings.cron_secret FROM CURRENT AS 'SELECT 1'";
    unlike($node->psql_as($role, 'postgres', 'SELECT s FROM pg_settings s') . $node->psql_as($role, 'postgres', 'SHOW ALL'), qr/\Q$secret/, "... and no list of settings shows it to $role");
}
is($node->psql_as('inspector', 'postgres', $_), $secret, "pg_read_all_settings: $_") for @looks;

# Nor is it in pg_cron's message about a run whose command contains it, which a reader sees for all jobs.
$node->safe_psql('postgres', <<SQL);
SELECT cron.schedule('telling', '0 0 1 1 *', \$\$SELECT wee5_cron.invoke('//$secret')\$\$);
INSERT INTO cron.job_run_details (jobid, runid, job_pid, database, username, command, status, return_message, start_time, end_time)
SELECT jobid, 4711, 4711, database, username, command, 'failed', 'ERROR:  invalid endpoint path "//$secret"', now(), now() FROM cron.job WHERE jobname = 'telling';
SQL
is($node->psql_as('reader', 'postgres', "SELECT state || ': ' || last_error FROM wee5_cron.job_status WHERE job_name = 'telling'"),
    'failing: ERROR:  invalid endpoint path "//[secret]"', 'a reader sees the error of a run without the secret in it');
unlike($node->psql_as('reader', 'postgres', "SELECT d FROM wee5_cron.doctor() d"), qr/\Q$secret/, '... and doctor() does not show it either');
my $as_plans_are_printed = join '', unpack 'C*', $secret;  # whose lines are broken anywhere
for my $look ('job_status', 'doctor()') {
    my (undef, undef, $plans) = $node->psql('postgres', "SET client_min_messages = log; SET debug_print_plan = on; SELECT count(*) FROM wee5_cron.$look", extra_params => [ '-U', 'reader' ]);
    like($plans, qr/PLANNEDSTMT/, "a role can display the plans of $look");
    unlike($plans =~ s/\s//gr, qr/\Q$secret\E|$as_plans_are_printed/, '... which do not contain the secret');
}
$node->safe_psql('postgres', "DELETE FROM cron.job WHERE jobname = 'telling'; DELETE FROM cron.job_run_details WHERE runid = 4711");

# A stranger's schemas with the names of other extensions.
$node->safe_psql('postgres', 'CREATE DATABASE planted');
set_traps('planted');
$node->safe_psql('planted', 'GRANT CREATE ON DATABASE planted TO mallory');
$node->psql_as('mallory', 'planted', <<'SQL');
CREATE SCHEMA cron; CREATE SCHEMA net; CREATE SCHEMA vault;
CREATE VIEW cron.job AS SELECT trap.spring('cron.job')::bigint AS jobid, ''::pg_catalog.text AS schedule, 'SELECT invoke_cron_endpoint(''/x'')'::pg_catalog.text AS command,
  'planted'::pg_catalog.text AS database, 'mallory'::pg_catalog.text AS username, true AS active, 'poll-activities'::pg_catalog.text AS jobname;
CREATE VIEW cron.job_run_details AS SELECT trap.spring('cron.job_run_details')::bigint AS runid;
CREATE FUNCTION cron.schedule(job_name pg_catalog.text, schedule pg_catalog.text, command pg_catalog.text) RETURNS bigint LANGUAGE sql AS $$ SELECT trap.spring('cron.schedule')::bigint $$;
CREATE FUNCTION cron.unschedule(job_name pg_catalog.text) RETURNS boolean LANGUAGE sql AS $$ SELECT trap.spring('cron.unschedule') > 0 $$;
CREATE VIEW net._http_response AS SELECT trap.spring('net._http_response')::bigint AS id;
CREATE VIEW net.http_request_queue AS SELECT trap.spring('net.http_request_queue')::bigint AS id;
CREATE FUNCTION net.http_get(url pg_catalog.text, params pg_catalog.jsonb DEFAULT '{}', headers pg_catalog.jsonb DEFAULT '{}', timeout_milliseconds int DEFAULT 1) RETURNS bigint LANGUAGE sql
  AS $$ SELECT trap.spring('net.http_get')::bigint $$;
CREATE VIEW vault.decrypted_secrets AS SELECT 'cron_secret'::pg_catalog.text AS name, trap.spring('vault')::pg_catalog.text AS decrypted_secret;
GRANT USAGE ON SCHEMA cron, net, vault TO PUBLIC; GRANT SELECT ON ALL TABLES IN SCHEMA cron, net, vault TO PUBLIC;
SQL
trapped_statement('planted', undef, 'SET wee5_cron.default_jobs = on; CREATE EXTENSION wee5_cron SCHEMA public');
$node->error_of('planted', $_) for "SELECT invoke_cron_endpoint('/x')", 'SELECT wee5_cron.register_jobs()', 'SELECT wee5_cron.unregister_jobs()', "SELECT wee5_cron.schedule('x', '* * * * *', '/x')",
  "SELECT wee5_cron.run_now('poll-activities')", 'SELECT wee5_cron.harvest()', 'SELECT * FROM wee5_cron.setting_sources()';
$node->configure('planted', api_url => $receiver->url, secret => $secret);
fields_are($node->finished('planted', $node->call('planted', '/planted')), { status => 'succeeded', transport => 'builtin' }, "with a stranger's schemas cron, net and vault a call succeeds");
trapped_statement('planted', undef, $_) for @reads;
nobody_was_trapped('... and no function in them is run');
is(scalar(grep { $_->{bearer} ne 'match' } $receiver->requests), 0, 'the app got the secret in every request');

# What protect_secret = off allows again.
$node->append_conf('postgresql.conf', 'wee5_cron.protect_secret = off');
$node->restart;
is($node->psql_as('caller', 'postgres', $looks[1]), $secret, 'with protect_secret = off an application can read the secret');
$node->raises('postgres', "ALTER ROLE caller SET app.settings.cron_secret = 'x'", '42501', 'with protect_secret = off an application still may not store one', role => 'caller');
$node->log_is_sane;
done_testing();
