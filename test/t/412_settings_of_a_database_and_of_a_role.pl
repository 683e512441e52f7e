# Whatever is set for a database or for a job's role, everything works in it: calls, retries, jobs, harvest(), prune(),
# doctor(). The settings come in groups; each group is set for the database and for the roles, and the worker starts with
# it.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret of this test');
# The test queries the server in the database postgres, where nothing is set.
my $node = Wee5Cron::Node->start_new('main', conf => "cron.database_name = 'app'");
$node->safe_psql('postgres', 'CREATE DATABASE app');
$node->safe_psql('app', 'CREATE EXTENSION pg_cron');
$node->install('app', api_url => $receiver->url, secret => 'the secret of this test');
$node->safe_psql('app', q{CREATE ROLE caller LOGIN; CREATE ROLE plain;
    SELECT wee5_cron.grant_to('caller', 'operate'); GRANT USAGE ON SCHEMA cron TO caller});
# Each pair is the answers to one call.
my $twice = '/statuses/' . join ',', ('503,200') x 20;
$node->policy('app', $twice, retry_on => 'transient', retry_delays => '{10ms}');
my $version = $node->safe_psql('postgres', 'SHOW server_version_num');
my $parallel = $version >= 160000 ? 'debug_parallel_query' : 'force_parallel_mode';

my @groups = (
    [ 'how text is read and shown', $version < 190000 ? ('standard_conforming_strings = off', 'escape_string_warning = off') : (), 'backslash_quote = off',
        q{DateStyle = 'SQL, DMY'}, 'IntervalStyle = sql_standard', 'bytea_output = escape', 'extra_float_digits = -15',
        q{TimeZone = 'Pacific/Kiritimati'}, q{timezone_abbreviations = 'India'}, 'quote_all_identifiers = on',
        'transform_null_equals = on', 'array_nulls = off', 'xmloption = document', 'xmlbinary = hex', 'client_encoding = LATIN1',
        q{lc_messages = 'C'}, q{lc_numeric = 'C'} ],
    [ 'how text is shown, in other ways', q{DateStyle = 'German'}, 'IntervalStyle = iso_8601', q{TimeZone = 'America/St_Johns'}, q{search_path = ''},
        'row_security = off', 'client_min_messages = error', 'default_transaction_isolation = serializable', 'default_transaction_deferrable = on',
        q{application_name = 'pg_cron'}, 'check_function_bodies = off', 'track_activities = off' ],
    [ 'what may be done, and for how long', 'default_transaction_read_only = on', q{default_transaction_isolation = 'repeatable read'},
        'session_replication_role = replica', 'role = plain', 'statement_timeout = 60000', 'lock_timeout = 60000',
        'idle_in_transaction_session_timeout = 100', 'temp_file_limit = 0', q{work_mem = '64kB'}, q{default_tablespace = 'missing'},
        q{temp_tablespaces = 'missing'}, 'synchronous_commit = off' ],
    [ 'how it is carried out', "$parallel = on", 'enable_indexscan = off', 'enable_bitmapscan = off', 'enable_nestloop = off', 'plan_cache_mode = force_generic_plan',
        'jit_above_cost = 0', 'cursor_tuple_fraction = 0', 'join_collapse_limit = 1', q{plpgsql.extra_errors = 'all'},
        'plpgsql.variable_conflict = use_column', 'plpgsql.print_strict_params = on', 'plpgsql.check_asserts = off' ],
    [ 'which plans and how much memory there are', 'enable_seqscan = off', 'enable_indexscan = off', 'enable_indexonlyscan = off', 'enable_bitmapscan = off',
        'enable_nestloop = off', "$parallel = on", 'jit_above_cost = 0', q{work_mem = '64kB'}, 'temp_file_limit = 0', 'random_page_cost = 1000' ],
);

