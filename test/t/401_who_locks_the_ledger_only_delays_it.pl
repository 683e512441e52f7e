# Others have the ledger, or parts of it, for themselves: LOCK TABLE, VACUUM FULL, TRUNCATE, a version that the library does
# not support. An answer that comes meanwhile is recorded as it is, even if its deadline has passed by then.
# wee5_cron.worker and doctor() say what is wrong; other databases go on.
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

# Calls that are on the wire, and have to be answered within five seconds.
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
        '... the database beside it goes on');
}

# The worker has received the answers: nothing is on the wire any more. Asked in the database beside it: a session that starts
# while pg_extension is locked may have to wait for the lock, to rebuild its database's pg_internal.init.
sub wait_for_answers {
    $node->poll_query_until('beside', "SELECT in_flight = 0 FROM wee5_cron.worker WHERE datname = 'postgres'")
      or die "the answers did not come\n";
    return;
}

# Their deadline has passed, on the server's clock.
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
        "$name: the answers are booked as answers")
      || diag($node->safe_psql('postgres', "SELECT status, reason, attempts, count(*) FROM wee5_cron.invocation WHERE id IN ($ids) GROUP BY 1, 2, 3"));
    is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.attempt WHERE invocation_id IN ($ids)"), $count, '... each once');
    is(scalar(() = $receiver->requests('/hang')), $hanging, '... and nobody was called twice');
    fields_are($node->finished('postgres', $node->call('postgres', '/next')), { status => 'succeeded' }, '... and calls go on');
    return;
}

my $pid = $node->wait_for_worker('postgres');
my $holder = $node->background_psql('postgres');

# Each table that every turn of the worker needs.
for my $table (qw(invocation attempt armed)) {
    my $ids = calls_on_the_wire(20);
    $holder->query_safe("BEGIN; LOCK TABLE wee5_cron.$table IN ACCESS EXCLUSIVE MODE");
    $receiver->release_for_good;
    wait_for_answers();
    ok($node->poll_query_until('postgres', "SELECT state = 'blocked' AND pid = $pid AND last_error ~ 'lock' FROM wee5_cron.worker WHERE datname = 'postgres'"),
        "LOCK TABLE $table: wee5_cron.worker says blocked, and why");
    my $hint = $doctor->red('worker', 'error', qr/^the worker \(pid $pid\) is blocked: .*lock/, '... doctor(), too');
    is($node->safe_psql('postgres', $hint =~ s/SELECT pid, usename, state, query/SELECT string_agg(pid::text, ' ')/r),
        $holder->query_safe('SELECT pg_backend_pid()'), '... and its hint finds who it is');
    is($node->safe_psql('postgres', "SELECT queued FROM wee5_cron.worker WHERE datname = 'postgres'"), '', '... how many wait is not known meanwhile')
      if $table eq 'invocation';
    beside_goes_on();
    let_the_deadline_pass();
    $holder->query_safe('COMMIT');
    were_answered($ids, 20, '... when it is let go');
    is($node->worker_pid('postgres'), $pid, '... by the same worker');
    $doctor->green('worker', '... and doctor() is content');
}

# Tables that some turns need, and a catalog that all do.
{
    my $ids = calls_on_the_wire(20);
    $holder->query_safe('BEGIN; LOCK TABLE wee5_cron.endpoint, wee5_cron.cancellation, wee5_cron.cron_caller, wee5_cron.trouble,'
          . ' pg_catalog.pg_extension IN ACCESS EXCLUSIVE MODE');
    $receiver->release_for_good;
    wait_for_answers();
    let_the_deadline_pass();
    $holder->query_safe('COMMIT');
    were_answered($ids, 20, 'LOCK TABLE of what stands beside the ledger, until it is let go');
}

# VACUUM FULL of the ledger, and of a catalog that every turn reads, while requests hang.
for my $table (qw(wee5_cron.invocation wee5_cron.attempt pg_catalog.pg_class pg_catalog.pg_db_role_setting)) {
    my $ids = calls_on_the_wire(20);
    $node->safe_psql('postgres', "VACUUM FULL $table");
    $receiver->release_for_good;
    were_answered($ids, 20, "VACUUM FULL $table while requests hang");
}

