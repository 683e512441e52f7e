# What administrators do to tables, roles and owners for their own reasons: calls are sent, or the worker and doctor() name the
# obstacle. Once it is removed, the waiting calls are sent once.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Doctor;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret of this test');
my $node     = Wee5Cron::Node->start_new('main', conf => 'max_connections = 12');
$node->safe_psql('postgres', 'CREATE DATABASE app; CREATE EXTENSION pg_cron');
my %owner = (postgres => 'admin', app => 'keeper');
for my $database (qw(postgres app)) {
    $node->configure($database, api_url => $receiver->url, secret => 'the secret of this test');
    $node->safe_psql('postgres', "CREATE ROLE $owner{$database} SUPERUSER LOGIN");
    $node->psql_as($owner{$database}, $database, 'CREATE EXTENSION wee5_cron');
}
sub sql { return $node->safe_psql('app', $_[0]) }

# The one check of doctor() that looks at the tables.
sub table_line {
    my ($status, $detail, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @lines = $node->rows('app', 'SELECT * FROM wee5_cron.doctor_tables()');
    my ($line) = grep { $_->{status} eq $status && $_->{detail} =~ $detail } @lines;
    ok($line, $name) or diag(join "\n", map { "$_->{status}: $_->{detail}" } @lines);
    return $line ? $line->{hint} : '';
}

my $calls = 0;
sub path { return '/status/200?n=' . ++$calls }
sub heard { my ($path) = @_; return scalar(grep { $_->{url} eq $path } $receiver->requests) }

sub goes_on {
    my ($id, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $row = $node->finished('app', $id);
    fields_are($row, { status => 'succeeded', attempts => 1 }, $name);
    is(heard($row->{endpoint_path}), 1, '... and the app got its request once');
    return;
}

# --- while calls flow ----------------------------------------------------------------------------------------------
# To a receiver of their own: the test reads the records of the other one again and again.
my $flow = Wee5Cron::Receiver->start(secret => 'the secret of this test');
$node->configure('app', api_url => $flow->url);
my $tablespace = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', "CREATE TABLESPACE other LOCATION '$tablespace'");
my $session = $node->background_psql('app');
$session->{stdin} .= <<'SQL';
DO $$ BEGIN
  LOOP
    PERFORM public.invoke_cron_endpoint('/status/200?flow=' || nextval('public.flow')); COMMIT;
    EXIT WHEN EXISTS (SELECT FROM public.enough); COMMIT;
    PERFORM pg_sleep(0.02);
  END LOOP;
END $$;
\echo flowed
SQL
sql('CREATE SEQUENCE public.flow; CREATE TABLE public.enough (it int)');
$session->{run}->pump_nb;
$flow->wait_for_requests('/status/200');
for my $act ('VACUUM (FULL)', 'CLUSTER wee5_cron.invocation USING invocation_pkey', 'REINDEX SCHEMA CONCURRENTLY wee5_cron', 'REINDEX SCHEMA wee5_cron',
    'ALTER TABLE wee5_cron.invocation SET UNLOGGED', 'ALTER TABLE wee5_cron.invocation SET LOGGED', 'ALTER TABLE wee5_cron.attempt SET TABLESPACE other',
    'ALTER TABLE wee5_cron.invocation SET TABLESPACE other', 'ALTER INDEX ALL IN TABLESPACE pg_default SET TABLESPACE other',
    'ALTER TABLE wee5_cron.invocation SET (autovacuum_enabled = off, fillfactor = 10)', 'ANALYZE', 'VACUUM (FREEZE)',
    'BEGIN; ALTER SCHEMA public RENAME TO before; ALTER SCHEMA before RENAME TO public; COMMIT', 'DISCARD ALL',
    'ALTER ROLE keeper RENAME TO other_keeper; ALTER ROLE other_keeper RENAME TO keeper', 'ALTER ROLE keeper NOLOGIN CONNECTION LIMIT 0',
    'REVOKE ALL ON DATABASE app FROM PUBLIC', 'ALTER DATABASE app CONNECTION LIMIT 100', 'ALTER TABLE wee5_cron.invocation CLUSTER ON invocation_pkey',
    q{ALTER TABLE wee5_cron.invocation ADD noted text DEFAULT 'x'}, 'CREATE STATISTICS wee5_cron.s ON status, reason FROM wee5_cron.invocation')
{
    my $before = sql('SELECT count(*) FROM wee5_cron.invocation WHERE finished_at IS NOT NULL');
    my ($status, $stdout, $stderr) = $node->psql('app', $act);
    is($status, 0, $act) or diag($stderr);
    $node->poll_query_until('app', "SELECT count(*) > $before FROM wee5_cron.invocation WHERE finished_at IS NOT NULL") or fail("$act: calls do not go on");
}
sql('INSERT INTO public.enough VALUES (1)');
$session->query('SELECT 1');
$session->quit;
$node->wait_until_all_finished('app');
is(sql(q{SELECT count(*) FROM wee5_cron.invocation WHERE status <> 'succeeded' OR attempts <> 1}), 0, 'every call of the flow succeeded at its first attempt');
{
    my %heard;
    $heard{ $_->{headers}{'idempotency-key'} }++ for $flow->requests('/status/200');
    is(scalar(keys %heard), sql('SELECT count(*) FROM wee5_cron.invocation'), '... and the app got each call');
    is(scalar(grep { $_ > 1 } values %heard), 0, '... once');
}
$flow->stop;
$node->configure('app', api_url => $receiver->url);
$node->safe_psql('postgres', 'ALTER ROLE keeper LOGIN CONNECTION LIMIT -1; GRANT CONNECT ON DATABASE app TO PUBLIC');
sql('ALTER TABLE wee5_cron.invocation DROP noted');

# --- callers that go away ------------------------------------------------------------------------------------------
$node->safe_psql('postgres', 'CREATE ROLE gone LOGIN; CREATE ROLE renamed LOGIN');
sql("SELECT wee5_cron.grant_to('$_', 'call')") for qw(gone renamed);
sql(q{INSERT INTO wee5_cron.endpoint (endpoint_path, retry_on, retry_delays) SELECT '/statuses/503,200?' || r, 'transient', '{3s}' FROM unnest(array['gone', 'renamed']) r});
my %id = map { $_ => $node->psql_as($_, 'app', "SELECT invoke_cron_endpoint('/statuses/503,200?$_')") } qw(gone renamed);
$node->invocation_when('app', $id{$_}, q{status IN ('retrying', 'succeeded')}) for qw(gone renamed);
sql('DROP OWNED BY gone; DROP ROLE gone; ALTER ROLE renamed RENAME TO somebody');
fields_are($node->finished('app', $id{$_}), { status => 'succeeded', requested_by => $_ }, "the call of a role that is now $_ succeeds") for qw(gone renamed);

# --- an owner who is superuser no more ------------------------------------------------------------------------------
$node->safe_psql('postgres', "SELECT wee5_cron.schedule('job', '0 0 1 1 *', '/status/200?job')");
my $doctor = Wee5Cron::Doctor->new($node, 'postgres');
$doctor->green('pg_cron_readable', 'a superuser owns the extension', qr/sees every job/);
$node->safe_psql('postgres', 'ALTER ROLE admin NOSUPERUSER; ALTER ROLE keeper NOSUPERUSER');
fields_are($node->finished('postgres', $node->call('postgres', path())), { status => 'succeeded' }, 'after the owner lost superuser calls succeed');
$doctor->red_then_green('pg_cron_readable', 'error', qr/"admin" does not see every job of pg_cron/, 'an owner who cannot see every job');
$doctor->red_then_green('pg_cron_launcher', 'warning', qr/"admin" may not see whether pg_cron's launcher runs/, "an owner who cannot see pg_cron's launcher");
is(join("\n", grep { /the check failed/ } $doctor->complaints), '', '... and after both hints no check fails');
$doctor->green('pg_cron_loaded', "an owner who may read pg_cron's settings");
fields_are($node->finished('postgres', $node->safe_psql('postgres', "SELECT wee5_cron.run_now('job')")), { status => 'succeeded', job_name => 'job' }, "... and a job's call has its name");
my ($watch) = $node->rows('postgres', 'SELECT state, last_error FROM wee5_cron.worker');
fields_are($watch, { last_error => undef }, '... and the worker has no error');
$node->raises('postgres', q{SET SESSION AUTHORIZATION admin; SELECT wee5_cron.server_setting('app.settings.cron_secret')}, '42501', 'server_setting() shows the owner no other setting of superusers');
is($node->safe_psql('postgres', q{SET cron.unknown = '1'; SELECT wee5_cron.server_setting('cron.unknown') IS NULL}), 't', 'server_setting() ignores a cron setting that any role may SET');

# --- row security, which applies to that owner if it is forced -----------------------------------------------------
my @tables = split /\n/, sql('SELECT DISTINCT table_name FROM wee5_cron.table_layout() ORDER BY 1');
cmp_ok(scalar(@tables), '>', 10, 'the extension has more than ten tables');
for my $table (@tables) {
    my $path = path();
    my $id = sql("BEGIN; SELECT invoke_cron_endpoint('$path'); ALTER TABLE wee5_cron.$table ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; COMMIT");
    $node->poll_query_until('app', "SELECT (SELECT state = 'blocked' AND last_error LIKE '%$table%' FROM wee5_cron.worker WHERE datname = 'app')"
          . " OR EXISTS (SELECT FROM wee5_cron.invocation WHERE id = $id AND status = 'succeeded')")
      or fail("row security on $table: the call is neither sent, nor does the worker say why");
    my $hint = table_line('error', qr/row-level security applies to the owner of wee5_cron on wee5_cron\.$table\b/, "row security forced on $table: doctor() reports it");
    $doctor->paste($hint, '... and the hint runs as SQL', in => 'app');
    goes_on($id, '... and after it the call succeeds');
    sql("ALTER TABLE wee5_cron.$table DISABLE ROW LEVEL SECURITY");
}

# --- a new owner for some objects, as a loop over pg_class or pg_proc gives it ------------------------------------------
$node->safe_psql('postgres', 'CREATE ROLE stranger');
sql('ALTER TABLE wee5_cron.invocation OWNER TO stranger');
$node->raises('app', q{SELECT invoke_cron_endpoint('/refused')}, '42501', 'after the ledger got another owner, a call is refused');
$doctor->paste(table_line('error', $_->[0], "... and doctor() reports $_->[1]"), '... and the hint runs as SQL', in => 'app')
  for [ qr/^the owner of wee5_cron may not read and write wee5_cron\.invocation$/, 'the table' ],
  [ qr/^the owner of wee5_cron may not use the sequence wee5_cron\.invocation_id_seq$/, 'the sequence of the ids' ];
goes_on($node->call('app', path()), '... and after both hints a call succeeds');
sql('ALTER TABLE wee5_cron.invocation OWNER TO keeper');
{
    my $at_app = Wee5Cron::Doctor->new($node, 'app');
    for my $functions ('public.invoke_cron_endpoint(text)', 'wee5_cron.invoke(text,text,jsonb,jsonb,interval,text,timestamp with time zone,text), wee5_cron.prune()') {
        sql(join ';', map { "ALTER FUNCTION $_ OWNER TO stranger" } split /(?<=\)), /, $functions);
        $at_app->red_then_green('namesakes', 'error', qr/^\Q$functions\E runs? with the rights of role "stranger", which lacks those of "keeper", the owner of wee5_cron$/, "$functions of another owner");
        goes_on($node->call('app', path()), '... and after the hint a call succeeds');
    }
    sql('ALTER FUNCTION public.invoke_cron_endpoint(text) SECURITY INVOKER');
    $at_app->red_then_green('namesakes', 'warning', qr/^public\.invoke_cron_endpoint\(text\) runs with the rights of its caller/, 'a function with the rights of its caller');
    sql(q{GRANT USAGE ON SCHEMA wee5_cron TO stranger; GRANT ALL ON ALL TABLES IN SCHEMA wee5_cron TO stranger; GRANT ALL ON ALL SEQUENCES IN SCHEMA wee5_cron TO stranger; GRANT ALL ON ALL FUNCTIONS IN SCHEMA wee5_cron TO stranger;
        DO $$ DECLARE f regprocedure; BEGIN
          FOR f IN SELECT oid FROM pg_proc WHERE pronamespace IN ('wee5_cron'::regnamespace, 'public'::regnamespace) AND prosecdef LOOP
            EXECUTE format('ALTER FUNCTION %s OWNER TO stranger', f);
          END LOOP;
        END $$});
    goes_on($node->call('app', path()), 'a call succeeds if all functions have an owner who may do what they do');
    $at_app->red_then_green('namesakes', 'warning', qr/^\d+ functions of wee5_cron run with the rights of role "stranger"/, '... which is a warning');
    sql('DROP OWNED BY stranger');
    sql('GRANT keeper TO stranger; ALTER FUNCTION public.invoke_cron_endpoint(text) OWNER TO stranger');
    $at_app->green('namesakes', "an owner who has the rights of the extension's owner");
    goes_on($node->call('app', path()), '... and a call succeeds');
    sql('ALTER FUNCTION public.invoke_cron_endpoint(text) OWNER TO keeper; REVOKE keeper FROM stranger');
}

# --- a table that is part of another --------------------------------------------------------------------------------
for my $case (
    [ 'invocation', 'inherits', 'CREATE TABLE public.parent (LIKE wee5_cron.invocation); ALTER TABLE wee5_cron.invocation INHERIT public.parent',
        'ALTER TABLE wee5_cron.invocation NO INHERIT public.parent' ],
    [ 'invocation', 'is a partition', q{CREATE TABLE public.parent (LIKE wee5_cron.invocation INCLUDING DEFAULTS) PARTITION BY LIST (transport);
        ALTER TABLE public.parent ATTACH PARTITION wee5_cron.invocation FOR VALUES IN ('builtin')}, 'ALTER TABLE public.parent DETACH PARTITION wee5_cron.invocation' ],
) {
    my ($table, $what, $do, $undo) = @$case;
    sql($do);
    goes_on($node->call('app', path()), "$table $what: a call succeeds");
    sql("$undo; DROP TABLE public.parent");
}
sql(q{CREATE TABLE public.parent (LIKE wee5_cron.attempt) PARTITION BY LIST (http_status); TRUNCATE wee5_cron.attempt;
    ALTER TABLE public.parent ATTACH PARTITION wee5_cron.attempt FOR VALUES IN (404)});
{
    my $id = $node->call('app', path());
    $node->poll_query_until('app', q{SELECT state = 'blocked' AND last_error LIKE '%attempt is a partition of public.parent%' FROM wee5_cron.worker WHERE datname = 'app'})
      or fail('attempt is a partition that refuses what the worker writes: the worker does not say so');
    sql('ALTER TABLE public.parent DETACH PARTITION wee5_cron.attempt; DROP TABLE public.parent');
    goes_on($id, "after attempt was a partition that refused the worker's writes the call succeeds");
}
sql(q{CREATE TABLE public.child () INHERITS (wee5_cron.invocation);
    INSERT INTO public.child SELECT * FROM wee5_cron.invocation ORDER BY id DESC LIMIT 1;
    UPDATE public.child SET id = 1000000, endpoint_path = '/of-the-child', status = 'queued', finished_at = NULL, idempotency_key = gen_random_uuid()});
goes_on($node->call('app', path()), 'with a table that inherits from invocation a call succeeds');
table_line('warning', qr/child inherits from wee5_cron\.invocation; its rows are not sent/, "... and doctor() says that the child's rows are not sent");
is(heard('/of-the-child'), 0, '... and they are not');
sql('DROP TABLE public.child');

# --- tables in another schema ---------------------------------------------------------------------------------------
for my $table (grep { $_ ne 'armed' && $_ ne 'arming' } @tables) {
    my $path = path();
    my $id = sql("BEGIN; SELECT invoke_cron_endpoint('$path'); ALTER TABLE wee5_cron.$table SET SCHEMA public; COMMIT");
    my $ended = $table eq 'invocation' ? 'public.invocation' : 'wee5_cron.invocation';
    $node->poll_query_until('app', "SELECT (SELECT state = 'blocked' AND last_error LIKE '%$table%' FROM wee5_cron.worker WHERE datname = 'app')"
          . " OR EXISTS (SELECT FROM $ended WHERE id = $id AND status = 'succeeded')")
      or fail("$table is in another schema: the call is neither sent, nor does the worker say why");
    table_line('error', qr/the table wee5_cron\.$table is missing/, "$table is in another schema: doctor() reports it missing");
    sql("ALTER TABLE public.$table SET SCHEMA wee5_cron");
    goes_on($id, '... and once it is back the call succeeds');
}
Wee5Cron::Doctor->new($node, 'app')->green('ledger_tables', 'after all changes of the tables');

# --- every connection is taken --------------------------------------------------------------------------------------
{
    my @taken = map { $node->background_psql('app') } 1 .. 12;
    my (undef, undef, $refused) = $node->psql('app', 'SELECT 1');
    like($refused, qr/too many clients/, 'no other session can connect');
    my $wait = q{SELECT w.status || w.attempts FROM wee5_cron.wait_for(:id) w;};
    is($taken[0]->query_safe("SELECT invoke_cron_endpoint('/status/200?full') AS id \\gset\n$wait"), 'succeeded1', 'the worker makes calls while every connection is taken');
    $taken[0]->query_safe(q{SELECT pg_terminate_backend(pid, 10000) FROM wee5_cron.worker WHERE datname = 'app'});
    is($taken[0]->query_safe("SELECT invoke_cron_endpoint('/status/200?full') AS id \\gset\n$wait"), 'succeeded1', '... and so does the next one');
    $_->quit for @taken;
}

# --- the extension gets another owner, and is dropped with that owner -----------------------------------------------
$node->safe_psql('postgres', 'CREATE ROLE heir LOGIN; ALTER ROLE keeper SUPERUSER');
$receiver->hold;
my $on_the_wire = $node->call('app', '/hang');
$receiver->wait_for_requests('/hang');
sql('REASSIGN OWNED BY keeper TO heir');
is(sql(q{SELECT extowner::regrole FROM pg_extension WHERE extname = 'wee5_cron'}), 'heir', 'REASSIGN OWNED gives the extension another owner, who is not a superuser');
goes_on($node->call('app', path()), '... and calls succeed');
$receiver->release_for_good;
fields_are($node->finished('app', $on_the_wire), { status => 'succeeded', attempts => 1 }, '... and the call on the wire is recorded once');
Wee5Cron::Doctor->new($node, 'app')->green('ledger_tables', 'after REASSIGN OWNED');
sql('DROP OWNED BY heir');
is(sql(q{SELECT count(*) FROM pg_extension WHERE extname = 'wee5_cron'}), 0, 'DROP OWNED drops the extension');
$node->wait_until_no_worker('app');
is(sql(q{SELECT to_regnamespace('wee5_cron') IS NULL}), 't', '... and its schema');
sql('CREATE EXTENSION wee5_cron');
goes_on($node->call('app', path()), 'after CREATE EXTENSION a call succeeds');
$node->log_is_sane;
done_testing();
