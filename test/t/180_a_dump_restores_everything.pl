# A dump, restored by psql or by pg_restore, brings back everything and nothing else: rows, ids, jobs, privileges.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $tmp = PostgreSQL::Test::Utils::tempdir();

# Room for pg_cron's process and our launcher, none for a worker: queued calls stay as they are while the test compares
# them.
my $stand_still = "max_worker_processes = 2\nwee5_cron.default_jobs = on\n";

my $node = Wee5Cron::Node->start_new('origin', conf => $stand_still);

# The roles of both servers. `installer` is not a superuser: as on a managed server, the script of an extension runs with a
# superuser's rights all the same. `backup` may read everything, and is not a superuser either.
my $roles = <<'SQL';
CREATE ROLE installer LOGIN; CREATE ROLE "Odd 'role" LOGIN; CREATE ROLE reader LOGIN; CREATE ROLE nobody LOGIN;
CREATE ROLE backup LOGIN BYPASSRLS;
SQL
$node->safe_psql('postgres', $roles);
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION pg_cron;
CREATE SCHEMA extensions;
-- None of these is due while this runs.
SELECT cron.schedule('users own', '0 0 1 1 *', 'SELECT 1');
CREATE FUNCTION install() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS
  $$ BEGIN CREATE EXTENSION wee5_cron SCHEMA extensions; END $$;
SET SESSION AUTHORIZATION installer;
SELECT public.install();
RESET SESSION AUTHORIZATION;
DROP FUNCTION install();
GRANT USAGE ON SCHEMA extensions TO nobody;
SELECT wee5_cron.grant_to('"Odd ''role"', 'call');
SELECT wee5_cron.grant_to('reader', 'read');
SELECT wee5_cron.grant_to('backup', 'read');
SELECT wee5_cron.expose_api(role => 'reader');
GRANT USAGE ON SCHEMA cron TO backup, installer;

-- One of ours deleted, one changed, one of a stranger in its place.
SELECT cron.unschedule(jobid) FROM cron.job WHERE jobname = 'daily-analytics';
SELECT cron.alter_job(jobid, schedule => '7 7 7 7 *') FROM cron.job WHERE jobname = 'poll-activities';
UPDATE cron.job SET schedule = '0 0 1 1 *' WHERE jobname = 'welcome-emails';

-- A ledger with a row in every status, ids with a gap, and text that has to be quoted.
SELECT setval('wee5_cron.invocation_id_seq', 1000);
INSERT INTO wee5_cron.invocation (job_name, endpoint_path, method, body, headers, transport, status, reason, error, hint,
    http_status, attempts, requested_by, scheduled_at, first_sent_at, next_attempt_at, finished_at, duration, cron_run_id,
    response_content_type, response_body, response_truncated, timeout)
SELECT CASE WHEN status = 'succeeded' THEN 'poll-activities' END, '/x?' || status || '=''\"', 'POST',
       '{"a": "\u00fc\t\\.", "b": null}', '{"X-Odd": "a\"b''c\\d"}', CASE status WHEN 'sending' THEN 'pg_net' ELSE 'builtin' END,
       status, CASE status WHEN 'failed' THEN 'http' WHEN 'skipped' THEN 'config' WHEN 'cancelled' THEN 'cancelled' END,
       E'tab\t line\n return\r back\\slash \\N \\. "quote" ''single'' $$dollar$$ \u00fc \U0001F600', '', 599, 3, 'Odd ''role',
       '2026-03-29 02:30+01', '2026-03-29 02:30:00.123456+01',
       CASE WHEN status IN ('queued', 'retrying') THEN 'infinity'::timestamptz END,
       CASE WHEN status NOT IN ('queued', 'sending', 'retrying') THEN '-infinity'::timestamptz END,
       '1 day 00:00:00.000001', 9223372036854775807, 'text/html; x="y"', E'\\.\n\\N\n--\n;', true, '00:00:00.5'
