# Other sessions lock the ledger, or parts of it: LOCK TABLE, VACUUM FULL, TRUNCATE, a version that the library does
# not support. An answer that comes meanwhile is recorded as it is, even if its deadline has passed by then.
# wee5_cron.worker and doctor() say what is wrong, and calls of other databases are sent.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Doctor;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main', conf => "autovacuum_naptime = '1s'");
my @app = (api_url => $receiver->url, secret => 'the secret');
$node->install($_, @app) for qw(postgres beside);
my $doctor = Wee5Cron::Doctor->new($node, 'postgres');
my $hanging = 0;

# Calls on the wire that have to be answered within five seconds.
sub calls_on_the_wire {
    my ($count) = @_;
    $receiver->hold;
    my $ids = $node->safe_psql('postgres',
        "SELECT string_agg(wee5_cron.invoke('/hang', timeout => '5 s')::text, ',') FROM generate_series(1, $count)");
    $receiver->wait_for_requests('/hang', $hanging += $count);
    return $ids;
}

sub beside_goes_on {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return fields_are($node->finished('beside', $node->call('beside', '/beside')), { status => 'succeeded' },
        '... and a call in another database succeeds');
}

# The worker has received the answers: nothing is on the wire any more. Asked in the other database: a session that starts
# while pg_extension is locked may have to wait for the lock, to rebuild its database's pg_internal.init.
sub wait_for_answers {
    $node->poll_query_until('beside', "SELECT in_flight = 0 FROM wee5_cron.worker WHERE datname = 'postgres'")
      or die "the answers did not come\n";
    return;
}

# The calls' deadline has passed, on the server's clock.
sub let_the_deadline_pass {
    my $from = $node->safe_psql('beside', 'SELECT clock_timestamp()');
    $node->poll_query_until('beside', "SELECT clock_timestamp() > timestamptz '$from' + interval '5.5 s'") or die "time stands still\n";
    return;
}