# What a session and the worker do, with the result of each statement.
sub everything {
    my ($n) = @_;
    return <<"SQL";
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE;
SET ROLE none;
SELECT wee5_cron.schedule('job $n', '*/7 * * * *', '/status/200?job=$n') > 0;
SELECT wee5_cron.run_now('job $n') AS job \\gset
SELECT public.invoke_cron_endpoint('$twice?n=$n') AS twice \\gset
SELECT wee5_cron.invoke('/echo?n=$n', 'POST', jsonb_build_object('text', chr(92) || 'n' || chr(39)), jsonb_build_object('X-Text', chr(92) || 'x'),
                        timeout => '90 s') AS post \\gset
SELECT wee5_cron.invoke('/hang') AS hangs \\gset
SELECT wee5_cron.cancel(:hangs);
SELECT (w.call).status, (w.call).attempts, (w.call).job_name, (w.call).duration < '1 minute'
FROM (SELECT wee5_cron.wait_for(i, '2 minutes') AS call FROM unnest(ARRAY[:job, :twice, :post, :hangs]) i OFFSET 0) w;
CALL wee5_cron.run('/status/200?run=$n');
SELECT wee5_cron.harvest(), wee5_cron.prune();
SELECT count(*) FROM wee5_cron.next_runs('job $n', 3);
SELECT state, endpoint_path FROM wee5_cron.job_status;
SELECT wee5_cron.pause('job $n', 'a note');
SELECT state FROM wee5_cron.job_status;
SELECT wee5_cron.resume('job $n');
SELECT wee5_cron.unschedule('job $n');
SELECT wee5_cron.disarm('a note'), wee5_cron.arm();
SELECT count(*) FROM wee5_cron.doctor() WHERE detail LIKE 'the check failed:%';
SELECT state, last_error FROM wee5_cron.worker;
SQL
}
my $answers = <<'TEXT';
t
t
succeeded|1|job %n|t
succeeded|2||t
succeeded|1||t
cancelled|0||
0|0
3
ok|/status/200?job=%n

paused

t
|
0
idle|
TEXT

my $n = 0;
for my $group ([ 'nothing' ], @groups) {
    my ($name, @settings) = @$group;
    $n++;
    my $worker = $node->wait_for_worker('app');
    for my $whose ('DATABASE app', 'ROLE caller IN DATABASE app', 'ROLE CURRENT_USER IN DATABASE app') {
        $node->safe_psql('postgres', join ';', map { "ALTER $whose SET $_" } @settings) if @settings;
    }
    $node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
    $node->wait_for_worker('app', $worker);
    for my $role (@settings ? ('caller', undef) : undef) {
        my $who = defined $role ? "as $role" : 'as superuser';
        my $number = "$n$who" =~ s/\W//gr;
        my ($status, $stdout, $stderr) = $node->psql('app', everything($number), extra_params => [ defined $role ? ('-U', $role) : () ], on_error_stop => 0);
        # duration may be NULL: it was cancelled before it was sent, or on the wire.
        is($stdout =~ s/^cancelled\|[01]\|\|t?$/cancelled|0||/mr . "\n", $answers =~ s/%n/$number/gr, "$name, $who: everything works") or diag($stderr);
        my ($echo) = grep { $_->{url} eq "/echo?n=$number" } $receiver->requests('/echo');
        fields_are($echo, { body => q({"text": "\\\\n'"}), bearer => 'match' }, '... and a body arrives as it was given');
        is($echo->{headers}{'x-text'}, '\x', '... and a header');
        is(scalar(grep { $_->{url} eq "$twice?n=$number" } $receiver->requests), 2, '... and no request is sent too often');
    }
    $node->safe_psql('postgres', join ';', map { "ALTER $_ RESET ALL" } 'DATABASE app', 'ROLE caller IN DATABASE app', 'ROLE CURRENT_USER IN DATABASE app');
    $node->configure('app', api_url => $receiver->url, secret => 'the secret of this test');
}

# exit_on_error makes each error end its process. The worker reports an error and goes on: another process would send the call
# again, because its answer is not recorded.
$node->safe_psql('postgres', 'ALTER DATABASE app SET exit_on_error = on');
my $worker = $node->wait_for_worker('app');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
$worker = $node->wait_for_worker('app', $worker);
$node->safe_psql('app', q{CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'refused by a trigger'; END$$;
    CREATE TRIGGER refuse BEFORE UPDATE ON wee5_cron.invocation FOR EACH ROW EXECUTE FUNCTION public.refuse()});
my $call = $node->call('app', '/status/200?exit_on_error');
$node->poll_query_until('app', q{SELECT count(*) > 0 FROM wee5_cron.worker WHERE datname = 'app' AND state = 'blocked' AND last_error LIKE 'refused by a trigger%'})
  or fail('exit_on_error: the worker does not say what stops it');
$node->safe_psql('app', 'DROP TRIGGER refuse ON wee5_cron.invocation');
fields_are($node->finished('app', $call), { status => 'succeeded', attempts => 1 }, 'exit_on_error: a call whose answer could not be recorded for a while succeeds');
is(scalar(grep { $_->{url} eq '/status/200?exit_on_error' } $receiver->requests), 1, '... and the app got its request once');
is($node->wait_for_worker('app'), $worker, '... and the worker is the same process');
$node->log_is_sane;
done_testing();
