# What others do on the same server, by mistake or on purpose: bytes in a foreign encoding, hostile database settings,
# cancels, locks on pg_cron's tables, renames, templates. The worker goes on, and no request is sent twice.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main', conf => 'max_worker_processes = 32');
my @app = (api_url => $receiver->url, secret => 'the secret');
$node->install('postgres', @app);

# A new call in that database is sent and recorded.
sub goes_on {
    my ($database, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return fields_are($node->finished($database, $node->call($database, '/next')), { status => 'succeeded' }, $name);
}

# A call whose request hangs on the wire.
sub call_that_hangs {
    my ($database) = @_;
    $receiver->hold;
    my $before = () = $receiver->requests('/hang');
    my $id = $node->call($database, '/hang');
    $receiver->wait_for_requests('/hang', $before + 1);
    return $id;
}

# The call ends with its answer, and its request was sent at most once.
sub ends_after_one_request {
    my ($database, $id, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    fields_are($node->finished($database, $id), { status => 'succeeded', attempts => 1 }, $name);
    my $key = $node->invocation($database, $id)->{idempotency_key};
    return is(scalar(grep { $_->{headers}{'idempotency-key'} eq $key } $receiver->requests('/hang')), 1, '... and its request is sent once');
}

# A database that refuses connections. The log is checked at the end, after everything else.
$node->safe_psql('postgres', 'CREATE DATABASE plain');
$node->install('closed', @app);
$node->wait_for_worker('closed');
$node->safe_psql('postgres', "ALTER DATABASE $_ ALLOW_CONNECTIONS false") for qw(plain closed);
$node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . $node->worker_pid('closed') . ')');
ok($node->wait_until_no_worker('closed'), 'a database closed to connections loses its worker once the last session has left');
goes_on('postgres', "... and other databases' calls are sent");

# SQL_ASCII accepts every byte. A text that is not UTF-8 cannot be sent as it is, and must not block anything else.
my $latin1 = '\xe9\xff';
$node->safe_psql('postgres', "CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
$node->install('ascii', @app);
goes_on('ascii', 'a call in a SQL_ASCII database is sent');
my @foreign = split /\n/, $node->safe_psql('ascii', <<SQL);
INSERT INTO wee5_cron.invocation (endpoint_path, method, transport, status, job_name, body, headers) VALUES
  ('/foreign/body', 'POST', 'builtin', 'queued', NULL, E'{"name": "$latin1"}', '{}'),
  ('/foreign/job', 'GET', 'builtin', 'queued', E'$latin1', NULL, '{}'),
  (E'/foreign/path/$latin1', 'GET', 'builtin', 'queued', NULL, NULL, '{}')
RETURNING id
SQL
goes_on('ascii', '... and so is the next call, behind rows whose bytes are not UTF-8') for 1 .. 2;
ok($node->poll_query_until('ascii',
        "SELECT count(*) = 3 FROM wee5_cron.invocation WHERE id IN (@{[ join ',', @foreign ]}) AND finished_at IS NOT NULL"),
    'rows whose bytes are not UTF-8 end, too');
my ($foreign) = $receiver->requests('/foreign/body');
like($foreign->{body}, qr/"name"/, '... and the readable part of their body is sent');
my $foreign_error = $node->error_of('ascii', qq{SELECT wee5_cron.invoke('/foreign', 'POST', E'{"name": "$latin1"}')});
ok(!$foreign_error || $foreign_error->{sqlstate} =~ /^22(021|P0.)$/, 'a body that is not UTF-8 is either sent or refused with an encoding error')
  || diag($foreign_error->{text});
my $own_id = $node->call('ascii', '/own', q{method => 'POST', body => E'{"name": "\xc3\xa9"}'});
fields_are($node->finished('ascii', $own_id), { status => 'succeeded' }, 'a body that is UTF-8 is sent');
is(($receiver->requests('/own'))[0]{body}, qq({"name": "\xe9"}), '... unchanged');
goes_on('ascii', '... and the next call is sent');

# Headers that cannot be read.
my %bad_headers = (
    'bytes that are no UTF-8'      => qq(E'{"X-Name": "$latin1"}'),
    'a list'                       => q('["X-Name"]'),
    'a value that is not a string' => q('{"X-Count": 5}'),
);
for my $kind (sort keys %bad_headers) {
    my $bad_id = $node->safe_psql('ascii',
        "INSERT INTO wee5_cron.invocation (endpoint_path, transport, headers) VALUES ('/bad', 'builtin', $bad_headers{$kind}) RETURNING id");
    my $next_id = $node->call('ascii', '/next');
    $node->poll_query_until('ascii', <<"SQL") or die "neither blocked nor finished\n";
SELECT (SELECT count(*) = 2 FROM wee5_cron.invocation WHERE id IN ($bad_id, $next_id) AND finished_at IS NOT NULL)
    OR (SELECT state = 'blocked' FROM wee5_cron.worker WHERE datname = 'ascii')
SQL
    is($node->safe_psql('ascii', "SELECT count(*) FROM wee5_cron.invocation WHERE id IN ($bad_id, $next_id) AND finished_at IS NOT NULL"),
        2, "a row whose headers are $kind ends, and the next call too");
    $node->safe_psql('ascii', "DELETE FROM wee5_cron.invocation WHERE id = $bad_id");
    fields_are($node->finished('ascii', $next_id), { status => 'succeeded' }, "the call behind a row whose headers are $kind succeeds");
}

# Settings that ALTER DATABASE stores for sessions, and that the worker's connection would inherit.
$node->install('hostile', @app);
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE nobody_in_particular;
ALTER DATABASE hostile SET role = 'nobody_in_particular';
ALTER DATABASE hostile SET default_transaction_read_only = on;
ALTER DATABASE hostile SET default_transaction_isolation = 'serializable';
ALTER DATABASE hostile SET statement_timeout = 1;
ALTER DATABASE hostile SET search_path = 'nonsense';
ALTER DATABASE hostile SET datestyle = 'SQL, DMY';
ALTER DATABASE hostile SET client_encoding = 'latin1';
SQL
$node->safe_psql('postgres', 'ALTER DATABASE hostile SET ' . $node->standard_strings_off);
{
    local $ENV{PGOPTIONS} = '-c role=none -c default_transaction_read_only=off -c statement_timeout=0 -c search_path=public'
      . ' -c default_transaction_isolation=read\ committed -c standard_conforming_strings=on -c datestyle=ISO -c client_encoding=utf8';
    my $pid = $node->wait_for_worker('hostile');
    $node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
    $node->wait_for_worker('hostile', $pid);
    my $id = $node->call('hostile', '/echo', q{method => 'POST', body => '{"a": "b"}', headers => '{"X-Mine": "yes"}'});
    fields_are($node->finished('hostile', $id), { status => 'succeeded', attempts => 1 },
        'a worker that starts under hostile settings of its database works');
    goes_on('hostile', '... and sends calls');
}

# A role that may create databases cannot stop the worker of a database that it may not copy.
$node->install('private', @app);
$node->safe_psql('postgres', 'CREATE ROLE creator LOGIN CREATEDB');
my $id  = call_that_hangs('private');
my $pid = $node->wait_for_worker('private');
$node->raises('postgres', 'CREATE DATABASE z TEMPLATE private', '42501', "CREATE DATABASE from somebody else's template fails as ever",
    role => 'creator');
$receiver->release_for_good;
ends_after_one_request('private', $id, '... and the call on the wire ends with its answer');
goes_on('private', '... and the next call is sent');
is($node->worker_pid('private'), $pid, '... and the worker of that database is not stopped');

# The worker ignores a cancel.
$id = call_that_hangs('private');
is($node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)"), 't', 'pg_cancel_backend() can signal the worker while a request hangs');
goes_on('private', '... and the next call is sent');
$receiver->release_for_good;
ends_after_one_request('private', $id, '... and the call that hung ends with its answer');
is($node->worker_pid('private'), $pid, '... and the same worker is still there');

# One transaction holds two databases.
$node->install($_, @app) for qw(a b);
my %oid = map { $_ => $node->safe_psql('postgres', "SELECT oid FROM pg_database WHERE datname = '$_'") } qw(a b);
my %worker = map { $_ => $node->wait_for_worker($_) } qw(a b);
$node->safe_psql('postgres', 'BEGIN; ALTER DATABASE a RENAME TO a2; ALTER DATABASE b RENAME TO b2; ROLLBACK');
for my $database (qw(a b)) {
    $worker{$database} = $node->wait_for_worker($database, $worker{$database});
    goes_on($database, "after two renames that were rolled back a call in $database is sent");
}
$node->safe_psql('postgres',
    'BEGIN; ALTER DATABASE a RENAME TO a2; ALTER DATABASE b RENAME TO a; ALTER DATABASE a2 RENAME TO b; COMMIT');
is($node->safe_psql('postgres', "SELECT oid FROM pg_database WHERE datname = 'a'"), $oid{b}, 'two databases can swap their names');
for my $database (qw(a b)) {
    $node->wait_for_worker($database, $worker{ $database eq 'a' ? 'b' : 'a' });
    goes_on($database, "... $database has a worker");
}

# If an answer comes while the worker is asked to stop, the worker records it first. The test stops the worker between two
# turns, so that it finds both the answer and the request to stop when it continues.
$node->install('original', @app);
$id  = call_that_hangs('original');
$pid = $node->wait_for_worker('original');
$node->invocation_when('original', $id, "status = 'sending'");
$node->poll_query_until('postgres', "SELECT state = 'idle' AND wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $pid")
  or die "the worker does not wait\n";
kill 'STOP', $pid;
$receiver->release_for_good;
my $copying = $node->background_psql('postgres');
my $copying_pid = $copying->query_safe('SELECT pg_backend_pid()');
$copying->query_until(qr/copying/, "\\echo copying\nCREATE DATABASE copy TEMPLATE original;\n");
$node->poll_query_until('postgres',
    "SELECT state = 'active' AND wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $copying_pid")
  or die "CREATE DATABASE does not wait for the worker\n";
kill 'CONT', $pid;
is($copying->query_safe("SELECT count(*) FROM pg_database WHERE datname = 'copy'"), 1,
    'CREATE DATABASE TEMPLATE succeeds when an answer comes at that moment');
$copying->quit;
$node->wait_for_worker('original', $pid);
ends_after_one_request('original', $id, '... and the answer is recorded before the worker stops');
goes_on('original', '... and the next call is sent');

# SQL of a version that the library does not support: the worker does nothing until ALTER EXTENSION.
$node->install('versions', @app);
goes_on('versions', 'a call is sent under the right version');
$node->safe_psql('versions', "UPDATE pg_extension SET extversion = '0.0.9' WHERE extname = 'wee5_cron'");
$id = $node->call('versions', '/versions');
ok($node->poll_query_until('versions', "SELECT state = 'incompatible' FROM wee5_cron.worker WHERE datname = 'versions'"),
    'a worker whose library does not match the SQL says incompatible');
fields_are($node->invocation('versions', $id), { status => 'queued', attempts => 0 }, '... and its calls stay queued');
is(scalar(() = $receiver->requests('/versions')), 0, '... and no request is sent');
$node->safe_psql('versions', <<'SQL');
CREATE FUNCTION public.of_no_use() RETURNS int LANGUAGE sql AS 'SELECT 1';
BEGIN;
UPDATE pg_extension SET extversion = (SELECT default_version FROM pg_available_extensions WHERE name = 'wee5_cron') WHERE extname = 'wee5_cron';
ALTER EXTENSION wee5_cron ADD FUNCTION public.of_no_use();
ALTER EXTENSION wee5_cron DROP FUNCTION public.of_no_use();
COMMIT;
SQL
fields_are($node->finished('versions', $id), { status => 'succeeded', attempts => 1 }, 'ALTER EXTENSION to the right version sends the queued call');
goes_on('versions', '... and the next one');

# Another session holds a lock on pg_cron's history. A session that looks like pg_cron's makes a call.
my $cron = do { local $ENV{PGAPPNAME} = 'pg_cron'; $node->background_psql('postgres') };
my $cron_pid = $cron->query_safe('SELECT pg_backend_pid()');
my $run_id = $node->safe_psql('postgres', <<SQL);
INSERT INTO cron.job_run_details (jobid, runid, job_pid, database, username, command, status, start_time)
VALUES (4711, 4711, $cron_pid, current_database(), current_user, 'SELECT 1', 'running', now()) RETURNING runid
SQL
my $locking = $node->background_psql('postgres');
$locking->query_safe('BEGIN; LOCK TABLE cron.job_run_details IN ACCESS EXCLUSIVE MODE');
$id = $cron->query_safe("SELECT invoke_cron_endpoint('/by-job')");
fields_are($node->finished('postgres', $id), { status => 'succeeded', attempts => 1, cron_run_id => undef },
    "while pg_cron's history is locked, the result of a job's call is recorded");
goes_on('postgres', '... and so are the results of other calls') for 1 .. 3;
is($node->safe_psql('postgres', 'SELECT count(*) FROM wee5_cron.cron_caller'), 1, "... and the job's call is not yet bound to its run");
$locking->query_safe('COMMIT');
$locking->quit;
$cron->quit;
fields_are($node->invocation_when('postgres', $id, 'cron_run_id IS NOT NULL'), { cron_run_id => $run_id },
    '... and is bound to it once the lock is released');
is($node->safe_psql('postgres', 'SELECT count(*) FROM wee5_cron.cron_caller'), 0, '... and cron_caller is empty');
goes_on('postgres', '... and the next call is sent');

# A server without the preloaded library creates a job, and a server that preloads it drops the job.
$node->safe_psql('postgres', <<'SQL');
INSERT INTO wee5_cron.job (job_name, jobid, registered)
SELECT 'wee5-cron-harvest', cron.schedule('wee5-cron-harvest', '0 0 1 1 *', 'SELECT wee5_cron.harvest()'), true;
SELECT cron.schedule('users-own', '0 0 1 1 *', 'SELECT wee5_cron.harvest()');
DROP EXTENSION wee5_cron;
SQL
is($node->safe_psql('postgres', 'SELECT string_agg(jobname, chr(32) ORDER BY jobname) FROM cron.job'), 'users-own',
    "DROP EXTENSION removes the job wee5-cron-harvest and keeps the user's job");

# No worker tried to connect to a closed database. Once a database is open again, its calls are sent.
unlike(slurp_file($node->logfile), qr/FATAL: .*not currently accepting connections/, 'no worker tried to connect to a closed database');
$node->safe_psql('postgres', 'ALTER DATABASE closed ALLOW_CONNECTIONS true');
goes_on('closed', 'a call is sent in a database that is open again');

$node->log_is_sane;
done_testing();