FROM unnest('{queued,sending,retrying,succeeded,failed,skipped,cancelled}'::text[]) AS status;
INSERT INTO wee5_cron.attempt
SELECT i.id, n, now(), now(), 500, 'http', E'a\\tb\n', 0.1, 1e-30, 3.4028235e38, NULL, 'NaN'
FROM wee5_cron.invocation i, generate_series(1, 3) n;
INSERT INTO cron.job_run_details (jobid, database, command, status) VALUES (1, 'postgres', 'SELECT 1', 'succeeded');
-- Policies, one of them of everything.
INSERT INTO wee5_cron.endpoint (endpoint_path) VALUES ('/defaults');
INSERT INTO wee5_cron.endpoint VALUES ('/all?of=it''s', 'POST', '{"a": "\\"}', '{"X-Odd": "a\"b''c\\d"}', '00:00:00.5', 7, 'transient',
  '{1s,"1 mon 2 days"}', '1 day', 'skip', 9, E'tab\t \\N line\n');
-- One of our name that came later. CREATE EXTENSION would refuse it, if a dump had it first.
CREATE FUNCTION public.invoke_cron_endpoint(text) RETURNS void LANGUAGE sql AS '';
-- What no dump carries.
INSERT INTO wee5_cron.pg_net_request SELECT id, id FROM wee5_cron.invocation WHERE transport = 'pg_net';
INSERT INTO wee5_cron.cron_caller SELECT id, 1 FROM wee5_cron.invocation;
SQL

# Every table that a dump of the extension carries, its rows as text, and every sequence, its next value. The list comes
# from the catalog, so that it includes new tables. And everything else that has to stay the same.
sub state_of {
    my ($server, $database) = @_;
    my %state;
    for my $relation ($server->rows($database, <<'SQL')) {
SELECT c.oid::regclass AS name, c.relkind AS kind
FROM pg_extension e CROSS JOIN unnest(e.extconfig) AS t JOIN pg_class c ON c.oid = t WHERE e.extname IN ('wee5_cron', 'pg_cron')
SQL
        my ($name, $kind) = @$relation{qw(name kind)};
        $state{$name} = $server->safe_psql($database, $kind eq 'S'
            ? "SELECT last_value, is_called FROM $name"
            : "SELECT t FROM (SELECT to_jsonb(r)::text AS t FROM $name r) q ORDER BY t COLLATE \"C\"");
    }
    # Which role has which privilege, whoever granted it.
    $state{privileges} = $server->safe_psql($database, <<'SQL');
SELECT what, CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END, string_agg(a.privilege_type, ',' ORDER BY a.privilege_type)
FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
CROSS JOIN LATERAL pg_describe_object(d.classid, d.objid, 0) AS what
CROSS JOIN LATERAL (
  SELECT relacl FROM pg_class WHERE d.classid = 'pg_class'::regclass AND oid = d.objid
  UNION ALL SELECT proacl FROM pg_proc WHERE d.classid = 'pg_proc'::regclass AND oid = d.objid
  UNION ALL SELECT nspacl FROM pg_namespace WHERE d.classid = 'pg_namespace'::regclass AND oid = d.objid) AS o (acl)
CROSS JOIN LATERAL aclexplode(o.acl) a
WHERE e.extname = 'wee5_cron' AND a.grantee <> 10
GROUP BY 1, 2 ORDER BY 1, 2
SQL
    $state{'what expose_api() created'} = $server->safe_psql($database, <<'SQL');
SELECT p.oid::regprocedure::text, md5(pg_get_functiondef(p.oid)), array(SELECT a.grantee::regrole::text FROM aclexplode(p.proacl) a WHERE a.grantee <> p.proowner), array(SELECT a.grantee::regrole::text FROM aclexplode(n.nspacl) a WHERE a.grantee <> n.nspowner)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'wee5_cron_public' ORDER BY 1
SQL
    $state{'privileges on the schema of invoke_cron_endpoint'} = $server->safe_psql($database,
        "SELECT rolname, has_schema_privilege(oid, 'extensions', 'USAGE') FROM pg_roles WHERE rolname IN ('installer', 'reader', 'nobody') ORDER BY 1");
    return \%state;
}