sub were_answered {
    my ($ids, $count, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok($node->poll_query_until('postgres',
            "SELECT count(*) = $count FROM wee5_cron.invocation WHERE id IN ($ids) AND status = 'succeeded' AND attempts = 1"),
        "$name: the answers are recorded as answers")
      || diag($node->safe_psql('postgres', "SELECT status, reason, attempts, count(*) FROM wee5_cron.invocation WHERE id IN ($ids) GROUP BY 1, 2, 3"));
    is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.attempt WHERE invocation_id IN ($ids)"), $count, '... and each is recorded once');
    is(scalar(() = $receiver->requests('/hang')), $hanging, '... and no request is sent twice');
    fields_are($node->finished('postgres', $node->call('postgres', '/next')), { status => 'succeeded' }, '... and the next call succeeds');
    return;
}

my $pid = $node->wait_for_worker('postgres');
my $holder = $node->background_psql('postgres');

# Each table that the worker needs in every turn.
for my $table (qw(invocation attempt armed)) {
    my $ids = calls_on_the_wire(20);
    $holder->query_safe("BEGIN; LOCK TABLE wee5_cron.$table IN ACCESS EXCLUSIVE MODE");
    $receiver->release_for_good;
    wait_for_answers();
    ok($node->poll_query_until('postgres', "SELECT state = 'blocked' AND pid = $pid AND last_error ~ 'lock' FROM wee5_cron.worker WHERE datname = 'postgres'"),
        "LOCK TABLE $table: wee5_cron.worker says blocked, and why");
    my $hint = $doctor->red('worker', 'error', qr/^the worker \(pid $pid\) is blocked: .*lock/, "LOCK TABLE $table");
    is($node->safe_psql('postgres', $hint =~ s/SELECT pid, usename, state, query/SELECT string_agg(pid::text, ' ')/r),
        $holder->query_safe('SELECT pg_backend_pid()'), '... and its hint finds the session with the lock');
    is($node->safe_psql('postgres', "SELECT queued FROM wee5_cron.worker WHERE datname = 'postgres'"), '', '... and the length of the queue is unknown meanwhile')
      if $table eq 'invocation';
    beside_goes_on();
    let_the_deadline_pass();
    $holder->query_safe('COMMIT');
    were_answered($ids, 20, "after LOCK TABLE $table");
    is($node->worker_pid('postgres'), $pid, '... and the worker is the same');
    $doctor->green('worker', "after LOCK TABLE $table");
}

# Tables that the worker needs in some turns, and a catalog that it needs in all.
{
    my $ids = calls_on_the_wire(20);
    $holder->query_safe('BEGIN; LOCK TABLE wee5_cron.endpoint, wee5_cron.cancellation, wee5_cron.cron_caller, wee5_cron.trouble,'
          . ' pg_catalog.pg_extension IN ACCESS EXCLUSIVE MODE');
    $receiver->release_for_good;
    wait_for_answers();
    let_the_deadline_pass();
    $holder->query_safe('COMMIT');
    were_answered($ids, 20, 'after LOCK TABLE of other tables that the worker reads');
}

# VACUUM FULL of the ledger, and of a catalog that every turn reads, while requests hang.
for my $table (qw(wee5_cron.invocation wee5_cron.attempt pg_catalog.pg_class pg_catalog.pg_db_role_setting)) {
    my $ids = calls_on_the_wire(20);
    $node->safe_psql('postgres', "VACUUM FULL $table");
    $receiver->release_for_good;
    were_answered($ids, 20, "VACUUM FULL $table while requests hang");
}

# TRUNCATE: the rows are deleted, so their answers cannot be recorded.
{
    my $ids = calls_on_the_wire(20);
    $node->safe_psql('postgres', "SET lock_timeout = '30 s'; TRUNCATE wee5_cron.invocation, wee5_cron.attempt");
    my $after = $node->call('postgres', '/after');
    $receiver->release_for_good;
    fields_are($node->finished('postgres', $after), { status => 'succeeded' }, 'a call made after TRUNCATE while requests hang succeeds');
    wait_for_answers();
    fields_are($node->finished('postgres', $node->call('postgres', '/next')), { status => 'succeeded' }, '... and so does the next one');
    is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE id IN ($ids)"), 0, '... and answers to deleted calls create no rows');
    is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.attempt WHERE invocation_id IN ($ids)"), 0, '... and no attempts');
    is($node->worker_pid('postgres'), $pid, '... and the worker is the same');
}

# A version that the library does not support, as during an update: requests on the wire are answered meanwhile.
{
    my $ids = calls_on_the_wire(20);
    $node->safe_psql('postgres', "UPDATE pg_extension SET extversion = '0.0.9' WHERE extname = 'wee5_cron'");
    my $waiting = $node->call('postgres', '/waiting');
    $receiver->release_for_good;
    wait_for_answers();
    ok($node->poll_query_until('postgres', "SELECT state = 'incompatible' AND last_error ~ 'version' FROM wee5_cron.worker WHERE datname = 'postgres'"),
        'under another version wee5_cron.worker says incompatible');
    $doctor->red('worker', 'error', qr/incompatible.*version/, 'another version');
    beside_goes_on();
    let_the_deadline_pass();
    fields_are($node->invocation('postgres', $waiting), { status => 'queued', attempts => 0 }, '... and no new call is sent');
    $node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION public.of_no_use() RETURNS int LANGUAGE sql AS 'SELECT 1';
BEGIN;
UPDATE pg_extension SET extversion = (SELECT default_version FROM pg_available_extensions WHERE name = 'wee5_cron') WHERE extname = 'wee5_cron';
ALTER EXTENSION wee5_cron ADD FUNCTION public.of_no_use();
ALTER EXTENSION wee5_cron DROP FUNCTION public.of_no_use();
COMMIT;
SQL
    were_answered($ids, 20, 'after ALTER EXTENSION to the right version');
    fields_are($node->finished('postgres', $waiting), { status => 'succeeded', attempts => 1 }, '... and the call that waited succeeds');
    is($node->worker_pid('postgres'), $pid, '... and the worker is the same');
}

# Another session needs another database exclusively, for an unlimited time.
{
    my $process = $holder->query_safe('SELECT pg_backend_pid()');
    $holder->query_safe('BEGIN; ALTER DATABASE beside RENAME TO elsewhere');
    fields_are($node->one_row('postgres', "SELECT * FROM wee5_cron.worker WHERE datname = 'beside'"),
        { pid => undef, last_error => qr/process $process runs a statement that needs the database to itself$/ },
        'during RENAME of a database wee5_cron.worker says why it has no worker');
    fields_are($node->finished('postgres', $node->call('postgres', '/meanwhile')), { status => 'succeeded' }, '... and a call of another database succeeds');
    $holder->query_safe('ROLLBACK');
    beside_goes_on();
    fields_are($node->one_row('postgres', "SELECT * FROM wee5_cron.worker WHERE datname = 'beside'"), { pid => qr/^\d+$/, last_error => undef },
        '... and the error disappears after it');
}

# The whole server becomes read-only for its sessions. The worker ignores that.
{
    my $ids = calls_on_the_wire(20);
    $node->set_server('default_transaction_read_only', 'on');
    $receiver->release_for_good;
    ok($node->poll_query_until('postgres', "SELECT count(*) = 20 FROM wee5_cron.invocation WHERE id IN ($ids) AND status = 'succeeded'"),
        'under default_transaction_read_only of the server the answer is recorded');
    $doctor->green('worker', 'under default_transaction_read_only of the server');
    $holder->query_safe("SET default_transaction_read_only = off; ALTER SYSTEM RESET default_transaction_read_only");
    $holder->query_safe('SELECT pg_reload_conf()');
    $node->poll_query_until('postgres', "SELECT NOT current_setting('default_transaction_read_only')::boolean") or die "not reloaded\n";
}

# Autovacuum counts the worker's writes.
$node->safe_psql('postgres', <<'SQL');
ALTER TABLE wee5_cron.invocation SET (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);
ALTER TABLE wee5_cron.attempt SET (autovacuum_vacuum_insert_threshold = 500, autovacuum_vacuum_insert_scale_factor = 0);
SELECT pg_stat_reset();
SQL
$node->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('/many')) FROM generate_series(1, 1000)");
for my $table (qw(invocation attempt)) {
    ok($node->poll_query_until('postgres', "SELECT last_autovacuum IS NOT NULL FROM pg_stat_user_tables WHERE relid = 'wee5_cron.$table'::regclass"),
        "autovacuum processes $table after the worker's writes");
}

$holder->quit;
$node->log_is_sane;
done_testing();
