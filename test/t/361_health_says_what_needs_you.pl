# health() and assert_healthy(): what they report for each problem, and when it is over; and what the profile monitor sees.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Editions;
use Wee5Cron::Test;

use JSON::PP;

my $secret   = 'canary-of-the-health-4713';
my $receiver = Wee5Cron::Receiver->start(secret => $secret);
my $node     = Wee5Cron::Editions->start_node('main');
my $transport = $node->is_portable ? 'pg_net' : 'builtin';
$node->install('postgres', api_url => $receiver->url, secret => $secret);
$node->wait_for_worker('postgres');
$node->safe_psql('postgres', "CREATE ROLE monitor LOGIN; SELECT wee5_cron.grant_to('monitor', 'monitor'); CREATE ROLE caller LOGIN; SELECT wee5_cron.grant_to('caller', 'call')");

sub health {
    my ($arguments, $database) = @_;
    return JSON::PP->new->decode($node->psql_as('monitor', $database // 'postgres', 'SELECT wee5_cron.health(' . ($arguments // '') . ')'));
}

# Compares the given keys of the answer.
sub health_is {
    my ($expected, $name, $health) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $health //= health();
    my %found = map { $_ => ref $health->{$_} eq 'ARRAY' ? join(' ', @{ $health->{$_} }) : JSON::PP::is_bool($health->{$_}) ? ($health->{$_} ? 1 : 0) : $health->{$_} } keys %$expected;
    is_deeply(\%found, $expected, $name) or diag(JSON::PP->new->encode($health));
    return $health;
}

sub sentence_is {
    my ($message) = @_;
    return $node->raises('postgres', 'SELECT wee5_cron.assert_healthy()', '57000', 'assert_healthy() raises an error that says why', role => 'monitor', message => $message,
        hint => qr/^SELECT \* FROM wee5_cron\.doctor\(\) WHERE status <> 'ok';/);
}

sub job {
    my ($name, $path, $schedule) = @_;
    $node->safe_psql('postgres', sprintf q{SELECT wee5_cron.schedule('%s', '%s', '%s')}, $name, $schedule // '0 0 1 1 *', $path);
    return;
}

sub run_job {
    my ($name, $times) = @_;
    $node->finished('postgres', $node->safe_psql('postgres', "SELECT wee5_cron.run_now('$name')")) for 1 .. $times // 1;
    return;
}

# Nothing is wrong.
my $health = health_is({ ok => 1, armed => 1, enabled => 1, worker => 'up', failing => '', late => '', waiting => '', queue_age => 0 }, 'an empty database is healthy');
is(join(' ', sort keys %$health), 'armed at enabled failing late ok queue_age waiting worker', '... and its answer has exactly these keys');
is($node->psql_as('monitor', 'postgres', 'SELECT wee5_cron.assert_healthy()'), '', 'assert_healthy() returns nothing');
$node->raises('postgres', 'SELECT wee5_cron.health(NULL)', '22004', 'health(NULL) is an error');
$node->raises('postgres', "SELECT wee5_cron.health('-1 s')", '22023', 'health() with a negative max_queue_age is an error', message => qr/^invalid interval "-00:00:01": max_queue_age must not be negative/);

# Calls are off.
$node->safe_psql('postgres', 'SELECT wee5_cron.disarm()');
health_is({ ok => 0, armed => 0, enabled => 1, worker => 'up' }, 'a disarmed database is unhealthy');
sentence_is(qr/^cron in database "postgres" needs you: the database is disarmed$/);
$node->safe_psql('postgres', qq{INSERT INTO wee5_cron.invocation (endpoint_path, transport, due_at, next_attempt_at) VALUES ('/due', '$transport', now(), now()), ('/later', '$transport', now() + interval '1 day', now() + interval '1 day')});
is($node->safe_psql('postgres', "SELECT value, (SELECT queued FROM wee5_cron.worker) FROM wee5_cron.metrics WHERE name = 'wee5_cron_queue_length'"), $node->is_portable ? '1|' : '1|1', 'the queue length counts a call whose time has come, but not one for later');
$node->safe_psql('postgres', 'SELECT wee5_cron.arm(discard => true)');
$node->set_server('wee5_cron.enabled', 'off');
health_is({ ok => 0, armed => 1, enabled => 0, worker => 'up' }, 'with wee5_cron.enabled = off every database is unhealthy');
sentence_is(qr/needs you: wee5_cron\.enabled is off$/);
$node->set_server('wee5_cron.enabled', 'on');
ok($node->poll_query_until('postgres', "SELECT (wee5_cron.health()->>'ok')::boolean"), '... and healthy again when it is on');

# No worker runs, and none is started, since the launcher is stopped. A stopped worker can only end by itself. On the portable
# edition, the job that harvests is paused.
if ($node->is_portable) {
    my $pause = sub { $node->safe_psql('postgres', "SELECT cron.alter_job(jobid, active => $_[0]) FROM cron.job WHERE jobname = 'wee5-cron-harvest'") };
    $pause->('false');
    health_is({ ok => 0, worker => 'down' }, 'a database without the job that harvests is unhealthy');
    sentence_is(qr/needs you: the worker is down/);
    $pause->('true');
    my $harvest_ends = sub { $node->as_superuser('postgres', "INSERT INTO cron.job_run_details (jobid, runid, database, username, command, status, start_time, end_time) SELECT jobid, nextval('cron.runid_seq'), 'postgres', 'postgres', command, '$_[0]', now(), now() FROM cron.job WHERE jobname = 'wee5-cron-harvest'") };
    $harvest_ends->('succeeded');
    health_is({ ok => 1, worker => 'up' }, '... and a healthy one has a job that harvests');
    $harvest_ends->('failed') for 1 .. 3;
    health_is({ ok => 0, worker => 'down' }, '... whose runs do not all fail');
    $harvest_ends->('succeeded');
    health_is({ ok => 1, worker => 'up' }, '... and one that succeeds is enough');
    $node->as_superuser('postgres', 'GRANT pg_monitor TO postgres');
    health_is({ ok => 0, worker => 'down' }, '... and so is one without a worker of pg_net');
    $node->as_superuser('postgres', 'REVOKE pg_monitor FROM postgres');
}
else {
    my $launcher = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'wee5_cron launcher'");
    my $worker   = $node->worker_pid('postgres');
    kill STOP => $launcher;
    $node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
    $node->wait_until_no_worker('postgres');
    health_is({ ok => 0, worker => 'down' }, 'a database without a worker is unhealthy');
    sentence_is(qr/needs you: the worker is down/);
    kill CONT => $launcher;
    $node->wait_for_worker('postgres', $worker);
}
ok($node->poll_query_until('postgres', "SELECT wee5_cron.health()->>'worker' = 'up'"), '... and healthy again once the worker is up');

# Failing: as often as alert_after says, three times by default.
job('failing', '/status/500?own=failing');
job('of the same route', '/status/500?own=other');
run_job('failing', 2);
health_is({ ok => 1, failing => '' }, 'a job is not failing after two failures in a row');
run_job('failing');
health_is({ ok => 0, failing => 'failing' }, 'a job is failing after three failures in a row');
sentence_is(qr/needs you: failing: failing/);
$node->safe_psql('postgres', "SELECT wee5_cron.pause('failing', 'a note')");
health_is({ ok => 1, failing => '' }, 'a paused job is not failing');
$node->safe_psql('postgres', "SELECT wee5_cron.resume('failing')");
$node->policy('postgres', '/status/500', alert_after => 10);
health_is({ ok => 1, failing => '' }, 'a job is not failing below the alert_after of its path');
$node->policy('postgres', '/status/404', alert_after => 1);
job('once', '/status/404');
run_job('once');
health_is({ ok => 0, failing => 'once' }, 'a job with alert_after = 1 is failing after one failure');
$node->safe_psql('postgres', "SELECT wee5_cron.unschedule('once')");
health_is({ ok => 1, failing => '' }, 'a removed job is not failing');
$node->call('postgres', '/status/502') for 1 .. 3;
$node->wait_until_all_finished('postgres');
is($node->safe_psql('postgres', "SELECT failures FROM wee5_cron.trouble WHERE name = '/status/502'"), 3, 'three failures of a path called by hand are counted');
health_is({ ok => 1, failing => '' }, 'failures of calls made by hand make no job failing');

# Runs that failed before they made a call, of a job without a name.
my $jobid = $node->safe_psql('postgres', q{SELECT cron.schedule('0 0 1 1 *', 'SELECT invoke_cron_endpoint(''/unnamed'')')});
$node->safe_psql('postgres', 'SELECT wee5_cron.watch_jobs()');
$node->as_superuser('postgres', "INSERT INTO cron.job_run_details (jobid, runid, database, username, command, status, return_message, start_time, end_time) SELECT $jobid, nextval('cron.runid_seq'), 'postgres', current_user, '', 'failed', 'connection failed', now(), now() FROM generate_series(1, 3)");
$node->safe_psql('postgres', 'SELECT wee5_cron.watch_jobs()');
health_is({ ok => 0, failing => "#$jobid" }, 'a job without a name is failing under its jobid');
$node->safe_psql('postgres', "SELECT cron.unschedule($jobid)");

# A job is late until it runs.
my $minute = $node->safe_psql('postgres', "SELECT extract(minute FROM now() - interval '20 minutes')");
job('late', '/late', "$minute * * * *");
$node->safe_psql('postgres', "INSERT INTO wee5_cron.job (job_name, catch_up) VALUES ('late', 'none') ON CONFLICT (job_name) DO UPDATE SET catch_up = 'none'; SELECT wee5_cron.watch_jobs()");
# As if the server had been down when the job was due.
$node->safe_psql('postgres', "UPDATE wee5_cron.job_watch SET judged_until = now() - interval '25 minutes' WHERE job_name = 'late'; SELECT wee5_cron.watch_jobs()");
health_is({ ok => 0, late => 'late' }, 'a job that missed a run is late');
sentence_is(qr/needs you: late: late$/);
is($node->safe_psql('postgres', "SELECT state FROM wee5_cron.job_status WHERE job_name = 'late'"), 'never_ran', '... and job_status says never_ran if it never ran');
$node->as_superuser('postgres', "INSERT INTO cron.job_run_details (jobid, runid, database, username, command, status, start_time, end_time) SELECT jobid, nextval('cron.runid_seq'), 'postgres', current_user, '', 'succeeded', now(), now() FROM cron.job WHERE jobname = 'late'");
health_is({ ok => 1, late => '' }, 'a job that pg_cron has started since is not late');
$node->safe_psql('postgres', "DELETE FROM cron.job_run_details r USING cron.job j WHERE j.jobid = r.jobid AND j.jobname = 'late'");
health_is({ ok => 0, late => 'late' }, "without pg_cron's record of that run the job is late");
run_job('late');
health_is({ ok => 1, late => '' }, 'a job is no longer late after its call');

# A job waits while an earlier call is to be retried. That is no problem.
$node->policy('postgres', '/statuses/503,503,503', overlap => 'skip');
job('waiting', '/statuses/503,503,503');
my $retried = $node->safe_psql('postgres', "SELECT wee5_cron.run_now('waiting')");
$node->invocation_when('postgres', $retried, "status = 'retrying'");
run_job('waiting');
health_is({ ok => 1, waiting => 'waiting' }, 'a job that waits for an earlier call is healthy');
$node->safe_psql('postgres', "SELECT wee5_cron.cancel($retried)");
health_is({ ok => 1, waiting => '' }, 'the job no longer waits when that call has ended');

# The queue. The age of a retry that is not sent counts from when it was due.
my $hanging = $node->is_portable ? 0 : do { $receiver->hold; $node->block_the_wire('postgres', $receiver) };
# The worker marks a call a moment after it is on the wire, unless somebody holds its row then.
$node->invocation_when('postgres', $hanging, "status = 'sending'") if $hanging;
my $behind = $node->call('postgres', '/behind');
# pg_net takes no request out of its queue while another one hangs. It gets a call when that is made.
my $waits_since = sub { my ($ids, $age) = @_; $node->safe_psql('postgres', $node->is_portable
        ? "UPDATE wee5_cron.pg_net_request SET handed_over_at = now() - interval '$age' WHERE invocation_id IN ($ids)"
        : "UPDATE wee5_cron.invocation SET requested_at = now() - interval '$age' WHERE id IN ($ids)") };
$waits_since->("$hanging, $behind", '10 minutes');
$health = health_is({ ok => 0 }, 'a call that waits for ten minutes is unhealthy');
ok($health->{queue_age} >= 600 && $health->{queue_age} < 660, '... and queue_age is ten minutes');
sentence_is(qr/needs you: the oldest due call has waited for 10 min/);
health_is({ ok => 1 }, 'a call that waits for ten minutes is healthy with max_queue_age = 1 hour', health("'1 hour'"));
$waits_since->($behind, '0');
cmp_ok(health()->{queue_age}, '<', 60, 'a call on the wire is not in the queue');
my $due = $node->is_portable ? 'next_attempt_at' : 'requested_at';
$node->safe_psql('postgres', qq{INSERT INTO wee5_cron.invocation (endpoint_path, transport, $due)
    SELECT '/many/' || n % 3, '$transport', now() - interval '1 hour' + n * interval '1 ms' FROM generate_series(1, 10100) n});
$health = health();
ok($health->{queue_age} >= 3600 - 1 && $health->{queue_age} < 3700, 'the oldest of many calls') or diag($health->{queue_age});
$node->safe_psql('postgres', "DELETE FROM wee5_cron.invocation WHERE endpoint_path LIKE '/many/%'");
$receiver->release_for_good;
$node->wait_until_all_finished('postgres');
health_is({ ok => 1, queue_age => 0 }, 'with an empty queue the database is healthy');

# The examples of docs/health.md, while a job fails and while all is well: its line for a shell, and its route of Next.js, with
# a pool that runs psql.
my $page = slurp_file("$FindBin::RealBin/../../docs/health.md");
my ($line)  = $page =~ /^```sh\n(psql .*)$/m;
my ($route) = $page =~ /^```ts\n(.*?)^```$/ms;
my $url = 'postgresql:///postgres?user=monitor&host=' . $node->host . '&port=' . $node->port;
my $psql_for_node = q{const { execFileSync } = await import('node:child_process');
const pool = { query: async (sql) => ({ rows: [JSON.parse(execFileSync('psql', ['-AtXqc', `SELECT to_json(q) FROM (${sql}) q`, process.env.MONITOR_URL], { encoding: 'utf8' }))] }) };
};
unlink my $module = PostgreSQL::Test::Utils::tempdir() . '/route.mjs';
append_to_file($module, $psql_for_node . ($route =~ s/^import .*\n//mr) . q{
const answer = await GET(); console.log(answer.status, (await answer.json()).ok, answer.headers.get('cache-control'))});
my $has_node = system('node -e "process.exit(parseInt(process.versions.node) >= 18 ? 0 : 1)" 2>/dev/null') == 0;

sub documented_checks_say {
    my ($status, $answer) = @_;
    local $ENV{MONITOR_URL} = $url;
    is(system("$line >/dev/null 2>&1") >> 8, $status, "the documented line for psql exits with $status");
  SKIP: {
        skip 'there is no Node 18 here', 1 unless $has_node;
        my ($stdout, $stderr) = PostgreSQL::Test::Utils::run_command([ 'node', $module ]);
        is($stdout, $answer, '... and the route of an app answers') or diag($stderr);
    }
    return;
}
documented_checks_say(0, '200 true no-store');
$node->policy('postgres', '/status/500', alert_after => undef);
documented_checks_say(1, '503 false no-store');

# In a terminal of 100 columns, the lines of docs/status-page.md stay within it.
my $pages = slurp_file("$FindBin::RealBin/../../docs/status-page.md");
my @watched = $pages =~ /^(SELECT .*) \\watch \d+$/mg;
is(scalar @watched, 5, 'docs/status-page.md has five lines for \\watch');
my $script = PostgreSQL::Test::Utils::tempdir() . '/watched.sql';
append_to_file($script, join '', map { "$_\n" } $pages =~ /^(\\pset .*)$/mg, map { "$_;" } @watched);
my ($watched, $complaint) = PostgreSQL::Test::Utils::run_command([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', $script ]);
is($complaint, '', '... and psql accepts them');
is_deeply([ grep { length($_) > 100 } split /\n/, $watched ], [], '... and their output fits into 100 columns');
like($watched, qr/^ *failing +\| failing /m, '... and shows the job that fails');

# The profile monitor sees only names and numbers.
for my $sql ('TABLE wee5_cron.invocation', 'TABLE wee5_cron.job_status', 'SELECT * FROM wee5_cron.doctor()', 'SELECT wee5_cron.status_page()', "SELECT invoke_cron_endpoint('/x')", 'SELECT * FROM wee5_cron.failing_jobs()') {
    $node->raises('postgres', $sql, '42501', "the profile monitor does not include: $sql", role => 'monitor');
}
$node->raises('postgres', $_, '42501', "the profile call does not include: $_", role => 'caller') for 'SELECT wee5_cron.health()', 'SELECT wee5_cron.assert_healthy()', 'TABLE wee5_cron.metrics';
my $seen = $node->psql_as('monitor', 'postgres', 'SELECT wee5_cron.health(); SELECT m FROM wee5_cron.metrics m');
unlike($seen, qr{/status|127\.0\.0\.1|own=|\Q$secret\E}, 'a monitor sees no path, address or secret');
like($seen, qr/"failing": \["failing"\]/, '... but sees the name of the job');

# A lock on the ledger.
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE wee5_cron.invocation');
$node->raises('postgres', 'SELECT wee5_cron.health()', '55P03', 'health() of a locked ledger is an error at once', role => 'monitor');
$holder->query_safe('ROLLBACK');
$holder->quit;

Wee5Cron::Editions->needs_the_worker($node);

# In a database without pg_cron, the ledger knows the jobs.
$node->install('elsewhere', api_url => $receiver->url, secret => $secret);
$node->safe_psql('elsewhere', "SELECT wee5_cron.grant_to('monitor', 'monitor'); INSERT INTO wee5_cron.job (job_name, endpoint_path) VALUES ('digest', '/status/500')");
$node->wait_for_worker('elsewhere');
health_is({ ok => 1, worker => 'up', failing => '' }, 'a database without pg_cron is healthy', health('', 'elsewhere'));
$node->finished('elsewhere', $node->safe_psql('elsewhere', "SET application_name = 'pg_cron'; SELECT invoke_cron_endpoint('/status/500')")) for 1 .. 3;
health_is({ ok => 0, failing => 'digest' }, 'a job is failing in a database without pg_cron', health('', 'elsewhere'));

$node->log_is_sane;
done_testing();