sub same_state {
    my ($server, $database, $expected, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return is_deeply(state_of($server, $database), $expected, $name);
}

# The rows of the tables and sequences whose names match.
sub rows_are {
    my ($server, $of, $expected, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $state = state_of($server, 'postgres');
    my @tables = grep { $_ =~ $of } keys %$expected;
    return is_deeply({ map { $_ => $state->{$_} } @tables }, { map { $_ => $expected->{$_} } @tables }, $name);
}
my $all_tables = qr/^(?:wee5_cron|cron)\./;
my $our_tables = qr/^wee5_cron\./;

my $before = state_of($node, 'postgres');
is_deeply([ grep { $before->{$_} eq '' } keys %$before ], [], 'every table that a dump includes has a row (a new table needs rows above)');
is(scalar(() = $before->{'wee5_cron.invocation'} =~ /^/mg), 7, '... and the ledger has a call in every status');
like($before->{privileges}, qr/^function wee5_cron\.register_jobs\(boolean\)\|installer\|EXECUTE$/m, '... and the role that installed the extension may operate it');

# The dumps. A role that may only read makes one of them.
my %dump = (
    plain     => [qw(-Fp)],
    inserts   => [qw(-Fp --column-inserts)],
    custom    => [qw(-Fc)],
    directory => [qw(-Fd -j 2)],
);
for my $format (sort keys %dump) {
    command_ok([ 'pg_dump', @{ $dump{$format} }, '-f', "$tmp/$format", $node->connstr('postgres') ], "pg_dump, $format, succeeds");
}
command_ok([ qw(pg_dump -U backup -f), "$tmp/backup", $node->connstr('postgres') ], 'pg_dump by a role that may only read succeeds');
my ($plain, $by_backup) = map { slurp_file("$tmp/$_") =~ s/^\\(?:un)?restrict .*\n//mgr } qw(plain backup);  # a key of its own in each
ok($by_backup eq $plain, '... and its dump is identical');
ok($plain !~ /pg_net_request|cron_caller|(?:COPY|INSERT INTO) wee5_cron\.armed/, 'no dump contains the rows that belong to this server alone');
ok($plain !~ /^CREATE (?!EXTENSION)(?!\w+ wee5_cron_public\b).*wee5_cron/m, 'no dump contains what CREATE EXTENSION creates');

sub empty_database {
    my ($server) = @_;
    $server->safe_psql('template1', 'DROP DATABASE postgres WITH (FORCE)');
    $server->safe_psql('template1', 'CREATE DATABASE postgres TEMPLATE template0');
    return;
}

# One server, emptied each time.
my $other = Wee5Cron::Node->start_new('other', conf => $stand_still);
$other->safe_psql('postgres', $roles);

my %restore = (
    'psql'                            => [ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-f', "$tmp/plain" ],
    'psql in one transaction'         => [ 'psql', '-X', '-1', '-v', 'ON_ERROR_STOP=1', '-f', "$tmp/plain" ],
    'psql, rows as INSERT'            => [ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-f', "$tmp/inserts" ],
    'pg_restore'                      => [ 'pg_restore', "$tmp/custom" ],
    'pg_restore in one transaction'   => [ 'pg_restore', '--single-transaction', "$tmp/custom" ],
    'pg_restore, two at once'         => [ 'pg_restore', '-j', '2', "$tmp/directory" ],
);
my $restored = sub {
    my ($name) = @_;
    my ($program, @arguments) = @{ $restore{$name} };
    return command_checks_all([ $program, '-d', $other->connstr('postgres'), @arguments ], 0, [qr//], [qr/\A\z/], $name);
};
for my $name (sort keys %restore) {
    empty_database($other);
    $restored->($name);
    same_state($other, 'postgres', $before, "$name: everything is restored as it was");
}

# The restored database goes on from there.
is($other->safe_psql('postgres', 'SELECT count(*) FROM wee5_cron.pg_net_request, wee5_cron.cron_caller'), 0, 'the restored database has no rows that belonged to the old server alone');
is($other->safe_psql('postgres', "SELECT nextval('wee5_cron.invocation_id_seq')"), 1008, 'the next id after a restore follows the last one');
is($other->safe_psql('postgres', 'SELECT min(id), max(id) FROM wee5_cron.invocation'), '1001|1007', 'the restored ids are unchanged');
my $jobid = $other->safe_psql('postgres', "SELECT cron.schedule('later', '0 0 1 1 *', 'SELECT 2')");
is($other->safe_psql('postgres', "SELECT count(*) FROM cron.job WHERE jobid >= $jobid"), 1, "pg_cron's next job id follows its last one, too");
$other->psql_as('installer', 'postgres', 'SELECT wee5_cron.register_jobs()');
my $jobs = "SELECT string_agg(jobname, ', ' ORDER BY jobname) FROM cron.job";
is($other->safe_psql('postgres', $jobs), 'later, poll-activities, users own, welcome-emails', 'register_jobs() does not bring back the deleted job');
is($other->safe_psql('postgres', "BEGIN; SELECT wee5_cron.unregister_jobs(); $jobs; ROLLBACK"), "2\nlater, users own",
    'unregister_jobs() removes our jobs and no others');
$other->safe_psql('postgres', 'DROP EXTENSION wee5_cron');
is($other->safe_psql('postgres', $jobs), 'later, users own', 'DROP EXTENSION removes the remaining job of ours');

# Over an existing installation: --clean.
empty_database($other);
$restored->('pg_restore');
$other->safe_psql('postgres', "SELECT cron.schedule('later', '0 0 1 1 *', 'SELECT 2'); DELETE FROM wee5_cron.attempt; SELECT nextval('wee5_cron.invocation_id_seq')");
command_checks_all([ qw(pg_restore --clean --if-exists -d), $other->connstr('postgres'), "$tmp/custom" ], 0, [qr//], [qr/\A\z/],
    'pg_restore --clean over a database with the same contents succeeds');
same_state($other, 'postgres', $before, '... and restores everything as it was');

# Only the rows, into an extension that exists and has no rows.
empty_database($other);
$other->safe_psql('postgres', "CREATE EXTENSION pg_cron; CREATE SCHEMA extensions; SET wee5_cron.default_jobs = off; CREATE EXTENSION wee5_cron SCHEMA extensions");
command_ok([ qw(pg_dump --data-only -f), "$tmp/data", $node->connstr('postgres') ], 'pg_dump --data-only succeeds');
ok(slurp_file("$tmp/data") !~ /pg_net_request|cron_caller|(?:COPY|INSERT INTO) wee5_cron\.armed/, '... without the rows that belong to this server alone');
command_checks_all([ qw(psql -X -v ON_ERROR_STOP=1 -d), $other->connstr('postgres'), '-f', "$tmp/data" ], 0, [qr//], [qr/\A\z/], '... restored');
rows_are($other, $all_tables, $before, '... and every row is restored');

# Our objects alone, with the extension or into an existing one. (-n dumps neither the extension nor its rows without -e:
# that is pg_dump's rule for all extensions.)
my %ours = ('-n with -e' => [qw(-n wee5_cron -e wee5_cron)], '-t' => [qw(--data-only -t wee5_cron.*)]);
for my $choice (sort keys %ours) {
    command_ok([ 'pg_dump', @{ $ours{$choice} }, '-f', "$tmp/ours", $node->connstr('postgres') ], "pg_dump $choice succeeds");
    ok(slurp_file("$tmp/ours") !~ /pg_net_request|cron_caller|(?:COPY|INSERT INTO) wee5_cron\.armed/, '... without the rows that belong to this server alone');
    empty_database($other);
    $other->safe_psql('postgres', 'CREATE EXTENSION pg_cron; CREATE SCHEMA extensions');
    $other->safe_psql('postgres', 'SET wee5_cron.default_jobs = off; CREATE EXTENSION wee5_cron SCHEMA extensions') if $choice eq '-t';
    command_checks_all([ qw(psql -X -v ON_ERROR_STOP=1 -d), $other->connstr('postgres'), '-f', "$tmp/ours" ], 0, [qr//], [qr/\A\z/], '... restored');
    rows_are($other, $our_tables, $before, '... and our rows are restored');
    is($other->safe_psql('postgres', 'SELECT count(*) FROM cron.job'), 0, '... and pg_cron has no job');
}

# Into a server without these roles: their privileges cannot be restored, all rows are.
my $strange = Wee5Cron::Node->start_new('strange', conf => $stand_still);
command_checks_all([ qw(pg_restore -d), $strange->connstr('postgres'), "$tmp/custom" ], 1, [qr//],
    [qr/role "installer" does not exist/], 'pg_restore on a server without the roles names those it could not grant to');
rows_are($strange, $all_tables, $before, '... and restores every row');
empty_database($strange);
command_checks_all([ qw(pg_restore --no-acl --exit-on-error -d), $strange->connstr('postgres'), "$tmp/custom" ], 0, [qr//], [qr/\A\z/],
    'pg_restore --no-acl on such a server reports no error');

$_->log_is_sane($_->name . ': the log records no crash') for $node, $other, $strange;
done_testing();