# TRUNCATE: the rows are gone, so their answers have no place.
{
    my $ids = calls_on_the_wire(20);
    $node->safe_psql('postgres', "SET lock_timeout = '30 s'; TRUNCATE wee5_cron.invocation, wee5_cron.attempt");
    my $after = $node->call('postgres', '/after');
    $receiver->release_for_good;
    fields_are($node->finished('postgres', $after), { status => 'succeeded' }, 'TRUNCATE while requests hang: calls after it are delivered');
    wait_for_answers();
    fields_are($node->finished('postgres', $node->call('postgres', '/next')), { status => 'succeeded' }, '... and booked');
    is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE id IN ($ids)"), 0, '... the answers to what is gone bring nothing back');
    is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.attempt WHERE invocation_id IN ($ids)"), 0, '... no attempt either');
    is($node->worker_pid('postgres'), $pid, '... the worker is the same');
}

# A version that the library does not support, as during an update: requests on the wire are answered meanwhile.
{
    my $ids = calls_on_the_wire(20);
    $node->safe_psql('postgres', "UPDATE pg_extension SET extversion = '0.0.9' WHERE extname = 'wee5_cron'");
    my $waiting = $node->call('postgres', '/waiting');
    $receiver->release_for_good;
    wait_for_answers();
    ok($node->poll_query_until('postgres', "SELECT state = 'incompatible' AND last_error ~ 'version' FROM wee5_cron.worker WHERE datname = 'postgres'"),
        'another version: wee5_cron.worker says so');
    $doctor->red('worker', 'error', qr/incompatible.*version/, '... doctor(), too');
    beside_goes_on();
    let_the_deadline_pass();
    fields_are($node->invocation('postgres', $waiting), { status => 'queued', attempts => 0 }, '... nothing new is sent');
    $node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION public.of_no_use() RETURNS int LANGUAGE sql AS 'SELECT 1';
BEGIN;
UPDATE pg_extension SET extversion = (SELECT default_version FROM pg_available_extensions WHERE name = 'wee5_cron') WHERE extname = 'wee5_cron';
ALTER EXTENSION wee5_cron ADD FUNCTION public.of_no_use();
ALTER EXTENSION wee5_cron DROP FUNCTION public.of_no_use();
COMMIT;
SQL
    were_answered($ids, 20, '... when ALTER EXTENSION brings the right one');
    fields_are($node->finished('postgres', $waiting), { status => 'succeeded', attempts => 1 }, '... what waited is sent');
    is($node->worker_pid('postgres'), $pid, '... the worker is the same');
}

# Somebody needs another database exclusively, for as long as it takes.
{
    my $process = $holder->query_safe('SELECT pg_backend_pid()');
    $holder->query_safe('BEGIN; ALTER DATABASE beside RENAME TO elsewhere');
    fields_are($node->one_row('postgres', "SELECT * FROM wee5_cron.worker WHERE datname = 'beside'"),
        { pid => undef, last_error => qr/process $process runs a statement that needs the database to itself$/ },
        'RENAME of a database: wee5_cron.worker says why it has no worker');
    fields_are($node->finished('postgres', $node->call('postgres', '/meanwhile')), { status => 'succeeded' }, '... the others have theirs');
    $holder->query_safe('ROLLBACK');
    beside_goes_on();
    fields_are($node->one_row('postgres', "SELECT * FROM wee5_cron.worker WHERE datname = 'beside'"), { pid => qr/^\d+$/, last_error => undef },
        '... and has nothing to complain of any more');
}

# The whole server becomes read-only for its sessions. The worker ignores that.
{
    my $ids = calls_on_the_wire(20);
    $node->set_server('default_transaction_read_only', 'on');
    $receiver->release_for_good;
    ok($node->poll_query_until('postgres', "SELECT count(*) = 20 FROM wee5_cron.invocation WHERE id IN ($ids) AND status = 'succeeded'"),
        'default_transaction_read_only of the server: answers are booked');
    $doctor->green('worker', '... and doctor() is content');
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
        "autovacuum comes to $table after what the worker wrote there");
}

$holder->quit;
$node->log_is_sane;
done_testing();
